//go:build linux

package collect_test

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/lab"
)

// twoNodes are two nodes on a wire, with a pod each. What a wire is made of no node sees.
var twoNodes = map[string][]string{"n1": {"p1"}, "n2": {"p2"}, "wire": nil}

// both runs the lines of a script for either node: %i is its number, %o the other's.
func both(script string) string {
	return strings.NewReplacer("%i", "1", "%o", "2").Replace(script) + strings.NewReplacer("%i", "2", "%o", "1").Replace(script)
}

const (
	wire = `
wire ip link add br0 type bridge
wire ip link set br0 up
`
	onWire = `
n%i ip link add eth0 type veth peer name s%i netns @wire
wire ip link set s%i master br0 up
n%i ip addr add 192.0.2.2%i/24 dev eth0
n%i ip link set eth0 up
n%i sysctl -qw net.ipv4.ip_forward=1
`
	podOnBridge = `
n%i ip link add cni0 mtu 1450 type bridge
n%i ip addr add 10.244.%i.1/24 dev cni0
n%i ip link set cni0 up
n%i ip link add veth%i mtu 1450 type veth peer name eth0 netns @p%i
n%i ip link set veth%i master cni0 up
p%i ip addr add 10.244.%i.2/24 dev eth0
p%i ip link set eth0 mtu 1450 up
p%i ip route add default via 10.244.%i.1
`
	vtep = `
n%i ip link add flannel.1 address 02:00:00:00:00:0%i type vxlan id 1 local 192.0.2.2%i dev eth0 dstport 8472 nolearning
n%i ip addr add 10.244.%i.0/32 dev flannel.1
n%i ip link set flannel.1 mtu 1450 up
n%i ip neigh replace 10.244.%o.0 lladdr 02:00:00:00:00:0%o dev flannel.1 nud permanent
n%i bridge fdb append 02:00:00:00:00:0%o dev flannel.1 dst 192.0.2.2%o self permanent
n%i ip route replace 10.244.%o.0/24 via 10.244.%o.0 dev flannel.1 onlink
`
	byGateway = `
n%i ip route add 10.244.%o.0/24 via 192.0.2.2%o
`
	proxied = `
n%i ip route add 192.168.%o.0/26 via 192.0.2.2%o
n%i ip route add blackhole 192.168.%i.0/26
n%i ip link add cali%i mtu 1450 type veth peer name eth0 netns @p%i
n%i ip link set cali%i address ee:ee:ee:ee:ee:ee up
n%i sysctl -qw net.ipv4.conf.cali%i.proxy_arp=1
n%i sysctl -qw net.ipv4.neigh.cali%i.proxy_delay=0
n%i ip route add 192.168.%i.5 dev cali%i scope link
p%i ip addr add 192.168.%i.5/32 dev eth0
p%i ip link set eth0 up
p%i ip route add 169.254.1.1 dev eth0 scope link
p%i ip route add default via 169.254.1.1 dev eth0
`
	childOfNIC = `
n%i ip link add net0 link eth0 netns @p%i type macvlan mode bridge
p%i ip addr add 10.9.0.%i/24 dev net0
p%i ip link set net0 up
`
)

const (
	overVXLAN = "eth0 -pair- veth%i -bridged- cni0 -routed- flannel.1 -encapsulated- eth0 -wire- eth0 -decapsulated- flannel.1 -routed- cni0 -bridged- veth%o -pair- eth0: arrives"
	routed    = "eth0 -pair- veth%i -bridged- cni0 -routed- eth0 -wire- eth0 -routed- cni0 -bridged- veth%o -pair- eth0: arrives"
)

func way(text string) string { return strings.NewReplacer("%i", "1", "%o", "2").Replace(text) }

func wayBack(text string) string { return strings.NewReplacer("%i", "2", "%o", "1").Replace(text) }

