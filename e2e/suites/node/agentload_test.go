package node

import (
	"context"
	"crypto/rand"
	"encoding/base64"
	"errors"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

const (
	// agentMemory is the limit of the DaemonSet.
	agentMemory = 100 << 20
	// loadPatience is how long a fresh agent may take on a machine that does other things too.
	loadPatience = 60 * time.Second
	// loadQuestions are asked about the plain pod while a load goes on.
	loadQuestions = 60
)

// loadNetworks makes count networks of a namespace at once, with configurations as config
// makes them. They are deleted with the test.
func (n *node) loadNetworks(namespace string, count int, config func(i int) string) {
	n.t.Helper()
	n.cluster.MakeNamespace(n.t, namespace)
	n.parallel(count, func(i int) {
		n.cluster.MakeNAD(n.t, kube.NAD{Namespace: namespace, Name: fmt.Sprintf("n%03d", i), Config: config(i)})
	})
}

func (n *node) parallel(count int, do func(i int)) {
	var all sync.WaitGroup
	free := make(chan struct{}, 8)
	for i := range count {
		free <- struct{}{}
		all.Go(func() {
			defer func() { <-free }()
			do(i)
		})
	}
	all.Wait()
}

// names gives the networks of loadNetworks as a pod names them.
func names(count int) string {
	list := make([]string, count)
	for i := range list {
		list[i] = fmt.Sprintf("n%03d", i)
	}
	return strings.Join(list, ",")
}

// noise is text of so many bytes that does not get smaller.
func noise(size int) string {
	data := make([]byte, size*3/4)
	_, _ = rand.Read(data) // never fails
	return base64.StdEncoding.EncodeToString(data)
}

// loadPods makes pods of the node, in a phase.
func (n *node) loadPods(namespace string, count int, phase corev1.PodPhase, annotations map[string]string) {
	n.t.Helper()
	pods := n.cluster.Client().CoreV1().Pods(namespace)
	n.cluster.MakeNamespace(n.t, namespace)
	n.parallel(count, func(i int) {
		noToken := false
		pod, err := pods.Create(n.t.Context(), &corev1.Pod{
			ObjectMeta: metav1.ObjectMeta{Name: fmt.Sprintf("p%03d", i), Annotations: annotations},
			Spec: corev1.PodSpec{
				NodeName: n.name, AutomountServiceAccountToken: &noToken,
				Containers: []corev1.Container{{Name: "c", Image: "localhost/none"}},
			},
		}, metav1.CreateOptions{})
		if err == nil {
			pod.Status.Phase = phase
			_, err = pods.UpdateStatus(n.t.Context(), pod, metav1.UpdateOptions{})
		}
		if err != nil {
			n.t.Error(err)
		}
	})
	n.t.Cleanup(func() { deletePods(n.cluster.Client(), namespace) })
}

func deletePods(client kubernetes.Interface, namespace string) {
	now := int64(0)
	_ = client.CoreV1().Pods(namespace).DeleteCollection(context.Background(), metav1.DeleteOptions{GracePeriodSeconds: &now}, metav1.ListOptions{})
}

// limited starts an agent with the memory that its DaemonSet gives it, and waits until it
// is ready. name sets it apart from others of the node.
func (n *node) limited(kubeconfig, name string, port int) *agent {
	n.t.Helper()
	cmd := n.agentCommand(kubeconfig, "--socket", n.Path(name, "agent.sock"), "--metrics-address", fmt.Sprintf("127.0.0.1:%d", port), "--log-level", "info")
	cmd.Env = append(os.Environ(), fmt.Sprintf("GOMEMLIMIT=%d", agentMemory))
	began := time.Now()
	a := n.launch(filepath.Join(n.t.TempDir(), "agent.log"), cmd)
	a.address = fmt.Sprintf("127.0.0.1:%d", port)
	n.t.Cleanup(func() {
		a.kill()
		if n.t.Failed() {
			n.t.Logf("the log of %s:\n%s", name, a.logged())
		}
	})
	check.Eventually(n.t, name+" to be ready", loadPatience, func() error {
		status, body, err := a.get("/readyz")
		if err == nil && status != 200 {
			err = errors.New(body)
		}
		return err
	})
	n.t.Logf("%s: ready after %s, %s of them its own work", name, time.Since(began).Round(10*time.Millisecond), a.worked())
	return a
}

// peak gives the most memory that the agent has had resident, in bytes, its executable
// included.
func (a *agent) peak() (bytes int64) {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	check.Must(a.n.t, err)
	for line := range strings.Lines(string(status)) {
		if n, _ := fmt.Sscanf(line, "VmHWM: %d kB", &bytes); n == 1 {
			return bytes << 10
		}
	}
	a.n.t.Fatal("no VmHWM in the status of the agent's process")
	return 0
}

// worked gives the time that the agent has had a processor.
func (a *agent) worked() time.Duration {
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", a.cmd.Process.Pid))
	check.Must(a.n.t, err)
	fields := strings.Fields(string(status))
	const user, system, tick = 13, 14, 10 * time.Millisecond
	var ticks [2]time.Duration
	for i, field := range []int{user, system} {
		_, err := fmt.Sscan(fields[field], &ticks[i])
		check.Must(a.n.t, err)
	}
	return (ticks[0] + ticks[1]) * tick
}

// askAgent asks an agent about a pod, as plexus does.
func (n *node) askAgent(name string, pod *corev1.Pod) (*types.Facts, error) {
	ctx, cancel := context.WithTimeout(n.t.Context(), 3*time.Second)
	defer cancel()
	conn, err := net.Dial("unix", n.Path(name, "agent.sock"))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	response, err := rpc.Call(ctx, conn, rpc.NewConn(conn), &types.Request{Facts: &types.FactsRequest{
		Pod: types.Pod{Namespace: pod.Namespace, Name: pod.Name, UID: string(pod.UID)}, MultusNamespace: "kube-system", Timeout: types.Duration(3 * time.Second),
	}})
	if err != nil {
		return nil, err
	}
	return response.Facts, nil
}

// TestKubeAgentUnderLoad demands that no input of a tenant keeps the agent from answering
// about other pods, makes it take more memory than its DaemonSet gives it, or keeps a fresh
// agent from being ready. What is too much for the agent is left to plexus-once.
func TestKubeAgentUnderLoad(t *testing.T) {
	agentUnder(t, map[string]load{
		"letters":      {func(n *node, ns string) { n.loadNetworks(ns, 128, letters) }, 64},
		"at the limit": {func(n *node, ns string) { n.loadNetworks(ns, 30, func(int) string { return noise(60 << 10) }) }, 30},
		"running pods": {func(n *node, ns string) {
			n.loadPods(ns, 250, corev1.PodRunning, map[string]string{types.AnnotationNetworks: noise(125_000), types.AnnotationNetworkStatus: noise(125_000)})
		}, 1},
	})
}

// TestE2EAgentUnderFurtherLoads is TestKubeAgentUnderLoad with what takes several minutes more.
func TestE2EAgentUnderFurtherLoads(t *testing.T) {
	agentUnder(t, map[string]load{
		"read live": {func(n *node, ns string) { n.loadNetworks(ns, 8, letters) }, 1},
		"noise":     {func(n *node, ns string) { n.loadNetworks(ns, 64, func(int) string { return noise(mega) }) }, 64},
		"middling":  {func(n *node, ns string) { n.loadNetworks(ns, 1000, func(int) string { return noise(60 << 10) }) }, 64},
		"escapes":   {func(n *node, ns string) { n.loadNetworks(ns, 128, escaped) }, 64},
		"finished pods": {func(n *node, ns string) {
			n.loadPods(ns, 250, corev1.PodSucceeded, map[string]string{types.AnnotationNetworks: noise(250_000)})
		}, 1},
	})
}

const mega = 1_000_000

func letters(int) string { return strings.Repeat("x", mega) }

func escaped(int) string { return strings.Repeat("\x01", 60<<10) }

// load is what a tenant gives the API server.
type load struct {
	make  func(n *node, namespace string)
	names int // networks that the question of the load names
}

func agentUnder(t *testing.T, loads map[string]load) {
	t.Helper()
	for name, load := range loads {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			namespace := "load-" + strings.ReplaceAll(name, " ", "-")
			kubeconfig := n.agentKubeconfig()
			n.cluster.MakeNamespace(t, namespace)
			plain := n.cluster.MakePod(t, kube.Pod{Namespace: namespace + "-plain", Name: "plain", Node: n.name})
			greedy := n.podWith(namespace, "greedy", names(load.names))
			running := n.limited(kubeconfig, "running", 9731)
			load.make(n, namespace)
			n.underLoad(kubeconfig, plain, greedy)
			if peak := running.peak(); peak > agentMemory {
				t.Errorf("the agent had %d MB resident", peak/1e6)
			} else {
				t.Logf("running: %d MB resident at most", peak/1e6)
			}
		})
	}
}

