package windowpod

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/client-go/kubernetes/scheme"
	"k8s.io/client-go/tools/remotecommand"
	"k8s.io/streaming/pkg/httpstream"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/stream"
)

// Node is a node that is read through a window pod.
type Node struct {
	*stream.Client
	name, pod string
	agent     func() bool // an agent runs on the node
	cleaned   *cleaning
}

var _ inspect.Watcher = (*Node)(nil)

// Way says how the node is read.
func (n *Node) Way() string { return fmt.Sprintf("node %s, through the window pod %s", n.name, n.pod) }

// Snapshot reads the node.
func (n *Node) Snapshot(ctx context.Context, request inspect.Request) (*inspect.Snapshot, error) {
	snapshot, err := n.Client.Snapshot(ctx, request)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", n.name, err)
	}
	snapshot.Machine.Node = n.name
	snapshot.Agent = snapshot.Agent || n.agent()
	return snapshot, nil
}

// Answers asks the node's routing.
func (n *Node) Answers(ctx context.Context, questions []inspect.Question) ([]inspect.Answer, error) {
	answers, err := n.Client.Answers(ctx, questions)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", n.name, err)
	}
	return answers, nil
}

// Watch gives what passes interfaces of the node.
func (n *Node) Watch(ctx context.Context, watch inspect.Watch, saw func(inspect.Sighting) error) error {
	if err := n.Client.Watch(ctx, watch, saw); err != nil {
		return fmt.Errorf("node %s: %w", n.name, err)
	}
	return nil
}

// Send sends packets of the node's namespaces.
func (n *Node) Send(ctx context.Context, send inspect.Send) ([]inspect.Sent, error) {
	sent, err := n.Client.Send(ctx, send)
	if err != nil {
		return nil, fmt.Errorf("node %s: %w", n.name, err)
	}
	return sent, nil
}

// Close ends the stream, and waits until the pods of earlier runs are deleted. The window pod stays
// for a while, for the next command.
func (n *Node) Close() error { return errors.Join(n.Client.Close(), n.cleaned.wait()) }

// connect runs the server in a pod, and says hello.
func (c *Cluster) connect(ctx context.Context, pod string) (*stream.Client, error) {
	executor, err := c.executor(pod)
	if err != nil {
		return nil, err
	}
	connection := newExec(executor)
	client, err := stream.Connect(ctx, connection, stream.Hello{Protocol: stream.Protocol, Build: c.options.Build, Folders: c.settings.folders()})
	if err == nil {
		return client, nil
	}
	if errors.Is(err, stream.ErrVersion) || ctx.Err() != nil {
		return nil, err
	}
	return nil, c.explainExec(ctx, pod, err)
}

// explainExec says why a server could not be started. A pod that ended meanwhile is the reason of
// last resort: who has the rights, and is not refused, may try another one.
func (c *Cluster) explainExec(ctx context.Context, pod string, err error) error {
	used := []right{{"create", "pods/exec", ""}, {"get", "pods/exec", ""}}
	if canCapture(pod) {
		used = append(used, capture)
	}
	missing := c.missing(ctx, used)
	switch {
	case len(missing) > 0:
		return c.lack(missing)
	case apierrors.IsForbidden(err):
		return fmt.Errorf("%w: %w", ErrRefused, err)
	}
	return fmt.Errorf("%w, or could not be used: %w", errNotThere, err)
}

// executor is a WebSocket, and SPDY for what does not let it through.
func (c *Cluster) executor(pod string) (remotecommand.Executor, error) {
	url := c.core.RESTClient().Post().Resource("pods").Namespace(c.options.Namespace).Name(pod).SubResource("exec").
		VersionedParams(&corev1.PodExecOptions{
			Container: container, Command: []string{program, "node", "serve"}, Stdin: true, Stdout: true, Stderr: true,
		}, scheme.ParameterCodec).URL()
	spdy, err := remotecommand.NewSPDYExecutor(c.config, "POST", url)
	if err != nil {
		return nil, err
	}
	socket, err := remotecommand.NewWebSocketExecutor(c.config, "GET", url.String())
	if err != nil {
		return nil, err
	}
	return remotecommand.NewFallbackExecutor(socket, spdy, func(err error) bool {
		return httpstream.IsUpgradeFailure(err) || httpstream.IsHTTPSProxyError(err)
	})
}

// exec is a command in a pod, as a connection to its standard input and output.
type exec struct {
	*io.PipeReader
	in     *io.PipeWriter
	cancel context.CancelFunc
	ended  chan struct{}
}

// patience is how long a server may take to end by itself.
const patience = time.Second

func newExec(executor remotecommand.Executor) *exec {
	ctx, cancel := context.WithCancel(context.Background()) // its end is Close
	stdin, in := io.Pipe()
	out, stdout := io.Pipe()
	e := &exec{PipeReader: out, in: in, cancel: cancel, ended: make(chan struct{})}
	go func() {
		defer close(e.ended)
		var stderr tail
		err := executor.StreamWithContext(ctx, remotecommand.StreamOptions{Stdin: stdin, Stdout: stdout, Stderr: &stderr})
		if said := stderr.String(); said != "" {
			err = errors.Join(errors.New(said), err)
		}
		_ = stdin.Close()
		_ = stdout.CloseWithError(err) // io.EOF if there is none
	}()
	return e
}

func (e *exec) Write(p []byte) (int, error) { return e.in.Write(p) }

// Close ends the server's input, by which it ends.
func (e *exec) Close() error {
	_ = e.in.Close()
	_ = e.PipeReader.Close()
	select {
	case <-e.ended:
	case <-time.After(patience):
	}
	e.cancel()
	return nil
}

// tail keeps the beginning of what a program says on its standard error.
type tail struct {
	mu   sync.Mutex
	text bytes.Buffer
}

const maxTail = 4 << 10

func (t *tail) Write(p []byte) (int, error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.text.Write(p[:min(len(p), maxTail-t.text.Len())])
	return len(p), nil
}

func (t *tail) String() string {
	t.mu.Lock()
	defer t.mu.Unlock()
	return strings.TrimSpace(t.text.String())
}
