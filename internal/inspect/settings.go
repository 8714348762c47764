package inspect

// Ethernet is what ethtool shows of an interface.
type Ethernet struct {
	Driver string `json:"driver,omitempty"` // of hardware
	Speed  int    `json:"speed,omitempty"`  // in Mbit/s
	Duplex string `json:"duplex,omitempty"` // "full" or "half"
	// Offloads are those of the kernel's names that say how a packet differs on the wire from what is
	// seen on the node, and whether they are on.
	Offloads map[string]bool `json:"offloads,omitempty"`
}

// Qdisc is a queueing discipline of an interface.
type Qdisc struct {
	Kind    string `json:"kind"`
	Handle  string `json:"handle,omitempty"`
	Parent  string `json:"parent,omitempty"` // "root", "ingress", or a handle
	Rate    uint64 `json:"rate,omitempty"`   // of tbf, in bytes a second
	Burst   uint32 `json:"burst,omitempty"`  // of tbf, in bytes
	Dropped uint64 `json:"dropped,omitempty"`
	// Redirects are the indexes of the interfaces to which its filters send packets, as a bandwidth
	// plugin sends what a pod gets to an ifb.
	Redirects []int `json:"redirects,omitempty"`
}

// Program is a BPF program at an interface. What it does with a packet is not known.
type Program struct {
	At   string `json:"at"` // "xdp", "tc ingress", "tcx egress", "netkit primary", …
	ID   int    `json:"id"`
	Name string `json:"name,omitempty"`
}
