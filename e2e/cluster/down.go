package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"syscall"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// endLimit is more than the kernel needs to end all processes of a cluster.
const endLimit = time.Minute

// down ends the cluster of the folder and removes all of it.
func down(ctx context.Context, opts *options) error {
	if _, err := os.Stat(opts.dir); errors.Is(err, os.ErrNotExist) {
		fmt.Println("No cluster is there.")
		return nil
	}
	ctx = context.WithoutCancel(ctx) // half of it helps nobody
	lock, err := opts.lock()
	if err == nil && lock == nil {
		lock, err = opts.end(ctx)
	}
	if err != nil {
		return err
	}
	defer lock.Close()
	if err := opts.clean(ctx); err != nil {
		return err
	}
	if err := os.RemoveAll(opts.dir); err != nil {
		return err
	}
	fmt.Println("The cluster is removed, with its processes, namespaces, control groups and " + opts.dir + ".")
	return nil
}

// end ends the keeper, and gives its lock. Every process of the cluster ends with the keeper.
func (o *options) end(ctx context.Context) (*os.File, error) {
	s, err := o.readState()
	switch {
	case err != nil:
		return nil, err
	case s == nil || !isOf(s.Keeper, s.Run):
		return nil, fmt.Errorf("another make cluster or make cluster-down is at work on %s: try again when it has ended", o.dir)
	}
	if err := syscall.Kill(s.Keeper, syscall.SIGTERM); err != nil && !errors.Is(err, syscall.ESRCH) {
		return nil, fmt.Errorf("end the cluster's keeper, process %d: %w", s.Keeper, err)
	}
	return o.awaitLock(ctx, endLimit)
}

// clean removes all that a cluster without a keeper has left, but the folder with its lock. It needs
// that lock.
func (o *options) clean(ctx context.Context) error {
	s, err := o.readState()
	if s != nil {
		err = s.remove(ctx)
	}
	entries, readErr := os.ReadDir(o.dir)
	err = errors.Join(err, readErr)
	for _, entry := range entries {
		if err == nil && entry.Name() != lockFile {
			err = os.RemoveAll(o.path(entry.Name()))
		}
	}
	if err != nil {
		return fmt.Errorf("remove what the cluster has left: %w", err)
	}
	return nil
}

// remove ends the run's processes, of which a keeper that was killed may have left some that had
// started a moment before, and removes what it has made.
func (s *state) remove(ctx context.Context) error {
	left, err := processes(s.Run)
	if err != nil {
		return err
	}
	for _, pid := range left {
		if pid != os.Getpid() && isOf(pid, s.Run) {
			_ = syscall.Kill(pid, syscall.SIGKILL) // it may have ended
		}
	}
	return cluster.Remove(ctx, s.Run)
}
