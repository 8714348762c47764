package host

import (
	"os"
	"path/filepath"
	"testing"
)

// A device whose interface is in a namespace has an empty folder of interfaces on the host.
func TestDeviceAtHome(t *testing.T) {
	sysfs := t.TempDir()
	for _, folder := range []string{
		"pci/devices/0000:01:00.1/net/eth1",
		"pci/devices/0000:01:00.2/net",
		"pci/devices/0000:01:00.3/iommu_group",
		"pci/devices/0000:01:00.4/virtio3/net",
		"auxiliary/devices/mlx5_core.sf.2/net",
		"auxiliary/devices/mlx5_core.sf.3/net/p0sf3",
	} {
		if err := os.MkdirAll(filepath.Join(sysfs, "bus", folder), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	for id, want := range map[string]bool{
		"0000:01:00.1":      true,
		"0000:01:00.2":      false,
		"0000:01:00.3":      true, // a driver for processes
		"0000:01:00.4":      false,
		"0000:01:00.9":      true, // not there
		"mlx5_core.sf.2":    false,
		"mlx5_core.sf.3":    true,
		"*":                 true,
		"/run/vhost/net1":   true,
		"../devices/0000:0": true,
	} {
		if got := deviceAtHome(sysfs, id); got != want {
			t.Errorf("%s: %v, want %v", id, got, want)
		}
	}
}
