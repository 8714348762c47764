//go:build linux

package collect_test

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/lab"
)

const (
	// Two pods whose node routes IPv6 between them.
	routedIPv6 = `
n1 sysctl -qw net.ipv6.conf.all.forwarding=1
n1 ip link add h%i type veth peer name eth0 netns @p%i
n1 ip link set h%i up
n1 ip -6 addr add fd00:%i::1/64 dev h%i nodad
p%i ip link set eth0 up
p%i ip -6 addr add fd00:%i::2/64 dev eth0 nodad
p%i ip -6 route add default via fd00:%i::1
`
	// p1 has its gateway, which is no address of the subnet, at the other pod's host end.
	gatewayElsewhere = `
p1 ip -6 route del default via fd00:1::1
p1 ip -6 route add fd00:9::1 dev eth0
p1 ip -6 route add default via fd00:9::1
`
	routedIPv6Elsewhere = `
n1 sysctl -qw net.ipv6.conf.all.forwarding=1
n1 ip link add h%i type veth peer name net1 netns @p%i
n1 ip link set h%i up
n1 ip -6 addr add fd00:%i::1/64 dev h%i nodad
n1 ip -6 addr replace fd00:9::1/128 dev h2 nodad
p%i ip link set net1 up
p%i ip -6 addr add fd00:%i::2/64 dev net1 nodad
p%i ip -6 route add default via fd00:%i::1
`
	threeBridges = `
n1 ip link add br%i type bridge
n1 ip link set br%i up
`
	trunks = `
n1 ip link add a1 type veth peer name b1
n1 ip link add a2 type veth peer name b2
n1 ip link set a1 up master br0
n1 ip link set b1 up master br1
n1 ip link set a2 up master br0
n1 ip link set b2 up master br2
`
)

