package node

import (
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apitypes "k8s.io/apimachinery/pkg/types"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// follower writes what install --follow would, every second as install does every ten.
func (n *node) follower(faults map[string]string) {
	n.t.Helper()
	data, err := types.FormatNodeUse(&types.NodeUse{Checked: time.Now(), Version: "v1", File: "00-plexus.conflist", Network: "10-net.conflist", Faults: faults})
	check.Must(n.t, err)
	file := types.NodeUseFile(n.socket())
	check.Must(n.t, os.WriteFile(file+".new", data, 0o600))
	check.Must(n.t, os.Rename(file+".new", file))
}

// status runs plexus-agent status.
func (n *node) status() (out string, err error) {
	cmd := exec.Command(filepath.Join(n.Bin, "plexus-agent"), "status", "--socket", n.socket())
	text, err := cmd.CombinedOutput()
	return string(text), err
}

// nodeEvents gives the events on the node, as kubectl describe finds them.
func (n *node) nodeEvents() []corev1.Event {
	n.t.Helper()
	list, err := n.cluster.Client().CoreV1().Events(metav1.NamespaceDefault).List(n.t.Context(), metav1.ListOptions{
		FieldSelector: "involvedObject.kind=Node,involvedObject.uid=" + n.name,
	})
	check.Must(n.t, err)
	return list.Items
}

func (n *node) awaitEvent(reason, words string) {
	n.t.Helper()
	n.await("event "+reason, func() error {
		for _, event := range n.nodeEvents() {
			if event.Reason == reason && strings.Contains(event.Message, words) && event.InvolvedObject.Name == n.name && event.Source.Component == "plexus" {
				return nil
			}
		}
		return fmt.Errorf("there are %v", n.nodeEvents())
	})
}

// While a node does not use Plexus, the agent says so in its status, in a metric and by an
// event on the node.
func TestKubeAgentSaysWhetherItsNodeUsesPlexus(t *testing.T) {
	n, a := withAgent(t, false)
	out, err := n.status()
	check.Must(t, err)
	check.Contains(t, "status", out, n.name+": not known whether new pods get plexus")
	n.follower(map[string]string{types.UseConfiguration: ""})
	out, err = n.status()
	check.Must(t, err)
	check.Contains(t, "status", out, n.name+": new pods get plexus", "00-plexus.conflist", "sandboxes")
	n.follower(map[string]string{types.UseConfiguration: "the runtime takes 00-aaa.conflist"})
	n.awaitEvent("PlexusNotInUse", "configuration: the runtime takes 00-aaa.conflist")
	out, err = n.status()
	var failed *exec.ExitError
	if !errors.As(err, &failed) || failed.ExitCode() != 1 {
		t.Errorf("it ends with %v", err)
	}
	check.Contains(t, "status", out, "NEW PODS DO NOT GET PLEXUS", "the runtime takes 00-aaa.conflist")
	n.follower(map[string]string{types.UseConfiguration: ""})
	n.awaitEvent("PlexusInUse", "new pods get plexus")
	// What follows no more is a fault.
	check.Must(t, os.WriteFile(types.NodeUseFile(n.socket()), []byte(`{"checked":"2026-01-01T00:00:00Z","faults":{"configuration":""}}`), 0o600))
	n.await("the metric", func() error { return a.wantMetric(`plexus_node_in_use{reason="follow"}`, "0") })
	a.kill()
	out, err = n.status()
	if err == nil {
		t.Error("no agent answers, and that is well")
	}
	check.Contains(t, "status", out, "no answer", "has not checked this node")
}

// The taint of a new node goes once the node uses Plexus, and not before.
func TestKubeAgentRemovesTheTaint(t *testing.T) {
	const key = "plexus-cni.io/not-ready"
	n := newNode(t)
	taints := func() []corev1.Taint {
		t.Helper()
		node, err := n.cluster.Client().CoreV1().Nodes().Get(t.Context(), n.name, metav1.GetOptions{})
		check.Must(t, err)
		return node.Spec.Taints
	}
	_, err := n.cluster.Client().CoreV1().Nodes().Patch(t.Context(), n.name, apitypes.MergePatchType,
		[]byte(`{"spec":{"taints":[{"key":"`+key+`","effect":"NoSchedule"},{"key":"example.com/other","effect":"NoSchedule"}]}}`), metav1.PatchOptions{})
	check.Must(t, err)
	kubeconfig := n.agentKubeconfig()
	for _, object := range []string{"rbac.yaml", "admission-policy.yaml"} {
		check.Must(t, n.cluster.ApplyFile(t.Context(), "../../../deploy/components/taint/"+object))
	}
	a := n.startAgent(kubeconfig, "--remove-taint", key)
	a.awaitReady()
	n.follower(map[string]string{types.UseConfiguration: "", types.UseExecutables: "missing or changed: plexus"})
	n.awaitEvent("PlexusNotInUse", "executables")
	if got := taints(); len(got) != 2 {
		t.Fatalf("the node is not in use, and its taints are %v", got)
	}
	n.follower(map[string]string{types.UseConfiguration: "", types.UseExecutables: "", types.UseFallback: "no file"})
	n.await("the taint to be removed", func() error {
		if got := taints(); len(got) != 1 || got[0].Key != "example.com/other" {
			return fmt.Errorf("the taints are %v", got)
		}
		return nil
	})
	n.await("the log to say so", func() error {
		if !strings.Contains(a.logged(), "its taint is removed") {
			return errors.New("it does not")
		}
		return nil
	})
}

// An agent that was given another node's name, or one that is no node's, is not ready, and
// says why.
func TestKubeAgentOfAnotherNode(t *testing.T) {
	for name, tc := range map[string]struct {
		credentials func(n *node) string
		words       string
	}{
		"its token names its node": {(*node).agentKubeconfig, "the agent's own pod runs on node "},
		"the node is not there":    {func(n *node) string { return n.cluster.AdminKubeconfig() }, "no node of this name"},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			a := n.startAgent(tc.credentials(n), "--node-name", "elsewhere")
			n.await("the reason", func() error {
				_, body, err := a.get("/readyz")
				if err == nil && !strings.Contains(body, tc.words) {
					err = errors.New(body)
				}
				return err
			})
			n.await("the metric", func() error { return a.wantMetric(`plexus_node_in_use{reason="node_name"}`, "0") })
		})
	}
}

// The name of a node that is there, but is not this one, shows by the pods that are attached.
func TestKubeAgentOfAnotherNodeThatIsThere(t *testing.T) {
	n := newNode(t)
	n.cluster.MakeNode(t, "elsewhere")
	a := n.startAgent(n.cluster.AdminKubeconfig(), "--node-name", "elsewhere")
	a.awaitReady()
	n.config = map[string]any{"agentSocket": n.socket()}
	n.annotated("name")
	n.sandbox(n.podWith("name", "here", "a")).must("ADD")
	n.await("the reason", func() error {
		_, body, err := a.get("/readyz")
		if err == nil && !strings.Contains(body, "pod name/here is attached here") {
			err = errors.New(body)
		}
		return err
	})
}
