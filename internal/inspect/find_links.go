package inspect

import (
	"fmt"
	"slices"
	"strings"
)

func hostEndOffBridge(s subject) []Finding {
	peer, end := s.PeerOf(s.ref)
	if end == nil || end.Master != 0 || peer.Namespace == s.ref.Namespace {
		return nil
	}
	for _, gateway := range s.gateways() {
		if owner, bridge := s.OwnerOf(peer.Namespace, gateway); bridge != nil && bridge.Kind == "bridge" {
			evidence := []Evidence{at(peer, "master", end.Master), at(owner, "addresses", gateway)}
			for _, n := range s.ns.Neighbours {
				if n.Index == s.ref.Index && n.Address == gateway && n.MAC == end.MAC {
					evidence = append(evidence, at(s.ref, "neighbours["+gateway+"].mac", n.MAC+" (that of "+end.Name+", not of "+bridge.Name+": "+bridge.MAC+")"))
				}
			}
			return putBack(end, bridge, s.finding(fmt.Sprintf("%s: its host end %s is on no bridge, and its gateway %s is the address of bridge %s", s.link.Name, end.Name, gateway, bridge.Name), evidence...))
		}
	}
	bridge := s.recordedBridge(peer.Namespace, end.Name)
	if bridge == nil {
		return nil
	}
	return putBack(end, bridge, s.finding(fmt.Sprintf("%s: its host end %s is on no bridge, and the plugins put it on bridge %s", s.link.Name, end.Name, bridge.Name),
		at(peer, "master", end.Master), at(s.ref, "records.attachments.interfaces", bridge.Name)))
}

// putBack gives the findings with the command that mends them.
func putBack(end, bridge *Link, findings []Finding) []Finding {
	return advise(findings, "Put it back on the node with `ip link set %s master %s`, and find out who took it off: often a network manager of the node.", end.Name, bridge.Name)
}

// advise gives the findings with advice that has the names of the interfaces in it.
func advise(findings []Finding, format string, names ...any) []Finding {
	for i := range findings {
		findings[i].Do = fmt.Sprintf(format, names...)
	}
	return findings
}

// recordedBridge gives the bridge that the plugins' result names beside the host end.
func (s subject) recordedBridge(inode uint64, hostEnd string) *Link {
	if s.attachment == nil || s.Namespace(inode) == nil {
		return nil
	}
	names := []string{}
	for _, i := range s.attachment.Interfaces {
		if !i.InSandbox {
			names = append(names, i.Name)
		}
	}
	for _, name := range names {
		if link := s.Namespace(inode).LinkNamed(name); link != nil && link.Kind == "bridge" && slices.Contains(names, hostEnd) {
			return link
		}
	}
	return nil
}

func interfaceDown(s subject) []Finding {
	if s.link.Up {
		return nil
	}
	return advise(s.finding(s.link.Name+" is down", at(s.ref, "up", s.link.Up)),
		"Set it up in the pod's namespace with `ip link set %s up`, and add its routes again: %s. Or delete the pod, to have it attached anew.", s.link.Name, s.routesAgain())
}

// routesAgain gives the commands that add the recorded routes of the interface.
func (s subject) routesAgain() string {
	var commands []string
	if s.attachment != nil {
		for _, recorded := range s.attachment.Routes {
			if to, known := recorded.destination(); known {
				commands = append(commands, "`"+s.attachment.addRoute(recorded, to)+"`")
			}
		}
	}
	if len(commands) == 0 {
		return "what they were is not known here"
	}
	return strings.Join(commands, ", ")
}

// hasOtherEnd reports whether the interface without carrier is a fault: a bridge in a pod, for
// one, has none as long as it has no port.
func (s subject) hasOtherEnd() bool {
	return s.attachment != nil || IsPair(s.link.Kind) || IsChild(s.link.Kind) || s.link.Kind == "device"
}