// underLoad asks the running agent about the plain pod while others ask about the greedy
// one, and starts a fresh agent meanwhile.
func (n *node) underLoad(kubeconfig string, plain, greedy *corev1.Pod) {
	n.t.Helper()
	ctx, stop := context.WithCancel(n.t.Context())
	var asking sync.WaitGroup
	defer asking.Wait()
	defer stop()
	var answered, refused, hung atomic.Int64
	var last atomic.Value
	for range 4 {
		asking.Go(func() {
			for ctx.Err() == nil {
				_, err := n.askAgent("running", greedy)
				switch {
				case err == nil:
					answered.Add(1)
				case errors.Is(err, rpc.ErrNoAnswer):
					hung.Add(1)
				default:
					refused.Add(1)
					last.Store(err.Error())
				}
			}
		})
	}
	worst := n.askPlain("running", plain)
	fresh := n.limited(kubeconfig, "fresh", 9732)
	worst = max(worst, n.askPlain("running", plain))
	n.t.Logf("running: slowest of %d plain questions %s; of the others %d answered, %d refused, %d without an answer; the last refusal: %v",
		2*loadQuestions, worst.Round(100*time.Microsecond), answered.Load(), refused.Load(), hung.Load(), last.Load())
	n.t.Logf("fresh: slowest plain question %s, %d MB resident at most", n.askPlain("fresh", plain).Round(100*time.Microsecond), fresh.peak()/1e6)
	if peak := fresh.peak(); peak > agentMemory {
		n.t.Errorf("the fresh agent had %d MB resident", peak/1e6)
	}
	if hung.Load() > 0 || answered.Load()+refused.Load() == 0 {
		n.t.Errorf("of the questions of the load %d had no answer, %d had one", hung.Load(), answered.Load()+refused.Load())
	}
}

// askPlain asks an agent about the plain pod many times, and gives how long it took at most.
func (n *node) askPlain(name string, plain *corev1.Pod) (worst time.Duration) {
	n.t.Helper()
	for range loadQuestions {
		began := time.Now()
		if _, err := n.askAgent(name, plain); err != nil {
			n.t.Errorf("the question about the plain pod: %v", err)
			return time.Since(began)
		}
		worst = max(worst, time.Since(began))
	}
	return worst
}
