// Package capture writes down what passes interfaces of pods and nodes: which interfaces those are, what they
// are called, and where on a path they are. It is pure: others watch.
package capture

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/filter"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/inspect/pcapng"
)

// other is LINKTYPE_USER0, for headers that no filter is made for.
const other = 147

// Point is an interface whose packets are captured.
type Point struct {
	Node string
	Ref  inspect.Ref
	Name string // "net0@shop/web", "cni0@node1"
	// About says what it is: "macvlan of pod shop/web on node1, network shop/fast".
	About string
	Link  int // the LINKTYPE of its packets, as far as the Snapshot says
	// Outer are the addresses of what carries the path's packets here; "" where nothing does.
	Outer [2]string
	// There and Back are its numbers on the ways of a path, from 1; 0 where it is on none.
	There, Back hop
}

// hop is a place on a way.
type hop struct{ number, of int }

func (h hop) String() string {
	if h.number == 0 {
		return ""
	}
	return fmt.Sprintf("hop %d of %d", h.number, h.of)
}

// place says where on the path it is, "" where on none.
func (p *Point) place() string {
	var places []string
	if p.There.number != 0 {
		places = append(places, p.There.String())
	}
	if p.Back.number != 0 {
		places = append(places, p.Back.String()+" back")
	}
	return strings.Join(places, ", ")
}

// OfPod gives interfaces of a pod's namespace: those that are named, or all but the loopback.
func OfPod(s *inspect.Snapshot, inode uint64, names []string) ([]Point, error) {
	graph := inspect.NewGraph(s)
	ns := graph.Namespace(inode)
	var points []Point
	for i := range ns.Links {
		link := &ns.Links[i]
		if slices.Contains(names, link.Name) || len(names) == 0 && link.Name != "lo" {
			points = append(points, newPoint(s, graph, inspect.Ref{Namespace: inode, Index: link.Index}))
		}
	}
	for _, name := range names {
		if ns.LinkNamed(name) == nil {
			return nil, fmt.Errorf("%s has no interface %s, it has %s", ns.Title(), name, linkNames(ns))
		}
	}
	if len(points) == 0 {
		return nil, fmt.Errorf("%s has no interface but the loopback", ns.Title())
	}
	return points, nil
}

func linkNames(ns *inspect.Namespace) string {
	var all []string
	for i := range ns.Links {
		all = append(all, ns.Links[i].Name)
	}
	return strings.Join(all, ", ")
}

func newPoint(s *inspect.Snapshot, graph *inspect.Graph, ref inspect.Ref) Point {
	ns, link := graph.Namespace(ref.Namespace), graph.Link(ref)
	p := Point{Node: s.Machine.Name(), Ref: ref, Link: filter.Ethernet}
	if !slices.Contains(link.Flags, "LOOPBACK") {
		p.Link = header(link)
	}
	owner, in := p.Node, "of the node "+p.Node
	if !ns.Host {
		owner = ns.Title()
		if ns.Sandbox != nil && ns.Sandbox.Pod != "" {
			owner = ns.Sandbox.Pod
		}
		in = "of " + ns.Title() + " on " + p.Node
	}
	p.Name = link.Name + "@" + owner
	p.About = cmp.Or(link.Kind, "device") + " " + in
	for _, a := range graph.AttachmentsOf(ns) {
		if a.Interface == link.Name && a.Network != "" {
			p.About += ", network " + a.Network
		}
	}
	return p
}

// header gives the type of the header of an interface's packets. Where the kernel says an address that is no MAC, it
// is that of a tunnel (of IPv4 or IPv6), or of a network that is no Ethernet (as InfiniBand).
func header(link *inspect.Link) int {
	switch hex := strings.ReplaceAll(link.MAC, ":", ""); len(hex) / 2 {
	case 6:
		return filter.Ethernet
	case 0, 4, 16:
		return filter.RawIP
	}
	return other
}

// OfPath gives every interface of a path, on all nodes, each once.
func OfPath(d *path.Document, snapshots []*inspect.Snapshot) []Point {
	var points []Point
	add := func(way *path.Way, set func(*Point, hop)) {
		for i := range way.Hops {
			h := &way.Hops[i]
			if h.Ref.Index == 0 {
				continue
			}
			k := slices.IndexFunc(points, func(p Point) bool { return p.Node == h.Node && p.Ref == h.Ref })
			if k < 0 {
				p, found := ofHop(h, snapshots)
				if !found {
					continue
				}
				points, k = append(points, p), len(points)
			}
			set(&points[k], hop{i + 1, len(way.Hops)})
		}
	}
	add(&d.There, func(p *Point, h hop) { p.There = h })
	if d.Back != nil {
		add(d.Back, func(p *Point, h hop) { p.Back = h })
	}
	return points
}

func ofHop(h *path.Hop, snapshots []*inspect.Snapshot) (Point, bool) {
	for _, s := range snapshots {
		graph := inspect.NewGraph(s)
		if s.Machine.Name() != h.Node || graph.Link(h.Ref) == nil {
			continue
		}
		p := newPoint(s, graph, h.Ref)
		p.Outer = [2]string{h.From, h.To}
		return p, true
	}
	return Point{}, false
}

// Names gives what the addresses of pods and nodes are called in a capture.
func Names(snapshots []*inspect.Snapshot) (names []pcapng.Name) {
	for _, s := range snapshots {
		for i := range s.Namespaces {
			ns := &s.Namespaces[i]
			owner := s.Machine.Name()
			switch {
			case ns.Host:
			case ns.Sandbox != nil && ns.Sandbox.Pod != "":
				owner = ns.Sandbox.Pod
			default:
				continue
			}
			for l := range ns.Links {
				names = append(names, namesOf(&ns.Links[l], owner)...)
			}
		}
	}
	return names
}

func namesOf(link *inspect.Link, owner string) (names []pcapng.Name) {
	if link.Name == "lo" {
		return nil
	}
	for _, a := range link.Addresses {
		prefix, err := netip.ParsePrefix(a.Address)
		if err == nil && !prefix.Addr().IsLinkLocalUnicast() {
			names = append(names, pcapng.Name{Address: prefix.Addr(), Name: owner + "(" + link.Name + ")"})
		}
	}
	return names
}