func noCarrier(s subject) []Finding {
	if !s.link.Up || s.link.Carrier || !s.hasOtherEnd() || parentDown(s) != nil {
		return nil
	}
	text, evidence := s.link.Name+" has no carrier", []Evidence{at(s.ref, "carrier", s.link.Carrier)}
	if peer, end := s.PeerOf(s.ref); end != nil && !end.Up {
		text += ": its host end " + end.Name + " is down"
		evidence = append(evidence, at(peer, "up", end.Up))
	}
	return s.finding(text, evidence...)
}

func parentDown(s subject) []Finding {
	ref, parent := s.ParentOf(s.ref)
	switch {
	case parent == nil || parent.Up && parent.Carrier:
		return nil
	case !parent.Up:
		return s.finding(fmt.Sprintf("%s: its parent %s is down", s.link.Name, parent.Name), at(ref, "up", parent.Up))
	}
	return s.finding(fmt.Sprintf("%s: its parent %s has no carrier", s.link.Name, parent.Name), at(ref, "carrier", parent.Carrier))
}

func bridgeDown(s subject) []Finding {
	ref, bridge := s.BridgeOf(s.ref)
	if bridge == nil || bridge.Up {
		return nil
	}
	return advise(s.finding(fmt.Sprintf("%s: its bridge %s is down", s.link.Name, bridge.Name), at(ref, "up", bridge.Up)),
		"Set the bridge up with `ip link set %s up`.", bridge.Name)
}

func mtuAboveHostSide(s subject) []Finding {
	ref, end := s.PeerOf(s.ref)
	if end == nil || s.link.MTU <= end.MTU {
		return nil
	}
	return s.finding(fmt.Sprintf("%s has MTU %d, its host end %s has %d", s.link.Name, s.link.MTU, end.Name, end.MTU),
		at(s.ref, "mtu", s.link.MTU), at(ref, "mtu", end.MTU))
}

func mtuAboveBridge(s subject) []Finding {
	ref, bridge := s.BridgeOf(s.ref)
	if bridge == nil || s.link.MTU <= bridge.MTU || mtuAboveHostSide(s) != nil {
		return nil
	}
	return s.finding(fmt.Sprintf("%s has MTU %d, its bridge %s has %d", s.link.Name, s.link.MTU, bridge.Name, bridge.MTU),
		at(s.ref, "mtu", s.link.MTU), at(ref, "mtu", bridge.MTU))
}

// overheads are what tunnels add to a packet, over IPv4 and over IPv6. That of a wireguard is the
// most that it can be.
var overheads = map[string][2]int{
	"vxlan": {50, 70}, "geneve": {50, 70}, "ipip": {20, 20}, "sit": {20, 20}, "ip6tnl": {40, 40}, "gre": {24, 24}, "gretap": {38, 38},
	"ip6gre": {44, 44}, "ip6gretap": {58, 58}, "wireguard": {60, 80},
}

// overlayMTU leaves out a tunnel whose ends are given with each packet: its MTU says nothing.
func overlayMTU(g *Graph) (all []Finding) {
	for i := range g.snapshot.Namespaces {
		ns := &g.snapshot.Namespaces[i]
		for j := range ns.Links {
			tunnel, ref := &ns.Links[j], Ref{ns.Inode, ns.Links[j].Index}
			lowerRef, lower := g.LowerOf(ref)
			overhead := tunnel.overhead()
			if lower == nil || !tunnel.Up || overhead == 0 || tunnel.MTU+overhead <= lower.MTU {
				continue
			}
			all = append(all, Finding{
				At: ref, Text: fmt.Sprintf("%s has MTU %d, and with the %d bytes that %s adds more than the %d of %s", tunnel.Name, tunnel.MTU, overhead, tunnel.Kind, lower.MTU, lower.Name),
				Evidence: []Evidence{at(ref, "mtu", tunnel.MTU), at(lowerRef, "mtu", lower.MTU)},
			})
		}
	}
	return all
}

