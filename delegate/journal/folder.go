package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

// CannotWrite reports whether an error is of a disk that takes nothing more: full, without
// an inode, over its quota, or read-only.
func CannotWrite(err error) bool {
	return errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT) || errors.Is(err, unix.EROFS)
}

// LockFolder takes the lock of the folder itself, for a release that cannot make the file
// of its container's lock: nobody else has that, then. One such release waits for another,
// until ctx ends; then the error is ErrBusy.
func (j *Journal) LockFolder(ctx context.Context, containerID string) (*Lock, error) {
	dir, err := openExisting(j.dir)
	if err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	if err := host.WaitForLock(ctx, func() error { return host.TryFlock(dir, unix.LOCK_EX) }); err != nil {
		_ = dir.Close()
		return nil, fmt.Errorf("lock of the journal: %w", err)
	}
	return &Lock{journal: j, containerID: containerID, file: dir, isFolder: true}, nil
}

// openExisting opens a folder, or the nearest above it that is there.
func openExisting(path string) (*os.File, error) {
	dir, err := os.Open(path)
	if parent := filepath.Dir(path); errors.Is(err, fs.ErrNotExist) && parent != path {
		return openExisting(parent)
	}
	return dir, err
}
