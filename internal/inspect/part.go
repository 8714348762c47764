package inspect

import "slices"

// Part gives what namespaces need: them, those that their interfaces lead to, the node's own, and the
// records of what was attached to them.
func (s *Snapshot) Part(inodes ...uint64) *Snapshot {
	graph, kept := NewGraph(s), map[uint64]bool{}
	for len(inodes) > 0 {
		ns := graph.Namespace(inodes[0])
		inodes = inodes[1:]
		if ns == nil || kept[ns.Inode] {
			continue
		}
		kept[ns.Inode] = true
		if ns.Host { // it leads to every pod
			continue
		}
		for _, link := range ns.Links {
			if link.Link != nil {
				inodes = append(inodes, link.Link.Namespace)
			}
		}
	}
	if host := graph.Host(); host != nil {
		kept[host.Inode] = true
	}
	part := *s
	part.Namespaces = slices.DeleteFunc(slices.Clone(s.Namespaces), func(ns Namespace) bool { return !kept[ns.Inode] })
	part.Records = slices.DeleteFunc(slices.Clone(s.Records), func(r Record) bool { return !r.Live || !kept[r.Inode] })
	part.Answers = slices.DeleteFunc(slices.Clone(s.Answers), func(a Answer) bool { return !kept[a.Namespace] })
	return &part
}
