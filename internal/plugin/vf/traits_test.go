package vf

import (
	"errors"
	"log/slog"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// changes are what a pod may do to its interface, each by what DEL does then.
var changes = map[string]struct {
	change func(*Traits)
	steps  []string
}{
	"promiscuous":    {func(t *Traits) { t.Flags |= unix.IFF_PROMISC }, []string{"traits"}},
	"all multicast":  {func(t *Traits) { t.Flags |= unix.IFF_ALLMULTI }, []string{"traits"}},
	"no multicast":   {func(t *Traits) { t.Flags = 0 }, []string{"traits"}},
	"no ARP":         {func(t *Traits) { t.Flags |= unix.IFF_NOARP }, []string{"traits"}},
	"a short queue":  {func(t *Traits) { t.TxQLen = 1 }, []string{"traits"}},
	"an alias":       {func(t *Traits) { t.Alias = "mine" }, []string{"traits"}},
	"a group":        {func(t *Traits) { t.Group = 7 }, []string{"traits"}},
	"an XDP program": {func(t *Traits) { t.XDP = 42 }, []string{"traits"}},
	"offloads":       {func(t *Traits) { t.Ethtool["offloads"] = []byte{9} }, []string{"ethtool offloads"}},
	"rings and more": {func(t *Traits) { t.Ethtool["rings"], t.Alias = []byte{9}, "x" }, []string{"ethtool rings", "traits"}},
	"nothing":        {func(*Traits) {}, nil},
}

// What a pod changed does not go to the next one, also where the kernel brought the interface home.
func TestDelRestoresTraits(t *testing.T) {
	for name, tc := range changes {
		for where, die := range map[string]func(*machine){
			"in the pod": func(*machine) {},
			"the namespace died": func(m *machine) {
				delete(m.namespaces, nsA)
				m.ns = ""
			},
		} {
			t.Run(name+", "+where, func(t *testing.T) {
				m := newMachine()
				e, before := m.engine(t), m.view()
				if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
					t.Fatal(err)
				}
				tc.change(&m.traits)
				die(m)
				m.notes = nil
				if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
					t.Fatal(err)
				}
				m.link.Index = before.Link.Index
				equal(t, "after DEL", before, m.view())
				var steps []string
				for _, note := range m.notes {
					if note == "traits" || strings.HasPrefix(note, "ethtool ") {
						steps = append(steps, note)
					}
				}
				equal(t, "steps", tc.steps, steps)
			})
		}
	}
}

// What is the kernel's own must come back; what is the driver's, as far as it lets.
func TestDelRefusedTraits(t *testing.T) {
	for step, tc := range map[string]struct {
		change func(*Traits)
		fails  bool
	}{
		"traits":           {func(t *Traits) { t.Flags |= unix.IFF_PROMISC }, true},
		"ethtool offloads": {func(t *Traits) { t.Ethtool["offloads"] = []byte{9} }, false},
	} {
		t.Run(step, func(t *testing.T) {
			del := func(failAt int) (*machine, *Engine, error) {
				m := newMachine()
				e := m.engine(t)
				if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
					t.Fatal(err)
				}
				tc.change(&m.traits)
				m.notes, m.failAt = nil, failAt
				return m, e, e.Del(t.Context(), inA(), parse(t, all))
			}
			m, _, _ := del(0)
			_, e, err := del(lastIndex(m.notes, step) + 1)
			if errors.Is(err, errBroken) != tc.fails {
				t.Errorf("got %v", err)
			}
			if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
				t.Error(err)
			}
			equal(t, "number of states", 0, len(states(t, e)))
		})
	}
}

// Without them a pod starts all the same, and DEL leaves them alone.
func TestAddWithoutTraits(t *testing.T) {
	m := newMachine()
	m.traitless = errBroken
	e := m.engine(t)
	var log strings.Builder
	e.Log = slog.New(slog.NewTextHandler(&log, nil))
	if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
		t.Fatal(err)
	}
	equal(t, "a warning", true, strings.Contains(log.String(), "will not be set back"))
	m.traits.TxQLen = 5
	if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
		t.Error(err)
	}
	equal(t, "the queue", 5, m.traits.TxQLen)
}

// Where the state is lost, the interface is left as the kernel makes one.
func TestDelWithoutStateResetsTraits(t *testing.T) {
	for name, change := range map[string]func(*Traits){
		"promiscuous": func(t *Traits) { t.Flags |= unix.IFF_PROMISC },
		"more":        func(t *Traits) { t.Flags, t.TxQLen, t.Alias, t.Group, t.XDP = 0, 1, "x", 7, 42 },
	} {
		t.Run(name, func(t *testing.T) {
			m := newMachine()
			e, before := m.engine(t), m.view()
			if _, err := e.Add(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			change(&m.traits)
			if err := os.RemoveAll(e.Store.Dir); err != nil {
				t.Fatal(err)
			}
			if err := e.Del(t.Context(), inA(), parse(t, all)); err != nil {
				t.Fatal(err)
			}
			equal(t, "after DEL", before.Traits, m.view().Traits)
		})
	}
}
