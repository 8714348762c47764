package journal

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/google/go-cmp/cmp"

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

// A lock without a record is of a call that was killed, or that is at work.
func TestScanOfLocks(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	write(t, j.path(Key{ContainerID: "c2", Network: "n", IfName: "eth0"})+newSuffix, "")
	for _, container := range []string{"c1", "c2", "c3", "c4"} {
		write(t, j.lockPath(container), "")
	}
	write(t, filepath.Join(j.dir, devicesLock), "")
	listing, err := j.Scan()
	slices.Sort(listing.Locks)
	if diff := cmp.Diff([]string{"c3", "c4"}, listing.Locks); diff != "" || err != nil {
		t.Errorf("%v %s", err, diff)
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
