package kubeclient

import (
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

// once is plexus-once as plexus starts it.
type once struct {
	*rpc.Conn
	socket net.Conn
	cmd    *exec.Cmd
	stderr *os.File
}

func buildOnce(t testing.TB) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "plexus-once")
	build := exec.Command("go", "build", "-trimpath", "-ldflags=-s -w", "-o", path, "./cmd/plexus-once")
	build.Dir = "../../.."
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatalf("build plexus-once: %v\n%s", err, out)
	}
	return path
}

func start(t testing.TB, path string, args ...string) *once {
	t.Helper()
	fds, err := syscall.Socketpair(syscall.AF_UNIX, syscall.SOCK_STREAM|syscall.SOCK_CLOEXEC, 0)
	if err != nil {
		t.Fatal(err)
	}
	ours, theirs := os.NewFile(uintptr(fds[0]), "ours"), os.NewFile(uintptr(fds[1]), "theirs")
	defer theirs.Close()
	defer ours.Close()
	conn, err := net.FileConn(ours)
	if err != nil {
		t.Fatal(err)
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer writer.Close()
	o := &once{Conn: rpc.NewConn(conn), socket: conn, stderr: reader, cmd: exec.Command(path, args...)}
	o.cmd.ExtraFiles = []*os.File{theirs}
	o.cmd.Stdout, o.cmd.Stderr = writer, writer
	if err := o.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	return o
}

func (o *once) ask(t testing.TB, request types.Request) *types.Response {
	t.Helper()
	request.Version = types.WireVersion
	if err := o.Send(request); err != nil {
		t.Fatal(err)
	}
	line, err := o.ReadLine()
	if err != nil {
		t.Fatal(err)
	}
	response, err := types.ParseResponse(line)
	if err != nil {
		t.Fatal(err)
	}
	return response
}

// end closes our side and waits until the process has done what it still had to do.
func (o *once) end(t testing.TB) {
	t.Helper()
	defer o.stderr.Close()
	_ = o.socket.Close()
	if err := o.cmd.Wait(); err != nil {
		t.Fatal(err)
	}
}

// silent waits until the process has let go of its output, and wants nothing said.
func (o *once) silent(t testing.TB) {
	t.Helper()
	_ = o.stderr.SetReadDeadline(time.Now().Add(time.Second))
	if said, err := io.ReadAll(o.stderr); err != nil || len(said) > 0 {
		t.Errorf("plexus-once said %q: %v", said, err)
	}
}

// TestKubeOnceFinishesAfterItsAnswer delivers events and an older record after the
// plugin, and so the runtime, has gone.
func TestKubeOnceFinishesAfterItsAnswer(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "after", "o1")
	older := c.MakePod(t, kube.Pod{Namespace: "after", Name: "older", Node: "o1"})
	olderPod := types.Pod{Namespace: "after", Name: "older", UID: string(older.UID)}
	j, key := record(t, olderPod)
	p := through(t, c)
	p.Inject(faultproxy.Fault{Match: faultproxy.Match{Resource: "events"}, Delay: 2 * time.Second})
	kubeconfig, err := p.NodeKubeconfig("o1")
	if err != nil {
		t.Fatal(err)
	}
	o := start(t, buildOnce(t), "--kubeconfig", kubeconfig, "--state-dir", j.dir)
	added := types.PodEvent{Type: types.EventNormal, Reason: types.ReasonAddedInterface, Message: "m"}
	response := o.ask(t, types.Request{Publish: &types.PublishRequest{Pod: pod, Status: status, Events: []types.PodEvent{added}}})
	o.silent(t)
	if early := events(t, c, "after"); !response.Published || len(early) != 0 {
		t.Errorf("published %v; it answered only after its events: %+v", response.Published, early)
	}
	if diff := cmp.Diff(status, published(t, c, pod)); diff != "" {
		t.Error(diff)
	}
	o.end(t)
	if got := events(t, c, "after"); len(got) != 1 || got[0].Reason != types.ReasonAddedInterface {
		t.Errorf("got events %+v", got)
	}
	if diff := cmp.Diff(status, published(t, c, olderPod)); diff != "" {
		t.Error(diff)
	}
	if r, err := j.Read(key); err != nil || !r.Published {
		t.Errorf("the older record: %+v, %v", r, err)
	}
}

type folder struct {
	*journal.Journal
	dir string
}

// record makes a journal with a complete, unpublished record of a pod.
func record(t *testing.T, pod types.Pod) (folder, journal.Key) {
	t.Helper()
	dir := t.TempDir()
	j := folder{journal.New(dir), dir}
	key := journal.Key{ContainerID: "c", Network: "plexus", IfName: "eth0"}
	lock, free, err := j.TryLock(key.ContainerID)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	bootID, err := host.BootID()
	if err != nil {
		t.Fatal(err)
	}
	intent := types.Intent{Format: types.RecordFormat, BootID: bootID, Network: key.Network, Created: time.Now(), Plan: types.Plan{
		Pod: pod, Sandbox: types.Sandbox{ContainerID: key.ContainerID, IfName: key.IfName}, Attachments: []types.Attachment{{Name: "n"}},
	}}
	if err := lock.Create(key, intent); err != nil {
		t.Fatal(err)
	}
	if err := lock.Append(key, types.Entry{Event: types.EventComplete, Status: status}); err != nil {
		t.Fatal(err)
	}
	return j, key
}

// TestKubeOnceTime logs what one ADD costs: a pod, two networks and the status.
func TestKubeOnceTime(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "time", "t9")
	kubeconfig, err := c.NodeKubeconfig("t9")
	if err != nil {
		t.Fatal(err)
	}
	path := buildOnce(t)
	info, err := os.Stat(path)
	if err != nil {
		t.Fatal(err)
	}
	var whole, facts, cpu []time.Duration
	for i := range 40 {
		begin := time.Now()
		o := start(t, path, "--kubeconfig", kubeconfig)
		r := o.ask(t, types.Request{Facts: &types.FactsRequest{Pod: pod, MultusNamespace: multusNamespace}})
		facts = append(facts, time.Since(begin))
		if len(r.Facts.Networks) != 2 || r.Facts.Networks[1].Config == "" {
			t.Fatalf("got %+v", r.Facts)
		}
		if r = o.ask(t, types.Request{Publish: &types.PublishRequest{Pod: r.Facts.Pod, Status: []types.NetworkStatus{{Name: "x", MTU: i + 1}}}}); !r.Published {
			t.Fatal("the status was not published")
		}
		o.end(t)
		whole = append(whole, time.Since(begin))
		cpu = append(cpu, o.cmd.ProcessState.UserTime()+o.cmd.ProcessState.SystemTime())
	}
	t.Logf("%.1f MB; median: facts after %s, exit after %s (fastest %s), processor %s",
		float64(info.Size())/1e6, median(facts), median(whole), slices.Min(whole), median(cpu))
	if median(whole) > 100*time.Millisecond {
		t.Error("that is not what start-up time was spent on")
	}
}

func median(d []time.Duration) time.Duration {
	slices.Sort(d)
	return d[len(d)/2].Round(10 * time.Microsecond)
}
