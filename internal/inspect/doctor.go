package inspect

import (
	"cmp"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
)

// DoctorKind is in every Doctor.
const DoctorKind = "Doctor"

// Doctor is what is wrong with a node, and how it is, on one page.
type Doctor struct {
	APIVersion string    `json:"apiVersion"`
	Kind       string    `json:"kind"`
	Node       string    `json:"node"`
	Taken      time.Time `json:"taken"`
	Findings   []Finding `json:"findings"` // the worst first
	Facts      []Fact    `json:"facts"`
	graph      *Graph
}

// Fact is how something of the node is.
type Fact struct {
	Name  string `json:"name"`
	Value string `json:"value"`
}

// Errors of a Snapshot by which the node itself cannot be judged.
var (
	ErrNoCNI    = errors.New("the snapshot has nothing of the node's files: save it with kubectl-plexus snapshot of this version")
	ErrRedacted = errors.New("the snapshot is redacted: the names of its files and plugins are made up, so that doctor cannot judge them; inspect and path can")
)

// Judges says why the node of a Snapshot cannot be judged; nil if it can.
func (s *Snapshot) Judges() error {
	switch {
	case s.CNI == nil:
		return ErrNoCNI
	case s.Redacted:
		return ErrRedacted
	}
	return nil
}

// NewDoctor gives the page of a Snapshot: what is wrong with the node, if it can be judged, and with its pods.
func NewDoctor(s *Snapshot) *Doctor {
	graph := NewGraph(s)
	d := &Doctor{APIVersion: APIVersion, Kind: DoctorKind, Node: s.Machine.Name(), Taken: s.Machine.Taken, graph: graph, Facts: []Fact{}}
	if s.Judges() != nil {
		d.Findings = findings(graph, Catalogue)
		return d
	}
	d.Findings = findings(graph, slices.Concat(NodeCatalogue, Catalogue))
	eachNode(func(v *nodeView) []Finding {
		d.Facts = v.facts()
		return nil
	})(graph)
	return d
}

// Wrong reports whether there is a fault.
func (d *Doctor) Wrong() bool { return Wrong(d.Findings) }

// Summary counts the findings by severity.
func (d *Doctor) Summary() string {
	var counts []string
	for _, severity := range severities {
		n := 0
		for _, finding := range d.Findings {
			if finding.Severity == severity {
				n++
			}
		}
		if n > 0 {
			counts = append(counts, plural(n, string(severity)))
		}
	}
	return cmp.Or(strings.Join(counts, ", "), "nothing is wrong")
}

// facts say how the node is, in the order of a pod's way through it.
func (v *nodeView) facts() []Fact {
	facts := slices.Concat(v.filesFacts(), v.serviceFacts(), v.stateFacts(), v.apiFacts())
	if len(v.cni.Unseen) > 0 {
		facts = append(facts, fact("not seen", "%s: a window pod does not see it; doctor on the node does", strings.Join(v.cni.Unseen, ", ")))
	}
	return facts
}

func fact(name, format string, args ...any) Fact { return Fact{name, fmt.Sprintf(format, args...)} }

func (v *nodeView) filesFacts() (facts []Fact) {
	winner, why := v.cni.Winner()
	if winner != nil {
		facts = append(facts, fact("runtime takes", "%s (%s): %s", winner.Name, cmp.Or(strings.Join(winner.Plugins, ", "), "no plugin"), why))
	} else {
		facts = append(facts, fact("runtime takes", "no file: %s", why))
	}
	if p := v.cni.Plexus; p != nil {
		facts = append(facts, fact("default network", "%s (%s)", cmp.Or(p.ClusterNetwork, "in "+p.File), cmp.Or(strings.Join(p.Default, ", "), "not read")))
	}
	return append(facts, fact("executables", "%s in %s%s", plural(len(v.cni.Executables), "file"), v.cni.folders(), v.plexusVersion()))
}

func (v *nodeView) serviceFacts() (facts []Fact) {
	if a := v.cni.Agent; a != nil && a.Error == "" {
		facts = append(facts, fact("agent", "answers on %s, version %s", a.Socket, a.Version))
	} else if a != nil {
		facts = append(facts, fact("agent", "does not answer on %s", a.Socket))
	}
	if c := v.cni.Credentials; c != nil {
		facts = append(facts, fact("credentials", "%s", c.describe(v.s.Machine.Taken)))
	}
	if r := v.cni.Runtime; r != nil && r.Error == "" {
		facts = append(facts, fact("runtime", "%s on %s, %s", r.Name, r.Endpoint, plural(len(r.Sandboxes), "sandbox")))
	} else if r == nil {
		facts = append(facts, fact("runtime", "not asked: its sandboxes are not compared with the journal"))
	}
	return facts
}

func (v *nodeView) stateFacts() (facts []Fact) {
	live := 0
	for i := range v.s.Records {
		if v.s.Records[i].Live {
			live++
		}
	}
	facts = append(facts, fact("journal", "%s, %d of sandboxes that may be there", plural(len(v.s.Records), "record"), live))
	for i := range v.cni.Stores {
		facts = append(facts, fact("addresses", "%s", v.cni.Stores[i].describe()))
	}
	if len(v.cni.VFs) > 0 {
		facts = append(facts, fact("VFs", "%s", v.describeVFs()))
	}
	if uplink := v.uplink(); uplink != nil {
		facts = append(facts, fact("default route", "by %s, MTU %d", uplink.Name, uplink.MTU))
	} else {
		facts = append(facts, fact("default route", "none: a network without master takes its interface"))
	}
	return facts
}

