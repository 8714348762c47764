package host

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"time"

	"golang.org/x/sys/unix"
)

// ErrLocked is the error for a lock that somebody else holds.
var ErrLocked = errors.New("another call holds the lock")

// lockInterval is how often a taken lock is tried again: flock has no deadline.
const lockInterval = 5 * time.Millisecond

// TryFlock takes the lock of an open file, exclusive (unix.LOCK_EX) or shared
// (unix.LOCK_SH). The error is ErrLocked if that has to wait.
func TryFlock(file *os.File, how int) error {
	err := unix.Flock(int(file.Fd()), how|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		err = ErrLocked
	}
	if err != nil {
		return fmt.Errorf("%s: %w", file.Name(), err)
	}
	return nil
}

// TryLockFile opens the file at path, makes it if need be (mode 0600), and takes its
// lock, which closing the file gives up. The file that it gives is the one that has the
// name: a holder may remove its file before it gives the lock up. The error is ErrLocked
// if somebody else holds the lock.
func TryLockFile(path string) (*os.File, error) {
	for {
		file, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		if err := TryFlock(file, unix.LOCK_EX); err != nil {
			_ = file.Close()
			return nil, err
		}
		if IsFileAt(file, path) {
			return file, nil
		}
		_ = file.Close()
	}
}

// IsFileAt reports whether an open file is the one that has the name.
func IsFileAt(file *os.File, path string) bool {
	open, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(open, named)
}

// LockFile is TryLockFile that waits until ctx ends. Then the error is ErrLocked, and the
// cause of the end.
func LockFile(ctx context.Context, path string) (file *os.File, err error) {
	err = WaitForLock(ctx, func() error {
		file, err = TryLockFile(path)
		return err
	})
	return file, err
}

// WaitForLock tries to take a lock until that gives another error than ErrLocked, or
// none, or until ctx ends: then the error is ErrLocked, and the cause of the end. It
// tries once in any case.
func WaitForLock(ctx context.Context, try func() error) error {
	ticker := time.NewTicker(lockInterval)
	defer ticker.Stop()
	for {
		err := try()
		if !errors.Is(err, ErrLocked) {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("%w: %w", err, context.Cause(ctx))
		case <-ticker.C:
		}
	}
}

// TryLockDir takes the lock of a folder, exclusive (unix.LOCK_EX) or shared
// (unix.LOCK_SH). The folder itself is the lock: nothing stays behind. The error is
// ErrLocked if that has to wait.
func TryLockDir(path string, how int) (release func(), err error) {
	dir, err := os.Open(path)
	if err != nil {
		return nil, err
	}
	if err := TryFlock(dir, how); err != nil {
		_ = dir.Close()
		return nil, err
	}
	return func() { _ = dir.Close() }, nil
}

// LockDir is TryLockDir that waits until ctx ends. Then the error is ErrLocked, and the
// cause of the end.
func LockDir(ctx context.Context, path string, how int) (release func(), err error) {
	err = WaitForLock(ctx, func() error {
		release, err = TryLockDir(path, how)
		return err
	})
	return release, err
}

// MakeDir makes a folder, root's alone, with those above it, and sees to it that it
// outlives a power cut. One that is there is left as it is.
func MakeDir(path string) error {
	if _, err := os.Stat(path); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(path, 0o700); err != nil {
		return err
	}
	parent := parentOf(path)
	return errors.Join(SyncDir(parent), SyncDir(parentOf(parent)))
}
