package vf

import (
	"strings"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"

	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// The network's own dns wins over that of its IPAM plugin.
func TestDNSOfTheNetwork(t *testing.T) {
	for config, want := range map[string]string{asking(`"dns":{"nameservers":["10.0.0.53"]}`): "10.0.0.53", asking(`"vlan":5`): "10.0.0.1"} {
		m := newMachine()
		m.ipam.DNS.Nameservers = []string{"10.0.0.1"}
		result, err := m.engine(t).Add(t.Context(), inA(), parse(t, config))
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "DNS with "+config, []string{want}, result.DNS.Nameservers)
	}
}

// The code of an IPAM plugin is that of the ADD, and one that gives no address fails it.
func TestAddReportsIPAM(t *testing.T) {
	for name, tc := range map[string]struct {
		prep func(*machine)
		code uint
		says string
	}{
		"a code":     {func(m *machine) { m.failAt, m.failure = 6, &cnitypes.Error{Code: 11, Msg: "later"} }, 11, "IPAM plugin ipam (ADD): later"},
		"no code":    {func(m *machine) { m.failAt, m.failure = 6, &cnitypes.Error{Msg: "no"} }, types.CodeFailed, "IPAM plugin ipam (ADD): no"},
		"no address": {func(m *machine) { m.ipam.IPs = nil }, types.CodeFailed, "IPAM plugin ipam (ADD): it gave no address"},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			e, before := m.engine(t), m.view()
			tc.prep(m)
			_, err := e.Add(t.Context(), inA(), parse(t, `{"name":"n","deviceID":"`+dev+`","ipam":{"type":"ipam"}}`))
			if err == nil || !strings.Contains(err.Error(), tc.says) || types.CodeOf(err, types.CodeFailed) != tc.code {
				t.Errorf("got %v, code %d, after %q", err, types.CodeOf(err, types.CodeFailed), m.notes)
			}
			m.link.Index = before.Link.Index
			equal(t, "after the undo", before, m.view())
		})
	}
}

// stubborn is a PF that sets a VLAN and does not take it back, and sets no trust.
type stubborn struct{ *machine }

func (p stubborn) SetVLAN(netdev string, vf int, s *sriov.VFSettings) error {
	if s.VLAN == 0 {
		return errBroken
	}
	return p.machine.SetVLAN(netdev, vf, s)
}

func (stubborn) SetTrust(string, int, bool) error { return errBroken }

// The error of an ADD whose undo fails has both, and the state stays for DEL.
func TestAddReportsItsUndo(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	e.PF = stubborn{m}
	_, err := e.Add(t.Context(), inA(), parse(t, all))
	if err == nil || !strings.Contains(err.Error(), "trust: set to on") || !strings.Contains(err.Error(), "undo: device ") || !strings.Contains(err.Error(), "vlan: set back to 0") {
		t.Errorf("got %v", err)
	}
	equal(t, "number of states", 1, len(states(t, e)))
	e.PF = m
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Error(err)
	}
	equal(t, "VLAN after DEL", 0, m.settings.VLAN)
}