// pathsOfTwoNodes are ways that kernels answer, whole and broken.
var pathsOfTwoNodes = map[string]struct {
	script      string
	query       path.Query
	there, back string
	reason      string // of the first way that does not arrive
	size        int
	narrow      bool   // more may be sent, and nobody is told
	about       string // of the second hop
}{
	"overlay": {
		script: wire + both(onWire+podOnBridge+vtep), there: way(overVXLAN), back: wayBack(overVXLAN), size: 1450,
	},
	"overlay without the entry of a VTEP": {
		script: wire + both(onWire+podOnBridge+vtep) + "\nn1 bridge fdb del 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.22 self",
		there:  "eth0 -pair- veth1 -bridged- cni0 -routed- flannel.1: lost", back: wayBack(overVXLAN), size: 1450,
		reason: "the FDB of flannel.1 has no entry for 02:00:00:00:00:02, the MAC of 10.244.2.0: it drops the packet (NO_TX_TARGET)",
	},
	"overlay without the neighbour of a VTEP": {
		script: wire + both(onWire+podOnBridge+vtep) + "\nn2 ip neigh del 10.244.1.0 dev flannel.1",
		there:  way(overVXLAN), back: "eth0 -pair- veth2 -bridged- cni0 -routed- flannel.1: lost", size: 1450,
		reason: "flannel.1 has no neighbour entry for 10.244.1.0, so the packet has no MAC",
	},
	"overlay on a wire that is too narrow": {
		script: wire + both(onWire+podOnBridge+vtep) + "\nn2 ip link set eth0 mtu 1450",
		there:  way(overVXLAN), back: wayBack(overVXLAN), size: 1400, narrow: true,
	},
	"pods that send more than the overlay takes": {
		script: wire + both(onWire+podOnBridge+vtep+"\nn%i ip link set cni0 mtu 1500\nn%i ip link set veth%i mtu 1500\np%i ip link set eth0 mtu 1500"),
		there:  way(overVXLAN), back: wayBack(overVXLAN), size: 1450,
	},
	"the host end off its bridge": {
		script: wire + both(onWire+podOnBridge+vtep) + "\nn2 ip link set veth2 nomaster",
		there:  "eth0 -pair- veth1 -bridged- cni0 -routed- flannel.1 -encapsulated- eth0 -wire- eth0 -decapsulated- flannel.1 -routed- cni0: lost",
		reason: "cni0 of /n2/ has no carrier", back: "?", size: 1450,
	},
	"host gateways": {
		script: wire + both(onWire+podOnBridge+byGateway), there: way(routed), back: wayBack(routed), size: 1450,
	},
	"a node that does not forward": {
		script: wire + both(onWire+podOnBridge+byGateway) + "\nn2 sysctl -qw net.ipv4.ip_forward=0",
		there:  "eth0 -pair- veth1 -bridged- cni0 -routed- eth0 -wire- eth0: lost", back: "eth0 -pair- veth2 -bridged- cni0: lost", size: 1450,
		reason: "the node does not forward what comes in by eth0: its setting forwarding is 0 (EHOSTUNREACH)",
	},
	"a node without a route": {
		script: wire + both(onWire+podOnBridge) + "\nn1 ip route add 10.244.2.0/24 via 192.0.2.22",
		there:  way(routed), back: "eth0 -pair- veth2 -bridged- cni0: lost", size: 1450,
		reason: "the routing of the node has no route to 10.244.1.2 for what comes in by cni0 (ENETUNREACH)",
	},
	"a blackhole": {
		script: wire + both(onWire+podOnBridge+byGateway) + "\nn1 ip route add blackhole 10.244.2.2/32",
		there:  "eth0 -pair- veth1 -bridged- cni0: lost", back: wayBack(routed), size: 1450,
		reason: "the routing of the node has a blackhole route for 10.244.2.2",
	},
	"strict rp_filter": {
		script: wire + both(onWire+podOnBridge+byGateway) + "\nn2 sysctl -qw net.ipv4.conf.eth0.rp_filter=1\nn2 ip route replace 10.244.1.0/24 dev cni0",
		there:  "eth0 -pair- veth1 -bridged- cni0 -routed- eth0 -wire- eth0: lost", back: "?", size: 1450,
		reason: "the node drops what comes in by eth0 from 10.244.1.2, as rp_filter is 1 and the way back to it is by cni0",
	},
	"strict rp_filter of a pod": {
		script: wire + both(onWire+podOnBridge+childOfNIC) + "\np1 ip addr add 172.31.9.1/32 dev net0\np1 ip route add 10.9.0.2 dev net0 src 172.31.9.1\np2 sysctl -qw net.ipv4.conf.net0.rp_filter=1",
		query:  path.Query{To: "10.9.0.2"},
		there:  "net0 -child- eth0 -wire- eth0 -child- net0: lost", back: "?", size: 1450,
		reason: "drops what comes in by net0 from 172.31.9.1, as rp_filter is 1 and the way back to it is by eth0 (IP_RPFILTER",
	},
	"proxy ARP": {
		script: wire + both(onWire+proxied) + "\nn1 ip route add default via 192.0.2.254\nn2 ip route add default via 192.0.2.254",
		there:  "eth0 -pair- cali1 -routed- eth0 -wire- eth0 -routed- cali2 -pair- eth0: arrives",
		back:   "eth0 -pair- cali2 -routed- eth0 -wire- eth0 -routed- cali1 -pair- eth0: arrives", size: 1450, narrow: true,
	},
	"proxy ARP that was answered": {
		script: wire + both(onWire+proxied+"\nn%i ip route add default via 192.0.2.254\np%i ip neigh add 169.254.1.1 lladdr ee:ee:ee:ee:ee:ee dev eth0\n"),
		there:  "eth0 -pair- cali1 -routed- eth0 -wire- eth0 -routed- cali2 -pair- eth0: arrives",
		back:   "eth0 -pair- cali2 -routed- eth0 -wire- eth0 -routed- cali1 -pair- eth0: arrives", size: 1450, narrow: true,
		about: "answers for 169.254.1.1 by proxy ARP",
	},
	"proxy ARP without a default route": {
		script: wire + both(onWire+proxied) + "\nn2 ip route add default via 192.0.2.254",
		there:  "eth0 -pair- cali1: lost",
		back:   "eth0 -pair- cali2 -routed- eth0 -wire- eth0 -routed- cali1 -pair- eth0: arrives", size: 1450, narrow: true,
		reason: "cali1 of the node would answer for 169.254.1.1 by proxy ARP, which needs a route to it on the node, and there is none (ENETUNREACH)",
	},
	"a macvlan of the NIC": {
		script: wire + both(onWire+podOnBridge+byGateway+childOfNIC), query: path.Query{Interface: "net0"},
		there: "net0 -child- eth0 -wire- eth0 -child- net0: arrives", back: "net0 -child- eth0 -wire- eth0 -child- net0: arrives", size: 1500,
	},
	"a tunnel that the far end does not have": {
		script: wire + both(onWire+podOnBridge+vtep) + "\nn2 ip link set flannel.1 down\nn2 ip link del flannel.1\nn2 ip route add 10.244.1.0/24 via 192.0.2.21",
		there:  "eth0 -pair- veth1 -bridged- cni0 -routed- flannel.1 -encapsulated- eth0 -wire- eth0: lost", back: wayBack(routed), size: 1450,
		reason: "the node has no interface that takes packets of this tunnel (vxlan, UDP 8472, VNI 1)",
	},
	"user space": {
		script: wire + both(onWire+podOnBridge+byGateway) + "\nn1 ip tuntap add dev tun7 mode tun\nn1 ip link set tun7 up\nn1 ip route add 10.244.2.2/32 dev tun7",
		there:  "eth0 -pair- veth1 -bridged- cni0 -routed- tun7: lost", back: wayBack(routed), size: 1450, reason: "tun7 of the node has no carrier",
	},
	"an address outside": {
		script: wire + both(onWire+podOnBridge) + "\nn1 ip route add default via 192.0.2.254", query: path.Query{To: "198.51.100.7"},
		there: "eth0 -pair- veth1 -bridged- cni0 -routed- eth0: leaves", back: "not known", size: 1450,
		reason: "it leaves n1 for 192.0.2.254, which is on none of the nodes that were read",
	},
}

