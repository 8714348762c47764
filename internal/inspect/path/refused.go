package path

import (
	"net/netip"
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// refused says why a kernel's routing refuses a packet. Its errors do not tell: rp_filter is EXDEV on
// some kernels and EINVAL on others, where blackholes and martians are that too.
func (t *tracer) refused(at point, answer inspect.Answer) error {
	ns, link := t.world.namespace(at), t.world.link(at.beside(answer.Input))
	from := ns.Title()
	if entry := refusal(ns, answer.To); entry != nil && answer.Refused != "EXDEV" {
		return lost("Look at ip route show table "+tableName(entry.Table)+" there.", "the routing of %s has a %s route for %s: %s, table %s (%s)", from, entry.Type, answer.To, entry.To, tableName(entry.Table), answer.Refused)
	}
	if answer.Input == 0 || link == nil {
		return lost("Look at ip rule and ip route show table all there.", "the routing of %s has no route to %s (%s)", from, answer.To, answer.Refused)
	}
	if answer.Refused == "ENETUNREACH" {
		return lost("Look at ip rule and ip route show table all there.", "the routing of %s has no route to %s for what comes in by %s (%s)", from, answer.To, link.Name, answer.Refused)
	}
	if answer.Refused == "EACCES" {
		return lost("Look at ip route show type prohibit there.", "the routing of %s prohibits %s (%s)", from, answer.To, answer.Refused)
	}
	family := map[bool]string{true: "ipv4", false: "ipv6"}[inspect.ParseIP(answer.To).Is4()]
	if answer.Refused == "EHOSTUNREACH" && ns.SysctlOf(family, link.Name, "forwarding") == "0" {
		return lost("Set it: sysctl -w net."+family+".conf."+link.Name+".forwarding=1.", "%s does not forward what comes in by %s: its setting forwarding is 0 (%s)", from, link.Name, answer.Refused)
	}
	return t.filtered(at, answer, ns, link)
}

// refusal gives the entry of a table that drops what is for an address: the kernel's error does not
// say that there is one. It is nil if an entry that is more exact sends it on.
func refusal(ns *inspect.Namespace, address string) *inspect.Route {
	var best *inspect.Route
	length := -1
	for i := range ns.Routes {
		route := &ns.Routes[i]
		if bits := covers(route, address); bits > length {
			best, length = route, bits
		}
	}
	if best == nil || !slices.Contains([]string{"blackhole", "unreachable", "prohibit"}, best.Type) {
		return nil
	}
	return best
}

// covers gives the length of the prefix by which a route is for an address, -1 if it is not.
func covers(route *inspect.Route, address string) int {
	if route.Family != family(address) {
		return -1
	}
	if route.To == "default" {
		return 0
	}
	prefix, err := netip.ParsePrefix(route.To)
	if err != nil || !prefix.Contains(inspect.ParseIP(address)) {
		return -1
	}
	return prefix.Bits()
}

// filtered tells rp_filter from addresses that may not come in from outside.
func (t *tracer) filtered(at point, answer inspect.Answer, ns *inspect.Namespace, link *inspect.Link) error {
	if has(ns, answer.From) {
		return lost("Look for the address twice.", "%s drops what comes in by %s from %s, which is an address of its own (%s)", ns.Title(), link.Name, answer.From, answer.Refused)
	}
	setting := sysctl(ns, "ipv4", link.Name, "rp_filter")
	if source, err := netip.ParseAddr(answer.From); err != nil || !source.Unmap().Is4() || setting != "1" && setting != "2" {
		return lost("Look at ip rule and ip route show table all there.", "the routing of %s refuses what comes in by %s from %s to %s (%s)", ns.Title(), link.Name, answer.From, answer.To, answer.Refused)
	}
	back, err := t.ask(at, inspect.Question{To: answer.From})
	if err != nil {
		return err
	}
	way := "there is no route back to it"
	if back.Route != nil {
		if by := t.world.link(at.beside(back.Route.Index)); by != nil {
			way = "the way back to it is by " + by.Name
		}
	}
	return lost("Give it a way back by "+link.Name+", or set net.ipv4.conf."+link.Name+".rp_filter=2 (and all to 2 or 0) there.",
		"%s drops what comes in by %s from %s, as rp_filter is %s and %s (IP_RPFILTER, %s)", ns.Title(), link.Name, answer.From, setting, way, answer.Refused)
}
