package window

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// World is nodes at one time.
type World struct {
	t         testing.TB
	nodes     []*Node
	snapshots []*inspect.Snapshot
	pods      []string // those of the paths
	shown     map[string]string
}

// Show has the files that are kept say another path than that of a folder of the test.
func (w *World) Show(folder, as string) { w.shown[folder] = as }

// Read takes a Snapshot of each node.
func Read(t testing.TB, nodes ...*Node) *World {
	t.Helper()
	w := &World{t: t, nodes: nodes, shown: map[string]string{}}
	for _, n := range nodes {
		w.snapshots = append(w.snapshots, n.snapshot(t))
	}
	return w
}

// Path traces the way between two pods and back. The nodes answer what it asks; then kubectl-plexus
// must draw the same of what was saved.
func (w *World) Path(query path.Query) *path.Document {
	w.t.Helper()
	world := path.NewWorld(w.snapshots...)
	for range 100 {
		document, asked, err := world.Trace(query)
		check.Must(w.t, err)
		if len(asked) == 0 {
			w.remember(document)
			w.replay(query, document)
			return document
		}
		for _, a := range asked {
			answers, err := w.nodes[a.Machine].answers(a.Question)
			check.Must(w.t, err)
			w.snapshots[a.Machine].Answers = append(w.snapshots[a.Machine].Answers, answers...)
		}
	}
	w.t.Fatalf("the path from %s to %s has no end", query.From, query.To)
	return nil
}

// remember notes the pods of a path.
func (w *World) remember(d *path.Document) {
	for _, subject := range []string{d.From.Subject, d.To.Subject} {
		w.pods = append(w.pods, strings.TrimPrefix(subject, "pod "))
	}
}

// replay demands that the command says the same of the saved Snapshots.
func (w *World) replay(query path.Query, want *path.Document) {
	w.t.Helper()
	args := []string{"path", query.From, "to", query.To, "-o", "json"}
	if query.Interface != "" {
		args = append(args, "-i", query.Interface)
	}
	for _, file := range w.write(w.t.TempDir()) {
		args = append(args, "--from", file)
	}
	text, code, err := call(w.nodes[0].Program, args...)
	check.Must(w.t, err)
	check.Equal(w.t, "exit code of path", code, map[bool]int{true: wrong, false: fine}[want.Wrong()])
	var got path.Document
	check.Must(w.t, json.Unmarshal([]byte(text), &got))
	check.Equal(w.t, "the path, drawn of what was saved", Way(&got.There), Way(&want.There))
	check.Equal(w.t, "the way back, drawn of what was saved", Way(got.Back), Way(want.Back))
}

// write writes what was read of the pods, a file for each node, and gives the files.
func (w *World) write(folder string) (files []string) {
	w.t.Helper()
	check.Must(w.t, os.MkdirAll(folder, 0o755))
	for i, s := range w.snapshots {
		data, err := trimmed(s, w.pods).Bytes()
		check.Must(w.t, err)
		if dir := w.nodes[i].NetNSDir; dir != "" {
			data = bytes.ReplaceAll(data, []byte(dir), []byte("/run/netns"))
		}
		for folder, as := range w.shown {
			data = bytes.ReplaceAll(data, []byte(folder), []byte(as))
		}
		files = append(files, filepath.Join(folder, s.Machine.Node+".json"))
		check.Must(w.t, os.WriteFile(files[i], data, 0o644))
	}
	return files
}

// SnapshotsVar names the folder for the Snapshots of docs/paths.
const SnapshotsVar = "PLEXUS_E2E_SNAPSHOTS"

// Keep writes the Snapshots, with what the paths asked, for the page NAME of docs/paths, if SnapshotsVar is
// set. The question of its picture is this, if its folder has none.
func (w *World) Keep(name string, query path.Query) {
	w.t.Helper()
	folder := os.Getenv(SnapshotsVar)
	if folder == "" {
		return
	}
	w.write(filepath.Join(folder, name))
	if there, _ := filepath.Glob(filepath.Join(folder, name, "question*.json")); len(there) > 0 {
		return
	}
	question, err := json.MarshalIndent(query, "", "  ")
	check.Must(w.t, err)
	check.Must(w.t, os.WriteFile(filepath.Join(folder, name, "question.json"), append(question, '\n'), 0o644))
}

// Ways gives both ways of a path, each as [Way].
func Ways(d *path.Document) string { return Way(&d.There) + "\n" + Way(d.Back) }

// Notes gives what a path says of the interfaces that a packet passes on a node, and cannot ask.
func Notes(way *path.Way, node string) (notes []string) {
	for i := range way.Hops {
		if hop := &way.Hops[i]; hop.Node == node {
			for _, note := range hop.Notes {
				notes = append(notes, hop.Name+": "+note)
			}
		}
	}
	return notes
}

// Way gives a way in one line: the interfaces, how the packet comes from each to the next, and the
// outcome.
func Way(w *path.Way) string {
	if w == nil {
		return "not known"
	}
	var text strings.Builder
	for i := range w.Hops {
		if i > 0 {
			fmt.Fprintf(&text, " -%s- ", w.Hops[i].Step.Kind)
		}
		text.WriteString(w.Hops[i].Name)
	}
	fmt.Fprintf(&text, ": %s", w.Outcome)
	if w.Reason != "" {
		fmt.Fprintf(&text, " (%s)", w.Reason)
	}
	return text.String()
}
