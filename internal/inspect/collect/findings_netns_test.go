//go:build linux

package collect

import (
	"fmt"
	"path/filepath"
	"slices"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// world is a node with two pods, which plexus attached: eth0 to a bridge with the default
// route, net0 to a macvlan on up0, net1 by ptp.
type world struct {
	*node.Node
	t    *testing.T
	a, b *node.Sandbox
}

func newWorld(t *testing.T) *world {
	t.Helper()
	n := node.New(t)
	n.Uplink("up0")
	n.Network("mac", node.Macvlan("mac", "up0", "10.2.0.0/16"))
	n.Network("ptp", node.Conf{"cniVersion": "1.0.0", "name": "ptp", "type": "ptp", "ipam": node.HostLocal("10.3.0.0/16")})
	w := &world{Node: n, t: t}
	for name, sandbox := range map[string]**node.Sandbox{"a": &w.a, "b": &w.b} {
		n.PodWith(name, "mac, ptp")
		*sandbox = n.Sandbox(name)
		n.Add(*sandbox, n.Conf(nil)).OK()
	}
	return w
}

// snapshot reads the node as it is.
func (w *world) snapshot() (read *inspect.Snapshot) {
	w.t.Helper()
	w.Do(func() error {
		read = w.snapshotHere()
		return nil
	})
	return read
}

// snapshotHere reads the node from a thread of it.
func (w *world) snapshotHere() *inspect.Snapshot {
	w.t.Helper()
	read, err := Node(Options{StateDir: filepath.Join(w.CNIDir, "plexus"), NetNSDirs: []string{w.Path("netns")}, Sysfs: "/sys"})
	check.Must(w.t, err)
	return read
}

// hostEnd gives the name of the other end of a pod's interface.
func (w *world) hostEnd(pod, name string) string {
	w.t.Helper()
	s := w.snapshot()
	graph := inspect.NewGraph(s)
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		if ns.Sandbox == nil || ns.Sandbox.ContainerID != pod {
			continue
		}
		if _, end := graph.PeerOf(inspect.Ref{Namespace: ns.Inode, Index: ns.LinkNamed(name).Index}); end != nil {
			return end.Name
		}
	}
	w.t.Fatalf("no host end of %s", name)
	return ""
}

// found gives what the snapshot says, as "severity id: where, interface".
func found(s *inspect.Snapshot) []string {
	graph, all := inspect.NewGraph(s), []string{}
	for _, f := range inspect.Findings(s) {
		name := "-"
		if link := graph.Link(f.At); link != nil {
			name = link.Name
		}
		all = append(all, fmt.Sprintf("%s %s: %s, %s", f.Severity, f.ID, graph.Namespace(f.At.Namespace).Title(), name))
	}
	slices.Sort(all)
	return all
}

