package compare

import (
	"context"
	"fmt"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// left is what a call answers and leaves.
type left struct {
	OK         bool
	Interfaces []string
	Reserved   []string
}

var nothing = []string{}

func (s *sandbox) left(err error) left {
	s.Helper()
	return left{OK: err == nil, Interfaces: s.interfaces(), Reserved: s.reserved()}
}

// What an ADD has reserved is free after its DEL. The configuration that the daemon of the thick
// Multus writes names the file of the cluster's network; its DEL loses what the file says.
func TestKubeCompareDelFreesAddresses(t *testing.T) {
	free := left{OK: true, Interfaces: nothing, Reserved: nothing}
	compare(t, map[string]left{
		plexus: free, thin: free, thick: free,
		published: {OK: true, Interfaces: nothing, Reserved: []string{"cluster/10.90.0.2"}},
	}, func(n *node) left {
		s := n.pod("p", "a")
		s.mustAdd()
		return s.left(s.del())
	})
}

// A DEL works while the API server is away. That of Plexus asks nobody; the thin Multus asks for the
// pod first; the daemon of the thick one has the pod in its memory.
func TestKubeCompareDelWithoutAPI(t *testing.T) {
	type seen struct {
		Left left
		Asks bool
	}
	free := left{OK: true, Interfaces: nothing, Reserved: nothing}
	compare(t, map[string]seen{plexus: {free, false}, thin: {free, true}, thick: {free, false}}, func(n *node) seen {
		s := n.pod("p", "a")
		s.mustAdd()
		n.outage()
		n.proxy.Forget()
		after := s.left(s.del())
		return seen{after, n.proxy.Count(faultproxy.Match{Verb: "get", Resource: "pods"}) > 0}
	})
}

// Without its daemon the thick Multus answers a DEL with success and frees nothing. Plexus has an
// agent that is not there; see also TestKubeAgentAbsentAndAPIAway.
func TestKubeCompareDelWithoutDaemon(t *testing.T) {
	compare(t, map[string]left{
		plexus: {OK: true, Interfaces: nothing, Reserved: nothing},
		thick:  {OK: true, Interfaces: []string{"eth0", "net1"}, Reserved: []string{"a/10.91.0.2", "cluster/10.90.0.2"}},
	}, func(n *node) left {
		s := n.pod("p", "a")
		s.mustAdd()
		if n.daemon != nil {
			n.daemon.Kill()
		}
		return s.left(s.del())
	})
}

// An ADD whose second network fails leaves nothing.
func TestKubeCompareUndo(t *testing.T) {
	undone := left{OK: false, Interfaces: nothing, Reserved: nothing}
	compare(t, map[string]left{
		plexus: undone, thin: undone, thick: undone,
		published: {OK: false, Interfaces: nothing, Reserved: []string{"cluster/10.90.0.2"}},
	}, func(n *node) left {
		s := n.pod("p", "a,missing")
		return s.left(s.add(t.Context()))
	})
}

// The API server refuses the pod's status. Plexus attaches the pod, and the status comes later
// (TestKubeAPIServerDown); an ADD of Multus fails and leaves what it has attached.
func TestKubeCompareStatusRefused(t *testing.T) {
	all := []string{"a/10.91.0.2", "cluster/10.90.0.2"}
	failed := left{OK: false, Interfaces: []string{"eth0", "net1"}, Reserved: all}
	compare(t, map[string]left{
		plexus: {OK: true, Interfaces: []string{"eth0", "net0"}, Reserved: all}, thin: failed, thick: failed,
	}, func(n *node) left {
		s := n.pod("p", "a")
		n.proxy.Inject(faultproxy.Fault{Match: faultproxy.Match{Resource: "pods/status"}, Status: 500})
		return s.left(s.add(t.Context()))
	})
}

// The API server does not know the pod. An ADD of Multus answers with success and attaches nothing.
func TestKubeCompareUnknownPod(t *testing.T) {
	compare(t, map[string]left{
		plexus: {OK: false, Interfaces: nothing, Reserved: nothing},
		thin:   {OK: true, Interfaces: nothing, Reserved: nothing},
		thick:  {OK: true, Interfaces: nothing, Reserved: nothing},
	}, func(n *node) left {
		s := n.sandbox(&corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: n.name, Name: "unknown", UID: "u"}})
		return s.left(s.add(t.Context()))
	})
}

