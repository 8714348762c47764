package ui

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/cookiejar"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// nodes is a Source of snapshots; nil is for a node that cannot be read.
type nodes struct {
	names     []string
	isSaved   bool
	mu        sync.Mutex
	snapshots map[string]*inspect.Snapshot
	reads     int
	traced    Query
}

var errRead = errors.New("the window pod <b>ended</b>")

func (n *nodes) Nodes() []string { return n.names }
func (n *nodes) Live() bool      { return !n.isSaved }

func (n *nodes) Read(_ context.Context, i int) (*Reading, error) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.reads++
	snapshot := n.snapshots[n.names[i]]
	if snapshot == nil {
		return nil, errRead
	}
	return &Reading{snapshot, inspect.NewAttachedList(snapshot, func(*inspect.Attached) bool { return true }), "node " + n.names[i] + ", by a test"}, nil
}

func (n *nodes) Trace(_ context.Context, query Query, readings []*Reading) (*path.Document, error) {
	n.traced = query
	var snapshots []*inspect.Snapshot
	for _, reading := range readings {
		if reading != nil {
			snapshots = append(snapshots, reading.Snapshot)
		}
	}
	document, _, err := path.NewWorld(snapshots...).Trace(path.Query{From: query.From, To: query.To, Interface: query.Interface})
	return document, err
}

// set changes what is read of a node.
func (n *nodes) set(name string, snapshot *inspect.Snapshot) {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.snapshots[name] = snapshot
}

// saved gives the snapshots of a folder of docs/paths.
func saved(t *testing.T, folder string) *nodes {
	t.Helper()
	files, err := filepath.Glob("../../../docs/paths/" + folder + "/node*.json")
	check.Must(t, err)
	n := &nodes{snapshots: map[string]*inspect.Snapshot{}}
	for _, file := range files {
		data, err := os.ReadFile(file)
		check.Must(t, err)
		snapshot, err := inspect.Parse(data)
		check.Must(t, err)
		n.names = append(n.names, snapshot.Machine.Name())
		n.snapshots[snapshot.Machine.Name()] = snapshot
	}
	return n
}

// page is a server of a test, and a browser that came in by the token.
type page struct {
	*Server
	url    string
	client *http.Client
}

func open(t *testing.T, source Source) *page {
	t.Helper()
	server, err := New(t.Context(), source)
	check.Must(t, err)
	for _, node := range server.nodes {
		node.fresh = 0
	}
	listener, err := new(net.ListenConfig).Listen(t.Context(), "tcp", "127.0.0.1:0")
	check.Must(t, err)
	http := &httptest.Server{Listener: listener, Config: &http.Server{Handler: server.Handler(listener.Addr())}}
	http.Start()
	t.Cleanup(http.Close)
	jar, err := cookiejar.New(nil)
	check.Must(t, err)
	client := http.Client()
	client.Jar = jar
	p := &page{server, http.URL, client}
	status, _ := p.get(t, strings.TrimPrefix(server.URL(listener.Addr()), http.URL))
	check.Equal(t, "status with the token", status, 200)
	return p
}

func (p *page) get(t *testing.T, what string) (status int, text string) {
	t.Helper()
	request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+what, nil)
	check.Must(t, err)
	answer, err := p.client.Do(request)
	check.Must(t, err)
	defer answer.Body.Close()
	var out strings.Builder
	check.Must(t, answer.Write(&out))
	_, body, _ := strings.Cut(out.String(), "\r\n\r\n")
	return answer.StatusCode, body
}

