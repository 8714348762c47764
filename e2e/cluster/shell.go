package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"strconv"
	"syscall"
)

// shell enters a node, for a shell or one command line. Its process becomes that.
func shell(_ context.Context, opts *options) error {
	s, err := opts.readState()
	if err != nil {
		return err
	}
	if s == nil || !s.Up {
		return errors.New("no cluster is up: start one by make cluster")
	}
	i := slices.IndexFunc(s.Nodes, func(n nodeState) bool { return n.Name == opts.node })
	if i < 0 {
		return fmt.Errorf("there is no node %q: NODE is node1 or node2", opts.node)
	}
	if !isOf(s.Nodes[i].PID, s.Run) {
		return fmt.Errorf("%s does not run any more: remove the cluster by make cluster-down", opts.node)
	}
	return syscall.Exec("/usr/bin/nsenter", s.enter(s.Nodes[i], opts.cmd), shellEnvironment(s))
}

// enter is the command line that enters a node.
func (s *state) enter(n nodeState, cmd string) []string {
	argv := []string{"nsenter", "--target", strconv.Itoa(n.PID), "--mount", "--net", "--uts", "--ipc", "--pid", "--wd=/", "bash"}
	if cmd != "" {
		argv = append(argv, "-c", cmd)
	}
	return argv
}

// shellEnvironment leads crictl and ctr to the node's containerd.
func shellEnvironment(s *state) []string {
	const socket = "/run/containerd/containerd.sock"
	return append(os.Environ(), "PATH="+s.Tools+":"+os.Getenv("PATH"), "TMPDIR=/tmp",
		"CONTAINER_RUNTIME_ENDPOINT=unix://"+socket, "CONTAINERD_ADDRESS="+socket, "CONTAINERD_NAMESPACE=k8s.io")
}