// overhead gives what a tunnel adds to a packet; 0 for what is none.
func (l *Link) overhead() int {
	local, external := l.tunnelEnd()
	both, known := overheads[l.Kind]
	switch {
	case !known || external:
		return 0
	case familyOf(ParseIP(local)) == 6:
		return both[1]
	case l.Tunnel != nil && l.Tunnel.Key != nil && l.Kind != "geneve":
		return both[0] + 4 // of the key of GRE
	}
	return both[0]
}

// tunnelEnd gives the address of a tunnel's own end, and whether the ends are given with each packet.
func (l *Link) tunnelEnd() (local string, external bool) {
	switch {
	case l.VXLAN != nil:
		return l.VXLAN.Local, l.VXLAN.External
	case l.Tunnel != nil:
		return l.Tunnel.Local, l.Tunnel.External
	}
	return "", false
}

// vteps gives the VXLAN interfaces that are up.
func (g *Graph) vteps() (refs []Ref) {
	for _, ns := range g.snapshot.Namespaces {
		for _, link := range ns.Links {
			if link.VXLAN != nil && link.Up {
				refs = append(refs, Ref{ns.Inode, link.Index})
			}
		}
	}
	return refs
}

func missingFDB(g *Graph) (all []Finding) {
	for _, ref := range g.vteps() {
		vtep, ns := g.Link(ref), g.Namespace(ref.Namespace)
		if vtep.VXLAN.Learning || vtep.VXLAN.Group != "" {
			continue
		}
		for _, n := range ns.Neighbours {
			if n.Index == ref.Index && n.State == "permanent" && n.MAC != "" && !ns.sends(ref.Index, n.MAC) {
				all = append(all, Finding{
					At: ref, Text: fmt.Sprintf("VTEP %s has no FDB entry for %s, the MAC of its neighbour %s", vtep.Name, n.MAC, n.Address),
					Evidence: []Evidence{at(ref, "neighbours["+n.Address+"].mac", n.MAC), at(ref, "fdb["+n.MAC+"]", "none")},
				})
			}
		}
	}
	return all
}

// missingVTEPNeighbour finds routes of a VTEP whose next hop has no MAC: nobody answers for it, where nothing is flooded.
func missingVTEPNeighbour(g *Graph) (all []Finding) {
	for _, ref := range g.vteps() {
		vtep, ns := g.Link(ref), g.Namespace(ref.Namespace)
		if vtep.VXLAN.Learning || vtep.VXLAN.Group != "" || vtep.VXLAN.External || ns.sends(ref.Index, floods) {
			continue
		}
		for _, route := range ns.Routes {
			if route.Index == ref.Index && route.Via != "" && !ns.hasMAC(ref.Index, route.Via) {
				all = append(all, Finding{
					At: ref, Text: fmt.Sprintf("VTEP %s has no neighbour entry for %s, by which its route to %s goes", vtep.Name, route.Via, route.To),
					Evidence: []Evidence{at(ref, "routes["+route.To+"].via", route.Via), at(ref, "neighbours["+route.Via+"].mac", "none")},
				})
			}
		}
	}
	return all
}

// hasMAC reports whether an interface knows the MAC of a next hop.
func (n *Namespace) hasMAC(index int, address string) bool {
	return slices.ContainsFunc(n.Neighbours, func(known Neighbour) bool {
		return known.Index == index && known.Address == address && known.MAC != ""
	})
}

// floods is the MAC of an FDB entry for whatever has none.
const floods = "00:00:00:00:00:00"

// sends reports whether a VTEP knows where to send what is for a MAC. An entry of zeros is for
// all.
func (n *Namespace) sends(vtep int, mac string) bool {
	return slices.ContainsFunc(n.FDB, func(e FDBEntry) bool {
		return e.Index == vtep && e.Destination != "" && (e.MAC == mac || e.MAC == floods)
	})
}
