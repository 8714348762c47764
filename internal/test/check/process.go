package check

import (
	"errors"
	"testing"
	"time"

	"golang.org/x/sys/unix"
)

// processLimit is how long a process may take to end.
const processLimit = 10 * time.Second

// Ends waits until a process has ended, and kills it if it does not. The pidfd becomes readable
// at the end, whoever is the parent by then, and the process is not reaped.
func Ends(t testing.TB, pid int) {
	t.Helper()
	fd, err := unix.PidfdOpen(pid, 0)
	if errors.Is(err, unix.ESRCH) {
		return
	}
	Must(t, err)
	defer func() { _ = unix.Close(fd) }()
	n, err := unix.Poll([]unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}, int(processLimit.Milliseconds()))
	if err != nil || n != 1 {
		_ = unix.Kill(pid, unix.SIGKILL)
		t.Fatalf("process %d still lives (%v)", pid, err)
	}
}
