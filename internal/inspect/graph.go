package inspect

import (
	"cmp"
	"net/netip"
	"slices"
	"strings"
)

// Graph answers how the interfaces of a Snapshot hang together. Whatever the Snapshot lacks,
// the answer is nil, or the zero value.
type Graph struct {
	snapshot   *Snapshot
	namespaces map[uint64]*Namespace
	links      map[Ref]*Link
}

// NewGraph gives the graph of a Snapshot, which must not be changed afterwards.
func NewGraph(s *Snapshot) *Graph {
	g := &Graph{snapshot: s, namespaces: map[uint64]*Namespace{}, links: map[Ref]*Link{}}
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		g.namespaces[ns.Inode] = ns
		for j := range ns.Links {
			g.links[Ref{ns.Inode, ns.Links[j].Index}] = &ns.Links[j]
		}
	}
	return g
}

// Namespace gives the namespace of an inode.
func (g *Graph) Namespace(inode uint64) *Namespace { return g.namespaces[inode] }

// Host gives the node's own namespace.
func (g *Graph) Host() *Namespace {
	for i := range g.snapshot.Namespaces {
		if g.snapshot.Namespaces[i].Host {
			return &g.snapshot.Namespaces[i]
		}
	}
	return nil
}

// Link gives an interface.
func (g *Graph) Link(ref Ref) *Link { return g.links[ref] }

// IsPair reports whether what the kernel calls the link of an interface is its other end.
func IsPair(kind string) bool { return kind == "veth" || kind == "netkit" }

// IsChild reports whether what the kernel calls the link of an interface carries its packets.
func IsChild(kind string) bool {
	return slices.Contains([]string{"macvlan", "macvtap", "ipvlan", "ipvtap", "vlan"}, kind)
}

// PeerOf gives the other end of a veth or netkit.
func (g *Graph) PeerOf(ref Ref) (Ref, *Link) {
	if link := g.links[ref]; link != nil && IsPair(link.Kind) {
		return g.linked(link)
	}
	return Ref{}, nil
}

// ParentOf gives the parent of a macvlan, ipvlan or VLAN interface, which may be in another
// namespace.
func (g *Graph) ParentOf(ref Ref) (Ref, *Link) {
	if link := g.links[ref]; link != nil && IsChild(link.Kind) {
		return g.linked(link)
	}
	return Ref{}, nil
}

func (g *Graph) linked(link *Link) (Ref, *Link) {
	if link.Link == nil {
		return Ref{}, nil
	}
	return *link.Link, g.links[*link.Link]
}

// MasterOf gives the bridge, bond or VRF of an interface.
func (g *Graph) MasterOf(ref Ref) (Ref, *Link) {
	link := g.links[ref]
	if link == nil || link.Master == 0 {
		return Ref{}, nil
	}
	master := Ref{ref.Namespace, link.Master}
	return master, g.links[master]
}

// BridgeOf gives the bridge whose port an interface, or else its peer, is.
func (g *Graph) BridgeOf(ref Ref) (Ref, *Link) {
	if master, link := g.MasterOf(ref); link != nil && link.Kind == "bridge" {
		return master, link
	}
	peer, link := g.PeerOf(ref)
	if link == nil {
		return Ref{}, nil
	}
	if master, link := g.MasterOf(peer); link != nil && link.Kind == "bridge" {
		return master, link
	}
	return Ref{}, nil
}

// PortsOf gives the interfaces whose master one is, by index.
func (g *Graph) PortsOf(ref Ref) []*Link {
	var ports []*Link
	if ns := g.namespaces[ref.Namespace]; ns != nil {
		for i := range ns.Links {
			if ns.Links[i].Master == ref.Index {
				ports = append(ports, &ns.Links[i])
			}
		}
	}
	slices.SortFunc(ports, func(a, b *Link) int { return cmp.Compare(a.Index, b.Index) })
	return ports
}

// LowerOf gives the interface by which the packets of a tunnel leave: the one that it is bound to, or
// else the one that has the address of its own end.
func (g *Graph) LowerOf(ref Ref) (Ref, *Link) {
	if lower, link := g.boundTo(ref); link != nil {
		return lower, link
	}
	if link := g.links[ref]; link != nil {
		local, _ := link.tunnelEnd()
		if owner, found := g.OwnerOf(ref.Namespace, local); owner != ref {
			return owner, found
		}
	}
	return Ref{}, nil
}

// boundTo gives the interface to which a tunnel is bound.
func (g *Graph) boundTo(ref Ref) (Ref, *Link) {
	link, index := g.links[ref], 0
	switch {
	case link == nil:
	case link.VXLAN != nil:
		index = link.VXLAN.Lower
	case link.Tunnel != nil:
		index = link.Tunnel.Lower
	}
	lower := Ref{ref.Namespace, index}
	return lower, g.links[lower]
}

// OwnerOf gives the interface of a namespace that has an address.
func (g *Graph) OwnerOf(inode uint64, address string) (Ref, *Link) {
	ns, want := g.namespaces[inode], ParseIP(address)
	if ns == nil || !want.IsValid() {
		return Ref{}, nil
	}
	for i := range ns.Links {
		for _, a := range ns.Links[i].Addresses {
			if ParseIP(a.Address) == want {
				return Ref{inode, ns.Links[i].Index}, &ns.Links[i]
			}
		}
	}
	return Ref{}, nil
}

// LinkNamed gives the interface of a name.
func (n *Namespace) LinkNamed(name string) *Link {
	for i := range n.Links {
		if n.Links[i].Name == name {
			return &n.Links[i]
		}
	}
	return nil
}

// RecordsOf gives the records of what was attached to a namespace.
func (g *Graph) RecordsOf(ns *Namespace) []*Record {
	var records []*Record
	for i := range g.snapshot.Records {
		if r := &g.snapshot.Records[i]; r.Live && r.Inode != 0 && r.Inode == ns.Inode {
			records = append(records, r)
		}
	}
	return records
}

// AttachmentsOf gives what was attached to a namespace, in order, and is recorded whole.
func (g *Graph) AttachmentsOf(ns *Namespace) []*Attachment {
	var all []*Attachment
	for _, record := range g.RecordsOf(ns) {
		for i := range record.Attachments {
			if record.Complete && record.Attachments[i].Attached {
				all = append(all, &record.Attachments[i])
			}
		}
	}
	return all
}

// ParseIP reads an address with or without a prefix; what is none is invalid.
func ParseIP(text string) netip.Addr {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		return prefix.Addr().Unmap()
	}
	address, _ := netip.ParseAddr(text)
	return address.Unmap().WithZone("")
}

// Sysctl gives the name of an interface's setting, as sysctl takes it: a dot in the name of the
// interface is a slash there.
func Sysctl(family, link, setting string) string {
	return "net." + family + ".conf." + strings.ReplaceAll(link, ".", "/") + "." + setting
}

// SysctlOf gives a setting of an interface, "" if it is not known.
func (n *Namespace) SysctlOf(family, link, setting string) string {
	return n.Sysctls[Sysctl(family, link, setting)]
}

// Title names a namespace for findings and texts.
func (n *Namespace) Title() string {
	switch {
	case n.Host:
		return "the node"
	case n.Sandbox != nil && n.Sandbox.Pod != "":
		return "pod " + n.Sandbox.Pod
	case n.Sandbox != nil:
		return "container " + n.Sandbox.ContainerID
	case len(n.Paths) > 0:
		return n.Paths[0]
	}
	return "a namespace"
}
