package vf

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// giveBySRIOVCNI writes what sriov-cni writes of a device.
func giveBySRIOVCNI(t *testing.T, e *Engine, device, content string) {
	t.Helper()
	check.Must(t, os.MkdirAll(filepath.Join(e.SRIOVCNI, "pci"), 0o700))
	check.Must(t, os.WriteFile(filepath.Join(e.SRIOVCNI, "pci", device), []byte(content), 0o600))
}

// A VF that a living pod has by sriov-cni is taken, whatever it is used for; nothing is touched.
func TestAddTakenBySRIOVCNI(t *testing.T) {
	for name, tc := range map[string]struct {
		device, content string
		prep            func(*machine)
		taken           bool
	}{
		"by a living pod":             {dev, nsB, func(*machine) {}, true},
		"by a living pod, for DPDK":   {dev, nsB, func(m *machine) { m.device.Driver, m.link = "vfio-pci", nil }, true},
		"by this very pod":            {dev, nsA + "\n", func(*machine) {}, true},
		"by a pod that is not seen":   {dev, "/elsewhere/c", func(m *machine) { m.hidden = true }, true},
		"by a pod that is gone":       {dev, "/run/netns/gone", func(*machine) {}, false},
		"by a process that is gone":   {dev, "/proc/7/ns/net", func(m *machine) { m.namespaces["/proc/7/ns/net"], m.namespaces[hostNetNS] = 1, 1 }, false},
		"its lock alone":              {dev, "", func(m *machine) { m.hidden = true }, false},
		"another VF, by a living pod": {"0000:01:10.2", nsB, func(*machine) {}, false},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			tc.prep(m)
			e := m.engine(t)
			giveBySRIOVCNI(t, e, tc.device, tc.content)
			_, err := e.Add(t.Context(), inA(), parse(t, all))
			if errors.Is(err, ErrTaken) != tc.taken || !tc.taken && err != nil {
				t.Fatalf("got %v", err)
			}
			if tc.taken {
				equal(t, "changes", 0, len(m.notes))
				equal(t, "number of states", 0, len(states(t, e)))
				equal(t, "the error names the namespace", true, strings.Contains(err.Error(), strings.TrimSpace(tc.content)))
			}
		})
	}
}

// A state of sriov-cni that cannot be read keeps the VF.
func TestAddWithADamagedStateOfSRIOVCNI(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	check.Must(t, os.MkdirAll(filepath.Join(e.SRIOVCNI, "pci", dev), 0o700))
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err == nil || !strings.Contains(err.Error(), "state of sriov-cni") {
		t.Errorf("got %v", err)
	}
	equal(t, "changes", 0, len(m.notes))
}

// What sriov-cni has given to another pod since is not taken from that one, by no release: neither by
// one of a sandbox that is gone, nor by a DEL without a state.
func TestDelOfWhatSRIOVCNIHas(t *testing.T) {
	asked := func(m *machine) {
		m.settings.MAC, m.settings.VLAN, m.settings.Trust, m.settings.SpoofChk, m.settings.MaxTxRate = "02:00:00:00:00:01", 100, ptr(true), ptr(false), 50
	}
	for name, tc := range map[string]struct {
		prep  func(*testing.T, *machine, *Engine)
		netns string // to which sriov-cni gave it
		calls []string
	}{
		"after an ADD whose sandbox is gone": {func(t *testing.T, m *machine, e *Engine) {
			t.Helper()
			if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			delete(m.namespaces, nsA)
			m.ns = nsB
		}, nsB, []string{"ipam DEL c1"}},
		"without a state, for DPDK": {func(_ *testing.T, m *machine, _ *Engine) {
			asked(m)
			m.device.Driver, m.link = "vfio-pci", nil
		}, nsB, []string{"ipam DEL c1"}},
		"without a state, and it is the pod's": {func(_ *testing.T, m *machine, _ *Engine) {
			asked(m)
			m.device.Driver, m.link = "vfio-pci", nil
		}, nsA, []string{"ipam DEL c1", "PF mac 00:00:00:00:00:00", "trust false", "spoofchk true", "rate 0 0", "vlan 0"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			e := m.engine(t)
			tc.prep(t, m, e)
			giveBySRIOVCNI(t, e, dev, tc.netns)
			m.notes = nil
			if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			equal(t, "what DEL did", tc.calls, m.notes)
			equal(t, "number of states", 0, len(states(t, e)))
		})
	}
}
