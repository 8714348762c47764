package main

import (
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/node"
)

// A power cut right after the first plugin has run finds the intent on the disk: its
// content, its name, and the folder that it lies in.
func TestNetnsIntentIsOnDiskBeforeTheFirstPlugin(t *testing.T) {
	n, pod := threeNetworks(t)
	trace := node.NewTrace(t)
	n.Call(node.Call{Command: "ADD", Config: n.Conf(nil), Sandbox: pod, Plugin: trace.Script(filepath.Join(n.Bin, "plexus"))}).OK()
	record := n.RecordPath(pod)
	folder := filepath.Dir(record)
	plugin := "exec " + filepath.Join(n.CNIBin, "bridge")
	trace.MustFollow("sync "+record+".new", "rename "+record+".new "+record, "sync "+folder, plugin)
	// The folder was made by this call.
	trace.MustFollow("sync "+filepath.Dir(folder), "sync "+record+".new", plugin)
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}
