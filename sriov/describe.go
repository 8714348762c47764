package sriov

import "github.com/plexus-cni/plexus/types"

// deviceInfoVersion is the version of the specification that the files are written by.
const deviceInfoVersion = "1.1.0"

// The types of a device-information file.
const (
	infoPCI       = "pci"
	infoVDPA      = "vdpa"
	infoVhostUser = "vhost-user"
	infoMemif     = "memif"
)

// Info describes a device in the form of the device information specification. It gives nil for a
// device that is neither PCI nor vDPA.
func (d *Device) Info() *types.DeviceInfo {
	switch {
	case d.VDPA != nil:
		return &types.DeviceInfo{Type: infoVDPA, Version: deviceInfoVersion, VDPA: &types.VDPADevice{
			ParentDevice: d.VDPA.Name, Driver: d.VDPA.Driver, Path: d.VDPA.Path,
			PCIAddress: d.PCIAddress, PFPCIAddress: d.pfAddress(), RepresentorDevice: d.Representor,
		}}
	case d.PCIAddress != "":
		return &types.DeviceInfo{Type: infoPCI, Version: deviceInfoVersion, PCI: &types.PCIDevice{
			PCIAddress: d.PCIAddress, RDMADevice: first(d.RDMADevices), PFPCIAddress: d.pfAddress(), RepresentorDevice: d.Representor,
		}}
	}
	return nil
}

// VhostUserInfo describes a vhost-user port; mode is the application's, "client" or "server".
func VhostUserInfo(mode, socket string) *types.DeviceInfo {
	return &types.DeviceInfo{
		Type: infoVhostUser, Version: deviceInfoVersion, VhostUser: &types.VhostUserDevice{Mode: mode, Path: socket},
	}
}

// pfAddress gives the address of the device's PF, "" if it has none or is the PF.
func (d *Device) pfAddress() string {
	if d.PF == nil || d.PF.PCIAddress == d.PCIAddress {
		return ""
	}
	return d.PF.PCIAddress
}

func first(names []string) string {
	if len(names) == 0 {
		return ""
	}
	return names[0]
}

// Complete gives the description that a device plugin or a CNI plugin reported, with its empty fields
// filled from the device. No other field changes. Either argument may be nil.
func Complete(reported *types.DeviceInfo, d *Device) *types.DeviceInfo {
	var found *types.DeviceInfo
	if d != nil {
		found = d.Info()
	}
	if reported == nil {
		return found
	}
	complete := *reported
	setIfEmpty(&complete.Version, deviceInfoVersion)
	if found == nil || found.Type != reported.Type {
		return &complete
	}
	if found.PCI != nil {
		complete.PCI = completePCI(reported.PCI, found.PCI)
	}
	if found.VDPA != nil {
		complete.VDPA = completeVDPA(reported.VDPA, found.VDPA)
	}
	return &complete
}

func completePCI(reported, found *types.PCIDevice) *types.PCIDevice {
	if reported == nil {
		return found
	}
	complete := *reported
	setIfEmpty(&complete.PCIAddress, found.PCIAddress)
	setIfEmpty(&complete.RDMADevice, found.RDMADevice)
	setIfEmpty(&complete.PFPCIAddress, found.PFPCIAddress)
	setIfEmpty(&complete.RepresentorDevice, found.RepresentorDevice)
	return &complete
}

func completeVDPA(reported, found *types.VDPADevice) *types.VDPADevice {
	if reported == nil {
		return found
	}
	complete := *reported
	setIfEmpty(&complete.ParentDevice, found.ParentDevice)
	setIfEmpty(&complete.Driver, found.Driver)
	setIfEmpty(&complete.Path, found.Path)
	setIfEmpty(&complete.PCIAddress, found.PCIAddress)
	setIfEmpty(&complete.PFPCIAddress, found.PFPCIAddress)
	setIfEmpty(&complete.RepresentorDevice, found.RepresentorDevice)
	return &complete
}

// setIfEmpty sets a field that has no value.
func setIfEmpty(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// CheckInfo reports the fields that the specification demands and a description lacks.
func CheckInfo(info *types.DeviceInfo) error {
	var faults []error
	demand := func(field, value string) {
		if value == "" {
			faults = append(faults, &types.FieldError{Field: "device information: " + field, Problem: "is missing"})
		}
	}
	demand("version", info.Version)
	switch {
	case info.Type == infoPCI && info.PCI != nil:
		demand("pci.pci-address", info.PCI.PCIAddress)
	case info.Type == infoVDPA && info.VDPA != nil:
		demand("vdpa.parent-device", info.VDPA.ParentDevice)
		demand("vdpa.driver", info.VDPA.Driver)
		demand("vdpa.path", info.VDPA.Path)
	case info.Type == infoVhostUser && info.VhostUser != nil:
		demand("vhost-user.mode", info.VhostUser.Mode)
		demand("vhost-user.path", info.VhostUser.Path)
	case info.Type == infoMemif && info.Memif != nil:
		demand("memif.role", info.Memif.Role)
		demand("memif.path", info.Memif.Path)
		demand("memif.mode", info.Memif.Mode)
	default:
		demand(info.Type, "")
	}
	return types.Join(faults...)
}
