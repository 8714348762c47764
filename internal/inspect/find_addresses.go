package inspect

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"
)

// mainTable is the routing table that is used unless a rule says otherwise; 255 is the kernel's
// own, for its addresses.
const mainTable, localTable = 254, 255

func familyOf(address netip.Addr) int {
	switch {
	case address.Is4():
		return 4
	case address.Is6():
		return 6
	}
	return 0
}

// eachAttachment runs a check for what the journal has of each namespace that was read.
func (g *Graph) eachAttachment(check func(*Namespace, *Attachment) []Finding) (all []Finding) {
	for i := range g.snapshot.Namespaces {
		ns := &g.snapshot.Namespaces[i]
		for _, attachment := range g.AttachmentsOf(ns) {
			all = append(all, check(ns, attachment)...)
		}
	}
	return all
}

func interfaceGone(g *Graph) []Finding {
	return g.eachAttachment(func(ns *Namespace, a *Attachment) (all []Finding) {
		for _, recorded := range a.inSandbox() {
			if ns.LinkNamed(recorded.Name) == nil && a.isOfTheKernel(recorded) {
				all = append(all, Finding{
					At: Ref{Namespace: ns.Inode}, Text: fmt.Sprintf("%s of network %s is gone", recorded.Name, a.Network),
					Evidence: []Evidence{at(Ref{Namespace: ns.Inode}, "records.attachments.interfaces", recorded.Name), at(Ref{Namespace: ns.Inode}, "links", "no "+recorded.Name)},
				})
			}
		}
		return all
	})
}

// isOfTheKernel reports whether the kernel must have the interface: a program may drive a VF or
// a vhost-user port. Where the plugins named no interface, only an address says that there was one.
func (a *Attachment) isOfTheKernel(i RecordedInterface) bool {
	return a.DeviceID == "" && i.Socket == "" && len(a.Interfaces)+len(a.Addresses) > 0
}

func addressMissing(g *Graph) []Finding {
	return g.eachAttachment(func(ns *Namespace, a *Attachment) (all []Finding) {
		for _, recorded := range a.Addresses {
			link := ns.LinkNamed(cmp.Or(recorded.Interface, a.Interface))
			if link == nil || link.has(recorded.Address) {
				continue
			}
			ref := Ref{ns.Inode, link.Index}
			all = append(all, Finding{
				At: ref, Text: fmt.Sprintf("%s lacks address %s of network %s", link.Name, recorded.Address, a.Network),
				Evidence: []Evidence{at(ref, "records.attachments.addresses", recorded.Address), at(ref, "addresses", addressesOf(link))},
			})
		}
		return all
	})
}

func (l *Link) has(address string) bool {
	want := ParseIP(address)
	return slices.ContainsFunc(l.Addresses, func(a Address) bool { return ParseIP(a.Address) == want })
}

func addressesOf(l *Link) string {
	if len(l.Addresses) == 0 {
		return "none"
	}
	var all []string
	for _, a := range l.Addresses {
		all = append(all, a.Address)
	}
	return strings.Join(all, " ")
}

// segment is where interfaces hear each other's ARP: a bridge, and in it a VLAN, or a parent.
type segment struct {
	at   Ref
	vlan int
}

// segmentOf gives the segment of an interface. Only those of a bridge and of children of one
// parent are known.
func (s subject) segmentOf() (segment, bool) {
	if parent, link := s.ParentOf(s.ref); link != nil && s.link.Kind != "vlan" {
		return segment{at: parent}, true
	}
	ref, bridge := s.BridgeOf(s.ref)
	if bridge == nil {
		return segment{}, false
	}
	port := s.link
	if _, end := s.PeerOf(s.ref); port.Master == 0 && end != nil {
		port = end
	}
	return segment{at: ref, vlan: bridge.vlanOf(port)}, true
}

