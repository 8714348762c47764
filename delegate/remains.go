package delegate

import (
	"errors"
	"os"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
)

const (
	// remainsBound is how long killed processes are waited for: the kernel may hold one for
	// longer.
	remainsBound = time.Second
	// remainsInterval is the pause between two looks at what was killed.
	remainsInterval = 2 * time.Millisecond
)

// adoptOrphans makes this process the parent of whatever a plugin has started and does not
// wait for, in a session of its own or not: so it can be found.
func adoptOrphans() { _ = unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0) }

// kill ends a plugin with everything that it has started. One that has just ended by itself
// is no failure.
func (r *pluginRun) kill() error {
	err := unix.Kill(-r.cmd.Process.Pid, unix.SIGKILL)
	r.endRemains()
	if errors.Is(err, unix.ESRCH) {
		return os.ErrProcessDone
	}
	return err
}

// endRemains ends what a run has started and left, and returns when it has ended.
func (r *pluginRun) endRemains() {
	if r.cmd == nil || r.cmd.Process == nil {
		return // it was not started
	}
	begun := time.Now()
	for {
		left := host.Trees(host.Processes(), r.hasLeft)
		if len(left) == 0 || time.Since(begun) > remainsBound {
			return
		}
		for _, p := range left {
			p.Kill()
		}
		time.Sleep(remainsInterval)
	}
}

// hasLeft reports whether a process is the plugin, or an orphan of its run: a child of this
// process that is not older than when the plugin got its configuration. What an earlier plugin
// of this call has left, to live on, is older or has the mark of its own run. A plexus-once has
// one too, and this process's group until it has one.
func (r *pluginRun) hasLeft(p host.Process) bool {
	if p.Parent != os.Getpid() || p.Group == unix.Getpgrp() {
		return false
	}
	if p.ID == r.cmd.Process.Pid {
		return true
	}
	if p.Start < r.begun || p.Start == r.begun && (r.waited || p.ID < r.cmd.Process.Pid) {
		return false
	}
	mark := p.Getenv(journal.RunEnv)
	return mark == "" || mark == r.mark
}
