package devices

import (
	"context"
	"errors"
	"net"
	"os"
	"path/filepath"

	resourcev1 "k8s.io/api/resource/v1"
	apitypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/dynamic-resource-allocation/kubeletplugin"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// driver is a driver of devices that are allocated by claims. It prepares nothing: the devices
// are links of the node. It is of this process; its sockets are on the node.
type driver struct {
	s    *cluster.Scenario
	node *cluster.Node
	name string

	helper *kubeletplugin.Helper
}

func newDriver(s *cluster.Scenario, n *cluster.Node, name string) *driver {
	return &driver{s: s, node: n, name: name}
}

// start registers with the kubelet, which looks for drivers in a folder.
func (d *driver) start() {
	d.s.Helper()
	folder := filepath.Join(kubeletplugin.KubeletPluginsDir, d.name)
	d.s.Must(d.node.Do(func() error {
		return os.MkdirAll(folder, 0o750)
	}))
	var err error
	d.helper, err = kubeletplugin.Start(context.WithoutCancel(d.s.Context()), d,
		kubeletplugin.DriverName(d.name), kubeletplugin.NodeName(d.node.Name), kubeletplugin.KubeClient(d.s.Client()),
		kubeletplugin.PluginDataDirectoryPath(folder), kubeletplugin.PluginListener(d.listen), kubeletplugin.RegistrarListener(d.listen),
		kubeletplugin.HealthService(false))
	d.s.Must(err)
	// A pod that comes before waits for more than a minute: the kubelet is in no hurry to ask again.
	d.s.Await("the kubelet to register driver "+d.name, func() error {
		if status := d.helper.RegistrationStatus(); status == nil || !status.PluginRegistered {
			return errors.New("it has not")
		}
		return nil
	})
}

func (d *driver) listen(_ context.Context, path string) (listener net.Listener, err error) {
	err = d.node.Do(func() error {
		if err := os.MkdirAll(filepath.Dir(path), 0o750); err != nil {
			return err
		}
		_ = os.Remove(path)
		unix, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
		if err == nil {
			unix.SetUnlinkOnClose(false) // the path is the node's
			listener = unix
		}
		return err
	})
	return listener, err
}

func (d *driver) stop() {
	if d.helper != nil {
		d.helper.Stop()
		d.helper = nil
	}
}

func (d *driver) restart() {
	d.s.Helper()
	d.stop()
	d.start()
}

// PrepareResourceClaims says which devices of a claim are this driver's.
func (d *driver) PrepareResourceClaims(_ context.Context, claims []*resourcev1.ResourceClaim) (map[apitypes.UID]kubeletplugin.PrepareResult, error) {
	prepared := map[apitypes.UID]kubeletplugin.PrepareResult{}
	for _, c := range claims {
		var result kubeletplugin.PrepareResult
		for _, r := range c.Status.Allocation.Devices.Results {
			if r.Driver == d.name {
				result.Devices = append(result.Devices, kubeletplugin.Device{Requests: []string{r.Request}, PoolName: r.Pool, DeviceName: r.Device, ShareID: r.ShareID})
			}
		}
		prepared[c.UID] = result
	}
	return prepared, nil
}

// UnprepareResourceClaims undoes nothing.
func (*driver) UnprepareResourceClaims(_ context.Context, claims []kubeletplugin.NamespacedObject) (map[apitypes.UID]error, error) {
	undone := map[apitypes.UID]error{}
	for _, c := range claims {
		undone[c.UID] = nil
	}
	return undone, nil
}

// HandleError notes what went wrong in the background.
func (d *driver) HandleError(_ context.Context, err error, msg string) {
	d.s.Logf("driver %s: %s: %v", d.name, msg, err)
}

// WatchHealthStatus is not supported.
func (*driver) WatchHealthStatus(context.Context, chan<- kubeletplugin.DeviceHealthReport) error {
	return kubeletplugin.ErrHealthNotSupported
}
