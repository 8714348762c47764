package source

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate"
	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

const childName = "plexus-once"

// maxStderr is how much of a child's stderr goes into an error.
const maxStderr = 1 << 10

// child is a plexus-once that serves this call over a socket pair. It may outlive the
// call, to deliver the events.
type child struct {
	conn     net.Conn
	rpc      *rpc.Conn
	stderr   *os.File
	patience time.Duration // for the stderr of one that gave no answer
}

// askChild asks plexus-once for the facts.
func (s *Source) askChild(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	c, err := s.startedChild()
	if err != nil {
		return nil, err
	}
	toChild := *request
	// The agent may have used up some of the time.
	if left := time.Until(s.asked.Add(s.patience.facts)); left < request.Timeout.TimeoutOr(s.patience.facts) {
		toChild.Timeout = types.Duration(left)
	}
	response, err := c.call(ctx, &types.Request{Facts: &toChild})
	if errors.Is(err, rpc.ErrNoAnswer) {
		c.close() // the event about this failure needs another
		s.child = nil
	}
	if err != nil {
		return nil, err
	}
	if response.Facts == nil {
		return nil, errors.New("plexus-once: its answer has no facts")
	}
	return response.Facts, nil
}

// startedChild gives the plexus-once of this call, and starts it if it must.
func (s *Source) startedChild() (*child, error) {
	if s.child == nil {
		path, err := findChild(s.cniPath)
		if err != nil {
			return nil, err
		}
		if s.child, err = startChild(path, s.childArgs(), s.patience.dial); err != nil {
			return nil, err
		}
	}
	return s.child, nil
}

// findChild finds plexus-once beside this executable, else on CNI_PATH.
func findChild(cniPath []string) (string, error) {
	paths := cniPath
	if self, err := os.Executable(); err == nil {
		paths = append([]string{filepath.Dir(self)}, cniPath...)
	}
	path, err := invoke.FindInPath(childName, paths)
	if err != nil {
		return "", types.Errorf(types.CodeNotAvailable, "%s is neither beside plexus nor in CNI_PATH: install it there", childName)
	}
	if err := unix.Access(path, unix.X_OK); err != nil {
		return "", types.Errorf(types.CodeNotAvailable, "%s (%s) cannot be executed: %w", childName, path, err)
	}
	return path, nil
}

func (s *Source) childArgs() []string {
	if s.config.Manifests != "" {
		return []string{"--manifests", s.config.Manifests}
	}
	args := []string{
		"--state-dir", s.stateDir,
		"--pod-resources-socket", s.config.PodResourcesSocket, "--device-checkpoint", s.config.DeviceCheckpoint,
	}
	if s.config.Kubeconfig != "" {
		args = append(args, "--kubeconfig", s.config.Kubeconfig)
	}
	return args
}

func startChild(path string, args []string, patience time.Duration) (*child, error) {
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", childName, err)
	}
	defer theirs.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("%s: %w", childName, err)
	}
	defer writer.Close()
	cmd := exec.Command(path, args...)
	// It reads a little and waits a lot: threads and collections would only cost it time.
	// With a mark of its own, it is not taken for what a plugin has left.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=128MiB", journal.RunEnv+"="+journal.NewRun())
	cmd.Stderr = writer
	cmd.ExtraFiles = []*os.File{theirs}
	// A session of its own: what kills the call must not kill what it has still to deliver.
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		_ = reader.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return &child{conn: ours, rpc: rpc.NewConn(ours), stderr: reader, patience: patience}, nil
}

// socketPair gives a connection for this side and a file for the child.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "plexus"), os.NewFile(uintptr(fds[1]), childName)
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// call asks the child. The error about one that gave no answer has its stderr.
func (c *child) call(ctx context.Context, request *types.Request) (*types.Response, error) {
	response, err := rpc.Call(ctx, c.conn, c.rpc, request)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, types.Errorf(types.CodeTryAgainLater, "%s: did not answer in time: %w", childName, err)
	}
	if errors.Is(err, rpc.ErrNoAnswer) {
		failure := &delegate.PluginError{Plugin: childName, Command: "facts", Msg: strings.TrimPrefix(err.Error(), rpc.ErrNoAnswer.Error()+": "), Stderr: c.readStderr()}
		return nil, types.Errorf(types.CodeTryAgainLater, "%w: %w", rpc.ErrNoAnswer, failure)
	}
	return response, err
}

// readStderr gives what the child wrote to stderr: for the runtime's log, not for an event.
func (c *child) readStderr() string {
	_ = c.stderr.SetReadDeadline(time.Now().Add(c.patience))
	text, _ := io.ReadAll(io.LimitReader(c.stderr, maxStderr))
	return strings.TrimSpace(string(text))
}

// close ends the connection to a child that is not needed any more.
func (c *child) close() {
	_ = c.conn.Close()
	_ = c.stderr.Close()
}
