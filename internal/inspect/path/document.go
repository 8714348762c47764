// Package path says which way a packet takes from a pod to another, and back. The hops are the
// kernels' own answers, which Snapshots have; nothing knows the names or the ways of a CNI plugin.
package path

import "github.com/plexus-cni/plexus/internal/inspect"

// Kind is in every Document.
const Kind = "Path"

// Document is a path between two ends.
type Document struct {
	APIVersion string `json:"apiVersion"`
	Kind       string `json:"kind"`
	From       End    `json:"from"`
	To         End    `json:"to"`
	// Network is the name of the network that both ends are on, if one is recorded.
	Network string `json:"network,omitempty"`
	// Bound says that a program has to bind its socket to the interface of From to take this path.
	Bound bool `json:"bound,omitempty"`
	There Way  `json:"there"`
	// Back is the way of the answer; nil if the far end is in no Snapshot.
	Back *Way `json:"back,omitempty"`
	// Narrowest is where the largest packet of both ways is decided; nil if no MTU is known.
	Narrowest *Narrowest `json:"narrowest,omitempty"`
	// Probe is what became of packets that were sent along the path; nil if none were.
	Probe *Probe         `json:"probe,omitempty"`
	Notes []inspect.Note `json:"notes,omitempty"`
}

// End is where a path begins or ends.
type End struct {
	// Ref has the namespace, if it is known, and the interface, if one was chosen.
	Ref       inspect.Ref `json:"ref,omitzero"`
	Node      string      `json:"node,omitempty"`
	Subject   string      `json:"subject"` // "pod shop/web", "the node", or the address
	Interface string      `json:"interface,omitempty"`
	Address   string      `json:"address"` // without a prefix
	Port      uint16      `json:"port,omitempty"`
}

// Narrowest is the hop that the largest packet has to fit through.
type Narrowest struct {
	// Size is the largest IP packet of the ends, in bytes, that passes each hop whole.
	Size int    `json:"size"`
	Node string `json:"node,omitempty"`
	Hop  string `json:"hop"` // the interface's name
	// Sends is what the ends may send: the smaller MTU of their interfaces. If it is more than Size,
	// larger packets are cut or lost.
	Sends int `json:"sends"`
	// Told says that the routing before this hop tells the sender (ICMP), who then sends smaller packets.
	Told bool `json:"told,omitempty"`
}

// Outcome is how a way ends, as far as the kernels say.
type Outcome string

// The outcomes of a way.
const (
	Arrives Outcome = "arrives" // at the other end
	Leaves  Outcome = "leaves"  // what is known: the next hop is in no Snapshot
	Lost    Outcome = "lost"    // a kernel drops it, or has nowhere to send it
	Unknown Outcome = "unknown" // it was handed to what cannot be asked
)

// Way is the way of packets in one direction.
type Way struct {
	From    string  `json:"from"` // the addresses of the packets
	To      string  `json:"to"`
	Hops    []Hop   `json:"hops"`
	Outcome Outcome `json:"outcome"`
	// Reason says why it does not arrive, and Do what to do about it.
	Reason string `json:"reason,omitempty"`
	Do     string `json:"do,omitempty"`
}

// Place is where a hop is, for a picture: pods at the top, wires at the bottom.
type Place string

// The places of a hop.
const (
	InPod  Place = "pod"
	InNode Place = "node"
	AtWire Place = "wire" // an interface of the node that leads out of it
)

// State is what is known of a packet at a hop.
type State string

// The states of a hop. The last three are those of a probe, of the first of its packets for which
// they are not the same as those of the others.
const (
	Passes    State = "passes"
	IsLost    State = "lost"
	IsUnknown State = "unknown"
	Seen      State = "seen"
	NotSeen   State = "not seen"
	Changed   State = "changed"
)

// Hop is an interface that a packet passes, or what it is handed to.
type Hop struct {
	Ref   inspect.Ref `json:"ref,omitzero"` // zero for what is no interface
	Node  string      `json:"node,omitempty"`
	In    string      `json:"in"` // the namespace: "pod shop/web", "the node"
	Place Place       `json:"place"`
	Name  string      `json:"name"` // of the interface
	Kind  string      `json:"kind"` // "veth", "bridge", "vxlan", "VF", …
	// About are facts of the hop for the second line of a box: addresses, VNI, mode.
	About []string `json:"about,omitempty"`
	MTU   int      `json:"mtu,omitempty"`
	// Tunnels are how many headers of tunnels the packet has at this hop, and Overhead their bytes.
	Tunnels  int `json:"tunnels,omitempty"`
	Overhead int `json:"overhead,omitempty"`
	// From and To are the addresses of the outermost packet here, where a tunnel carries the path's; else "".
	From string `json:"from,omitempty"`
	To   string `json:"to,omitempty"`
	// Step is how the packet comes here from the hop before; its zero value is of the first one.
	Step  Step  `json:"step,omitzero"`
	State State `json:"state"`
	// Probed is what became of each packet of the probe here, in their order; nil if none could be seen here.
	Probed []Probed `json:"probed,omitempty"`
	// Notes are what holds here and cannot be asked: tables of rules, BPF programs.
	Notes []string `json:"notes,omitempty"`
}

// StepKind is how a packet comes from one hop to the next.
type StepKind string

// The kinds of steps.
const (
	Pair         StepKind = "pair"         // through a veth or netkit
	Bridged      StepKind = "bridged"      // between a bridge and its port
	Routed       StepKind = "routed"       // by a routing table
	Child        StepKind = "child"        // between macvlan, ipvlan, VLAN, VF or bond member and what carries it
	Encapsulated StepKind = "encapsulated" // into a tunnel
	Decapsulated StepKind = "decapsulated" // out of a tunnel
	Wire         StepKind = "wire"         // between machines
	Handed       StepKind = "handed"       // to user space, or to a BPF program
)

// Step is how a packet comes from one hop to the next.
type Step struct {
	Kind StepKind `json:"kind"`
	Text string   `json:"text"` // "10.244.2.0/24 via 10.244.2.0, table main"
}
