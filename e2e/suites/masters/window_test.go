package masters

import (
	"strings"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// viewOf gives the node for kubectl-plexus, which runs there as root.
func viewOf(n *cluster.Node) *window.Node {
	return &window.Node{Name: n.Name, Program: n.Plexus("kubectl-plexus"), Do: n.Do}
}

// title is the pod's name for kubectl-plexus.
func (tr *trial) title(p *cluster.Pod) string { return tr.s.Namespace + "/" + p.Name }

// inspected demands that kubectl-plexus finds nothing wrong with two pods that reach each other, that it
// shows the way that they do it by, and that it finds each fault, where it is, as long as it is there.
func (tr *trial) inspected(a, b *cluster.Pod) {
	tr.s.Helper()
	for _, p := range []*cluster.Pod{a, b} {
		viewOf(p.Node()).MustBeFine(tr.s, true, tr.title(p))
	}
	tr.ways(a, b)
	for _, f := range tr.faults {
		f.run(&between{tr, a, b})
	}
}

// ways demands the ways that the scenario has built, there and back.
func (tr *trial) ways(a, b *cluster.Pod) {
	tr.s.Helper()
	world := window.Read(tr.s, viewOf(a.Node()), viewOf(b.Node()))
	for name, way := range map[string]string{"eth0": tr.way, "net0": "net0 -child- eth1 -wire- eth1 -child- net0: arrives"} {
		document := world.Path(path.Query{From: tr.title(a), To: tr.title(b), Interface: name})
		check.Equal(tr.s, "the way there by "+name, window.Way(&document.There), endsIn(way, a, b))
		check.Equal(tr.s, "the way back by "+name, window.Way(document.Back), endsIn(way, b, a))
		check.Equal(tr.s, "more may be sent than passes by "+name, document.TooNarrow(), false)
		world.MustPass(document)
	}
	world.Keep(tr.page, path.Query{From: tr.title(a), To: tr.title(b), Interface: "eth0"})
}

// endsIn puts the host ends of two pods into a way.
func endsIn(way string, from, to *cluster.Pod) string {
	return strings.NewReplacer("FROM", from.HostEnd("eth0"), "TO", to.HostEnd("eth0")).Replace(way)
}