// What was reserved by an ADD that was killed, and whose sandbox is gone without a DEL, is freed by
// GC. Multus takes for valid what its own files know, and its shim sends no GC that its daemon takes.
func TestKubeCompareGCAfterKill(t *testing.T) {
	leaked := []string{"a/10.91.0.2", "a/10.91.0.3", "cluster/10.90.0.2", "cluster/10.90.0.3"}
	type seen struct {
		OK       bool
		Reserved []string
	}
	compare(t, map[string]seen{
		plexus: {true, []string{"a/10.91.0.2", "cluster/10.90.0.2"}},
		thin:   {true, leaked},
		thick:  {false, leaked},
	}, func(n *node) seen {
		stays := n.pod("stays", "a")
		stays.mustAdd()
		n.pod("killed", "a,stuck").killInAdd()
		err := n.gc(stays)
		if len(stays.interfaces()) != 2 {
			n.Errorf("the sandbox that stays has %v", stays.interfaces())
		}
		return seen{err == nil, n.reserved()}
	})
}

// A node that is well says so in STATUS; the shim sends none that its daemon takes.
func TestKubeCompareStatus(t *testing.T) {
	compare(t, map[string]bool{plexus: true, thin: true, thick: false, published: false}, func(n *node) bool {
		return n.cni.GetStatusNetworkList(n.Context(), n.list) == nil
	})
}

// killInAdd kills the meta-plugin while its last network is being attached, and removes the sandbox.
func (s *sandbox) killInAdd() {
	s.Helper()
	ctx, kill := context.WithCancel(s.Context())
	// Both ends of the pipes are open here, so that nobody waits for somebody to open one.
	started, goon := s.pipe("started"), s.pipe("goon")
	ended := make(chan error, 1)
	go func() {
		ended <- s.add(ctx)
		fmt.Fprintln(started, "ended")
	}()
	var said string
	if _, err := fmt.Fscanln(started, &said); said != "begun" {
		s.Fatalf("the last network was to be attached: %q, %v", said, err)
	}
	kill()
	if s.daemon != nil {
		s.daemon.Kill()
	}
	fmt.Fprintln(goon)
	if <-ended == nil {
		s.Fatal("the ADD was to be killed")
	}
	s.destroy()
	if s.daemon != nil {
		check.Must(s, s.daemon.Restart(s.Context()))
	}
}

// pipe opens a named pipe of the plugin stuck.
func (n *node) pipe(name string) *os.File {
	n.Helper()
	pipe, err := os.OpenFile(n.path(name), os.O_RDWR, 0)
	check.Must(n, err)
	n.Cleanup(func() { _ = pipe.Close() })
	return pipe
}

// CHECK finds that the interface of a network has gone. Multus checks the cluster's network only.
func TestKubeCompareCheck(t *testing.T) {
	type seen struct{ Whole, WithoutNetwork, WithoutCluster bool }
	compare(t, map[string]seen{
		plexus:    {true, false, false},
		thin:      {true, true, false},
		thick:     {true, true, false},
		published: {true, true, true},
	}, func(n *node) (got seen) {
		s := n.pod("p", "a")
		s.mustAdd()
		got.Whole = s.check() == nil
		s.remove("net")
		got.WithoutNetwork = s.check() == nil
		s.remove("eth")
		got.WithoutCluster = s.check() == nil
		return got
	})
}

// remove removes the sandbox's interface whose name begins so.
func (s *sandbox) remove(prefix string) {
	s.Helper()
	names := s.interfaces()
	i := slices.IndexFunc(names, func(name string) bool { return strings.HasPrefix(name, prefix) })
	if i < 0 {
		s.Fatalf("none of the interfaces %v begins with %s", names, prefix)
	}
	check.Must(s, exec.Command("ip", "-n", s.id, "link", "delete", names[i]).Run())
}
