package agent

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// sit takes a seat in the background.
func sit(ctx context.Context, path string) (taken <-chan *seat, failed <-chan error, waits *atomic.Int32) {
	seats, errs, waits := make(chan *seat, 1), make(chan error, 1), &atomic.Int32{}
	go func() {
		s, err := takeSeat(ctx, path, func() { waits.Add(1) })
		if err != nil {
			errs <- err
			return
		}
		seats <- s
	}()
	return seats, errs, waits
}

func awaitWaiting(t *testing.T, waits *atomic.Int32) {
	t.Helper()
	check.Eventually(t, "it to wait", patience, func() error {
		if waits.Load() == 0 {
			return errors.New("it does not")
		}
		return nil
	})
}

func awaitSeat(t *testing.T, taken <-chan *seat, failed <-chan error) *seat {
	t.Helper()
	select {
	case s := <-taken:
		t.Cleanup(s.leave)
		return s
	case err := <-failed:
		t.Fatal(err)
	case <-t.Context().Done():
	}
	return nil
}

// listens demands that the seat listens on a path.
func listens(t *testing.T, s *seat) {
	t.Helper()
	conn, err := net.Dial("unix", s.path)
	check.Must(t, err)
	defer conn.Close()
	accepted, err := s.Accept()
	check.Must(t, err)
	_ = accepted.Close()
}

func TestSeatModes(t *testing.T) {
	dir := filepath.Join(socketDir(t), "run")
	check.Must(t, os.Mkdir(dir, 0o755))
	check.Must(t, os.Chmod(dir, 0o777)) // whatever the umask is
	path := filepath.Join(dir, "s")
	taken, failed, _ := sit(t.Context(), path)
	s := awaitSeat(t, taken, failed)
	listens(t, s)
	for path, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, path: fs.ModeSocket | 0o600, path + ".lock": 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	s.leave()
	if _, err := os.Lstat(path); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("after it has left: %v", err)
	}
}

// Whatever is at the path and does not listen is replaced, where it can be.
func TestSeatLeftovers(t *testing.T) {
	for name, leave := range map[string]func(t *testing.T, path string){
		"a socket": func(t *testing.T, path string) {
			listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
			check.Must(t, err)
			listener.SetUnlinkOnClose(false)
			check.Must(t, listener.Close())
		},
		"a file":               func(t *testing.T, path string) { check.Must(t, os.WriteFile(path, []byte("x"), 0o600)) },
		"a link to nothing":    func(t *testing.T, path string) { check.Must(t, os.Symlink("nowhere", path)) },
		"a half-made socket":   func(t *testing.T, path string) { check.Must(t, os.WriteFile(path+".new", nil, 0o600)) },
		"the lock of the dead": func(t *testing.T, path string) { check.Must(t, os.WriteFile(path+".lock", nil, 0o600)) },
	} {
		t.Run(name, func(t *testing.T) {
			path := filepath.Join(socketDir(t), "s")
			leave(t, path)
			taken, failed, _ := sit(t.Context(), path)
			listens(t, awaitSeat(t, taken, failed))
		})
	}
}

// The second waits until the first has left, and reports once that it waits.
func TestSeatIsForOne(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	taken, failed, _ := sit(t.Context(), path)
	first := awaitSeat(t, taken, failed)
	taken, failed, waits := sit(t.Context(), path)
	awaitWaiting(t, waits)
	listens(t, first)
	first.leave()
	second := awaitSeat(t, taken, failed)
	listens(t, second)
	if got := waits.Load(); got != 1 {
		t.Errorf("it reported %d times that it waits", got)
	}
}

// Whoever listens without the lock is waited for, not robbed.
func TestSeatOfAStranger(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	stranger, err := net.Listen("unix", path)
	check.Must(t, err)
	taken, failed, waits := sit(t.Context(), path)
	awaitWaiting(t, waits)
	conn, err := net.Dial("unix", path)
	check.Must(t, err)
	_ = conn.Close()
	check.Must(t, stranger.Close())
	listens(t, awaitSeat(t, taken, failed))
}

func TestSeatWaitEnds(t *testing.T) {
	path := filepath.Join(socketDir(t), "s")
	stranger, err := net.Listen("unix", path)
	check.Must(t, err)
	defer stranger.Close()
	ctx, cancel := context.WithCancel(t.Context())
	taken, failed, waits := sit(ctx, path)
	awaitWaiting(t, waits)
	cancel()
	select {
	case err := <-failed:
		if !errors.Is(err, context.Canceled) {
			t.Error(err)
		}
	case <-taken:
		t.Error("it has taken what is another's")
	}
}

func TestSeatImpossible(t *testing.T) {
	file := filepath.Join(socketDir(t), "file")
	check.Must(t, os.WriteFile(file, nil, 0o600))
	directory := filepath.Join(socketDir(t), "s")
	check.Must(t, os.Mkdir(directory, 0o700))
	for name, path := range map[string]string{"its folder is a file": filepath.Join(file, "s"), "it is a folder": directory} {
		if s, err := takeSeat(t.Context(), path, func() { t.Error(name + ": it waits") }); err == nil {
			t.Errorf("%s: %v", name, s.path)
		} else if fmt.Sprint(err) == "" {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// An agent that ends leaves the socket of another one alone, whose lock was removed.
func TestLeaveSparesTheSocketOfAnother(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "agent.sock")
	waiting := func() { t.Error("it waits") }
	first, err := takeSeat(t.Context(), path, waiting)
	check.Must(t, err)
	check.Must(t, first.Close()) // it drains
	check.Must(t, os.Remove(path+".lock"))
	second, err := takeSeat(t.Context(), path, waiting)
	check.Must(t, err)
	defer second.leave()
	if first.isOurs() || !second.isOurs() {
		t.Errorf("ours: first %v, second %v", first.isOurs(), second.isOurs())
	}
	first.leave()
	if _, err := os.Stat(path); err != nil {
		t.Errorf("the second agent's socket is gone: %v", err)
	}
}

// An agent that is asked to end while it probes the socket takes no seat.
func TestTakeSeatOfAnEndedContext(t *testing.T) {
	path := filepath.Join(t.TempDir(), "run", "agent.sock")
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if seat, err := takeSeat(ctx, path, func() {}); err == nil {
		seat.leave()
		t.Error("it took the seat")
	}
}
