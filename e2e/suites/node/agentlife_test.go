package node

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

const otherAddress = "127.0.0.1:9730"

// awaitStandby waits until the agent is ready to take over from another.
func (a *agent) awaitStandby() {
	a.n.t.Helper()
	a.n.await("the agent to be a ready standby", func() error {
		status, body, err := a.get("/readyz")
		if err == nil && status != http.StatusOK {
			err = errors.New(body)
		}
		if !strings.Contains(a.logged(), "another agent answers on the socket") {
			err = errors.Join(err, errors.New("it does not say what it waits for"))
		}
		return errors.Join(err, a.wantMetric("plexus_serving", "0"))
	})
}

// callers attach and release pods, again and again, until they are stopped. Every call
// must succeed.
type callers struct {
	n     *node
	calls atomic.Int64
	quit  chan struct{}
	all   sync.WaitGroup
}

func (n *node) callers(namespace string, count int) *callers {
	n.t.Helper()
	n.annotated(namespace)
	c := &callers{n: n, quit: make(chan struct{})}
	for i := range count {
		s := n.sandbox(n.podWith(namespace, fmt.Sprintf("caller-%d", i), "a"))
		c.all.Go(func() {
			for !over(c.quit) {
				for _, command := range []string{"ADD", "DEL"} {
					if out := s.call(command); out.Err != nil {
						n.t.Errorf("%s: code %d: %s\n%s", command, out.Err.Code, out.Err.Msg, out.Stderr)
					}
				}
				c.calls.Add(1)
			}
		})
	}
	n.t.Cleanup(c.stop)
	return c
}

// await waits until so many more pairs of calls have ended.
func (c *callers) await(more int64) {
	c.n.t.Helper()
	want := c.calls.Load() + more
	c.n.await("calls", func() error {
		if got := c.calls.Load(); got < want {
			return fmt.Errorf("%d of %d", got, want)
		}
		return nil
	})
}

func (c *callers) stop() {
	if !over(c.quit) {
		close(c.quit)
	}
	c.all.Wait()
}

// A second agent on one socket waits in readiness, and takes over from the first however
// that ends; no ADD notices.
func TestKubeAgentStandbyTakesOver(t *testing.T) {
	for name, end := range map[string]func(*agent){"killed": (*agent).kill, "in-order": (*agent).stop} {
		t.Run(name, func(t *testing.T) {
			n, first := withAgent(t, false)
			second := n.startAgent(first.kubeconfig, "--metrics-address", otherAddress)
			second.awaitStandby()
			c := n.callers("standby-"+name, 4)
			c.await(4)
			end(first)
			second.awaitReady()
			c.await(12)
			c.stop()
			n.await("the second agent to have answered", func() error {
				if got := second.metric(`plexus_facts_total{kind="pods",source="cache"}`); got == "" || got == "0" {
					return errors.New("it never did")
				}
				return nil
			})
			// It publishes too.
			pod := n.podWith("standby-"+name, "after", "a,b")
			s := n.sandbox(pod)
			s.must("ADD")
			s.awaitStatus()
			s.must("DEL")
			second.stop()
			n.mustBeClean()
		})
	}
}

// A standby that is told to end does not wait any longer for its turn.
func TestKubeAgentStandbyEnds(t *testing.T) {
	n, first := withAgent(t, true)
	second := n.startAgent(first.kubeconfig, "--metrics-address", otherAddress)
	second.awaitStandby()
	second.endsInOrder()
	if _, err := n.ask(n.sandbox(n.podWith("standby-ends", "web", "a"))); types.CodeOf(err, 0) == types.CodeTryAgainLater {
		t.Errorf("the first does not answer any more: %v", err)
	}
	first.stop()
}

// endsInOrder demands that SIGTERM ends the agent soon, with exit code 0.
func (a *agent) endsInOrder() {
	a.n.t.Helper()
	began := time.Now()
	check.Must(a.n.t, a.cmd.Process.Signal(unix.SIGTERM))
	watchdog := time.AfterFunc(patience, func() { _ = a.cmd.Process.Kill() })
	defer watchdog.Stop()
	if err := a.cmd.Wait(); err != nil {
		a.n.t.Errorf("it ended with %v", err)
	}
	if took := time.Since(began); took > 3*time.Second {
		a.n.t.Errorf("its end took %s", took)
	}
}

func TestKubeAgentEndsInOrder(t *testing.T) {
	for name, trouble := range map[string]func(*testing.T, *node){
		"at-rest": func(*testing.T, *node) {},
		"with-peers-that-say-nothing": func(t *testing.T, n *node) {
			for range 3 {
				conn, err := net.Dial("unix", n.socket())
				check.Must(t, err)
				t.Cleanup(func() { _ = conn.Close() })
			}
		},
		"api-down": func(_ *testing.T, n *node) { n.proxy.Inject(faultproxy.Fault{Reset: true}) },
		"api-hangs": func(t *testing.T, n *node) {
			n.proxy.Inject(faultproxy.Fault{Match: statusPatches, Delay: time.Minute})
			s := n.sandbox(n.annotated("ends-api-hangs"))
			s.must("ADD")
			t.Cleanup(func() { s.must("DEL") })
			n.awaitRequests(statusPatches, 1)
		},
	} {
		t.Run(name, func(t *testing.T) {
			n, a := withAgent(t, true)
			trouble(t, n)
			a.endsInOrder()
			if _, err := os.Lstat(n.socket()); !errors.Is(err, fs.ErrNotExist) {
				t.Errorf("the socket is left: %v", err)
			}
		})
	}
}

