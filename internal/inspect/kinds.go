package inspect

// Tunnel has the settings of a tunnel other than VXLAN: ipip, sit, gre, gretap, ip6tnl, geneve and
// their like. The kernel keeps the ends of a wireguard elsewhere: its Tunnel is empty.
type Tunnel struct {
	Local  string `json:"local,omitempty"`
	Remote string `json:"remote,omitempty"`
	Lower  int    `json:"lower,omitempty"` // index of the interface that its packets leave by
	// Key is in the packets that it sends: the key of GRE, the VNI of geneve.
	Key  *uint32 `json:"key,omitempty"`
	Port int     `json:"port,omitempty"` // of UDP at the other end
	// External says that the ends are given with each packet, by a route or a program.
	External bool `json:"external,omitempty"`
}

// BondSlave is how an interface is in its bond.
type BondSlave struct {
	State    string `json:"state"` // "active" or "backup"
	MII      string `json:"mii"`   // "up", "going down", "down" or "going back"
	Failures int    `json:"failures,omitempty"`
}

// Tun is an interface at whose other end is a program.
type Tun struct {
	Layer   int    `json:"layer"` // 2 is tap, 3 is tun
	Program string `json:"program,omitempty"`
}

// PacketSocket is a program that takes packets off an interface, or puts some onto it.
type PacketSocket struct {
	Index    int    `json:"index,omitempty"`    // of the interface; 0 is all
	Protocol uint16 `json:"protocol,omitempty"` // of Ethernet; 3 is all, 0 only sends
	Inode    uint64 `json:"inode,omitempty"`    // of the socket
	Program  string `json:"program,omitempty"`
}

// VF is how a PF treats one of its VFs.
type VF struct {
	Index    int    `json:"index"`
	MAC      string `json:"mac,omitempty"`
	VLAN     int    `json:"vlan,omitempty"`
	QoS      int    `json:"qos,omitempty"`
	Trust    bool   `json:"trust,omitempty"`
	Spoofchk bool   `json:"spoofchk,omitempty"`
	State    string `json:"state,omitempty"` // of its link: "auto", "enable" or "disable"
}
