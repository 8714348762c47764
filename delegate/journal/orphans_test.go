package journal

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// holding is a process that has inherited a lock, with a child that has closed it.
type holding struct {
	*exec.Cmd
	child int
}

// holder starts a process, in a group of its own, that inherits a file, the lock's, and comes
// back when it runs.
func holder(t *testing.T, file *os.File, environ ...string) *holding {
	t.Helper()
	child := &holding{Cmd: exec.CommandContext(t.Context(), "/bin/sh", "-c", "sleep 1000 3>&- & echo $!; wait")}
	child.Env = append([]string{"PATH=/usr/bin:/bin"}, environ...)
	child.SysProcAttr = &unix.SysProcAttr{Setpgid: true}
	child.Cancel = func() error { return unix.Kill(-child.Process.Pid, unix.SIGKILL) }
	if file != nil {
		child.ExtraFiles = []*os.File{file}
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
	orphan := holder(t, lock.File(), DelegateEnv+"=c1")
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
			orphan := holder(t, lock.File(), DelegateEnv+"=c1")
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
	if killed, err := j.killOrphans("c1"); err != nil || killed {
		t.Fatal(killed, err)
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
	spared(t, j, holder(t, lock.File(), DelegateEnv+"=c1"))
}

// Whoever holds the lock was started by the call that took it, whatever is in its
// environment: a daemon that begins with "env -i", a plugin that cleans it before it works.
func TestLockOverOrphansKillsWithoutAMark(t *testing.T) {
	for name, environ := range map[string][]string{
		"none":                      nil,
		"another container's":       {DelegateEnv + "=c2"},
		"the variable in a value":   {"X=" + DelegateEnv + "=c1"},
		"a variable that ends like": {"X" + DelegateEnv + "=c1"},
	} {
		t.Run(name, func(t *testing.T) {
			j, lock := locked(t)
			create(t, lock, testKey)
			orphan := holder(t, lock.File(), environ...)
			deadOwner(t, lock)
			taken, err := j.LockOverOrphans(t.Context(), "c1", 0)
			if err != nil {
				t.Fatal(err)
			}
			taken.Release()
			check.Ends(t, orphan.Process.Pid)
			check.Ends(t, orphan.child)
		})
	}
}

// Another plexus that waits for the lock has its file open too; and so has a daemon that a
// plugin of an earlier call has left, and that bears the container's mark.
func TestLockOverOrphansSparesWhoHasTheFileOpen(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	daemon := holder(t, lock.File(), DelegateEnv+"=c1", RunEnv+"="+NewRun())
	lock.Release()
	file, err := os.OpenFile(j.lockPath("c1"), os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer file.Close()
	waiting := holder(t, file, DelegateEnv+"=c1")
	lock = take(t, j, "c1")
	orphan := holder(t, lock.File(), DelegateEnv+"=c1")
	deadOwner(t, lock)
	taken, err := j.LockOverOrphans(t.Context(), "c1", 0)
	if err != nil {
		t.Fatal(err)
	}
	taken.Release()
	check.Ends(t, orphan.Process.Pid)
	for name, child := range map[string]*holding{"the daemon": daemon, "who waits": waiting} {
		if !lives(child.Process.Pid) || !lives(child.child) {
			t.Errorf("%s was killed", name)
		}
	}
}

// A delegate of the container that does not hold the lock is not in the way.
func TestLockOverOrphansSparesWhoDoesNotHoldIt(t *testing.T) {
	j, lock := locked(t)
	orphan := holder(t, lock.File(), DelegateEnv+"=c1")
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
	if killed, err := j.killOrphans("c1"); err != nil || killed {
		t.Errorf("got %v, %v", killed, err)
	}
}

func TestHolders(t *testing.T) {
	j, lock := locked(t)
	child := holder(t, lock.File())
	other := take(t, New(filepath.Join(t.TempDir(), "other")), "c1") // of the same name
	holder(t, other.File())
	found, err := holders(j.lockPath("c1"))
	if err != nil {
		t.Fatal(err)
	}
	// Not this process, nor one that has closed the file, nor the other's.
	want := []lockHolder{{pid: child.Process.Pid, fd: "3", owner: os.Getpid()}}
	if diff := cmp.Diff(want, found, cmp.AllowUnexported(lockHolder{})); diff != "" {
		t.Error(diff)
	}
	if !found[0].stillHolds() || found[0].isOwner() {
		t.Error("it does not hold the lock that this process took")
	}
	lock.Release()
	if found, err = holders(j.lockPath("c1")); !errors.Is(err, fs.ErrNotExist) || len(found) != 0 {
		t.Errorf("after the release: %v, %v", found, err)
	}
}

// ownerOf starts a process that takes the lock of container c1, signs it with these words
// instead of its own, and waits. It is this executable, run again.
func ownerOf(t *testing.T, dir, signature string) *exec.Cmd {
	t.Helper()
	child := exec.CommandContext(t.Context(), os.Args[0])
	child.Env = append(os.Environ(), "OWNER_OF="+dir, "OWNER_SIGNATURE="+signature)
	stdout, err := child.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := child.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = child.Process.Kill()
		_ = child.Wait()
	})
	if line, err := bufio.NewReader(stdout).ReadString('\n'); err != nil || line != "locked\n" {
		t.Fatalf("the owner says %q, %v", line, err)
	}
	return child
}

// TestMain makes this executable another process that wants a lock, where the environment
// says so.
func TestMain(m *testing.M) {
	var err error
	switch {
	case os.Getenv("OWNER_OF") != "":
		err = ownLock(New(os.Getenv("OWNER_OF")))
	case os.Getenv("CALLER_OF") != "":
		err = takeInTurn(New(os.Getenv("CALLER_OF")), os.Getenv("CALLER_INSIDE"))
	default:
		os.Exit(m.Run())
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
}

// ownLock is the process of ownerOf.
func ownLock(j *Journal) error {
	lock, err := j.tryLock("c1")
	if err != nil {
		return err
	}
	if err := os.WriteFile(lock.file.Name(), []byte(os.Getenv("OWNER_SIGNATURE")), 0o600); err != nil {
		return err
	}
	fmt.Println("locked")
	select {}
}

// A caller that has the lock and has not signed it, or could not on a full disk, lives all
// the same: the kernel knows who took the lock.
func TestLockOverOrphansSparesAnOwnerWithoutItsSignature(t *testing.T) {
	for name, signature := range map[string]string{"none": "", "of the one before": "1 1\n"} {
		t.Run(name, func(t *testing.T) {
			j := New(t.TempDir())
			owner := ownerOf(t, j.dir, signature)
			if killed, err := j.killOrphans("c1"); err != nil || killed || !lives(owner.Process.Pid) {
				t.Errorf("killed %v, %v", killed, err)
			}
		})
	}
}

// startedBy gives the environment of what a call of this signature has started.
func startedBy(pid int, start, containerID string) []string {
	return []string{DelegateEnv + "=" + containerID, RunEnv + "=" + callOf(pid, start) + "1"}
}

// What a killed call left may have closed the lock's descriptor, as Python does for each
// process that it starts. It is ended by whoever takes the lock next.
func TestLockEndsWhatAKilledCallLeft(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	gone := exec.CommandContext(t.Context(), "/bin/true")
	if err := gone.Run(); err != nil {
		t.Fatal(err)
	}
	pid, start := gone.Process.Pid, "12345"
	left := holder(t, nil, startedBy(pid, start, "c1")...)
	spared := map[string]*holding{
		"another container's": holder(t, nil, startedBy(pid, start, "c2")...),
		"another call's":      holder(t, nil, startedBy(pid, "1234", "c1")...),
		"a later call's":      holder(t, nil, startedBy(pid, start+"6", "c1")...),
		"one without a run":   holder(t, nil, DelegateEnv+"=c1"),
	}
	owned(t, lock, fmt.Sprintf("%d %s\n", pid, start))
	take(t, j, "c1").Release()
	check.Ends(t, left.Process.Pid)
	check.Ends(t, left.child)
	for name, child := range spared {
		if !lives(child.Process.Pid) {
			t.Errorf("%s was killed", name)
		}
	}
}

// What a call has left that gave its lock up lives on, whatever becomes of a later call.
func TestLockSparesWhatAnEndedCallLeft(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	daemon := holder(t, nil, startedBy(os.Getpid(), startTime(os.Getpid()), "c1")...)
	lock.Release()
	if data, err := os.ReadFile(j.lockPath("c1")); err != nil || !strings.HasSuffix(string(data), "\nended\n") {
		t.Fatalf("still signed %q, %v", data, err)
	}
	take(t, j, "c1").Release()
	if !lives(daemon.Process.Pid) {
		t.Error("it was killed")
	}
}

// A call for another container ends orphans too, but neither waits for a caller that still
// works nor ends what may come to its end by itself.
func TestTryLockOverOrphans(t *testing.T) {
	const patience = time.Hour
	for name, c := range map[string]struct {
		living bool          // the owner
		age    time.Duration // of its signature
		want   bool
	}{
		"an orphan":                     {age: 2 * patience, want: true},
		"one of a clock that went back": {age: -2 * patience, want: true},
		"one that has just begun":       {age: patience / 2},
		"a delegate of a living owner":  {age: 2 * patience, living: true},
	} {
		t.Run(name, func(t *testing.T) {
			j, lock := locked(t)
			create(t, lock, testKey)
			orphan := holder(t, lock.File(), DelegateEnv+"=c1")
			if !c.living {
				deadOwner(t, lock)
			}
			signed := time.Now().Add(-c.age)
			if err := os.Chtimes(j.lockPath("c1"), signed, signed); err != nil {
				t.Fatal(err)
			}
			taken, free, err := j.TryLockOverOrphans("c1", patience)
			if err != nil || free != c.want || free != !lives(orphan.Process.Pid) {
				t.Errorf("taken %v, %v, the orphan lives: %v", free, err, lives(orphan.Process.Pid))
			}
			if free {
				taken.Release()
			}
		})
	}
}

// Processes that want a lock that an orphan holds end it together, and then have the lock
// one after the other.
func TestLockOverOrphansByMany(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	orphan := holder(t, lock.File())
	deadOwner(t, lock)
	inside := filepath.Join(t.TempDir(), "inside")
	var all []*exec.Cmd
	for range 4 {
		child := exec.CommandContext(t.Context(), os.Args[0])
		child.Env = append(os.Environ(), "CALLER_OF="+j.dir, "CALLER_INSIDE="+inside)
		child.Stderr = os.Stderr
		if err := child.Start(); err != nil {
			t.Fatal(err)
		}
		all = append(all, child)
	}
	for _, child := range all {
		if err := child.Wait(); err != nil {
			t.Errorf("one of the callers: %v", err)
		}
	}
	check.Ends(t, orphan.Process.Pid)
}

// takeInTurn is a process of TestLockOverOrphansByMany: it takes the lock many times, and
// looks whether it is alone.
func takeInTurn(j *Journal, inside string) error {
	for range 50 {
		lock, err := j.LockOverOrphans(context.Background(), "c1", 0)
		if err != nil {
			return err
		}
		file, err := os.OpenFile(inside, os.O_CREATE|os.O_EXCL, 0o600)
		if err != nil {
			return fmt.Errorf("another has the lock: %w", err)
		}
		if err := errors.Join(file.Close(), os.Remove(inside)); err != nil {
			return err
		}
		lock.Release()
	}
	return nil
}
