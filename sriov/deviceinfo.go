// Package sriov knows devices. So far it keeps the files by which the plugins of an
// attachment describe its device (device information specification 1.1); VFs, PFs and
// representors come with the devices' own work.
package sriov

import (
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// DefaultDeviceInfoDir is the folder that the device information specification names
// for what CNI plugins write.
const DefaultDeviceInfoDir = "/var/run/k8s.cni.cncf.io/devinfo/cni"

// maxFileName is what Linux takes as the name of a file, in bytes.
const maxFileName = 255

// maxDeviceInfo bounds what is read of a file, in bytes: a few lines of JSON.
const maxDeviceInfo = 64 << 10

// DeviceInfoDir is a folder of device-information files.
type DeviceInfoDir string

// Path gives the file of an attachment, by the name that Multus gives it too. It need
// not exist, nor does its folder.
func (d DeviceInfoDir) Path(network, containerID, ifName string) string {
	name := strings.ReplaceAll(fmt.Sprintf("%s-%s_%s", network, containerID, ifName), "/", "-")
	if len(name) > maxFileName {
		h := fnv.New64a()
		_, _ = h.Write([]byte(name))
		name = fmt.Sprintf("%s-%016x", name[:maxFileName-17], h.Sum64())
	}
	return filepath.Join(string(d), name)
}

// Read gives what a file says, nil if there is no file.
func (d DeviceInfoDir) Read(path string) (*types.DeviceInfo, error) {
	info, err := os.Stat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, fmt.Errorf("device information: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxDeviceInfo {
		return nil, fmt.Errorf("device information: %s is not a file of at most %d bytes", path, maxDeviceInfo)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, fmt.Errorf("device information: %w", err)
	}
	return types.ParseDeviceInfo(data)
}

// Remove removes a file if it is there.
func (d DeviceInfoDir) Remove(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("device information: %w", err)
	}
	return nil
}
