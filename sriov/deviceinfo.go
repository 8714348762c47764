package sriov

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"hash/fnv"
	"io/fs"
	"os"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// The folders that the device information specification names: one for the files of CNI plugins, one
// for those of device plugins.
const (
	DefaultDeviceInfoDir       = types.DefaultDeviceInfoDir
	DefaultDevicePluginInfoDir = "/var/run/k8s.cni.cncf.io/devinfo/dp"
)

// maxFileName is the length of the longest file name that Linux accepts, in bytes.
const maxFileName = 255

// maxDeviceInfo is the size of the largest file that is read, in bytes. A file holds a few lines of JSON.
const maxDeviceInfo = 64 << 10

// DeviceInfoDir is a folder of device-information files.
type DeviceInfoDir string

// Path gives the file of an attachment, under the name that Multus gives it too. The file and its
// folder need not exist.
func (d DeviceInfoDir) Path(network, containerID, ifName string) string {
	return filepath.Join(string(d), types.DeviceInfoName(network, containerID, ifName))
}

// hash gives 16 hexadecimal digits.
func hash(name string) string {
	h := fnv.New64a()
	_, _ = h.Write([]byte(name))
	return fmt.Sprintf("%016x", h.Sum64())
}

// Read reads a file; it gives nil if there is none.
func (d DeviceInfoDir) Read(path string) (*types.DeviceInfo, error) { return readInfo(path) }

// Remove removes a file as [RemoveInfo] does.
func (d DeviceInfoDir) Remove(path string) error { return RemoveInfo(path) }

// DevicePluginInfoDir is the folder in which device plugins describe the devices that they offer.
type DevicePluginInfoDir string

// Path gives the file of a device, under the name that the specification gives it.
func (d DevicePluginInfoDir) Path(resource, deviceID string) string {
	return filepath.Join(string(d), strings.ReplaceAll(resource+"-"+deviceID, "/", "-")+"-device.json")
}

// Read reads the device plugin's file of a device; it gives nil if there is none.
func (d DevicePluginInfoDir) Read(resource, deviceID string) (*types.DeviceInfo, error) {
	return readInfo(d.Path(resource, deviceID))
}

// InfoFiles are the files that describe the devices of attachments, and the sources of their content.
type InfoFiles struct {
	DeviceInfoDir
	DevicePlugin DevicePluginInfoDir
	Sysfs        Sysfs
}

// Describe writes the file of an attachment: the device plugin's description, or the address that
// the driver of a claim's device publishes, completed from sysfs. It writes none for a device that
// nobody describes.
func (f InfoFiles) Describe(path string, device types.Device) error {
	reported, err := f.DevicePlugin.Read(device.Resource, device.ID)
	found, fault := f.Sysfs.Device(device.ID) // the device need not be one of the kernel
	if fault != nil && device.PCIAddress != "" {
		found, fault = f.Sysfs.Device(device.PCIAddress)
	}
	if fault != nil && device.PCIAddress != "" {
		found = &Device{PCIAddress: device.PCIAddress}
	}
	if info := Complete(reported, found); info != nil {
		err = types.Join(err, WriteInfo(path, info))
	}
	return err
}

// WriteInfo writes a file, and its folder if need be. Whoever reads the file finds the old content or
// the new. Two processes must not write the same file at once: the lock of the attachment sees to that.
func WriteInfo(path string, info *types.DeviceInfo) error {
	data, err := json.Marshal(info)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(path), 0o755)
	}
	if err == nil {
		err = host.ReplaceFile(path, temporaryInfo(path), 0o644, bytes.NewReader(data))
	}
	return describeFault(err)
}

// RemoveInfo removes a file if it is there, and what a killed WriteInfo left of it.
func RemoveInfo(path string) error {
	return describeFault(host.RemoveFiles(temporaryInfo(path), path))
}

// temporaryInfo is the name of a file that is being written. It follows from the file's own, so that
// it can be found after a kill, but is short: the file's own may be as long as a name can be.
func temporaryInfo(path string) string {
	return filepath.Join(filepath.Dir(path), ".new-"+hash(filepath.Base(path)))
}

func readInfo(path string) (*types.DeviceInfo, error) {
	data, err := host.ReadFile(path, maxDeviceInfo)
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, describeFault(err)
	}
	return types.ParseDeviceInfo(data)
}

func describeFault(err error) error {
	if err == nil {
		return nil
	}
	return fmt.Errorf("device information: %w", err)
}
