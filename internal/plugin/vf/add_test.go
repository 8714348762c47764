package vf

import (
	"log/slog"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// reading is the machine's interfaces, with a look at the states before each change of one.
type reading struct {
	links
	before func()
}

func (r reading) SetUp(ns string, index int, up bool) error {
	r.before()
	return r.links.SetUp(ns, index, up)
}

// The state of a VF is on disk before the first change, and says that the ADD is under
// way until the last.
func TestStateIsWrittenFirst(t *testing.T) {
	m := newMachine()
	e := m.engine(t)
	changes := 0
	e.Links = reading{links{m}, func() {
		changes++
		keys, err := e.Store.List()
		if err != nil || len(keys) != 1 {
			t.Fatalf("change %d: states %v, %v", changes, keys, err)
		}
		state, err := e.Store.Read(keys[0])
		if err != nil {
			t.Fatal(err)
		}
		equal(t, "interface in the state", oldIf, state.Link.Name)
		equal(t, "attached", false, state.Attached)
	}}
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "number of changes", 2, changes)
	keys, err := e.Store.List()
	if err != nil {
		t.Fatal(err)
	}
	state, err := e.Store.Read(keys[0])
	if err != nil {
		t.Fatal(err)
	}
	equal(t, "attached at the end", true, state.Attached)
}

// A VF that a process drives has no interface: the result has the MTU of its PF.
func TestUserSpaceMTU(t *testing.T) {
	for name, tc := range map[string]struct {
		prep func(*machine)
		conf string
		want int
	}{
		"an ordinary PF":          {func(m *machine) { m.mtu = 1500 }, all, 1500},
		"jumbo frames":            {func(m *machine) { m.mtu = 9000 }, all, 9000},
		"another driver":          {func(m *machine) { m.mtu, m.device.Driver = 9000, "uio_pci_generic" }, all, 9000},
		"a PF that does not say":  {func(*machine) {}, all, 0},
		"a PF that is vfio's too": {func(m *machine) { m.mtu, m.device.PF.Netdev = 9000, "" }, `{"name":"n","deviceID":"` + dev + `"}`, 0},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			m.device.Driver, m.link = "vfio-pci", nil
			tc.prep(m)
			result, err := m.engine(t).Add(t.Context(), inA(), parse(t, tc.conf))
			if err != nil {
				t.Fatal(err)
			}
			equal(t, "MTU of the result", tc.want, result.Interfaces[0].Mtu)
		})
	}
}

// The interface is prepared under its name in the pod, while it is down. Without it the pod starts too.
func TestAddPrepares(t *testing.T) {
	for name, failure := range map[string]error{"it succeeds": nil, "/proc/sys is read-only": unix.EROFS} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			m.unprepared = failure
			e := m.engine(t)
			var log strings.Builder
			e.Log = slog.New(slog.NewTextHandler(&log, nil))
			if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			equal(t, "prepared", "net0 in "+nsA+", up false", m.prepared)
			equal(t, "a warning", failure != nil, strings.Contains(log.String(), "may not outlive"))
		})
	}
}
