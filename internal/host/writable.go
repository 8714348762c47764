package host

import (
	"errors"
	"fmt"
	"io/fs"
	"os"

	"golang.org/x/sys/unix"
)

// What a disk must have left before it is believed without a try. A file system keeps blocks
// for itself that it counts as free.
const (
	enoughBytes  = 16 << 20
	enoughInodes = 64
)

// CheckWritable reports why no file can be made in a folder, which need not be there yet. It
// writes only on a disk that is nearly full, and then a file without a name, of which nothing
// stays.
func CheckWritable(dir string) error {
	there, err := firstThere(dir)
	if err != nil {
		return err
	}
	// The kernel's word on read-only file systems and immutable folders, which a mode does not show.
	switch err := unix.Access(there, unix.W_OK|unix.X_OK); {
	case errors.Is(err, unix.EROFS):
		return fmt.Errorf("%s: %w: mount it writable again (the kernel's log says why it is not)", there, err)
	case err != nil:
		return fmt.Errorf("%s: no file can be made in this folder: %w", there, err)
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(there, &disk); err != nil {
		return fmt.Errorf("%s: %w", there, err)
	}
	if hasRoom(&disk) {
		return nil
	}
	err = tryToWrite(there)
	if unsupported := errors.Is(err, unix.EOPNOTSUPP) || errors.Is(err, unix.EISDIR); unsupported && disk.Blocks > 0 {
		return nil // a disk without such files: it cannot be known
	}
	if err != nil {
		return fmt.Errorf("%s: no file can be written in this folder: %w: make room on its disk (df, df -i), or name a folder of another", there, err)
	}
	return nil
}

// firstThere gives the folder, or the nearest one above it that is there.
func firstThere(dir string) (string, error) {
	for {
		info, err := os.Stat(dir)
		switch {
		case err == nil && !info.IsDir():
			return "", fmt.Errorf("%s: is not a folder: remove it, or name another", dir)
		case err == nil:
			return dir, nil
		case errors.Is(err, unix.ENOTDIR):
		case !errors.Is(err, fs.ErrNotExist):
			return "", err
		default:
			if _, err := os.Lstat(dir); err == nil {
				return "", fmt.Errorf("%s: is a link to what is not there: remove it, or make what it leads to", dir)
			}
		}
		if parentOf(dir) == dir {
			return "", err
		}
		dir = parentOf(dir)
	}
}

// hasRoom reports whether a disk says that it is far from full. One that does not count
// inodes says that it has none at all.
func hasRoom(disk *unix.Statfs_t) bool {
	return disk.Bavail >= enoughBytes/uint64(disk.Bsize) && (disk.Files == 0 || disk.Ffree >= enoughInodes)
}

// tryToWrite writes a block into a file that has no name.
func tryToWrite(dir string) error {
	const flags = unix.O_TMPFILE | unix.O_WRONLY | unix.O_CLOEXEC
	fd, err := Retried(unix.EINTR, func() (int, error) { return unix.Open(dir, flags, 0o600) })
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(fd) }()
	_, err = Retried(unix.EINTR, func() (int, error) { return unix.Write(fd, make([]byte, 4<<10)) })
	return err
}
