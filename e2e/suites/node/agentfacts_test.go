package node

import (
	"encoding/json"
	"errors"
	"fmt"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apitypes "k8s.io/apimachinery/pkg/types"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

var watches = faultproxy.Match{Verb: "watch"}

// network makes a network of the bridge plugin that asks for no addresses.
func (n *node) network(namespace, name, bridge string) {
	n.t.Helper()
	n.cluster.MakeNAD(n.t, kube.NAD{Namespace: namespace, Name: name, Config: plainBridge(name, bridge)})
}

func plainBridge(name, bridge string) string {
	config, _ := json.Marshal(map[string]any{"cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": bridge, "ipam": map[string]any{}})
	return string(config)
}

// deafen makes the agent's watches hear nothing for a while: its connection is reset, and
// the watches that it then asks for are held back. Its other requests are answered.
func (n *node) deafen(a *agent, s *sandbox, while time.Duration) {
	n.t.Helper()
	held := n.proxy.Inject(faultproxy.Fault{Match: watches, Delay: while, Times: 2})
	reset := n.proxy.Inject(faultproxy.Fault{Match: statusPatches, Reset: true, Times: 1})
	n.annotate(s.pod, "to be put right") // the agent's patch meets the reset
	n.awaitHits(reset, 1)
	n.awaitHits(held, 2) // both watches are asked for again
	s.awaitStatus()
}

// liveReads counts what the agent has read beside its watches.
func (n *node) liveReads() map[string]int {
	return map[string]int{"pods": n.proxy.Count(podReads), "networks": n.proxy.Count(networkReads)}
}

func (n *node) wantLiveReads(what string, pods, networks int) {
	n.t.Helper()
	if diff := cmp.Diff(map[string]int{"pods": pods, "networks": networks}, n.liveReads()); diff != "" {
		n.t.Errorf("%s: live reads (-want +got):\n%s", what, diff)
	}
	n.proxy.Forget()
}

// What came a moment before the ADD, and what has been replaced, is read once, live,
// where the watch has not told of it, and is known again once the watch is back.
func TestKubeAgentBeforeTheWatchTells(t *testing.T) {
	n, a := withAgent(t, true)
	old := n.sandbox(n.annotated("deaf"))
	old.must("ADD")
	old.awaitStatus()
	known := n.sandbox(n.podWith("deaf", "known", "a"))
	n.await("the agent to know the pod", func() error { return a.knows(n, known) })
	const while = 8 * time.Second
	began := time.Now()
	n.deafen(a, old, while)

	n.proxy.Forget()
	known.must("ADD")
	n.wantLiveReads("what was known before", 0, 0)

	n.network("deaf", "new", "br-new")
	young := n.sandbox(n.podWith("deaf", "young", "a,new"))
	n.proxy.Forget()
	young.must("ADD")
	n.wantLiveReads("a pod and a network that have just come", 1, 1)

	old.must("DEL")
	n.deletePod(old.pod)
	again := n.sandbox(n.podWith("deaf", old.pod.Name, "new"))
	n.proxy.Forget()
	again.must("ADD")
	n.wantLiveReads("another pod of a known name", 1, 1)
	if addresses := again.addresses(); len(addresses) != 2 { // eth0 and net0: the older one asked for two
		t.Errorf("it is attached to %v", addresses)
	}
	if took := time.Since(began); took > while {
		t.Skipf("this machine is too slow: the watches were back after %s", while)
	}

	for _, s := range []*sandbox{known, young, again} {
		s.awaitStatus() // the watch is back
	}
	n.proxy.Forget()
	if _, err := n.ask(again); err != nil {
		t.Error(err)
	}
	n.wantLiveReads("after the watch is back", 0, 0)
	for _, s := range []*sandbox{known, young, again} {
		s.must("DEL")
	}
	a.stop()
	n.mustBeClean()
}

// A network that changes is seen, without any read.
func TestKubeAgentSeesChanges(t *testing.T) {
	n, a := withAgent(t, true)
	n.network("changes", "n", "br-before")
	s := n.sandbox(n.podWith("changes", "web", "n"))
	n.proxy.Forget()
	_, err := n.cluster.Dynamic().Resource(kube.NADs).Namespace("changes").Patch(t.Context(), "n", apitypes.MergePatchType,
		[]byte(toJSON(t, map[string]any{"spec": map[string]any{"config": plainBridge("n", "br-after")}})), metav1.PatchOptions{})
	check.Must(t, err)
	n.await("the change to be known", func() error {
		facts, err := n.ask(s)
		if err == nil && !strings.Contains(facts.Networks[0].Config, "br-after") {
			err = errors.New(facts.Networks[0].Config)
		}
		return err
	})
	s.must("ADD")
	if out, err := exec.Command("ip", "link", "show", "br-after").CombinedOutput(); err != nil {
		t.Errorf("it is not attached as the network is now: %s", out)
	}
	s.must("DEL")
	if reads := n.liveReads()["networks"]; reads > 0 {
		t.Errorf("%d networks were read", reads)
	}
	a.stop()
	n.mustBeClean()
}

// An agent and plexus-once say the same of what is not there.
func TestKubeAgentRefusesAsOnceDoes(t *testing.T) {
	n, a := withAgent(t, true)
	pod := n.annotated("same")
	lacking := n.sandbox(n.podWith("same", "lacking", "a,nowhere"))
	another := n.sandbox(pod)
	another.uid = "11111111-1111-1111-1111-111111111111"
	gone := pod.DeepCopy()
	gone.Name, gone.UID = "gone", "22222222-2222-2222-2222-222222222222"
	for name, test := range map[string]struct {
		s           *sandbox
		agent, once uint // codes
		words       []string
	}{
		"no such network": {lacking, types.CodeInvalidConfig, types.CodeInvalidConfig, []string{"same/lacking", "same/nowhere"}},
		"another UID":     {another, types.CodeFailed, types.CodeFailed, []string{"same/web", another.uid, string(pod.UID)}},
		// To a kubelet's credentials the API server does not say so.
		"no such pod": {n.sandbox(gone), types.CodeFailed, types.CodeTryAgainLater, []string{"same/gone"}},
	} {
		n.config = testnode.Conf{"agentSocket": n.socket(), "kubeconfig": nil}
		ofAgent := test.s.call("ADD").Fails(test.agent)
		n.config = testnode.Conf{"agentSocket": "", "addTimeout": "3s"}
		ofOnce := test.s.call("ADD").Fails(test.once)
		check.Contains(t, name+": of the agent", ofAgent.Msg, test.words...)
		check.Contains(t, name+": of plexus-once", ofOnce.Msg, test.words...)
		if name == "no such network" && ofAgent.Msg != ofOnce.Msg {
			t.Errorf("%s: (-agent +once):\n%s", name, cmp.Diff(ofAgent.Msg, ofOnce.Msg))
		}
	}
	a.stop()
	n.mustBeClean()
}

// As long as the agent does not know all pods and networks, plexus asks the API server
// itself; where it may not, it waits, and then says to try again later.
func TestKubeAgentNotReady(t *testing.T) {
	n := newNode(t)
	s := n.sandbox(n.annotated("notready"))
	// The agent's lists and watches hang; single reads do not.
	held := []*faultproxy.Injection{
		n.proxy.Inject(faultproxy.Fault{Match: watches, Delay: time.Hour}),
		n.proxy.Inject(faultproxy.Fault{Match: faultproxy.Match{Verb: "list"}, Delay: time.Hour}),
	}
	a := n.startAgent(n.agentKubeconfig())
	n.await("the agent to say that it is not ready", func() error {
		status, body, err := a.get("/readyz")
		if err == nil && (status != 503 || !strings.Contains(body, "pods are not known yet") || !strings.Contains(body, "networks are not known yet")) {
			err = fmt.Errorf("%d: %s", status, body)
		}
		return errors.Join(err, a.wantMetric("plexus_serving", "1"))
	})

	n.config = testnode.Conf{"agentSocket": n.socket(), "kubeconfig": nil, "addTimeout": "3s"}
	began := time.Now()
	s.fails("ADD", types.CodeTryAgainLater, "notready/web", "not known yet")
	if took := time.Since(began); took < 2*time.Second {
		t.Errorf("it waited only %s", took)
	}
	s.must("DEL")

	n.config = testnode.Conf{"agentSocket": n.socket()}
	s.must("ADD")
	s.awaitStatus()
	s.must("DEL")

	// Without a kubeconfig it waits as long as it takes.
	n.config = testnode.Conf{"agentSocket": n.socket(), "kubeconfig": nil}
	answered := make(chan *testnode.Outcome)
	go func() { answered <- s.call("ADD") }()
	n.await("the question", func() error {
		if got := a.metric("plexus_connections"); got == "0" {
			return errors.New("nobody has connected")
		}
		return nil
	})
	for _, fault := range held {
		fault.Remove()
	}
	a.kill() // what was held back stays so; the next agent's is not
	a = n.startAgent(a.kubeconfig)
	if out := <-answered; out.Err != nil {
		t.Errorf("ADD: code %d: %s", out.Err.Code, out.Err.Msg)
	}
	s.awaitStatus()
	s.must("DEL")
	a.stop()
	n.mustBeClean()
}

// Where no agent answers, an API server that is away for a while costs time, and no pod.
func TestKubeAgentAbsentAndAPIAway(t *testing.T) {
	n := newNode(t)
	n.config = testnode.Conf{"agentSocket": n.socket()}
	s := n.sandbox(n.annotated("bothaway"))
	outage := n.proxy.Inject(faultproxy.Fault{Reset: true})
	const away = 5 * time.Second // longer than an agent is waited for
	defer time.AfterFunc(away, outage.Remove).Stop()
	s.must("ADD")
	s.must("DEL")
	n.mustBeClean()
}

// A watch that breaks is made anew.
func TestKubeAgentWatchHeals(t *testing.T) {
	n, a := withAgent(t, true)
	s := n.sandbox(n.annotated("heals"))
	s.must("ADD")
	s.awaitStatus()
	before := n.proxy.Count(watches)
	n.deafen(a, s, time.Millisecond)
	if again := n.proxy.Count(watches); again < before+2 {
		t.Errorf("%d watches before, %d after", before, again)
	}
	n.await("the agent to be ready", func() error {
		status, body, err := a.get("/readyz")
		if status != 200 {
			err = fmt.Errorf("%d %s: %w", status, body, err)
		}
		return err
	})
	young := n.sandbox(n.podWith("heals", "young", "a"))
	n.await("the agent to know the pod", func() error { return a.knows(n, young) })
	for _, s := range []*sandbox{s, young} {
		s.must("DEL")
	}
	a.stop()
	n.mustBeClean()
}

// bareNode is a node of a cluster of its own, which knows no networks.
func bareNode(t *testing.T) *node {
	t.Helper()
	base := testnode.NewFrom(t, testnode.Options{SharedNetwork: true})
	cluster, err := kube.Start(t.Context(), kube.Options{BinDir: kube.BinDir(t), Dir: t.TempDir()})
	check.Must(t, err)
	t.Cleanup(func() { check.Must(t, cluster.Stop()) })
	return newNodeOf(t, base, cluster, "bare")
}

// In a cluster without the definition of networks the agent is not ready and says why,
// and plain pods start; it becomes ready by itself. When the API server is gone after
// that, pods whose networks are known start, and their status comes later.
func TestKubeAgentWithoutTheDefinition(t *testing.T) {
	n := bareNode(t)
	n.config = testnode.Conf{"agentSocket": n.socket(), "kubeconfig": nil}
	a := n.startAgent(n.agentKubeconfig())
	n.await("the agent to say what is missing", func() error {
		status, body, err := a.get("/readyz")
		if err == nil && (status != 503 || !strings.Contains(body, "deploy/crd.yaml") || strings.Contains(body, "pods are")) {
			err = fmt.Errorf("%d: %s", status, body)
		}
		return err
	})
	plain := n.sandbox(n.cluster.MakePod(t, kube.Pod{Namespace: "bare", Name: "plain", Node: n.name}))
	plain.must("ADD")
	plain.awaitStatus()
	asking := n.sandbox(n.podWith("bare", "asking", "a"))
	asking.fails("ADD", types.CodeInvalidConfig, "bare/asking", "bare/a", "deploy/crd.yaml")

	check.Must(t, n.cluster.ApplyNADCRD(t.Context()))
	var pods []*corev1.Pod
	pods = append(pods, n.annotated("bare"))
	a.awaitReady()
	asking.must("ADD")
	asking.awaitStatus()

	// The API server goes.
	down := n.sandbox(pods[0])
	n.await("the agent to know the pod", func() error { return a.knows(n, down) })
	n.cluster.KillAPI()
	down.must("ADD")
	plain.must("DEL")
	asking.must("DEL")
	n.await("the status to fail", func() error {
		if a.metric(`plexus_publications_total{outcome="error"}`) == "" {
			return errors.New("it has not")
		}
		return nil
	})
	check.Must(t, n.cluster.StartAPI(t.Context()))
	down.awaitStatus()
	down.must("DEL")
	a.stop()
	n.mustBeClean()
	if files, err := filepath.Glob(n.stateDir() + "/*.jsonl*"); err != nil || len(files) > 0 {
		t.Errorf("records are left: %v, %v", files, err)
	}
}
