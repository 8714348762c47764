package node

import (
	"net"
	"sync"
	"testing"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// Agent is a fake of plexus-agent: a unix socket that answers as the test says.
type Agent struct {
	t        testing.TB
	listener net.Listener
	answer   func(conn net.Conn, request *types.Request)
	serving  sync.WaitGroup
	mu       sync.Mutex
	requests []*types.Request
}

// Agent listens on AgentSocket. Every request is noted, and then handed to answer with
// its connection, which is closed after.
func (n *Node) Agent(answer func(conn net.Conn, request *types.Request)) *Agent {
	n.t.Helper()
	listener, err := net.Listen("unix", n.AgentSocket())
	check.Must(n.t, err)
	a := &Agent{t: n.t, listener: listener, answer: answer}
	go a.accept()
	n.t.Cleanup(func() { _ = listener.Close() })
	return a
}

// AgentSocket is a path for the key agentSocket.
func (n *Node) AgentSocket() string { return n.Path("agent.sock") }

func (a *Agent) accept() {
	for {
		conn, err := a.listener.Accept()
		if err != nil {
			return
		}
		a.serving.Add(1)
		go a.serve(conn)
	}
}

func (a *Agent) serve(conn net.Conn) {
	defer a.serving.Done()
	defer conn.Close()
	line, err := rpc.NewConn(conn).ReadLine()
	if err != nil {
		return // somebody only looked whether anybody listens
	}
	request, err := types.ParseRequest(line)
	if err != nil {
		a.t.Errorf("the agent got %v: %s", err, line)
		return
	}
	a.mu.Lock()
	a.requests = append(a.requests, request)
	a.mu.Unlock()
	a.answer(conn, request)
}

// Requests stops the agent and gives every request that it got, in order.
func (a *Agent) Requests() []*types.Request {
	_ = a.listener.Close()
	a.serving.Wait()
	return a.requests
}

// Facts answers a request for facts, as agents do; it has nothing to say to others.
func Facts(t testing.TB, facts types.Facts) func(net.Conn, *types.Request) {
	return func(conn net.Conn, request *types.Request) {
		if request.Facts == nil {
			return
		}
		if err := rpc.NewConn(conn).Send(&types.Response{Version: types.WireVersion, Facts: &facts}); err != nil {
			t.Errorf("answer: %v", err)
		}
	}
}
