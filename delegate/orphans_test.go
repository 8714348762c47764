package delegate

import (
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
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
