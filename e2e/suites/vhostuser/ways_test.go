package vhostuser

import (
	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/inspect/probe"
	"github.com/plexus-cni/plexus/internal/plugin/vhostuser"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// ways demands that kubectl-plexus does not miss an interface where a vhost-user port was made, which no
// kernel has.
func (l *lab) ways() {
	l.t.Helper()
	view := window.Of("node1", l.Node)
	view.MustBeFine(l.t, false, "default/a", "default/b")
	world := window.Read(l.t, view)
	d := world.Path(path.Query{From: "default/a", To: "default/b", Interface: "eth0"})
	check.Equal(l.t, "the way there by eth0", d.There.Outcome, path.Arrives)
	world.MustPass(d)
	query := path.Query{From: "default/a", To: "default/b", Interface: "net0"}
	d = world.Path(query)
	check.Contains(l.t, "the way there by net0", window.Way(&d.There), "net0", "unknown")
	_, err := probe.New(d, "icmp") // the program in the pod has the interface: nothing else can send by it
	check.Error(l.t, err, "no packet can be sent by net0: a program of pod default/a drives net0")
	world.Show(l.socketDir(), vhostuser.DefaultSocketDir)
	world.Keep("vhost-user", query)
}
