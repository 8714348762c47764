package delegate

import (
	"cmp"
	"errors"
	"fmt"
	"net"
	"slices"
	"strings"

	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// defaultRoute is the default route of one family that an attachment is to have.
type defaultRoute struct {
	family
	link    netlink.Link
	gateway net.IP
	// tables hold it: the main one, and those in which the pod's rules look up what the
	// attachment's own addresses send, as the plugin sbr makes them.
	tables []routingTable
}

// routingTable is one table of the kernel.
type routingTable struct {
	id     int
	onLink bool // has the gateway's subnet
}

// isIn reports whether the route is in a table.
func (d *defaultRoute) isIn(id int) bool {
	return slices.ContainsFunc(d.tables, func(t routingTable) bool { return t.id == id })
}

// setDefaultRoutes gives the pod's default routes to one interface, in the families
// of the gateways and in no other. Everything is checked before anything is changed,
// and read back after.
func (s *sandboxNet) setDefaultRoutes(ifName string, gateways []string) ([]*defaultRoute, error) {
	routes, err := s.planDefaultRoutes(ifName, gateways)
	if err != nil { // the pod alone asks for gateways
		return nil, types.WithFault(types.FaultUser, fmt.Errorf("default-route: %w", err))
	}
	for _, d := range routes {
		for _, table := range d.tables {
			if err := s.replaceDefaults(d, table); err != nil {
				return nil, fmt.Errorf("default-route: %s: %w", d.name, err)
			}
		}
	}
	return routes, nil
}

// planDefaultRoutes says what is to be, IPv4 first, and changes nothing.
func (s *sandboxNet) planDefaultRoutes(ifName string, gateways []string) ([]*defaultRoute, error) {
	link, err := s.routes.LinkByName(ifName)
	if err != nil {
		return nil, fmt.Errorf("interface %s: %w", ifName, err)
	}
	vrf, err := s.vrfOf(link)
	if err != nil {
		return nil, err
	}
	if vrf != nil {
		return nil, fmt.Errorf("interface %s is in VRF %s, whose routes (table %d) the pod's other traffic does not use", ifName, vrf.Name, vrf.Table)
	}
	addrs, err := s.addresses(link)
	if err != nil {
		return nil, err
	}
	var routes []*defaultRoute
	for _, text := range gateways {
		gateway := net.ParseIP(text)
		d := &defaultRoute{family: familyOf(gateway), link: link, gateway: gateway}
		if err := s.chooseTables(d, addrs); err != nil {
			return nil, fmt.Errorf("gateway %s: %w", gateway, err)
		}
		routes = append(routes, d)
	}
	slices.SortStableFunc(routes, func(a, b *defaultRoute) int { return a.number - b.number })
	return routes, nil
}

// vrfOf gives the VRF that an interface is in, nil if it is in none.
func (s *sandboxNet) vrfOf(link netlink.Link) (*netlink.Vrf, error) {
	if link.Attrs().MasterIndex == 0 {
		return nil, nil
	}
	master, err := s.routes.LinkByIndex(link.Attrs().MasterIndex)
	if err != nil {
		return nil, fmt.Errorf("interface %s: what it is attached to: %w", link.Attrs().Name, err)
	}
	vrf, _ := master.(*netlink.Vrf)
	return vrf, nil
}

// chooseTables checks the gateway and says in which tables the route is to be.
func (s *sandboxNet) chooseTables(d *defaultRoute, addrs []netlink.Addr) error {
	addrs = slices.DeleteFunc(slices.Clone(addrs), func(a netlink.Addr) bool { return familyOf(a.IP).number != d.number })
	route, err := s.lookUp(d, nil)
	if err != nil {
		return err
	}
	if err := d.checkGateway(route, addrs); err != nil {
		return err
	}
	d.tables = []routingTable{{unix.RT_TABLE_MAIN, d.isOnLink(route) && route.Table == unix.RT_TABLE_MAIN}}
	for _, addr := range addrs {
		if addr.Scope != int(netlink.SCOPE_UNIVERSE) {
			continue
		}
		route, err := s.lookUp(d, addr.IP)
		if err != nil {
			return err
		}
		if route != nil && !d.isIn(route.Table) {
			d.tables = append(d.tables, routingTable{route.Table, d.isOnLink(route)})
		}
	}
	return nil
}

// checkGateway refuses a gateway that is no neighbour on the interface, by the route to it
// that the kernel found, or by the interface's addresses where the pod's rules hide that
// route.
func (d *defaultRoute) checkGateway(route *netlink.Route, addrs []netlink.Addr) error {
	name := d.link.Attrs().Name
	switch {
	case route != nil && route.Type == unix.RTN_LOCAL:
		return errors.New("is the pod's own address")
	case route != nil && route.Type != unix.RTN_UNICAST:
		return errors.New("is not the address of a host")
	case slices.ContainsFunc(addrs, d.isNetworkOf):
		return fmt.Errorf("is the address of the network on %s itself, which no host has", name)
	case d.isOnLink(route):
		return nil
	case route != nil && !isDefault(route) && (route.Gw != nil || route.Via != nil || len(route.MultiPath) > 0):
		return fmt.Errorf("is not on-link on %s: the pod reaches it over another gateway", name)
	case !slices.ContainsFunc(addrs, func(a netlink.Addr) bool { return a.Contains(d.gateway) }):
		return fmt.Errorf("is not on-link on %s: no address of the interface is in its subnet", name)
	}
	return nil
}

// isNetworkOf reports whether the gateway is the network's own address in an address's
// subnet. In IPv6, that address is any of the subnet's routers (RFC 4291), which is fine.
func (d *defaultRoute) isNetworkOf(addr netlink.Addr) bool {
	ones, bits := addr.Mask.Size()
	return bits == 32 && ones < 31 && addr.IP.Mask(addr.Mask).Equal(d.gateway)
}

// isOnLink reports whether a route leads to the gateway itself, without another one.
func (d *defaultRoute) isOnLink(route *netlink.Route) bool {
	return route != nil && route.LinkIndex == d.link.Attrs().Index && route.Gw == nil && route.Via == nil && !isDefault(route)
}

// lookUp asks the kernel, which sends nothing, for the route to a gateway from an address of
// the interface, or from none; nil if there is no route.
func (s *sandboxNet) lookUp(d *defaultRoute, source net.IP) (*netlink.Route, error) {
	// FIBMatch: without it the kernel takes any IPv4 address for on-link when the
	// interface is given.
	routes, err := s.routes.RouteGetWithOptions(d.gateway, &netlink.RouteGetOptions{OifIndex: d.link.Attrs().Index, SrcAddr: source, FIBMatch: true})
	// The last two are said of a blackhole, and of a route that prohibits.
	if noRoute := []error{unix.ENETUNREACH, unix.EHOSTUNREACH, unix.EINVAL, unix.EACCES}; err != nil &&
		!slices.ContainsFunc(noRoute, func(e error) bool { return errors.Is(err, e) }) {
		return nil, fmt.Errorf("look up its route on %s: %w", d.link.Attrs().Name, err)
	}
	if err != nil || len(routes) == 0 {
		return nil, nil
	}
	return &routes[0], nil
}

// replaceDefaults removes every default route of the family from a table, adds the one to
// the gateway, and makes sure that exactly that is there.
func (s *sandboxNet) replaceDefaults(d *defaultRoute, table routingTable) error {
	old, err := s.defaults(d.family, table.id)
	if err != nil {
		return err
	}
	for i := range old {
		if err := s.routes.RouteDel(keyOf(d.family, &old[i])); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove %s: %w", s.describeRoute(&old[i]), err)
		}
	}
	route := netlink.Route{LinkIndex: d.link.Attrs().Index, Dst: d.any, Gw: d.gateway, Table: table.id}
	if !table.onLink {
		route.SetFlag(netlink.FLAG_ONLINK)
	}
	err = s.routes.RouteAdd(&route)
	if errors.Is(err, unix.EINVAL) && !table.onLink {
		err = fmt.Errorf("another interface of the pod has the gateway's subnet in this table: %w", err)
	}
	if err != nil {
		return fmt.Errorf("add %s: %w", s.describeRoute(&route), err)
	}
	return s.verifyDefaults(d, table.id)
}

