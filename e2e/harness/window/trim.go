package window

import (
	"slices"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// trimmed gives what the pages of docs/paths need of a Snapshot: the node, these pods, and nothing that
// differs with every run and decides nothing.
func trimmed(s *inspect.Snapshot, pods []string) *inspect.Snapshot {
	own := *s
	own.Machine.Taken, own.Machine.BootID, own.Machine.Hostname = time.Time{}, "", ""
	own.Records = nil
	for _, record := range s.Records {
		if slices.Contains(pods, record.Pod) {
			record.Created = time.Time{}
			own.Records = append(own.Records, record)
		}
	}
	gone := map[uint64]bool{}
	own.Namespaces = nil
	for _, ns := range s.Namespaces {
		if !ns.Host && (ns.Sandbox == nil || !slices.Contains(pods, ns.Sandbox.Pod)) {
			gone[ns.Inode] = true
		}
	}
	for _, ns := range s.Namespaces {
		if !gone[ns.Inode] {
			own.Namespaces = append(own.Namespaces, trimNamespace(ns, gone))
		}
	}
	return &own
}

// trimNamespace leaves out the interfaces that lead to namespaces that are left out, with all of theirs.
func trimNamespace(ns inspect.Namespace, gone map[uint64]bool) inspect.Namespace {
	kept, names := map[int]bool{0: true}, map[string]bool{"all": true, "default": true}
	var links []inspect.Link
	for _, link := range ns.Links {
		if link.Link != nil && gone[link.Link.Namespace] {
			continue
		}
		link.Statistics, link.Ethernet, link.Qdiscs = nil, nil, nil
		links, kept[link.Index], names[link.Name] = append(links, link), true, true
	}
	ns.Links, ns.Counters = links, nil
	ns.Routes = without(ns.Routes, func(r inspect.Route) bool { return r.Table == localTable || !kept[r.Index] })
	ns.Neighbours = without(ns.Neighbours, func(n inspect.Neighbour) bool { return n.State == "noarp" || !kept[n.Index] })
	ns.FDB = without(ns.FDB, func(e inspect.FDBEntry) bool { return isMulticast(e.MAC) || !kept[e.Index] })
	sysctls := map[string]string{}
	for name, value := range ns.Sysctls {
		if isOf(name, names) {
			sysctls[name] = value
		}
	}
	ns.Sysctls = sysctls
	return ns
}

const localTable = 255

func without[T any](all []T, isLeftOut func(T) bool) []T {
	return slices.DeleteFunc(slices.Clone(all), isLeftOut)
}

func isMulticast(mac string) bool {
	return strings.HasPrefix(mac, "33:33:") || strings.HasPrefix(mac, "01:")
}

// isOf reports whether a setting is of one of the interfaces.
func isOf(setting string, names map[string]bool) bool {
	_, of, found := strings.Cut(setting, ".conf.")
	if !found {
		return true
	}
	name := of[:max(strings.LastIndex(of, "."), 0)]
	return name != "lo" && names[strings.ReplaceAll(name, "/", ".")]
}
