package sriov_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/sriov"
)

// tree writes a sysfs from a map of paths: the value "/" makes a folder, one that begins with "->" a
// link, and any other is the content of a file.
func tree(t testing.TB, files map[string]string) sriov.Sysfs {
	t.Helper()
	root := t.TempDir()
	for path, content := range files {
		path = filepath.Join(root, path)
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			t.Fatal(err)
		}
		var err error
		target, isLink := strings.CutPrefix(content, "->")
		switch {
		case strings.HasSuffix(path, "/") || content == "/":
			err = os.MkdirAll(path, 0o755)
		case isLink:
			err = os.Symlink(strings.ReplaceAll(target, "@", root), path)
		default:
			err = os.WriteFile(path, []byte(content), 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	return sriov.Sysfs(root)
}

const (
	pfDir  = "devices/pci0000:00/0000:3b:00.0/"
	vfDir  = "devices/pci0000:00/0000:3b:02.1/"
	pfLink = "->@/devices/pci0000:00/0000:3b:00.0"
	vfLink = "->@/devices/pci0000:00/0000:3b:02.1"
)

// card is a PF with one VF, as the kernel shows it.
func card() map[string]string {
	return map[string]string{
		"bus/pci/devices/0000:3b:00.0": pfLink, "bus/pci/devices/0000:3b:02.1": vfLink,
		pfDir + "sriov_totalvfs": "63\n", pfDir + "sriov_numvfs": "4\n", pfDir + "numa_node": "1\n",
		pfDir + "net/ens1f0/": "/", pfDir + "driver": "->../../../bus/pci/drivers/ice", pfDir + "virtfn0": "->../0000:3b:02.0", pfDir + "virtfn1": "->../0000:3b:02.1",
		vfDir + "physfn": "->../0000:3b:00.0", vfDir + "net/ens1f0v1/": "/", vfDir + "driver": "->../../../bus/pci/drivers/iavf",
		vfDir + "numa_node": "1\n", vfDir + "infiniband/mlx5_3/": "/", vfDir + "infiniband/mlx5_2/": "/",
	}
}

// changed changes a tree of files: an empty value removes a path.
func changed(files, changes map[string]string) map[string]string {
	for path, content := range changes {
		if content == "" {
			delete(files, path)
		} else {
			files[path] = content
		}
	}
	return files
}

func ptr[T any](v T) *T { return &v }

func TestDevice(t *testing.T) {
	pf := &sriov.PF{PCIAddress: "0000:3b:00.0", Netdev: "ens1f0", Driver: "ice"}
	vf := func(change func(*sriov.Device)) *sriov.Device {
		d := &sriov.Device{
			ID: "0000:3b:02.1", Kind: sriov.KindVF, PCIAddress: "0000:3b:02.1", Driver: "iavf", Netdev: "ens1f0v1",
			RDMADevices: []string{"mlx5_2", "mlx5_3"}, NUMANode: ptr(1), PF: pf, Index: ptr(1),
		}
		change(d)
		return d
	}
	for _, tc := range []struct {
		name, id string
		files    map[string]string
		want     *sriov.Device
	}{
		{"a VF", "0000:3b:02.1", card(), vf(func(*sriov.Device) {})},
		{
			"a VF bound to vfio-pci", "0000:3b:02.1",
			changed(card(), map[string]string{vfDir + "net/ens1f0v1/": "", vfDir + "driver": "->../../../bus/pci/drivers/vfio-pci"}),
			vf(func(d *sriov.Device) { d.Driver, d.Netdev = "vfio-pci", "" }),
		},
		{
			"a VF with no driver, on a machine with no NUMA", "0000:3b:02.1",
			changed(card(), map[string]string{vfDir + "net/ens1f0v1/": "", vfDir + "driver": "", vfDir + "numa_node": "-1\n"}),
			vf(func(d *sriov.Device) { d.Driver, d.Netdev, d.NUMANode = "", "", nil }),
		},
		{
			"a VF whose PF has no interface", "0000:3b:02.1",
			changed(card(), map[string]string{pfDir + "net/ens1f0/": "", pfDir + "driver": "->x/vfio-pci"}),
			vf(func(d *sriov.Device) { d.PF = &sriov.PF{PCIAddress: "0000:3b:00.0", Driver: "vfio-pci"} }),
		},
		{
			"a VF in switchdev mode", "0000:3b:02.1",
			changed(card(), map[string]string{
				pfDir + "net/ens1f0/": "", pfDir + "net/aaa/": "/", pfDir + "net/eth7/": "/", pfDir + "net/eth8/": "/",
				"class/net/aaa/phys_port_name": "pf0vf0\n", "class/net/eth7/phys_port_name": "pf0vf1\n", "class/net/eth8/phys_port_name": "p0\n",
			}),
			vf(func(d *sriov.Device) {
				d.PF, d.Representor = &sriov.PF{PCIAddress: "0000:3b:00.0", Netdev: "eth8", Driver: "ice"}, "eth7"
			}),
		},
		{
			"a VF of a DPU's other controller has its representor elsewhere", "0000:3b:02.1",
			changed(card(), map[string]string{pfDir + "net/eth7/": "/", "class/net/eth7/phys_port_name": "c1pf0vf1\n"}),
			vf(func(*sriov.Device) {}),
		},
		{
			"a VF with a vDPA device", "0000:3b:02.1",
			changed(card(), map[string]string{
				vfDir + "vdpa3/vhost-vdpa-2/": "/", vfDir + "vdpa3/driver": "->x/vhost_vdpa", "bus/vdpa/devices/vdpa3": vfLink + "/vdpa3",
			}),
			vf(func(d *sriov.Device) {
				d.VDPA = &sriov.VDPA{Name: "vdpa3", Driver: "vhost", Path: "/dev/vhost-vdpa-2"}
			}),
		},
		{
			"the vDPA device itself", "vdpa3",
			changed(card(), map[string]string{
				vfDir + "vdpa3/virtio4/": "/", vfDir + "vdpa3/driver": "->x/virtio_vdpa", "bus/vdpa/devices/vdpa3": vfLink + "/vdpa3",
			}),
			&sriov.Device{
				ID: "vdpa3", Kind: sriov.KindVDPA, Driver: "virtio_vdpa", PCIAddress: "0000:3b:02.1", PF: pf, Index: ptr(1),
				VDPA: &sriov.VDPA{Name: "vdpa3", Driver: "virtio", Path: "/sys/bus/virtio/devices/virtio4"},
			},
		},
		{
			"a PF", "0000:3b:00.0", card(),
			&sriov.Device{ID: "0000:3b:00.0", Kind: sriov.KindPF, PCIAddress: "0000:3b:00.0", Driver: "ice", Netdev: "ens1f0", NUMANode: ptr(1), VFs: &sriov.VFCount{Now: 4, Total: 63}},
		},
		{
			"a function without SR-IOV", "0000:00:01.0",
			map[string]string{"bus/pci/devices/0000:00:01.0/virtio3/net/eth0/": "/", "bus/pci/devices/0000:00:01.0/driver": "->x/virtio-pci"},
			&sriov.Device{ID: "0000:00:01.0", Kind: sriov.KindPCI, PCIAddress: "0000:00:01.0", Driver: "virtio-pci", Netdev: "eth0"},
		},
		{
			"a subfunction", "mlx5_core.sf.4",
			changed(card(), map[string]string{
				"bus/auxiliary/devices/mlx5_core.sf.4": pfLink + "/mlx5_core.sf.4", pfDir + "mlx5_core.sf.4/sfnum": "88\n",
				pfDir + "mlx5_core.sf.4/net/enp3s0f0s88/": "/", pfDir + "mlx5_core.sf.4/driver": "->x/mlx5_core.sf",
				pfDir + "net/rep88/": "/", "class/net/rep88/phys_port_name": "pf0sf88",
			}),
			&sriov.Device{ID: "mlx5_core.sf.4", Kind: sriov.KindSF, PCIAddress: "0000:3b:00.0", Driver: "mlx5_core.sf", Netdev: "enp3s0f0s88", PF: pf, Index: ptr(88), Representor: "rep88"},
		},
		{
			"another auxiliary device, below a subfunction", "mlx5_core.eth.4",
			changed(card(), map[string]string{"bus/auxiliary/devices/mlx5_core.eth.4": pfLink + "/mlx5_core.sf.4/mlx5_core.eth.4", pfDir + "mlx5_core.sf.4/mlx5_core.eth.4/x": "y"}),
			&sriov.Device{ID: "mlx5_core.eth.4", Kind: sriov.KindAuxiliary, PCIAddress: "0000:3b:00.0", PF: pf},
		},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := tree(t, tc.files).Device(tc.id)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestDeviceRefused(t *testing.T) {
	for _, tc := range []struct {
		name, id string
		files    map[string]string
		is       error
		says     []string
	}{
		{"nothing", "", nil, sriov.ErrNoDevice, nil},
		{"a path", "../../../etc", nil, sriov.ErrNoDevice, []string{"../../../etc"}},
		{"a folder", "..", nil, sriov.ErrNoDevice, nil},
		{"none of the name", "0000:3b:02.9", card(), sriov.ErrNoDevice, []string{"0000:3b:02.9"}},
		{"a very long name", strings.Repeat("a", 5000), nil, sriov.ErrNoDevice, nil},
		{"a link that leads nowhere", "0000:3b:02.1", map[string]string{"bus/pci/devices/0000:3b:02.1": "->@/nowhere"}, sriov.ErrNoDevice, nil},
		{"a VF that its PF does not know", "0000:3b:02.1", changed(card(), map[string]string{pfDir + "virtfn1": ""}), sriov.ErrBadDevice, []string{"0000:3b:02.1", "physfn", "no virtfn"}},
		{"a PF that is gone", "0000:3b:02.1", changed(card(), map[string]string{"bus/pci/devices/0000:3b:00.0": ""}), sriov.ErrBadDevice, []string{"0000:3b:02.1", "physfn"}},
		{"a physfn to nonsense", "0000:3b:02.1", changed(card(), map[string]string{vfDir + "physfn": "->../nonsense"}), sriov.ErrBadDevice, []string{"physfn", "nonsense"}},
		{"a physfn that is a file", "0000:3b:02.1", changed(card(), map[string]string{vfDir + "physfn": "x"}), sriov.ErrBadDevice, []string{"physfn: is not a link"}},
		{"nonsense for a number", "0000:3b:00.0", changed(card(), map[string]string{pfDir + "sriov_numvfs": "many", pfDir + "numa_node": "x"}), sriov.ErrBadDevice, []string{"sriov_numvfs", "many", "numa_node"}},
		{"a negative number", "0000:3b:00.0", changed(card(), map[string]string{pfDir + "sriov_totalvfs": "-1"}), sriov.ErrBadDevice, []string{"sriov_totalvfs"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := tree(t, tc.files).Device(tc.id)
			if !errors.Is(err, tc.is) {
				t.Fatalf("got %v, want %v", err, tc.is)
			}
			for _, word := range tc.says {
				if !strings.Contains(err.Error(), word) {
					t.Errorf("%q does not say %q", err, word)
				}
			}
			if len(err.Error()) > 600 {
				t.Errorf("%d bytes of error", len(err.Error()))
			}
		})
	}
}

// Whatever sysfs holds, Device gives a device or an error, never both or neither.
func FuzzDevice(f *testing.F) {
	f.Add("0000:3b:02.1", "physfn", "->../0000:3b:00.0", "63")
	f.Add("mlx5_core.sf.4", "sfnum", "x", "")
	f.Add("vdpa0", "driver", "->x", "1")
	f.Fuzz(func(t *testing.T, id, file, content, number string) {
		files := card()
		for _, dir := range []string{pfDir, vfDir} {
			files[dir+"sriov_totalvfs"] = number
		}
		root := tree(t, files)
		_ = os.WriteFile(filepath.Join(string(root), vfDir, filepath.Base(file)), []byte(content), 0o600)
		for _, asked := range []string{id, "0000:3b:02.1", "0000:3b:00.0"} {
			device, err := root.Device(asked)
			if (device == nil) == (err == nil) {
				t.Fatalf("%v, %v", device, err)
			}
		}
	})
}
