package host

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"

	"golang.org/x/sys/unix"
)

const procfs = "/proc"

// MountNS gives the inode that identifies the mount namespace of this process; 0 if it is
// not known.
func MountNS() uint64 {
	inode, _ := mountNSOf(filepath.Join(procfs, "self"))
	return inode
}

// NetNSHidden reports whether a network namespace that is not at its path may live all the
// same, for those who saw the path in the mount namespace of an inode (0: not known). If that
// is in use and is not ours, the path is looked up there. Else it may live if even the folder
// of its path is missing, as in a container that does not have the folders of the host. A
// folder of /proc goes with its process.
func NetNSHidden(path string, id NetNSID, mountNS uint64) bool {
	if path == "" {
		return false
	}
	if mountNS != 0 && mountNS != MountNS() {
		used := usedMountNS()
		if processes := used.roots[mountNS]; len(processes) > 0 {
			return seenBy(processes, mountNS, path, id)
		}
		if !used.complete {
			return true
		}
	}
	if strings.HasPrefix(path, procfs+"/") {
		return false
	}
	_, err := os.Stat(filepath.Dir(path))
	return err != nil
}

// usedMountNS gives those of all processes. They are looked up once: one call may ask about
// many sandboxes.
var usedMountNS = sync.OnceValue(func() mountNamespaces { return mountNSOfAll(procfs) })

// mountNamespaces are those that processes are in. One that no process is in is gone, and
// with it what was mounted in it.
type mountNamespaces struct {
	// roots gives, by inode, the folder in /proc of one process for each root directory.
	roots    map[uint64]map[rootDir]string
	complete bool // no process is left out
}

// rootDir identifies what a process has as its root: a process may have changed it.
type rootDir struct{ device, inode uint64 }

func mountNSOfAll(proc string) mountNamespaces {
	processes, err := filepath.Glob(filepath.Join(proc, "[0-9]*"))
	found := mountNamespaces{roots: map[uint64]map[rootDir]string{}, complete: err == nil && len(processes) > 0}
	for _, process := range processes {
		var root unix.Stat_t
		inode, err := mountNSOf(process)
		if err == nil {
			err = unix.Stat(filepath.Join(process, "root"), &root)
		}
		switch {
		case gone(err): // it has ended
		case err != nil:
			found.complete = false
		case found.roots[inode] == nil:
			found.roots[inode] = map[rootDir]string{{root.Dev, root.Ino}: process}
		default:
			found.roots[inode][rootDir{root.Dev, root.Ino}] = process
		}
	}
	return found
}

func mountNSOf(process string) (uint64, error) {
	var stat unix.Stat_t
	err := unix.Stat(filepath.Join(process, "ns", "mnt"), &stat)
	return stat.Ino, err
}

// seenBy reports whether one of the processes sees the network namespace at the path. One
// that ended meanwhile may have seen it.
func seenBy(processes map[rootDir]string, mountNS uint64, path string, id NetNSID) bool {
	for _, process := range processes {
		if seenFrom(filepath.Join(process, "root"), path, id) {
			return true
		}
		if now, err := mountNSOf(process); err != nil || now != mountNS {
			return true
		}
	}
	return false
}

// seenFrom looks a path up as a process does that has the root: so are symbolic links, of
// which /var/run may be one.
func seenFrom(root, path string, id NetNSID) bool {
	dir, err := unix.Open(root, unix.O_PATH|unix.O_DIRECTORY|unix.O_CLOEXEC, 0)
	if err != nil {
		return true // not known
	}
	defer func() { _ = unix.Close(dir) }()
	file, err := unix.Openat2(dir, path, &unix.OpenHow{Flags: unix.O_PATH | unix.O_CLOEXEC, Resolve: unix.RESOLVE_IN_ROOT})
	if err != nil {
		return !gone(err)
	}
	defer func() { _ = unix.Close(file) }()
	return NetNSLives(fmt.Sprintf(procfs+"/self/fd/%d", file), id)
}