// The folder of the socket becomes root's alone, also if it is older; what an agent that
// was killed has left is replaced.
func TestKubeAgentSocketFile(t *testing.T) {
	n := newNode(t)
	dir := filepath.Dir(n.socket())
	check.Must(t, os.Mkdir(dir, 0o755))
	check.Must(t, os.Chmod(dir, 0o755)) // whatever the umask is
	a := n.startAgent(n.agentKubeconfig())
	a.awaitReady()
	for path, want := range map[string]fs.FileMode{dir: fs.ModeDir | 0o700, n.socket(): fs.ModeSocket | 0o600} {
		if info, err := os.Stat(path); err != nil || info.Mode() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode(), err, want)
		}
	}
	a.kill()
	if _, err := os.Stat(n.socket()); err != nil {
		t.Fatalf("an agent that was killed leaves its socket: %v", err)
	}
	a = n.startAgent(a.kubeconfig)
	a.awaitReady()
	if _, err := n.ask(n.sandbox(n.podWith("socketfile", "web", "a"))); err != nil {
		t.Error(err)
	}
	a.stop()
}

// Somebody who listens on the socket and is no agent of ours is waited for, not robbed.
func TestKubeAgentForeignListener(t *testing.T) {
	n := newNode(t)
	check.Must(t, os.Mkdir(filepath.Dir(n.socket()), 0o700))
	foreign, err := net.Listen("unix", n.socket())
	check.Must(t, err)
	a := n.startAgent(n.agentKubeconfig())
	a.awaitStandby()
	conn, err := net.Dial("unix", n.socket())
	check.Must(t, err)
	_ = conn.Close()
	check.Must(t, foreign.Close())
	a.awaitReady()
	a.stop()
}

// A journal that does not exist yet is waited for.
func TestKubeAgentNoStateFolder(t *testing.T) {
	n, a := withAgent(t, true)
	if _, err := os.Stat(n.stateDir()); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("there is a folder: %v", err)
	}
	s := n.sandbox(n.annotated("nostate"))
	s.must("ADD")
	s.awaitStatus()
	s.must("DEL")
	a.stop()
	n.mustBeClean()
}

// An agent whose address for metrics is taken serves, says so, and gets it when it is free.
func TestKubeAgentMetricsAddressTaken(t *testing.T) {
	n := newNode(t)
	n.config = testnode.Conf{"agentSocket": n.socket(), "kubeconfig": nil}
	taken, err := net.Listen("tcp", otherAddress)
	check.Must(t, err)
	a := n.startAgent(n.agentKubeconfig(), "--metrics-address", otherAddress)
	n.await("it to say so", func() error {
		if !strings.Contains(a.logged(), "no probes and no metrics for now") {
			return errors.New(a.logged())
		}
		return nil
	})
	s := n.sandbox(n.annotated("taken"))
	n.await("it to serve", func() error {
		_, err := n.ask(s)
		return err
	})
	s.must("ADD")
	s.awaitStatus()
	check.Must(t, taken.Close())
	a.awaitReady()
	s.must("DEL")
	a.stop()
	n.mustBeClean()
}

// as does something as another user, on a thread that ends with it.
func as(uid int, do func()) {
	done := make(chan struct{})
	go func() {
		defer close(done)
		runtime.LockOSThread() // and never unlocked
		id := uintptr(uid)
		if _, _, err := unix.RawSyscall(unix.SYS_SETRESUID, id, id, id); err != 0 {
			panic(err)
		}
		do()
	}()
	<-done
}

// Who is not root is told so, and nothing else, even where the folder lets him in.
func TestKubeAgentRefusesOtherUsers(t *testing.T) {
	n := newNode(t)
	dir, err := os.MkdirTemp("", "agent-")
	check.Must(t, err)
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	socket := filepath.Join(dir, "s")
	a := n.startAgent(n.agentKubeconfig(), "--socket", socket)
	a.awaitReady()
	const nobody = 65534
	as(nobody, func() {
		if conn, err := net.Dial("unix", socket); !errors.Is(err, fs.ErrPermission) {
			t.Errorf("the folder lets everybody in: %v, %v", conn, err)
		}
	})
	check.Must(t, os.Chmod(dir, 0o755))
	check.Must(t, os.Chmod(socket, 0o666))
	var answer []byte
	as(nobody, func() {
		var conn net.Conn
		if conn, err = net.Dial("unix", socket); err != nil {
			return
		}
		defer conn.Close()
		_, _ = io.WriteString(conn, `{"version":1,"facts":{"pod":{"namespace":"a","name":"b"}}}`+"\n") // it may have been refused by now
		answer, err = io.ReadAll(conn)
	})
	if err != nil && !errors.Is(err, unix.ECONNRESET) {
		t.Fatal(err)
	}
	if _, err := types.ParseResponse(answer); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("user %d", nobody)) {
		t.Errorf("the answer is %q", answer)
	}
	n.await("it to be counted", func() error { return a.wantMetric(`plexus_connections_refused_total{reason="peer"}`, "1") })
	a.stop()
}

