package host

import (
	"os"

	"golang.org/x/sys/unix"
)

// FileID changes with a file and with its content: the kernel sets the time of the last
// change.
type FileID struct {
	device, inode  uint64
	size           int64
	changed, wrote unix.Timespec
}

// FileIDOf identifies the file that a path leads to.
func FileIDOf(path string) (FileID, error) {
	var stat unix.Stat_t
	if err := unix.Stat(path, &stat); err != nil {
		return FileID{}, &os.PathError{Op: "stat", Path: path, Err: err}
	}
	return FileID{device: stat.Dev, inode: stat.Ino, size: stat.Size, changed: stat.Ctim, wrote: stat.Mtim}, nil
}