// Each hop is what the kernels did with the packet, which the scripts built.
func TestNetnsPathsOfTwoNodes(t *testing.T) {
	for name, test := range pathsOfTwoNodes {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, twoNodes, test.script)
			test.query.From = "p1"
			if test.query.To == "" {
				test.query.To = "p2"
			}
			d := l.Trace(test.query, "n1", "n2")
			l.Keep("../path/testdata/" + strings.ReplaceAll(name, " ", "-"))
			check.Equal(t, "there", lab.Told(&d.There), test.there)
			if test.back != "?" {
				check.Equal(t, "back", lab.Told(d.Back), test.back)
			}
			reason := d.There.Reason
			if reason == "" && d.Back != nil {
				reason = d.Back.Reason
			}
			check.Contains(t, "reason", reason, strings.ReplaceAll(test.reason, "/n2/", "the node"))
			check.Equal(t, "largest packet", d.Narrowest.Size, test.size)
			check.Equal(t, "too narrow", d.TooNarrow(), test.narrow)
			check.Contains(t, "the second hop", strings.Join(d.There.Hops[1].About, ", "), test.about)
		})
	}
}

// oneNode is a node with two pods.
var oneNode = map[string][]string{"n1": {"p1", "p2"}}

const (
	oneBridge = `
n1 ip link add br0 type bridge
n1 ip link set br0 up
`
	onOneBridge = `
n1 ip link add veth%i type veth peer name eth0 netns @p%i
n1 ip link set veth%i master br0 up
p%i ip addr add 10.1.0.%i/24 dev eth0
p%i ip link set eth0 up
`
	siblings = `
n1 ip link add net0 link up0 netns @p%i type macvlan mode MODE
p%i ip addr add 10.2.0.%i/24 dev net0
p%i ip link set net0 up
`
	upLink = `
n1 ip link add up0 type veth peer name up0-peer
n1 ip addr add 10.2.0.254/24 dev up0
n1 ip link set up0 up
n1 ip link set up0-peer up
`
	ptp = `
n1 ip link add host%i type veth peer name net1 netns @p%i
n1 ip addr add 10.3.%i.1/32 dev host%i
n1 ip link set host%i up
n1 ip route add 10.3.%i.2 dev host%i
p%i ip addr add 10.3.%i.2/24 dev net1
p%i ip link set net1 up
p%i ip route add 10.3.0.0/16 via 10.3.%i.1
n1 sysctl -qw net.ipv4.ip_forward=1
`
)

