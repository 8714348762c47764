package kube

import (
	"bytes"
	"fmt"
	"os"
	"os/exec"
	"runtime"
	"sync"
	"syscall"
)

// process is a server that we started. It is reaped as soon as it exits.
type process struct {
	name string
	log  string
	cmd  *exec.Cmd
	done chan struct{} // closed once the process is reaped
}

// startProcess starts argv with its output appended to the file log.
func startProcess(name, log string, argv []string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the log of %s: %w", name, err)
	}
	defer out.Close() // the child has its own descriptor
	cmd := exec.Command(argv[0], argv[1:]...)
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Setpgid:   true, // an interrupt from the terminal is for the tests
		Pdeathsig: syscall.SIGKILL,
	}
	if err := startFromLastingThread(cmd); err != nil {
		return nil, fmt.Errorf("start %s: %w", name, err)
	}
	p := &process{name: name, log: log, cmd: cmd, done: make(chan struct{})}
	go func() {
		defer close(p.done)
		_ = cmd.Wait() // how it ended is in cmd.ProcessState
	}()
	return p, nil
}

type startRequest struct {
	cmd  *exec.Cmd
	done chan error
}

// starter is the way to the one goroutine that starts processes.
var starter = sync.OnceValue(func() chan<- startRequest {
	requests := make(chan startRequest)
	go func() {
		runtime.LockOSThread()
		for r := range requests {
			r.done <- r.cmd.Start()
		}
	}()
	return requests
})

// startFromLastingThread starts cmd from a thread that lives as long as this process: Linux
// sends Pdeathsig when the thread that forked ends, and the Go runtime ends threads at will.
func startFromLastingThread(cmd *exec.Cmd) error {
	r := startRequest{cmd, make(chan error, 1)}
	starter() <- r
	return <-r.done
}

// signal sends sig to the process. A process that has exited cannot be signalled: an error.
func (p *process) signal(sig syscall.Signal) error {
	if err := p.cmd.Process.Signal(sig); err != nil {
		return fmt.Errorf("send %s to %s (pid %d): %w", sig, p.name, p.cmd.Process.Pid, err)
	}
	return nil
}

// kill ends the process, paused or not, and returns once it is gone.
func (p *process) kill() {
	if p == nil {
		return
	}
	_ = p.cmd.Process.Kill() // fails only if it has exited already
	<-p.done
}

// exitError says how the process ended and what it said last; nil while it runs.
func (p *process) exitError() error {
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
