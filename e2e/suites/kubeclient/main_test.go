// Package kubeclient tests package k8sclient and plexus-once against a real API server.
package kubeclient

import (
	"os"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

func TestMain(m *testing.M) { os.Exit(kube.Main(m)) }

const multusNamespace = "kube-system"

// cluster is the shared one, with networks that nodes may read.
func cluster(t testing.TB) *kube.Cluster {
	t.Helper()
	c := kube.Shared(t)
	if err := c.ApplyNADCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
	if err := c.BindNodesReadNADs(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c
}

// through makes a proxy that counts, and injects faults, before the cluster.
func through(t testing.TB, c *kube.Cluster) *kube.Proxy {
	t.Helper()
	p, err := c.Proxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	return p
}

// client makes a client with the result of a method that makes a kubeconfig.
func client(t testing.TB, kubeconfig string, err error) *k8sclient.Client {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
	c, err := k8sclient.New(k8sclient.Options{Kubeconfig: kubeconfig, NodeName: "host", UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func nodeClient(t testing.TB, a *kube.Access, node string) *k8sclient.Client {
	t.Helper()
	kubeconfig, err := a.NodeKubeconfig(node)
	return client(t, kubeconfig, err)
}

// podWithNetworks makes a pod on a node that selects the networks a and b, and these.
func podWithNetworks(t testing.TB, c *kube.Cluster, namespace, node string) types.Pod {
	t.Helper()
	c.MakeNode(t, node)
	pod := c.MakePod(t, kube.Pod{Namespace: namespace, Name: "p", Node: node, Annotations: map[string]string{types.AnnotationNetworks: "a,b"}})
	for _, name := range []string{"a", "b"} {
		c.MakeNAD(t, kube.NAD{Namespace: namespace, Name: name, Config: config(name)})
	}
	return types.Pod{Namespace: namespace, Name: "p", UID: string(pod.UID)}
}

func config(name string) string {
	return `{"cniVersion":"1.1.0","name":"` + name + `","type":"macvlan"}`
}

func ref(namespace, name string) types.Ref { return types.Ref{Namespace: namespace, Name: name} }

func counts(t *testing.T, p *kube.Proxy, want map[faultproxy.Match]int) {
	t.Helper()
	for match, n := range want {
		if got := p.Count(match); got != n {
			t.Errorf("%d requests match %+v, want %d", got, match, n)
		}
	}
}
