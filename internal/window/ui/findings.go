package ui

import (
	"net/url"
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// finding is a finding with what a reader wants beside it.
type finding struct {
	inspect.Finding
	Node      string
	OfSeveral bool   // the page is of several nodes
	Where     string // the pod that it is of
	Link      string // to the pod
	Seen      []string
	Meaning   string
}

// Key names a finding, so that a page that is read again leaves open what somebody opened.
func (f *finding) Key() string { return f.Node + " " + f.ID + " " + f.Text }

var ranks = []inspect.Severity{inspect.Error, inspect.Warning, inspect.Notice}

func (f *finding) rank() int { return slices.Index(ranks, f.Severity) }

// findingsOf gives those of a node, as doctor has them.
func findingsOf(j *judged) (all []finding) {
	graph := inspect.NewGraph(j.Snapshot)
	for _, one := range j.Doctor.Findings {
		f := finding{Finding: one, Node: j.Name, Where: j.Doctor.Where(&one), Meaning: inspect.MeaningOf(one.ID)}
		if ns := graph.Namespace(one.At.Namespace); ns != nil && ns.Sandbox != nil {
			f.Link = linkOf(j.Name, ns.Sandbox)
		}
		for _, evidence := range one.Evidence {
			f.Seen = append(f.Seen, evidence.Field+" = "+evidence.Value)
		}
		all = append(all, f)
	}
	return all
}

// findingsOfReport gives those of a pod, as inspect has them.
func findingsOfReport(report *inspect.Report) (all []finding) {
	for _, one := range report.Findings {
		all = append(all, finding{Finding: one, Seen: report.Seen(&one), Meaning: inspect.MeaningOf(one.ID)})
	}
	return all
}

// linkOf leads to the page of a pod, or of a container without one.
func linkOf(node string, sandbox *inspect.Sandbox) string {
	query := url.Values{"node": {node}}
	if sandbox.Pod != "" {
		query.Set("pod", sandbox.Pod)
	} else {
		query.Set("container", sandbox.ContainerID)
	}
	return "/pod?" + query.Encode()
}
