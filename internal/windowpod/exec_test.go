package windowpod

import (
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/client-go/tools/remotecommand"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/stream"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// command is a program that an exec runs.
type command func(ctx context.Context, o remotecommand.StreamOptions) error

func (command) Stream(remotecommand.StreamOptions) error { return errors.ErrUnsupported }

func (c command) StreamWithContext(ctx context.Context, o remotecommand.StreamOptions) error {
	return c(ctx, o)
}

type oneNode struct{ inspect.Node }

func (oneNode) Snapshot(context.Context, inspect.Request) (*inspect.Snapshot, error) {
	return inspect.New(), nil
}

func (oneNode) Close() error { return nil }

func serving(ctx context.Context, o remotecommand.StreamOptions) error {
	return stream.Serve(ctx, o.Stdin, o.Stdout, "v1", func(stream.Folders) (inspect.Node, error) { return oneNode{}, nil })
}

var hello = stream.Hello{Protocol: stream.Protocol, Build: "v1"}

// What is read has the node's name in the cluster, which the node itself may not know.
func TestNode(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		client, err := stream.Connect(t.Context(), newExec(command(serving)), hello)
		check.Must(t, err)
		node := &Node{client, "node1", "plexus-system/plexus-window-x7k2p", func() bool { return true }, &cleaning{errs: []error{errors.New("not deleted")}}}
		s, err := node.Snapshot(t.Context(), inspect.Request{})
		check.Must(t, err)
		check.Equal(t, "its name", s.Machine.Node, "node1")
		check.Equal(t, "an agent runs there", s.Agent, true)
		check.Equal(t, "the way", node.Way(), "node node1, through the window pod plexus-system/plexus-window-x7k2p")
		check.Error(t, node.Close(), "not deleted")
		check.Must(t, node.Close())
		_, err = node.Snapshot(t.Context(), inspect.Request{})
		check.Error(t, err, "node node1: ")
		_, err = node.Answers(t.Context(), nil)
		check.Error(t, err, "node node1: ")
	})
}

// A program that could not run, or that failed, says why.
func TestExecSaysWhy(t *testing.T) {
	for name, tc := range map[string]struct {
		run  command
		want string
	}{
		"it was refused": {func(context.Context, remotecommand.StreamOptions) error { return errors.New("pods is forbidden") }, "pods is forbidden"},
		"it failed": {func(_ context.Context, o remotecommand.StreamOptions) error {
			_, _ = io.WriteString(o.Stderr, "no root\n"+strings.Repeat("x", 2*maxTail))
			return errors.New("exit code 3")
		}, "no root"},
		"it ended": {func(context.Context, remotecommand.StreamOptions) error { return nil }, stream.ErrEnded.Error()},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				_, err := stream.Connect(t.Context(), newExec(tc.run), hello)
				check.Error(t, err, tc.want)
				if len(err.Error()) > maxTail+100 {
					t.Errorf("the error has %d bytes", len(err.Error()))
				}
			})
		})
	}
}

// A server that does not end with its input is left after a second.
func TestExecClose(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		stopped := make(chan error, 1)
		e := newExec(command(func(ctx context.Context, _ remotecommand.StreamOptions) error {
			<-ctx.Done()
			stopped <- ctx.Err()
			return ctx.Err()
		}))
		begun := time.Now()
		check.Must(t, e.Close())
		check.Equal(t, "it took", time.Since(begun), patience)
		check.Equal(t, "it was stopped", errors.Is(<-stopped, context.Canceled), true)
	})
}
