package ui

import (
	"errors"
	"html/template"
	"net/http"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
)

// every is after how many seconds a page asks again.
const every = 5

// frame is what each page has.
type frame struct {
	Title    string
	Page     string // its name in the navigation
	Live     bool
	Every    int
	At       time.Time // when what is shown was read: of several nodes, the first
	Troubles []Known   // nodes whose last reading failed
	Notes    []note
}

// note is something that could not be read or asked.
type note struct {
	Node string
	inspect.Note
}

// newFrame says of nodes when they were read.
func (s *Server) newFrame(title, page string, nodes ...Known) frame {
	f := frame{Title: title, Page: page, Live: s.source.Live(), Every: every}
	for _, known := range nodes {
		if known.Err != nil {
			f.Troubles = append(f.Troubles, known)
		}
		if known.Reading == nil {
			continue
		}
		if f.At.IsZero() || known.At.Before(f.At) {
			f.At = known.At
		}
		for _, one := range slices.Concat(known.Snapshot.Notes, known.Attached.Notes) {
			f.Notes = append(f.Notes, note{known.Name, one})
		}
	}
	return f
}

// row is an attachment in the table of the overview.
type row struct {
	inspect.Attached
	Node, Link string
}

// Who names whose it is.
func (r *row) Who() string {
	if r.Pod != "" {
		return r.Pod
	}
	return "container " + r.ContainerID
}

// has reports whether a word is in the row.
func (r *row) has(word string) bool {
	cells := append([]string{r.Node, r.Who(), r.Interface, r.Network, r.HostSide, string(r.State), r.MAC, r.Device}, r.Addresses...)
	return strings.Contains(strings.ToLower(strings.Join(cells, "\n")), strings.ToLower(word))
}

// judged is a node with what doctor says of it.
type judged struct {
	Known
	Doctor *inspect.Doctor
	Why    string // it is not judged itself
	Link   string
}

// Attachments counts them.
func (j *judged) Attachments() int { return len(j.Attached.Items) }

func judge(known *Known) judged {
	j := judged{Known: *known, Link: "/node?" + url.Values{"name": {known.Name}}.Encode()}
	if known.Reading == nil {
		return j
	}
	j.Doctor = inspect.NewDoctor(known.Snapshot)
	if err := known.Snapshot.Judges(); err != nil {
		j.Why = err.Error()
	}
	return j
}

// overviewPage is all nodes, with what is attached to their pods.
type overviewPage struct {
	frame
	Filter   string
	Several  bool
	Nodes    []judged
	Rows     []row
	Findings []finding
}

func (s *Server) overview(w http.ResponseWriter, r *http.Request) {
	nodes := s.look(r.Context())
	page := overviewPage{frame: s.newFrame("Overview", "overview", nodes...), Filter: strings.TrimSpace(r.URL.Query().Get("q")), Several: len(nodes) > 1}
	for i := range nodes {
		known := judge(&nodes[i])
		page.Nodes = append(page.Nodes, known)
		if known.Doctor == nil {
			continue
		}
		for _, one := range findingsOf(&known) {
			one.OfSeveral = page.Several
			page.Findings = append(page.Findings, one)
		}
		for _, item := range known.Attached.Items {
			one := row{item, known.Name, linkOf(known.Name, &inspect.Sandbox{Pod: item.Pod, ContainerID: item.ContainerID})}
			if page.Filter == "" || one.has(page.Filter) {
				page.Rows = append(page.Rows, one)
			}
		}
	}
	slices.SortStableFunc(page.Findings, func(a, b finding) int { return a.rank() - b.rank() })
	render(w, http.StatusOK, "overview", page)
}

// nodePage is one node.
type nodePage struct {
	frame
	judged
	Findings []finding
}

func (s *Server) nodePage(w http.ResponseWriter, r *http.Request) {
	known, found := s.named(r, "name")
	switch {
	case !found:
		s.problem(w, http.StatusNotFound, "There is no such node here.")
		return
	case known.Reading == nil:
		s.unread(w, known)
		return
	}
	page := nodePage{frame: s.newFrame("Node "+known.Name, "", known), judged: judge(&known)}
	page.Findings = findingsOf(&page.judged)
	render(w, http.StatusOK, "node", page)
}

// podPage is one pod.
type podPage struct {
	frame
	Node, NodeLink string
	Heading        inspect.Section
	Findings       []finding
	inspect.Details
	Commands bool
	Switch   string // leads to the same page with commands, or without
	Path     string // leads to the form, with this pod as the near end
}

func (s *Server) pod(w http.ResponseWriter, r *http.Request) {
	known, found := s.named(r, "node")
	if found && known.Reading == nil {
		s.unread(w, known)
		return
	}
	query := r.URL.Query()
	inode, err := uint64(0), errors.New("There is no such node here.") //nolint:staticcheck // it is a sentence of a page
	if found && query.Get("pod") != "" {
		inode, err = known.Snapshot.FindPod(query.Get("pod"))
	} else if found {
		inode, err = known.Snapshot.FindContainer(query.Get("container"))
	}
	if err != nil {
		s.problem(w, http.StatusNotFound, err.Error())
		return
	}
	render(w, http.StatusOK, "pod", s.newPodPage(&known, inspect.NewReport(known.Snapshot, inode), query))
}

