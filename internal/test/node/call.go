package node

import (
	"bytes"
	"encoding/json"
	"io"
	"math"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// callLimit ends a call that would never end: longer than any budget of plexus.
const callLimit = 4 * time.Minute

// Call is one call of a plugin by a runtime. Only Command and Config need be set.
type Call struct {
	Command string
	Config  Conf // the plugin's configuration; see Raw
	Sandbox *Sandbox

	IfName  string   // "eth0" if empty
	NetNS   *string  // the sandbox's path if nil
	Args    *string  // the sandbox's if nil
	Plugin  string   // the executable; plexus if empty
	CNIPath string   // the reference plugins' folder if empty
	Env     []string // besides the variables of CNI
}

// Outcome is how a call ended.
type Outcome struct {
	t              testing.TB
	Stdout, Stderr string
	ExitCode       int             // -1 if a signal ended it
	Result         *current.Result // of a successful ADD, in the newest form
	Version        string          // the cniVersion that standard output says
	Err            *Failure        // nil if the exit code is 0
}

// Failure is the CNI error that a plugin printed.
type Failure struct {
	Code         uint
	Msg, Details string
}

// Running is a call under way.
type Running struct {
	t              testing.TB
	command        string
	cmd            *exec.Cmd
	stdout, stderr *os.File
	limit          *time.Timer
	done           chan struct{}
}

// Call makes a call and waits for its end.
func (n *Node) Call(c Call) *Outcome {
	n.t.Helper()
	return n.Start(c).Wait()
}

// Start makes a call and does not wait for its end.
func (n *Node) Start(c Call) *Running {
	n.t.Helper()
	r := &Running{t: n.t, command: c.Command, cmd: exec.Command(n.executable(c.Plugin)), done: make(chan struct{})}
	r.cmd.Env = append(n.environ(&c), c.Env...)
	r.cmd.Stdin = bytes.NewReader(c.Config.bytes(n.t))
	// Files, not pipes: what goes on after the call would keep a pipe open, and us waiting.
	r.stdout, r.stderr = n.output(), n.output()
	r.cmd.Stdout, r.cmd.Stderr = r.stdout, r.stderr
	r.cmd.Dir = "/"
	n.Do(r.cmd.Start)
	r.limit = time.AfterFunc(callLimit, r.Kill)
	go func() {
		defer close(r.done)
		_ = r.cmd.Wait()
		r.limit.Stop()
	}()
	n.t.Cleanup(func() {
		r.Kill()
		<-r.done
		_ = r.stdout.Close()
		_ = r.stderr.Close()
	})
	return r
}

// output makes a file for what a call prints.
func (n *Node) output() *os.File {
	n.t.Helper()
	file, err := os.CreateTemp(n.work, "output")
	check.Must(n.t, err)
	check.Must(n.t, os.Remove(file.Name()))
	return file
}

// content reads a file of output from its start.
func content(t testing.TB, file *os.File) string {
	t.Helper()
	data, err := io.ReadAll(io.NewSectionReader(file, 0, math.MaxInt64))
	check.Must(t, err)
	return string(data)
}

func (n *Node) executable(plugin string) string {
	switch {
	case plugin == "":
		return filepath.Join(n.Bin, "plexus")
	case filepath.IsAbs(plugin):
		return plugin
	}
	return filepath.Join(n.CNIBin, plugin)
}

// coverVar is not GOCOVERDIR itself, which go test sets for its own use.
const coverVar = "PLEXUS_COVER_DIR"

// environ gives the variables that a runtime sets for the call, and PATH.
func (n *Node) environ(c *Call) []string {
	path := n.CNIBin
	if c.CNIPath != "" {
		path = c.CNIPath
	}
	env := []string{"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "CNI_COMMAND=" + c.Command, "CNI_PATH=" + path}
	if dir := os.Getenv(coverVar); dir != "" {
		env = append(env, "GOCOVERDIR="+dir) // where a build that measures its coverage leaves it
	}
	if c.Sandbox == nil {
		return env
	}
	netns, args, ifName := c.Sandbox.Path, c.Sandbox.Args(), "eth0"
	if c.NetNS != nil {
		netns = *c.NetNS
	}
	if c.Args != nil {
		args = *c.Args
	}
	if c.IfName != "" {
		ifName = c.IfName
	}
	return append(env, "CNI_CONTAINERID="+c.Sandbox.ID, "CNI_NETNS="+netns, "CNI_IFNAME="+ifName, "CNI_ARGS="+args)
}

// PID gives the process of the call.
func (r *Running) PID() int { return r.cmd.Process.Pid }

// Kill ends the call as SIGKILL does; what it started goes on. A call that has ended
// already is left alone.
func (r *Running) Kill() { _ = r.cmd.Process.Kill() }

// Signal sends a signal to the call.
func (r *Running) Signal(s syscall.Signal) { _ = r.cmd.Process.Signal(s) }

// Done is closed at the end of the call.
func (r *Running) Done() <-chan struct{} { return r.done }

// Wait waits for the end of the call.
func (r *Running) Wait() *Outcome {
	r.t.Helper()
	<-r.done
	o := &Outcome{t: r.t, Stdout: content(r.t, r.stdout), Stderr: content(r.t, r.stderr), ExitCode: r.cmd.ProcessState.ExitCode()}
	var said struct {
		CNIVersion string `json:"cniVersion"`
	}
	_ = json.Unmarshal([]byte(o.Stdout), &said)
	o.Version = said.CNIVersion
	switch {
	case o.ExitCode != 0:
		o.Err = &Failure{}
		_ = json.Unmarshal([]byte(o.Stdout), o.Err)
	case r.command == "ADD":
		o.Result = ParseResult(r.t, []byte(o.Stdout))
	}
	return o
}

// ParseResult reads a result of any version, in the newest form.
func ParseResult(t testing.TB, data []byte) *current.Result {
	t.Helper()
	parsed, err := create.CreateFromBytes(data)
	if err != nil {
		t.Fatalf("not a result: %v: %s", err, data)
	}
	result, err := current.NewResultFromResult(parsed)
	check.Must(t, err)
	return result
}

// OK demands that the call has succeeded.
func (o *Outcome) OK() *Outcome {
	o.t.Helper()
	if o.ExitCode != 0 {
		o.t.Fatalf("exit code %d\nstdout: %s\nstderr: %s", o.ExitCode, o.Stdout, o.Stderr)
	}
	return o
}

// Fails demands that the call has failed with a CNI error of the code.
func (o *Outcome) Fails(code uint) *Failure {
	o.t.Helper()
	if o.ExitCode != 1 || o.Err.Code != code || o.Err.Msg == "" {
		o.t.Fatalf("want exit code 1 and a CNI error of code %d, got exit code %d\nstdout: %s\nstderr: %s", code, o.ExitCode, o.Stdout, o.Stderr)
	}
	return o.Err
}

// Add is an ADD of plexus that has to succeed.
func (n *Node) Add(s *Sandbox, config Conf) *Outcome {
	n.t.Helper()
	return n.Call(Call{Command: "ADD", Config: config, Sandbox: s}).OK()
}

// Del is a DEL of plexus that has to succeed.
func (n *Node) Del(s *Sandbox, config Conf) *Outcome {
	n.t.Helper()
	return n.Call(Call{Command: "DEL", Config: config, Sandbox: s}).OK()
}

// Check is a CHECK of plexus that has to succeed.
func (n *Node) Check(s *Sandbox, config Conf) *Outcome {
	n.t.Helper()
	return n.Call(Call{Command: "CHECK", Config: config, Sandbox: s}).OK()
}
