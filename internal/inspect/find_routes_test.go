package inspect

import (
	"maps"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func init() { maps.Copy(findingCases, routeCases) }

// routeCases are of routes, gateways, filters and tunnels.
var routeCases = map[string]struct {
	breakIt func(*Snapshot)
	want    []string
}{
	"route of the journal missing": {func(s *Snapshot) {
		s.Records[0].Attachments[0].Routes = []RecordedRoute{{To: "0.0.0.0/0"}}
		s.ns(podA).Routes = s.ns(podA).Routes[1:]
	}, []string{"error route-missing: pod default/a, eth0"}},
	"route of IPv6 missing, beside that of IPv4": {func(s *Snapshot) {
		s.Records[0].Attachments[0].Routes = []RecordedRoute{{To: "0.0.0.0/0"}, {To: "::/0"}}
	}, []string{"error route-missing: pod default/a, eth0"}},
	"blackhole in the place of a route": {func(s *Snapshot) {
		s.Records[0].Attachments[1].Routes = []RecordedRoute{{To: "10.2.0.0/16"}}
		s.ns(podA).Routes[1].Type = "blackhole"
	}, []string{"error route-missing: pod default/a, net0"}},
	"route that is the kernel's own": {func(s *Snapshot) {
		s.Records[0].Attachments[1].Routes = []RecordedRoute{{To: "10.2.0.0/16"}}
		s.ns(podA).Routes[1].Type = "local"
	}, []string{}},
	"route that is in another table": {func(s *Snapshot) {
		s.Records[0].Attachments[1].Routes = []RecordedRoute{{To: "10.2.0.7/16", Via: "10.2.0.1"}}
		s.ns(podA).Routes[1].Table = 100
	}, []string{}},
	"route by another interface": {func(s *Snapshot) {
		s.Records[0].Attachments[1].Routes = []RecordedRoute{{To: "0.0.0.0/0"}}
	}, []string{}},
	"route of an interface that is down": {func(s *Snapshot) {
		s.Records[0].Attachments[0].Routes = []RecordedRoute{{To: "0.0.0.0/0"}}
		s.ns(podA).Routes, s.at(podA, "eth0").Up = nil, false
	}, []string{"error interface-down: pod default/a, eth0"}},
	"route in a namespace of which only the interfaces were read": {func(s *Snapshot) {
		s.Records[0].Attachments[0].Routes = []RecordedRoute{{To: "0.0.0.0/0"}}
		s.ns(podA).Routes, s.ns(podA).Brief = nil, true
	}, []string{}},
	"route that is none": {func(s *Snapshot) { s.Records[0].Attachments[0].Routes = []RecordedRoute{{To: "default"}} }, []string{}},
	"gateway of another pod's MAC": {func(s *Snapshot) {
		s.at(podB, "eth0").MAC = "02:00:00:00:00:bb"
		s.ns(podA).Neighbours = []Neighbour{{Index: 2, Address: "10.1.0.1", MAC: "02:00:00:00:00:bb", State: "stale"}}
	}, []string{"error gateway-wrong-mac: pod default/a, eth0"}},
	"gateway of a ptp with a stranger's MAC": {func(s *Snapshot) {
		routed(s)
		s.ns(podA).Neighbours = []Neighbour{{Index: 2, Address: "10.1.0.1", MAC: "02:00:00:00:00:bb", State: "permanent"}}
	}, []string{"error gateway-wrong-mac: pod default/a, eth0"}},
	"gateway of the MAC of a port that is gone": {func(s *Snapshot) {
		s.ns(podA).Neighbours = []Neighbour{{Index: 2, Address: "10.1.0.1", MAC: "02:00:00:00:00:bb", State: "reachable"}}
	}, []string{}},
	"gateway of the MAC of a port": {func(s *Snapshot) {
		s.ns(podA).Neighbours = []Neighbour{{Index: 2, Address: "10.1.0.1", MAC: s.at(hostNS, "veth6").MAC, State: "permanent"}}
	}, []string{}},
	"gateway of a ptp with its MAC": {func(s *Snapshot) {
		routed(s)
		s.ns(podA).Neighbours = []Neighbour{{Index: 2, Address: "10.1.0.1", MAC: s.at(hostNS, "veth5").MAC, State: "stale"}}
	}, []string{}},
	"gateway that is no interface of the node": {func(s *Snapshot) {
		s.ns(podA).Routes[0].Via = "10.1.0.254"
		s.ns(podA).Neighbours = []Neighbour{{Index: 2, Address: "10.1.0.254", MAC: "02:00:00:00:00:bb", State: "stale"}}
	}, []string{}},
	"strict filter that has dropped packets": {func(s *Snapshot) {
		s.ns(podA).Sysctls["net.ipv4.conf.net0.rp_filter"] = "1"
		s.ns(podA).Counters = map[string]uint64{"TcpExtIPReversePathFilter": 2}
	}, []string{"warning rp-filter-strict: pod default/a, net0"}},
	"loose filter that has dropped packets": {func(s *Snapshot) {
		s.ns(podA).Counters = map[string]uint64{"TcpExtIPReversePathFilter": 2}
	}, []string{}},
	"strict filter in a VRF": {func(s *Snapshot) {
		s.ns(podA).Sysctls["net.ipv4.conf.net0.rp_filter"] = "1"
		s.ns(podA).Links = append(s.ns(podA).Links, Link{Index: 9, Name: "red", Kind: "vrf", Table: 10, Up: true, Carrier: true})
		s.at(podA, "net0").Master = 9
	}, []string{}},
	"forwarding that legacy iptables drops": {func(s *Snapshot) {
		s.ns(hostNS).Sysctls["net.ipv4.ip_forward"] = "1"
		s.ns(hostNS).Netfilter.Closed = []string{"legacy ip filter FORWARD", "legacy ip6 filter FORWARD"}
	}, []string{"error forward-drops-all: the node, -"}},
	"forwarding that nftables drop": {func(s *Snapshot) {
		s.ns(hostNS).Sysctls["net.ipv6.conf.all.forwarding"] = "1"
		s.ns(hostNS).Netfilter.Closed = []string{"nft ip x forward", "nft inet y forward", "nft bridge z forward"}
	}, []string{"error forward-drops-all: the node, -", "error forward-drops-all: the node, -"}},
	"a chain of a namespace that does not forward": {func(s *Snapshot) {
		s.ns(podA).Netfilter.Closed = []string{"legacy ip filter FORWARD", "nft bridge x y", "", "what is none"}
	}, []string{}},
	"MTU of a tunnel that is bound to no interface": {func(s *Snapshot) {
		s.at(hostNS, "vx0").VXLAN.Lower, s.at(hostNS, "vx0").MTU = 0, 1451
	}, []string{"error overlay-mtu: the node, vx0"}},
	"MTU of a tunnel of another kind": {func(s *Snapshot) { otherTunnel(s, "ipip", 1481) }, []string{"error overlay-mtu: the node, tun9"}},
	"MTU of a tunnel with a key": {func(s *Snapshot) {
		key := uint32(7)
		otherTunnel(s, "gre", 1473).Key = &key
	}, []string{"error overlay-mtu: the node, tun9"}},
	"MTU of a tunnel without a key":                         {func(s *Snapshot) { otherTunnel(s, "gre", 1476) }, []string{}},
	"MTU of a tunnel whose ends are given with each packet": {func(s *Snapshot) { otherTunnel(s, "geneve", 65000).External = true }, []string{}},
}

// routed makes pod a one of ptp: its host end has the gateway's address.
func routed(s *Snapshot) {
	s.Records = nil
	s.at(hostNS, "veth5").Master = 0
	s.at(hostNS, "veth5").Addresses, s.at(hostNS, "cbr0").Addresses = s.at(hostNS, "cbr0").Addresses, nil
	s.ns(hostNS).Links = append([]Link{up(9, "veth9", "veth", 1500)}, s.ns(hostNS).Links...) // that of another pod has the same address
	s.at(hostNS, "veth9").Addresses = s.at(hostNS, "veth5").Addresses
}

// otherTunnel adds a tunnel to the node.
func otherTunnel(s *Snapshot, kind string, mtu int) *Tunnel {
	tunnel := up(9, "tun9", kind, mtu)
	tunnel.Tunnel = &Tunnel{Local: "192.0.2.1", Lower: 3}
	s.ns(hostNS).Links = append(s.ns(hostNS).Links, tunnel)
	return tunnel.Tunnel
}

// Advice has the very commands.
func TestAdviceOfRoutes(t *testing.T) {
	lost := func(routes ...RecordedRoute) func(*Snapshot) {
		return func(s *Snapshot) { s.ns(podA).Routes, s.Records[0].Attachments[0].Routes = nil, routes }
	}
	for want, breakIt := range map[string]func(*Snapshot){
		"`ip route add 0.0.0.0/0 via 10.1.0.1 dev eth0`":   lost(RecordedRoute{To: "0.0.0.0/0"}),
		"`ip route add 10.9.0.0/16 via 10.1.0.7 dev eth0`": lost(RecordedRoute{To: "10.9.0.0/16", Via: "10.1.0.7"}),
		"`ip -6 route add 2001:db8::/32 dev eth0`":         lost(RecordedRoute{To: "2001:db8::/32"}),
		"`ip link set eth0 up`, and add its routes again: `ip route add 0.0.0.0/0 via 10.1.0.1 dev eth0`": func(s *Snapshot) {
			s.Records[0].Attachments[0].Routes = []RecordedRoute{{To: "0.0.0.0/0"}}
			s.at(podA, "eth0").Up = false
		},
		"`iptables-legacy -P FORWARD ACCEPT`": func(s *Snapshot) {
			s.ns(hostNS).Sysctls["net.ipv4.ip_forward"] = "1"
			s.ns(hostNS).Netfilter.Closed = []string{"legacy ip filter FORWARD"}
		},
		"`nft chain inet x y '{ policy accept; }'`": func(s *Snapshot) {
			s.ns(hostNS).Sysctls["net.ipv4.ip_forward"] = "1"
			s.ns(hostNS).Netfilter.Closed = []string{"nft inet x y"}
		},
		"`ip rule add from 10.2.0.2 table 100`, with `ip route add default via 10.2.0.1 dev net0 table 100`": func(s *Snapshot) {
			s.ns(podA).Sysctls["net.ipv4.conf.net0.rp_filter"] = "1"
			s.Records[0].Attachments[1].Addresses[0].Gateway = "10.2.0.1"
		},
	} {
		s := healthy()
		breakIt(s)
		check.Contains(t, "advice", Findings(s)[0].Do, want)
	}
}