// vlanOf gives the VLAN of a port's packets without a tag, 0 on a bridge without VLANs.
func (l *Link) vlanOf(port *Link) int {
	if l.Bridge == nil || !l.Bridge.VLANFiltering || port.Port == nil {
		return 0
	}
	for _, vlan := range port.Port.VLANs {
		if vlan.PVID {
			return vlan.ID
		}
	}
	return -port.Index // no VLAN: it hears nobody
}

func duplicateAddress(g *Graph) (all []Finding) {
	type place struct {
		segment segment
		address string
	}
	first := map[place]subject{}
	for _, s := range g.subjects() {
		segment, known := s.segmentOf()
		if !known {
			continue
		}
		for _, address := range s.link.globals(0) {
			other, taken := first[place{segment, address}]
			if !taken {
				first[place{segment, address}] = s
				continue
			}
			all = append(all, Finding{
				At: s.ref, Also: []Ref{other.ref},
				Text:     fmt.Sprintf("%s has address %s, and so has %s of %s, on %s", s.link.Name, address, other.link.Name, other.ns.Title(), g.Link(segment.at).Name),
				Evidence: []Evidence{at(s.ref, "addresses", address), at(other.ref, "addresses", address)},
			})
		}
	}
	return all
}

func gatewayUnresolved(s subject) (all []Finding) {
	gateways := s.gateways()
	for _, n := range s.ns.Neighbours {
		if n.Index == s.ref.Index && n.State == "failed" && slices.Contains(gateways, n.Address) {
			all = append(all, s.finding(fmt.Sprintf("%s: gateway %s does not answer", s.link.Name, n.Address),
				at(s.ref, "neighbours["+n.Address+"].state", n.State))...)
		}
	}
	return all
}

func proxyARPWithoutRoute(s subject) []Finding {
	peer, end := s.PeerOf(s.ref)
	node := s.Namespace(peer.Namespace)
	if end == nil || node == nil || node.SysctlOf("ipv4", end.Name, "proxy_arp") != "1" {
		return nil
	}
	for _, gateway := range s.gateways() {
		_, owner := s.OwnerOf(peer.Namespace, gateway)
		if address := ParseIP(gateway); address.Is4() && owner == nil && !node.routes(address) {
			return s.finding(fmt.Sprintf("%s: nobody answers for gateway %s: the node has no route to it", s.link.Name, gateway),
				at(peer, "sysctls["+Sysctl("ipv4", end.Name, "proxy_arp")+"]", 1), at(Ref{Namespace: node.Inode}, "routes", "none to "+gateway))
		}
	}
	return nil
}

// routes reports whether the main table has a way to an address.
func (n *Namespace) routes(address netip.Addr) bool {
	return slices.ContainsFunc(n.Routes, func(r Route) bool {
		if r.Table != mainTable || r.Type != "" || r.Family != familyOf(address) {
			return false
		}
		prefix, err := netip.ParsePrefix(r.To)
		return r.To == "default" || err == nil && prefix.Contains(address)
	})
}

func forwardingOff(s subject) []Finding {
	peer, end := s.PeerOf(s.ref)
	node := s.Namespace(peer.Namespace)
	if end == nil || node == nil {
		return nil
	}
	for _, route := range s.ns.Routes {
		if route.To != "default" || route.Index != s.ref.Index {
			continue
		}
		_, owner := s.OwnerOf(peer.Namespace, route.Via)
		if owner == nil && route.Family == 4 && node.SysctlOf("ipv4", end.Name, "proxy_arp") == "1" {
			owner = end // which answers for the gateway, as long as it forwards
		}
		if owner == nil {
			continue
		}
		setting := Sysctl("ipv4", owner.Name, "forwarding")
		if route.Family == 6 {
			setting = Sysctl("ipv6", "all", "forwarding") // the only one that counts
		}
		if node.Sysctls[setting] == "0" {
			return s.finding(fmt.Sprintf("%s: its default route leads to %s on the node, which does not forward", s.link.Name, owner.Name),
				at(Ref{Namespace: node.Inode}, "sysctls["+setting+"]", 0))
		}
	}
	return nil
}
