package delegate

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// staleKeys gives the containers that may be released, with the reason.
func (n *specNode) stale(t *testing.T) map[string]string {
	t.Helper()
	all, err := n.engine.Stale()
	check.Must(t, err)
	why := map[string]string{}
	for _, stale := range all {
		why[stale.Key.ContainerID] = stale.Why
	}
	return why
}

// liveRecord writes a record whose sandbox is that of this process.
func (n *specNode) liveRecord(t *testing.T, containerID string) journal.Key {
	t.Helper()
	plan, err := n.engine.plan(t.Context(), n.call)
	check.Must(t, err)
	plan.Sandbox.ContainerID, plan.Sandbox.NetNS = containerID, "/proc/self/ns/net"
	lock, free, err := n.engine.Journal().TryLock(containerID)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	key := n.engine.key(&plan.Sandbox)
	check.Must(t, lock.Create(key, types.Intent{Format: types.RecordFormat, BootID: "this-boot", Network: "outer", Plan: *plan}))
	return key
}

// Only what is gone for sure is stale, and looking changes nothing.
func TestStale(t *testing.T) {
	n := newSpecNode(t, "")
	n.liveRecord(t, "lives")
	n.deadRecord(t, "of-another-boot")
	gone := n.deadRecord(t, "gone")
	path := filepath.Join(StateDir(n.engine.Config), gone.ContainerID+"@outer@eth0.jsonl")
	data, err := os.ReadFile(path)
	check.Must(t, err)
	record, err := types.ParseRecord(data)
	check.Must(t, err)
	record.BootID = "this-boot"
	line, err := types.AppendLine(nil, record.Intent)
	check.Must(t, err)
	writeTestFile(t, path, string(line), 0o600)
	writeTestFile(t, filepath.Join(StateDir(n.engine.Config), "damaged@outer@eth0.jsonl"), "{", 0o600)
	check.Equal(t, "stale", n.stale(t), map[string]string{
		"of-another-boot": "the node has booted since",
		"gone":            "its network namespace " + filepath.Join(n.dir, "no-namespace") + " is gone",
	})
	check.Equal(t, "calls of plugins", len(n.calls(t)), 0)
	check.Equal(t, "records", len(n.scan(t).Records), 4)
}

// A sandbox that may be there is released only if that is forced.
func TestReleaseRecordOfALiveSandbox(t *testing.T) {
	n := newSpecNode(t, "")
	key := n.liveRecord(t, "lives")
	if _, err := n.engine.ReleaseRecord(t.Context(), key, false); !errors.Is(err, ErrLives) {
		t.Errorf("a live sandbox: %v", err)
	}
	check.Equal(t, "calls of plugins", len(n.calls(t)), 0)
	lock, free, err := n.engine.Journal().TryLock("lives")
	if err != nil || !free {
		t.Fatal(free, err)
	}
	check.Must(t, lock.Append(key, types.Entry{Event: types.EventTrying, Attachment: 0}))
	lock.Release()
	released, err := n.engine.ReleaseRecord(t.Context(), key, true)
	check.Must(t, err)
	check.Equal(t, "released", released, []Released{{Network: released[0].Network, Interface: "eth0", Done: true}})
	check.Equal(t, "records", len(n.scan(t).Records), 0)
}

// What a plugin does not release stays recorded, and the error names pod, network and plugin.
func TestReleaseRecordThatFails(t *testing.T) {
	n := newSpecNode(t, "second")
	key := n.deadRecord(t, "dead")
	writeTestFile(t, filepath.Join(n.dir, "bin", "second"), "#!/bin/sh\necho '{\"code\": 7, \"msg\": \"not now\"}'\nexit 1\n", 0o755)
	released, err := n.engine.ReleaseRecord(t.Context(), key, false)
	check.Error(t, err, "pod default/web: detach network default/second from net0", "plugin second", "not now")
	check.Equal(t, "released", released, []Released{
		{Network: "default/second", Interface: "net0"}, {Network: released[1].Network, Interface: "eth0", Done: true},
	})
	check.Equal(t, "records", len(n.scan(t).Records), 1)
	again, err := n.engine.ReleaseRecord(t.Context(), key, false)
	check.Error(t, err, "not now")
	check.Equal(t, "what is left", len(again), 1)
	check.Must(t, os.Remove(filepath.Join(n.dir, "bin", "second")))
	writeTestFile(t, filepath.Join(n.dir, "bin", "second"), specScript, 0o755)
	if _, err := n.engine.ReleaseRecord(t.Context(), key, false); err != nil {
		t.Error(err)
	}
	check.Equal(t, "records", len(n.scan(t).Records), 0)
	if _, err := n.engine.ReleaseRecord(t.Context(), key, false); err != nil {
		t.Errorf("a record that is gone: %v", err)
	}
}
