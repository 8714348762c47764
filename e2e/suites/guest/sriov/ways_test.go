package sriov

import (
	"os"
	"path/filepath"

	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// ways demands that kubectl-plexus finds nothing wrong with the pods of TestGuestPod, and that it knows
// which PF their VFs are of: two VFs of one NIC, and of two.
func (l *lab) ways() {
	l.t.Helper()
	view := &window.Node{
		Name: "node1", Program: filepath.Join(os.Getenv("PLEXUS_BIN"), "kubectl-plexus"), StateDir: plexusDir,
		Do: func(f func() error) error { return f() },
	}
	view.MustBeFine(l.t, false, "default/one", "default/two", "default/three")
	world := window.Read(l.t, view)
	for _, test := range []struct{ ifName, there, back string }{
		{"net0", "net0 -child- pf0 -child- net0: arrives", "net0 -child- pf0 -child- net0: arrives"},
		{"net1", "net1 -child- pf0 -wire- pf1 -child- net1: arrives", "net1 -child- pf1 -wire- pf0 -child- net1: arrives"},
	} {
		d := world.Path(path.Query{From: "default/one", To: "default/two", Interface: test.ifName})
		check.Equal(l.t, "the way there by "+test.ifName, window.Way(&d.There), test.there)
		check.Equal(l.t, "the way back by "+test.ifName, window.Way(d.Back), test.back)
		world.MustPass(d)
	}
	world.Keep("sriov", path.Query{From: "default/one", To: "default/two", Interface: "net1"})
}
