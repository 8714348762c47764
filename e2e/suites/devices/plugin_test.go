package devices

import (
	"context"
	"errors"
	"fmt"
	"net"
	"os"
	"slices"
	"strings"

	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	pluginapi "k8s.io/kubelet/pkg/apis/deviceplugin/v1beta1"
	podresourcesv1 "k8s.io/kubelet/pkg/apis/podresources/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/types"
)

const (
	resource     = "example.com/nic"
	pluginSocket = "plexus-e2e.sock"
)

// devicePlugin offers devices to a node's kubelet, by the real API. It is of this process; its
// sockets are on the node.
type devicePlugin struct {
	pluginapi.UnimplementedDevicePluginServer
	s    *cluster.Scenario
	node *cluster.Node
	ids  []string

	server *grpc.Server
}

// start serves and registers, once the kubelet is there, and waits until the node offers all.
func (p *devicePlugin) start() {
	p.s.Helper()
	p.s.Await("the kubelet to take device plugins", func() error { return p.node.Do(p.serve) })
	p.s.Await("the kubelet to take a device plugin", p.register)
	p.s.Await("the node to offer the devices", p.offered)
}

// serve serves once the kubelet listens: as it starts, it clears the folder.
func (p *devicePlugin) serve() error {
	kubelet, err := net.Dial("unix", pluginapi.KubeletSocket)
	if err != nil {
		return err
	}
	_ = kubelet.Close()
	_ = os.Remove(pluginapi.DevicePluginPath + pluginSocket)
	listener, err := net.ListenUnix("unix", &net.UnixAddr{Name: pluginapi.DevicePluginPath + pluginSocket, Net: "unix"})
	if err != nil {
		return err
	}
	listener.SetUnlinkOnClose(false) // the path is the node's
	p.server = grpc.NewServer()
	pluginapi.RegisterDevicePluginServer(p.server, p)
	go func() { _ = p.server.Serve(listener) }()
	return nil
}

func (p *devicePlugin) stop() { p.server.Stop() }

