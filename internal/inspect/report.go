package inspect

import (
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
)

// ReportKind is in every Report.
const ReportKind = "Inspection"

// ErrNotFound is the error for a pod, container or path that is not in a Snapshot.
var ErrNotFound = errors.New("not found on this node")

// Report is what inspect says of one namespace.
type Report struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Subject    string     `json:"subject"`
	Findings   []Finding  `json:"findings"`
	Namespace  *Namespace `json:"namespace"`
	Related    []Related  `json:"related"` // interfaces of other namespaces that its own lead to
	Records    []*Record  `json:"records,omitempty"`
	Notes      []Note     `json:"notes,omitempty"`
	graph      *Graph
}

// Related is an interface of another namespace.
type Related struct {
	Ref
	In   string `json:"in"`
	Link *Link  `json:"link"`
}

// NewReport gives the report of a namespace of a Snapshot.
func NewReport(s *Snapshot, inode uint64) *Report {
	graph := NewGraph(s)
	ns := graph.Namespace(inode)
	report := &Report{
		APIVersion: APIVersion, Kind: ReportKind, Subject: ns.Title(), Namespace: ns, Findings: FindingsOf(Findings(s), s, inode),
		Related: []Related{}, Records: graph.RecordsOf(ns), graph: graph,
	}
	for _, note := range s.Notes {
		if !graph.isOfAnother(note, ns) {
			report.Notes = append(report.Notes, note)
		}
	}
	for i := range ns.Links {
		report.relate(Ref{inode, ns.Links[i].Index})
	}
	return report
}

// isOfAnother reports whether a note is about another namespace than one.
func (g *Graph) isOfAnother(note Note, ns *Namespace) bool {
	return slices.ContainsFunc(g.snapshot.Namespaces, func(other Namespace) bool { return other.Inode != ns.Inode && slices.Contains(other.Paths, note.About) })
}

// relate adds the interfaces that one leads to.
func (r *Report) relate(ref Ref) {
	for _, of := range []func(Ref) (Ref, *Link){r.graph.PeerOf, r.graph.ParentOf, r.graph.BridgeOf} {
		other, link := of(ref)
		known := slices.ContainsFunc(r.Related, func(known Related) bool { return known.Ref == other })
		if link != nil && other.Namespace != ref.Namespace && !known {
			r.Related = append(r.Related, Related{other, r.graph.Namespace(other.Namespace).Title(), link})
		}
	}
}

// FindPod gives the namespace of a pod. Of several sandboxes it is the newest.
func (s *Snapshot) FindPod(name string) (uint64, error) {
	return s.findSandbox("pod "+name, func(sandbox *Sandbox) bool { return sandbox.Pod == name })
}

// FindContainer gives the namespace of a container, by its ID or the beginning of it.
func (s *Snapshot) FindContainer(id string) (uint64, error) {
	return s.findSandbox("container "+id, func(sandbox *Sandbox) bool { return id != "" && strings.HasPrefix(sandbox.ContainerID, id) })
}

// findSandbox looks in the journal, then for what the runtime said of a namespace.
func (s *Snapshot) findSandbox(what string, is func(*Sandbox) bool) (uint64, error) {
	var newest *Record
	for i := range s.Records {
		r := &s.Records[i]
		if !is(&r.Sandbox) {
			continue
		}
		if newest != nil && newest.Pod != r.Pod {
			return 0, fmt.Errorf("%s: it may be %s or %s: give more of its ID", what, newest.ContainerID, r.ContainerID)
		}
		if newest == nil || r.Live && !newest.Live || r.Live == newest.Live && r.Created.After(newest.Created) {
			newest = r
		}
	}
	switch {
	case newest == nil:
		return s.findUnrecorded(what, is)
	case NewGraph(s).Namespace(newest.Inode) == nil:
		return 0, fmt.Errorf("%s: %w: the journal has a record of it, and its network namespace %s is gone", what, ErrNotFound, newest.Path)
	}
	return newest.Inode, nil
}

func (s *Snapshot) findUnrecorded(what string, is func(*Sandbox) bool) (uint64, error) {
	var found *Namespace
	for i := range s.Namespaces {
		ns := &s.Namespaces[i]
		if ns.Sandbox == nil || !is(ns.Sandbox) {
			continue
		}
		if found != nil {
			return 0, fmt.Errorf("%s: it may be %s or %s: give more of its ID", what, found.Sandbox.ContainerID, ns.Sandbox.ContainerID)
		}
		found = ns
	}
	if found == nil {
		return 0, fmt.Errorf("%s: %w: the journal has no record of it, nor has a runtime's folder; the path of a network namespace, as /run/netns/NAME, can stand for a pod that Plexus has not attached", what, ErrNotFound)
	}
	return found.Inode, nil
}

// FindPath gives the namespace that is mounted at a path.
func (s *Snapshot) FindPath(where string) (uint64, error) {
	wanted := CleanPath(where)
	for _, ns := range s.Namespaces {
		if slices.Contains(ns.Paths, wanted) {
			return ns.Inode, nil
		}
	}
	for _, note := range s.Notes {
		if note.About == wanted {
			return 0, fmt.Errorf("network namespace %s: %w: %s", where, ErrNotFound, note.Text)
		}
	}
	return 0, fmt.Errorf("network namespace %s: %w", where, ErrNotFound)
}

// CleanPath gives the path of a namespace as a Snapshot has it. /var/run is another name of /run.
func CleanPath(where string) string {
	where = path.Clean(where)
	if below, found := strings.CutPrefix(where, "/var/run/"); found {
		return "/run/" + below
	}
	return where
}