// Each page shows what the command of its kind prints.
func TestPages(t *testing.T) {
	p := open(t, saved(t, "three-networks"))
	for what, want := range map[string]struct {
		status int
		parts  []string
	}{
		"/":                {200, []string{`<a href="/node?name=node1">node1</a>`, `/pod?node=node2&amp;pod=default%2Fdb`, "10.20.9.20/24", "Nothing is wrong.", `data-every="5"`}},
		"/?q=LAN1":         {200, []string{"default/lan1", "10.20.9.10/24"}},
		"/?q=none":         {200, []string{"No attachment has “none”."}},
		"/node?name=x":     {404, []string{"There is no such node here."}},
		"/node?name=node1": {200, []string{"<h1>Node node1</h1>", "The node itself is not judged: the snapshot has nothing of the node"}},
		"/pod?node=node1&pod=default/web": {200, []string{
			"<h1>pod default/web</h1>", "veth7943c6a0 forwarding", "table main: default via 10.1.1.1 dev eth0",
			`/path?from=default%2Fweb`, `section id="details" class="plain"`,
		}},
		"/pod?node=node1&pod=default/web&commands=1": {200, []string{"$ nsenter --net=/run/netns/web ip -d link show dev eth0", `section id="details">`}},
		"/pod?node=node1&pod=default/none":           {404, []string{"pod default/none: not found on this node"}},
		"/pod?node=node1&container=web":              {200, []string{"<h1>pod default/web</h1>"}},
		"/pod?node=node3":                            {404, []string{"There is no such node here."}},
		"/path":                                      {200, []string{"Choose two ends.", `<option value="default/db">`}},
		"/path?from=default/web&to=default/db":       {200, []string{"are on 3 networks together", `/path?from=default%2Fweb&amp;interface=net1&amp;to=default%2Fdb`}},
		"/path?from=default/web&to=x/y":              {200, []string{"pod x/y: not found"}},
		"/path?from=default/web&to=default/db&interface=net1": {200, []string{
			`<option value="net1">`, `<svg xmlns="http://www.w3.org/2000/svg" width="888"`, `width="336"`,
			"tagged with VLAN 200", "packets of up to 1500 bytes pass whole",
		}},
		"/nothing":           {404, []string{"There is no such page."}},
		"/assets/style.css":  {200, []string{"prefers-color-scheme:dark"}},
		"/assets/page.js":    {200, []string{"visibilitychange"}},
		"/assets/frame.html": {404, []string{"not found"}},
		"/assets/":           {404, []string{"not found"}},
	} {
		t.Run(what, func(t *testing.T) {
			status, text := p.get(t, what)
			check.Equal(t, "status", status, want.status)
			check.Contains(t, "page", text, want.parts...)
		})
	}
	_, text := p.get(t, "/?q=LAN1")
	check.Equal(t, "the others are left out", strings.Contains(text, "10.20.8.10/24"), false)
	for pods, file := range map[string]string{"text/css; charset=utf-8": "style.css", "text/javascript; charset=utf-8": "page.js"} {
		request, err := http.NewRequestWithContext(t.Context(), http.MethodGet, p.url+"/assets/"+file, nil)
		check.Must(t, err)
		answer, err := p.client.Do(request)
		check.Must(t, err)
		check.Must(t, answer.Body.Close())
		check.Equal(t, file, answer.Header.Get("Content-Type"), pods)
	}
}

// hostile is what a pod may call itself or its interface.
const hostile = `<script>alert(1)</script><img src=x onerror=alert(2)>"'` + "\x1b[2J"

// What strangers named is shown, and obeyed by nobody.
func TestHostileNames(t *testing.T) {
	n := saved(t, "three-networks")
	for _, snapshot := range n.snapshots {
		for i := range snapshot.Namespaces {
			ns := &snapshot.Namespaces[i]
			if ns.Sandbox != nil {
				ns.Sandbox.Pod += hostile
			}
			for j := range ns.Links {
				ns.Links[j].Name += hostile
			}
		}
		for i := range snapshot.Records {
			snapshot.Records[i].Pod += hostile
			for j := range snapshot.Records[i].Attachments {
				attachment := &snapshot.Records[i].Attachments[j]
				attachment.Interface, attachment.Network = attachment.Interface+hostile, attachment.Network+hostile
			}
		}
		snapshot.Notes = append(snapshot.Notes, inspect.Note{About: hostile, Text: hostile})
	}
	p := open(t, n)
	web, db, net1 := "default/web"+hostile, "default/db"+hostile, "net1"+hostile
	for _, what := range []string{
		"/", "/?q=" + escaped(hostile), "/node?name=node1", "/node?name=" + escaped(hostile), "/pod?node=node1&pod=" + escaped(web), "/pod?node=node1&commands=1&pod=" + escaped(web),
		"/pod?node=node1&pod=" + escaped(hostile), "/path?from=" + escaped(hostile), "/path?from=" + escaped(web) + "&to=" + escaped(db),
		"/path?from=" + escaped(web) + "&to=" + escaped(db) + "&interface=" + escaped(net1), "/path?from=" + escaped(web) + "&to=" + escaped(hostile),
	} {
		_, text := p.get(t, what)
		for _, bad := range []string{"<script>alert", "<img", "\x1b"} {
			check.Equal(t, what+" has "+bad, strings.Contains(text, bad), false)
		}
		if !strings.Contains(what, "name=node1") && !strings.HasPrefix(what, "/node?name=%3C") {
			check.Contains(t, what, text, "alert(1)")
		}
	}
	_, drawn := p.get(t, "/path?from="+escaped(web)+"&to="+escaped(db)+"&interface="+escaped(net1))
	check.Contains(t, "the picture", drawn, "<svg", "&lt;script&gt;")
}
