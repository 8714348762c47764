package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestLockIsExclusive(t *testing.T) {
	j, lock := locked(t)
	if second, free, err := j.TryLock("c1"); free || err != nil || second != nil {
		t.Errorf("taken twice: free %v, %v", free, err)
	}
	take(t, j, "c2").Release() // another container's is another's
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.Lock(ended, "c1"); !errors.Is(err, ErrBusy) || !strings.Contains(err.Error(), "container c1") {
		t.Errorf("waiting in vain: %v, want %v", err, ErrBusy)
	}
	waiting := make(chan error, 1)
	go func() {
		second, err := j.Lock(t.Context(), "c1")
		if err == nil {
			second.Release()
		}
		waiting <- err
	}()
	lock.Release()
	if err := <-waiting; err != nil {
		t.Errorf("after the release: %v", err)
	}
}

// A lock's file stays as long as its container has a record: its name is how the
// orphans of a call that was killed are found.
func TestReleaseRemovesTheFileOnlyWithoutRecords(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	lock.Release()
	if _, err := os.Stat(j.lockPath("c1")); err != nil {
		t.Errorf("with a record: %v", err)
	}
	lock = take(t, j, "c1")
	if err := lock.Remove(testKey); err != nil {
		t.Fatal(err)
	}
	lock.Release()
	if left := files(t, j); len(left) != 0 {
		t.Errorf("without one: %v", left)
	}
}

// Whoever removes the file of a lock pulls it from under those that have opened it
// and wait: they must not take it for the lock that is there by then.
func TestLockOverRemovedFiles(t *testing.T) {
	j := New(t.TempDir())
	var holders atomic.Int32
	var all sync.WaitGroup
	for range 8 {
		all.Go(func() {
			for taken := 0; taken < 100 && !t.Failed(); {
				lock, free, err := j.TryLock("c1")
				if err != nil {
					t.Error(err)
				}
				if !free {
					runtime.Gosched()
					continue
				}
				taken++
				holders.Add(1)
				// While it is held, every other one may come this far too.
				for range 20 {
					if n := holders.Load(); n != 1 {
						t.Errorf("%d hold the lock at a time", n)
					}
					runtime.Gosched()
				}
				holders.Add(-1)
				lock.Release() // there is no record: the file goes
			}
		})
	}
	all.Wait()
	if left := files(t, j); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Who claims devices waits for who is at it, and a container's lock is another's, whatever
// the container is called.
func TestLockDevicesIsExclusive(t *testing.T) {
	j := New(filepath.Join(t.TempDir(), "not", "there"))
	release, err := j.LockDevices(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	take(t, j, "devices").Release()
	ended, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := j.LockDevices(ended); !errors.Is(err, ErrBusy) {
		t.Errorf("waiting in vain: %v, want %v", err, ErrBusy)
	}
	waiting := make(chan error, 1)
	go func() {
		release, err := j.LockDevices(t.Context())
		if err == nil {
			release()
		}
		waiting <- err
	}()
	release()
	if err := <-waiting; err != nil {
		t.Errorf("after the release: %v", err)
	}
	if keys, err := j.List(); err != nil || len(keys) != 0 {
		t.Errorf("the lock is taken for a record: %v, %v", keys, err)
	}
	if _, _, err := j.TryLock("@devices"); !errors.Is(err, ErrBadKey) {
		t.Errorf("a container can have the lock of devices: %v", err)
	}
}

func TestLockThatCannotBe(t *testing.T) {
	file := filepath.Join(t.TempDir(), "file")
	write(t, file, "")
	if _, _, err := New(filepath.Join(file, "sub")).TryLock("c1"); err == nil {
		t.Error("a lock in a folder that cannot be")
	}
	j := New(t.TempDir())
	if err := os.Mkdir(j.lockPath("c1"), 0o700); err != nil {
		t.Fatal(err)
	}
	if _, _, err := j.TryLock("c1"); err == nil || !strings.Contains(err.Error(), "container c1") {
		t.Errorf("a lock that is a folder: %v", err)
	}
}

func TestStartTime(t *testing.T) {
	own := startTime(os.Getpid())
	if _, err := strconv.ParseUint(own, 10, 64); err != nil {
		t.Fatalf("of this process: %q", own)
	}
	// A name may have anything in it, parentheses and spaces as well.
	odd := filepath.Join(t.TempDir(), "a) Z (b")
	source, err := exec.LookPath("sleep")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Symlink(source, odd); err != nil {
		t.Fatal(err)
	}
	child := exec.CommandContext(t.Context(), odd, "1000")
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	if got := startTime(child.Process.Pid); len(got) < len(own) || strings.Trim(got, "0123456789") != "" {
		t.Errorf("of a process of an odd name: %q", got)
	}
	if err := child.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	check.Ends(t, child.Process.Pid)
	if got := startTime(child.Process.Pid); got != "" {
		t.Errorf("of a process that has ended but was not waited for: %q", got)
	}
	_ = child.Wait()
	if got := startTime(child.Process.Pid); got != "" {
		t.Errorf("of no process: %q", got)
	}
}

// holding is a process that has inherited a lock, with a child that has closed it.
type holding struct {
	*exec.Cmd
	child int
}

// holder starts a process, in a group of its own, that inherits the lock, and comes
// back when it runs.
func holder(t *testing.T, lock *Lock, environ ...string) *holding {
	t.Helper()
	child := &holding{Cmd: exec.CommandContext(t.Context(), "/bin/sh", "-c", "sleep 1000 3>&- & echo $!; wait")}
	child.Env = append([]string{"PATH=/usr/bin:/bin"}, environ...)
	child.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	child.Cancel = func() error { return unix.Kill(-child.Process.Pid, unix.SIGKILL) }
	if lock != nil {
		child.ExtraFiles = []*os.File{lock.File()}
	}
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = unix.Kill(-child.Process.Pid, unix.SIGKILL)
		_ = child.Wait()
	})
	line, err := bufio.NewReader(stdout).ReadString('\n')
	if err != nil {
		t.Fatal(err)
	}
	if child.child, err = strconv.Atoi(strings.TrimSpace(line)); err != nil {
		t.Fatal(err)
	}
	return child
}

