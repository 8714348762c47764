//go:build linux

package collect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/lab"
)

// twoWires are two nodes with two wires between them, and an overlay over the first one, of both families.
const twoWires = `
wire ip link add br0 type bridge
wire ip link set br0 up
wire ip link add br1 type bridge
wire ip link set br1 up
`

const onTwoWires = `
p%i sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
n%i sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
n%i sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
n%i sysctl -eqw net.bridge.bridge-nf-call-iptables=0
n%i ip link add eth0 type veth peer name s%i netns @wire
wire ip link set s%i master br0 up
n%i ip addr add 192.0.2.2%i/24 dev eth0
n%i ip link set eth0 up
n%i ip link add eth1 type veth peer name t%i netns @wire
wire ip link set t%i master br1 up
n%i ip addr add 192.0.3.2%i/24 dev eth1
n%i ip link set eth1 up
n%i ip route add default via 192.0.2.254
` + podOfBoth + `
n%i ip link set cni0 mtu 1450
n%i ip link set veth%i mtu 1450
p%i ip link set eth0 mtu 1450
n%i ip link add flannel.1 address 02:00:00:00:00:0%i type vxlan id 1 local 192.0.2.2%i dev eth0 dstport 8472 nolearning
n%i ip addr add 10.244.%i.0/32 dev flannel.1
n%i ip -6 addr add fd00:24%i::/128 dev flannel.1 nodad
n%i ip link set flannel.1 mtu 1450 up
n%i ip neigh replace 10.244.%o.0 lladdr 02:00:00:00:00:0%o dev flannel.1 nud permanent
n%i ip -6 neigh replace fd00:24%o:: lladdr 02:00:00:00:00:0%o dev flannel.1 nud permanent
n%i bridge fdb append 02:00:00:00:00:0%o dev flannel.1 dst 192.0.2.2%o self permanent
n%i ip route replace 10.244.%o.0/24 via 10.244.%o.0 dev flannel.1 onlink
n%i ip -6 route replace fd00:24%o::/64 via fd00:24%o:: dev flannel.1 onlink
`

// A second pod of the first node.
const thirdPod = `
n1 ip link add veth3 mtu 1450 type veth peer name eth0 netns @p3
n1 ip link set veth3 master cni0 up
p3 ip addr add 10.244.1.3/24 dev eth0
p3 ip link set eth0 mtu 1450 up
p3 ip route add default via 10.244.1.1
`

// Routes beside the overlay, and those of the overlay again.
const (
	direct  = "n1 ip route replace 10.244.2.0/24 via 192.0.2.22\nn2 ip route replace 10.244.1.0/24 via 192.0.2.21\n"
	overlay = "n1 ip route replace 10.244.2.0/24 via 10.244.2.0 dev flannel.1 onlink\nn2 ip route replace 10.244.1.0/24 via 10.244.1.0 dev flannel.1 onlink\n"
)

// nat adds rules of NAT: each begins with its chain, pre or post.
func nat(in string, rules ...string) string {
	text := script(in, "nft add table ip t", "nft add chain ip t pre { type nat hook prerouting priority dstnat ; }", "nft add chain ip t post { type nat hook postrouting priority srcnat ; }")
	for _, rule := range rules {
		text += script(in, "nft add rule ip t "+rule)
	}
	return text
}

const (
	service    = "10.96.0.10"
	beside     = "it was also seen beside the path on "
	besideBack = "the answer was also seen beside the path on "
	changedTo  = "its destination was changed to "
	wrapped    = "in VXLAN 1, 192.0.2.21 → 192.0.2.22, no more in VXLAN 1, 192.0.2.21 → 192.0.2.22"
)

