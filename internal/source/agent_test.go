package source

import (
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

// agentAnswers are the answers of an agent to a question for facts, by the agent's mode.
var agentAnswers = map[string]string{
	"ok":             `{"version":1,"facts":{"pod":{"namespace":"ns","name":"p","annotations":{"from":"agent"}}}}` + "\n",
	"closes":         "",
	"half":           `{"version":1,"facts":{"pod":{"namespace":"ns","name":"p"`,
	"other version":  `{"version":2,"facts":{"pod":{"namespace":"ns","name":"p"}}}` + "\n",
	"no facts":       `{"version":1}` + "\n",
	"other pod":      `{"version":1,"facts":{"pod":{"namespace":"ns","name":"q"}}}` + "\n",
	"same name":      `{"version":1,"facts":{"pod":{"namespace":"other","name":"p"}}}` + "\n",
	"refuses now":    `{"version":1,"error":{"code":11,"message":"the first list is not complete"}}` + "\n",
	"refuses":        `{"version":1,"error":{"code":7,"message":"the pod has another UID"}}` + "\n",
	"refuses simply": `{"version":1,"error":{"message":"no"}}` + "\n",
}

// fakeAgent is a plexus-agent that serves one connection after the other.
type fakeAgent struct {
	listener net.Listener
	answers  []string // one after the other, the last again and again; none hangs
	served   func()   // called when who asked for facts was served; nil for nothing
	done     chan struct{}
	requests []*types.Request
}

func agentSocket(t *testing.T) string {
	t.Helper()
	return filepath.Join(t.TempDir(), "agent.sock")
}

func listen(t *testing.T, path string) net.Listener {
	t.Helper()
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func skipWithoutRoot(t *testing.T) {
	t.Helper()
	if os.Geteuid() != 0 {
		t.Skip("only root can listen as another user")
	}
}

// listenAsAnotherUser gives a listener whose callers see another user.
func listenAsAnotherUser(t *testing.T, path string) net.Listener {
	t.Helper()
	skipWithoutRoot(t)
	fd, err := unix.Socket(unix.AF_UNIX, unix.SOCK_STREAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	file := os.NewFile(uintptr(fd), path)
	defer file.Close()
	if err := unix.Bind(fd, &unix.SockaddrUnix{Name: path}); err != nil {
		t.Fatal(err)
	}
	done := make(chan error)
	go func() {
		const nobody, unchanged = 65534, ^uintptr(0)
		runtime.LockOSThread() // never unlocked: the thread, which has that user, ends with this function
		if _, _, errno := unix.RawSyscall(unix.SYS_SETRESUID, unchanged, nobody, unchanged); errno != 0 {
			done <- errno
			return
		}
		done <- unix.Listen(fd, 16)
	}()
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	listener, err := net.FileListener(file)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = listener.Close() })
	return listener
}

func serve(t *testing.T, listener net.Listener, served func(), answers ...string) *fakeAgent {
	t.Helper()
	a := &fakeAgent{listener: listener, answers: answers, served: served, done: make(chan struct{})}
	go a.run()
	t.Cleanup(func() {
		_ = listener.Close()
		<-a.done
	})
	return a
}

func (a *fakeAgent) run() {
	defer close(a.done)
	for {
		conn, err := a.listener.Accept()
		if err != nil || !a.serve(conn.(*net.UnixConn)) {
			return
		}
	}
}

// serve answers what comes over one connection, and reports whether there is more to serve.
func (a *fakeAgent) serve(conn *net.UnixConn) bool {
	defer conn.Close()
	line, err := rpc.NewConn(conn).ReadLine()
	if err != nil {
		return true // it only looked whether somebody listens
	}
	if string(line) == "stop" {
		return false
	}
	request, err := types.ParseRequest(line)
	if err != nil {
		panic(fmt.Sprintf("the agent got %v: %s", err, line))
	}
	a.requests = append(a.requests, request)
	if request.Facts != nil {
		a.answer(conn)
	}
	return true
}

func (a *fakeAgent) answer(conn *net.UnixConn) {
	hangs := len(a.answers) == 0
	if hangs && a.served != nil {
		a.served()
	}
	if !hangs {
		_, _ = io.WriteString(conn, a.answers[min(len(a.requests), len(a.answers))-1])
		_ = conn.CloseWrite()
	}
	_, _ = io.Copy(io.Discard, conn) // until who asked has gone
	if !hangs && a.served != nil {
		a.served()
	}
}

// stop ends the agent once it has served every earlier connection, and gives what it got.
func (a *fakeAgent) stop(t *testing.T) []*types.Request {
	t.Helper()
	conn, err := net.Dial("unix", a.listener.Addr().String())
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	fmt.Fprintln(conn, "stop")
	<-a.done
	return a.requests
}

// watchdog gives a context that ends only by its cancel, or where a test would hang.
// It has no deadline, so that the deadlines seen are those of the source.
func watchdog(t *testing.T) (context.Context, func(), *atomic.Bool) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	var hung atomic.Bool
	timer := time.AfterFunc(30*time.Second, func() {
		hung.Store(true)
		cancel()
	})
	t.Cleanup(func() {
		timer.Stop()
		cancel()
	})
	return ctx, cancel, &hung
}

