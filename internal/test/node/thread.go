package node

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/unix"
)

// thread is one thread of this process with a mount namespace, and mostly a network
// namespace, of its own, which what it starts inherits. It dies with its work: it is never given back.
type thread struct{ work chan func() }

func newThread(sharedNetwork bool) (*thread, error) {
	flags := unix.CLONE_NEWNS
	if !sharedNetwork {
		flags |= unix.CLONE_NEWNET
	}
	t := &thread{work: make(chan func())}
	ready := make(chan error)
	go t.run(flags, ready)
	return t, <-ready
}

func (t *thread) run(flags int, ready chan<- error) {
	runtime.LockOSThread()
	if unix.Gettid() == unix.Getpid() {
		// Not the main thread: what /proc says of a process is what it says of that one.
		done := make(chan struct{})
		go func() {
			defer close(done)
			t.run(flags, ready)
		}()
		<-done
		runtime.UnlockOSThread()
		return
	}
	err := unshare(flags)
	ready <- err
	if err != nil {
		return
	}
	for f := range t.work {
		f()
	}
}

func unshare(flags int) error {
	if err := unix.Unshare(flags); err != nil {
		return fmt.Errorf("unshare the namespaces: %w", err)
	}
	if err := unix.Mount("", "/", "", unix.MS_REC|unix.MS_PRIVATE, ""); err != nil {
		return fmt.Errorf("make the mounts private: %w", err)
	}
	return nil
}

// do runs a function on the thread and waits for it.
func (t *thread) do(f func() error) error {
	result := make(chan error)
	t.work <- func() { result <- f() }
	return <-result
}

func (t *thread) end() { close(t.work) }
