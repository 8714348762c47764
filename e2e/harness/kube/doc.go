// Package kube runs a real Kubernetes control plane, etcd and kube-apiserver, for tests.
//
// The control plane listens on loopback only, on ports of its own, with a PKI made for it. It
// authorizes with Node and RBAC and admits with NodeRestriction, so an identity of a node has
// exactly the rights that a kubelet has. Nobody else runs: no controller manager (hence no
// ServiceAccount admission, and a deleted namespace stays Terminating), no scheduler (a pod names
// its node), no kubelet.
//
// A package of tests shares one control plane, started by the first test that asks for it:
//
//	func TestMain(m *testing.M) { os.Exit(kube.Main(m)) }
//
//	func TestStatus(t *testing.T) {
//		c := kube.Shared(t) // skips without PLEXUS_KUBE_BIN
//		c.MakeNode(t, "n1")
//		pod := c.MakePod(t, kube.Pod{Namespace: "a", Name: "p", Node: "n1"})
//		kubeconfig, err := c.NodeKubeconfig("n1")
//		…
//	}
//
// A test that pauses or kills the API server starts one of its own with [Start], or undoes it
// in a cleanup. [Cluster.Proxy] puts a proxy before the API server that counts requests and
// injects faults; [Cluster.Audit] is the server's own, independent record of its requests.
//
// The servers die with the process that started them, however it ends.
package kube
