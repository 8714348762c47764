// Package node drives plexus with no agent as a runtime does, with real plugins and a
// real API server: what a node sees.
package node

import (
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/proc"
	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// TestMain runs the tests in a network and a mount namespace of their own, so that
// nothing of them stays on the machine.
func TestMain(m *testing.M) {
	os.Exit(proc.Isolate(func() int { return inside(m) }))
}

// ipamDir is where host-local keeps the addresses of all tests.
var ipamDir string

// inside runs the tests where everything that they make ends with the process.
func inside(m *testing.M) int {
	var err error
	if ipamDir, err = os.MkdirTemp("", "plexus-ipam-"); err != nil {
		panic(err)
	}
	defer func() { _ = os.RemoveAll(ipamDir) }()
	return kube.Main(m)
}

// node is a machine of the cluster, with a kubelet's rights and a runtime's habits.
type node struct {
	*testnode.Node
	t       *testing.T
	cluster *kube.Cluster
	proxy   *kube.Proxy // counts requests and injects faults
	name    string
	// config holds keys to be added to plexus's configuration.
	config testnode.Conf
	// handOver makes the runtime hand the pods' annotations over, as containerd 2 does.
	handOver bool
}

func newNode(t *testing.T) *node {
	t.Helper()
	base := testnode.NewFrom(t, testnode.Options{SharedNetwork: true})
	cluster := kube.Shared(t)
	check.Must(t, cluster.ApplyNADCRD(t.Context()))
	check.Must(t, cluster.BindNodesReadNADs(t.Context()))
	return newNodeOf(t, base, cluster, "n-"+strings.ToLower(strings.NewReplacer("_", "-", "/", "-").Replace(t.Name())))
}

// newNodeOf makes a node of a cluster.
func newNodeOf(t *testing.T, base *testnode.Node, cluster *kube.Cluster, name string) *node {
	t.Helper()
	n := &node{Node: base, t: t, cluster: cluster, name: name}
	proxy, err := cluster.Proxy()
	check.Must(t, err)
	n.proxy = proxy
	t.Cleanup(func() { check.Must(t, proxy.Close()) })
	cluster.MakeNode(t, name)
	return n
}

// kubeconfig is a kubelet's own, through the proxy.
func (n *node) kubeconfig() string {
	n.t.Helper()
	path, err := n.proxy.NodeKubeconfig(n.name)
	check.Must(n.t, err)
	return path
}

// bridge is a network of the real bridge plugin.
func bridge(name, subnet string, defaultGateway bool) testnode.Conf {
	return testnode.Bridge("br-" + name).With(testnode.Conf{
		"name": name, "isDefaultGateway": defaultGateway,
		"ipam": testnode.Conf{"type": "host-local", "subnet": subnet, "dataDir": ipamDir},
	})
}

func (n *node) conf(annotations map[string]string) testnode.Conf {
	n.t.Helper()
	conf := n.Conf(testnode.Conf{
		"name": "plexus", "kubeconfig": n.kubeconfig(), "manifests": nil, "confDir": nil, "binDir": n.CNIBin,
		"delegates": []testnode.Conf{bridge("master", "10.90.0.0/24", true)},
	})
	if n.handOver {
		conf["runtimeConfig"] = map[string]any{types.CapabilityPodAnnotations: annotations}
	}
	return conf.With(n.config)
}

// sandbox is a pod's, as the runtime made it.
type sandbox struct {
	*testnode.Sandbox
	node        *node
	pod         *corev1.Pod
	uid         string
	annotations map[string]string // that the runtime hands over
}

// sandbox makes the network namespace of a pod.
func (n *node) sandbox(pod *corev1.Pod) *sandbox {
	n.t.Helper()
	return n.sandboxOf(pod, "sb-"+string(pod.UID)[:8])
}

// sandboxOf makes another sandbox of a pod, with an ID of its own.
func (n *node) sandboxOf(pod *corev1.Pod, id string) *sandbox {
	n.t.Helper()
	s := &sandbox{Sandbox: n.Sandbox(id), node: n, pod: pod, uid: string(pod.UID), annotations: pod.Annotations}
	s.Namespace, s.PodName = pod.Namespace, pod.Name
	return s
}

func (s *sandbox) call(command string) *testnode.Outcome {
	s.node.t.Helper()
	n, args := s.node, s.Args()+";K8S_POD_UID="+s.uid
	return n.Call(testnode.Call{Command: command, Config: n.conf(s.annotations), Sandbox: s.Sandbox, Args: &args, CNIPath: n.CNIBin + ":" + n.Bin})
}

func (s *sandbox) must(command string) {
	s.node.t.Helper()
	s.call(command).OK()
}

// fails makes a call that must fail with the code and say all the words.
func (s *sandbox) fails(command string, code uint, words ...string) {
	s.node.t.Helper()
	check.Contains(s.node.t, "error of "+command, s.call(command).Fails(code).Msg, words...)
}

// status gives the pod's network status as the API server has it.
func (s *sandbox) status() []types.NetworkStatus {
	s.node.t.Helper()
	pod, err := s.node.cluster.Client().CoreV1().Pods(s.pod.Namespace).Get(s.node.t.Context(), s.pod.Name, metav1.GetOptions{})
	check.Must(s.node.t, err)
	value, there := pod.Annotations[types.AnnotationNetworkStatus]
	if !there {
		return nil
	}
	status, err := types.ParseStatus(value)
	check.Must(s.node.t, err)
	return status
}

// mustBeClean fails the test if a sandbox has left anything in the node's folders.
func (n *node) mustBeClean() {
	n.t.Helper()
	if left := n.Leftovers(); len(left) > 0 {
		n.t.Errorf("left behind: %v", left)
	}
}
