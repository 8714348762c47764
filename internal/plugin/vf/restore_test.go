package vf

import (
	"slices"
	"strings"
	"testing"
)

// Whatever a pod changed of its interface, and however the interface was before, DEL
// gives it back as it was.
func TestDelRestoresInterface(t *testing.T) {
	for _, tc := range []struct {
		name   string
		before func(*Link)
		change func(*Link) // by the pod
	}{
		{"untouched", func(*Link) {}, func(*Link) {}},
		{"a larger MTU", func(*Link) {}, func(l *Link) { l.MTU = 9000 }},
		{"a smaller MTU", func(l *Link) { l.MTU = 9000 }, func(l *Link) { l.MTU = 1280 }},
		{"another name", func(*Link) {}, func(l *Link) { l.Name = "renamed" }},
		{"another name of the host", func(l *Link) { l.Name = "ens1f0v3" }, func(*Link) {}},
		{"down in the pod", func(*Link) {}, func(l *Link) { l.Up = false }},
		{"down before", func(l *Link) { l.Up = false }, func(l *Link) { l.Up = true }},
		{"another MAC", func(*Link) {}, func(l *Link) { l.MAC = "02:00:00:00:00:99" }},
		{"all of it", func(l *Link) { l.Up = false }, func(l *Link) { l.MTU, l.Name, l.MAC, l.Up = 9000, "renamed", "02:00:00:00:00:99", true }},
	} {
		for asks, config := range map[string]string{"everything": all, "nothing": `{"name":"n","deviceID":"` + dev + `","ipam":{"type":"ipam"}}`} {
			t.Run(tc.name+", the network asks for "+asks, func(t *testing.T) {
				m := newMachine()
				tc.before(m.link)
				e, before := m.engine(t), m.view()
				if _, err := e.Add(t.Context(), inA(), parse(t, config)); err != nil {
					t.Fatal(err)
				}
				tc.change(m.link)
				if err := e.Del(t.Context(), inA(), parse(t, config)); err != nil {
					t.Fatal(err)
				}
				m.link.Index = before.Link.Index
				equal(t, "after DEL", before, m.view())
			})
		}
	}
}

// What cannot be given back fails DEL by its name, and the next DEL does it.
func TestDelReportsInterface(t *testing.T) {
	for step, says := range map[string]string{
		"mtu 1500": "mtu: set back to 1500, is 9000",
		"up true":  "interface pf0v0: set up=true again",
	} {
		t.Run(step, func(t *testing.T) {
			steps := func(failAt int) (*machine, *Engine, view, error) {
				m := newMachine()
				e, before := m.engine(t), m.view()
				if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
					t.Fatal(err)
				}
				m.link.MTU, m.notes, m.failAt = 9000, nil, failAt
				return m, e, before, e.Del(t.Context(), inA(), parse(t, all))
			}
			m, _, _, err := steps(0)
			if err != nil || !slices.Contains(m.notes, step) {
				t.Fatalf("%v: %q has no step %s", err, m.notes, step)
			}
			m, e, before, err := steps(lastIndex(m.notes, step) + 1)
			if err == nil || !strings.Contains(err.Error(), says) {
				t.Errorf("got %v, want %q", err, says)
			}
			equal(t, "addresses after the first DEL", map[string]bool{}, m.addresses)
			if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
				t.Error(err)
			}
			m.link.Index = before.Link.Index
			equal(t, "after the second DEL", before, m.view())
		})
	}
}

func lastIndex(all []string, one string) int {
	for i, each := range slices.Backward(all) {
		if each == one {
			return i
		}
	}
	return -1
}

// A repeated DEL finds out who released the VF last. Without that it would take a VF that
// looks like the attachment by chance for one whose state is lost.
func TestDelOnceMoreTouchesNothing(t *testing.T) {
	for name, lookAlike := range map[string]func(*machine){
		"the host's interface has the pod's name": func(m *machine) { m.link.Name = "net0" },
		"a process has the VF, which was set as asked before": func(m *machine) {
			m.device.Driver, m.link = "vfio-pci", nil
			m.settings.MAC, m.settings.VLAN, m.settings.Trust, m.settings.SpoofChk, m.settings.MaxTxRate = "02:00:00:00:00:01", 100, ptr(true), ptr(false), 50
		},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			lookAlike(m)
			e, before := m.engine(t), m.view()
			for _, call := range []Call{{ContainerID: "a-long-name-before-a-short-one", NetNS: nsA, IfName: "net0"}, inA()} {
				if _, err := e.Add(t.Context(), call, parse(t, all)); err != nil {
					t.Fatal(err)
				}
				for range 3 {
					m.notes = nil
					if err := e.Del(t.Context(), call, parse(t, all)); err != nil {
						t.Fatal(err)
					}
				}
				equal(t, "what the last DEL did", []string{"ipam DEL " + call.ContainerID}, m.notes)
				if m.link != nil {
					m.link.Index = before.Link.Index
				}
				equal(t, "after it", before, m.view())
			}
		})
	}
}
