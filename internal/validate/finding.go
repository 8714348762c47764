// Package validate finds what is wrong with networks and pods in files, before a cluster sees
// them. It is pure: it reads what it is given, and changes nothing. The parsers of types and the
// planner judge what an ADD would; the rules of this package are about what only several objects,
// or a plugin's own keys, show.
package validate

import (
	"cmp"
	"context"
	"slices"

	"github.com/plexus-cni/plexus/types"
)

// File is a file, or the standard input, under the name that findings give it.
type File struct {
	Name string
	Data []byte
	// Object says that it is one object of a cluster, as JSON. Findings have the object and the field in
	// place of the file, and the line and column in the text of the field.
	Object bool
}

// Options are what the files do not say.
type Options struct {
	// Config is the configuration of Plexus on the node that the pods are for: its isolation,
	// allow-list and default networks. If it is nil, nothing is forbidden.
	Config *types.Config
	// ConfigFile is where Config comes from, for findings about it.
	ConfigFile string
	// Namespace is that of objects which name none; "" is "default".
	Namespace string
	// Node is the node that the networks are for; nil if none is known.
	Node *Node
	// Complete says that every network of a cluster is given: one that is not there is an error.
	Complete bool
}

// Severity says how sure it is that something fails.
type Severity string

// The severities, the worst one first.
const (
	Error   Severity = "error"   // an ADD fails, or a plugin refuses it
	Warning Severity = "warning" // it may work, and then not as it was meant
	Note    Severity = "note"    // it is not known here
)

// Finding is one thing that is wrong, and where.
type Finding struct {
	Rule     string   `json:"rule"`
	Severity Severity `json:"severity"`
	File     string   `json:"file"`
	Line     int      `json:"line"`   // from 1
	Column   int      `json:"column"` // from 1, in characters
	// Object is the kind, namespace and name, as "Pod default/web".
	Object string `json:"object,omitempty"`
	// Field is the path of the field in the object, as `spec.config: plugins[0].type`.
	Field   string `json:"field,omitempty"`
	Message string `json:"message"`
	// Do says what mends it.
	Do string `json:"do"`
	// Template is the file of the chart that Helm made the document from.
	Template string `json:"template,omitempty"`
}

// Report is what a run found, and in how much.
type Report struct {
	Files    int       `json:"files"`
	Networks int       `json:"networks"`
	Pods     int       `json:"pods"`
	Findings []Finding `json:"findings"`
}

// Count gives the number of findings of a severity.
func (r *Report) Count(s Severity) int {
	n := 0
	for i := range r.Findings {
		if r.Findings[i].Severity == s {
			n++
		}
	}
	return n
}

// Wrong reports whether there is more than notes.
func (r *Report) Wrong() bool { return r.Count(Error)+r.Count(Warning) > 0 }

// Run examines the files together: a pod of one may select a network of another.
func Run(ctx context.Context, files []File, o Options) (*Report, error) {
	r := newRun(files, o)
	for _, f := range files {
		r.read(f)
	}
	r.checkConfig(ctx)
	for _, n := range r.networks {
		r.checkNetwork(ctx, n)
	}
	r.checkTogether()
	for _, p := range r.pods {
		r.checkPod(ctx, p)
	}
	r.sort()
	return &Report{Files: len(files) - r.objects, Networks: len(r.networks), Pods: len(r.pods), Findings: r.findings}, ctx.Err()
}

// sort puts the findings into the order of the files, and drops repetitions.
func (r *run) sort() {
	slices.SortStableFunc(r.findings, func(a, b Finding) int {
		return cmp.Or(
			cmp.Compare(r.order[a.File], r.order[b.File]), cmp.Compare(a.Line, b.Line), cmp.Compare(a.Column, b.Column),
			cmp.Compare(a.Rule, b.Rule), cmp.Compare(a.Message, b.Message),
		)
	})
	r.findings = slices.Compact(r.findings)
}
