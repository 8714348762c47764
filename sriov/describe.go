package sriov

import "github.com/plexus-cni/plexus/types"

// deviceInfoVersion is the version of the specification that is written.
const deviceInfoVersion = "1.1.0"

// The types of a device-information file.
const (
	infoPCI       = "pci"
	infoVDPA      = "vdpa"
	infoVhostUser = "vhost-user"
	infoMemif     = "memif"
)

// Info describes a device as the device information specification has it. A device
// that is neither PCI nor vDPA has none.
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

// Complete gives what a device plugin or a CNI plugin said, with what it left out taken
// from the device. What was said is never changed. Either may be nil.
func Complete(said *types.DeviceInfo, d *Device) *types.DeviceInfo {
	var known *types.DeviceInfo
	if d != nil {
		known = d.Info()
	}
	if said == nil {
		return known
	}
	complete := *said
	fill(&complete.Version, deviceInfoVersion)
	if known == nil || known.Type != said.Type {
		return &complete
	}
	if known.PCI != nil {
		complete.PCI = completePCI(said.PCI, known.PCI)
	}
	if known.VDPA != nil {
		complete.VDPA = completeVDPA(said.VDPA, known.VDPA)
	}
	return &complete
}

func completePCI(said, known *types.PCIDevice) *types.PCIDevice {
	if said == nil {
		return known
	}
	complete := *said
	fill(&complete.PCIAddress, known.PCIAddress)
	fill(&complete.RDMADevice, known.RDMADevice)
	fill(&complete.PFPCIAddress, known.PFPCIAddress)
	fill(&complete.RepresentorDevice, known.RepresentorDevice)
	return &complete
}

func completeVDPA(said, known *types.VDPADevice) *types.VDPADevice {
	if said == nil {
		return known
	}
	complete := *said
	fill(&complete.ParentDevice, known.ParentDevice)
	fill(&complete.Driver, known.Driver)
	fill(&complete.Path, known.Path)
	fill(&complete.PCIAddress, known.PCIAddress)
	fill(&complete.PFPCIAddress, known.PFPCIAddress)
	fill(&complete.RepresentorDevice, known.RepresentorDevice)
	return &complete
}

func fill(field *string, value string) {
	if *field == "" {
		*field = value
	}
}

// CheckInfo tells what the specification demands of a description and is not there.
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
