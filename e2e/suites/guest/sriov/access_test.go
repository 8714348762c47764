package sriov

import (
	"encoding/json"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestMain(m *testing.M) { os.Exit(kube.Main(m)) }

// accessVar names the folder of the kubeconfig by which the guest reaches the API server.
const accessVar = "PLEXUS_GUEST_ACCESS"

// QEMU's own network: the guest's address in it, and that under which the loopback of this
// machine answers.
const guestAddress, hostAddress = "10.0.2.15/24", "10.0.2.2"

// A node with manifests has no kubelet to ask, so the pods of this one are in a real API
// server, on this side.
func TestE2EGuestSRIOVAllocation(t *testing.T) {
	c := kube.Shared(t)
	check.Must(t, c.ApplyNADCRD(t.Context()))
	check.Must(t, c.BindNodesReadNADs(t.Context()))
	c.MakeNode(t, nodeName)
	for name, times := range map[string]int{twicePod: 2, greedyPod: 3} {
		c.MakePod(t, kube.Pod{Namespace: "default", Name: name, Node: nodeName, Annotations: map[string]string{"k8s.v1.cni.cncf.io/networks": selecting("fast", times)}})
	}
	c.MakeNAD(t, kube.NAD{Namespace: "default", Name: "fast", Config: fast(t), Annotations: map[string]string{"k8s.v1.cni.cncf.io/resourceName": resource}})
	t.Setenv(accessVar, access(t, c))
	guest.Run(t, guest.Options{
		Run: "^TestGuestAllocation", Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN", accessVar}, NICs: 1, Timeout: bootLimit,
		QEMU: []string{"-netdev", "user,id=host", "-device", "virtio-net-pci,netdev=host,romfile="},
	})
	pod, err := c.Client().CoreV1().Pods("default").Get(t.Context(), twicePod, metav1.GetOptions{})
	check.Must(t, err)
	t.Logf("network-status: %s", pod.Annotations["k8s.v1.cni.cncf.io/network-status"])
	var status []struct {
		Interface string
		Info      struct {
			PCI struct {
				PF string `json:"pf-pci-address"`
			}
		} `json:"device-info"`
	}
	check.Must(t, json.Unmarshal([]byte(pod.Annotations["k8s.v1.cni.cncf.io/network-status"]), &status))
	if got, want := fmt.Sprint(status), fmt.Sprintf("[{eth0 {{}}} {net0 {{%[1]s}}} {net1 {{%[1]s}}}]", pf0); got != want {
		t.Errorf("the interfaces, and the PFs of their devices: %s, want %s", got, want)
	}
}

// access makes a folder with the node's kubeconfig, as the guest needs it: with all that it
// names in it, and the host's address as the guest knows it.
func access(t *testing.T, c *kube.Cluster) string {
	t.Helper()
	return writeAccess(t, c, func(*clientcmdapi.Config) {})
}

// writeAccess writes that kubeconfig, with a change.
func writeAccess(t *testing.T, c *kube.Cluster, change func(*clientcmdapi.Config)) string {
	t.Helper()
	path, err := c.NodeKubeconfig(nodeName)
	check.Must(t, err)
	config, err := clientcmd.LoadFromFile(path)
	check.Must(t, err)
	check.Must(t, clientcmdapi.FlattenConfig(config))
	for _, cluster := range config.Clusters {
		server, err := url.Parse(cluster.Server)
		check.Must(t, err)
		cluster.TLSServerName, cluster.Server = server.Hostname(), "https://"+hostAddress+":"+server.Port()
	}
	change(config)
	dir := t.TempDir()
	check.Must(t, clientcmd.WriteToFile(*config, filepath.Join(dir, "kubeconfig")))
	return dir
}
