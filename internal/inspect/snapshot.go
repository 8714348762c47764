// Package inspect says what is wrong with the network of a node and of its pods. All that it
// knows is in one document, the Snapshot: findings and texts are pure functions of it, so
// that one can be saved, sent and tested. Package collect reads a Snapshot from a node.
package inspect

import (
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"time"
)

// APIVersion and Kind are in every Snapshot that this build writes.
const (
	APIVersion = "plexus-cni.io/v1alpha1"
	Kind       = "Snapshot"
)

// ErrNoSnapshot is the error for a document that is no Snapshot.
var ErrNoSnapshot = errors.New("this is not a snapshot of Plexus")

// ErrOtherVersion is the error for a Snapshot of a version that this build does not read.
var ErrOtherVersion = errors.New("the snapshot has a version that this build does not read")

// Snapshot is what was read of a node, at one time. It has no configuration of a
// network in it, unless that was asked for.
type Snapshot struct {
	APIVersion string      `json:"apiVersion"`
	Kind       string      `json:"kind"`
	Machine    Machine     `json:"machine"`
	Namespaces []Namespace `json:"namespaces"` // the node's own is the first
	Records    []Record    `json:"records,omitempty"`
	// Agent says that an agent serves on the node. It publishes the status of pods, and notes nothing of
	// that in the journal.
	Agent bool `json:"agent,omitempty"`
	// Redacted says that its names are made up, those of plugins too.
	Redacted bool `json:"redacted,omitempty"`
	CNI      *CNI `json:"cni,omitempty"` // nil if it was not asked for
	API      *API `json:"api,omitempty"` // nil if no API server was asked
	// Answers are those of the kernel's routing to what path asked, so that a saved Snapshot has them.
	Answers []Answer `json:"answers,omitempty"`
	Notes   []Note   `json:"notes,omitempty"`
}

// Machine is the node.
type Machine struct {
	// Node is the node's name in the cluster, if whoever read it knew it.
	Node     string    `json:"node,omitempty"`
	Hostname string    `json:"hostname"`
	Kernel   string    `json:"kernel"`
	BootID   string    `json:"bootID,omitempty"`
	Taken    time.Time `json:"taken"`
}

// Name is what the node is called: in the cluster, or else by itself.
func (m Machine) Name() string { return cmp.Or(m.Node, m.Hostname, "node") }

// Note is something that could not be read, and why.
type Note struct {
	About string `json:"about"`
	Text  string `json:"text"`
}

// Namespace is a network namespace. Its inode identifies it within the Snapshot.
type Namespace struct {
	Inode uint64 `json:"inode"`
	Host  bool   `json:"host,omitempty"`
	// Brief says that only the interfaces and their addresses were read.
	Brief bool `json:"brief,omitempty"`
	// NSID is the number by which the node's own namespace knows it; nil if it has none,
	// as where no interface leads from one to the other.
	NSID       *int              `json:"nsid,omitempty"`
	Paths      []string          `json:"paths,omitempty"`
	Sandbox    *Sandbox          `json:"sandbox,omitempty"` // if the journal says so or, for what it does not have, the runtime
	Links      []Link            `json:"links"`
	Routes     []Route           `json:"routes,omitempty"`
	Rules      []Rule            `json:"rules,omitempty"`
	Neighbours []Neighbour       `json:"neighbours,omitempty"`
	FDB        []FDBEntry        `json:"fdb,omitempty"`
	Packets    []PacketSocket    `json:"packetSockets,omitempty"`
	Sysctls    map[string]string `json:"sysctls,omitempty"` // by the names that sysctl takes
	// Counters are those of the namespace as a whole, by the names that nstat takes.
	Counters  map[string]uint64 `json:"counters,omitempty"`
	Netfilter Netfilter         `json:"netfilter,omitzero"`
}

// Sandbox is whose namespace it is.
type Sandbox struct {
	ContainerID string `json:"containerID"`
	Pod         string `json:"pod,omitempty"` // namespace/name
}

// Netfilter is which sets of rules a namespace has. The rules are not read.
type Netfilter struct {
	Legacy []string `json:"legacy,omitempty"` // tables of legacy iptables that have rules: "ip filter"
	NFT    []string `json:"nft,omitempty"`    // tables of nftables: "ip filter"
	// Closed are the chains that drop whatever is forwarded: by their policy, without a rule.
	Closed []string `json:"closed,omitempty"` // "legacy ip filter FORWARD", "nft inet filter forward"
}

// Ref identifies an interface. An index alone does not: several namespaces have it.
type Ref struct {
	Namespace uint64 `json:"namespace"` // the inode
	Index     int    `json:"index"`
}

