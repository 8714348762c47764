package main

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/node"
)

// A power cut right after the first plugin has run finds the intent on the disk: its
// content, its name, and the folder that it lies in.
func TestNetnsIntentIsOnDiskBeforeTheFirstPlugin(t *testing.T) {
	n, pod := threeNetworks(t)
	trace := node.NewTrace(t)
	// Without this key a plugin may be there before its turn, waiting for its configuration.
	conf := n.Conf(map[string]any{"startAhead": []string{}})
	n.Call(node.Call{Command: "ADD", Config: conf, Sandbox: pod, Plugin: trace.Script(filepath.Join(n.Bin, "plexus"))}).OK()
	record := n.RecordPath(pod)
	folder := filepath.Dir(record)
	plugin := "exec " + filepath.Join(n.CNIBin, "bridge")
	trace.MustFollow("sync "+record+".new", "rename "+record+".new "+record, "sync "+folder, plugin)
	// The folder was made by this call.
	trace.MustFollow("sync "+filepath.Dir(folder), "sync "+record+".new", plugin)
	steps := trace.Steps()
	if first := slices.Index(steps, plugin); first < slices.Index(steps, "sync "+folder) {
		t.Errorf("the first plugin ran before the intent was on disk:\n%s", strings.Join(steps, "\n"))
	}
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}
