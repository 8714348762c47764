package main

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// Whatever kind of default route there was, the pod has one, over the gateway.
func TestNetnsDefaultRouteReplacesEveryKind(t *testing.T) {
	const v4, v6 = "10.3.0.1", "fd00:3::1"
	for name, c := range map[string]struct{ gateway, commands string }{
		"unreachable":               {v4, "ip route replace unreachable default"},
		"unreachable, IPv6":         {v6, "ip -6 route add unreachable default metric 1"},
		"blackhole, less preferred": {v4, "ip route add blackhole default metric 50"},
		"prohibit, IPv6":            {v6, "ip -6 route add prohibit default metric 4000"},
		"throw":                     {v4, "ip route replace throw default"},
		"of each, at once":          {v4, "ip route add unreachable default metric 7; ip route add prohibit default metric 8; ip route add default via 10.1.0.9 metric 9"},
		"by nexthop object":         {v4, "ip nexthop add id 5 via 10.1.0.1 dev eth0; ip route replace default nhid 5"},
		"by nexthop object, IPv6":   {v6, "ip nexthop add id 5 via fd00:1::1 dev eth0; ip -6 route add default nhid 5 metric 5"},
		"by a group of objects": {v4, "ip nexthop add id 5 via 10.1.0.1 dev eth0; ip nexthop add id 6 via 10.1.0.3 dev eth0; " +
			"ip nexthop add id 7 group 5/6; ip route replace default nhid 7"},
		"by a nexthop that drops, IPv6": {v6, "ip -6 nexthop add id 9 blackhole; ip -6 route add default nhid 9 metric 3"},
		"over two gateways, IPv6":       {v6, "ip -6 route add default metric 7 nexthop via fd00:1::7 nexthop via fd00:1::8"},
		"for one type of service":       {v4, "ip route add default tos 0x10 via 10.1.0.1"},
	} {
		t.Run(name, func(t *testing.T) {
			n, pod, conf := dualStack(t, `, "default-route": ["`+c.gateway+`"]`)
			n.Wrap("bridge")
			n.Hook("bridge", "ADD", `[ $CNI_IFNAME = eth0 ] || nsenter --net=$CNI_NETNS sh -ec '`+c.commands+`' >&2 || fail 99 'prepare the routes'`)
			n.Add(pod, conf)
			family := "-4"
			if c.gateway == v6 {
				family = "-6"
			}
			routes := linesOf(t, pod, "ip", family, "route", "show", "default")
			if len(routes) != 1 || !strings.HasPrefix(routes[0], "default via "+c.gateway+" dev net0") {
				t.Errorf("the default routes are %q", routes)
			}
			n.Del(pod, conf)
			n.MustBeClean()
		})
	}
}

// linesOf gives what a command prints in a sandbox, by line.
func linesOf(t *testing.T, pod *node.Sandbox, name string, args ...string) []string {
	t.Helper()
	out, err := pod.Run(name, args...)
	if err != nil {
		t.Fatalf("%s %s: %v\n%s", name, strings.Join(args, " "), err, out)
	}
	lines := []string{}
	for line := range strings.Lines(out) {
		lines = append(lines, strings.TrimSpace(line))
	}
	return lines
}

// sourceRouted makes a list whose plugin sbr moves the routes of a plugin into a table.
func sourceRouted(plugin node.Conf) node.Conf {
	return node.List("hidden", "1.1.0", plugin, node.Conf{"type": "sbr"})
}

// The reference plugins look for their routes in the main table alone. That sbr moved them
// fails no CHECK; that an address or the interface is gone does, and so does what a plugin
// after them finds.
func TestNetnsCheckBehindSourceRouting(t *testing.T) {
	for name, plugin := range map[string]node.Conf{
		"bridge":  in110(node.Bridge("br2", "10.3.0.0/16")).With(node.Conf{"isGateway": true}),
		"macvlan": in110(node.Macvlan("mac", "up0", "10.3.0.0/16")).With(node.Conf{"ipam": node.HostLocal("10.3.0.0/16").With(node.Conf{"routes": []node.Conf{{"dst": "10.99.0.0/16"}}})}),
	} {
		for what, change := range map[string][]string{
			"":          nil,
			"address":   {"ip", "address", "flush", "dev", "net0"},
			"interface": {"ip", "link", "del", "net0"},
			"mtu":       {"ip", "link", "set", "net0", "mtu", "1300"},
		} {
			t.Run(name+" "+what, func(t *testing.T) {
				n := node.New(t)
				n.Uplink("up0")
				n.Network("hidden", node.List("hidden", "1.1.0", plugin, node.Conf{"type": "tuning", "mtu": 1400}, node.Conf{"type": "sbr"}, node.Conf{"type": "tuning", "mtu": 1400}))
				n.PodWith("c1", "hidden")
				pod, conf := n.Sandbox("c1"), n.Conf(node.Conf{"cniVersion": "1.1.0"})
				checked := prevResult(conf, n.Add(pod, conf))
				if change == nil {
					n.Check(pod, checked)
				} else {
					if _, err := pod.Run(change[0], change[1:]...); err != nil {
						t.Fatal(err)
					}
					call(n, "CHECK", pod, checked).Fails(999)
				}
				n.Del(pod, conf)
				n.MustBeClean()
			})
		}
	}
}

