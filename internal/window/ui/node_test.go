package ui

import (
	"context"
	"net/url"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

func escaped(text string) string { return url.QueryEscape(text) }

// A node that cannot be read does not keep the others, and the page says why.
func TestUnreadableNode(t *testing.T) {
	n := saved(t, "three-networks")
	first := n.snapshots["node1"]
	n.set("node1", nil)
	p := open(t, n)
	_, text := p.get(t, "/")
	check.Contains(t, "overview", text, "Not every node could be read", "<b>node1</b>, tried at ", "the window pod &lt;b&gt;ended&lt;/b&gt;", "not read</span>", "default/db")
	for _, what := range []string{"/node?name=node1", "/pod?node=node1&pod=default/web"} {
		status, text := p.get(t, what)
		check.Equal(t, "status of "+what, status, 503)
		check.Contains(t, what, text, "Node node1 could not be read yet.", "the window pod &lt;b&gt;ended&lt;/b&gt;")
	}
	_, text = p.get(t, "/path?from=default/db&to=192.0.2.1&interface=net1")
	check.Contains(t, "a path without it", text, "pod default/db net1")

	n.set("node1", first)
	_, text = p.get(t, "/")
	check.Equal(t, "it is read again", strings.Contains(text, "Not every node could be read"), false)
	check.Contains(t, "overview", text, "default/web")

	n.set("node1", nil)
	_, text = p.get(t, "/node?name=node1")
	check.Contains(t, "what was read before", text, "<h1>Node node1</h1>", "What is shown was read at ", "tried at")
}

// Without any node there is nothing to show.
func TestNoNodeCanBeRead(t *testing.T) {
	n := saved(t, "three-networks")
	n.snapshots = map[string]*inspect.Snapshot{}
	_, err := New(t.Context(), n)
	check.Error(t, err, errRead.Error())
}

// A node is read once for all who look, not again before it is stale, and a saved one never again.
func TestFresh(t *testing.T) {
	for name, tc := range map[string]struct {
		isSaved bool
		pause   time.Duration
		reads   int
	}{
		"at once":         {false, 0, 1},
		"when it is old":  {false, fresh, 2},
		"a saved one":     {true, time.Hour, 1},
		"a little before": {false, fresh - 1, 1},
	} {
		t.Run(name, func(t *testing.T) {
			n := saved(t, "ptp")
			n.names, n.isSaved = n.names[:1], tc.isSaved
			synctest.Test(t, func(t *testing.T) {
				server, err := New(t.Context(), n)
				check.Must(t, err)
				time.Sleep(tc.pause)
				server.look(t.Context())
				check.Equal(t, "readings", n.reads, tc.reads)
			})
		})
	}
}

// A page does not wait for a node that hangs: it has what was known, and the reading goes on.
func TestPatience(t *testing.T) {
	n := saved(t, "ptp")
	first := n.snapshots[n.names[0]]
	synctest.Test(t, func(t *testing.T) {
		answer := make(chan *Reading, 1)
		one := &node{name: "n", patience: patience, read: func() (*Reading, error) { return <-answer, nil }}
		check.Equal(t, "nothing is known", one.look(t.Context()).Reading == nil, true)
		answer <- &Reading{Snapshot: first}
		synctest.Wait()
		begun := time.Now()
		check.Equal(t, "what came meanwhile", one.known().Snapshot, first)
		check.Equal(t, "known while it is read again", one.look(t.Context()).Snapshot, first)
		check.Equal(t, "it took", time.Since(begun), patience)
		gone, cancel := context.WithCancel(t.Context())
		cancel()
		begun = time.Now()
		one.look(gone)
		check.Equal(t, "for one who went away it took", time.Since(begun), 0)
		close(answer)
	})
}
