package sriov

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"google.golang.org/grpc"
	podresourcesv1 "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// What the host's side makes in the API server, and the guest's side uses.
const (
	resource  = "example.com/vf"
	nodeName  = "guest"
	twicePod  = "twice"  // asks for the network of the resource as often as it has devices,
	greedyPod = "greedy" // and this one once more
)

// allocating is a kubelet that says of every pod that its container has devices,
// as a kubelet with two NUMA nodes says it: in no order, and each device once per node.
type allocating struct {
	podresourcesv1.UnimplementedPodResourcesListerServer
	devices []string
}

func (a *allocating) Get(_ context.Context, r *podresourcesv1.GetPodResourcesRequest) (*podresourcesv1.GetPodResourcesResponse, error) {
	var said []*podresourcesv1.ContainerDevices
	for node := range int64(2) {
		for _, id := range a.devices {
			topology := &podresourcesv1.TopologyInfo{Nodes: []*podresourcesv1.NUMANode{{ID: node}}}
			said = append(said, &podresourcesv1.ContainerDevices{ResourceName: resource, DeviceIds: []string{id}, Topology: topology})
		}
	}
	pod := &podresourcesv1.PodResources{
		Namespace: r.PodNamespace, Name: r.PodName,
		Containers: []*podresourcesv1.ContainerResources{{Name: "c", Devices: said}},
	}
	return &podresourcesv1.GetPodResourcesResponse{PodResources: pod}, nil
}

// serve serves on a socket until the test ends, and gives its path.
func (a *allocating) serve(t *testing.T) string {
	t.Helper()
	socket := filepath.Join(t.TempDir(), "kubelet.sock")
	listener, err := (&net.ListenConfig{}).Listen(t.Context(), "unix", socket)
	check.Must(t, err)
	server := grpc.NewServer()
	podresourcesv1.RegisterPodResourcesListerServer(server, a)
	done := make(chan struct{})
	go func() {
		defer close(done)
		_ = server.Serve(listener)
	}()
	t.Cleanup(func() {
		server.Stop()
		<-done
	})
	return socket
}

// reachAPI gives the guest its address on the wire that leads to the host's API server.
func (l *lab) reachAPI() {
	l.t.Helper()
	l.sh("modprobe virtio_net")
	const pattern = "/sys/bus/virtio/drivers/virtio_net/virtio*/net/*"
	guest.AwaitFile(l.t, pattern)
	l.settle()
	netdev := filepath.Base(guest.AwaitFile(l.t, pattern))
	l.sh("ip addr replace " + guestAddress + " dev " + netdev + " && ip link set " + netdev + " up")
}

// A resource's VFs go from the kubelet's word to the interfaces of a pod, in order, and
// back; a pod that selects more than it has is refused before anything is touched.
func TestGuestAllocation(t *testing.T) {
	l := newLab(t)
	l.reachAPI()
	l.sh("rm -rf /var/run/k8s.cni.cncf.io")
	low, high := l.vf(pf0, 0), l.vf(pf0, 1)
	if low > high {
		t.Fatalf("%s is not below %s", low, high)
	}
	config := conf{
		"cniVersion": "1.1.0", "name": "cluster", "type": "plexus", "agentSocket": "", "cniDir": "/var/lib/cni", "result": "all",
		"kubeconfig":         filepath.Join(os.Getenv(accessVar), "kubeconfig"),
		"podResourcesSocket": (&allocating{devices: []string{high, low}}).serve(t), "deviceCheckpoint": "",
		"delegates": l.plexusConfig(nil)["delegates"],
	}
	before := l.snapshot()

	greedy := l.netns(greedyPod)
	had := fmt.Sprintf("device %q of resource %s (for network default/fast), device %q of resource %[2]s (for network default/fast)", low, resource, high)
	l.refused(plexus("ADD", greedy), config, 7, "pod default/"+greedyPod+": network default/fast: resource "+resource+": no device is left", had)
	l.mustBe(before, "after the refusal")
	if diff := cmp.Diff([]string{"lo"}, names(l.links(greedy))); diff != "" {
		t.Errorf("in the refused pod: %s", diff)
	}

	pod := l.netns(twicePod)
	l.must(plexus("ADD", pod), config)
	l.lookAllocated(pod, low, high)
	// The DEL of the refused pod, which the kubelet says has the same devices.
	l.must(plexus("DEL", greedy), config)
	l.lookAllocated(pod, low, high)
	l.must(plexus("DEL", pod), config)
	l.mustBe(before, "after DEL")
}

// lookAllocated demands the devices as net0, net1, … of the pod, in its own namespace, and
// in the status of plexus's journal.
func (l *lab) lookAllocated(pod string, devices ...string) {
	l.t.Helper()
	links := l.links(pod)
	for n, device := range devices {
		if parent := named(l.t, links, fmt.Sprintf("net%d", n)).Parent; parent != device {
			l.t.Errorf("net%d is %s, want %s", n, parent, device)
		}
		if slices.ContainsFunc(l.links(""), func(on link) bool { return on.Parent == device }) {
			l.t.Errorf("%s is on the host", device)
		}
		if vf := l.settings("pf0")[n]; fmt.Sprint(vf["vlan_list"], vf["trust"]) != "[map[vlan:100]] true" {
			l.t.Errorf("the PF keeps %v of %s", vf, device)
		}
	}
	l.checkDeviceInfo(pod)
}

// fast is the network of the resource.
func fast(t *testing.T) string {
	t.Helper()
	config, err := json.Marshal(conf{
		"cniVersion": "1.0.0", "name": "fast", "type": pluginName, "vlan": 100, "trust": "on", "capabilities": conf{"CNIDeviceInfoFile": true},
		"ipam": conf{"type": "host-local", "subnet": "10.9.0.0/24"},
	})
	check.Must(t, err)
	return string(config)
}

// selecting is an annotation that selects a network so many times.
func selecting(network string, times int) string {
	return strings.Join(slices.Repeat([]string{network}, times), ",")
}
