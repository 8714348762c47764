//go:build linux

package collect

import (
	"bytes"
	"net"
	"strconv"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

var families = map[int]int{4: netlink.FAMILY_V4, 6: netlink.FAMILY_V6}

// eachFamily runs a function for IPv4, then for IPv6 if the kernel has it.
func eachFamily(f func(version, family int) error) error {
	for _, version := range []int{4, 6} {
		if err := f(version, families[version]); err != nil {
			return err
		}
	}
	return nil
}

func (r *reader) readAddresses() error {
	messages, err := r.dump(unix.RTM_GETADDR, nl.NewIfAddrmsg(unix.AF_UNSPEC))
	for _, message := range messages {
		if len(message) < unix.SizeofIfAddrmsg {
			continue
		}
		header, all := nl.DeserializeIfAddrmsg(message), attributes(message[unix.SizeofIfAddrmsg:])
		value, prefix := all[unix.IFA_LOCAL], int(header.Prefixlen)
		switch peer := all[unix.IFA_ADDRESS]; {
		case value == nil:
			value = peer
		case peer != nil && !bytes.Equal(value, peer):
			prefix = 8 * len(value) // the prefix is that of the other end
		}
		if link := r.link(int(header.Index)); link != nil && value != nil {
			address := net.IPNet{IP: value, Mask: net.CIDRMask(prefix, 8*len(value))}
			link.Addresses = append(link.Addresses, inspect.Address{Address: address.String(), Scope: scope(int(header.Scope))})
		}
	}
	return err
}

func scope(number int) string {
	switch netlink.Scope(number) {
	case netlink.SCOPE_UNIVERSE:
		return "global"
	case netlink.SCOPE_LINK:
		return "link"
	case netlink.SCOPE_HOST:
		return "host"
	}
	return strconv.Itoa(number)
}

func (r *reader) readRoutes() error {
	return eachFamily(func(version, family int) error {
		routes, err := dump(func() ([]netlink.Route, error) {
			return r.handle.RouteListFiltered(family, &netlink.Route{Table: unix.RT_TABLE_UNSPEC}, netlink.RT_FILTER_TABLE)
		})
		for i := range routes {
			r.ns.Routes = append(r.ns.Routes, describeRoute(version, &routes[i]))
		}
		return err
	})
}

func describeRoute(version int, route *netlink.Route) inspect.Route {
	described := inspect.Route{
		Table: route.Table, Family: version, Type: routeTypes[route.Type], To: destination(route.Dst), Via: ip(route.Gw), Index: route.LinkIndex,
		Source: ip(route.Src), Scope: scope(int(route.Scope)), Protocol: route.Protocol.String(), Metric: route.Priority, MTU: route.MTU,
		OnLink: route.Flags&int(netlink.FLAG_ONLINK) != 0,
	}
	if via, ok := route.Via.(*netlink.Via); ok {
		described.Via = ip(via.Addr)
	}
	for _, hop := range route.MultiPath {
		described.NextHops = append(described.NextHops, inspect.NextHop{Via: ip(hop.Gw), Index: hop.LinkIndex})
	}
	return described
}

var routeTypes = map[int]string{
	unix.RTN_LOCAL: "local", unix.RTN_BROADCAST: "broadcast", unix.RTN_ANYCAST: "anycast", unix.RTN_MULTICAST: "multicast",
	unix.RTN_BLACKHOLE: "blackhole", unix.RTN_UNREACHABLE: "unreachable", unix.RTN_PROHIBIT: "prohibit", unix.RTN_THROW: "throw",
}

func destination(network *net.IPNet) string {
	if network == nil {
		return "default"
	}
	if ones, _ := network.Mask.Size(); ones == 0 && network.IP.IsUnspecified() {
		return "default"
	}
	return network.String()
}

func (r *reader) readRules() error {
	return eachFamily(func(version, family int) error {
		rules, err := dump(func() ([]netlink.Rule, error) { return r.handle.RuleList(family) })
		for _, rule := range rules {
			r.ns.Rules = append(r.ns.Rules, inspect.Rule{
				Priority: max(rule.Priority, 0), Family: version, From: network(rule.Src), To: network(rule.Dst), Input: rule.IifName,
				Output: rule.OifName, Mark: rule.Mark, Not: rule.Invert, Table: rule.Table,
			})
		}
		return err
	})
}

func network(n *net.IPNet) string {
	if n == nil {
		return ""
	}
	return n.String()
}

func (r *reader) readNeighbours() error {
	for _, proxy := range []bool{false, true} {
		list := r.handle.NeighList
		if proxy {
			list = r.handle.NeighProxyList
		}
		neighbours, err := dump(func() ([]netlink.Neigh, error) { return list(0, netlink.FAMILY_ALL) })
		if err != nil {
			return err
		}
		for _, n := range neighbours {
			// What every interface has for multicast says nothing.
			if n.Family != unix.AF_BRIDGE && (n.State != unix.NUD_NOARP || proxy) {
				r.ns.Neighbours = append(r.ns.Neighbours, inspect.Neighbour{
					Index: n.LinkIndex, Address: ip(n.IP), MAC: n.HardwareAddr.String(), State: neighbourStates[n.State], Proxy: proxy,
				})
			}
		}
	}
	return nil
}

var neighbourStates = map[int]string{
	unix.NUD_INCOMPLETE: "incomplete", unix.NUD_REACHABLE: "reachable", unix.NUD_STALE: "stale", unix.NUD_DELAY: "delay",
	unix.NUD_PROBE: "probe", unix.NUD_FAILED: "failed", unix.NUD_NOARP: "noarp", unix.NUD_PERMANENT: "permanent",
}

func (r *reader) readFDB() error {
	entries, err := dump(func() ([]netlink.Neigh, error) { return r.handle.NeighList(0, unix.AF_BRIDGE) })
	for _, n := range entries {
		r.ns.FDB = append(r.ns.FDB, inspect.FDBEntry{
			Index: n.LinkIndex, MAC: n.HardwareAddr.String(), VLAN: n.Vlan, Destination: ip(n.IP), Self: n.Flags&netlink.NTF_SELF != 0,
			Master: n.MasterIndex, State: neighbourStates[n.State],
		})
	}
	return err
}
