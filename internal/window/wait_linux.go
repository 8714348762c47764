package window

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/signal"
	"slices"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

// begins is the signal by which a process that serves says so to the first process of its pod.
const begins = unix.SIGUSR1

// announce says to the first process, if that is one that waits, that this one serves.
func announce() {
	if runs(1, "wait") && os.Getpid() != 1 {
		_ = unix.Kill(1, begins)
	}
}

// waitUnused waits until no process of this pod has served anybody for a while, and takes the exit
// status of those whose parent is gone, as the first process has to.
func waitUnused(ctx context.Context, keep time.Duration) error {
	signals, begun := make(chan os.Signal, 1), make(chan struct{}, 1)
	signal.Notify(signals, begins)
	defer signal.Stop(signals)
	go func() {
		for range signals {
			begun <- struct{}{}
		}
	}()
	waitFor(ctx, keep, begun, func() bool {
		reap()
		return slices.ContainsFunc(host.Processes(), func(p host.Process) bool { return !p.Ended && runs(p.ID, "serve") })
	})
	return nil
}

// runs reports whether a process runs a command of node.
func runs(process int, command string) bool {
	line, err := os.ReadFile(fmt.Sprintf("/proc/%d/cmdline", process))
	if err != nil {
		return false
	}
	args := bytes.Split(line, []byte{0})
	return len(args) > 2 && string(args[1]) == "node" && string(args[2]) == command
}

func reap() {
	for {
		if ended, err := unix.Wait4(-1, nil, unix.WNOHANG, nil); err != nil || ended <= 0 {
			return
		}
	}
}
