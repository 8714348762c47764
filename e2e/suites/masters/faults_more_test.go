package masters

import (
	"encoding/json"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

var (
	faultsOfHostGW = []fault{leftBlackhole, forwardDenied}
	faultsOfCalico = []fault{noDefaultRoute, tunnelFiltered("vxlan.calico", "4789"), noForwardingOfHostEnd}
	faultsOfCanal  = []fault{hostEndDown, vtepNeighbourGone}
)

var noDefaultRoute = fault{
	name: "the node has no default route",
	inject: func(f *between) (repair, clear func()) {
		f.on("ip route del default via 10.199.0.1")
		return func() { f.on("ip route add default via 10.199.0.1") }, func() {}
	},
	symptom: unreached,
	finding: []string{"error proxy-arp-without-route: eth0", "169.254.1.1"},
	path: func(f *between, d *path.Document) {
		check.Contains(f.s, "way there", window.Way(&d.There), "eth0 -pair- "+f.b.HostEnd("eth0")+": lost", "proxy ARP", "169.254.1.1")
	},
	probe: rejectedByPod,
}

// rejectedByPod is what a probe says where a pod's gateway does not answer.
func rejectedByPod(f *between) []string {
	pod := "pod " + f.title(f.b)
	return []string{"rejected: " + pod + " (", "says: the next hop does not answer", "dropped it at eth0 of " + pod, "NEIGH_FAILED, "}
}

// noForwardingOf has a node no longer forward what comes in by an interface.
func noForwardingOf(name string, of func(f *between) string, probe func(f *between) []string) fault {
	return fault{
		name: name,
		inject: func(f *between) (repair, clear func()) {
			setting := "sysctl -qw net.ipv4.conf." + of(f) + ".forwarding="
			f.on(setting + "0")
			return func() { f.on(setting + "1") }, func() {}
		},
		symptom: unreached,
		finding: []string{"warning forwarding-off: eth0", "which does not forward"},
		path: func(f *between, d *path.Document) {
			check.Contains(f.s, "way there", window.Way(&d.There), of(f)+": lost", "does not forward what comes in by "+of(f))
		},
		probe: probe,
	}
}

var noForwardingOfHostEnd = noForwardingOf("the host end does not forward, so it does not answer for the gateway",
	func(f *between) string { return f.b.HostEnd("eth0") }, rejectedByPod)

var noForwardingOfBridge = noForwardingOf("the bridge does not forward", func(*between) string { return "cni0" },
	func(*between) []string {
		return []string{"packet lost: it was seen last at cni0 of node2", "dropped it at cni0", "IP_INADDRERRORS, "}
	})

// tunnelFiltered has the node's firewall drop what comes in for a tunnel: no rule says so of pods.
func tunnelFiltered(vtep, port string) fault {
	return fault{
		name: "a firewall drops the packets of the tunnel",
		inject: func(f *between) (repair, clear func()) {
			f.on("nft add table ip hardened\n" +
				"nft add chain ip hardened input { type filter hook input priority 0 ; }\n" +
				"nft add rule ip hardened input udp dport " + port + " drop")
			return func() { f.on("nft delete table ip hardened") }, func() {}
		},
		symptom: unreached,
		path: func(f *between, d *path.Document) {
			check.Equal(f.s, "the way there arrives", d.There.Outcome, path.Arrives) // netfilter's rules are not judged
		},
		probe: func(*between) []string {
			return []string{"answer lost: the answer was seen at eth0 of node2, and not at " + vtep + " of node2", "dropped it at eth0 in ", "NETFILTER_DROP, "}
		},
	}
}

var leftBlackhole = fault{
	name: "a blackhole route is left of an address",
	inject: func(f *between) (repair, clear func()) {
		route := " blackhole " + f.a.IP("eth0").String() + "/32"
		f.on("ip route add" + route)
		return func() { f.on("ip route del" + route) }, func() {}
	},
	symptom: unreached,
	path: func(f *between, d *path.Document) {
		check.Contains(f.s, "way there", window.Way(&d.There), "cni0: lost", "a blackhole route for "+f.a.IP("eth0").String())
	},
	probe: func(*between) []string {
		return []string{"packet lost: it was seen last at cni0 of node2: the routing of the node has a blackhole route", "the kernel of node2 dropped it at cni0"}
	},
}

var forwardDenied = fault{
	name: "a firewall forwards nothing",
	inject: func(f *between) (repair, clear func()) {
		f.on("nft add table ip hardened\nnft add chain ip hardened forward { type filter hook forward priority 0 ; policy drop ; }")
		return func() { f.on("nft delete table ip hardened") }, func() {}
	},
	symptom: unreached,
	finding: []string{"error forward-drops-all", "table hardened"},
	path: func(f *between, d *path.Document) {
		check.Contains(f.s, "notes", strings.Join(window.Notes(&d.There, f.b.Node().Name), "; "), "hardened")
	},
	probe: func(*between) []string {
		return []string{"packet lost: it was seen at cni0 of node2, and not at eth0 of node2", "dropped it at cni0 in ", "NETFILTER_DROP, "}
	},
}

var hostEndDown = fault{
	name: "the host end is down",
	inject: func(f *between) (repair, clear func()) {
		end := f.b.HostEnd("eth0")
		f.on("ip link set " + end + " down")
		// With the link its routes went: the network's own agent makes them again when it is up.
		return func() { f.on("ip link set " + end + " up") }, func() {}
	},
	symptom: unreached,
	finding: []string{"error no-carrier: eth0", "is down"},
	path: func(f *between, d *path.Document) {
		check.Contains(f.s, "way there", window.Way(&d.There), "eth0: lost", "no carrier")
	},
	probe: rejectedByPod,
}

var vtepNeighbourGone = fault{
	name: "the neighbour entry of a VTEP is gone",
	inject: func(f *between) (repair, clear func()) {
		entry := f.neighbourOf(f.macOf(f.a.Node(), "flannel.1")) + " dev flannel.1"
		mac := f.macOf(f.a.Node(), "flannel.1")
		f.on("ip neigh del " + entry)
		return func() { f.on("ip neigh replace " + entry + " lladdr " + mac + " nud permanent") }, func() {}
	},
	symptom: unreached,
	finding: []string{"error vtep-neighbour-missing", "flannel.1", "no neighbour entry for "},
	path: func(f *between, d *path.Document) {
		check.Contains(f.s, "way there", window.Way(&d.There), "flannel.1: lost", "no neighbour entry for ")
	},
	probe: func(*between) []string {
		return []string{"rejected: node2 (", "says: the next hop does not answer", "dropped it at flannel.1 in ", "NEIGH_FAILED, "}
	},
}

// neighbourOf gives the address that b's node knows a MAC by, at its VTEP.
func (f *between) neighbourOf(mac string) string {
	f.s.Helper()
	var known []struct{ Dst, LLAddr string }
	f.s.Must(json.Unmarshal([]byte(f.outputOf(f.b.Node(), "ip", "-json", "neigh", "show", "dev", "flannel.1")), &known))
	i := slices.IndexFunc(known, func(n struct{ Dst, LLAddr string }) bool { return n.LLAddr == mac })
	if i < 0 {
		f.s.Fatalf("no neighbour of flannel.1 has the MAC %s: %v", mac, known)
	}
	return known[i].Dst
}