var pairOnBridge = oneBridge + both(onOneBridge)

// pathsOfOneNode are ways between two pods of a node.
var pathsOfOneNode = map[string]struct {
	script      string
	query       path.Query
	there, back string
	reason      string
	notes       int
}{
	"a bridge": {
		script: pairOnBridge,
		there:  "eth0 -pair- veth1 -bridged- br0 -bridged- veth2 -pair- eth0: arrives", back: "eth0 -pair- veth2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
	},
	"isolated ports": {
		script: pairOnBridge + "n1 bridge link set dev veth1 isolated on\nn1 bridge link set dev veth2 isolated on",
		there:  "eth0 -pair- veth1 -bridged- br0: lost", back: "eth0 -pair- veth2 -bridged- br0: lost",
		reason: "the ports veth1 and veth2 of br0 are isolated from each other",
	},
	"a bridge that is down": {
		script: pairOnBridge + "n1 ip link set br0 down",
		there:  "eth0 -pair- veth1: lost", back: "eth0 -pair- veth2: lost", reason: "the bridge br0 is down",
	},
	"a stale neighbour": {
		script: pairOnBridge + "p1 ip neigh replace 10.1.0.2 lladdr 02:00:00:00:00:99 dev eth0 nud permanent",
		there:  "eth0 -pair- veth1 -bridged- br0: lost", back: "eth0 -pair- veth2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
		reason: "no port of br0 leads to 10.1.0.2 (02:00:00:00:00:99)",
	},
	"a stale neighbour of a gateway": {
		script: both(ptp) + "p1 ip neigh replace 10.3.1.1 lladdr 02:00:00:00:00:99 dev net1 nud permanent",
		there:  "net1 -pair- host1: lost", back: "net1 -pair- host2 -routed- host1 -pair- net1: arrives",
		reason: "the frame has the MAC 02:00:00:00:00:99, and host1 of the node has",
	},
	"a gateway whose port was taken off its bridge": {
		script: pairOnBridge + "n1 ip addr add 10.1.0.254/24 dev br0\nn1 sysctl -qw net.ipv4.ip_forward=1\np1 ip route add default via 10.1.0.254\n" +
			"n1 ip link set br0 address 02:00:00:00:00:fe\np1 ip neigh replace 10.1.0.254 lladdr 02:00:00:00:00:fe dev eth0 nud permanent\nn1 ip link set veth1 nomaster",
		query: path.Query{To: "203.0.113.9"}, there: "eth0 -pair- veth1: lost", back: "not known",
		reason: "veth1 of the node is no port of br0 any more, whose MAC the frame has",
	},
	"ends of different MTUs": {
		script: pairOnBridge + "p2 ip link set eth0 mtu 1400", notes: 1,
		there: "eth0 -pair- veth1 -bridged- br0 -bridged- veth2 -pair- eth0: arrives", back: "eth0 -pair- veth2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
	},
	"macvlan siblings": {
		script: upLink + strings.ReplaceAll(both(siblings), "MODE", "bridge"),
		there:  "net0 -child- up0 -child- net0: arrives", back: "net0 -child- up0 -child- net0: arrives",
	},
	"private macvlan siblings": {
		script: upLink + strings.ReplaceAll(both(siblings), "MODE", "private"),
		there:  "net0: lost", back: "net0: lost", reason: "net0 is in mode private",
	},
	"a macvlan and its parent": {
		script: upLink + strings.ReplaceAll(both(siblings), "MODE", "bridge"), query: path.Query{To: "10.2.0.254", Interface: "net0"},
		there: "net0: lost", back: "up0 -pair- up0-peer: lost", reason: "up0 and its own macvlan children never reach each other",
	},
	"ptp": {
		script: both(ptp), there: "net1 -pair- host1 -routed- host2 -pair- net1: arrives", back: "net1 -pair- host2 -routed- host1 -pair- net1: arrives",
	},
	"a gateway": {
		script: both(ptp), query: path.Query{To: "10.3.1.1"},
		there: "net1 -pair- host1: arrives", back: "host1 -pair- net1: arrives",
	},
	"an interface that the routing does not choose": {
		script: pairOnBridge + both(ptp) + "p1 ip route add 10.3.2.2 via 10.1.0.2\np1 ip rule add from 10.3.1.2 table 7\np1 ip route add 10.3.0.0/16 via 10.3.1.1 table 7",
		query:  path.Query{Interface: "net1", To: "10.3.2.2"},
		there:  "net1 -pair- host1 -routed- host2 -pair- net1: arrives", back: "net1 -pair- host2 -routed- host1 -pair- net1: arrives", notes: 1,
	},
	"an address that two pods have": {
		script: pairOnBridge + "p2 ip addr add 10.5.0.1/24 dev eth0\np1 ip addr add 10.5.0.1/32 dev eth0", query: path.Query{To: "p2", Interface: "eth0"},
		there: "eth0 -pair- veth1 -bridged- br0 -bridged- veth2 -pair- eth0: arrives", back: "eth0 -pair- veth2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
	},
	"itself": {
		script: pairOnBridge, query: path.Query{To: "10.1.0.1"}, there: "lo: arrives", back: "lo: arrives",
	},
}

func TestNetnsPathsOfOneNode(t *testing.T) {
	for name, test := range pathsOfOneNode {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, oneNode, test.script)
			test.query.From = "p1"
			if test.query.To == "" {
				test.query.To = "p2"
			}
			d := l.Trace(test.query, "n1")
			l.Keep("../path/testdata/" + strings.ReplaceAll(name, " ", "-"))
			check.Equal(t, "there", lab.Told(&d.There), test.there)
			check.Equal(t, "back", lab.Told(d.Back), test.back)
			check.Contains(t, "reason", d.There.Reason, test.reason)
			check.Equal(t, "notes", len(d.Notes), test.notes)
		})
	}
}
