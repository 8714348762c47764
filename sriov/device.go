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

// Device is what is known of one device.
type Device struct {
	// ID is what the device was asked for by: a PCI address, or the name of an
	// auxiliary or vDPA device.
	ID   string `json:"id"`
	Kind Kind   `json:"kind"`
	// PCIAddress is that of the device itself, or of the function that it is part of.
	PCIAddress string `json:"pciAddress,omitempty"`
	Driver     string `json:"driver,omitempty"`
	// Netdev is its interface in this network namespace. It has none while it is in
	// another, and with a driver of user space (UserSpace).
	Netdev      string   `json:"netdev,omitempty"`
	RDMADevices []string `json:"rdmaDevices,omitempty"`
	NUMANode    *int     `json:"numaNode,omitempty"` // nil where the machine has no such thing
	// PF is the physical function of a VF or of a subfunction.
	PF *PF `json:"pf,omitempty"`
	// Index is the number of a VF, or of a subfunction, in its PF.
	Index       *int   `json:"index,omitempty"`
	Representor string `json:"representor,omitempty"`
	// VFs is how many VFs a PF has, and can have.
	VFs  *VFCount `json:"vfs,omitempty"`
	VDPA *VDPA    `json:"vdpa,omitempty"`
}

// PF is a physical function.
type PF struct {
	PCIAddress string `json:"pciAddress"`
	Netdev     string `json:"netdev,omitempty"`
	Driver     string `json:"driver,omitempty"`
}

// VFCount is how many VFs a PF has, and how many it can have.
type VFCount struct {
	Now   int `json:"now"`
	Total int `json:"total"`
}

// VDPA is the vDPA side of a device.
type VDPA struct {
	Name   string `json:"name"`
	Driver string `json:"driver,omitempty"` // vhost or virtio
	Path   string `json:"path,omitempty"`
}

// VFSettings is what a PF keeps of one of its VFs. What the driver does not tell is
// nil or empty.
type VFSettings struct {
	MAC       string `json:"mac,omitempty"`
	VLAN      int    `json:"vlan"`
	QoS       int    `json:"vlanQoS"`
	VLANProto string `json:"vlanProto,omitempty"` // 802.1q or 802.1ad
	SpoofChk  *bool  `json:"spoofchk,omitempty"`
	Trust     *bool  `json:"trust,omitempty"`
	MinTxRate uint32 `json:"min_tx_rate"` // Mbit/s, 0 for no limit
	MaxTxRate uint32 `json:"max_tx_rate"`
	LinkState string `json:"link_state,omitempty"` // auto, enable or disable
	NodeGUID  string `json:"nodeGUID,omitempty"`   // of Infiniband
	PortGUID  string `json:"portGUID,omitempty"`
}

// Protocols of a VLAN, as sriov-cni's users write them.
const (
	Proto8021Q  = "802.1q"
	Proto8021AD = "802.1ad"
)

// userSpaceDrivers leave a device to a process: it has no interface in the kernel.
var userSpaceDrivers = []string{"vfio-pci", "uio_pci_generic", "igb_uio", "mlx5_vfio_pci"}

// UserSpace tells whether a process drives the device, as with DPDK.
func (d *Device) UserSpace() bool { return slices.Contains(userSpaceDrivers, d.Driver) }

// Clone gives a copy that shares nothing with the original.
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
