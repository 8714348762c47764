package masters

import (
	"encoding/json"
	"errors"
	"fmt"
	"strings"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// between is two pods that reach each other: a is on node 1, b on node 2, where things go wrong.
type between struct {
	*trial
	a, b *cluster.Pod
}

// fault is what goes wrong, from the symptom to the cause.
type fault struct {
	name string
	// inject makes it, and gives what mends it as inspect or path says, and what clears up.
	inject func(f *between) (repair, clear func())
	// symptom gives an error as long as the fault is not there.
	symptom func(f *between) error
	finding []string // words of what inspect says of b
	query   func(f *between) path.Query
	path    func(f *between, d *path.Document) // what path says
	size    int                                // of the packet that is lost; 0 is for all
	probe   func(f *between) []string          // words of what a probe with the kernels' reasons says of it
}

// run injects the fault, and demands that it is said, and that it is gone after its repair.
func (k *fault) run(f *between) {
	f.s.Helper()
	f.s.Logf("fault: %s", k.name)
	repair, clear := k.inject(f)
	f.s.Await("the symptom of: "+k.name, func() error { return k.symptom(f) })
	node, b := viewOf(f.b.Node()), f.title(f.b)
	if len(k.finding) > 0 {
		node.MustFind(f.s, b, k.finding...)
	}
	d := f.path(k)
	f.s.Logf("%s: %q; path:\n%s", k.name, node.Findings(f.s, b), window.Ways(d))
	k.path(f, d)
	for range 2 {
		f.probe(k)
	}
	repair()
	f.s.Await("the end of: "+k.name, func() error {
		if k.symptom(f) == nil {
			return errors.New("the symptom is there")
		}
		return nil
	})
	node.MustBeFine(f.s, true, b)
	check.Equal(f.s, "wrong after the repair of: "+k.name, f.path(k).Wrong(), false)
	clear()
}

func (f *between) path(k *fault) *path.Document {
	f.s.Helper()
	_, document := f.trace(k)
	return document
}

func (f *between) trace(k *fault) (*window.World, *path.Document) {
	f.s.Helper()
	query := path.Query{From: f.title(f.b), To: f.title(f.a), Interface: "eth0"}
	if k.query != nil {
		query = k.query(f)
	}
	world := window.Read(f.s, viewOf(f.a.Node()), viewOf(f.b.Node()))
	return world, world.Path(query)
}

// probe demands that packets are lost where the fault is, for the kernel's reason.
func (f *between) probe(k *fault) {
	f.s.Helper()
	if k.probe == nil {
		return
	}
	world, d := f.trace(k)
	world.Probe(d)
	f.s.Logf("%s: %q", k.name, d.Probe.Lines())
	for _, shot := range d.Probe.Shots {
		if k.size == 0 && d.Narrowest != nil && shot.Size > d.Narrowest.Size {
			continue // it would not pass a path without a fault
		}
		if k.size != 0 && shot.Size != k.size {
			check.Equal(f.s, fmt.Sprintf("a packet of %d bytes", shot.Size), shot.Outcome, path.Answered)
			continue
		}
		check.Contains(f.s, fmt.Sprintf("what became of %d bytes", shot.Size), fmt.Sprintf("%s: %s", shot.Outcome, shot.Reason), k.probe(f)...)
	}
}

// on runs commands, a line each, on the node of b.
func (f *between) on(commands string) {
	f.s.Helper()
	for line := range strings.Lines(commands) {
		words := strings.Fields(line)
		_, err := f.b.Node().Run(words[0], words[1:]...)
		f.s.Must(err)
	}
}

// in runs commands, a line each, in the network of a pod.
func (f *between) in(p *cluster.Pod, commands string) {
	f.s.Helper()
	for line := range strings.Lines(commands) {
		words := strings.Fields(line)
		_, err := p.Run(words[0], words[1:]...)
		f.s.Must(err)
	}
}

var errPasses = errors.New("packets pass")

// unreached is the symptom of most: b does not reach a by eth0, also not by asking anew for its gateway.
func unreached(f *between) error {
	f.in(f.b, "ip neigh flush dev eth0")
	if f.b.Ping(f.a.IP("eth0")) == nil {
		return errPasses
	}
	return nil
}

var faultsOfVXLAN = []fault{
	{
		name: "the host end is off its bridge",
		inject: func(f *between) (repair, clear func()) {
			end := f.b.HostEnd("eth0")
			f.on("ip link set " + end + " nomaster")
			return func() { f.on("ip link set " + end + " master cni0") }, func() {}
		},
		symptom: unreached,
		finding: []string{"error host-end-off-bridge: eth0", "on no bridge", "cni0", "not of cni0"},
		path: func(f *between, d *path.Document) {
			check.Contains(f.s, "ways", window.Ways(d), "cni0: lost")
		},
		// The host end routes by itself what comes in, so packets leave; the answers find nobody behind the bridge.
		probe: func(*between) []string {
			return []string{"answer lost: the answer was seen at ", "and not at cni0 of node2", "NEIGH_FAILED, "}
		},
	},
	{
		name: "an FDB entry of the VTEP is gone",
		inject: func(f *between) (repair, clear func()) {
			entry := fmt.Sprintf("%s dev flannel.1 dst %s self", f.macOf(f.a.Node(), "flannel.1"), f.a.Node().IP())
			f.on("bridge fdb del " + entry)
			return func() { f.on("bridge fdb append " + entry + " permanent") }, func() {}
		},
		symptom: unreached,
		finding: []string{"error vtep-fdb-missing", "flannel.1", "no FDB entry"},
		path: func(f *between, d *path.Document) {
			check.Contains(f.s, "way there", window.Way(&d.There), "-routed- flannel.1: lost", "NO_TX_TARGET")
			check.Equal(f.s, "the way back arrives", d.Back.Outcome, path.Arrives)
		},
		probe: func(*between) []string {
			return []string{"packet lost: it was seen last at flannel.1 of node2", "the kernel of node2 dropped it at flannel.1", "NO_TX_TARGET, "}
		},
	},
	{
		name: "legacy iptables drops beside nftables",
		inject: func(f *between) (repair, clear func()) {
			f.on("iptables-legacy -A FORWARD -i cni0 -j DROP")
			return func() { f.on("iptables-legacy -D FORWARD -i cni0 -j DROP") }, func() {}
		},
		symptom: unreached,
		finding: []string{"warning legacy-iptables", "legacy iptables has rules in ip filter"},
		path: func(f *between, d *path.Document) {
			check.Contains(f.s, "notes", strings.Join(window.Notes(&d.There, f.b.Node().Name), "; "), "flannel.1: rules of legacy iptables may drop", "ip filter")
		},
		probe: func(*between) []string {
			return []string{"packet lost: it was seen at cni0 of node2, and not at flannel.1 of node2", "the kernel of node2 dropped it at cni0", "NETFILTER_DROP, "}
		},
	},
	{
		name: "the NIC's MTU is too small for the overlay",
		inject: func(f *between) (repair, clear func()) {
			f.on("ip link set eth0 mtu 1450")
			return func() { f.on("ip link set eth0 mtu 1500") }, func() {}
		},
		symptom: func(f *between) error {
			f.b.MustPing(f.a.IP("eth0"))
			if _, err := f.b.Run("ping", "-n", "-c", "1", "-W", "2", "-s", "1400", f.a.IP("eth0").String()); err == nil {
				return errPasses
			}
			return nil
		},
		finding: []string{"error overlay-mtu", "flannel.1", "more than the 1450 of eth0"},
		path: func(f *between, d *path.Document) {
			check.Equal(f.s, "the narrowest hop", *d.Narrowest, path.Narrowest{Size: 1400, Node: f.b.Node().Name, Hop: "eth0", Sends: 1450})
		},
		size:  1450,
		probe: func(*between) []string { return []string{"lost: ", "eth0 of node2"} },
	},
	{
		name:   "strict rp_filter, and an answer by another network",
		inject: askFromBeyond,
		symptom: func(f *between) error {
			before := f.outputOf(f.b.Node(), "nsenter", "--net="+f.b.Sandbox().NetNS, "nstat", "-asz", "TcpExtIPReversePathFilter")
			if f.a.Ping(f.b.IP("net0")) == nil {
				return errPasses
			}
			if after := f.outputOf(f.b.Node(), "nsenter", "--net="+f.b.Sandbox().NetNS, "nstat", "-asz", "TcpExtIPReversePathFilter"); before == after {
				return errors.New("nothing was dropped by rp_filter")
			}
			return nil
		},
		finding: []string{"warning rp-filter-strict: net0", "no rule is for", "counters[TcpExtIPReversePathFilter]"},
		query:   func(f *between) path.Query { return path.Query{From: f.title(f.a), To: f.b.IP("net0").String()} },
		path: func(f *between, d *path.Document) {
			check.Contains(f.s, "way there", window.Way(&d.There), "net0 -child- eth1 -wire- eth1 -child- net0: lost", "from 172.31.9.1", "rp_filter is 1", "by eth0")
		},
		probe: func(f *between) []string {
			return []string{"packet lost: it was seen last at net0 of pod " + f.title(f.b), "the kernel of node2 dropped it at net0", "IP_RPFILTER, "}
		},
	},
	tunnelFiltered("flannel.1", "8472"),
	noForwardingOfBridge,
}

// askFromBeyond has a ask b's net0 from an address that b answers to by eth0. What mends it is the
// rule that the sbr plugin would have made.
func askFromBeyond(f *between) (repair, clear func()) {
	f.in(f.a, fmt.Sprintf("ip addr add 172.31.9.1/32 dev net0\nip route add %s dev net0 src 172.31.9.1", f.b.IP("net0")))
	f.in(f.b, "sysctl -qw net.ipv4.conf.net0.rp_filter=1")
	repair = func() {
		f.in(f.b, fmt.Sprintf("ip route add default dev net0 table 100\nip rule add from %s table 100", f.b.IP("net0")))
	}
	return repair, func() {
		f.in(f.b, fmt.Sprintf("ip rule del from %s table 100\nip route flush table 100\nsysctl -qw net.ipv4.conf.net0.rp_filter=0", f.b.IP("net0")))
		f.in(f.a, "ip addr del 172.31.9.1/32 dev net0")
	}
}

func (f *between) macOf(n *cluster.Node, name string) string {
	f.s.Helper()
	var links []struct{ Address string }
	f.s.Must(json.Unmarshal([]byte(f.outputOf(n, "ip", "-json", "link", "show", "dev", name)), &links))
	return links[0].Address
}

func (f *between) outputOf(n *cluster.Node, name string, args ...string) string {
	f.s.Helper()
	out, err := n.Run(name, args...)
	f.s.Must(err)
	return out
}
