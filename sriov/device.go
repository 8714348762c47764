// Package sriov describes devices. It reads sysfs (function, driver, network interface, PF,
// representor), and it reads and writes the files by which device plugins and CNI plugins describe
// a device (device information specification 1.1).
//
// It reads files only. Package sriov/pf asks the kernel, by netlink, for the settings that a PF
// keeps of its VFs.
package sriov

import (
	"encoding/json"
	"slices"
)

// Kind is what a device is.
type Kind string

// The kinds of a device.
const (
	KindVF        Kind = "vf"        // a virtual function of a PCI device
	KindPF        Kind = "pf"        // a PCI function that can have VFs
	KindPCI       Kind = "pci"       // any other PCI function
	KindSF        Kind = "sf"        // a subfunction, on the auxiliary bus
	KindAuxiliary Kind = "auxiliary" // any other device on the auxiliary bus
	KindVDPA      Kind = "vdpa"
)

// Device describes one device.
type Device struct {
	// ID is the PCI address of the device, or its name on the auxiliary or the vDPA bus.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// PCIAddress is the address of the device itself, or of the PCI function that it is part of.
	PCIAddress string `json:"pciAddress,omitempty"`
	Driver     string `json:"driver,omitempty"`
	// Netdev is the device's interface in this network namespace. It is empty while the interface is
	// in another one, and while a process drives the device (UserSpace).
	Netdev      string   `json:"netdev,omitempty"`
	RDMADevices []string `json:"rdmaDevices,omitempty"`
	NUMANode    *int     `json:"numaNode,omitempty"` // nil if the machine has no NUMA nodes
	// PF is the physical function of a VF or of a subfunction.
	PF *PF `json:"pf,omitempty"`
	// Index is the number of a VF, or of a subfunction, in its PF.
	Index       *int   `json:"index,omitempty"`
	Representor string `json:"representor,omitempty"`
	// VFs are the numbers of VFs of a PF.
	VFs  *VFCount `json:"vfs,omitempty"`
	VDPA *VDPA    `json:"vdpa,omitempty"`
}

// PF is a physical function.
type PF struct {
	PCIAddress string `json:"pciAddress"`
	Netdev     string `json:"netdev,omitempty"`
	Driver     string `json:"driver,omitempty"`
}

// VFCount counts the VFs of a PF.
type VFCount struct {
	Now   int `json:"now"`
	Total int `json:"total"` // how many it can have
}

// VDPA describes the vDPA device of a PCI function.
type VDPA struct {
	Name   string `json:"name"`
	Driver string `json:"driver,omitempty"` // vhost or virtio
	Path   string `json:"path,omitempty"`
}

// VFSettings are the settings that a PF keeps of one of its VFs. A setting that the driver does not
// report is nil or empty.
type VFSettings struct {
	MAC       string `json:"mac,omitempty"`
	VLAN      int    `json:"vlan"`
	QoS       int    `json:"vlanQoS"`
	VLANProto string `json:"vlanProto,omitempty"` // 802.1q or 802.1ad
	SpoofChk  *bool  `json:"spoofchk,omitempty"`
	Trust     *bool  `json:"trust,omitempty"`
	MinTxRate uint32 `json:"min_tx_rate"` // Mbit/s; 0 is no limit
	MaxTxRate uint32 `json:"max_tx_rate"`
	LinkState string `json:"link_state,omitempty"` // auto, enable or disable
	NodeGUID  string `json:"nodeGUID,omitempty"`   // Infiniband only
	PortGUID  string `json:"portGUID,omitempty"`
}

// The protocols of a VLAN, as configurations for sriov-cni name them.
const (
	Proto8021Q  = "802.1q"
	Proto8021AD = "802.1ad"
)

// userSpaceDrivers leave a device to a process. It has no interface in the kernel.
var userSpaceDrivers = []string{"vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_vfio_pci"}

// UserSpace reports whether a process drives the device, as DPDK does.
func (d *Device) UserSpace() bool { return slices.Contains(userSpaceDrivers, d.Driver) }

// Clone gives a deep copy.
func (s *VFSettings) Clone() *VFSettings {
	if s == nil {
		return nil
	}
	c := *s
	c.SpoofChk, c.Trust = clone(s.SpoofChk), clone(s.Trust)
	return &c
}

func clone[T any](p *T) *T {
	if p == nil {
		return nil
	}
	v := *p
	return &v
}

// String gives the device as JSON, for logs.
func (d *Device) String() string {
	data, _ := json.Marshal(d)
	return string(data)
}
