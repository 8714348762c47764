package vf

import (
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"golang.org/x/sys/unix"
)

// Whoever else names the interface, and whatever names others have, ADD gives it the pod's name, and
// DEL its own names.
func TestNames(t *testing.T) {
	type during func(m *machine)
	nothing := func(*machine) {}
	again := func(m *machine, do func()) { m.afterNames = do }
	for name, tc := range map[string]struct {
		before during // before ADD
		inPod  during // between ADD and DEL
	}{
		"udev has the same name for it": {func(m *machine) { m.udev = oldIf }, nothing},
		"udev has another name for it":  {func(m *machine) { m.udev, m.link.AltNames = "enp1s0v0", []string{"enp1s0v0"} }, nothing},
		"the pod's name is an alternative one": {
			func(m *machine) { m.link.AltNames = []string{"net0", "other"} }, nothing,
		},
		"the pod's name is that of udev": {func(m *machine) { m.udev, m.link.AltNames = "net0", []string{"net0"} }, nothing},
		"the pod's name is the host's":   {func(m *machine) { m.udev, m.link.Name = "net0", "net0" }, nothing},
		"an alternative name is taken in the pod": {
			func(m *machine) {
				m.link.AltNames, m.taken = []string{"other", "enp1s0v0"}, map[string]bool{nsA + " other": true}
			}, nothing,
		},
		"the pod gave it names, which the host has": {nothing, func(m *machine) {
			m.link.AltNames, m.taken = []string{"eth0", "mine"}, map[string]bool{" eth0": true}
		}},
		"the pod gave it its host's name": {nothing, func(m *machine) { m.link.AltNames = []string{oldIf} }},
		"the pod has another of the host's name": {nothing, func(m *machine) {
			m.taken = map[string]bool{nsA + " " + oldIf: true}
		}},
		"the pod has others of all names that can be foreseen": {nothing, func(m *machine) {
			m.taken = map[string]bool{nsA + " " + oldIf: true, nsA + " " + TemporaryName(dev): true}
		}},
		"the namespace is gone, and the pod gave it names": {func(m *machine) { m.link.AltNames = []string{"other"} }, func(m *machine) {
			delete(m.namespaces, nsA)
			m.ns, m.link.AltNames = "", []string{"pf0v1", "mine", "other"}
		}},
		"the namespace is gone": {func(m *machine) { m.udev = oldIf }, func(m *machine) {
			delete(m.namespaces, nsA)
			m.ns = ""
			links{m}.nameByUdev()
		}},
		"the namespace is gone, and the pod's name is an alternative one": {
			func(m *machine) { m.link.AltNames = []string{"net0", "other"} },
			func(m *machine) {
				delete(m.namespaces, nsA)
				m.ns = ""
			},
		},
		"the namespace is gone, and udev names it once more": {func(m *machine) { m.udev = oldIf }, func(m *machine) {
			delete(m.namespaces, nsA)
			m.ns = ""
			links{m}.nameByUdev()
			again(m, links{m}.nameByUdev)
		}},
		"the namespace is gone, and somebody brings it up": {func(m *machine) { m.udev = oldIf }, func(m *machine) {
			delete(m.namespaces, nsA)
			m.ns = ""
			links{m}.nameByUdev()
			again(m, func() { m.link.Up = true })
		}},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			tc.before(m)
			e, before := m.engine(t), m.view()
			if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			equal(t, "name in the pod", nsA+" net0", m.ns+" "+m.link.Name)
			for _, name := range m.link.AltNames {
				if !slices.Contains(before.Link.AltNames, name) {
					t.Errorf("in the pod it is named %s too", name)
				}
			}
			tc.inPod(m)
			if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			m.link.Index = before.Link.Index
			slices.Sort(m.link.AltNames)
			slices.Sort(before.Link.AltNames)
			equal(t, "after DEL", before, m.view())
		})
	}
}

// The interface gets its name before it is on the host, where udev would name it.
func TestNamedBeforeItIsHome(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	m.udev, m.notes = oldIf, nil
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "what DEL did first", []string{"up false", "rename " + oldIf, `move ""`}, m.notes[:3])
}

// A name of the VF's that another interface of the host has by now fails DEL by that name. The VF is
// at home all the same, with all the rest restored, and the next DEL does it.
func TestDelReportsATakenName(t *testing.T) {
	for name, theirs := range map[string]map[string]bool{
		"taken on the host":            {" " + oldIf: true},
		"taken on the host and in pod": {" " + oldIf: true, nsA + " " + oldIf: true},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			e, before := m.engine(t), m.view()
			if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			m.taken = maps.Clone(theirs)
			err := e.Del(t.Context(), inA(), parse(t, all))
			if err == nil || !strings.Contains(err.Error(), "rename interface vf000001100 back to pf0v0: file exists") {
				t.Errorf("got %v", err)
			}
			now := m.view()
			now.Link.Name, now.Link.Index = before.Link.Name, before.Link.Index
			equal(t, "but for the name", before, now)
			equal(t, "number of states", 1, len(states(t, e)))
			m.taken = nil
			if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
				t.Error(err)
			}
			m.link.Index = before.Link.Index
			equal(t, "after the second DEL", before, m.view())
		})
	}
}

// An alternative name that comes back all the time is an error after a while.
func TestRenameEnds(t *testing.T) {
	for _, name := range []string{oldIf, "eth7"} {
		synctest.Test(t, func(t *testing.T) {
			m := newMachine()
			m.udev, m.link.Name = name, "odd"
			links{m}.nameByUdev()
			var always func()
			always = func() {
				links{m}.nameByUdev()
				m.afterNames = always
			}
			always()
			began := time.Now()
			if err := m.engine(t).rename(t.Context(), "", dev, name); !errors.Is(err, unix.EEXIST) {
				t.Errorf("got %v", err)
			}
			equal(t, "name", "odd", m.link.Name)
			equal(t, "time", 2*time.Second, time.Since(began))
		})
	}
}
