// Package worlds has the pods that planning refuses. The tests of delegate/plan write them
// down, and those of every other way to a verdict read them: each must give the same one.
package worlds

import (
	"bytes"
	"encoding/json"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// Dir stands for the folder of the node in a world.
const Dir = "$DIR"

// World is a node with a pod that planning refuses, and the verdict.
type World struct {
	Config  string                `json:"config"`            // of Plexus
	Files   map[string]string     `json:"files,omitempty"`   // of the node, by path below Dir; plugins are in bin
	Pod     types.Pod             `json:"pod,omitzero"`      // zero for no pod
	Facts   []types.Network       `json:"networks"`          // as the source of facts gives them
	Devices map[string][]string   `json:"devices,omitzero"`  // of the pod; nil if no kubelet was asked
	Claimed []types.ClaimedDevice `json:"claimed,omitempty"` // devices of the pod's claims
	Error   string                `json:"error"`
	Code    uint                  `json:"code"`
}

// Write writes the worlds of a test to its golden file, or compares them with it.
func Write(t testing.TB, path string, all map[string]World) {
	t.Helper()
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	check.Must(t, encoder.Encode(all))
	check.Golden(t, path, text.Bytes())
}

// Read reads every world of a folder, by the name of its file and its own.
func Read(t testing.TB, dir string) map[string]World {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(dir, "*.json"))
	check.Must(t, err)
	all := map[string]World{}
	for _, file := range files {
		data, err := os.ReadFile(file)
		check.Must(t, err)
		var some map[string]World
		check.Must(t, json.Unmarshal(data, &some))
		for name, world := range some {
			all[strings.TrimSuffix(filepath.Base(file), ".json")+"/"+name] = world
		}
	}
	return all
}

// Make makes the node of a world in a folder, which then stands in place of Dir.
func (w *World) Make(t testing.TB, dir string) World {
	t.Helper()
	for path, content := range w.Files {
		path = filepath.Join(dir, path)
		check.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
		check.Must(t, os.WriteFile(path, []byte(in(dir, content)), 0o755)) //nolint:gosec // plugins must be executable
	}
	made := *w
	made.Config, made.Error = in(dir, w.Config), in(dir, w.Error)
	return made
}

func in(dir, text string) string { return strings.ReplaceAll(text, Dir, dir) }
