package journal

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// ErrBusy is the error for a container, or for devices, whose lock another call holds.
var ErrBusy = host.ErrLocked

// Lock is the right to write the records of one container. Delegates inherit its
// descriptor, so that it stays taken while one of them runs, whatever has become of
// the process that started it.
type Lock struct {
	journal     *Journal
	containerID string
	file        *os.File // the lock's own, else the folder
	// stays tells to leave the lock's file where it is: the container has a record. Where
	// that cannot be told without listing the folder, the file goes; the next call makes it
	// anew.
	stays bool
	// isFolder tells that the folder itself is locked.
	isFolder bool
}

// Lock takes the lock of a container, waiting until ctx ends. The error is ErrBusy
// if it was taken all the while.
func (j *Journal) Lock(ctx context.Context, containerID string) (lock *Lock, err error) {
	err = host.WaitForLock(ctx, func() error {
		lock, err = j.tryLock(containerID)
		return err
	})
	return lock, err
}

// TryLock takes the lock of a container if it is free, and reports whether it was.
func (j *Journal) TryLock(containerID string) (*Lock, bool, error) {
	lock, err := j.tryLock(containerID)
	if errors.Is(err, ErrBusy) {
		return nil, false, nil
	}
	return lock, err == nil, err
}

func (j *Journal) tryLock(containerID string) (*Lock, error) {
	if err := (Key{ContainerID: containerID, Network: "n", IfName: "i"}).check(); err != nil {
		return nil, err
	}
	if err := host.MakeDir(j.dir); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	file, err := host.TryLockFile(j.lockPath(containerID))
	if err != nil {
		return nil, fmt.Errorf("lock of container %s: %w", containerID, err)
	}
	lock := &Lock{journal: j, containerID: containerID, file: file, stays: !isNew(file)}
	if !lock.endUnfinished() {
		_ = file.Close()
		return nil, fmt.Errorf("lock of container %s: %w: what a killed call left still runs", containerID, ErrBusy)
	}
	lock.sign()
	host.KillPoint()
	return lock, nil
}

// isNew reports whether nobody has held a lock before: there is no signature in its file.
func isNew(file *os.File) bool {
	info, err := file.Stat()
	return err == nil && info.Size() == 0
}

// devicesLock is the file that is locked while devices are claimed. It stays; no container
// can have its name.
const devicesLock = separator + "devices" + lockSuffix

// LockDevices takes the lock under which a call that wants a device checks whether another
// record has it, and puts an intent on disk that claims it. It is held for no longer than
// that: no delegate inherits it. The error is ErrBusy if it was taken until ctx ended.
func (j *Journal) LockDevices(ctx context.Context) (release func(), err error) {
	if err := host.MakeDir(j.dir); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	file, err := host.LockFile(ctx, filepath.Join(j.dir, devicesLock))
	if err != nil {
		return nil, fmt.Errorf("lock of devices: %w", err)
	}
	return func() { _ = file.Close() }, nil
}

func (j *Journal) lockPath(containerID string) string {
	return filepath.Join(j.dir, containerID+lockSuffix)
}

// sign writes which process holds the lock, by which others distinguish an orphan of a
// dead owner from an owner that still works, and find what a killed call has left. Every
// version of Plexus reads these two words, and no more.
func (l *Lock) sign() {
	pid := os.Getpid()
	_ = l.file.Truncate(0)
	_, _ = l.file.WriteAt(fmt.Appendf(nil, "%d %s\n", pid, startTime(pid)), 0)
}

// endSignature notes that the holder has given the lock up, and was not killed: what it has
// left running may live on. One write: after a kill it is there, or it is not.
func (l *Lock) endSignature() {
	host.KillPoint()
	if info, err := l.file.Stat(); err == nil {
		_, _ = l.file.WriteAt([]byte("ended\n"), info.Size())
	}
	host.KillPoint()
}

// startTime distinguishes a process from a later one of the same number; "" if there is no
// such process, or it has ended.
func startTime(pid int) string {
	p, exists := host.ProcessOf(pid)
	if !exists || p.Ended {
		return ""
	}
	return strconv.FormatUint(p.Start, 10)
}

// File gives the descriptor for delegates to inherit.
func (l *Lock) File() *os.File { return l.file }

// Release gives the lock up. When the container has no record any more, the lock's
// own file goes too.
func (l *Lock) Release() {
	if !l.isFolder {
		l.endSignature()
	}
	if !l.stays && !l.isFolder {
		_ = os.Remove(l.journal.lockPath(l.containerID))
	}
	// What a plugin has left running has the descriptor too: closing ours is not enough.
	_ = unix.Flock(int(l.file.Fd()), unix.LOCK_UN)
	_ = l.file.Close()
}

// Discard gives the lock up and removes its file, whatever records the container has: the
// next call makes it anew.
func (l *Lock) Discard() {
	l.stays = false
	l.Release()
}

// Create puts the intent of a record on disk, with its folder, before it returns.
func (l *Lock) Create(key Key, intent types.Intent) error {
	err := l.journal.create(key, intent)
	l.stays = l.stays || err == nil
	return err
}

// Append adds a line to a record, without waiting for the disk.
func (l *Lock) Append(key Key, entry types.Entry) error { return l.journal.appendEntry(key, entry) }

// Touch sets the time of a record's file to now.
func (l *Lock) Touch(key Key) error {
	now := time.Now()
	if err := os.Chtimes(l.journal.path(key), now, now); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// Remove removes a record, and an intent of it that was never whole.
func (l *Lock) Remove(key Key) error {
	host.KillPoint()
	defer host.KillPoint()
	path := l.journal.path(key)
	return l.gone(key, host.RemoveFiles(path+newSuffix, path))
}

// RemoveLeftover removes an intent that was never whole.
func (l *Lock) RemoveLeftover(key Key) error {
	path := l.journal.path(key)
	err := host.RemoveFiles(path + newSuffix)
	if _, missing := os.Lstat(path); missing == nil && err == nil {
		return nil // an older record of the same name
	}
	return l.gone(key, err)
}

// gone notes that a record is not there any more.
func (l *Lock) gone(key Key, err error) error {
	if err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	l.stays = false
	return nil
}

// SetAside renames a record that cannot be read (host.Corrupt), or whose sandbox cannot be
// released (host.GivenUp), for people to look at, and gives its new path.
func (l *Lock) SetAside(key Key, suffix string) (string, error) {
	aside, err := host.SetAside(l.journal.path(key), suffix)
	if err != nil {
		return "", fmt.Errorf("%s: set it aside: %w", key, err)
	}
	l.stays = false
	return aside, nil
}