// pathsAndPings are ways of which a ping says the same: it is answered if both arrive.
var pathsAndPings = map[string]struct {
	script      string
	query       path.Query
	there, back string
	reason      string
	to          string // the address that the path has to be to
}{
	"a node that does not forward IPv6": {
		script: both(routedIPv6) + "n1 sysctl -qw net.ipv6.conf.all.forwarding=0", to: "fd00:2::2",
		there: "eth0 -pair- h1: lost", back: "eth0 -pair- h2: lost",
		reason: "the node does not forward what comes in by h1: its setting net.ipv6.conf.all.forwarding is 0",
	},
	"a node that forwards IPv6": {
		script: both(routedIPv6), to: "fd00:2::2",
		there: "eth0 -pair- h1 -routed- h2 -pair- eth0: arrives", back: "eth0 -pair- h2 -routed- h1 -pair- eth0: arrives",
	},
	"a gateway of IPv6 at another interface": {
		script: both(routedIPv6) + gatewayElsewhere + "n1 ip -6 addr add fd00:9::1/128 dev h2 nodad", to: "fd00:2::2",
		there: "eth0 -pair- h1: lost", back: "eth0 -pair- h2 -routed- h1 -pair- eth0: arrives",
		reason: "another interface there has it, and IPv6 answers by that one alone",
	},
	"a gateway of IPv6 beside proxy ARP": {
		script: both(routedIPv6) + gatewayElsewhere + "n1 sysctl -qw net.ipv4.conf.h1.proxy_arp=1", to: "fd00:2::2",
		there: "eth0 -pair- h1: lost", back: "eth0 -pair- h2 -routed- h1 -pair- eth0: arrives",
		reason: "h1 of the node answers no request for fd00:9::1: no interface there has it",
	},
	"a proxy entry that is not used": {
		script: both(routedIPv6) + gatewayElsewhere + "n1 ip -6 neigh add proxy fd00:9::1 dev h1", to: "fd00:2::2",
		there: "eth0 -pair- h1: lost", back: "eth0 -pair- h2 -routed- h1 -pair- eth0: arrives",
		reason: "h1 of the node has a proxy entry for fd00:9::1, and does not use it, as proxy_ndp is 0",
	},
	"a proxy entry of IPv6": {
		script: both(routedIPv6) + gatewayElsewhere + "n1 ip -6 neigh add proxy fd00:9::1 dev h1\nn1 sysctl -qw net.ipv6.conf.h1.proxy_ndp=1", to: "fd00:2::2",
		there: "eth0 -pair- h1 -routed- h2 -pair- eth0: arrives", back: "eth0 -pair- h2 -routed- h1 -pair- eth0: arrives",
	},
	"the routers of a subnet": {
		script: both(routedIPv6), query: path.Query{To: "fd00:1::"}, to: "fd00:1::",
		there: "eth0 -pair- h1: arrives", back: "not known",
	},
	"a gateway at another interface": {
		script: both(ptp) + "p1 ip route replace 10.3.0.0/16 via 10.3.2.1 onlink dev net1", to: "10.3.2.2",
		there: "net1 -pair- host1 -routed- host2 -pair- net1: arrives", back: "net1 -pair- host2 -routed- host1 -pair- net1: arrives",
	},
	"a gateway that arp_ignore hides": {
		script: both(ptp) + "p1 ip route replace 10.3.0.0/16 via 10.3.2.1 onlink dev net1\nn1 sysctl -qw net.ipv4.conf.all.arp_ignore=1", to: "10.3.2.2",
		there: "net1 -pair- host1: lost", back: "net1 -pair- host2 -routed- host1 -pair- net1: arrives",
		reason: "host1 of the node answers no request for 10.3.2.1, which another interface there has, as arp_ignore is 1",
	},
	"a macvlan that is down": {
		script: upLink + "n1 ip link add net0 link up0 netns @p1 type macvlan mode bridge\nn1 ip link add net0 link up0 netns @p2 type macvlan mode bridge\n" +
			"p1 ip addr add 10.2.0.1/24 dev net0\np2 ip addr add 10.2.0.2/24 dev net0\np1 ip link set net0 up", to: "10.2.0.2",
		there: "net0 -child- up0 -child- net0: lost", back: ": lost", reason: "is down",
	},
	"itself without its loopback": {
		script: pairOnBridge + "p1 ip link set lo down", query: path.Query{To: "10.1.0.1"}, to: "10.1.0.1",
		there: "lo: lost", back: "lo: lost", reason: "is down",
	},
	"a macvlan on a bridge": {
		script: oneBridge + "n1 ip link add net0 link br0 netns @p1 type macvlan mode bridge\np1 ip addr add 10.1.0.1/24 dev net0\np1 ip link set net0 up\n" +
			"n1 ip link add veth2 type veth peer name eth0 netns @p2\nn1 ip link set veth2 master br0 up\np2 ip addr add 10.1.0.2/24 dev eth0\np2 ip link set eth0 up", to: "10.1.0.2",
		there: "net0 -child- br0 -bridged- veth2 -pair- eth0: arrives", back: "eth0 -pair- veth2 -bridged- br0 -child- net0: arrives",
	},
	"a bridge behind another": {
		script: oneBridge + both(threeBridges) + trunks + both(onOneBridge) + "n1 ip link set veth2 master br2", to: "10.1.0.2",
		there: "eth0 -pair- veth1 -bridged- br0 -bridged- a2 -pair- b2 -bridged- br2 -bridged- veth2 -pair- eth0: arrives",
		back:  "eth0 -pair- veth2 -bridged- br2 -bridged- b2 -pair- a2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
	},
	"the bridge behind another": {
		script: oneBridge + both(threeBridges) + trunks + both(onOneBridge) + "n1 ip addr add 10.1.0.99/24 dev br2\nn1 sysctl -qw net.ipv4.conf.all.arp_ignore=1", query: path.Query{To: "10.1.0.99"}, to: "10.1.0.99",
		there: "eth0 -pair- veth1 -bridged- br0 -bridged- a2 -pair- b2 -bridged- br2: arrives",
		back:  "br2 -bridged- b2 -pair- a2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
	},
	"a bridge that answers by proxy": {
		script: pairOnBridge + both(ptp) + "n1 sysctl -qw net.ipv4.conf.br0.proxy_arp=1\nn1 ip addr add 10.1.0.254/24 dev br0\n" +
			"p1 ip route replace 10.3.2.2 dev eth0 src 10.1.0.1\np2 ip route add 10.1.0.1 via 10.3.2.1\np2 sysctl -qw net.ipv4.conf.all.arp_ignore=1", query: path.Query{To: "10.3.2.2"}, to: "10.3.2.2",
		there: "eth0 -pair- veth1 -bridged- br0 -routed- host2 -pair- net1: arrives", back: "net1 -pair- host2 -routed- br0 -bridged- veth1 -pair- eth0: arrives",
	},
	"a gateway of IPv6 that is not at the bridge": {
		script: pairOnBridge + strings.ReplaceAll(routedIPv6Elsewhere, "%i", "2") + "p1 ip -6 addr add fd00::1/64 dev eth0 nodad\np1 ip -6 route add default via fd00:9::1 dev eth0 onlink",
		query:  path.Query{To: "fd00:2::2"}, to: "fd00:2::2",
		there: "eth0 -pair- veth1 -bridged- br0: lost", back: "net1 -pair- h2: lost",
		reason: "br0 of the node answers no request for fd00:9::1: another interface there has it",
	},
	"one pod of IPv6, one of both": {
		script: pairOnBridge + "p1 ip addr flush dev eth0\np1 ip -6 addr add fd00::1/64 dev eth0 nodad\np2 ip -6 addr add fd00::2/64 dev eth0 nodad", to: "fd00::2",
		there: "eth0 -pair- veth1 -bridged- br0 -bridged- veth2 -pair- eth0: arrives", back: "eth0 -pair- veth2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
	},
	"an interface of IPv6, and a pod of both": {
		script: pairOnBridge + "p1 ip addr flush dev eth0\np1 ip -6 addr add fd00::1/64 dev eth0 nodad\np2 ip -6 addr add fd00::2/64 dev eth0 nodad", to: "fd00::2", query: path.Query{Interface: "eth0"},
		there: "eth0 -pair- veth1 -bridged- br0 -bridged- veth2 -pair- eth0: arrives", back: "eth0 -pair- veth2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
	},
	"several addresses on one interface": {
		script: pairOnBridge + "p2 ip addr flush dev eth0\np2 ip addr add 192.0.2.2/24 dev eth0\np2 ip addr add 10.1.0.2/24 dev eth0", to: "10.1.0.2",
		there: "eth0 -pair- veth1 -bridged- br0 -bridged- veth2 -pair- eth0: arrives", back: "eth0 -pair- veth2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
	},
	"an address of the link": {
		script: pairOnBridge + "p2 ip -6 addr add fe80::2/64 dev eth0 nodad", query: path.Query{To: "fe80::2", Interface: "eth0"}, to: "fe80::2",
		there: "eth0 -pair- veth1 -bridged- br0 -bridged- veth2 -pair- eth0: arrives", back: "eth0 -pair- veth2 -bridged- br0 -bridged- veth1 -pair- eth0: arrives",
	},
}

