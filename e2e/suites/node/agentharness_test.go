package node

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apitypes "k8s.io/apimachinery/pkg/types"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

const (
	agentNamespace = "plexus-system"
	agentAccount   = "plexus-agent"
	metricsAddress = "127.0.0.1:9729"
	// patience is how long a test waits for what must come.
	patience = 30 * time.Second
)

// agent is a plexus-agent of a node: root without any capability, as its DaemonSet runs
// it, with the token of a pod of that node.
type agent struct {
	n       *node
	cmd     *exec.Cmd
	log     string
	address string // of its probes and metrics

	kubeconfig string
}

// agentKubeconfig gives the agent's credentials, through the node's proxy.
func (n *node) agentKubeconfig() string {
	n.t.Helper()
	check.Must(n.t, n.cluster.ApplyFile(n.t.Context(), "../../../deploy/base/namespace.yaml"))
	for _, object := range []string{"rbac.yaml", "admission-policy.yaml", "admission-policy-events.yaml"} {
		check.Must(n.t, n.cluster.ApplyFile(n.t.Context(), "../../../deploy/base/"+object))
	}
	pod := n.cluster.MakePod(n.t, kube.Pod{Namespace: agentNamespace, Name: "agent-" + n.name, Node: n.name, ServiceAccount: agentAccount})
	token, err := n.cluster.ServiceAccountToken(n.t.Context(), agentNamespace, agentAccount, pod)
	check.Must(n.t, err)
	kubeconfig, _, err := n.proxy.TokenKubeconfig(token)
	check.Must(n.t, err)
	return kubeconfig
}

func (n *node) socket() string { return n.Path("run", "agent.sock") }

// startAgent starts an agent and does not wait for it. It is ended with the test. A flag
// in more counts more than the harness's own.
func (n *node) startAgent(kubeconfig string, more ...string) *agent {
	n.t.Helper()
	a := n.launch(filepath.Join(n.t.TempDir(), "agent.log"), n.agentCommand(kubeconfig, more...))
	a.kubeconfig = kubeconfig
	if i := slices.Index(more, "--metrics-address"); i >= 0 {
		a.address = more[i+1]
	}
	n.t.Cleanup(func() {
		a.kill()
		if n.t.Failed() {
			n.t.Logf("the agent's log:\n%s", a.logged())
		}
	})
	return a
}

// agentCommand is the command line of an agent as root without any capability.
func (n *node) agentCommand(kubeconfig string, more ...string) *exec.Cmd {
	args := append([]string{
		"--bounding-set=-all", "--inh-caps=-all", "--ambient-caps=-all", "--no-new-privs", "--",
		filepath.Join(n.Bin, "plexus-agent"), "serve", "--kubeconfig", kubeconfig, "--node-name", n.name,
		"--socket", n.socket(), "--state-dir", n.stateDir(), "--metrics-address", metricsAddress, "--log-level", "debug",
	}, more...)
	return exec.Command("setpriv", args...)
}

// launch starts an agent, whose output is added to the file log.
func (n *node) launch(log string, cmd *exec.Cmd) *agent {
	n.t.Helper()
	out, err := os.OpenFile(log, os.O_CREATE|os.O_WRONLY|os.O_APPEND, 0o600)
	check.Must(n.t, err)
	defer out.Close()
	cmd.Stdout, cmd.Stderr = out, out
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL} // it must not outlive the tests
	n.Do(cmd.Start)                                              // where the sandboxes are
	return &agent{n: n, cmd: cmd, log: log, address: metricsAddress}
}

// stateDir is the folder of the journal.
func (n *node) stateDir() string { return filepath.Join(n.CNIDir, "plexus") }

// logged gives what the agent has logged so far.
func (a *agent) logged() string {
	text, _ := os.ReadFile(a.log)
	return string(text)
}

// kill ends the agent at once.
func (a *agent) kill() {
	if a.cmd.ProcessState == nil {
		_ = a.cmd.Process.Kill()
		_ = a.cmd.Wait()
	}
}

// stop asks the agent to end, and fails the test unless it does so in order.
func (a *agent) stop() {
	a.n.t.Helper()
	check.Must(a.n.t, a.cmd.Process.Signal(os.Interrupt))
	if err := a.cmd.Wait(); err != nil {
		a.n.t.Errorf("the agent ended with %v", err)
	}
}

// get asks the agent's HTTP server.
func (a *agent) get(path string) (status int, body string, err error) {
	return get(a.n.t.Context(), a.address, path)
}

func get(ctx context.Context, address, path string) (status int, body string, err error) {
	request, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+address+path, nil)
	if err != nil {
		return 0, "", err
	}
	client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: 5 * time.Second}
	response, err := client.Do(request)
	if err != nil {
		return 0, "", err
	}
	defer response.Body.Close()
	text, err := io.ReadAll(response.Body)
	return response.StatusCode, string(text), err
}

