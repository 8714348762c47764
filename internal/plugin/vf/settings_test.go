package vf

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/sriov"
)

// ADD sets nothing that is as asked for already, and DEL sets nothing back then.
func TestAddAsItIs(t *testing.T) {
	m := newMachine()
	m.settings.VLAN, m.settings.MaxTxRate, m.settings.SpoofChk, m.settings.Trust = 100, 50, ptr(false), ptr(true)
	m.settings.MAC, m.link.MAC = "02:00:00:00:00:01", "02:00:00:00:00:01"
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "what ADD did", []string{
		"up false", "rename vf000001100", `move "/run/netns/a"`, "rename net0", "up true", "ipam ADD c1", "configure 10.0.0.2/24", "announce",
	}, m.notes)
	m.notes = nil
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "what DEL did", []string{"up false", "rename pf0v0", `move ""`, "up true", "ipam DEL c1"}, m.notes)
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

// However a driver says that it cannot do something, the error says the same, in ADD and in DEL.
func TestUnsupported(t *testing.T) {
	for name, refusal := range map[string]unix.Errno{
		"igb, asked for 802.1ad": unix.EPROTONOSUPPORT, "most drivers": unix.EOPNOTSUPP, "the kernel's own number": 524, "no such call": unix.ENOSYS,
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			e, config := m.engine(t), parse(t, asking(`"vlan":100,"vlanQoS":3,"vlanProto":"802.1ad"`))
			m.failAt, m.failure = 2, refusal // after "up false"
			_, err := e.Add(t.Context(), inA(), config)
			const says = "vlan: set to 100, priority 3, 802.1ad, was 0, priority 0, 802.1q: the PF's driver does not support it"
			if !errors.Is(err, refusal) || !strings.Contains(err.Error(), says) {
				t.Errorf("ADD: got %v, want %q", err, says)
			}
			m.failAt = 0
			if _, err := e.Add(t.Context(), inA(), config); err != nil {
				t.Fatal(err)
			}
			m.notes, m.failAt = nil, 4 // after "up false", "rename", "move"
			err = e.Del(t.Context(), inA(), config)
			if !errors.Is(err, refusal) || !strings.Contains(err.Error(), "the PF's driver does not support it") {
				t.Errorf("DEL: got %v after %q", err, m.notes)
			}
		})
	}
}
