package types

import (
	"encoding/json"
	"fmt"
)

// NetworkStatus is one element of the network-status annotation (multi-network
// specification 1.3, section 5.3). The order of the fields is the order in the
// annotation.
type NetworkStatus struct {
	Name         string      `json:"name"`
	Interface    string      `json:"interface,omitempty"`
	IPs          []string    `json:"ips,omitempty"` // without prefix, as the readers of Multus's status expect
	MAC          string      `json:"mac,omitempty"`
	MTU          int         `json:"mtu,omitempty"`
	Default      bool        `json:"default"`
	DNS          DNS         `json:"dns,omitzero"`
	DeviceInfo   *DeviceInfo `json:"device-info,omitempty"`
	DefaultRoute []string    `json:"default-route,omitempty"`
	// Gateway has the content of DefaultRoute, for the readers of Multus's status.
	Gateway []string `json:"gateway,omitempty"`
}

// DNS is the "dns" of a status or of a CNI result.
type DNS struct {
	Nameservers []string `json:"nameservers,omitempty"`
	Domain      string   `json:"domain,omitempty"`
	Search      []string `json:"search,omitempty"`
	Options     []string `json:"options,omitempty"`
}

// IsZero reports whether all of it is empty.
func (d DNS) IsZero() bool {
	return d.Domain == "" && len(d.Nameservers)+len(d.Search)+len(d.Options) == 0
}

// DeviceInfo describes the device behind an attachment (device information
// specification 1.1).
type DeviceInfo struct {
	Type      string           `json:"type,omitempty"` // pci, vdpa, vhost-user or memif
	Version   string           `json:"version,omitempty"`
	PCI       *PCIDevice       `json:"pci,omitempty"`
	VDPA      *VDPADevice      `json:"vdpa,omitempty"`
	VhostUser *VhostUserDevice `json:"vhost-user,omitempty"`
	Memif     *MemifDevice     `json:"memif,omitempty"`
}

// PCIDevice is a PCI function.
type PCIDevice struct {
	PCIAddress        string `json:"pci-address,omitempty"`
	VhostNet          string `json:"vhost-net,omitempty"`
	RDMADevice        string `json:"rdma-device,omitempty"`
	PFPCIAddress      string `json:"pf-pci-address,omitempty"`
	RepresentorDevice string `json:"representor-device,omitempty"`
}

// VDPADevice is a vDPA device.
type VDPADevice struct {
	ParentDevice      string `json:"parent-device,omitempty"`
	Driver            string `json:"driver,omitempty"`
	Path              string `json:"path,omitempty"`
	PCIAddress        string `json:"pci-address,omitempty"`
	PFPCIAddress      string `json:"pf-pci-address,omitempty"`
	RepresentorDevice string `json:"representor-device,omitempty"`
}

// VhostUserDevice is a vhost-user socket.
type VhostUserDevice struct {
	Mode string `json:"mode,omitempty"` // client or server
	Path string `json:"path,omitempty"`
}

// MemifDevice is a memif socket.
type MemifDevice struct {
	Role string `json:"role,omitempty"`
	Path string `json:"path,omitempty"`
	Mode string `json:"mode,omitempty"`
}

// ParseDeviceInfo reads the content of a device-information file.
func ParseDeviceInfo(data []byte) (*DeviceInfo, error) {
	var info DeviceInfo
	if err := json.Unmarshal(data, &info); err != nil {
		return nil, fmt.Errorf("device information: %w", err)
	}
	if info.Type == "" {
		return nil, &FieldError{Field: "device information: type", Problem: "is missing"}
	}
	return &info, nil
}

// FormatStatus encodes a status as the value of the network-status annotation,
// indented, for `kubectl describe`.
func FormatStatus(status []NetworkStatus) (string, error) {
	if status == nil {
		status = []NetworkStatus{}
	}
	data, err := json.MarshalIndent(status, "", "    ")
	return string(data), err
}

// ParseStatus reads the value of a network-status annotation.
func ParseStatus(value string) ([]NetworkStatus, error) {
	var status []NetworkStatus
	if err := json.Unmarshal([]byte(value), &status); err != nil {
		return nil, fmt.Errorf("annotation %s: %w", AnnotationNetworkStatus, err)
	}
	return status, nil
}
