//go:build linux

package collect

import (
	"maps"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

func init() { maps.Copy(faults, faultsOfRoutes) }

// faultsOfRoutes are of routes, gateways and filters, and what is close to them and healthy.
var faultsOfRoutes = map[string]struct {
	breakIt func(*world)
	want    []string
}{
	"an interface is set down and up": {func(w *world) {
		w.a.MustRun("ip", "link", "set", "eth0", "down")
		w.a.MustRun("ip", "link", "set", "eth0", "up")
	}, []string{"error route-missing: pod default/a, eth0"}},
	"a route of a secondary network is deleted": {func(w *world) {
		w.routed("c")
		w.run("c", "ip", "route", "del", "198.51.100.0/24")
	}, []string{"error route-missing: pod default/c, net0"}},
	"routes that a plugin moved to another table": {func(w *world) { w.routed("c", "sbr") }, []string{}},
	"a default route that a pod asked to be elsewhere": {func(w *world) {
		w.Network("lan", node.Bridge("lan", "10.9.0.0/16"))
		w.PodWith("c", `[{"name": "lan", "default-route": ["10.9.0.1"]}]`)
		w.Add(w.Sandbox("c"), w.Conf(nil)).OK()
	}, []string{}},
	"another pod answers for the gateway": {func(w *world) {
		w.b.MustRun("ip", "link", "set", "eth0", "address", "02:00:00:00:00:bb")
		w.a.MustRun("ip", "neigh", "replace", "10.1.0.1", "lladdr", "02:00:00:00:00:bb", "dev", "eth0", "nud", "permanent")
	}, []string{"error gateway-wrong-mac: pod default/a, eth0"}},
	"somebody else answers for the gateway of a ptp": {func(w *world) {
		w.a.MustRun("ip", "neigh", "replace", "10.3.0.1", "lladdr", "02:00:00:00:00:bb", "dev", "net1", "nud", "permanent")
		w.a.MustRun("ip", "route", "add", "10.33.0.0/16", "via", "10.3.0.1", "dev", "net1")
	}, []string{"error gateway-wrong-mac: pod default/a, net1"}},
	"a pod remembers the MAC of a port that is gone": {func(w *world) {
		w.a.MustRun("ip", "neigh", "replace", "10.1.0.1", "lladdr", "02:00:00:00:00:bb", "dev", "eth0", "nud", "reachable")
	}, []string{}},
	"the bridge answers for the gateway": {func(w *world) {
		check.Must(w.t, w.a.Ping("10.1.0.1"))
	}, []string{}},
	"a pod dropped what it filters strictly": {func(w *world) {
		w.a.MustRun("sysctl", "-qw", "net.ipv4.conf.net0.rp_filter=1")
		w.spoof()
	}, []string{"warning rp-filter-strict: pod default/a, net0"}},
	"a pod that does not filter strictly": {func(w *world) {
		w.a.MustRun("sysctl", "-qw", "net.ipv4.conf.net0.rp_filter=2")
		w.spoof()
	}, []string{}},
	"legacy iptables drops what is forwarded": {func(w *world) {
		w.Run("iptables-legacy", "-P", "FORWARD", "DROP")
	}, []string{"error forward-drops-all: the node, -"}},
	"legacy iptables of IPv6 drops what is forwarded": {func(w *world) {
		w.Run("sysctl", "-qw", "net.ipv6.conf.all.forwarding=1")
		w.Run("ip6tables-legacy", "-P", "FORWARD", "DROP")
		w.Run("ip6tables-legacy", "-A", "INPUT", "-s", "2001:db8::66", "-j", "DROP")
	}, []string{"error forward-drops-all: the node, -", "notice legacy-iptables: the node, -"}},
	"legacy iptables drops what its rules do not accept": {func(w *world) {
		w.Run("iptables-legacy", "-P", "FORWARD", "DROP")
		w.Run("iptables-legacy", "-A", "FORWARD", "-s", "10.1.0.0/16", "-j", "ACCEPT")
	}, []string{"notice legacy-iptables: the node, -"}},
	"legacy iptables drops what comes in": {func(w *world) { w.Run("iptables-legacy", "-P", "INPUT", "DROP") }, []string{}},
	"nftables drop what is forwarded": {func(w *world) {
		w.Run("nft", "add", "table", "inet", "shut")
		w.Run("nft", "add", "chain", "inet", "shut", "fw", "{ type filter hook forward priority 0; policy drop; }")
	}, []string{"error forward-drops-all: the node, -"}},
	"nftables drop what their rules do not accept": {func(w *world) {
		w.Run("nft", "add", "table", "inet", "shut")
		w.Run("nft", "add", "chain", "inet", "shut", "fw", "{ type filter hook forward priority 0; policy drop; }")
		w.Run("nft", "add", "rule", "inet", "shut", "fw", "ip saddr 10.1.0.0/16 accept")
	}, []string{}},
	"nftables drop what comes in": {func(w *world) {
		w.Run("nft", "add", "table", "inet", "shut")
		w.Run("nft", "add", "chain", "inet", "shut", "fw", "{ type filter hook input priority 0; policy drop; }")
	}, []string{}},
	"the MTU below a tunnel that is bound to no interface": {func(w *world) {
		w.Run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
		w.Run("ip", "link", "add", "vx0", "mtu", "1460", "type", "vxlan", "id", "1", "local", "192.0.2.1", "dstport", "8472")
		w.Run("ip", "link", "set", "vx0", "up")
	}, []string{"error overlay-mtu: the node, vx0"}},
	"a tunnel whose ends are given with each packet": {func(w *world) {
		w.Run("ip", "addr", "add", "192.0.2.1/24", "dev", "up0")
		w.Run("ip", "link", "add", "vx0", "mtu", "65000", "type", "vxlan", "external", "dstport", "8472")
		w.Run("ip", "link", "set", "vx0", "up")
	}, []string{}},
}

// routed attaches a pod to a network with a route, and to plugins after it.
func (w *world) routed(pod string, more ...string) {
	w.t.Helper()
	ipam := node.HostLocal("10.9.0.0/16")
	ipam["routes"] = []any{node.Conf{"dst": "198.51.100.0/24"}}
	plugins := []any{node.Bridge("lan", "10.9.0.0/16").With(node.Conf{"isGateway": true, "ipam": ipam})}
	for _, plugin := range more {
		plugins = append(plugins, node.Conf{"type": plugin})
	}
	w.Network("lan", node.Conf{"cniVersion": "1.0.0", "name": "lan", "plugins": plugins})
	w.PodWith(pod, "lan")
	w.Add(w.Sandbox(pod), w.Conf(nil)).OK()
}

// run runs a command in a pod that a test made.
func (w *world) run(pod string, command ...string) {
	w.t.Helper()
	w.Run("nsenter", append([]string{"--net=" + w.Path("netns", pod), "--"}, command...)...)
}

// spoof sends a packet into net0 of pod a whose answer would leave by eth0.
func (w *world) spoof() {
	w.t.Helper()
	w.b.MustRun("sysctl", "-qw", "net.ipv4.conf.net0.arp_announce=2") // pod a answers no ARP of that address
	w.b.MustRun("ip", "addr", "add", "198.51.100.7/32", "dev", "net0")
	_, _ = w.b.Run("ping", "-c", "1", "-W", "1", "-I", "198.51.100.7", "10.2.0.2")
	_, _ = w.b.Run("ping", "-c", "1", "-W", "1", "-I", "198.51.100.7", "10.2.0.3") // either may be that of pod a
}