// awaitReady waits until the agent says that it is ready, and answers on its socket.
func (a *agent) awaitReady() {
	a.n.t.Helper()
	a.n.await("the agent to be ready", func() error {
		status, body, err := a.get("/readyz")
		if err == nil && status != http.StatusOK {
			err = errors.New(body)
		}
		if err != nil {
			return err
		}
		if value := a.metric("plexus_serving"); value != "1" {
			return fmt.Errorf("plexus_serving is %q", value)
		}
		return nil
	})
}

// metric gives the value of a time series, by its name with its labels; "" if there is none.
func (a *agent) metric(series string) string {
	_, body, err := a.get("/metrics")
	if err != nil {
		return ""
	}
	for line := range strings.Lines(body) {
		if value, ok := strings.CutPrefix(strings.TrimSpace(line), series+" "); ok {
			return value
		}
	}
	return ""
}

// await waits until condition gives no error.
func (n *node) await(what string, condition func() error) {
	n.t.Helper()
	check.Eventually(n.t, what, patience, condition)
}

// awaitStatus waits until the pod's annotation is what the sandbox's record says.
func (s *sandbox) awaitStatus() {
	s.node.t.Helper()
	s.node.await("the status of "+s.pod.Name, func() error {
		pod, err := s.node.cluster.Client().CoreV1().Pods(s.pod.Namespace).Get(s.node.t.Context(), s.pod.Name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		want := s.recorded()
		if got := pod.Annotations[statusAnnotation]; got != want {
			return fmt.Errorf("the annotation is %q, the journal says %q", got, want)
		}
		return nil
	})
}

// withAgent makes a node with a running agent, which plexus asks, and nobody else if
// alone is set.
func withAgent(t *testing.T, alone bool, more ...string) (*node, *agent) {
	t.Helper()
	n := newNode(t)
	n.config = testnode.Conf{"agentSocket": n.socket()}
	if alone {
		n.config["kubeconfig"] = nil
	}
	a := n.startAgent(n.agentKubeconfig(), more...)
	a.awaitReady()
	return n, a
}

// capabilities gives the effective capabilities of the agent's process.
func (a *agent) capabilities() string {
	a.n.t.Helper()
	status, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", a.cmd.Process.Pid))
	check.Must(a.n.t, err)
	for line := range bytes.Lines(status) {
		if value, ok := bytes.CutPrefix(line, []byte("CapEff:")); ok {
			return strings.TrimSpace(string(value))
		}
	}
	a.n.t.Fatal("no CapEff in the status of the agent's process")
	return ""
}

// wantMetric is an error unless the series has the value.
func (a *agent) wantMetric(series, want string) error {
	if got := a.metric(series); got != want {
		return fmt.Errorf("%s is %q, want %q", series, got, want)
	}
	return nil
}

// podWith makes a pod of the node that asks for networks.
func (n *node) podWith(namespace, name, networks string) *corev1.Pod {
	n.t.Helper()
	return n.cluster.MakePod(n.t, kube.Pod{
		Namespace: namespace, Name: name, Node: n.name, Annotations: map[string]string{types.AnnotationNetworks: networks},
	})
}

// annotation gives the pod's network-status annotation; "" if there is none.
func (n *node) annotation(pod *corev1.Pod) string {
	n.t.Helper()
	found, err := n.cluster.Client().CoreV1().Pods(pod.Namespace).Get(n.t.Context(), pod.Name, metav1.GetOptions{})
	check.Must(n.t, err)
	return found.Annotations[statusAnnotation]
}

// annotate overwrites the pod's network-status annotation; nil removes it.
func (n *node) annotate(pod *corev1.Pod, value any) {
	n.t.Helper()
	patch := toJSON(n.t, map[string]any{"metadata": map[string]any{"annotations": map[string]any{statusAnnotation: value}}})
	_, err := n.cluster.Client().CoreV1().Pods(pod.Namespace).Patch(n.t.Context(), pod.Name, apitypes.MergePatchType, []byte(patch), metav1.PatchOptions{})
	check.Must(n.t, err)
}

// deletePod deletes a pod at once, as a kubelet does in the end.
func (n *node) deletePod(pod *corev1.Pod) {
	n.t.Helper()
	now := int64(0)
	check.Must(n.t, n.cluster.Client().CoreV1().Pods(pod.Namespace).Delete(n.t.Context(), pod.Name, metav1.DeleteOptions{GracePeriodSeconds: &now}))
}

// awaitHits waits until a fault has met so many requests.
func (n *node) awaitHits(fault *faultproxy.Injection, hits int) {
	n.t.Helper()
	n.await("the fault to meet requests", func() error {
		if got := fault.Hits(); got < hits {
			return fmt.Errorf("it has met %d of %d", got, hits)
		}
		return nil
	})
}

// patchesOf gives the writes of a pod's status so far.
func (n *node) patchesOf(pod *corev1.Pod) (patches []faultproxy.Request) {
	for _, request := range n.proxy.Requests(statusPatches) {
		if request.Namespace == pod.Namespace && request.Name == pod.Name {
			patches = append(patches, request)
		}
	}
	return patches
}
