// Package proc starts servers that end with the tests, however the tests end, on this machine
// or in the namespaces of a [Thread].
package proc

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/plexus-cni/plexus/internal/test/poll"
)

// Command says what to start.
type Command struct {
	Name string   // for errors
	Argv []string // with the path of the executable
	Log  string   // file that its output is appended to
	Env  []string // nil is this process's own
	Dir  string
	// Attr changes how it is started; Setpgid and Pdeathsig are set already.
	Attr func(*syscall.SysProcAttr)
	// Files become its descriptors 3 and up.
	Files []*os.File
}

// Process is a server that we started. It is reaped as soon as it exits.
type Process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed once the process is reaped
}

// Start starts a command on this machine.
func Start(c Command) (*Process, error) { return Lasting().Start(c) }

// Start starts a command in the thread's namespaces. It ends when the thread does.
func (t *Thread) Start(c Command) (*Process, error) {
	out, err := os.OpenFile(c.Log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", c.Name, err)
	}
	defer out.Close() // the child has its own descriptor
	cmd := exec.Command(c.Argv[0], c.Argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.Env, cmd.Dir, cmd.ExtraFiles = c.Env, c.Dir, c.Files
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid: true, // an interrupt from the terminal is for the tests
		// Linux sends it when the thread that forked ends, and the Go runtime ends threads at will.
		Pdeathsig: syscall.SIGKILL,
	}
	if c.Attr != nil {
		c.Attr(cmd.SysProcAttr)
	}
	if err := t.Do(cmd.Start); err != nil {
		return nil, fmt.Errorf("start %s: %w", c.Name, err)
	}
	p := &Process{name: c.Name, log: c.Log, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
	return p, nil
}

// PID is the process's, as this process sees it.
func (p *Process) PID() int { return p.cmd.Process.Pid }

// Done is closed once the process has ended.
func (p *Process) Done() <-chan struct{} { return p.done }

// Signal sends sig to the process. A process that has exited cannot be signalled: an error.
func (p *Process) Signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %s to %s (pid %d): %w", sig, p.name, p.PID(), err)
	}
	return nil
}

// Pause stops every thread of the process, and returns once all of them stand still: the
// signal alone leaves those on other processors a moment to go on.
func (p *Process) Pause(ctx context.Context) error {
	if err := p.Signal(syscall.SIGSTOP); err != nil {
		return err
	}
	return poll.Until(ctx, pauseLimit, p.name+" to stand still", func(context.Context) error {
		stats, err := filepath.Glob(fmt.Sprintf("/proc/%d/task/*/stat", p.PID()))
		for _, stat := range stats {
			if data, readErr := os.ReadFile(stat); readErr == nil && !isStopped(string(data)) {
				err = fmt.Errorf("thread %s runs", filepath.Base(filepath.Dir(stat)))
			}
		}
		return err
	})
}

// pauseLimit is more than any thread needs to stop.
const pauseLimit = 30 * time.Second

// isStopped reads the state of a thread, the field after its name in parentheses.
func isStopped(stat string) bool {
	_, rest, _ := strings.Cut(stat[strings.LastIndexByte(stat, ')')+1:], " ")
	return strings.HasPrefix(rest, "T")
}

// Kill ends the process, paused or not, and returns once it is gone. A nil process is gone.
func (p *Process) Kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails only if it has exited already
	<-p.done
}

// grace is how long a server may take to end in order.
const grace = 20 * time.Second

// Stop asks the process to end, and kills it if it does not. A nil process is gone.
func (p *Process) Stop() {
	if p == nil {
		return
	}
	if p.Signal(syscall.SIGTERM) == nil {
		select {
		case <-p.done:
			return
		case <-time.After(grace):
		}
	}
	p.Kill()
}

// ExitError says how the process ended and what it said last; nil while it runs.
func (p *Process) ExitError() error {
	select {
	case <-p.done:
		return fmt.Errorf("%s ended: %s\n%s", p.name, p.cmd.ProcessState, tail(p.log))
	default:
		return nil
	}
}

const tailSize = 2 << 10

// tail is the end of a log file, for an error.
func tail(path string) []byte {
	data, err := os.ReadFile(path)
	if err != nil {
		return []byte(err.Error())
	}
	if len(data) > tailSize {
		data = data[len(data)-tailSize:]
	}
	return bytes.TrimSpace(data)
}
