package host

import (
	"errors"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"
)

// NetNS gives the inode that identifies the network namespace at path, and whether
// there is one: a file that is left over where a namespace was mounted is none. The inode
// is 0 where the path cannot be looked at, for another reason than that it is gone.
//
// ns.IsNSorErr of the CNI plugins takes any file of /proc for a namespace, and does not
// say which error it saw.
func NetNS(path string) (inode uint64, exists bool) {
	if path == "" {
		return 0, false
	}
	var fs unix.Statfs_t
	var stat unix.Stat_t
	err := unix.Statfs(path, &fs)
	if err == nil && fs.Type != unix.NSFS_MAGIC {
		return 0, false
	}
	if err == nil {
		err = unix.Stat(path, &stat)
	}
	if gone(err) {
		return 0, false
	}
	return stat.Ino, true // any other error says nothing: what may live is not released
}

func gone(err error) bool {
	return errors.Is(err, unix.ENOENT) || errors.Is(err, unix.ENOTDIR) || errors.Is(err, unix.ESRCH)
}

// NetNSLives reports whether the network namespace at path is still the one of the
// inode. An inode of 0 is not known, and then any namespace at the path will do.
func NetNSLives(path string, inode uint64) bool {
	now, exists := NetNS(path)
	return exists && (inode == 0 || now == 0 || now == inode)
}

// NetNSHidden reports whether even the folder of a namespace's path is missing, as in a
// container that does not have the folders of the host: then the namespace may live all
// the same. A folder of /proc goes with its process, and hides nothing.
func NetNSHidden(path string) bool {
	if path == "" || strings.HasPrefix(path, "/proc/") {
		return false
	}
	_, err := os.Stat(filepath.Dir(path))
	return err != nil
}
