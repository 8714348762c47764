package scenarios

import (
	"context"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// What the runtime hands over, counted in requests: containerd, also Debian's of 2023, gives the
// pod's annotations to who declares the capability, so that a call without an agent reads each
// network, and writes once. Without the capability, as with a runtime that does not know it, the
// pod is read too. A DEL asks for nothing.
func TestE2EHandOver(t *testing.T) {
	c := cluster.New(t, cluster.Options{Nodes: 2, Runtimes: []cluster.Runtime{cluster.Containerd, cluster.DebianContainerd}, Plexus: cluster.Alone})
	s := c.Scenario(t)
	s.Network("mv", cluster.Macvlan(73, 10, 99))
	s.Network("local", cluster.LocalBridge("br-hand", "192.168.74.0/24"))
	addAndDelete(s, "handed-over", c.Node(1), 0)
	addAndDelete(s, "debian", c.Node(2), 0)
	s.Must(c.Node(1).InstallPlexus("--extra-config", `{"capabilities": {"io.kubernetes.cri.pod-annotations": false}}`))
	s.Await("the runtime to have read the new configuration", func() error {
		info, err := c.Node(1).CRI("info")
		if err == nil && !strings.Contains(info, `"io.kubernetes.cri.pod-annotations": false`) {
			err = errStill
		}
		return err
	})
	addAndDelete(s, "not-handed-over", c.Node(1), 1)
}

// addAndDelete makes a pod with two networks, and counts requests before and after its end.
func addAndDelete(s *cluster.Scenario, name string, n *cluster.Node, podReads int) {
	s.Helper()
	before := requests(s, n)
	want := map[string]int{
		"get network-attachment-definitions/local": 1, "get network-attachment-definitions/mv": 1, "patch pods/status/" + name: 1,
	}
	if podReads > 0 {
		want["get pods/"+name] = podReads
	}
	p := s.Pod(name, cluster.On(n), cluster.Networks("mv, local")).AwaitReady()
	p.MustHave("eth0", "net0", "net1")
	if diff := cmp.Diff(want, since(before, requests(s, n))); diff != "" {
		s.Errorf("%s: requests for an ADD with 2 networks (-want +got):\n%s", name, diff)
	}
	p.Delete()
	p.AwaitGone()
	if diff := cmp.Diff(want, since(before, requests(s, n))); diff != "" {
		s.Errorf("%s: requests after the DEL (-want +got):\n%s", name, diff)
	}
}

// since gives what is more than before.
func since(before, after map[string]int) map[string]int {
	more := map[string]int{}
	for what, count := range after {
		if count > before[what] {
			more[what] = count - before[what]
		}
	}
	return more
}

// A static pod without networks starts without an API server and without an agent.
func TestE2EStaticWithoutAPI(t *testing.T) {
	c := cluster.New(t, cluster.Options{Nodes: 1, Plexus: cluster.Alone})
	s, n := c.Scenario(t), c.Node(1)
	s.KillAPI()
	t.Cleanup(func() { _ = c.StartAPI(context.Background()) }) // an error if it runs, as it should
	p := s.StaticPod(n, "static")
	s.Await("a static pod to run without an API server", func() error {
		sandboxes, err := n.Sandboxes(s.Namespace)
		if err == nil && (len(sandboxes) != 1 || !sandboxes[0].Ready()) {
			err = errStill
		}
		return err
	})
	if got := len(n.Journal()); got != 1 {
		t.Errorf("there are %d records of one pod", got)
	}
	s.Must(c.StartAPI(t.Context()))
	p.AwaitReady()
	// Without an agent, a status that could not be written waits for the next call on the node.
	s.Pod("next").AwaitReady().MustHave("eth0")
	p.MustHave("eth0")
}

// requests counts what plexus-once of a node has asked the API server for, events aside.
func requests(s *cluster.Scenario, n *cluster.Node) map[string]int {
	s.Helper()
	events, err := s.Audit(func(e kube.AuditEvent) bool {
		return strings.HasPrefix(e.UserAgent, "plexus-once") && e.Caller() == "system:node:"+n.Name && e.ObjectRef.Resource != "events"
	})
	s.Must(err)
	count := map[string]int{}
	for _, e := range events {
		what := e.ObjectRef.Resource
		if e.ObjectRef.Subresource != "" {
			what += "/" + e.ObjectRef.Subresource
		}
		count[e.Verb+" "+what+"/"+e.ObjectRef.Name]++
	}
	return count
}
