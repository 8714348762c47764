package sriov

import (
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// The folders that the device information specification names: for what CNI plugins
// write, and for what device plugins do.
const (
	DefaultDeviceInfoDir       = "/var/run/k8s.cni.cncf.io/devinfo/cni"
	DefaultDevicePluginInfoDir = "/var/run/k8s.cni.cncf.io/devinfo/dp"
)

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
func (d DeviceInfoDir) Read(path string) (*types.DeviceInfo, error) { return readInfo(path) }

// Remove removes a file if it is there.
func (d DeviceInfoDir) Remove(path string) error { return removeInfo(path) }

// DevicePluginInfoDir is the folder in which device plugins describe what they offer.
type DevicePluginInfoDir string

// Path gives the file of a device, by the name that the specification has for it.
func (d DevicePluginInfoDir) Path(resource, deviceID string) string {
	return filepath.Join(string(d), strings.ReplaceAll(resource+"-"+deviceID, "/", "-")+"-device.json")
}

// Read gives what the device plugin says of a device, nil if it says nothing.
func (d DevicePluginInfoDir) Read(resource, deviceID string) (*types.DeviceInfo, error) {
	return readInfo(d.Path(resource, deviceID))
}

// InfoFiles are the files that describe the devices of attachments, and what they are made from.
type InfoFiles struct {
	DeviceInfoDir
	DevicePlugin DevicePluginInfoDir
	Sysfs        Sysfs
}

// Describe writes the file of an attachment: what the device plugin says of the device, and
// what it leaves out from sysfs. Of a device of which nobody knows anything it writes none.
func (f InfoFiles) Describe(path string, device types.Device) error {
	said, err := f.DevicePlugin.Read(device.Resource, device.ID)
	known, _ := f.Sysfs.Device(device.ID) // what is no device of the kernel is the device plugin's alone
	if info := Complete(said, known); info != nil {
		err = types.Join(err, WriteInfo(path, info))
	}
	return err
}

// WriteInfo writes a file whole or not at all, with its folder.
func WriteInfo(path string, info *types.DeviceInfo) error {
	data, err := json.Marshal(info)
	if err != nil {
		return fmt.Errorf("device information: %w", err)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return fmt.Errorf("device information: %w", err)
	}
	file, err := os.CreateTemp(filepath.Dir(path), ".new-")
	if err != nil {
		return fmt.Errorf("device information: %w", err)
	}
	_, err = file.Write(data)
	err = types.Join(err, file.Chmod(0o644), file.Close())
	if err == nil {
		err = os.Rename(file.Name(), path)
	}
	if err != nil {
		return fmt.Errorf("device information: %w", types.Join(err, os.Remove(file.Name())))
	}
	return nil
}

func readInfo(path string) (*types.DeviceInfo, error) {
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

func removeInfo(path string) error {
	if err := os.Remove(path); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return fmt.Errorf("device information: %w", err)
	}
	return nil
}
