package delegate

import (
	"slices"
	"strings"
	"testing"
)

// CHECK of a sandbox whose ADD failed, and could not be undone, runs no plugin and says so.
func TestNetnsCheckOfAnUnfinishedAdd(t *testing.T) {
	n := newSpecSandbox(t, "")
	n.fail(t, "ADD", "eth0")
	n.fail(t, "DEL", "eth0")
	if _, err := n.engine.Add(t.Context(), n.call); err == nil {
		t.Fatal("ADD succeeded")
	}
	before := n.calls(t)
	err := n.engine.Check(t.Context(), n.call)
	if err == nil || !strings.Contains(err.Error(), "its ADD did not come to its end") {
		t.Errorf("got %v", err)
	}
	if after := n.calls(t); !slices.Equal(before, after) {
		t.Errorf("calls: %v, after CHECK %v", before, after)
	}
}
