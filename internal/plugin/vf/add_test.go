package vf

import "testing"

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
