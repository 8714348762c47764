package vhostuser

import (
	"encoding/json"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
)

// appMode is the application's side of the socket, as the device information
// specification says it: the application makes the socket, the switch connects to it.
const appMode = "server"

// appConfigVersion is the version of the file that AppConfig describes.
const appConfigVersion = 1

// AppConfig is the file by which the application in the pod learns what it got.
type AppConfig struct {
	Version     int                 `json:"version"`
	Network     string              `json:"network"`
	Interface   string              `json:"interface"`
	ContainerID string              `json:"containerID"`
	Socket      string              `json:"socket"` // as the pod sees it
	Mode        string              `json:"mode"`   // server: the application makes the socket
	Queues      int                 `json:"queues"`
	MTU         int                 `json:"mtu,omitempty"`
	MAC         string              `json:"mac,omitempty"`
	IPs         []*current.IPConfig `json:"ips,omitempty"`
	Routes      []*cnitypes.Route   `json:"routes,omitempty"`
	DNS         *cnitypes.DNS       `json:"dns,omitempty"`
}

// userspaceConfigData is the file of the Userspace CNI plugin, whose readers find their
// keys in ours.
type userspaceConfigData struct {
	ContainerID string          `json:"containerId"`
	IfName      string          `json:"ifName"`
	Name        string          `json:"name"`
	Config      UserspaceConfig `json:"config"`
	IPResult    *current.Result `json:"ipResult"`
}

// appConfig gives the application's file. result is what ADD will answer.
func appConfig(c *Config, a *Attachment, p *Place, result *current.Result) ([]byte, error) {
	own := AppConfig{
		Version: appConfigVersion, Network: a.Network, Interface: a.Interface, ContainerID: a.ContainerID,
		Socket: podSocket(c, p), Mode: appMode, Queues: c.Queues, MTU: c.MTU, MAC: c.MAC,
		IPs: result.IPs, Routes: result.Routes,
	}
	if !result.DNS.IsEmpty() {
		own.DNS = &result.DNS
	}
	if c.Userspace == nil {
		return json.MarshalIndent(own, "", "  ")
	}
	theirs := userspaceConfigData{
		ContainerID: a.ContainerID, IfName: a.Interface, Name: c.Name, Config: c.Userspace.Container, IPResult: result,
	}
	theirs.Config.IfType, theirs.Config.Vhost.Mode, theirs.Config.Vhost.SocketFile = "vhostuser", appMode, p.Socket
	if theirs.Config.NetType == "" {
		theirs.Config.NetType = "interface"
	}
	return mergeObjects(own, theirs)
}

// mergeObjects writes two objects as one; where a key is in both the later counts.
func mergeObjects(objects ...any) ([]byte, error) {
	merged := map[string]json.RawMessage{}
	for _, object := range objects {
		data, err := json.Marshal(object)
		if err != nil {
			return nil, err
		}
		if err := json.Unmarshal(data, &merged); err != nil {
			return nil, err
		}
	}
	return json.MarshalIndent(merged, "", "  ")
}