// An agent that cannot answer yet is asked again where nobody else can be asked.
func TestAgentIsAskedAgain(t *testing.T) {
	for _, mode := range []string{"closes", "half", "other version", "no facts", "other pod", "refuses now"} {
		t.Run(mode, func(t *testing.T) {
			ctx, _, hung := watchdog(t)
			path := agentSocket(t)
			agent := serve(t, listen(t, path), nil, agentAnswers[mode], agentAnswers[mode], agentAnswers["ok"])
			s := newSource(t, &types.Config{AgentSocket: path}, emptyFolder(t))
			s.patience.retry = time.Millisecond
			facts, err := s.Facts(ctx, &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}})
			if err != nil || hung.Load() {
				t.Fatalf("it hung: %v; %v", hung.Load(), err)
			}
			if diff := cmp.Diff(podFrom("agent"), facts.Pod); diff != "" {
				t.Errorf("pod (-want +got):\n%s", diff)
			}
			if asked := len(agent.stop(t)); asked != 3 {
				t.Errorf("the agent was asked %d times, want 3", asked)
			}
		})
	}
}

// Where the time ends within an attempt, the error is that of the attempt before: it says
// what is wrong with the agent.
func TestAgentErrorIsOfTheLastAnswer(t *testing.T) {
	ctx, _, hung := watchdog(t)
	path := agentSocket(t)
	ended := make(chan struct{})
	serve(t, listen(t, path), func() { <-ended }, agentAnswers["no facts"]) // and then it hangs
	t.Cleanup(func() { close(ended) })
	s := newSource(t, &types.Config{AgentSocket: path}, emptyFolder(t))
	s.patience.facts, s.patience.retry = 2*time.Second, time.Millisecond
	_, err := s.Facts(ctx, &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}})
	if err == nil || hung.Load() || !strings.Contains(err.Error(), "no facts of this pod") {
		t.Errorf("it hung: %v; %v", hung.Load(), err)
	}
}

// An agent that hangs is given up where nobody else can be asked too.
func TestAgentIsGivenUp(t *testing.T) {
	ctx, _, hung := watchdog(t)
	path := agentSocket(t)
	serve(t, listen(t, path), nil)
	s := newSource(t, &types.Config{AgentSocket: path}, emptyFolder(t))
	s.patience.facts = 20 * time.Millisecond
	_, err := s.Facts(ctx, &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}})
	if got := outcome(nil, err); got != "no-agent" || hung.Load() {
		t.Errorf("got %s: %v; it hung: %v", got, err, hung.Load())
	}
	if n := strings.Count(err.Error(), rpc.ErrNoAnswer.Error()); n != 1 {
		t.Errorf("the error says %d times that there is no answer: %v", n, err)
	}
}
