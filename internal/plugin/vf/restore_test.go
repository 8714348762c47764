package vf

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/sriov"
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
		"mtu 1500":     "mtu: set back to 1500, is 9000",
		"rename pf0v0": "rename interface vf000001100 back to pf0v0",
		"up true":      "interface pf0v0: set up=true again",
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

// talking is a PF with a driver that sets everything, but may not tell all of it.
type talking struct {
	*machine
	hide func(*sriov.VFSettings)
}

func (p talking) Read(string, int) (*sriov.VFSettings, error) {
	told := p.settings.Clone()
	p.hide(told)
	return told, nil
}

func (p talking) SetLinkState(_ string, _ int, state string) error {
	err := p.change("link_state %s", state)
	if err == nil {
		p.settings.LinkState = state
	}
	return err
}

func (p talking) SetGUIDs(_ string, _ int, node, port string) error {
	err := p.change("guids %s %s", node, port)
	if err == nil {
		p.settings.NodeGUID, p.settings.PortGUID = node, port
	}
	return err
}

const someGUID = "02:00:00:00:00:00:00:01"

// untold are the settings that a driver may not tell: how to ask for each, what to hide,
// and what DEL sets it to then.
var untold = map[string]struct {
	config string
	hide   func(*sriov.VFSettings)
	reset  string // the step of DEL
	was    string // in the error of an ADD
}{
	"trust":          {`"trust":"on"`, func(s *sriov.VFSettings) { s.Trust = nil }, "trust false", "trust: set to on, was unknown to its driver"},
	"spoofchk":       {`"spoofchk":"off"`, func(s *sriov.VFSettings) { s.SpoofChk = nil }, "spoofchk true", "spoofchk: set to off, was unknown to its driver"},
	"link_state":     {`"link_state":"disable"`, func(s *sriov.VFSettings) { s.LinkState = "" }, "link_state auto", "link_state: set to disable, was unknown to its driver"},
	"infinibandGUID": {`"infinibandGUID":"` + someGUID + `"`, func(s *sriov.VFSettings) { s.NodeGUID, s.PortGUID = "", "" }, "guids 00:00:00:00:00:00:00:00 00:00:00:00:00:00:00:00", "infinibandGUID: set to " + someGUID + " and " + someGUID + ", was unknown to its driver"},
}

// asking is a configuration with one key besides what every one has.
func asking(key string) string {
	return `{"name":"n","deviceID":"` + dev + `","ipam":{"type":"ipam"},` + key + `}`
}

// What the driver did not tell goes back to the default of the kernel's drivers, if the
// network had asked for it, and whether the driver tells it by then or not.
func TestDelRestoresUntoldSettings(t *testing.T) {
	for _, field := range slices.Sorted(maps.Keys(untold)) {
		s := untold[field]
		for name, tc := range map[string]struct {
			config string
			hidden func(*sriov.VFSettings) // during the DEL
			steps  int                     // of DEL that set it
		}{
			"asked, told by then":     {s.config, func(*sriov.VFSettings) {}, 1},
			"asked, never told":       {s.config, s.hide, 1},
			"not asked, told by then": {`"vlan":7`, func(*sriov.VFSettings) {}, 0},
			"not asked, never told":   {`"vlan":7`, s.hide, 0},
		} {
			t.Run(field+" "+name, func(t *testing.T) {
				m := newMachine()
				e := m.engine(t)
				e.PF = talking{m, s.hide}
				config := parse(t, asking(tc.config))
				if _, err := e.Add(t.Context(), inA(), config); err != nil {
					t.Fatal(err)
				}
				e.PF, m.notes = talking{m, tc.hidden}, nil
				if err := e.Del(t.Context(), inA(), config); err != nil {
					t.Fatal(err)
				}
				steps := 0
				for _, note := range m.notes {
					if strings.HasPrefix(note, strings.Fields(s.reset)[0]+" ") {
						equal(t, "step", s.reset, note)
						steps++
					}
				}
				equal(t, "number of steps that set it", tc.steps, steps)
			})
		}
	}
}

// An error says so where the driver does not tell a setting.
func TestUntoldSettingsInErrors(t *testing.T) {
	for _, field := range slices.Sorted(maps.Keys(untold)) {
		s := untold[field]
		t.Run(field, func(t *testing.T) {
			m := newMachine()
			m.settings.NodeGUID, m.settings.PortGUID = "02:00:00:00:00:00:00:07", "02:00:00:00:00:00:00:07"
			m.failAt, m.failure = 2, unix.EOPNOTSUPP // after "up false"
			e, config := m.engine(t), parse(t, asking(s.config))
			e.PF = talking{m, s.hide}
			_, err := e.Add(t.Context(), inA(), config)
			if err == nil || !strings.Contains(err.Error(), s.was) {
				t.Errorf("ADD: got %v, want %q", err, s.was)
			}
			m.failAt = 0
			e.PF = talking{m, func(*sriov.VFSettings) {}}
			if _, err := e.Add(t.Context(), inA(), config); err != nil {
				t.Fatal(err)
			}
			e.PF = talking{m, s.hide}
			m.notes, m.failAt = nil, 4 // after "up false", "rename", "move"
			err = e.Del(t.Context(), inA(), config)
			if err == nil || !strings.Contains(err.Error(), field+": set back to ") || !strings.Contains(err.Error(), "is unknown to its driver") {
				t.Errorf("DEL: got %v after %q", err, m.notes)
			}
		})
	}
}
