package journal

import (
	"bufio"
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
)

// The marks that a delegate has in its environment, with whatever it starts.
const (
	// DelegateEnv is the container that it works for.
	DelegateEnv = "PLEXUS_DELEGATE_OF"
	// RunEnv is the one run of one plugin: the value is of NewRun.
	RunEnv = "PLEXUS_DELEGATE_RUN"
)

const (
	// killGrace is how long killed processes are waited for. One that the kernel holds
	// longer keeps the lock, and a later call looks again.
	killGrace = 200 * time.Millisecond
	// killInterval is the pause between two looks at what was killed.
	killInterval = 2 * time.Millisecond
)

var runs atomic.Int64

// thisCall names the call that this process carries out, among all of this boot.
var thisCall = sync.OnceValue(func() string { return callOf(os.Getpid(), startTime(os.Getpid())) })

// callOf is how the RunEnv of everything begins that a call has started.
func callOf(pid int, start string) string { return fmt.Sprintf("%d.%s.", pid, start) }

// NewRun gives the value of RunEnv for one more run.
func NewRun() string { return thisCall() + strconv.FormatInt(runs.Add(1), 10) }

// LockOverOrphans takes the lock of a container as Lock does. If after patience it is
// held by orphans alone, which are what a killed call has started, they are killed; a
// caller that still works is waited for until ctx ends.
func (j *Journal) LockOverOrphans(ctx context.Context, containerID string, patience time.Duration) (*Lock, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	lock, err := j.Lock(waiting, containerID)
	cancel()
	for errors.Is(err, ErrBusy) && ctx.Err() == nil {
		if _, err := j.killOrphans(containerID); err != nil {
			return nil, err
		}
		again, cancel := context.WithTimeout(ctx, time.Second)
		lock, err = j.Lock(again, containerID)
		cancel()
	}
	return lock, err
}

// TryLockOverOrphans takes the lock of a container if it is free, or if orphans alone hold
// it: those of a call that began longer ago than patience are killed. It reports whether
// it has the lock, and waits for nobody who still works.
func (j *Journal) TryLockOverOrphans(containerID string, patience time.Duration) (*Lock, bool, error) {
	lock, free, err := j.TryLock(containerID)
	if free || err != nil || !j.signedBefore(containerID, patience) {
		return lock, free, err
	}
	killed, err := j.killOrphans(containerID)
	if err != nil || !killed {
		return nil, false, err
	}
	waiting, cancel := context.WithTimeout(context.Background(), killGrace)
	defer cancel()
	lock, err = j.Lock(waiting, containerID)
	if errors.Is(err, ErrBusy) {
		// Not at each call again: the next one tries after the same patience.
		now := time.Now()
		return nil, false, os.Chtimes(j.lockPath(containerID), now, now)
	}
	return lock, err == nil, err
}

// signedBefore reports whether a lock was signed at least so long ago. A time in the
// future, of a clock that was set back, counts as long ago.
func (j *Journal) signedBefore(containerID string, patience time.Duration) bool {
	info, err := os.Stat(j.lockPath(containerID))
	if err != nil {
		return false
	}
	age := time.Since(info.ModTime())
	return age < 0 || age >= patience
}

// killOrphans ends the processes that hold a container's lock, with everything below them
// and their process groups, unless the process that took it still lives. It reports
// whether it killed one.
func (j *Journal) killOrphans(containerID string) (killed bool, err error) {
	path := j.lockPath(containerID)
	if ownerLives(path) {
		return false, nil
	}
	found, err := holders(path)
	if errors.Is(err, fs.ErrNotExist) { // given up in the meantime
		return false, nil
	}
	if err != nil {
		return false, fmt.Errorf("find the orphans of container %s: %w", containerID, err)
	}
	if slices.ContainsFunc(found, lockHolder.isOwner) {
		return false, nil // it has not signed yet, or could not
	}
	for _, h := range found {
		// Once more: the lock may have changed hands while the processes were searched.
		if h.stillHolds() {
			killTree(h.pid)
			killed = true
		}
	}
	return killed, nil
}

