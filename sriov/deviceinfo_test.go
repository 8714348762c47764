package sriov_test

import (
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

func TestDeviceInfoPaths(t *testing.T) {
	dir := sriov.DeviceInfoDir("/d")
	if got := dir.Path("default/net", "c1", "net0"); got != "/d/default-net-c1_net0" {
		t.Errorf("for a CNI plugin: %s", got)
	}
	if got := filepath.Base(dir.Path(strings.Repeat("n", 300), "c1", "net0")); len(got) != 255 {
		t.Errorf("a long name has %d bytes", len(got))
	}
	if got := sriov.DevicePluginInfoDir("/dp").Path("example.com/vf", "0000:3b:02.1"); got != "/dp/example.com-vf-0000:3b:02.1-device.json" {
		t.Errorf("of a device plugin: %s", got)
	}
}

func TestDeviceInfoFiles(t *testing.T) {
	dp := sriov.DevicePluginInfoDir(t.TempDir())
	if info, err := dp.Read("example.com/vf", "a/b"); info != nil || err != nil {
		t.Errorf("of no file: %v, %v", info, err)
	}
	want := memif
	path := dp.Path("example.com/vf", "a/b")
	if err := sriov.WriteInfo(path, want); err != nil {
		t.Fatal(err)
	}
	got, err := dp.Read("example.com/vf", "a/b")
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	entries, _ := os.ReadDir(string(dp))
	if len(entries) != 1 {
		t.Errorf("there are %d files", len(entries))
	}
	for name, content := range map[string]string{"no JSON": "{", "no type": "{}", "too large": strings.Repeat(" ", 70<<10)} {
		if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
		if info, err := dp.Read("example.com/vf", "a/b"); err == nil {
			t.Errorf("%s: %v", name, info)
		}
	}
	dir := sriov.DeviceInfoDir(string(dp))
	for range 2 {
		if err := dir.Remove(path); err != nil {
			t.Error(err)
		}
	}
	if err := sriov.WriteInfo(path+"\x00", want); err == nil {
		t.Error("no error for a path that cannot be")
	}
}

// unfinished is the file that a killed writer of "info" left. The name is part of what other builds
// find on a node.
const unfinished = ".new-f5d6a8c57ab94f05"

var memif = &types.DeviceInfo{Type: "memif", Version: "1.1.0", Memif: &types.MemifDevice{Role: "master", Path: "/s", Mode: "ethernet"}}

func names(t *testing.T, dir string) []string {
	t.Helper()
	entries, err := os.ReadDir(dir)
	if err != nil {
		t.Fatal(err)
	}
	names := []string{}
	for _, entry := range entries {
		names = append(names, entry.Name())
	}
	return names
}

func TestWriteInfo(t *testing.T) {
	for _, tc := range []struct {
		name, file string
		before     func(dir string) error
	}{
		{"a first file", "info", func(string) error { return nil }},
		{"the longest name", strings.Repeat("x", 255), func(string) error { return nil }},
		{"in the place of another", "info", func(dir string) error { return os.WriteFile(filepath.Join(dir, "info"), []byte("other"), 0o600) }},
		{"in the place of a link", "info", func(dir string) error { return os.Symlink(filepath.Dir(dir), filepath.Join(dir, "info")) }},
		{"after a writer that was killed", "info", func(dir string) error { return os.WriteFile(filepath.Join(dir, unfinished), []byte("{"), 0o600) }},
		{"over a link to somewhere else", "info", func(dir string) error { return os.Symlink("../outside", filepath.Join(dir, unfinished)) }},
	} {
		t.Run(tc.name, func(t *testing.T) {
			dir := filepath.Join(t.TempDir(), "dir")
			if err := errors.Join(os.Mkdir(dir, 0o755), tc.before(dir)); err != nil {
				t.Fatal(err)
			}
			path := filepath.Join(dir, tc.file)
			if err := sriov.WriteInfo(path, memif); err != nil {
				t.Fatal(err)
			}
			got, err := sriov.DeviceInfoDir(dir).Read(path)
			if diff := cmp.Diff(memif, got); diff != "" || err != nil {
				t.Errorf("%v (-want +got):\n%s", err, diff)
			}
			if info, err := os.Lstat(path); err != nil || info.Mode() != 0o644 {
				t.Errorf("%v, %v, want a file of mode 0644", info.Mode(), err)
			}
			if diff := cmp.Diff([]string{tc.file}, names(t, dir)); diff != "" {
				t.Errorf("files (-want +got):\n%s", diff)
			}
			if _, err := os.Lstat(filepath.Join(filepath.Dir(dir), "outside")); err == nil {
				t.Error("it wrote where a link leads")
			}
		})
	}
}

// A write that fails leaves no file behind, and what was under the name stays.
func TestWriteInfoFails(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "info")
	if err := os.MkdirAll(filepath.Join(path, "folder"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := sriov.WriteInfo(path, memif); err == nil {
		t.Error("it replaced a folder")
	}
	if diff := cmp.Diff([]string{"info"}, names(t, dir)); diff != "" {
		t.Errorf("files (-want +got):\n%s", diff)
	}
}

func TestRemoveInfo(t *testing.T) {
	dir := t.TempDir()
	path := filepath.Join(dir, "info")
	for _, left := range [][]string{{"info"}, {unfinished}, {"info", unfinished}, nil} {
		for _, name := range append(left, "other") {
			if err := os.WriteFile(filepath.Join(dir, name), nil, 0o600); err != nil {
				t.Fatal(err)
			}
		}
		if err := sriov.RemoveInfo(path); err != nil {
			t.Error(err)
		}
		if diff := cmp.Diff([]string{"other"}, names(t, dir)); diff != "" {
			t.Errorf("with %q: files (-want +got):\n%s", left, diff)
		}
	}
	if err := sriov.RemoveInfo(filepath.Join(dir, "other", "info")); err == nil {
		t.Error("no error for a path below a file")
	}
}

func TestComplete(t *testing.T) {
	vf := &sriov.Device{
		ID: "0000:3b:02.1", Kind: sriov.KindVF, PCIAddress: "0000:3b:02.1", RDMADevices: []string{"mlx5_2"},
		PF: &sriov.PF{PCIAddress: "0000:3b:00.0"}, Representor: "eth7",
	}
	known := &types.PCIDevice{PCIAddress: "0000:3b:02.1", RDMADevice: "mlx5_2", PFPCIAddress: "0000:3b:00.0", RepresentorDevice: "eth7"}
	vdpa := &sriov.Device{ID: "vdpa3", Kind: sriov.KindVDPA, PCIAddress: "0000:3b:02.1", VDPA: &sriov.VDPA{Name: "vdpa3", Driver: "vhost", Path: "/dev/vhost-vdpa-3"}}
	socket := &types.DeviceInfo{Type: "vhost-user", Version: "1.0.0", VhostUser: &types.VhostUserDevice{Mode: "client", Path: "/s"}}
	for _, tc := range []struct {
		name     string
		reported *types.DeviceInfo
		device   *sriov.Device
		want     *types.DeviceInfo
	}{
		{"nothing is known", nil, nil, nil},
		{"nothing was reported of a VF", nil, vf, &types.DeviceInfo{Type: "pci", Version: "1.1.0", PCI: known}},
		{
			"something was reported", &types.DeviceInfo{Type: "pci", PCI: &types.PCIDevice{PCIAddress: "0000:3b:02.1", VhostNet: "/dev/vhost-net", RDMADevice: "other"}}, vf,
			&types.DeviceInfo{Type: "pci", Version: "1.1.0", PCI: &types.PCIDevice{PCIAddress: "0000:3b:02.1", VhostNet: "/dev/vhost-net", RDMADevice: "other", PFPCIAddress: "0000:3b:00.0", RepresentorDevice: "eth7"}},
		},
		{"only the type was reported", &types.DeviceInfo{Type: "pci", Version: "1.0.0"}, vf, &types.DeviceInfo{Type: "pci", Version: "1.0.0", PCI: known}},
		{"it is something else", socket, vf, socket},
		{
			"vDPA", &types.DeviceInfo{Type: "vdpa", VDPA: &types.VDPADevice{Path: "/mine"}}, vdpa,
			&types.DeviceInfo{Type: "vdpa", Version: "1.1.0", VDPA: &types.VDPADevice{ParentDevice: "vdpa3", Driver: "vhost", Path: "/mine", PCIAddress: "0000:3b:02.1"}},
		},
		{
			"nothing was reported of vDPA", &types.DeviceInfo{Type: "vdpa"}, vdpa,
			&types.DeviceInfo{Type: "vdpa", Version: "1.1.0", VDPA: &types.VDPADevice{ParentDevice: "vdpa3", Driver: "vhost", Path: "/dev/vhost-vdpa-3", PCIAddress: "0000:3b:02.1"}},
		},
		{"an auxiliary device with no PCI above", nil, &sriov.Device{ID: "x.y.0", Kind: sriov.KindAuxiliary}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if diff := cmp.Diff(tc.want, sriov.Complete(tc.reported, tc.device)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestCheckInfo(t *testing.T) {
	for want, info := range map[string]types.DeviceInfo{
		"":                              {Type: "pci", Version: "1.1.0", PCI: &types.PCIDevice{PCIAddress: "0000:3b:02.1"}},
		"device information: version":   {Type: "vhost-user", VhostUser: &types.VhostUserDevice{Mode: "client", Path: "/s"}},
		"device information: vdpa.path": {Type: "vdpa", Version: "1.1.0", VDPA: &types.VDPADevice{ParentDevice: "vdpa0", Driver: "vhost"}},
		"device information: pci: ":     {Type: "pci", Version: "1.1.0"},
		"device information: memif.role: is missing; device information: memif.mode": {Type: "memif", Version: "1.1.0", Memif: &types.MemifDevice{Path: "/s"}},
		"device information: odd": {Type: "odd", Version: "1.1.0"},
	} {
		err := sriov.CheckInfo(&info)
		if (err == nil) != (want == "") || err != nil && !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%+v: %v, want %q", info, err, want)
		}
	}
}

// The attachment's file has the device plugin's description, completed from sysfs. A device that
// neither describes has no file.
func TestInfoFilesDescribe(t *testing.T) {
	const id = "0000:3b:02.1"
	dir := t.TempDir()
	files := sriov.InfoFiles{
		DeviceInfoDir: sriov.DeviceInfoDir(filepath.Join(dir, "cni")), DevicePlugin: sriov.DevicePluginInfoDir(filepath.Join(dir, "dp")), Sysfs: tree(t, card()),
	}
	reported := &types.DeviceInfo{Type: "pci", Version: "1.1.0", PCI: &types.PCIDevice{PCIAddress: id, VhostNet: "/dev/vhost-net"}}
	if err := sriov.WriteInfo(files.DevicePlugin.Path("example.com/vf", id), reported); err != nil {
		t.Fatal(err)
	}
	path := files.Path("default/fast", "c1", "net0")
	if err := files.Describe(path, types.Device{Resource: "example.com/vf", ID: id}); err != nil {
		t.Fatal(err)
	}
	got, err := files.Read(path)
	if err != nil {
		t.Fatal(err)
	}
	want := &types.DeviceInfo{Type: "pci", Version: "1.1.0", PCI: &types.PCIDevice{PCIAddress: id, VhostNet: "/dev/vhost-net", PFPCIAddress: "0000:3b:00.0", RDMADevice: "mlx5_2"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	unknown := files.Path("default/fast", "c1", "net1")
	if err := files.Describe(unknown, types.Device{ID: "fake0"}); err != nil {
		t.Error(err)
	}
	if info, err := files.Read(unknown); info != nil || err != nil {
		t.Errorf("of a device that nobody describes: %+v, %v", info, err)
	}
}

// Of a device of a claim, whose ID may be no address, sysfs is asked by its address; where sysfs
// has none either, the address alone is told.
func TestInfoFilesDescribeAClaimedDevice(t *testing.T) {
	dir := t.TempDir()
	files := sriov.InfoFiles{DeviceInfoDir: sriov.DeviceInfoDir(dir), DevicePlugin: sriov.DevicePluginInfoDir(filepath.Join(dir, "dp")), Sysfs: tree(t, card())}
	for address, want := range map[string]*types.PCIDevice{
		"0000:3b:02.1": {PCIAddress: "0000:3b:02.1", PFPCIAddress: "0000:3b:00.0", RDMADevice: "mlx5_2"},
		"0000:ff:1f.7": {PCIAddress: "0000:ff:1f.7"},
	} {
		path := files.Path("default/fast", "c1", address)
		if err := files.Describe(path, types.Device{Resource: "example.com/vf", ID: "vf-1", PCIAddress: address}); err != nil {
			t.Error(err)
		}
		got, err := files.Read(path)
		if diff := cmp.Diff(&types.DeviceInfo{Type: "pci", Version: "1.1.0", PCI: want}, got); diff != "" || err != nil {
			t.Errorf("%s (-want +got), %v:\n%s", address, err, diff)
		}
	}
}
