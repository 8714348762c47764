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
)

// gatewaysByFamily sorts the gateways that an attachment asks for, in their order.
func gatewaysByFamily(gateways []string) map[int][]net.IP {
	sorted := map[int][]net.IP{}
	for _, gateway := range gateways {
		ip := net.ParseIP(gateway)
		number := familyOf(ip).number
		sorted[number] = append(sorted[number], ip)
	}
	return sorted
}

// setDefaultRoutes gives the pod's default routes to one interface, in the families
// of the gateways and in no other. Everything is checked before anything is changed,
// and read back after.
func (s *sandboxNet) setDefaultRoutes(ifName string, gateways []string) error {
	link, err := s.routes.LinkByName(ifName)
	if err != nil {
		return fmt.Errorf("default-route: interface %s: %w", ifName, err)
	}
	sorted := gatewaysByFamily(gateways)
	for _, f := range []family{ipv4, ipv6} {
		for _, gateway := range sorted[f.number] {
			if err := s.checkOnLink(link, gateway); err != nil {
				return fmt.Errorf("default-route: gateway %s: %w", gateway, err)
			}
		}
	}
	for _, f := range []family{ipv4, ipv6} {
		if len(sorted[f.number]) == 0 {
			continue
		}
		if err := s.replaceDefaults(f, link, sorted[f.number]); err != nil {
			return fmt.Errorf("default-route: %s: %w", f.name, err)
		}
	}
	return nil
}

// checkOnLink asks the kernel's own lookup, which sends nothing, whether the gateway
// is a neighbour on the interface.
func (s *sandboxNet) checkOnLink(link netlink.Link, gateway net.IP) error {
	name := link.Attrs().Name
	// FIBMatch: without it the kernel takes any IPv4 address for on-link when the
	// interface is given.
	routes, err := s.routes.RouteGetWithOptions(gateway, &netlink.RouteGetOptions{Oif: name, FIBMatch: true})
	if errors.Is(err, unix.ENETUNREACH) || errors.Is(err, unix.EHOSTUNREACH) || err == nil && len(routes) == 0 {
		return fmt.Errorf("is not reachable on %s: no address of the interface is in its subnet", name)
	}
	if err != nil {
		return fmt.Errorf("look up its route on %s: %w", name, err)
	}
	route := routes[0]
	switch {
	case route.Type == unix.RTN_LOCAL:
		return errors.New("is the pod's own address")
	case route.Type != unix.RTN_UNICAST:
		return errors.New("is not the address of a host")
	case route.LinkIndex != link.Attrs().Index || route.Gw != nil || route.Via != nil || isDefault(&route):
		return fmt.Errorf("is not on-link on %s: no address of the interface is in its subnet", name)
	}
	return nil
}

// replaceDefaults removes every default route of the family, adds those to the
// gateways, the first one preferred, and makes sure that exactly they are there.
func (s *sandboxNet) replaceDefaults(f family, link netlink.Link, gateways []net.IP) error {
	old, err := s.defaults(f)
	if err != nil {
		return err
	}
	for i := range old {
		if err := s.routes.RouteDel(&old[i]); err != nil && !errors.Is(err, unix.ESRCH) {
			return fmt.Errorf("remove %s: %w", describeRoute(&old[i]), err)
		}
	}
	for i, gateway := range gateways {
		route := netlink.Route{LinkIndex: link.Attrs().Index, Dst: f.any, Gw: gateway, Priority: priority(f, i)}
		if err := s.routes.RouteAdd(&route); err != nil {
			return fmt.Errorf("add %s: %w", describeRoute(&route), err)
		}
	}
	return s.verifyDefaults(f, link, gateways)
}

// priority makes the first gateway the preferred one. 0 leaves it to the kernel.
func priority(f family, i int) int {
	if i == 0 {
		return 0
	}
	return f.metrics + i
}

func (s *sandboxNet) verifyDefaults(f family, link netlink.Link, gateways []net.IP) error {
	now, err := s.defaults(f)
	if err != nil {
		return err
	}
	slices.SortFunc(now, func(a, b netlink.Route) int { return a.Priority - b.Priority })
	var seen []string
	for i := range now {
		seen = append(seen, describeRoute(&now[i]))
	}
	right := len(now) == len(gateways)
	for i := range now {
		right = right && now[i].LinkIndex == link.Attrs().Index && now[i].Gw.Equal(gateways[i])
	}
	if !right {
		return fmt.Errorf("set, but the namespace has: %s", cmp.Or(strings.Join(seen, ", "), "none"))
	}
	return nil
}

// defaults gives the default routes of the family in the main table.
func (s *sandboxNet) defaults(f family) ([]netlink.Route, error) {
	filter := &netlink.Route{Table: unix.RT_TABLE_MAIN}
	routes, err := host.Retried(netlink.ErrDumpInterrupted, func() ([]netlink.Route, error) {
		return s.routes.RouteListFiltered(f.number, filter, netlink.RT_FILTER_TABLE)
	})
	if err != nil {
		return nil, fmt.Errorf("list routes: %w", err)
	}
	return slices.DeleteFunc(routes, func(r netlink.Route) bool { return !isDefault(&r) || r.Type != unix.RTN_UNICAST }), nil
}

func isDefault(route *netlink.Route) bool {
	if route.Dst == nil {
		return true
	}
	ones, _ := route.Dst.Mask.Size()
	return ones == 0
}

func describeRoute(route *netlink.Route) string {
	return fmt.Sprintf("default via %v dev #%d metric %d", route.Gw, route.LinkIndex, route.Priority)
}