// Link is an interface.
type Link struct {
	Index     int      `json:"index"`
	Name      string   `json:"name"`
	Kind      string   `json:"kind,omitempty"` // "veth", "bridge", …; "device" has none in the kernel
	Flags     []string `json:"flags,omitempty"`
	OperState string   `json:"operstate,omitempty"`
	Up        bool     `json:"up"`      // set up by an administrator
	Carrier   bool     `json:"carrier"` // IFF_LOWER_UP
	MTU       int      `json:"mtu"`
	MAC       string   `json:"mac,omitempty"`
	TxQueue   int      `json:"txQueue,omitempty"`
	Master    int      `json:"master,omitempty"` // index of the bridge, bond or VRF
	// Link is what the kernel calls so: the peer of a veth and netkit, the parent of macvlan,
	// ipvlan and VLAN. Its namespace is 0 if it is not known.
	Link *Ref `json:"link,omitempty"`
	VLAN int  `json:"vlan,omitempty"`
	// VLANProtocol is "802.1ad", or "" for 802.1Q.
	VLANProtocol string     `json:"vlanProtocol,omitempty"`
	Mode         string     `json:"mode,omitempty"` // of macvlan, ipvlan, bond and netkit
	Table        int        `json:"table,omitempty"`
	Bridge       *Bridge    `json:"bridge,omitempty"`
	Port         *Port      `json:"port,omitempty"` // of a bridge
	VXLAN        *VXLAN     `json:"vxlan,omitempty"`
	Tunnel       *Tunnel    `json:"tunnel,omitempty"`
	Tun          *Tun       `json:"tun,omitempty"`
	ActiveSlave  int        `json:"activeSlave,omitempty"` // of a bond: the index of the one that sends
	Slave        *BondSlave `json:"slave,omitempty"`       // of a bond
	Device       *Device    `json:"device,omitempty"`
	VFs          []VF       `json:"vfs,omitempty"` // of a PF
	// PhysPort and PhysSwitch are the port of a switch in hardware that an interface stands for. That of a
	// representor of a VF is as "pf0vf3".
	PhysPort   string      `json:"physPort,omitempty"`
	PhysSwitch string      `json:"physSwitch,omitempty"`
	Ethernet   *Ethernet   `json:"ethernet,omitempty"`
	Qdiscs     []Qdisc     `json:"qdiscs,omitempty"`
	Programs   []Program   `json:"programs,omitempty"`
	Statistics *Statistics `json:"statistics,omitempty"`
	Addresses  []Address   `json:"addresses,omitempty"`
}

// Bridge has the settings of a bridge.
type Bridge struct {
	VLANFiltering bool `json:"vlanFiltering"`
	AgeingTime    int  `json:"ageingTime"` // in hundredths of a second
	DefaultPVID   int  `json:"defaultPVID,omitempty"`
	// VLANs are those that the node itself is in, by the bridge.
	VLANs []PortVLAN `json:"vlans,omitempty"`
}

// Port has the settings of a port of a bridge.
type Port struct {
	State    string     `json:"state,omitempty"` // "forwarding", …
	Hairpin  bool       `json:"hairpin,omitempty"`
	Isolated bool       `json:"isolated,omitempty"`
	VLANs    []PortVLAN `json:"vlans,omitempty"`
}

// PortVLAN is a VLAN of a port.
type PortVLAN struct {
	ID       int  `json:"id"`
	PVID     bool `json:"pvid,omitempty"`
	Untagged bool `json:"untagged,omitempty"`
}

// VXLAN has the settings of a VTEP.
type VXLAN struct {
	ID       int    `json:"id"`
	Local    string `json:"local,omitempty"`
	Group    string `json:"group,omitempty"` // where it sends what has no FDB entry; several nodes if it is multicast
	Lower    int    `json:"lower,omitempty"` // index of the interface that its packets leave by
	Port     int    `json:"port,omitempty"`
	Learning bool   `json:"learning,omitempty"`
	// External says that the VNI and the other end are given with each packet, by a route or a program.
	External bool `json:"external,omitempty"`
}

// Device is the hardware of an interface. A VF has its number, and the names of its PF and of its
// representor on the node.
type Device struct {
	Bus         string `json:"bus,omitempty"`
	ID          string `json:"id"`
	VF          *int   `json:"vf,omitempty"`
	PF          string `json:"pf,omitempty"`
	Representor string `json:"representor,omitempty"`
}

// Statistics are the counters of an interface.
type Statistics struct {
	RxPackets uint64 `json:"rxPackets"`
	RxBytes   uint64 `json:"rxBytes"`
	RxErrors  uint64 `json:"rxErrors"`
	RxDropped uint64 `json:"rxDropped"`
	TxPackets uint64 `json:"txPackets"`
	TxBytes   uint64 `json:"txBytes"`
	TxErrors  uint64 `json:"txErrors"`
	TxDropped uint64 `json:"txDropped"`
}

// Address is an address of an interface.
type Address struct {
	Address string `json:"address"` // with its prefix
	Scope   string `json:"scope,omitempty"`
}

// Route is an entry of a routing table.
type Route struct {
	Table    int    `json:"table"`
	Family   int    `json:"family"`         // 4 or 6
	Type     string `json:"type,omitempty"` // "" is unicast
	To       string `json:"to"`             // "default", or with its prefix
	Via      string `json:"via,omitempty"`
	Index    int    `json:"index,omitempty"` // of the interface
	Source   string `json:"source,omitempty"`
	Scope    string `json:"scope,omitempty"`
	Protocol string `json:"protocol,omitempty"`
	Metric   int    `json:"metric,omitempty"`
	MTU      int    `json:"mtu,omitempty"`
	OnLink   bool   `json:"onLink,omitempty"`
	// NextHops are the ways of a route that has several; Via and Index are empty then.
	NextHops []NextHop `json:"nextHops,omitempty"`
}

