package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/poll"
)

// The files of a cluster's folder.
const (
	lockFile     = "lock"     // held by the keeper
	stateFile    = "state"    // what down needs, and the page tells
	progressFile = "progress" // what the keeper starts, a line each
	logFile      = "log"      // what the keeper says
	kubeconfig   = "kubeconfig"
	binDir       = "bin"   // kubectl
	filesLink    = "files" // leads to the nodes' disks and logs
)

// state is what the folder says of its cluster.
type state struct {
	Run    string // the name of what it has made on the machine
	Keeper int    // the process that holds the lock
	Master string
	Multus bool
	// What follows is there once the cluster is up.
	Up    bool
	Took  string
	Tools string // the folder of crictl and ctr
	Nodes []nodeState
}

type nodeState struct {
	Name, IP string
	PID      int // of its first process
}

// readState gives nil if there is none.
func (o *options) readState() (*state, error) {
	data, err := os.ReadFile(o.path(stateFile))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	var s state
	if err == nil {
		err = json.Unmarshal(data, &s)
	}
	if err != nil {
		return nil, fmt.Errorf("read what %s says of its cluster: %w", o.dir, err)
	}
	return &s, nil
}

// writeState replaces it in one step.
func (o *options) writeState(s *state) error {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return err
	}
	next := o.path(stateFile + ".new")
	if err := os.WriteFile(next, append(data, '\n'), 0o600); err != nil {
		return err
	}
	return os.Rename(next, o.path(stateFile))
}

// lock takes the folder's lock; nil says that somebody else has it. down removes the folder with
// the lock in it, so one that is not in the folder any more counts for nothing.
func (o *options) lock() (*os.File, error) {
	for {
		if err := os.MkdirAll(o.dir, 0o755); err != nil {
			return nil, err
		}
		file, err := os.OpenFile(o.path(lockFile), os.O_RDWR|os.O_CREATE, 0o600)
		if err != nil {
			return nil, err
		}
		err = unix.Flock(int(file.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil && o.isLock(file) {
			return file, nil
		}
		_ = file.Close()
		if errors.Is(err, unix.EWOULDBLOCK) {
			return nil, nil
		}
		if err != nil {
			return nil, fmt.Errorf("lock %s: %w", o.dir, err)
		}
	}
}

func (o *options) isLock(file *os.File) bool {
	ours, err := file.Stat()
	if err != nil {
		return false
	}
	there, err := os.Stat(o.path(lockFile))
	return err == nil && os.SameFile(ours, there)
}

// awaitLock waits until the lock is free, and takes it.
func (o *options) awaitLock(ctx context.Context, limit time.Duration) (lock *os.File, err error) {
	err = poll.Until(ctx, limit, "the cluster to end", func(context.Context) (err error) {
		if lock, err = o.lock(); err == nil && lock == nil {
			err = errors.New("it still runs")
		}
		return err
	})
	return lock, err
}

// processes gives the machine's processes that are of a run.
func processes(run string) ([]int, error) {
	all, err := filepath.Glob("/proc/[0-9]*/environ")
	if err != nil {
		return nil, err
	}
	var found []int
	for _, path := range all {
		var pid int
		if _, err := fmt.Sscanf(path, "/proc/%d/", &pid); err == nil && isOf(pid, run) {
			found = append(found, pid)
		}
	}
	return found, nil
}

// isOf tells whether a process is of a run: its environment says so, and no name is given twice.
func isOf(pid int, run string) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	return err == nil && run != "" && strings.Contains("\x00"+string(environ), "\x00"+runEntry(run)+"\x00")
}
