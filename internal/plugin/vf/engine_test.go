package vf

import (
	"errors"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin/statefile"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

func mustCIDR(s string) net.IPNet {
	ip, network, err := net.ParseCIDR(s)
	if err != nil {
		panic(err)
	}
	network.IP = ip
	return *network
}

func TestAddInOrder(t *testing.T) {
	m := newMachine()
	e, before := m.engine(t), m.view()
	result, err := e.Add(t.Context(), inA(), parse(t, all))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "what ADD did", []string{
		"up false", "vlan 100", "rate 0 50", "spoofchk false", "trust true", "PF mac 02:00:00:00:00:01", "mac 02:00:00:00:00:01",
		"rename vf000001100", `move "/run/netns/a"`, "rename net0", "up true", "ipam ADD c1", "configure 10.0.0.2/24", "announce",
	}, m.notes)
	equal(t, "result", &current.Result{
		CNIVersion: "1.1.0", Interfaces: []*current.Interface{{Name: "net0", Mac: "02:00:00:00:00:01", Mtu: 1500, Sandbox: nsA, PciID: dev}},
		IPs: []*current.IPConfig{{Address: mustCIDR("10.0.0.2/24"), Interface: ptr(0)}},
	}, result)
	m.notes = nil
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "what DEL did", []string{
		"up false", "rename pf0v0", `move ""`, "PF mac 00:00:00:00:00:00", "mac 7a:00:00:00:00:01",
		"vlan 0", "rate 0 0", "spoofchk true", "trust false", "up true", "ipam DEL c1",
	}, m.notes)
	m.link.Index = before.Link.Index
	equal(t, "after DEL", before, m.view())
	equal(t, "states", []string{}, append([]string{}, states(t, e)...))
}

// Whatever step of an ADD fails, everything is as before, and the error says what.
func TestAddUndone(t *testing.T) {
	m := newMachine()
	if _, err := m.engine(t).Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	steps := m.notes
	for at, step := range steps {
		if step == "announce" {
			continue // which need not succeed
		}
		t.Run(step, func(t *testing.T) {
			m := newMachine()
			e, before := m.engine(t), m.view()
			m.failAt = at + 1
			_, err := e.Add(t.Context(), inA(), parse(t, all))
			if strings.HasPrefix(step, "mac ") {
				// A driver that is busy is asked again.
				if err != nil {
					t.Error(err)
				}
				return
			}
			if !errors.Is(err, errBroken) && !strings.Contains(err.Error(), errBroken.Error()) {
				t.Fatalf("got %v", err)
			}
			m.link.Index = before.Link.Index
			equal(t, "after the undo", before, m.view())
			equal(t, "number of states", 0, len(states(t, e)))
			if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
				t.Error(err)
			}
			equal(t, "after a DEL", before, m.view())
		})
	}
}

// Whatever step of a DEL fails, the next one ends it.
func TestDelAgain(t *testing.T) {
	for at := 1; ; at++ {
		m := newMachine()
		e, before := m.engine(t), m.view()
		if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
			t.Fatal(err)
		}
		m.notes, m.failAt = nil, at
		err := e.Del(t.Context(), inA(), parse(t, all))
		if len(m.notes) < at {
			if at < 10 {
				t.Errorf("DEL has %d steps", at-1)
			}
			return
		}
		if err != nil {
			equal(t, "number of states", 1, len(states(t, e)))
			if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
				t.Errorf("step %d: %v", at, err)
			}
		}
		m.link.Index = before.Link.Index
		equal(t, "after two DELs", before, m.view())
		equal(t, "number of states", 0, len(states(t, e)))
	}
}