// The plugin sbr moves an attachment's routes into a table for its addresses. What the pod
// sends anywhere finds the gateway all the same, with a source address and without one.
func TestNetnsDefaultRouteWithSourceRouting(t *testing.T) {
	bridge := in110(node.Bridge("br2", "10.3.0.0/16", "fd00:3::/64"))
	ipam := node.HostLocal("10.3.0.0/16").With(node.Conf{"routes": []node.Conf{{"dst": "0.0.0.0/0", "gw": "10.3.0.1", "table": 77}}})
	for name, c := range map[string]struct {
		network  node.Conf
		gateways string
		ways     map[string]string // by destination and source: over which gateway
	}{
		"IPv4": {sourceRouted(bridge), `["10.3.0.1"]`, map[string]string{
			"198.51.100.1": "10.3.0.1 dev net0", "198.51.100.1 from 10.3.0.2": "10.3.0.1 dev net0", "2001:db8::1": "fd00:1::1 dev eth0",
		}},
		"another gateway than the network's": {sourceRouted(bridge), `["10.3.0.9"]`, map[string]string{
			"198.51.100.1": "10.3.0.9 dev net0", "198.51.100.1 from 10.3.0.2": "10.3.0.9 dev net0",
		}},
		"both": {sourceRouted(bridge), `["fd00:3::9", "10.3.0.9"]`, map[string]string{
			"198.51.100.1": "10.3.0.9 dev net0", "198.51.100.1 from 10.3.0.2": "10.3.0.9 dev net0",
			"2001:db8::1": "fd00:3::9 dev net0", "2001:db8::1 from fd00:3::2": "fd00:3::9 dev net0",
		}},
		"link-local": {sourceRouted(bridge), `["fe80::1"]`, map[string]string{
			"198.51.100.1": "10.1.0.1 dev eth0", "2001:db8::1": "fe80::1 dev net0", "2001:db8::1 from fd00:3::2": "fe80::1 dev net0",
		}},
		"a table of the network": {node.List("hidden", "1.1.0", bridge.With(node.Conf{"ipam": ipam}), node.Conf{"type": "sbr", "table": 77}), `["10.3.0.9"]`, map[string]string{
			"198.51.100.1": "10.3.0.9 dev net0", "198.51.100.1 from 10.3.0.2": "10.3.0.9 dev net0",
		}},
		"in the subnet of eth0": {sourceRouted(bridge.With(node.Conf{"ipam": sharedSubnet("10.1.0.0/16", "10.1.0.50")})), `["10.1.0.9"]`, map[string]string{
			"198.51.100.1": "10.1.0.9 dev net0", "198.51.100.1 from 10.1.0.50": "10.1.0.9 dev net0",
		}},
		"in a list of macvlan": {sourceRouted(in110(node.Macvlan("mac", "up0", "10.3.0.0/16"))), `["10.3.0.7"]`, map[string]string{
			"198.51.100.1": "10.3.0.7 dev net0", "198.51.100.1 from 10.3.0.2": "10.3.0.7 dev net0",
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n, pod, conf := dualStack(t, `, "default-route": `+c.gateways)
			n.Uplink("up0")
			n.Network("second", c.network)
			added := n.Add(pod, conf.With(node.Conf{"cniVersion": "1.1.0"}))
			for from, gateway := range c.ways {
				way := linesOf(t, pod, "ip", append([]string{"route", "get"}, strings.Fields(from)...)...)[0]
				check.Contains(t, "way to "+from, way, " via "+gateway)
			}
			n.Check(pod, prevResult(conf.With(node.Conf{"cniVersion": "1.1.0"}), added))
			n.Del(pod, conf)
			n.MustBeClean()
		})
	}
}

// sharedSubnet gives the IPAM of a network whose subnet another network has too.
func sharedSubnet(subnet, first string) node.Conf {
	return node.Conf{"type": "host-local", "ranges": [][]node.Conf{{{"subnet": subnet, "rangeStart": first}}}}
}

// The kernel takes no IPv6 gateway that is a neighbour on another interface: the error says
// so, and everything is undone.
func TestNetnsDefaultRouteInASharedSubnetOfIPv6(t *testing.T) {
	n, pod, conf := dualStack(t, `, "default-route": ["fd00:1::9"]`)
	n.Network("second", sourceRouted(in110(node.Bridge("br2")).With(node.Conf{"ipam": sharedSubnet("fd00:1::/64", "fd00:1::50")})))
	failure := call(n, "ADD", pod, conf).Fails(100)
	check.Contains(t, "error", failure.Msg, "default-route: IPv6", "another interface of the pod has the gateway's subnet", "dev net0")
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	n.MustBeClean()
}
