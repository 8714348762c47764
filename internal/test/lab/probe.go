//go:build linux

package lab

import (
	"cmp"
	"context"
	"encoding/json"
	"io"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/collect"
	"github.com/plexus-cni/plexus/internal/inspect/drops"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/inspect/probe"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// patience is how long a probe waits for an answer that does not come.
const patience = time.Second

// Probing is how packets are sent along a path.
type Probing struct {
	Protocol string
	Why      bool          // with the kernels' own reasons
	Patience time.Duration // 0 for a second
	Between  func()        // between the trace and the packets, if anything
}

// Probe traces a path between nodes, sends packets along it, and says what became of them.
func (l *Lab) Probe(query path.Query, protocol string, names ...string) *path.Document {
	l.t.Helper()
	return l.Send(query, Probing{Protocol: protocol}, names...)
}

// Why is Probe with the kernels' own reasons.
func (l *Lab) Why(query path.Query, names ...string) *path.Document {
	l.t.Helper()
	return l.Send(query, Probing{Protocol: "icmp", Why: true}, names...)
}

// Send is Probe as asked.
func (l *Lab) Send(query path.Query, how Probing, names ...string) *path.Document {
	l.t.Helper()
	world, document := l.trace(&query, names)
	p, err := probe.New(document, how.Protocol)
	check.Must(l.t, err)
	p.Name, p.Owner, p.Explain = world.NameOf, world.OwnerOf, drops.Explain
	nodes := map[string]inspect.Watcher{}
	for _, name := range names {
		nodes[name] = watcher{l, name}
	}
	if how.Between != nil {
		how.Between()
	}
	check.Must(l.t, p.Run(l.t.Context(), nodes, cmp.Or(how.Patience, patience), how.Why))
	return document
}

// KeepProbe writes what became of a probe, by other names, for a picture of the docs if -keep-paths is set. It gives
// that by these names.
func (l *Lab) KeepProbe(document *path.Document, names map[string]string, file string) *path.Document {
	l.t.Helper()
	data, err := json.MarshalIndent(document, "", "  ")
	check.Must(l.t, err)
	text := string(data)
	for from, to := range names {
		text = strings.ReplaceAll(text, from, to)
	}
	if *keepPaths {
		check.Must(l.t, os.MkdirAll(filepath.Dir(file), 0o755))
		check.Must(l.t, os.WriteFile(file, []byte(text+"\n"), 0o644))
	}
	var named path.Document
	check.Must(l.t, json.Unmarshal([]byte(text), &named))
	return &named
}

// Serve opens a socket of a namespace, until the test ends, that takes what comes and says nothing: "udp" or "tcp".
func (l *Lab) Serve(name, network, address string) {
	l.t.Helper()
	var server io.Closer
	l.ns[name].Do(func() (err error) {
		if network == "udp" {
			server, err = net.ListenPacket(network, address)
		} else {
			server, err = net.Listen(network, address)
		}
		return err
	})
	l.t.Cleanup(func() { _ = server.Close() })
}

// Sockets gives the sockets of TCP of a namespace, a line each, as ss has them: state, what waits, addresses.
func (l *Lab) Sockets(name string) string {
	l.t.Helper()
	out, err := l.ns[name].Run("ss", "-tanH")
	check.Must(l.t, err)
	return out
}

// watcher is a node of the lab.
type watcher struct {
	l    *Lab
	name string
}

func (w watcher) Snapshot(context.Context, inspect.Request) (*inspect.Snapshot, error) {
	return w.l.Snapshots(w.name)[0], nil
}

func (w watcher) Answers(_ context.Context, questions []inspect.Question) (answers []inspect.Answer, err error) {
	w.l.ns[w.name].Do(func() error {
		answers, err = collect.Answers(w.l.options(w.name), questions)
		return nil
	})
	return answers, err
}

func (w watcher) Watch(ctx context.Context, watch inspect.Watch, saw func(inspect.Sighting) error) (err error) {
	var watching *collect.Watching
	w.l.ns[w.name].Do(func() error {
		watching, err = collect.Watch(w.l.options(w.name), watch)
		return nil
	})
	if err != nil {
		return err
	}
	return watching.Run(ctx, saw)
}

func (w watcher) Send(_ context.Context, send inspect.Send) (sent []inspect.Sent, err error) {
	w.l.ns[w.name].Do(func() error {
		sent, err = collect.Send(w.l.options(w.name), send)
		return nil
	})
	return sent, err
}

func (watcher) Close() error { return nil }