func ownerLives(lockPath string) bool {
	data, err := os.ReadFile(lockPath)
	if err != nil {
		return false
	}
	pid, start := parseSignature(data)
	return start != "" && startTime(pid) == start
}

// parseSignature reads what sign wrote; the start is "" if that is no signature, or one that
// was ended.
func parseSignature(data []byte) (pid int, start string) {
	words := strings.Fields(string(data))
	if len(words) != 2 {
		return 0, ""
	}
	pid, err := strconv.Atoi(words[0])
	if err != nil {
		return 0, ""
	}
	return pid, words[1]
}

// lockHolder is a process that has the descriptor by which a lock was taken: the process that
// took it, or what has inherited it. A process that merely has the file open is none: a
// plexus that waits for the lock, or a daemon of a call that has given it up.
type lockHolder struct {
	pid   int
	fd    string
	owner int // the process that took the lock, by the kernel's account; 0 if that is not known any more
}

func (h lockHolder) isOwner() bool { return h.pid == h.owner }

func (h lockHolder) stillHolds() bool {
	owner, holds := lockThrough(h.pid, h.fd)
	return holds && owner == h.owner
}

// holders finds the processes, other than this one, that hold the lock of a file.
func holders(path string) ([]lockHolder, error) {
	wanted, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil, err
	}
	seen := map[int]bool{os.Getpid(): true}
	var found []lockHolder
	for _, link := range links {
		parts := strings.Split(link, "/")
		pid, _ := strconv.Atoi(parts[2])
		// The name first: it is cheaper than stat for the thousands of files of a node.
		if target, err := os.Readlink(link); seen[pid] || err != nil || filepath.Base(target) != filepath.Base(path) {
			continue
		}
		if info, err := os.Stat(link); err != nil || !os.SameFile(info, wanted) {
			continue
		}
		if owner, holds := lockThrough(pid, parts[4]); holds {
			seen[pid] = true
			found = append(found, lockHolder{pid: pid, fd: parts[4], owner: owner})
		}
	}
	return found, nil
}

// lockThrough reports whether a lock is held through a descriptor of a process, and which
// process took it. fdinfo lists the locks of the open file, which inherited descriptors
// share, as "lock:	1: FLOCK  ADVISORY  WRITE 4711 fe:00:1234 0 EOF".
func lockThrough(pid int, fd string) (owner int, holds bool) {
	data, err := os.ReadFile(fmt.Sprintf("/proc/%d/fdinfo/%s", pid, fd))
	if err != nil {
		return 0, false
	}
	for lines := bufio.NewScanner(bytes.NewReader(data)); lines.Scan(); {
		fields := strings.Fields(lines.Text())
		if len(fields) > 5 && fields[0] == "lock:" && fields[2] == "FLOCK" {
			owner, _ = strconv.Atoi(fields[5])
			return owner, true
		}
	}
	return 0, false
}

// endUnfinished ends what is left of a call that was killed and that took this lock before:
// what holds the lock is gone by now, but a process may have closed the descriptor and work
// on. Such a call is known by its signature, which Release would have ended. It reports whether
// nothing is left.
func (l *Lock) endUnfinished() bool {
	signature := make([]byte, 64)
	n, _ := l.file.ReadAt(signature, 0)
	pid, start := parseSignature(signature[:n])
	if start == "" {
		return true
	}
	begun := time.Now()
	for {
		left := host.Trees(host.Processes(), func(p host.Process) bool {
			return strings.HasPrefix(p.Getenv(RunEnv), callOf(pid, start)) && p.Getenv(DelegateEnv) == l.containerID
		})
		if len(left) == 0 {
			return true
		}
		if time.Since(begun) > killGrace {
			return false
		}
		for _, p := range left {
			p.Kill()
		}
		time.Sleep(killInterval)
	}
}

// killTree ends a process with everything below it, and the process group that it leads or
// belongs to: delegates are started in groups of their own.
func killTree(pid int) {
	tree := host.Trees(host.Processes(), func(p host.Process) bool { return p.ID == pid })
	if group, err := unix.Getpgid(pid); err == nil && group > 1 && group != unix.Getpgrp() {
		_ = unix.Kill(-group, unix.SIGKILL)
	}
	for _, p := range tree {
		p.Kill()
	}
}
