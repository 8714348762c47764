package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

const (
	dirMode    = 0o700 // the boundary: a process that may enter decides what root runs
	socketMode = 0o600
	// standbyPause is between two attempts of an agent that waits for another one to end.
	standbyPause = 250 * time.Millisecond
	probeTimeout = time.Second
	// seatPause is between two checks that the served socket is still in place.
	seatPause = 5 * time.Second
)

// seat is the right to answer on a socket. One agent of a node has it at a time.
type seat struct {
	path string
	made os.FileInfo // the socket, to recognise it
	lock *os.File    // held while the seat is
	net.Listener
}

// takeSeat waits until no other agent answers on the socket, and then listens. waiting
// is called once if there is another.
func takeSeat(ctx context.Context, path string, waiting func()) (*seat, error) {
	if err := prepareDir(path); err != nil {
		return nil, err
	}
	lock, err := os.OpenFile(path+".lock", os.O_RDWR|os.O_CREATE, socketMode)
	if err != nil {
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	if err := waitForSeat(ctx, lock, path, waiting); err != nil {
		_ = lock.Close()
		return nil, err
	}
	listener, made, err := listen(path)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return &seat{path: path, made: made, lock: lock, Listener: listener}, nil
}

// prepareDir makes the folder of the socket, for root alone. It narrows an existing folder,
// unless others use it too: /run must stay open.
func prepareDir(path string) error {
	dir := filepath.Dir(path)
	if err := os.MkdirAll(dir, dirMode); err != nil {
		return fmt.Errorf("folder of the socket: %w", err)
	}
	info, err := os.Stat(dir)
	if err != nil {
		return fmt.Errorf("folder of the socket: %w", err)
	}
	if info.Mode().Perm() == dirMode {
		return nil
	}
	entries, err := os.ReadDir(dir)
	if err != nil {
		return fmt.Errorf("folder of the socket: %w", err)
	}
	for _, entry := range entries {
		if !strings.HasPrefix(entry.Name(), filepath.Base(path)) {
			return fmt.Errorf("socket %s: its folder would become root's alone, and %s is in it: give the socket a folder of its own",
				path, filepath.Join(dir, entry.Name()))
		}
	}
	if err := os.Chmod(dir, dirMode); err != nil {
		return fmt.Errorf("folder of the socket: it must be for its owner alone: %w", err)
	}
	return nil
}

func waitForSeat(ctx context.Context, lock *os.File, path string, waiting func()) error {
	for reported := false; ; {
		if host.TryFlock(lock, unix.LOCK_EX) == nil && !answers(ctx, path) && ctx.Err() == nil {
			return nil
		}
		if !reported {
			waiting()
			reported = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(standbyPause):
		}
	}
}

// answers reports whether a process listens on a socket: an agent without the lock, or one
// whose lock was removed. A socket on which none listens is a leftover.
func answers(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		// With any other error, as a full queue, a process listens.
		return !errors.Is(err, unix.ECONNREFUSED) && !errors.Is(err, unix.ENOENT)
	}
	_ = conn.Close()
	return true
}

// listen puts a listening socket in place by a rename: no caller finds one that does not
// listen yet.
func listen(path string) (net.Listener, os.FileInfo, error) {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, nil, err
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(temporary, socketMode)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	made, statErr := os.Lstat(path)
	if err = errors.Join(err, statErr); err != nil {
		_ = listener.Close()
		return nil, nil, err
	}
	return listener, made, nil
}

// leave stops listening, and gives the seat up.
func (s *seat) leave() {
	_ = s.Close()
	if s.isOurs() {
		_ = os.Remove(s.path)
	}
	_ = s.lock.Close()
}

// isOurs reports whether callers still find the socket that was made.
func (s *seat) isOurs() bool {
	now, err := os.Lstat(s.path)
	return err == nil && os.SameFile(now, s.made)
}

// watch returns when ctx ends, or when the socket or its folder was removed.
func (s *seat) watch(ctx context.Context) {
	for ctx.Err() == nil && s.isOurs() {
		pause(ctx, seatPause)
	}
}
