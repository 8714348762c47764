package agent

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func noLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

// socketDir is a folder whose path is short enough for a socket.
func socketDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "agent-")
	check.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	return dir
}

// served is a server on a socket of its own.
type served struct {
	*server
	t     testing.TB
	path  string
	stop  context.CancelFunc
	ended chan error
}

// testServer makes a server that does not run yet. Its facts are of the pod that is
// asked for.
func testServer() *server {
	facts := func(_ context.Context, request *types.FactsRequest) (*types.Facts, error) {
		return &types.Facts{Pod: request.Pod}, nil
	}
	do := handlers{facts: facts, publish: func(*types.PublishRequest) {}, node: func() *types.NodeState { return &types.NodeState{Node: "worker-1"} }}
	return newServer(do, newMetrics(), noLog())
}

// run serves until the end of the test.
func run(t testing.TB, s *server) *served {
	t.Helper()
	path := filepath.Join(socketDir(t), "s")
	listener, err := net.Listen("unix", path)
	check.Must(t, err)
	ctx, stop := context.WithCancel(context.Background())
	r := &served{server: s, t: t, path: path, stop: stop, ended: make(chan error, 1)}
	go func() { r.ended <- s.serve(ctx, listener) }()
	t.Cleanup(r.end)
	return r
}

// end stops the server, and fails the test if that is not soon, or not in order.
func (r *served) end() {
	r.stop()
	select {
	case err := <-r.ended:
		if err != nil {
			r.t.Errorf("the server ended with %v", err)
		}
	case <-time.After(patience):
		r.t.Error("the server does not end")
	}
	r.ended <- nil // for the next who asks
}

func (r *served) dial() *net.UnixConn {
	r.t.Helper()
	conn, err := net.Dial("unix", r.path)
	check.Must(r.t, err)
	check.Must(r.t, conn.SetDeadline(time.Now().Add(patience)))
	r.t.Cleanup(func() { _ = conn.Close() })
	return conn.(*net.UnixConn)
}

// ask sends one good request and demands its answer.
func (r *served) ask(conn net.Conn, name string) {
	r.t.Helper()
	send(r.t, conn, goodRequest(name))
	answer, err := read(rpc.NewConn(conn))
	if err != nil || answer.Facts == nil || answer.Facts.Pod.Name != name {
		r.t.Fatalf("answer about pod %s: %+v, %v", name, answer, err)
	}
}

func goodRequest(name string) string {
	return `{"version":1,"facts":{"pod":{"namespace":"d","name":"` + name + `"},"multusNamespace":"kube-system"}}` + "\n"
}

func send(t testing.TB, conn net.Conn, text string) {
	t.Helper()
	_, err := io.WriteString(conn, text)
	check.Must(t, err)
}

func read(messages *rpc.Conn) (*types.Response, error) {
	line, err := messages.ReadLine()
	if err != nil {
		return nil, err
	}
	var response types.Response
	return &response, json.Unmarshal(line, &response)
}

// wantError demands an answer that is an error with the code and all the words.
func wantError(t testing.TB, response *types.Response, code uint, words ...string) {
	t.Helper()
	if response == nil || response.Error == nil || response.Version != types.WireVersion {
		t.Fatalf("want an error of version %d, got %+v", types.WireVersion, response)
	}
	if response.Error.Code != code {
		t.Errorf("code %d, want %d: %s", response.Error.Code, code, response.Error.Message)
	}
	for _, word := range words {
		if !strings.Contains(response.Error.Message, word) {
			t.Errorf("error %q does not say %q", response.Error.Message, word)
		}
	}
}

// wantClosed demands that the server has ended the connection.
func wantClosed(t testing.TB, conn net.Conn) {
	t.Helper()
	if n, err := conn.Read(make([]byte, 1)); err == nil || errors.Is(err, os.ErrDeadlineExceeded) {
		t.Fatalf("the connection is open: read %d bytes, %v", n, err)
	}
}

// refusals gives how often the server has refused a peer for a reason.
func (s *server) refusals(t testing.TB, reason string) float64 {
	return value(t, s.metrics, "plexus_connections_refused_total", "reason", reason)
}

// value gives the value of one series; labels are pairs. 0 if there is none.
func value(t testing.TB, m *metrics, name string, labels ...string) float64 {
	t.Helper()
	families, err := m.registry.Gather()
	check.Must(t, err)
	for _, family := range families {
		if family.GetName() != name {
			continue
		}
		for _, metric := range family.GetMetric() {
			got := map[string]string{}
			for _, label := range metric.GetLabel() {
				got[label.GetName()] = label.GetValue()
			}
			matches := true
			for i := 0; i < len(labels); i += 2 {
				matches = matches && got[labels[i]] == labels[i+1]
			}
			if matches {
				return metric.GetCounter().GetValue() + metric.GetGauge().GetValue() + float64(metric.GetHistogram().GetSampleCount())
			}
		}
	}
	return 0
}