func TestAddRefused(t *testing.T) {
	for _, tc := range []struct {
		name   string
		config string
		prep   func(*machine)
		call   Call
		code   uint
		says   string
	}{
		{"no device", `{"name":"n"}`, nil, inA(), types.CodeInvalidConfig, "deviceID: is missing"},
		{"no such device", `{"name":"n","deviceID":"0000:09:00.0"}`, nil, inA(), types.CodeInvalidConfig, "deviceID: device 0000:09:00.0: there is no such device"},
		{"a PF", all, func(m *machine) { m.device.Kind = sriov.KindPF }, inA(), types.CodeInvalidConfig, "is not a virtual function but a pf"},
		{"no namespace", all, nil, Call{ContainerID: "c", NetNS: "/none", IfName: "net0"}, types.CodeUnknownContainer, "network namespace /none"},
		{"a name that is taken", all, nil, Call{ContainerID: "c", NetNS: nsA, IfName: "lo"}, types.CodeInvalidEnv, "CNI_IFNAME"},
		{"no IPAM plugin", strings.Replace(all, `"ipam"}`, `"nothere"}`, 1), nil, inA(), types.CodeInvalidConfig, "ipam.type"},
		{"a PF without an interface", all, func(m *machine) { m.device.PF.Netdev = "" }, inA(), types.CodeFailed, "the PF has no interface"},
		{"no driver", all, func(m *machine) { m.device.Driver, m.link = "", nil }, inA(), types.CodeFailed, "no driver is bound"},
		{"an interface elsewhere", all, func(m *machine) { m.ns = nsB }, inA(), types.CodeFailed, "but in " + nsB},
		{"a MAC for Infiniband", all, func(m *machine) { m.link.Infiniband = true }, inA(), types.CodeInvalidConfig, "mac: interface pf0v0"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine()
			if tc.prep != nil {
				tc.prep(m)
			}
			e, before := m.engine(t), m.view()
			_, err := e.Add(t.Context(), tc.call, parse(t, tc.config))
			if err == nil || !strings.Contains(err.Error(), tc.says) || types.CodeOf(err, types.CodeFailed) != tc.code {
				t.Errorf("got %v, code %d; want %q, code %d", err, types.CodeOf(err, types.CodeFailed), tc.says, tc.code)
			}
			equal(t, "changes", 0, len(m.notes))
			equal(t, "machine", before, m.view())
			equal(t, "number of states", 0, len(states(t, e)))
		})
	}
}

func TestAddUnsupported(t *testing.T) {
	m := newMachine()
	e, before := m.engine(t), m.view()
	_, err := e.Add(t.Context(), inA(), parse(t, `{"name":"n","deviceID":"`+dev+`","link_state":"enable"}`))
	if !errors.Is(err, unix.EOPNOTSUPP) || !strings.Contains(err.Error(), "PF pf0, VF 0): link_state: set to enable, was auto: the PF's driver does not support it") {
		t.Errorf("got %v", err)
	}
	equal(t, "machine", before, m.view())
}

// Nobody gets what another living sandbox has; what a dead one has is released first.
func TestAddTaken(t *testing.T) {
	m := newMachine()
	e, before := m.engine(t), m.view()
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	m.notes = nil
	if _, err := e.Add(t.Context(), inB(), parse(t, all)); !errors.Is(err, ErrTaken) || !strings.Contains(err.Error(), "container c1") {
		t.Errorf("another: %v", err)
	}
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); !errors.Is(err, ErrAttached) {
		t.Errorf("the same: %v", err)
	}
	if err := e.Del(t.Context(), inB(), parse(t, strings.Replace(all, `"ipam":{"type":"ipam"}`, `"ipam":{}`, 1))); err != nil {
		t.Error(err)
	}
	equal(t, "changes", 0, len(m.notes))
	delete(m.namespaces, nsA) // the namespace is gone, the interface found elsewhere
	m.ns = "/proc/7/ns/net"
	if _, err := e.Add(t.Context(), inB(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "states", []string{dev + "@c2@net0.json"}, states(t, e))
	equal(t, "addresses", map[string]bool{"c2": true}, m.addresses)
	if err := e.Del(t.Context(), inB(), parse(t, all)); err != nil {
		t.Error(err)
	}
	m.link.Index = before.Link.Index
	equal(t, "at the end", before, m.view())
}

// A namespace of the same path is not the one that the state was made for.
func TestAddOverAReusedPath(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	m.namespaces[nsA], m.ns = 555, ""
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "where it is", nsA, m.ns)
}