// keyOf gives what tells a default route from others of its table. The kernel takes no
// gateway for a route that has its gateway from a nexthop object.
func keyOf(f family, route *netlink.Route) *netlink.Route {
	return &netlink.Route{
		Dst: f.any, Table: route.Table, Priority: route.Priority, Tos: route.Tos, Type: route.Type, Scope: netlink.SCOPE_NOWHERE,
	}
}

func (s *sandboxNet) verifyDefaults(d *defaultRoute, table int) error {
	now, err := s.defaults(d.family, table)
	if err != nil {
		return err
	}
	if len(now) == 1 && now[0].LinkIndex == d.link.Attrs().Index && now[0].Gw.Equal(d.gateway) {
		return nil
	}
	var seen []string
	for i := range now {
		seen = append(seen, s.describeRoute(&now[i]))
	}
	return fmt.Errorf("set, but the namespace has: %s", cmp.Or(strings.Join(seen, ", "), "none"))
}

// defaults gives the default routes of the family in a table, also those that let nothing
// through (unreachable, blackhole, prohibit, throw).
func (s *sandboxNet) defaults(f family, table int) ([]netlink.Route, error) {
	filter := &netlink.Route{Table: table}
	routes, err := host.Retried(netlink.ErrDumpInterrupted, func() ([]netlink.Route, error) {
		return s.routes.RouteListFiltered(f.number, filter, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return slices.DeleteFunc(routes, func(r netlink.Route) bool { return !isDefault(&r) }), nil
}

func isDefault(route *netlink.Route) bool {
	if route.Dst == nil {
		return true
	}
	ones, _ := route.Dst.Mask.Size()
	return ones == 0
}

// refusing are the kinds of routes that let nothing through.
var refusing = map[int]string{unix.RTN_UNREACHABLE: "unreachable ", unix.RTN_BLACKHOLE: "blackhole ", unix.RTN_PROHIBIT: "prohibit ", unix.RTN_THROW: "throw "}

// describeRoute describes a default route for errors, as ip(8) does.
func (s *sandboxNet) describeRoute(route *netlink.Route) string {
	text := refusing[route.Type] + "default"
	if route.Gw != nil {
		text += fmt.Sprintf(" via %v", route.Gw)
	}
	if link, err := s.routes.LinkByIndex(route.LinkIndex); route.LinkIndex != 0 && err == nil {
		text += " dev " + link.Attrs().Name
	}
	if route.Table != unix.RT_TABLE_UNSPEC && route.Table != unix.RT_TABLE_MAIN {
		text += fmt.Sprintf(" table %d", route.Table)
	}
	return text + fmt.Sprintf(" metric %d", route.Priority)
}
