package path

import (
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// World is the nodes whose Snapshots there are.
type World struct{ machines []*machine }

// machine is one node.
type machine struct {
	*inspect.Snapshot
	graph *inspect.Graph
}

// point is an interface of one of the nodes. An inode is a number of one kernel: two nodes have it.
type point struct {
	machine int
	inspect.Ref
}

// NewWorld gives the world of Snapshots, one a node. They must not be changed afterwards, but for
// their Answers.
func NewWorld(snapshots ...*inspect.Snapshot) *World {
	w := &World{}
	for _, snapshot := range snapshots {
		w.machines = append(w.machines, &machine{snapshot, inspect.NewGraph(snapshot)})
	}
	return w
}

func (m *machine) name() string { return m.Machine.Name() }

func (w *World) link(p point) *inspect.Link { return w.machines[p.machine].graph.Link(p.Ref) }

func (w *World) namespace(p point) *inspect.Namespace {
	return w.machines[p.machine].graph.Namespace(p.Namespace)
}

// NameOf gives the title of an interface's namespace and the interface's name, both "" if they are not known.
func (w *World) NameOf(node string, ref inspect.Ref) (in, name string) {
	for i, m := range w.machines {
		p := point{i, ref}
		if m.name() != node || w.namespace(p) == nil {
			continue
		}
		in = w.namespace(p).Title()
		if link := w.link(p); link != nil {
			name = link.Name
		}
	}
	return in, name
}

// beside gives another interface of the same namespace.
func (p point) beside(index int) point {
	return point{p.machine, inspect.Ref{Namespace: p.Namespace, Index: index}}
}

// on gives an interface of the same node.
func (p point) on(ref inspect.Ref) point { return point{p.machine, ref} }

// each runs a function for every interface, the nodes in their order.
func (w *World) each(f func(point, *inspect.Link)) {
	for i, m := range w.machines {
		for n := range m.Namespaces {
			ns := &m.Namespaces[n]
			for l := range ns.Links {
				f(point{i, inspect.Ref{Namespace: ns.Inode, Index: ns.Links[l].Index}}, &ns.Links[l])
			}
		}
	}
}

// children gives the interfaces whose packets one carries, also those of other namespaces.
func (w *World) children(parent point) []point {
	var all []point
	w.each(func(p point, link *inspect.Link) {
		if p.machine == parent.machine && inspect.IsChild(link.Kind) && link.Link != nil && *link.Link == parent.Ref {
			all = append(all, p)
		}
	})
	return all
}

// owners gives the interfaces that have an address.
func (w *World) owners(address string) []point {
	var all []point
	w.each(func(p point, link *inspect.Link) {
		if hasAddress(link, address) {
			all = append(all, p)
		}
	})
	return all
}

// OwnerOf names the node or the pod that has an address, "" for none and for several.
func (w *World) OwnerOf(address string) string {
	owners := w.owners(address)
	if len(owners) == 0 {
		return ""
	}
	ns := w.namespace(owners[0])
	for _, p := range owners[1:] {
		if w.namespace(p) != ns {
			return ""
		}
	}
	if ns.Host {
		return w.machines[owners[0].machine].name()
	}
	return ns.Title()
}

func hasAddress(link *inspect.Link, address string) bool {
	want := inspect.ParseIP(address)
	return want.IsValid() && slices.ContainsFunc(link.Addresses, func(a inspect.Address) bool { return inspect.ParseIP(a.Address) == want })
}

// has reports whether any interface of a namespace has an address: the kernel answers for all
// of them by each one.
func has(ns *inspect.Namespace, address string) bool {
	return slices.ContainsFunc(ns.Links, func(link inspect.Link) bool { return hasAddress(&link, address) })
}

// IsAddress reports whether the end of a path is an address.
func IsAddress(text string) bool { return inspect.ParseIP(text).IsValid() }

// family gives 4 or 6.
func family(address string) int {
	if inspect.ParseIP(address).Is4() {
		return 4
	}
	return 6
}

// neighbour gives what a namespace has of an address: nil if it never asked.
func neighbour(ns *inspect.Namespace, index int, address string) *inspect.Neighbour {
	for i := range ns.Neighbours {
		if n := &ns.Neighbours[i]; n.Index == index && !n.Proxy && inspect.ParseIP(n.Address) == inspect.ParseIP(address) {
			return n
		}
	}
	return nil
}

// sysctl gives the larger of an interface's setting and that of all, which is how the kernel
// reads rp_filter, and whether one of them is set.
func sysctl(ns *inspect.Namespace, family, link, setting string) string {
	return max(ns.SysctlOf(family, "all", setting), ns.SysctlOf(family, link, setting))
}

func isMacvlan(kind string) bool { return kind == "macvlan" || kind == "macvtap" }

func isIPVlan(kind string) bool { return kind == "ipvlan" || kind == "ipvtap" }
