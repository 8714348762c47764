package delegate

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// deadRecord is the record of a sandbox that is gone, all of whose networks were tried.
func (n *specNode) deadRecord(t *testing.T, containerID string) journal.Key {
	t.Helper()
	plan, err := n.engine.plan(t.Context(), n.call)
	if err != nil {
		t.Fatal(err)
	}
	plan.Sandbox.ContainerID = containerID
	lock, free, err := n.engine.Journal().TryLock(containerID)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	key := n.engine.key(&plan.Sandbox)
	intent := types.Intent{Format: types.RecordFormat, BootID: "another-boot", Network: n.engine.Config.Name, Created: time.Now(), Plan: *plan}
	if err := lock.Create(key, intent); err != nil {
		t.Fatal(err)
	}
	return key
}

// A plugin that hangs has all the time of one call, but neither that of the record's
// other networks at the next, nor that of other records.
func TestDeadRecordWithAPluginThatHangs(t *testing.T) {
	n := newSpecNode(t, "second,third")
	n.engine.Config.DelegateTimeout = types.Duration(time.Minute)
	n.hang(t, "third") // the first to be released
	stuck, other := n.deadRecord(t, "c1"), n.deadRecord(t, "c2")
	release := func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n.engine.releaseIfDead(ctx, stuck)
	}
	release()
	if diff := cmp.Diff([]journal.Key{other, stuck}, n.engine.deadKeys()); diff != "" {
		t.Errorf("the order of the next call: %s", diff)
	}
	for range 2 { // the second for a machine that is slow
		release()
	}
	record, err := n.engine.Journal().Read(stuck)
	if err != nil {
		t.Fatal(err)
	}
	if pending := record.Pending(n.engine.BootID); !slices.Equal(pending, []int{2}) {
		t.Errorf("still to be released: %v", pending)
	}
}

func TestDeadWait(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: 0, deadPatience - 1: 0, deadPatience: time.Second, deadPatience + 3: 8 * time.Second, 1000: deadMaxWait} {
		if got := deadWait(failures); got != want {
			t.Errorf("after %d failures: %v, want %v", failures, got, want)
		}
	}
}

func TestSample(t *testing.T) {
	keys := []journal.Key{{ContainerID: "a"}, {ContainerID: "b"}, {ContainerID: "c"}}
	if diff := cmp.Diff(keys, sample(keys, 3)); diff != "" {
		t.Errorf("of no more: %s", diff)
	}
	begins := map[string]bool{}
	for range 200 {
		got := sample(keys, 2)
		if len(got) != 2 || got[0] == got[1] {
			t.Fatalf("got %v", got)
		}
		begins[got[0].ContainerID] = true
	}
	if len(begins) != 3 {
		t.Errorf("never begins but with %v", begins)
	}
}

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

// A dead record whose release has failed often waits, and one that has waited is chosen.
func TestDeadRecordsThatFailWait(t *testing.T) {
	n := newSpecNode(t, "")
	key := n.deadRecord(t, "dead")
	wantChosen := func(when string, want ...journal.Key) {
		t.Helper()
		if diff := cmp.Diff(want, n.engine.deadKeys()); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	wantChosen("at first", key)
	lock, free, err := n.engine.Journal().TryLock("dead")
	if err != nil || !free {
		t.Fatal(free, err)
	}
	for range maxNoted {
		if err := lock.Append(key, types.Entry{Event: types.EventFailed, Time: time.Now()}); err != nil {
			t.Fatal(err)
		}
	}
	lock.Release()
	wantChosen("right after its failures")
	past := time.Now().Add(-2 * deadMaxWait)
	if err := os.Chtimes(filepath.Join(StateDir(n.engine.Config), "dead@outer@eth0.jsonl"), past, past); err != nil {
		t.Fatal(err)
	}
	wantChosen("later", key)
}
