package inspect

import (
	"fmt"
	"net/netip"
	"slices"
)

// routeMissing looks for routes of the journal that a pod has in no table, by no interface: a plugin
// such as sbr moves routes to another table, and Plexus a default route to another interface.
func routeMissing(g *Graph) []Finding {
	return g.eachAttachment(func(ns *Namespace, a *Attachment) (all []Finding) {
		link := ns.LinkNamed(a.Interface)
		if ns.Brief || link == nil || !link.Up {
			return nil
		}
		for _, recorded := range a.Routes {
			to, known := recorded.destination()
			if !known || slices.ContainsFunc(ns.Routes, func(r Route) bool { return r.isTo(to) }) {
				continue
			}
			ref := Ref{ns.Inode, link.Index}
			all = append(all, advise([]Finding{{
				At: ref, Text: fmt.Sprintf("%s: the route to %s of network %s is gone", link.Name, to, a.Network),
				Evidence: []Evidence{at(ref, "records.attachments.routes", to), at(Ref{Namespace: ns.Inode}, "routes", "none to "+to.String())},
			}}, "Add it again in the pod's namespace with `%s`, or delete the pod, to have it attached anew. An interface that was set down and up has lost such routes.", a.addRoute(recorded, to))...)
		}
		return all
	})
}

// destination gives where a recorded route leads to.
func (r RecordedRoute) destination() (netip.Prefix, bool) {
	prefix, err := netip.ParsePrefix(r.To)
	return prefix.Masked(), err == nil
}

// isTo reports whether packets to all of a prefix take this route, whatever its table.
func (r *Route) isTo(prefix netip.Prefix) bool {
	if slices.Contains(deadEnds, r.Type) || r.Family != familyOf(prefix.Addr()) {
		return false
	}
	if r.To == "default" {
		return prefix.Bits() == 0
	}
	to, err := netip.ParsePrefix(r.To)
	return err == nil && to.Masked() == prefix
}

// deadEnds are the types of routes that lead nowhere.
var deadEnds = []string{"blackhole", "unreachable", "prohibit", "throw"}

// addRoute gives the command that adds a recorded route again.
func (a *Attachment) addRoute(recorded RecordedRoute, to netip.Prefix) string {
	via := recorded.Via
	for _, address := range a.Addresses {
		if via == "" && familyOf(ParseIP(address.Gateway)) == familyOf(to.Addr()) {
			via = address.Gateway
		}
	}
	version := ""
	if to.Addr().Is6() {
		version = " -6"
	}
	return fmt.Sprintf("ip%s route add %s%s dev %s", version, to, prefixed(" via ", via), a.Interface)
}

// gatewayWrongMAC looks for a gateway whose owner is known: the pod's bridge, or its own host end. What
// is for any port of a bridge is for the bridge, so the MAC of one is right. That of a port which is
// gone stays in the pod's table until it asks again, so a MAC has to be another interface's, or has to
// be written there for good.
func gatewayWrongMAC(s subject) (all []Finding) {
	peer, end := s.PeerOf(s.ref)
	if end == nil {
		return nil
	}
	owners := []gateway{{peer, end, []*Link{end}}}
	if ref, bridge := s.BridgeOf(s.ref); bridge != nil {
		owners = append(owners, gateway{ref, bridge, append(s.PortsOf(ref), bridge)})
	}
	for _, n := range s.ns.Neighbours {
		if n.Index != s.ref.Index || n.MAC == "" || !slices.Contains(s.gateways(), n.Address) {
			continue
		}
		for _, owner := range owners {
			if owner.link.has(n.Address) && !slices.ContainsFunc(owner.right, func(l *Link) bool { return l.MAC == n.MAC }) {
				all = append(all, s.wrongMAC(n, owner)...)
			}
		}
	}
	return all
}

// gateway is an interface of the node to which a pod sends, and those whose MACs are right for it. With
// ptp each host end has the same address, so it is one of the pod's own.
type gateway struct {
	ref   Ref
	link  *Link
	right []*Link
}

func (s subject) wrongMAC(n Neighbour, owner gateway) []Finding {
	other, whose := s.holderOf(n.MAC)
	if other.Index == 0 && n.State != "permanent" {
		return nil
	}
	evidence := []Evidence{at(s.ref, "neighbours["+n.Address+"].mac", n.MAC), at(owner.ref, "mac", owner.link.MAC)}
	if other.Index != 0 {
		evidence = append(evidence, at(other, "mac", n.MAC))
	}
	return s.finding(fmt.Sprintf("%s: its gateway %s is %s, and it sends to another MAC%s", s.link.Name, n.Address, owner.link.Name, whose), evidence...)
}

// holderOf gives the interface of a pod that has a MAC, and says so.
func (s subject) holderOf(mac string) (Ref, string) {
	for _, other := range s.subjects() {
		if other.link.MAC == mac {
			return other.ref, ": that of " + other.link.Name + " of " + other.ns.Title()
		}
	}
	return Ref{}, ""
}