func (s *Server) newPodPage(known *Known, report *inspect.Report, query url.Values) podPage {
	details := report.Details()
	page := podPage{
		frame: s.newFrame(report.Subject, "", *known), Node: known.Name, NodeLink: judge(known).Link, Heading: details.Heading, Details: details,
		Findings: findingsOfReport(report), Commands: query.Get("commands") != "",
	}
	page.Notes = nil // the heading has them
	if pod := query.Get("pod"); pod != "" {
		page.Path = "/path?" + url.Values{"from": {pod}}.Encode()
	}
	if query.Del("commands"); !page.Commands {
		query.Set("commands", "1")
	}
	page.Switch = "/pod?" + query.Encode()
	return page
}

// pathPage is the form for a path, and the path.
type pathPage struct {
	frame
	Query
	Ends       []string // that can be chosen
	Interfaces []string // of the near end
	Problem    string
	Choices    []choice
	Document   *path.Document
	Text       string
	Wide       template.HTML
	Narrow     template.HTML
}

// choice leads to the same path by one of several interfaces.
type choice struct {
	path.Choice
	Link string
}

// narrow is the width of a picture in a window of 360 pixels.
const narrow = 336

func (s *Server) path(w http.ResponseWriter, r *http.Request) {
	nodes, values := s.look(r.Context()), r.URL.Query()
	word := func(key string) string { return strings.TrimSpace(values.Get(key)) }
	page := pathPage{frame: s.newFrame("Path", "path", nodes...), Query: Query{From: word("from"), To: word("to"), Interface: word("interface")}}
	page.Notes = nil
	page.addEnds(nodes)
	if page.From == "" || page.To == "" {
		render(w, http.StatusOK, "path", page)
		return
	}
	readings := make([]*Reading, len(nodes))
	for i := range nodes {
		readings[i] = nodes[i].Reading
	}
	document, err := s.source.Trace(r.Context(), page.Query, readings)
	if err != nil {
		page.refuse(err)
	} else {
		page.show(document)
	}
	render(w, http.StatusOK, "path", page)
}

// addEnds offers the pods, and other namespaces by their paths.
func (p *pathPage) addEnds(nodes []Known) {
	for _, known := range nodes {
		if known.Reading == nil {
			continue
		}
		for i := range known.Snapshot.Namespaces {
			ns := &known.Snapshot.Namespaces[i]
			end := ""
			switch {
			case ns.Host:
			case ns.Sandbox != nil && ns.Sandbox.Pod != "":
				end = ns.Sandbox.Pod
			case len(ns.Paths) > 0:
				end = ns.Paths[0]
			}
			if end == "" {
				continue
			}
			p.Ends = append(p.Ends, end)
			for j := range ns.Links {
				if end == p.From && ns.Links[j].Name != "lo" {
					p.Interfaces = append(p.Interfaces, ns.Links[j].Name)
				}
			}
		}
	}
	slices.Sort(p.Ends)
	p.Ends = slices.Compact(p.Ends)
}

// refuse says why there is no path, and what can be chosen.
func (p *pathPage) refuse(err error) {
	p.Problem = err.Error()
	var several *path.SeveralError
	if !errors.As(err, &several) {
		return
	}
	p.Problem = several.From + " and " + several.To + " are on " + strconv.Itoa(len(several.Choices)) + " networks together."
	for _, one := range several.Choices {
		link := url.Values{"from": {p.From}, "to": {p.To}, "interface": {one.Interface}}
		p.Choices = append(p.Choices, choice{one, "/path?" + link.Encode()})
	}
}

func (p *pathPage) show(document *path.Document) {
	p.Document, p.Title = document, document.Title()
	var text strings.Builder
	_ = document.WriteText(&text) // a Builder takes everything
	p.Text = text.String()
	wide, small := document.Pictures(narrow)
	p.Wide, p.Narrow = template.HTML(wide), template.HTML(small) // it escapes its texts itself, which a test holds
}

// named gives the node that a page is of.
func (s *Server) named(r *http.Request, key string) (Known, bool) {
	name := r.URL.Query().Get(key)
	i := slices.IndexFunc(s.nodes, func(n *node) bool { return n.name == name })
	if i < 0 {
		return Known{}, false
	}
	return s.nodes[i].look(r.Context()), true
}

// problemPage says what is wrong with a request.
type problemPage struct {
	frame
	Problem string
}

func (s *Server) problem(w http.ResponseWriter, status int, text string) {
	render(w, status, "problem", problemPage{s.newFrame("Not here", ""), text})
}

// unread is the page of a node that was never read.
func (s *Server) unread(w http.ResponseWriter, known Known) {
	text := "Node " + known.Name + " is being read for the first time."
	if known.Err != nil {
		text = "Node " + known.Name + " could not be read yet."
	}
	render(w, http.StatusServiceUnavailable, "problem", problemPage{s.newFrame("Not read", "", known), text})
}
