package vf

import (
	"errors"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// lostPart is one part of a VF that cannot be given back now.
type lostPart struct {
	lose func(*machine)
	mend func(*machine)
	says string
	left []string // parts of the machine that stay as the pod had them
}

var (
	ofInterface = []string{"name", "namespace", "MTU"}
	ofPF        = []string{"MAC at the PF", "VLAN", "trust"}
)

var lostParts = map[string]lostPart{
	"the interface is in no namespace": {
		lose: func(m *machine) { m.lost = true }, mend: func(m *machine) { m.lost = false },
		says: "its interface (pf0v0 on the host, net0 in the pod) is in no network namespace that can be found", left: ofInterface,
	},
	"the interface is in no namespace, and that of the pod is gone": {
		lose: func(m *machine) { m.lost = true; delete(m.namespaces, nsA) }, mend: func(m *machine) { m.lost = false },
		says: "is in no network namespace", left: ofInterface,
	},
	"the interface cannot be moved": {
		lose: func(m *machine) { m.busy = map[string]error{`move ""`: errBroken} }, mend: func(m *machine) { m.busy = nil },
		says: "move interface pf0v0 from " + nsA + " to the host: broken", left: []string{"namespace", "MTU"},
	},
	"the PF has no interface": {
		lose: func(m *machine) { m.device.PF.Netdev = "" }, mend: func(m *machine) { m.device.PF.Netdev = "pf0" },
		says: "the PF has no interface on the host", left: ofPF,
	},
	"the PF does not answer": {
		lose: func(m *machine) { m.readFaults = slices.Repeat([]error{errBroken}, 2) }, mend: func(*machine) {},
		says: "broken", left: ofPF,
	},
	"sysfs cannot be read": {
		lose: func(m *machine) { m.deviceErr = errBroken }, mend: func(m *machine) { m.deviceErr = nil },
		says: "broken", left: ofPF,
	},
	"a setting is refused": {
		lose: func(m *machine) { m.busy = map[string]error{"vlan 0": errBroken} }, mend: func(m *machine) { m.busy = nil },
		says: "vlan: set back to 0", left: []string{"VLAN"},
	},
}

func (m *machine) parts() map[string]any {
	return map[string]any{
		"name": m.link.Name, "MTU": m.link.MTU, "namespace": m.ns, "MAC at the PF": m.settings.MAC, "VLAN": m.settings.VLAN, "trust": *m.settings.Trust,
		"addresses": len(m.addresses),
	}
}

// One part that is lost does not keep the others from being given back. DEL fails soon, keeps the
// state, and the next one does the rest.
func TestDelOfALostPart(t *testing.T) {
	for name, lost := range lostParts {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := newMachine()
				e, before := m.engine(t), m.view()
				parts := m.parts()
				if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
					t.Fatal(err)
				}
				m.link.MTU = 9000
				lost.lose(m)
				began := time.Now()
				err := e.Del(t.Context(), inA(), parse(t, all))
				if err == nil || !strings.Contains(err.Error(), lost.says) {
					t.Errorf("got %v", err)
				}
				if passed := time.Since(began); passed > 5*time.Second {
					t.Errorf("DEL took %v", passed)
				}
				now := m.parts()
				for _, part := range lost.left {
					if now[part] == parts[part] {
						t.Errorf("%s is restored", part)
					}
					delete(parts, part)
					delete(now, part)
				}
				equal(t, "the other parts", parts, now)
				equal(t, "number of states", 1, len(states(t, e)))
				lost.mend(m)
				if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
					t.Fatal(err)
				}
				m.link.Index = before.Link.Index
				equal(t, "after the second DEL", before, m.view())
			})
		})
	}
}

// Without a state too, what was asked of the PF is set back though the interface cannot be taken home.
func TestDelWithoutStateOfALostPart(t *testing.T) {
	for _, step := range []string{"rename vf000001100", `move ""`} {
		m := newMachine()
		m.ns, m.settings.VLAN, m.settings.Trust = nsA, 100, ptr(true)
		m.busy = map[string]error{step: errBroken}
		if err := m.engine(t).Del(t.Context(), inA(), parse(t, all)); !errors.Is(err, errBroken) {
			t.Errorf("got %v", err)
		}
		equal(t, "VLAN and trust", []any{0, false}, []any{m.settings.VLAN, *m.settings.Trust})
	}
}

// A NIC that stays busy leaves time to free the addresses, also in the undo of an ADD.
func TestBusyReleaseFreesAddresses(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		m := newMachine()
		e := m.engine(t)
		if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
			t.Fatal(err)
		}
		m.busy = map[string]error{}
		for _, step := range []string{"vlan 0", "rate 0 0", "spoofchk true", "trust false", "PF mac 00:00:00:00:00:00", "mac 7a:00:00:00:00:01", "up true"} {
			m.busy[step] = unix.EBUSY
		}
		s, err := e.Store.Read(Key{Device: dev, ContainerID: "c1", IfName: "net0"})
		if err != nil {
			t.Fatal(err)
		}
		claim, err := e.Store.Claim(t.Context(), dev)
		if err != nil {
			t.Fatal(err)
		}
		defer claim.Release()
		began := time.Now()
		if err := e.undo(t.Context(), claim, s); err == nil {
			t.Error("no error")
		}
		if passed := time.Since(began); passed > 10*time.Second {
			t.Errorf("it took %v", passed)
		}
		equal(t, "addresses", map[string]bool{}, m.addresses)
	})
}