func (p *devicePlugin) register() error {
	conn, err := dial(p.node, pluginapi.KubeletSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = pluginapi.NewRegistrationClient(conn).Register(p.s.Context(), &pluginapi.RegisterRequest{
		Version: pluginapi.Version, Endpoint: pluginSocket, ResourceName: resource,
	})
	return err
}

func (p *devicePlugin) offered() error {
	node, err := p.s.Client().CoreV1().Nodes().Get(p.s.Context(), p.node.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	if offered := node.Status.Allocatable[corev1.ResourceName(resource)]; offered.Value() != int64(len(p.ids)) {
		return fmt.Errorf("the API server knows %s", offered.String())
	}
	// What the API server knows may be from before the kubelet was restarted.
	conn, err := dial(p.node, types.DefaultPodResourcesSocket)
	if err != nil {
		return err
	}
	defer conn.Close()
	known, err := podresourcesv1.NewPodResourcesListerClient(conn).GetAllocatableResources(p.s.Context(), &podresourcesv1.AllocatableResourcesRequest{})
	if err != nil {
		return err
	}
	if ids := idsOf(known.Devices); len(ids) != len(p.ids) {
		return fmt.Errorf("the kubelet knows %q", ids)
	}
	return nil
}

// dial gives a client of gRPC of a socket on the node.
func dial(n *cluster.Node, socket string) (*grpc.ClientConn, error) {
	return grpc.NewClient("passthrough:///node", grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithContextDialer(func(context.Context, string) (conn net.Conn, err error) {
			err = n.Do(func() error {
				conn, err = net.Dial("unix", socket)
				return err
			})
			return conn, err
		}))
}

func (*devicePlugin) GetDevicePluginOptions(context.Context, *pluginapi.Empty) (*pluginapi.DevicePluginOptions, error) {
	return &pluginapi.DevicePluginOptions{}, nil
}

// ListAndWatch says once that all devices are well. Each is of two NUMA nodes, so that the
// kubelet notes it twice.
func (p *devicePlugin) ListAndWatch(_ *pluginapi.Empty, stream grpc.ServerStreamingServer[pluginapi.ListAndWatchResponse]) error {
	response := &pluginapi.ListAndWatchResponse{}
	for _, id := range p.ids {
		response.Devices = append(response.Devices, &pluginapi.Device{
			ID: id, Health: pluginapi.Healthy,
			Topology: &pluginapi.TopologyInfo{Nodes: []*pluginapi.NUMANode{{ID: 0}, {ID: 1}}},
		})
	}
	if err := stream.Send(response); err != nil {
		return err
	}
	<-stream.Context().Done()
	return nil
}

func (*devicePlugin) Allocate(_ context.Context, r *pluginapi.AllocateRequest) (*pluginapi.AllocateResponse, error) {
	response := &pluginapi.AllocateResponse{}
	for range r.ContainerRequests {
		response.ContainerResponses = append(response.ContainerResponses, &pluginapi.ContainerAllocateResponse{})
	}
	return response, nil
}

// allocated gives the devices that the kubelet says a pod has: of each container in the
// pod's order, by ID.
func (p *devicePlugin) allocated(pod string) []string {
	p.s.Helper()
	conn, err := dial(p.node, types.DefaultPodResourcesSocket)
	p.s.Must(err)
	defer conn.Close()
	list, err := podresourcesv1.NewPodResourcesListerClient(conn).List(p.s.Context(), &podresourcesv1.ListPodResourcesRequest{})
	p.s.Must(err)
	var all []string
	for _, one := range list.PodResources {
		if one.Namespace != p.s.Namespace || one.Name != pod {
			continue
		}
		for _, c := range one.Containers {
			all = append(all, idsOf(c.Devices)...)
		}
	}
	return all
}

func idsOf(devices []*podresourcesv1.ContainerDevices) []string {
	var ids []string
	for _, d := range devices {
		if d.ResourceName == resource {
			ids = append(ids, d.DeviceIds...)
		}
	}
	slices.Sort(ids)
	return slices.Compact(ids)
}

// links are what the devices are: one end of a pair each, which nothing of a pod's end takes
// away for good. Their names begin as those of a node's own interfaces do.
type links struct {
	node *cluster.Node
	macs map[string]string // by device
}

// nicScript is the plugin of the devices: host-device, for the link that has the device's name.
const nicScript = `#!/bin/sh
sed 's/"deviceID":"\([^"]*\)"/"device":"\1"/;s/"pciBusID":"[^"]*",//' >/run/nic.$$
exec </run/nic.$$
rm /run/nic.$$
exec /opt/cni/bin/host-device
`

func makeLinks(s *cluster.Scenario, n *cluster.Node, ids []string) *links {
	s.Helper()
	l := &links{n, map[string]string{}}
	for _, id := range ids {
		_, err := n.Run("ip", "link", "add", id, "type", "veth", "peer", "name", id+"p")
		s.Must(err)
		_, err = n.Run("ip", "link", "set", id+"p", "up")
		s.Must(err)
		l.macs[id], err = l.mac(id)
		s.Must(err)
	}
	s.Must(n.WriteFile("/opt/cni/bin/plexus-e2e-nic", nicScript))
	_, err := n.Run("chmod", "755", "/opt/cni/bin/plexus-e2e-nic")
	s.Must(err)
	return l
}

// mac gives the address of a device that is on the node.
func (l *links) mac(id string) (string, error) {
	out, err := l.node.Run("ip", "-o", "link", "show", "dev", id)
	if err != nil {
		return "", err
	}
	_, rest, _ := strings.Cut(out, "link/ether ")
	mac, _, _ := strings.Cut(rest, " ")
	return mac, nil
}

// back tells whether a device is on the node, as it was.
func (l *links) back(id string) error {
	mac, err := l.mac(id)
	if err == nil && mac != l.macs[id] {
		err = errors.New("it has another address")
	}
	return err
}
