package delegate

import (
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
)

// An intent whose writer was killed before it was whole is removed by a call for another
// container, unless somebody is writing it right now.
func TestUnfinishedIntentsAreRemoved(t *testing.T) {
	n := newSpecNode(t, "")
	dir := StateDir(n.engine.Config)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, containerID := range []string{"busy", "killed"} {
		writeTestFile(t, filepath.Join(dir, containerID+"@outer@eth0.jsonl.new"), `{"for`, 0o600)
	}
	lock, free, err := n.engine.Journal().TryLock("busy")
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	if err := n.engine.Del(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	left, err := n.engine.Journal().Leftovers()
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]journal.Key{{ContainerID: "busy", Network: "outer", IfName: "eth0"}}, left); diff != "" {
		t.Error(diff)
	}
}