// faults are what is broken on a node, and what is found then.
var faults = map[string]struct {
	breakIt func(*world)
	want    []string
}{
	"a healthy node": {func(*world) {}, []string{}},
	"the host end is taken off its bridge": {func(w *world) {
		w.Run("ip", "link", "set", w.hostEnd("a", "eth0"), "nomaster")
	}, []string{"error host-end-off-bridge: pod default/a, eth0"}},
	"the host end is taken off a bridge without a gateway": {func(w *world) {
		w.Network("flat", node.Bridge("flat", "10.9.0.0/16").With(node.Conf{"isGateway": false}))
		w.PodWith("c", "flat")
		w.Add(w.Sandbox("c"), w.Conf(nil)).OK()
		w.Run("ip", "link", "set", w.hostEnd("c", "net0"), "nomaster")
	}, []string{"error host-end-off-bridge: pod default/c, net0"}},
	"an interface is set down": {func(w *world) {
		w.a.MustRun("ip", "link", "set", "net0", "down")
	}, []string{"error interface-down: pod default/a, net0"}},
	"the host end is set down": {func(w *world) {
		w.Run("ip", "link", "set", w.hostEnd("a", "net1"), "down")
	}, []string{"error no-carrier: pod default/a, net1"}},
	"the parent of a macvlan is set down": {func(w *world) {
		w.Run("ip", "link", "set", "up0", "down")
	}, []string{"error parent-down: pod default/a, net0", "error parent-down: pod default/b, net0"}},
	"the parent of a macvlan loses its carrier": {func(w *world) {
		w.Run("ip", "link", "set", "up0-peer", "down")
	}, []string{"error parent-down: pod default/a, net0", "error parent-down: pod default/b, net0"}},
	"the bridge is set down": {func(w *world) {
		w.Run("ip", "link", "set", "cbr0", "down")
	}, []string{"error bridge-down: pod default/a, eth0", "error bridge-down: pod default/b, eth0"}},
	"the MTU of a pod's side is raised": {func(w *world) {
		w.a.MustRun("ip", "link", "set", "net1", "mtu", "4000")
	}, []string{"error mtu-above-host-side: pod default/a, net1"}},
	"the MTU of the bridge is lowered": {func(w *world) {
		w.Run("ip", "link", "set", "cbr0", "mtu", "1400")
	}, []string{"warning mtu-above-bridge: pod default/a, eth0", "warning mtu-above-bridge: pod default/b, eth0"}},
	"the MTU below an overlay is lowered": {func(w *world) {
		w.overlay()
		w.Run("ip", "link", "set", "up0", "mtu", "1450")
	}, []string{"error overlay-mtu: the node, vx0"}},
	"an FDB entry of a VTEP is deleted": {func(w *world) {
		w.overlay()
		w.Run("bridge", "fdb", "del", "02:00:00:00:00:09", "dev", "vx0", "dst", "192.0.2.9")
	}, []string{"error vtep-fdb-missing: the node, vx0"}},
	"a VTEP does not know its next hop": {func(w *world) {
		w.overlay()
		w.Run("ip", "route", "add", "10.8.7.0/24", "via", "10.8.7.0", "dev", "vx0", "onlink")
	}, []string{"error vtep-neighbour-missing: the node, vx0"}},
	"a VTEP knows its next hop": {func(w *world) {
		w.overlay()
		w.Run("ip", "neigh", "add", "10.8.7.0", "lladdr", "02:00:00:00:00:09", "dev", "vx0", "nud", "permanent")
		w.Run("ip", "route", "add", "10.8.7.0/24", "via", "10.8.7.0", "dev", "vx0", "onlink")
	}, []string{}},
	"a healthy overlay": {(*world).overlay, []string{}},
	"an interface is deleted": {func(w *world) {
		w.a.MustRun("ip", "link", "del", "net0")
	}, []string{"error interface-gone: pod default/a, -"}},
	"the parent of a macvlan is deleted": {func(w *world) {
		w.Run("ip", "link", "del", "up0")
	}, []string{"error interface-gone: pod default/a, -", "error interface-gone: pod default/b, -"}},
	"an address is deleted": {func(w *world) {
		w.a.MustRun("ip", "addr", "flush", "dev", "net0")
	}, []string{"error address-missing: pod default/a, net0"}},
	"two pods of a bridge have one address": {func(w *world) {
		w.a.MustRun("ip", "addr", "add", "10.1.7.7/16", "dev", "eth0")
		w.b.MustRun("ip", "addr", "add", "10.1.7.7/16", "dev", "eth0")
	}, []string{"error duplicate-address: pod default/b, eth0"}},
	"two pods of a macvlan have one address": {func(w *world) {
		w.a.MustRun("ip", "addr", "add", "2001:db8::7/64", "dev", "net0")
		w.b.MustRun("ip", "addr", "add", "2001:db8::7/64", "dev", "net0")
	}, []string{"error duplicate-address: pod default/b, net0"}},
	"two pods have one address in different networks": {func(w *world) {
		w.a.MustRun("ip", "addr", "add", "10.7.7.7/32", "dev", "eth0")
		w.b.MustRun("ip", "addr", "add", "10.7.7.7/32", "dev", "net0")
	}, []string{}},
	"a gateway does not answer": {func(w *world) {
		w.a.MustRun("ip", "route", "add", "10.20.0.0/16", "via", "10.2.0.99", "dev", "net0")
		w.a.MustRun("ip", "neigh", "replace", "10.2.0.99", "dev", "net0", "nud", "failed")
	}, []string{"warning gateway-unresolved: pod default/a, net0"}},
	"a node without a default route, and a gateway that nobody has": {
		func(w *world) { w.calico() },
		[]string{"error proxy-arp-without-route: pod default/a, cali"},
	},
	"a node with a default route, and a gateway that nobody has": {func(w *world) {
		w.calico()
		w.Run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
		w.Run("ip", "route", "add", "default", "via", "192.0.2.254")
	}, []string{}},
	"the node does not forward": {func(w *world) {
		w.Run("sysctl", "-qw", "net.ipv4.conf.cbr0.forwarding=0")
	}, []string{"warning forwarding-off: pod default/a, eth0", "warning forwarding-off: pod default/b, eth0"}},
	"a pod filters strictly": {func(w *world) {
		w.a.MustRun("sysctl", "-qw", "net.ipv4.conf.net0.rp_filter=1")
	}, []string{"notice rp-filter-strict: pod default/a, net0"}},
	"a pod filters strictly, and has a rule": {func(w *world) {
		w.a.MustRun("sysctl", "-qw", "net.ipv4.conf.net0.rp_filter=1")
		w.a.MustRun("ip", "rule", "add", "from", "10.2.0.0/16", "table", "100")
	}, []string{}},
	"a pod filters strictly where its default route is": {func(w *world) {
		w.a.MustRun("sysctl", "-qw", "net.ipv4.conf.eth0.rp_filter=1")
	}, []string{}},
	"legacy iptables beside nftables": {func(w *world) {
		w.Run("iptables-legacy", "-A", "FORWARD", "-s", "192.0.2.66", "-j", "DROP")
		w.Run("nft", "add", "table", "inet", "somebody")
	}, []string{"warning legacy-iptables: the node, -"}},
	"legacy iptables alone": {func(w *world) {
		w.a.MustRun("ip6tables-legacy", "-A", "FORWARD", "-s", "2001:db8::66", "-j", "DROP")
	}, []string{"notice legacy-iptables: pod default/a, -"}},
	"legacy iptables without rules": {func(w *world) {
		w.Run("iptables-legacy", "-L")
		w.Run("nft", "add", "table", "inet", "somebody")
	}, []string{}},
}

