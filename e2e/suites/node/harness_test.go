// Package node drives plexus with no agent as a runtime does, with real plugins and a
// real API server: what a node sees.
package node

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/proc"
	"github.com/plexus-cni/plexus/internal/test/check"
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
	t       *testing.T
	cluster *kube.Cluster
	proxy   *kube.Proxy // counts requests and injects faults
	name    string
	dir     string
	plugins string
	// config holds keys to be added to plexus's configuration.
	config map[string]any
	// handOver makes the runtime hand the pods' annotations over, as containerd 2 does.
	handOver bool
}

func newNode(t *testing.T) *node {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces (make test-integration)")
	}
	n := &node{t: t, cluster: kube.Shared(t), name: "n-" + strings.ToLower(strings.NewReplacer("_", "-", "/", "-").Replace(t.Name())), dir: t.TempDir()}
	n.plugins = folder(t, "PLEXUS_CNI_BIN") + ":" + folder(t, "PLEXUS_BIN")
	check.Must(t, n.cluster.ApplyNADCRD(t.Context()))
	check.Must(t, n.cluster.BindNodesReadNADs(t.Context()))
	proxy, err := n.cluster.Proxy()
	check.Must(t, err)
	n.proxy = proxy
	t.Cleanup(func() { check.Must(t, proxy.Close()) })
	n.cluster.MakeNode(t, n.name)
	return n
}

func folder(t *testing.T, variable string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		t.Skipf("%s is not set: run make test-integration", variable)
	}
	return dir
}

// kubeconfig is a kubelet's own, through the proxy.
func (n *node) kubeconfig() string {
	n.t.Helper()
	path, err := n.proxy.NodeKubeconfig(n.name)
	check.Must(n.t, err)
	return path
}

// bridge is a network of the real bridge plugin.
func bridge(name, subnet string, defaultGateway bool) map[string]any {
	return map[string]any{
		"cniVersion": "1.0.0", "name": name, "type": "bridge", "bridge": "br-" + name, "isGateway": true, "isDefaultGateway": defaultGateway,
		"ipam": map[string]any{"type": "host-local", "subnet": subnet, "dataDir": ipamDir},
	}
}

func (n *node) conf(command string, annotations map[string]string) []byte {
	n.t.Helper()
	conf := map[string]any{
		"cniVersion": "1.0.0", "name": "plexus", "type": "plexus", "agentSocket": "", "kubeconfig": n.kubeconfig(),
		"cniDir": filepath.Join(n.dir, "cni"), "binDir": strings.Split(n.plugins, ":")[0],
		"delegates": []any{bridge("master", "10.90.0.0/24", true)},
	}
	if n.handOver {
		conf["runtimeConfig"] = map[string]any{types.CapabilityPodAnnotations: annotations}
	}
	for key, value := range n.config {
		conf[key] = value
	}
	data, err := json.Marshal(conf)
	check.Must(n.t, err)
	return data
}

// sandbox is a pod's, as the runtime made it.
type sandbox struct {
	node        *node
	id          string
	netns       string
	pod         *corev1.Pod
	uid         string
	annotations map[string]string // that the runtime hands over
}

// sandbox makes the network namespace of a pod.
func (n *node) sandbox(pod *corev1.Pod) *sandbox {
	n.t.Helper()
	id := "sb-" + string(pod.UID)[:8]
	if out, err := exec.Command("ip", "netns", "add", id).CombinedOutput(); err != nil {
		n.t.Fatalf("ip netns add: %v: %s", err, out)
	}
	n.t.Cleanup(func() { _ = exec.Command("ip", "netns", "del", id).Run() })
	return &sandbox{node: n, id: id, netns: "/run/netns/" + id, pod: pod, uid: string(pod.UID), annotations: pod.Annotations}
}

// outcome is what plexus answered.
type outcome struct {
	OK     bool
	Code   uint
	Msg    string
	Stderr string
}

func (s *sandbox) call(command string) outcome {
	s.node.t.Helper()
	cmd := exec.Command(filepath.Join(strings.Split(s.node.plugins, ":")[1], "plexus"))
	cmd.Env = append(os.Environ(), "CNI_COMMAND="+command, "CNI_CONTAINERID="+s.id, "CNI_NETNS="+s.netns, "CNI_IFNAME=eth0", "CNI_PATH="+s.node.plugins,
		fmt.Sprintf("CNI_ARGS=IgnoreUnknown=1;K8S_POD_NAMESPACE=%s;K8S_POD_NAME=%s;K8S_POD_INFRA_CONTAINER_ID=%s;K8S_POD_UID=%s", s.pod.Namespace, s.pod.Name, s.id, s.uid))
	cmd.Stdin = bytes.NewReader(s.node.conf(command, s.annotations))
	var stdout, stderr bytes.Buffer
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		s.node.t.Fatal(err)
	}
	out := outcome{OK: err == nil, Stderr: stderr.String()}
	if !out.OK {
		check.Must(s.node.t, json.Unmarshal(stdout.Bytes(), &out))
	}
	return out
}

func (s *sandbox) must(command string) {
	s.node.t.Helper()
	if out := s.call(command); !out.OK {
		s.node.t.Fatalf("%s of %s/%s: code %d: %s\n%s", command, s.pod.Namespace, s.pod.Name, out.Code, out.Msg, out.Stderr)
	}
}

// fails makes a call that must fail with the code and say all the words.
func (s *sandbox) fails(command string, code uint, words ...string) {
	s.node.t.Helper()
	out := s.call(command)
	if out.OK || out.Code != code {
		s.node.t.Errorf("%s: got success %v, code %d, want code %d: %s", command, out.OK, out.Code, code, out.Msg)
	}
	for _, word := range words {
		if !strings.Contains(out.Msg, word) {
			s.node.t.Errorf("%s: error %q does not say %q", command, out.Msg, word)
		}
	}
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

// mustBeClean fails the test if the sandbox has left anything in plexus's folders.
func (n *node) mustBeClean() {
	n.t.Helper()
	_ = filepath.WalkDir(filepath.Join(n.dir, "cni"), func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && !strings.HasSuffix(path, ".lock") {
			n.t.Errorf("left behind: %s", path)
		}
		return nil
	})
}