func TestNetnsPathsAndPings(t *testing.T) {
	for name, test := range pathsAndPings {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, oneNode, test.script)
			test.query.From = "p1"
			if test.query.To == "" {
				test.query.To = "p2"
			}
			d := l.Trace(test.query, "n1")
			check.Equal(t, "there", lab.Told(&d.There), test.there)
			check.Equal(t, "back", lab.Told(d.Back), test.back)
			check.Contains(t, "reason", d.There.Reason, test.reason)
			check.Equal(t, "the far address", d.To.Address, test.to)
			arrives := d.There.Outcome == path.Arrives && (d.Back == nil || d.Back.Outcome == path.Arrives)
			check.Equal(t, "a ping is answered", l.Reaches("p1", test.query.Interface, test.to), arrives)
		})
	}
}

// What goes to several has no one end; path does not call it lost.
func TestNetnsPathsToSeveral(t *testing.T) {
	l := lab.New(t, oneNode, pairOnBridge+"p1 ip addr change 10.1.0.1/24 brd + dev eth0\np1 ip route add default dev eth0")
	for _, address := range []string{"10.1.0.255", "255.255.255.255", "224.0.0.1", "ff02::1"} {
		d := l.Trace(path.Query{From: "p1", To: address}, "n1")
		check.Equal(t, "to "+address, d.There.Outcome, path.Unknown)
		check.Contains(t, "to "+address, d.There.Reason, "cast address")
	}
}