// Each finding is made to happen in a real kernel; a healthy node gives none.
func TestNetnsFindings(t *testing.T) {
	for name, test := range faults {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			test.breakIt(w)
			check.Equal(t, "findings", found(w.snapshot()), test.want)
		})
	}
}

// overlay makes a VTEP as Flannel does, with another node behind it.
func (w *world) overlay() {
	w.t.Helper()
	w.Run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
	w.Run("ip", "link", "add", "vx0", "type", "vxlan", "id", "1", "dev", "up0", "local", "192.0.2.1", "dstport", "8472", "nolearning")
	w.Run("ip", "link", "set", "vx0", "up")
	w.Run("ip", "neigh", "add", "10.8.0.0", "lladdr", "02:00:00:00:00:09", "dev", "vx0", "nud", "permanent")
	w.Run("bridge", "fdb", "add", "02:00:00:00:00:09", "dev", "vx0", "dst", "192.0.2.9")
}

// calico makes an interface of pod a as Calico does.
func (w *world) calico() {
	w.t.Helper()
	w.Run("ip", "link", "add", "cali0", "type", "veth", "peer", "name", "cali", "netns", w.a.Path)
	w.Run("ip", "link", "set", "cali0", "up")
	w.Run("sysctl", "-qw", "net.ipv4.conf.cali0.proxy_arp=1")
	w.a.MustRun("ip", "addr", "add", "10.40.0.2/32", "dev", "cali")
	w.a.MustRun("ip", "link", "set", "cali", "up")
	w.a.MustRun("ip", "route", "add", "169.254.1.1", "dev", "cali", "scope", "link")
	w.a.MustRun("ip", "route", "add", "10.50.0.0/16", "via", "169.254.1.1", "dev", "cali")
}
