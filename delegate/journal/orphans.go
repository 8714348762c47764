package journal

import (
	"bytes"
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
)

// DelegateEnv is the variable that marks a delegate, and whatever it starts, with
// the container it works for.
const DelegateEnv = "PLEXUS_DELEGATE_OF"

// LockOverOrphans takes the lock of a container as Lock does. If after patience it
// is held by delegates alone, whose caller is gone, they are killed with their
// process groups; a caller that still works is waited for until ctx ends.
func (j *Journal) LockOverOrphans(ctx context.Context, containerID string, patience time.Duration) (*Lock, error) {
	waiting, cancel := context.WithTimeout(ctx, patience)
	lock, err := j.Lock(waiting, containerID)
	cancel()
	for errors.Is(err, ErrBusy) && ctx.Err() == nil {
		if err := j.killOrphans(containerID); err != nil {
			return nil, err
		}
		again, cancel := context.WithTimeout(ctx, time.Second)
		lock, err = j.Lock(again, containerID)
		cancel()
	}
	return lock, err
}

// killOrphans ends the delegates that hold a container's lock, unless the process
// that started them still lives.
func (j *Journal) killOrphans(containerID string) error {
	path := j.lockPath(containerID)
	if ownerLives(path) {
		return nil
	}
	pids, err := holders(path)
	if errors.Is(err, fs.ErrNotExist) { // given up in the meantime
		return nil
	}
	if err != nil {
		return fmt.Errorf("find the orphans of container %s: %w", containerID, err)
	}
	for _, pid := range pids {
		// Once more: the lock may have changed hands while the processes were searched,
		// and a new owner signs it before it starts a delegate.
		if isDelegateOf(pid, containerID) && !ownerLives(path) {
			kill(pid)
		}
	}
	return nil
}

func ownerLives(lockPath string) bool {
	data, err := os.ReadFile(lockPath)
	if err != nil {
		return false
	}
	number, start, _ := strings.Cut(strings.TrimSpace(string(data)), " ")
	pid, err := strconv.Atoi(number)
	return err == nil && start != "" && startTime(pid) == start
}

// holders finds the processes, other than this one, that have the file open.
func holders(path string) ([]int, error) {
	wanted, err := os.Stat(path)
	if err != nil {
		return nil, err
	}
	links, err := filepath.Glob("/proc/[0-9]*/fd/*")
	if err != nil {
		return nil, err
	}
	seen := map[int]bool{os.Getpid(): true}
	var pids []int
	for _, link := range links {
		pid, _ := strconv.Atoi(strings.Split(link, "/")[2])
		// The name first: it is cheaper than stat for the thousands of files of a node.
		if target, err := os.Readlink(link); seen[pid] || err != nil || filepath.Base(target) != filepath.Base(path) {
			continue
		}
		if info, err := os.Stat(link); err == nil && os.SameFile(info, wanted) {
			seen[pid] = true
			pids = append(pids, pid)
		}
	}
	return pids, nil
}

// isDelegateOf distinguishes a delegate from another plexus that waits for the same lock.
func isDelegateOf(pid int, containerID string) bool {
	environ, err := os.ReadFile(fmt.Sprintf("/proc/%d/environ", pid))
	if err != nil {
		return false
	}
	for variable := range bytes.SplitSeq(environ, []byte{0}) {
		if string(variable) == DelegateEnv+"="+containerID {
			return true
		}
	}
	return false
}

// kill ends a process and the group that it leads or belongs to: delegates are
// started in groups of their own.
func kill(pid int) {
	if group, err := unix.Getpgid(pid); err == nil && group > 1 && group != unix.Getpgrp() {
		_ = unix.Kill(-group, unix.SIGKILL)
	}
	_ = unix.Kill(pid, unix.SIGKILL)
}
