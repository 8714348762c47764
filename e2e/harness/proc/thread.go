package proc

import (
	"errors"
	"fmt"
	"os/exec"
	"runtime"
	"strings"
	"sync"
)

// Thread is one thread of this process that lasts, in namespaces of its own if it has entered
// any. What it starts ends with it.
type Thread struct {
	work chan func()
	once sync.Once
}

// ErrEnded is what a thread that has ended says.
var ErrEnded = errors.New("the thread has ended")

// NewThread starts a thread that begins with enter, which may change namespaces: the thread is
// never given back to the runtime.
func NewThread(enter func() error) (*Thread, error) {
	t := &Thread{work: make(chan func())}
	ready := make(chan error)
	go t.run(enter, ready)
	return t, <-ready
}

func (t *Thread) run(enter func() error, ready chan<- error) {
	runtime.LockOSThread() // and never unlocked: the thread dies with this goroutine
	err := enter()
	ready <- err
	if err != nil {
		return
	}
	for f := range t.work {
		f()
	}
}

// Lasting is the thread for what is started on this machine.
var Lasting = sync.OnceValue(func() *Thread {
	t, _ := NewThread(func() error { return nil })
	return t
})

// Do runs f on the thread and waits for it. One f runs at a time.
func (t *Thread) Do(f func() error) (err error) {
	defer func() {
		if recover() != nil { // sent on a closed channel
			err = ErrEnded
		}
	}()
	result := make(chan error, 1)
	t.work <- func() { result <- f() }
	return <-result
}

// End ends the thread, and what it started with it. An ended or nil thread may be ended again.
func (t *Thread) End() {
	if t != nil {
		t.once.Do(func() { close(t.work) })
	}
}

// Run runs a command in the thread's namespaces and returns what it printed on standard output.
// The error of a command that fails has what it printed besides.
func (t *Thread) Run(name string, args ...string) (string, error) {
	return t.RunCommand(exec.Command(name, args...))
}

// RunCommand is like Run, for a command with more to it. Its output is collected here.
func (t *Thread) RunCommand(cmd *exec.Cmd) (string, error) {
	var stdout, stderr strings.Builder
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := t.Do(cmd.Start)
	if err == nil {
		err = cmd.Wait()
	}
	if err != nil {
		return stdout.String(), fmt.Errorf("%s: %w: %s%s", strings.Join(cmd.Args, " "), err, stdout.String(), stderr.String())
	}
	return stdout.String(), nil
}