// The kernel gives an inode again; the cookie of the namespace says that it is another.
func TestAddOverAReusedInode(t *testing.T) {
	m := newMachine()
	m.cookies = map[string]uint64{nsA: 7, nsB: 8}
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	before := states(t, e)
	if _, err := e.Add(t.Context(), inB(), parse(t, all)); !errors.Is(err, ErrTaken) {
		t.Fatalf("while it lives: %v", err)
	}
	equal(t, "states", before, states(t, e))
	m.cookies[nsA], m.ns = 10, ""
	if _, err := e.Add(t.Context(), inB(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "where it is", nsB, m.ns)
}

// A VF of a sandbox that only cannot be seen from here is not for another one.
func TestAddBesideAHiddenSandbox(t *testing.T) {
	m := newMachine()
	m.mountNS = 9
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	delete(m.namespaces, nsA)
	m.hidden = true
	if _, err := e.Add(t.Context(), inB(), parse(t, all)); !errors.Is(err, ErrTaken) {
		t.Fatalf("got %v", err)
	}
	equal(t, "where it is", nsA, m.ns)
	m.hidden = false
	if _, err := e.Add(t.Context(), inB(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
}

// After a reboot VFs are new ones: nothing of them is set back.
func TestDelAfterReboot(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	e.BootID, m.notes = "another", nil
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "changes", []string{"ipam DEL c1"}, m.notes)
	equal(t, "number of states", 0, len(states(t, e)))
}

// What somebody else changed and the driver does not take back is no failure; what the
// network asked for is.
func TestDelNotTakenBack(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	m.settings.LinkState = "disable" // which this driver does not set
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Error(err)
	}
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	m.notes, m.failAt, m.failure = nil, 6, unix.EOPNOTSUPP // vlan
	err := e.Del(t.Context(), inA(), parse(t, all))
	if err == nil || !strings.Contains(err.Error(), "vlan: set back to 0, priority 0, 802.1q, is 100, priority 0, 802.1q") {
		t.Errorf("%v: %q", err, m.notes)
	}
	equal(t, "the rest", "trust false", m.notes[8])
}

func TestDelOfWhatIsGone(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	m.device, m.notes = nil, nil
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Error(err)
	}
	equal(t, "changes", []string{"ipam DEL c1"}, m.notes)
}

func TestDelWithoutState(t *testing.T) {
	reset := []string{"ipam DEL c1", "PF mac 00:00:00:00:00:00", "trust false", "spoofchk true", "rate 0 0", "vlan 0"}
	home := []string{"ipam DEL c1", "up false", "rename vf000001100", `move ""`}
	asked := func(m *machine) {
		m.settings.MAC, m.settings.VLAN, m.settings.Trust, m.settings.SpoofChk, m.settings.MaxTxRate = "02:00:00:00:00:01", 100, ptr(true), ptr(false), 50
	}
	for _, tc := range []struct {
		name string
		prep func(*machine)
		want []string
	}{
		{"never attached", func(*machine) {}, reset[:1]},
		{"in the pod", func(m *machine) { m.ns = nsA }, append(home, reset[1:]...)},
		{"in another pod", func(m *machine) { m.ns = nsB }, reset[:1]},
		{"on the host under the pod's name", func(m *machine) { m.link.Name = "net0" }, append([]string{"ipam DEL c1", "up false", "rename vf000001100"}, reset[1:]...)},
		{"for a process, set as asked", func(m *machine) { asked(m); m.device.Driver, m.link = "vfio-pci", nil }, reset},
		{"for a process, set otherwise", func(m *machine) { asked(m); m.settings.VLAN = 1; m.device.Driver, m.link = "vfio-pci", nil }, reset[:1]},
		{"gone", func(m *machine) { m.device = nil }, reset[:1]},
	} {
		t.Run(tc.name, func(t *testing.T) {
			m := newMachine()
			tc.prep(m)
			if err := m.engine(t).Del(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			equal(t, "changes", tc.want, m.notes)
		})
	}
}

func TestDelWithADamagedState(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(e.Store.Dir, states(t, e)[0])
	if err := os.WriteFile(path, []byte(`{"format":2}`), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Del(t.Context(), inA(), parse(t, all)); !errors.Is(err, statefile.ErrNewer) {
		t.Errorf("a newer one: %v", err)
	}
	if err := os.WriteFile(path, []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Error(err)
	}
	equal(t, "files", []string{dev + "@c1@net0.json.corrupt"}, states(t, e))
	equal(t, "where it is", "", m.ns)
	equal(t, "settings", newMachine().settings.VLAN, m.settings.VLAN)
}

func TestUserSpace(t *testing.T) {
	m := newMachine()
	m.device.Driver, m.link = "vfio-pci", nil
	e, before := m.engine(t), m.view()
	result, err := e.Add(t.Context(), inA(), parse(t, all))
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "what ADD did", []string{"vlan 100", "rate 0 50", "spoofchk false", "trust true", "PF mac 02:00:00:00:00:01", "ipam ADD c1"}, m.notes)
	equal(t, "interface", &current.Interface{Name: "net0", Mac: "02:00:00:00:00:01", Sandbox: nsA, PciID: dev}, result.Interfaces[0])
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "after DEL", before, m.view())
	m.notes = nil
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "what a second DEL did", []string{"ipam DEL c1"}, m.notes)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	if err := os.Remove(filepath.Join(e.Store.Dir, states(t, e)[0])); err != nil {
		t.Fatal(err)
	}
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "the VLAN after an ADD whose state was lost, and DEL", 0, m.settings.VLAN)
}
