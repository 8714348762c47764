package host

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// mounted mounts a new network namespace at a path of a folder that goes with the test.
func mounted(t *testing.T, path string) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("network namespaces need root: run make test-netns as root")
	}
	file, err := os.OpenFile(path, os.O_CREATE, 0o600)
	check.Must(t, err)
	check.Must(t, file.Close())
	check.Must(t, mountNew(path))
	t.Cleanup(func() { _ = unix.Unmount(path, unix.MNT_DETACH) })
}

// mountNew makes a namespace, on a thread that goes back to its own.
func mountNew(path string) error {
	runtime.LockOSThread()
	own, err := os.Open("/proc/thread-self/ns/net")
	if err != nil {
		return err
	}
	defer own.Close()
	if err := unix.Unshare(unix.CLONE_NEWNET); err != nil {
		return err
	}
	err = unix.Mount("/proc/thread-self/ns/net", path, "", unix.MS_BIND, "")
	if back := unix.Setns(int(own.Fd()), unix.CLONE_NEWNET); back != nil {
		return back
	}
	runtime.UnlockOSThread()
	return err
}

func bind(t *testing.T, command ...string) {
	t.Helper()
	if out, err := exec.Command(command[0], command[1:]...).CombinedOutput(); err != nil {
		t.Fatalf("%v: %v: %s", command, err, out)
	}
}

func identified(t *testing.T, path string) NetNSID {
	t.Helper()
	id, exists := IdentifyNetNS(path)
	if !exists || id.Inode == 0 || id.Changed == 0 {
		t.Fatalf("%s: %+v, %v", path, id, exists)
	}
	if id.Cookie == 0 && !oldKernel(t) {
		t.Fatalf("%s has no cookie", path)
	}
	return id
}

// oldKernel reports whether the kernel is older than cookies are.
func oldKernel(t *testing.T) bool {
	t.Helper()
	var name unix.Utsname
	check.Must(t, unix.Uname(&name))
	var major, minor int
	_, err := fmt.Sscanf(unix.ByteSliceToString(name.Release[:]), "%d.%d", &major, &minor)
	check.Must(t, err)
	return major < 5 || major == 5 && minor < 14
}

// The kernel gives the inode of a namespace that is gone to the next: the cookie, or in an
// older kernel nothing, tells them apart.
func TestNetnsNextNamespaceOfTheSameInode(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ns")
	mounted(t, path)
	now := identified(t, path)
	ended := map[uint64]NetNSID{} // by inode: other tests take inodes too
	for range 5000 {
		if _, again := ended[now.Inode]; again {
			break
		}
		ended[now.Inode] = now
		check.Must(t, unix.Unmount(path, unix.MNT_DETACH))
		check.Must(t, mountNew(path))
		now = identified(t, path)
	}
	old, again := ended[now.Inode]
	check.Equal(t, "an inode came again", again, true)
	check.Equal(t, "the old one lives", NetNSLives(path, old), oldKernel(t))
	check.Equal(t, "the new one lives", NetNSLives(path, now), true)
	old.Cookie = 0
	check.Equal(t, "of an older record, as far as can be told", NetNSLives(path, old), true)
}

// A namespace that is mounted again, or whose file nobody holds open, gets a new file: the
// time of the file is another, and the namespace is the same.
func TestNetnsNamespaceOfANewFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ns")
	mounted(t, path)
	id := identified(t, path)
	process := exec.Command("nsenter", "--net="+path, "sleep", "600")
	check.Must(t, process.Start())
	t.Cleanup(func() {
		_ = process.Process.Kill()
		_ = process.Wait()
	})
	ofProcess := fmt.Sprintf("/proc/%d/ns/net", process.Process.Pid)
	for inode := uint64(0); inode != id.Inode; inode, _ = NetNS(ofProcess) { // until it has entered
	}
	check.Must(t, unix.Unmount(path, unix.MNT_DETACH))
	var now NetNSID
	for now = identified(t, ofProcess); now.Changed == id.Changed; now = identified(t, ofProcess) { // until the clock ticks
	}
	check.Equal(t, "it lives, by its process", NetNSLives(ofProcess, id), true)
	bind(t, "mount", "--bind", ofProcess, path)
	check.Equal(t, "it lives, mounted again", NetNSLives(path, id), true)
	check.Equal(t, "cookie", identified(t, path).Cookie, id.Cookie)
}

// Reading a cookie enters another namespace: afterwards every thread is in its own again.
func TestNetnsIdentifyLeavesNoThreadInside(t *testing.T) {
	path := filepath.Join(t.TempDir(), "ns")
	mounted(t, path)
	inside := identified(t, path).Inode
	for range 100 {
		identified(t, path)
	}
	threads, err := filepath.Glob("/proc/self/task/*/ns/net")
	check.Must(t, err)
	for _, thread := range threads {
		if inode, exists := NetNS(thread); exists && inode == inside {
			t.Errorf("%s is inside", thread)
		}
	}
}
