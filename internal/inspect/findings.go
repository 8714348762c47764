package inspect

import (
	"cmp"
	"fmt"
	"slices"
)

// Severity is how bad a finding is.
type Severity string

// Severities. A notice is no fault: it is something that has to be known.
const (
	Error   Severity = "error"
	Warning Severity = "warning"
	Notice  Severity = "notice"
)

var severities = []Severity{Error, Warning, Notice}

// Finding is something that is wrong with an interface, or with a namespace.
type Finding struct {
	ID       string     `json:"id"`
	Severity Severity   `json:"severity"`
	At       Ref        `json:"at"`   // index 0 is the whole namespace
	Text     string     `json:"text"` // what is wrong, with names
	Evidence []Evidence `json:"evidence"`
	Do       string     `json:"do"`
	Also     []Ref      `json:"also,omitempty"` // the interfaces of other pods that it is about
}

// Evidence is a field of the Snapshot that says so.
type Evidence struct {
	At    Ref    `json:"at"`
	Field string `json:"field"` // of the interface, or of the namespace
	Value string `json:"value"`
}

// Entry is a kind of finding, in the catalogue of them.
type Entry struct {
	ID       string
	Severity Severity
	Meaning  string // what it means, and what is seen of it from the pod
	Do       string
	check    func(*Graph) []Finding
}

// MeaningOf says what a kind of finding means, "" for one that is in no catalogue.
func MeaningOf(id string) string {
	for _, entry := range slices.Concat(Catalogue, NodeCatalogue) {
		if entry.ID == id {
			return entry.Meaning
		}
	}
	return ""
}

// Findings gives what is wrong in a Snapshot, the worst first.
func Findings(s *Snapshot) []Finding { return findings(NewGraph(s), Catalogue) }

// findings gives what the entries of a catalogue find, the worst first.
func findings(graph *Graph, catalogue []Entry) []Finding {
	all := []Finding{}
	for _, rule := range catalogue {
		for _, finding := range rule.check(graph) {
			finding.ID = rule.ID
			finding.Severity = cmp.Or(finding.Severity, rule.Severity)
			finding.Do = cmp.Or(finding.Do, rule.Do)
			all = append(all, finding)
		}
	}
	slices.SortStableFunc(all, func(a, b Finding) int {
		return cmp.Compare(slices.Index(severities, a.Severity), slices.Index(severities, b.Severity))
	})
	return all
}

// FindingsOf chooses those that concern a namespace: its own, and those of the node, through
// which its packets go.
func FindingsOf(findings []Finding, s *Snapshot, inode uint64) []Finding {
	chosen := []Finding{}
	host := NewGraph(s).Host()
	for _, finding := range findings {
		isIn := func(ref Ref) bool { return ref.Namespace == inode }
		if isIn(finding.At) || slices.ContainsFunc(finding.Also, isIn) || host != nil && finding.At.Namespace == host.Inode {
			chosen = append(chosen, finding)
		}
	}
	return chosen
}

// Wrong reports whether there is a fault among findings.
func Wrong(findings []Finding) bool {
	return slices.ContainsFunc(findings, func(f Finding) bool { return f.Severity != Notice })
}

// subject is an interface of a pod that carries packets, or should.
type subject struct {
	*Graph
	ns         *Namespace
	ref        Ref
	link       *Link
	attachment *Attachment // nil if no record has it
}

// subjects gives the interfaces that somebody attached: those of records, and those that are
// up or have an address. The kernel puts tunl0, gre0 and the like into every namespace.
func (g *Graph) subjects() []subject {
	var all []subject
	for i := range g.snapshot.Namespaces {
		ns := &g.snapshot.Namespaces[i]
		for j := range ns.Links {
			s := subject{Graph: g, ns: ns, link: &ns.Links[j], ref: Ref{ns.Inode, ns.Links[j].Index}}
			s.attachment = g.attachmentOf(ns, s.link.Name)
			isUsed := s.attachment != nil || s.link.Up || len(s.link.globals(0)) > 0
			if !ns.Host && isUsed && !slices.Contains(s.link.Flags, "LOOPBACK") {
				all = append(all, s)
			}
		}
	}
	return all
}

// attachmentOf gives the attachment that made an interface of a pod.
func (g *Graph) attachmentOf(ns *Namespace, name string) *Attachment {
	for _, attachment := range g.AttachmentsOf(ns) {
		if slices.ContainsFunc(attachment.inSandbox(), func(i RecordedInterface) bool { return i.Name == name }) {
			return attachment
		}
	}
	return nil
}

// inSandbox gives the interfaces that an attachment made in the pod. Results before version
// 0.3.0 of CNI name none.
func (a *Attachment) inSandbox() []RecordedInterface {
	inside := slices.DeleteFunc(slices.Clone(a.Interfaces), func(i RecordedInterface) bool { return !i.InSandbox })
	if len(inside) == 0 {
		return []RecordedInterface{{Name: a.Interface, InSandbox: true}}
	}
	return inside
}

// globals gives the addresses of an interface that others use; of one family, or 0 for both.
func (l *Link) globals(family int) []string {
	var all []string
	for _, a := range l.Addresses {
		if address := ParseIP(a.Address); a.Scope == "global" && (family == 0 || familyOf(address) == family) {
			all = append(all, address.String())
		}
	}
	return all
}

// gateways gives the addresses to which the pod sends what leaves by the interface.
func (s subject) gateways() []string {
	var all []string
	for _, route := range s.ns.Routes {
		for _, hop := range route.hops() {
			if hop.Index == s.ref.Index && hop.Via != "" {
				all = append(all, hop.Via)
			}
		}
	}
	if s.attachment != nil {
		for _, address := range s.attachment.Addresses {
			if address.Gateway != "" && cmp.Or(address.Interface, s.link.Name) == s.link.Name {
				all = append(all, ParseIP(address.Gateway).String())
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// hops gives the ways of a route.
func (r *Route) hops() []NextHop {
	if len(r.NextHops) > 0 {
		return r.NextHops
	}
	return []NextHop{{Via: r.Via, Index: r.Index}}
}

// at makes evidence of a field.
func at(ref Ref, field string, value any) Evidence {
	return Evidence{At: ref, Field: field, Value: fmt.Sprint(value)}
}

// finding makes a finding of the interface.
func (s subject) finding(text string, evidence ...Evidence) []Finding {
	return []Finding{{At: s.ref, Text: text, Evidence: evidence}}
}

// eachSubject makes a check of all interfaces out of one of one interface.
func eachSubject(check func(subject) []Finding) func(*Graph) []Finding {
	return func(g *Graph) (all []Finding) {
		for _, s := range g.subjects() {
			all = append(all, check(s)...)
		}
		return all
	}
}