var overWires = map[string]situation{
	"IPv6 over VXLAN":        {to: pod6, shots: twice("answered"), changes: "TTL 64 → 63, " + wrapped + ", TTL 63 → 62"},
	"IPv6 over VXLAN by TCP": {to: pod6, protocol: "tcp", port: 8080, shots: []string{"answered"}, changes: wrapped},
	"no neighbour of IPv6": {
		to: pod6, do: "n1 ip -6 neigh del fd00:242:: dev flannel.1", undo: "n1 ip -6 neigh replace fd00:242:: lladdr 02:00:00:00:00:02 dev flannel.1 nud permanent",
		shots: twice("packet lost: it was seen at cni0 of n1, and not at flannel.1 of n1: flannel.1 has no neighbour entry for fd00:242::"),
	},
	"no entry of the VTEP": {
		to: pod6, do: "n1 bridge fdb del 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.22 self", undo: "n1 bridge fdb append 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.22 self permanent",
		shots: twice("packet lost: it was seen last at flannel.1 of n1: the FDB of flannel.1 has no entry … the kernel of n1 dropped it at flannel.1 in vxlan_xmit(): NO_TX_TARGET"),
	},
	"outer fragments": { // they pass; an answer in one piece does not
		to: pod6, do: "n1 ip link set eth0 mtu 1300", undo: "n1 ip link set eth0 mtu 1500",
		shots: []string{"answered", "1250 bytes: answered", "answer lost: the answer was seen at eth0 of n2, and not at eth0 of n1"},
	},
	"outer fragments of UDP": {
		protocol: "udp", do: "n1 ip link set eth0 mtu 1300", undo: "n1 ip link set eth0 mtu 1500", shots: []string{closed, "1250 bytes: " + closed, "1450 bytes: " + closed},
	},
	"a next hop of the link": {
		to: pod6, do: "n1 ip -6 addr add fe80::1/64 dev cni0 nodad\np1 ip -6 route replace default via fe80::1 dev eth0",
		undo: "p1 ip -6 route replace default via fd00:241::1\nn1 ip -6 addr del fe80::1/64 dev cni0", shots: twice("answered"),
	},
	"several addresses of IPv6": {
		to: pod6, do: "p1 ip -6 addr add fd00:241::33/64 dev eth0 nodad\np1 ip -6 addr add fd00:241::44/64 dev eth0 nodad",
		undo: "p1 ip -6 addr del fd00:241::33/64 dev eth0\np1 ip -6 addr del fd00:241::44/64 dev eth0", shots: twice("answered"),
	},

	"SNAT":                   {do: direct + nat("n1", "post oifname eth0 masquerade"), undo: noRules("n1") + overlay, shots: twice("answered"), changes: "source 10.244.1.2 → 192.0.2.21"},
	"SNAT before VXLAN":      {do: nat("n1", "post oifname flannel.1 masquerade"), undo: noRules("n1"), shots: twice("answered"), changes: "source 10.244.1.2 → 10.244.1.0, TTL 64 → 63, " + wrapped},
	"SNAT of ports of UDP":   {protocol: "udp", do: direct + nat("n1", "post meta l4proto udp masquerade to :1024-1030"), undo: noRules("n1") + overlay, shots: twice(closed), changes: "source 10.244.1.2 → 192.0.2.21, source port "},
	"SNAT of ports of TCP":   {protocol: "tcp", port: 8080, do: direct + nat("n1", "post meta l4proto tcp masquerade to :1024-1030"), undo: noRules("n1") + overlay, shots: []string{"answered after"}, changes: "source 10.244.1.2 → 192.0.2.21, source port "},
	"SNAT without an answer": {do: direct + nat("n1", "post oifname eth0 snat to 192.0.2.99"), undo: noRules("n1") + overlay, shots: twice("answer lost: the answer was seen at cni0 of n2, and not at eth0 of n2"), changes: "source 10.244.1.2 → 192.0.2.99"},
	"DNAT to another node": {
		to: service, do: nat("n1", "pre ip daddr 10.96.0.10 dnat to 10.244.2.2"), undo: noRules("n1"), shots: twice("answered"),
		changes: "destination 10.96.0.10 → 10.244.2.2", notes: []string{changedTo + "10.244.2.2, as n1 saw it", beside + "n1, at flannel.1", besideBack + "n1, at flannel.1"},
	},
	"DNAT and SNAT of TCP": {
		to: service, protocol: "tcp", port: 80, do: nat("n1", "pre ip daddr 10.96.0.10 tcp dport 80 dnat to 10.244.2.2:8080", "post oifname flannel.1 masquerade"), undo: noRules("n1"),
		shots: []string{"answered"}, changes: "source 10.244.1.2 → 10.244.1.0, destination 10.96.0.10 → 10.244.2.2, destination port 80 → 8080",
		notes: []string{changedTo + "10.244.2.2 port 8080, as n1 saw it", beside + "n1, at flannel.1", besideBack + "n1, at flannel.1"},
	},
	"DNAT of UDP to a closed port": {
		to: service, protocol: "udp", port: 53, do: nat("n1", "pre ip daddr 10.96.0.10 udp dport 53 dnat to 10.244.2.2:5354"), undo: noRules("n1"),
		shots: twice(closed), changes: "destination port 53 → 5354", notes: []string{changedTo + "10.244.2.2 port 5354", beside + "n1, at flannel.1"},
	},
	"DNAT without a route to the service": {
		to: service, do: "n1 ip route del default\n" + nat("n1", "pre ip daddr 10.96.0.10 dnat to 10.244.2.2"), undo: noRules("n1") + "n1 ip route add default via 192.0.2.254",
		shots: twice("answered"),
		notes: []string{changedTo, beside, besideBack, "it was answered, though the kernels' answers have it lost"},
	},
	"DNAT to the same node": {
		to: service, protocol: "tcp", port: 80, do: nat("n1", "pre ip daddr 10.96.0.10 tcp dport 80 dnat to 10.244.1.3:8080", "post ip daddr 10.244.1.3 masquerade"), undo: noRules("n1"),
		shots: []string{"answered"}, unseen: "eth0", notes: []string{changedTo + "10.244.1.3 port 8080", beside + "n1, at veth3", besideBack + "n1, at veth3"},
	},
	"a service without a pod": {
		to: service, protocol: "tcp", port: 80, do: rule("n1", "forward", "ip daddr 10.96.0.10 reject"), undo: noRules("n1"),
		shots: []string{"rejected: n1 (10.244.1.1) says: a rule rejects it; the kernel of n1 dropped it at cni0 in nft_do_chain(): NETFILTER_DROP"},
	},
	"another port of the pod": {
		protocol: "tcp", port: 80, do: nat("n2", "pre ip daddr 10.244.2.2 tcp dport 80 dnat to :8080"), undo: noRules("n2"), shots: []string{"answered after"}, changes: "destination port 80 → 8080",
	},
	"the node answers itself": {
		protocol: "tcp", port: 8080, do: nat("n2", "pre ip daddr 10.244.2.2 tcp dport 8080 redirect to :22"), undo: noRules("n2"),
		shots: []string{"answered elsewhere: the connection was reset before it came to … , as a rule does: it was seen at flannel.1 of n2, and not at cni0 of n2"},
	},
	"the node answers pings itself": {
		do: nat("n2", "pre ip daddr 10.244.2.2 redirect"), undo: noRules("n2"),
		shots: twice("answered elsewhere: something else than … answered: it was seen at flannel.1 of n2, and not at cni0 of n2"),
	},

	"the answer by another wire": {do: direct + "n2 ip route replace 10.244.1.0/24 via 192.0.3.21", undo: overlay, shots: twice("answered")},
	"the answer by a mark": {
		do: direct + script("n2", "nft add table ip m", "nft add chain ip m c { type filter hook prerouting priority mangle ; }", "nft add rule ip m c iifname cni0 meta mark set 7",
			"ip rule add fwmark 7 table 77", "ip route add default via 192.0.3.21 table 77"),
		undo:  noRules("n2") + script("n2", "ip rule del fwmark 7 table 77", "ip route flush table 77") + overlay,
		shots: twice("answered"), unseen: "eth0 eth0", notes: []string{besideBack + "n1, at eth1", besideBack + "n2, at eth1"},
	},
	"a rule for the source": {
		do:   direct + script("n1", "ip rule add from 10.244.1.2 table 78", "ip route add default via 192.0.3.22 table 78"),
		undo: script("n1", "ip rule del from 10.244.1.2 table 78", "ip route flush table 78") + overlay, shots: twice("answered"),
	},
	"two next hops": {do: direct + "n1 ip route replace 10.244.2.0/24 nexthop via 192.0.2.22 nexthop via 192.0.3.22", undo: overlay, shots: twice("answered")},

	"itself":               {to: "p1", shots: []string{"answered"}},
	"itself by UDP":        {to: "10.244.1.2", protocol: "udp", shots: []string{closed}},
	"itself by TCP":        {to: "10.244.1.2", protocol: "tcp", port: 99, shots: []string{"nothing listens to the port, or a rule resets the connection"}},
	"the loopback":         {to: "127.0.0.1", shots: []string{"answered"}},
	"the loopback of IPv6": {to: "::1", shots: []string{"answered"}},
	"an address of two pods": {
		do: "p3 ip addr add 10.244.2.2/32 dev eth0\nn1 ip route add 10.244.2.2/32 dev cni0", undo: "p3 ip addr del 10.244.2.2/32 dev eth0\nn1 ip route del 10.244.2.2/32 dev cni0\np1 ip route flush cache",
		shots: twice("answered elsewhere: something else than … answered: it was seen last at eth0 of … : it arrives at eth0 of … , which has the address 10.244.2.2 too"),
		notes: []string{besideBack + "n1, at eth0 of "},
	},
}

func TestNetnsProbeOverlayAndNAT(t *testing.T) {
	l := lab.New(t, map[string][]string{"n1": {"p1", "p3"}, "n2": {"p2"}, "wire": nil}, twoWires+both(onTwoWires)+thirdPod)
	l.Warm("p1", pod6)
	l.Serve("p2", "tcp", "[::]:8080")
	l.Serve("p3", "tcp", "[::]:8080")
	for name, test := range overWires {
		t.Run(name, func(t *testing.T) { test.becomes(t, l) })
	}
	how := lab.Probing{Protocol: "icmp", Why: true, Patience: time.Second, Between: func() { l.Script("n2 ip link del veth2") }}
	d := l.Send(path.Query{From: "p1", To: "p2"}, how, "n1", "n2")
	check.Contains(t, "while the far pod is deleted", strings.Join(d.Probe.Lines(), "\n"), "lost: it was seen at ", " of n2, and not at ")
}