// NextHop is one of the ways of a route.
type NextHop struct {
	Via   string `json:"via,omitempty"`
	Index int    `json:"index"`
}

// Rule says when a routing table is used.
type Rule struct {
	Priority int    `json:"priority"`
	Family   int    `json:"family"` // 4 or 6
	From     string `json:"from,omitempty"`
	To       string `json:"to,omitempty"`
	Input    string `json:"iif,omitempty"`
	Output   string `json:"oif,omitempty"`
	Mark     uint32 `json:"mark,omitempty"`
	Not      bool   `json:"not,omitempty"`
	Table    int    `json:"table"`
}

// Neighbour is an entry of the ARP or ND cache.
type Neighbour struct {
	Index   int    `json:"index"`
	Address string `json:"address"`
	MAC     string `json:"mac,omitempty"`
	State   string `json:"state,omitempty"`
	Proxy   bool   `json:"proxy,omitempty"`
}

// FDBEntry is where a bridge or a VTEP sends what is for a MAC.
type FDBEntry struct {
	Index       int    `json:"index"`
	MAC         string `json:"mac"`
	VLAN        int    `json:"vlan,omitempty"`
	Destination string `json:"dst,omitempty"` // of a VTEP
	Self        bool   `json:"self,omitempty"`
	Master      int    `json:"master,omitempty"`
	State       string `json:"state,omitempty"`
}

// Record is what the journal has of one call: what was attached, without any configuration.
type Record struct {
	Sandbox
	Network     string       `json:"network"`   // of Plexus's own configuration
	Interface   string       `json:"interface"` // the runtime's name for the first one
	Path        string       `json:"path,omitempty"`
	Inode       uint64       `json:"inode,omitempty"`
	Live        bool         `json:"live"` // the sandbox can still be there
	Complete    bool         `json:"complete"`
	Published   bool         `json:"published"`
	Created     time.Time    `json:"created,omitzero"`
	Attachments []Attachment `json:"attachments"`
}

// Attachment is one network of a record, with what its plugins answered.
type Attachment struct {
	Network    string              `json:"network"`
	Interface  string              `json:"interface"`
	Plugins    []string            `json:"plugins,omitempty"`
	DeviceID   string              `json:"deviceID,omitempty"`
	Attached   bool                `json:"attached"`
	Interfaces []RecordedInterface `json:"interfaces,omitempty"`
	Addresses  []RecordedAddress   `json:"addresses,omitempty"`
	Routes     []RecordedRoute     `json:"routes,omitempty"`
}

// RecordedInterface is an interface of a CNI result.
type RecordedInterface struct {
	Name      string `json:"name"`
	MAC       string `json:"mac,omitempty"`
	InSandbox bool   `json:"inSandbox,omitempty"`
	Socket    string `json:"socket,omitempty"` // of a vhost-user port, which is no interface of the kernel
}

// RecordedAddress is an address of a CNI result.
type RecordedAddress struct {
	Address   string `json:"address"` // with its prefix
	Gateway   string `json:"gateway,omitempty"`
	Interface string `json:"interface,omitempty"`
}

// RecordedRoute is a route of a CNI result.
type RecordedRoute struct {
	To  string `json:"to"` // with its prefix
	Via string `json:"via,omitempty"`
}

// New gives a Snapshot of the version that this build writes.
func New() *Snapshot { return &Snapshot{APIVersion: APIVersion, Kind: Kind, Namespaces: []Namespace{}} }

// Parse reads a Snapshot. The error is ErrNoSnapshot or ErrOtherVersion.
func Parse(data []byte) (*Snapshot, error) {
	var head struct {
		APIVersion string `json:"apiVersion"`
		Kind       string `json:"kind"`
	}
	if err := json.Unmarshal(data, &head); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSnapshot, err)
	}
	if group, _, _ := strings.Cut(APIVersion, "/"); head.Kind != Kind || !strings.HasPrefix(head.APIVersion, group+"/") {
		return nil, fmt.Errorf("%w: it is %s of %s, want %s of %s", ErrNoSnapshot, cmp.Or(head.Kind, "nothing"), cmp.Or(head.APIVersion, "nobody"), Kind, APIVersion)
	}
	if head.APIVersion != APIVersion {
		return nil, fmt.Errorf("%w: it has %s, this build reads %s; use the kubectl-plexus that wrote it", ErrOtherVersion, head.APIVersion, APIVersion)
	}
	snapshot := New()
	if err := json.Unmarshal(data, snapshot); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSnapshot, err)
	}
	if err := snapshot.check(); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoSnapshot, err)
	}
	return snapshot, nil
}

// Bytes gives the Snapshot as Parse reads it.
func (s *Snapshot) Bytes() ([]byte, error) {
	data, err := json.MarshalIndent(s, "", "  ")
	if err != nil {
		return nil, fmt.Errorf("write the snapshot: %w", err)
	}
	return append(data, '\n'), nil
}
