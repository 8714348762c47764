//go:build linux

package collect

import (
	"bytes"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// lab is several nodes and their pods, each a network namespace, without any record of Plexus.
type lab struct {
	*node.Node
	t    *testing.T
	pods map[string][]string // the namespaces of each node's pods
	ns   map[string]*node.Sandbox
	read []*inspect.Snapshot // by the last path, with what that asked
}

var keepPaths = flag.Bool("keep-paths", false, "write the snapshots that the tests of package path read")

// keep writes the snapshots of a path where package path reads them, if it has a folder for them.
func (l *lab) keep(folder string) {
	l.t.Helper()
	if _, err := os.Stat(folder); err != nil || !*keepPaths {
		return
	}
	for _, snapshot := range l.read {
		snapshot.Machine.Taken, snapshot.Machine.BootID, snapshot.Machine.Hostname = time.Time{}, "", ""
		data, err := snapshot.Bytes()
		check.Must(l.t, err)
		data = bytes.ReplaceAll(data, []byte(l.Path("netns")), []byte("/run/netns"))
		check.Must(l.t, os.WriteFile(filepath.Join(folder, snapshot.Machine.Node+".json"), data, 0o644))
	}
}

// newLab makes the namespaces, and runs a script: each line is the name of a namespace, and a
// command that runs there. @name is the path of another one.
func newLab(t *testing.T, pods map[string][]string, script string) *lab {
	t.Helper()
	l := &lab{Node: node.New(t), t: t, pods: pods, ns: map[string]*node.Sandbox{}}
	for name, pods := range pods {
		for _, name := range append([]string{name}, pods...) {
			l.ns[name] = l.Sandbox(name)
		}
	}
	l.run(script)
	return l
}

func (l *lab) run(script string) {
	l.t.Helper()
	for line := range strings.Lines(script) {
		fields := strings.Fields(line)
		if len(fields) == 0 {
			continue
		}
		for i, field := range fields {
			if name, found := strings.CutPrefix(field, "@"); found {
				fields[i] = l.ns[name].Path
			}
		}
		l.ns[fields[0]].MustRun(fields[1], fields[2:]...)
	}
}

func (l *lab) options(name string) Options {
	o := Options{StateDir: l.Path("none"), Sysfs: "/sys"}
	for _, pod := range l.pods[name] {
		o.NetNS = append(o.NetNS, l.ns[pod].Path)
	}
	return o
}

// snapshots reads nodes, each from inside, and calls them by their names.
func (l *lab) snapshots(names ...string) []*inspect.Snapshot {
	l.t.Helper()
	all := make([]*inspect.Snapshot, len(names))
	for i, name := range names {
		l.ns[name].Do(func() (err error) {
			all[i], err = Node(l.options(name))
			return err
		})
		all[i].Machine.Node = name
	}
	return all
}

// path traces a path between nodes, and asks them what it has to know.
func (l *lab) path(query path.Query, names ...string) *path.Document {
	l.t.Helper()
	for _, end := range []*string{&query.From, &query.To} {
		if ns := l.ns[*end]; ns != nil {
			*end = ns.Path
		}
	}
	snapshots := l.snapshots(names...)
	l.read = snapshots
	world := path.NewWorld(snapshots...)
	for range 100 {
		document, asked, err := world.Trace(query)
		check.Must(l.t, err)
		if len(asked) == 0 {
			return document
		}
		for _, question := range asked {
			l.ns[names[question.Machine]].Do(func() error {
				answers, err := Answers(l.options(names[question.Machine]), []inspect.Question{question.Question})
				snapshots[question.Machine].Answers = append(snapshots[question.Machine].Answers, answers...)
				return err
			})
		}
	}
	l.t.Fatal("the path has no end")
	return nil
}

// told gives a way in one line.
func told(w *path.Way) string {
	if w == nil {
		return "not known"
	}
	var text strings.Builder
	for i, hop := range w.Hops {
		if i > 0 {
			fmt.Fprintf(&text, " -%s- ", hop.Step.Kind)
		}
		fmt.Fprint(&text, hop.Name)
	}
	fmt.Fprintf(&text, ": %s", w.Outcome)
	return text.String()
}