func (v *nodeView) apiFacts() (facts []Fact) {
	api := v.s.API
	if api == nil || api.Error != "" {
		return nil
	}
	facts = append(facts, fact("API server", "version %s, NetworkAttachmentDefinitions %s", api.Version, api.CRD))
	if api.Agent != nil {
		facts = append(facts, fact("agent's pod", "%s of %s", api.Agent.Name, api.Agent.Image))
	}
	return facts
}

func (v *nodeView) plexusVersion() string {
	for _, executable := range v.cni.Executables {
		if executable.Name == "plexus" {
			return ", plexus " + cmp.Or(executable.Version, "of an unknown version")
		}
	}
	return ""
}

func (c *Credentials) describe(now time.Time) string {
	text := cmp.Or(c.Kind, "none") + " of " + c.File
	if !c.Modified.IsZero() {
		text += ", written " + age(now.Sub(c.Modified)) + " ago"
	}
	if left := c.Expires.Sub(now); !c.Expires.IsZero() && left > 0 {
		text += ", expires in " + age(left)
	}
	return text
}

// age gives a span in its largest unit that is whole.
func age(span time.Duration) string {
	switch {
	case span >= 48*time.Hour:
		return fmt.Sprintf("%d days", int(span.Hours())/24)
	case span >= 2*time.Hour:
		return fmt.Sprintf("%d hours", int(span.Hours()))
	}
	return fmt.Sprintf("%d minutes", int(span.Minutes()))
}

func (s *Store) describe() string {
	var ranges []string
	for _, r := range s.Ranges {
		if r.Size > 0 {
			ranges = append(ranges, fmt.Sprintf("%d of %d from %s to %s", r.Taken, r.Size, r.Start, r.End))
		}
	}
	if len(ranges) == 0 {
		return fmt.Sprintf("%s: %d taken", s.Network, len(s.Reservations))
	}
	return s.Network + ": " + strings.Join(ranges, "; ")
}

func (v *nodeView) describeVFs() string {
	held := 0
	for i := range v.cni.VFs {
		if v.holderOf(&v.cni.VFs[i]) != "" {
			held++
		}
	}
	return fmt.Sprintf("%d, of which sandboxes have %d", len(v.cni.VFs), held)
}

// WriteText writes the page.
func (d *Doctor) WriteText(w io.Writer) error {
	var text strings.Builder
	fmt.Fprintf(&text, "%s: %s\n\n", d.Node, d.Summary())
	for i := range d.Findings {
		d.write(&text, &d.Findings[i])
	}
	table := tabwriter.NewWriter(&text, 0, 0, 2, ' ', 0)
	for _, fact := range d.Facts {
		fmt.Fprintf(table, "%s\t%s\n", fact.Name, fact.Value)
	}
	if err := table.Flush(); err != nil {
		return err
	}
	_, err := io.WriteString(w, text.String())
	return err
}

// Where names whose network a finding is of, "" for the node's own.
func (d *Doctor) Where(finding *Finding) string {
	if ns := d.graph.Namespace(finding.At.Namespace); ns != nil && !ns.Host {
		return ns.Title()
	}
	return ""
}

func (d *Doctor) write(text *strings.Builder, finding *Finding) {
	where := d.Where(finding)
	if where != "" {
		where = " (" + where + ")"
	}
	fmt.Fprintf(text, "%s %s%s\n  %s\n", strings.ToUpper(string(finding.Severity)), finding.ID, where, finding.Text)
	for _, evidence := range finding.Evidence {
		fmt.Fprintf(text, "  seen  %s = %s\n", evidence.Field, evidence.Value)
	}
	fmt.Fprintf(text, "  do    %s\n\n", finding.Do)
}

// DoctorListKind is in every DoctorList.
const DoctorListKind = "DoctorList"

// DoctorList is several nodes.
type DoctorList struct {
	APIVersion string     `json:"apiVersion"`
	Kind       string     `json:"kind"`
	Items      []NodePage `json:"items"`
}

// NodePage is one node: its page, or why it could not be read.
type NodePage struct {
	Node   string  `json:"node"`
	Error  string  `json:"error,omitempty"`
	Doctor *Doctor `json:"doctor,omitempty"`
}

// NewDoctorList gives a list of pages, by the nodes' names.
func NewDoctorList(pages []NodePage) *DoctorList {
	slices.SortFunc(pages, func(a, b NodePage) int { return cmp.Compare(a.Node, b.Node) })
	return &DoctorList{APIVersion: APIVersion, Kind: DoctorListKind, Items: pages}
}

// Wrong reports whether there is a fault on a node, and whether one could not be read.
func (l *DoctorList) Wrong() (wrong, unread bool) {
	for _, page := range l.Items {
		unread = unread || page.Doctor == nil
		wrong = wrong || page.Doctor != nil && page.Doctor.Wrong()
	}
	return wrong, unread
}

// WriteText writes a row for each node, with its worst finding.
func (l *DoctorList) WriteText(w io.Writer) error {
	table := tabwriter.NewWriter(w, 0, 0, 2, ' ', 0)
	_, _ = fmt.Fprintln(table, "NODE\tSTATE\tWORST")
	for _, page := range l.Items {
		state, worst := "could not look", page.Error
		if page.Doctor != nil {
			state, worst = page.Doctor.Summary(), "-"
			if len(page.Doctor.Findings) > 0 {
				worst = page.Doctor.Findings[0].ID + ": " + page.Doctor.Findings[0].Text
			}
		}
		_, _ = fmt.Fprintf(table, "%s\t%s\t%s\n", page.Node, state, strings.ReplaceAll(worst, "\n", "; "))
	}
	return table.Flush()
}