// deadOwner signs a lock as a process does that is gone by now, and closes it here, so
// that only what inherited it holds it.
func deadOwner(t *testing.T, lock *Lock) {
	t.Helper()
	gone := exec.CommandContext(t.Context(), "/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	owned(t, lock, fmt.Sprintf("%d %s\n", gone.Process.Pid, "12345"))
}

func owned(t *testing.T, lock *Lock, owner string) {
	t.Helper()
	write(t, lock.journal.lockPath(lock.containerID), owner)
	if err := lock.file.Close(); err != nil {
		t.Fatal(err)
	}
}

func lives(pid int) bool { return startTime(pid) != "" }

func TestLockOverOrphansTakesAFreeLock(t *testing.T) {
	lock, err := New(t.TempDir()).LockOverOrphans(t.Context(), "c1", 0)
	if err != nil {
		t.Fatal(err)
	}
	lock.Release()
}

// The call that started the delegate is gone: nobody else will end it.
func TestLockOverOrphansKillsAnOrphan(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	orphan := holder(t, lock, DelegateEnv+"=c1")
	deadOwner(t, lock)
	taken, err := j.LockOverOrphans(t.Context(), "c1", 0)
	if err != nil {
		t.Fatal(err)
	}
	defer taken.Release()
	if err := orphan.Wait(); err == nil || !strings.Contains(err.Error(), "killed") {
		t.Errorf("the orphan: %v", err)
	}
	check.Ends(t, orphan.child) // the group goes with it
}

// Lines in a lock's file as a kill between two of its writes may leave them: an owner
// that cannot be told is no owner that lives.
func TestLockOverOrphansOfAnUnknownOwner(t *testing.T) {
	for name, owner := range map[string]string{
		"none": "", "garbage": "who knows\n", "no start": fmt.Sprintf("%d\n", os.Getpid()),
		"a pid used anew": fmt.Sprintf("%d 1\n", os.Getpid()),
	} {
		t.Run(name, func(t *testing.T) {
			j, lock := locked(t)
			orphan := holder(t, lock, DelegateEnv+"=c1")
			owned(t, lock, owner)
			taken, err := j.LockOverOrphans(t.Context(), "c1", 0)
			if err != nil {
				t.Fatal(err)
			}
			taken.Release()
			_ = orphan.Wait()
		})
	}
}

// spared tries to take the lock, for long enough to have killed who holds it.
func spared(t *testing.T, j *Journal, child *holding) {
	t.Helper()
	if err := j.killOrphans("c1"); err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if _, err := j.LockOverOrphans(ctx, "c1", 0); !errors.Is(err, ErrBusy) {
		t.Errorf("got %v, want %v", err, ErrBusy)
	}
	if !lives(child.Process.Pid) {
		t.Error("it was killed")
	}
}

func TestLockOverOrphansSparesTheDelegateOfALivingOwner(t *testing.T) {
	j, lock := locked(t)
	spared(t, j, holder(t, lock, DelegateEnv+"=c1"))
}

// Another plexus that waits for the lock has its file open too.
func TestLockOverOrphansSparesOthers(t *testing.T) {
	for name, environ := range map[string][]string{
		"no delegate":               nil,
		"another container's":       {DelegateEnv + "=c2"},
		"one of a longer name":      {DelegateEnv + "=c10"},
		"the variable in a value":   {"X=" + DelegateEnv + "=c1"},
		"a variable that ends like": {"X" + DelegateEnv + "=c1"},
	} {
		t.Run(name, func(t *testing.T) {
			j, lock := locked(t)
			child := holder(t, lock, environ...)
			deadOwner(t, lock)
			spared(t, j, child)
		})
	}
}

// A delegate of the container that does not hold the lock is not in the way.
func TestLockOverOrphansSparesWhoDoesNotHoldIt(t *testing.T) {
	j, lock := locked(t)
	orphan := holder(t, lock, DelegateEnv+"=c1")
	bystander := holder(t, nil, DelegateEnv+"=c1")
	deadOwner(t, lock)
	taken, err := j.LockOverOrphans(t.Context(), "c1", 0)
	if err != nil {
		t.Fatal(err)
	}
	taken.Release()
	_ = orphan.Wait()
	if !lives(bystander.Process.Pid) {
		t.Error("it was killed")
	}
}

// The lock may be released, and its file removed, while the orphans are looked for.
func TestKillOrphansOfALockThatIsGone(t *testing.T) {
	j := New(t.TempDir())
	if err := j.killOrphans("c1"); err != nil {
		t.Errorf("got %v", err)
	}
}

func TestHolders(t *testing.T) {
	j, lock := locked(t)
	child := holder(t, lock)
	other := take(t, New(filepath.Join(t.TempDir(), "other")), "c1") // of the same name
	holder(t, other)
	pids, err := holders(j.lockPath("c1"))
	if err != nil {
		t.Fatal(err)
	}
	// Not this process, nor one that has closed the file, nor the other's.
	if diff := cmp.Diff([]int{child.Process.Pid}, pids); diff != "" {
		t.Error(diff)
	}
}

func TestSignature(t *testing.T) {
	_, lock := locked(t)
	data, err := os.ReadFile(lock.file.Name())
	if err != nil {
		t.Fatal(err)
	}
	if want := fmt.Sprintf("%d %s\n", os.Getpid(), startTime(os.Getpid())); string(data) != want {
		t.Errorf("signed %q, want %q", data, want)
	}
	if !ownerLives(lock.file.Name()) {
		t.Error("this process does not live")
	}
	// A longer signature of an earlier owner leaves nothing behind.
	write(t, lock.file.Name(), strings.Repeat("9", 100)+"\n")
	lock.sign()
	if again, err := os.ReadFile(lock.file.Name()); err != nil || !bytes.Equal(again, data) {
		t.Errorf("signed anew %q, %v", again, err)
	}
}
