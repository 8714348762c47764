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
)

const (
	dirMode    = 0o700 // the boundary: who may enter may say what root runs
	socketMode = 0o600
	// standbyPause is between two looks of an agent that waits for another one to end.
	standbyPause = 250 * time.Millisecond
	probeTimeout = time.Second
)

// seat is the right to answer on a socket, which one agent of a node has at a time.
type seat struct {
	path string
	lock *os.File // held while the seat is
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
	listener, err := listen(path)
	if err != nil {
		_ = lock.Close()
		return nil, fmt.Errorf("socket %s: %w", path, err)
	}
	return &seat{path: path, lock: lock, Listener: listener}, nil
}

// prepareDir makes the folder of the socket, root's alone. An older one is narrowed,
// unless it is wide and others use it: nobody wants /run for root alone.
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
	for told := false; ; {
		if err := unix.Flock(int(lock.Fd()), unix.LOCK_EX|unix.LOCK_NB); err == nil && !answers(ctx, path) {
			return nil
		}
		if !told {
			waiting()
			told = true
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(standbyPause):
		}
	}
}

// answers tells whether somebody listens on a socket: an agent that knows no lock, or
// whose lock was removed. What nobody listens on is a leftover.
func answers(ctx context.Context, path string) bool {
	ctx, cancel := context.WithTimeout(ctx, probeTimeout)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", path)
	if err != nil {
		// A full queue is somebody's.
		return errors.Is(err, unix.EAGAIN)
	}
	_ = conn.Close()
	return true
}

// listen puts a listening socket in place at once: no caller finds it half made.
func listen(path string) (net.Listener, error) {
	temporary := path + ".new"
	if err := os.Remove(temporary); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: temporary, Net: "unix"})
	if err != nil {
		return nil, err
	}
	listener.SetUnlinkOnClose(false)
	err = os.Chmod(temporary, socketMode)
	if err == nil {
		err = os.Rename(temporary, path)
	}
	if err != nil {
		_ = listener.Close()
		return nil, err
	}
	return listener, nil
}

// leave stops listening, and gives the seat to the next.
func (s *seat) leave() {
	_ = s.Close()
	_ = os.Remove(s.path) // ours: nobody listens anew before the lock is free
	_ = s.lock.Close()
}
