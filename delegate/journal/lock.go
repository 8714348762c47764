package journal

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/types"
)

// ErrBusy is the error for a container whose lock another process holds.
var ErrBusy = errors.New("another call holds the lock")

// pollInterval is how often a taken lock is tried again: flock has no deadline.
const pollInterval = 5 * time.Millisecond

// Lock is the right to write the records of one container. Delegates inherit its
// descriptor, so that it stays taken while one of them runs, whatever has become of
// the process that started it.
type Lock struct {
	journal     *Journal
	containerID string
	file        *os.File
}

// Lock takes the lock of a container, waiting until ctx ends. The error is ErrBusy
// if it was taken all the while.
func (j *Journal) Lock(ctx context.Context, containerID string) (*Lock, error) {
	for {
		lock, free, err := j.TryLock(containerID)
		if err != nil || free {
			return lock, err
		}
		select {
		case <-ctx.Done():
			return nil, fmt.Errorf("container %s: %w", containerID, ErrBusy)
		case <-time.After(pollInterval):
		}
	}
}

// TryLock takes the lock of a container if it is free, and tells whether it was.
func (j *Journal) TryLock(containerID string) (*Lock, bool, error) {
	if err := (Key{ContainerID: containerID, Network: "n", IfName: "i"}).check(); err != nil {
		return nil, false, err
	}
	if err := j.makeDir(); err != nil {
		return nil, false, fmt.Errorf("journal: %w", err)
	}
	for {
		file, err := j.openLock(containerID)
		if err != nil {
			return nil, false, err
		}
		switch err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB); {
		case errors.Is(err, unix.EWOULDBLOCK):
			_ = file.Close()
			return nil, false, nil
		case err != nil:
			_ = file.Close()
			return nil, false, fmt.Errorf("lock of container %s: %w", containerID, err)
		}
		// Its last holder may have removed the file between our open and our flock.
		if sameFile(file, j.lockPath(containerID)) {
			lock := &Lock{journal: j, containerID: containerID, file: file}
			lock.sign()
			return lock, true, nil
		}
		_ = file.Close()
	}
}

// devicesLock is the file that is locked while devices are claimed. It stays; no container
// can have its name.
const devicesLock = separator + "devices" + lockSuffix

// LockDevices takes the lock under which who wants a device looks whether another record
// has it, and puts an intent on disk that claims it. It is held for no longer than that:
// no delegate inherits it. The error is ErrBusy if it was taken until ctx ended.
func (j *Journal) LockDevices(ctx context.Context) (release func(), err error) {
	if err := j.makeDir(); err != nil {
		return nil, fmt.Errorf("journal: %w", err)
	}
	file, err := os.OpenFile(filepath.Join(j.dir, devicesLock), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of devices: %w", err)
	}
	for {
		err := unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return func() { _ = file.Close() }, nil
		}
		if errors.Is(err, unix.EWOULDBLOCK) && ctx.Err() == nil {
			time.Sleep(pollInterval)
			continue
		}
		_ = file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			err = ErrBusy
		}
		return nil, fmt.Errorf("lock of devices: %w", err)
	}
}

// makeDir makes the folder and sees to it that it outlives a power cut, as its records
// must.
func (j *Journal) makeDir() error {
	if _, err := os.Stat(j.dir); !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	if err := os.MkdirAll(j.dir, 0o700); err != nil {
		return err
	}
	parent := filepath.Dir(j.dir)
	return errors.Join(syncDir(parent), syncDir(filepath.Dir(parent)))
}

func (j *Journal) openLock(containerID string) (*os.File, error) {
	file, err := os.OpenFile(j.lockPath(containerID), os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock of container %s: %w", containerID, err)
	}
	return file, nil
}

func (j *Journal) lockPath(containerID string) string {
	return filepath.Join(j.dir, containerID+lockSuffix)
}

func sameFile(file *os.File, path string) bool {
	held, err := file.Stat()
	if err != nil {
		return false
	}
	named, err := os.Stat(path)
	return err == nil && os.SameFile(held, named)
}

// sign writes who holds the lock, so that others can tell an orphan of a dead owner
// from an owner that still works. Nothing depends on it being there.
func (l *Lock) sign() {
	pid := os.Getpid()
	_ = l.file.Truncate(0)
	_, _ = l.file.WriteAt(fmt.Appendf(nil, "%d %s\n", pid, startTime(pid)), 0)
}

// startTime is field 22 of /proc/PID/stat, by which a process is told from a later
// one of the same number; "" if there is no such process.
func startTime(pid int) string {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return ""
	}
	// The command, in parentheses, may contain anything; the rest does not.
	_, rest, _ := strings.Cut(string(data[strings.LastIndexByte(string(data), ')')+1:]), " ")
	if fields := strings.Fields(rest); len(fields) > 19 && fields[0] != "Z" {
		return fields[19]
	}
	return ""
}

// File gives the descriptor for delegates to inherit.
func (l *Lock) File() *os.File { return l.file }

// Release gives the lock up. When the container has no record any more, the lock's
// own file goes too.
func (l *Lock) Release() {
	if keys, err := l.journal.OfContainer(l.containerID); err == nil && len(keys) == 0 {
		_ = os.Remove(l.journal.lockPath(l.containerID))
	}
	// What a plugin has left running has the descriptor too: closing ours is not enough.
	_ = unix.Flock(int(l.file.Fd()), unix.LOCK_UN)
	_ = l.file.Close()
}

// Create puts the intent of a record on disk, with its folder, before it returns.
func (l *Lock) Create(key Key, intent types.Intent) error { return l.journal.create(key, intent) }

// Append adds a line to a record, without waiting for the disk.
func (l *Lock) Append(key Key, entry types.Entry) error { return l.journal.appendEntry(key, entry) }

// Touch makes a record look as if it was written to now.
func (l *Lock) Touch(key Key) error {
	now := time.Now()
	if err := os.Chtimes(l.journal.path(key), now, now); err != nil {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// Remove removes a record, and an intent of it that was never whole.
func (l *Lock) Remove(key Key) error {
	killPoint()
	defer killPoint()
	err := l.RemoveLeftover(key)
	if rm := os.Remove(l.journal.path(key)); rm != nil && !errors.Is(rm, fs.ErrNotExist) {
		err = errors.Join(err, fmt.Errorf("%s: %w", key, rm))
	}
	return err
}

// RemoveLeftover removes an intent that was never whole.
func (l *Lock) RemoveLeftover(key Key) error {
	if err := os.Remove(l.journal.path(key) + newSuffix); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("%s: %w", key, err)
	}
	return nil
}

// SetAside renames a record that cannot be read, for people to look at, and gives
// its new path. One that was set aside before gets a number.
func (l *Lock) SetAside(key Key) (string, error) {
	path := l.journal.path(key)
	aside := path + corruptSuffix
	for n := 2; ; n++ {
		if _, err := os.Lstat(aside); errors.Is(err, fs.ErrNotExist) {
			break
		}
		aside = path + corruptSuffix + "." + strconv.Itoa(n)
	}
	if err := os.Rename(path, aside); err != nil {
		return "", fmt.Errorf("%s: set it aside: %w", key, err)
	}
	return aside, nil
}
