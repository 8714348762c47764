package inspect

import "fmt"

// check refuses namespaces and interfaces that nothing could refer to.
func (s *Snapshot) check() error {
	namespaces, links := map[uint64]bool{0: true}, map[Ref]bool{}
	for _, ns := range s.Namespaces {
		if namespaces[ns.Inode] {
			return fmt.Errorf("the namespace of inode %d is there twice, or has none", ns.Inode)
		}
		namespaces[ns.Inode] = true
		for _, link := range ns.Links {
			ref := Ref{ns.Inode, link.Index}
			if links[ref] || link.Index < 1 {
				return fmt.Errorf("the interface of index %d is there twice in the namespace of inode %d, or has none", link.Index, ns.Inode)
			}
			links[ref] = true
		}
	}
	return s.checkChains()
}

// checkChains refuses an interface that is above or below itself: whoever follows the chain would
// not come to its end.
func (s *Snapshot) checkChains() error {
	graph := NewGraph(s)
	for name, next := range map[string]func(Ref) (Ref, *Link){"master": graph.MasterOf, "parent": graph.ParentOf, "lower interface": graph.boundTo} {
		for start := range graph.links {
			steps := 0
			for ref, link := next(start); link != nil; ref, link = next(ref) {
				if steps++; ref == start || steps > len(graph.links) {
					return fmt.Errorf("the interface of index %d in the namespace of inode %d is its own %s", start.Index, start.Namespace, name)
				}
			}
		}
	}
	return nil
}
