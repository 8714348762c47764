package node

import (
	"errors"
	"fmt"
	"net/http"
	"os/exec"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apitypes "k8s.io/apimachinery/pkg/types"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
)

// refusalLimit is how long a right that was taken away may count: a watch of a minute, and
// what the API server takes to hear of it.
const refusalLimit = 90 * time.Second

// change gives a network of the bridge plugin another bridge.
func (n *node) change(namespace, name, bridge string) {
	n.t.Helper()
	_, err := n.cluster.Dynamic().Resource(kube.NADs).Namespace(namespace).Patch(n.t.Context(), name, apitypes.MergePatchType,
		[]byte(toJSON(n.t, map[string]any{"spec": map[string]any{"config": plainBridge(name, bridge)}})), metav1.PatchOptions{})
	check.Must(n.t, err)
}

// awaitRefused waits until the agent says that it is refused a kind.
func (a *agent) awaitRefused(kind string) {
	a.n.t.Helper()
	check.Eventually(a.n.t, kind+" to be refused", refusalLimit, func() error {
		status, body, err := a.get("/readyz")
		if err == nil && (status != http.StatusServiceUnavailable || !strings.Contains(body, kind+" may have changed, and the API server refuses the agent")) {
			err = fmt.Errorf("%d: %s", status, body)
		}
		return errors.Join(err, a.wantMetric(`plexus_cache_refused{kind="`+kind+`"}`, "1"))
	})
}

// attachesTo demands that an ADD attaches a new sandbox of the pod to a bridge that was not
// there before.
func (s *sandbox) attachesTo(bridge string) {
	s.node.t.Helper()
	if err := exec.Command("ip", "link", "show", bridge).Run(); err == nil {
		s.node.t.Fatalf("%s is there before the ADD", bridge)
	}
	s.must("ADD")
	if out, err := exec.Command("ip", "link", "show", bridge).CombinedOutput(); err != nil {
		s.node.t.Errorf("it is not attached as the network is now: %s", out)
	}
	s.must("DEL")
}

// An agent whose rights are taken away while it runs leaves the answers to plexus-once, so
// that a network is attached as it is now; with the rights it answers again. Nothing cuts
// its connection: the watches end by themselves.
func TestKubeAgentIsRefusedLater(t *testing.T) {
	n := bareNode(t) // the rights are the cluster's
	check.Must(t, n.cluster.ApplyNADCRD(t.Context()))
	check.Must(t, n.cluster.BindNodesReadNADs(t.Context()))
	n.config = testnode.Conf{"agentSocket": n.socket()}
	a := n.startAgent(n.agentKubeconfig())
	a.awaitReady()
	n.network("refused", "n", "br-known")
	s := n.sandbox(n.podWith("refused", "web", "n"))
	n.await("the agent to know the pod", func() error { return a.knows(n, s) })
	s.attachesTo("br-known")
	byOnce := n.proxy.Count(networkReads)

	check.Must(t, n.cluster.Client().RbacV1().ClusterRoleBindings().Delete(t.Context(), agentAccount, metav1.DeleteOptions{}))
	n.change("refused", "n", "br-changed")
	a.awaitRefused("pods")
	a.awaitRefused("networks")
	n.change("refused", "n", "br-unseen")
	s.attachesTo("br-unseen")
	if got := n.proxy.Count(networkReads); got != byOnce+1 {
		t.Errorf("%d reads of networks after the refusal, want 1", got-byOnce)
	}

	check.Must(t, n.cluster.ApplyFile(t.Context(), "../../../deploy/base/rbac.yaml"))
	check.Eventually(t, "the agent to answer again", refusalLimit, func() error {
		facts, err := n.ask(s)
		if err == nil && !strings.Contains(facts.Networks[0].Config, "br-unseen") {
			err = errors.New(facts.Networks[0].Config)
		}
		return err
	})
	a.awaitReady()
	byOnce = n.proxy.Count(networkReads)
	n.change("refused", "n", "br-back")
	n.await("the change to be known", func() error {
		facts, err := n.ask(s)
		if err == nil && !strings.Contains(facts.Networks[0].Config, "br-back") {
			err = errors.New(facts.Networks[0].Config)
		}
		return err
	})
	s.attachesTo("br-back")
	if got := n.proxy.Count(networkReads); got != byOnce {
		t.Errorf("%d reads of networks with the rights given back", got-byOnce)
	}
	a.stop()
	n.mustBeClean()
}
