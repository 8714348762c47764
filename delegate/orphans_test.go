package delegate

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// orphan starts a process that holds a container's lock, which a call took that began so
// long ago and is gone by now.
func (n *specNode) orphan(t *testing.T, containerID string, age time.Duration) *exec.Cmd {
	t.Helper()
	lock, free, err := n.engine.Journal().TryLock(containerID)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	child := exec.CommandContext(t.Context(), "sleep", "1000")
	child.ExtraFiles = []*os.File{lock.File()}
	child.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	writeTestFile(t, lock.File().Name(), "1 1\n", 0o600)
	begun := time.Now().Add(-age)
	if err := os.Chtimes(lock.File().Name(), begun, begun); err != nil {
		t.Fatal(err)
	}
	_ = lock.File().Close()
	return child
}

// A plugin of a killed call holds the lock of a dead sandbox, for which no DEL may ever come:
// any other call ends it and releases the sandbox; and so does GC where the runtime does not
// know the sandbox any more.
func TestDeadSandboxThatAnOrphanHolds(t *testing.T) {
	for name, c := range map[string]struct {
		lives bool // its namespace
		call  func(context.Context, *specNode) error
	}{
		"a DEL of another": {call: func(ctx context.Context, n *specNode) error { return n.engine.Del(ctx, n.call) }},
		"GC": {lives: true, call: func(ctx context.Context, n *specNode) error {
			n.engine.Config.HasValidAttachments = true
			return n.engine.GC(ctx)
		}},
	} {
		t.Run(name, func(t *testing.T) {
			n := newSpecNode(t, "")
			key := n.recordOf(t, "c2", c.lives)
			orphan := n.orphan(t, "c2", time.Hour)
			if err := c.call(t.Context(), n); err != nil {
				t.Fatal(err)
			}
			check.Ends(t, orphan.Process.Pid)
			if _, err := n.engine.Journal().Read(key); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("its record: %v", err)
			}
		})
	}
}

// What a killed call began a moment ago may come to its end by itself, and what holds the
// lock of a sandbox that lives waits for its DEL.
func TestOrphansThatAreLeftAlone(t *testing.T) {
	for name, c := range map[string]struct {
		age   time.Duration
		lives bool
	}{"just begun": {}, "of a sandbox that lives": {age: time.Hour, lives: true}} {
		t.Run(name, func(t *testing.T) {
			n := newSpecNode(t, "")
			key := n.recordOf(t, "c2", c.lives)
			orphan := n.orphan(t, "c2", c.age)
			n.engine.releaseDead(t.Context())
			if p, exists := host.ProcessOf(orphan.Process.Pid); !exists || p.Ended {
				t.Error("it was killed")
			}
			if _, err := n.engine.Journal().Read(key); err != nil {
				t.Errorf("the record: %v", err)
			}
		})
	}
}

// recordOf makes the record of a sandbox that is gone, or that lives in the namespace of
// this process.
func (n *specNode) recordOf(t *testing.T, containerID string, lives bool) journal.Key {
	t.Helper()
	key := n.deadRecord(t, containerID)
	if lives {
		n.revive(t, key)
	}
	return key
}

// revive gives a record the namespace of this process, and the engine the record's boot.
func (n *specNode) revive(t *testing.T, key journal.Key) {
	t.Helper()
	record, err := n.engine.Journal().Read(key)
	if err != nil {
		t.Fatal(err)
	}
	lock, free, err := n.engine.Journal().TryLock(key.ContainerID)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	n.engine.BootID = record.BootID
	record.Plan.Sandbox.NetNS = "/proc/self/ns/net"
	intent := types.Intent{Format: types.RecordFormat, BootID: record.BootID, Network: record.Network, Created: record.Created, Plan: record.Plan}
	if err := lock.Create(key, intent); err != nil {
		t.Fatal(err)
	}
}

// A call that was killed while its container had no record leaves its lock, which the next
// call for any container removes, whatever is in it; also if an orphan still holds it.
func TestLocksWithoutARecordAreRemoved(t *testing.T) {
	n := newSpecNode(t, "")
	dir := StateDir(n.engine.Config)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for name, signature := range map[string]string{"killed": "1 1\n", "unsigned": "", "garbage": "no signature"} {
		writeTestFile(t, filepath.Join(dir, name+".lock"), signature, 0o600)
	}
	orphan := n.orphan(t, "orphaned", time.Hour)
	n.orphan(t, "young", 0)
	lock, free, err := n.engine.Journal().TryLock("busy")
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	n.deadRecord(t, "recorded")
	unlock, err := n.engine.Journal().LockDevices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	unlock()
	n.engine.releaseDead(t.Context())
	check.Ends(t, orphan.Process.Pid)
	locks, err := filepath.Glob(dir + "/*.lock")
	if err != nil {
		t.Fatal(err)
	}
	want := []string{dir + "/@devices.lock", dir + "/busy.lock", dir + "/young.lock"}
	if diff := cmp.Diff(want, locks); diff != "" {
		t.Error(diff)
	}
}
