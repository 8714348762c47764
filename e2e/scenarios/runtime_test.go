package scenarios

import (
	"maps"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/e2e/cluster"
	"github.com/plexus-cni/plexus/e2e/kube"
)

// What the runtime hands over, counted in requests: containerd 2 gives the pod's annotations, so
// that a call without an agent reads each network, and writes once. Debian's does not: it reads
// the pod too. A DEL asks for nothing, and a static pod without networks needs no API server.
func TestE2EHandOver(t *testing.T) {
	c := cluster.New(t, cluster.Options{Nodes: 2, Runtimes: []cluster.Runtime{cluster.Containerd, cluster.DebianContainerd}, Plexus: cluster.Alone})
	s := c.Scenario(t)
	s.Network("mv", cluster.Macvlan(73, 10, 99))
	s.Network("local", cluster.LocalBridge("br-hand", "192.168.74.0/24"))
	add := map[string]int{"get network-attachment-definitions/local": 1, "get network-attachment-definitions/mv": 1}
	tests := []struct {
		node    *cluster.Node
		podRead int
	}{{c.Node(1), 0}, {c.Node(2), 1}}
	for _, test := range tests {
		name := "on-" + test.node.Name
		p := s.Pod(name, cluster.On(test.node), cluster.Networks("mv, local")).AwaitReady()
		p.MustHave("eth0", "net0", "net1")
		want := maps.Clone(add)
		want["patch pods/status/"+name] = 1
		if test.podRead > 0 {
			want["get pods/"+name] = test.podRead
		}
		if diff := cmp.Diff(want, requests(s, test.node)); diff != "" {
			t.Errorf("requests for an ADD with 2 networks on %s (-want +got):\n%s", test.node.Name, diff)
		}
		p.Delete()
		p.AwaitGone()
		if diff := cmp.Diff(want, requests(s, test.node)); diff != "" {
			t.Errorf("requests after the DEL on %s (-want +got):\n%s", test.node.Name, diff)
		}
	}
}

func TestE2EStaticWithoutAPI(t *testing.T) {
	c := cluster.New(t, cluster.Options{Nodes: 1, Plexus: cluster.Alone})
	s, n := c.Scenario(t), c.Node(1)
	s.KillAPI()
	t.Cleanup(func() { s.Must(c.StartAPI(t.Context())) })
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
	p.AwaitReady().MustHave("eth0")
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