// The program as people and manifests use it.
func TestKubeAgentCommandLine(t *testing.T) {
	n := newNode(t)
	file := filepath.Join(t.TempDir(), "agent.yaml")
	check.Must(t, os.WriteFile(file, []byte("node-name: x\nsocket-mode: 0600\n"), 0o600))
	for line, want := range map[string]struct {
		code  int
		words []string
	}{
		"--help":                   {0, []string{"serve", "install", "PLEXUS_AGENT_", "--config"}},
		"serve --help":             {0, []string{"--node-name", "/readyz", "OTEL_EXPORTER_OTLP_ENDPOINT"}},
		"--version":                {0, []string{"plexus-agent v"}},
		"serve":                    {2, []string{"--node-name", "PLEXUS_AGENT_NODE_NAME"}},
		"serve --nonsense":         {2, []string{"--nonsense", "--help"}},
		"serve --config " + file:   {2, []string{"socket-mode", file}},
		"serve --node-name n more": {2, []string{"more"}},
		"serve --node-name n --kubeconfig " + file: {1, []string{file}},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), patience)
		out, err := exec.CommandContext(ctx, filepath.Join(n.Bin, "plexus-agent"), strings.Fields(line)...).CombinedOutput()
		cancel()
		var exit *exec.ExitError
		if err != nil && !errors.As(err, &exit) {
			t.Fatal(err)
		}
		code := 0
		if exit != nil {
			code = exit.ExitCode()
		}
		if code != want.code {
			t.Errorf("%s: exit code %d, want %d: %s", line, code, want.code, out)
		}
		for _, word := range want.words {
			if !strings.Contains(string(out), word) {
				t.Errorf("%s: does not say %q: %s", line, word, out)
			}
		}
	}
}

// Credentials that are not there yet are waited for.
func TestKubeAgentWaitsForCredentials(t *testing.T) {
	n := newNode(t)
	kubeconfig, later := n.agentKubeconfig(), filepath.Join(t.TempDir(), "kubeconfig")
	a := n.startAgent(later)
	n.await("it to say so", func() error {
		if !strings.Contains(a.logged(), "waiting for credentials") {
			return errors.New(a.logged())
		}
		return nil
	})
	check.Must(t, os.Symlink(kubeconfig, later))
	a.awaitReady()
	a.endsInOrder()
	a = n.startAgent(later + ".never")
	n.await("it to wait", func() error {
		if !strings.Contains(a.logged(), "waiting for credentials") {
			return errors.New(a.logged())
		}
		return nil
	})
	a.endsInOrder()
}

// Every flag may come from the environment or a file; a flag wins over the environment,
// and that over the file.
func TestKubeAgentSettings(t *testing.T) {
	n := newNode(t)
	file := filepath.Join(t.TempDir(), "agent.yaml")
	check.Must(t, os.WriteFile(file, []byte(toJSON(t, map[string]any{ // which is YAML too
		"node-name": "of-the-file", "kubeconfig": n.agentKubeconfig(), "socket": n.socket(), "state-dir": n.stateDir(),
		"metrics-address": "127.0.0.1:1", "log-format": "json", "log-level": "debug",
	})), 0o600))
	cmd := exec.Command(filepath.Join(n.Bin, "plexus-agent"), "serve", "--metrics-address", metricsAddress)
	cmd.Env = append(os.Environ(), "PLEXUS_AGENT_CONFIG="+file, "PLEXUS_AGENT_NODE_NAME="+n.name, "PLEXUS_AGENT_METRICS_ADDRESS=127.0.0.1:2")
	a := n.launch(filepath.Join(t.TempDir(), "agent.log"), cmd)
	defer a.kill()
	a.awaitReady()
	if log := a.logged(); !strings.Contains(log, `"msg":"serving"`) || !strings.Contains(log, `"node":"`+n.name+`"`) {
		t.Errorf("it logs: %s", log)
	}
	if _, err := n.ask(n.sandbox(n.podWith("settings", "web", ""))); err != nil {
		t.Error(err)
	}
	a.endsInOrder()
}

// A socket that somebody removes is made anew, and is found by calls that wait for it.
func TestKubeAgentSocketRemoved(t *testing.T) {
	n, a := withAgent(t, true)
	check.Must(t, os.Remove(n.socket()))
	s := n.sandbox(n.annotated("socket-removed"))
	s.must("ADD")
	s.awaitStatus()
	s.must("DEL")
	a.stop()
	n.mustBeClean()
}
