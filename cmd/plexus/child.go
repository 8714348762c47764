package main

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
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

const onceName = "plexus-once"

// child is a plexus-once that serves this call over a socket pair. It outlives the
// call by what it still has to deliver.
type child struct {
	conn   net.Conn
	rpc    *rpc.Conn
	stderr *os.File
}

// findOnce finds plexus-once beside this executable, else on CNI_PATH.
func findOnce(cniPath []string) (string, error) {
	paths := cniPath
	if self, err := os.Executable(); err == nil {
		paths = append([]string{filepath.Dir(self)}, cniPath...)
	}
	path, err := invoke.FindInPath(onceName, paths)
	if err != nil {
		return "", types.Errorf(types.CodeNotAvailable, "%s is neither beside plexus nor in CNI_PATH: install it there", onceName)
	}
	return path, nil
}

func startChild(s *source) (*child, error) {
	path, err := findOnce(s.cniPath)
	if err != nil {
		return nil, err
	}
	ours, theirs, err := socketPair()
	if err != nil {
		return nil, fmt.Errorf("%s: %w", onceName, err)
	}
	defer theirs.Close()
	reader, writer, err := os.Pipe()
	if err != nil {
		_ = ours.Close()
		return nil, fmt.Errorf("%s: %w", onceName, err)
	}
	defer writer.Close()
	cmd := exec.Command(path, s.onceArgs()...)
	// It reads a little and waits a lot: threads and collections would only cost it time.
	cmd.Env = append(os.Environ(), "GOMAXPROCS=1", "GOGC=off", "GOMEMLIMIT=128MiB")
	cmd.Stderr = writer
	cmd.ExtraFiles = []*os.File{theirs}
	// A session of its own: what kills the call must not kill what it has still to deliver.
	cmd.SysProcAttr = &unix.SysProcAttr{Setsid: true}
	if err := cmd.Start(); err != nil {
		_ = ours.Close()
		_ = reader.Close()
		return nil, fmt.Errorf("start %s: %w", path, err)
	}
	return &child{conn: ours, rpc: rpc.NewConn(ours), stderr: reader}, nil
}

func (s *source) onceArgs() []string {
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

// socketPair gives a connection for this side and a file for the child.
func socketPair() (net.Conn, *os.File, error) {
	fds, err := unix.Socketpair(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return nil, nil, err
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "plexus"), os.NewFile(uintptr(fds[1]), onceName)
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		_ = theirs.Close()
		return nil, nil, err
	}
	return conn, theirs, nil
}

// call asks the child. If it dies instead of answering, what it said last is in the
// error.
func (c *child) call(ctx context.Context, request *types.Request) (*types.Response, error) {
	response, err := rpc.Call(ctx, c.conn, c.rpc, request)
	if errors.Is(err, os.ErrDeadlineExceeded) {
		return nil, types.Errorf(types.CodeTryAgainLater, "%s: did not answer in time: %w", onceName, err)
	}
	if errors.Is(err, rpc.ErrNoAnswer) {
		failure := &delegate.PluginError{Plugin: onceName, Command: "facts", Msg: strings.TrimPrefix(err.Error(), rpc.ErrNoAnswer.Error()+": "), Stderr: c.lastWords()}
		return nil, types.Errorf(types.CodeTryAgainLater, "%w: %w", rpc.ErrNoAnswer, failure)
	}
	return response, err
}

// lastWords gives what the child has written to stderr: for the runtime's log, not for
// an event.
func (c *child) lastWords() string {
	const enough = 1 << 10
	_ = c.stderr.SetReadDeadline(time.Now().Add(dialTimeout))
	said, _ := io.ReadAll(io.LimitReader(c.stderr, enough))
	return strings.TrimSpace(string(said))
}

// close lets go of a child that is of no use any more.
func (c *child) close() {
	_ = c.conn.Close()
	_ = c.stderr.Close()
}
