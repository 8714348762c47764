package inspect

import (
	"context"
	"encoding/binary"
	"time"
)

// Watcher is a Node that can watch packets, and send some. A saved Snapshot cannot.
type Watcher interface {
	Node
	// Watch gives the packets that pass the points, until the context ends, which is no error. The first
	// Sighting is Ready: what is sent afterwards is seen. The last one has the final Counts. An error of
	// the function ends it, and is its own.
	Watch(ctx context.Context, watch Watch, saw func(Sighting) error) error
	// Send sends packets from a namespace of the node.
	Send(ctx context.Context, send Send) ([]Sent, error)
}

// Watch says which packets are watched, and where.
type Watch struct {
	// Points are the interfaces; an index of 0 is for all interfaces of a namespace.
	Points []Ref `json:"points"`
	// Filter is a program of classic BPF that the kernel runs on each packet, as SO_ATTACH_FILTER takes it;
	// nil lets everything pass.
	Filter []Instruction `json:"filter,omitempty"`
	// Keep is how many bytes of each packet are kept; 0 is for all.
	Keep int `json:"keep,omitempty"`
	// Buffer is how many bytes each point has room for until they are taken; 0 leaves it to the node.
	Buffer int `json:"buffer,omitempty"`
	// Marks chooses, of those that the filter lets pass, the packets that have one of these sequences of
	// bytes in them; nil is for all.
	Marks [][]byte `json:"marks,omitempty"`
	// Drops says that the kernel's reasons are watched too, for packets that have one of the Marks. It
	// takes the capabilities BPF and PERFMON.
	Drops bool `json:"drops,omitempty"`
}

// Instruction is one of classic BPF, as the kernel and tcpdump -ddd have it.
type Instruction struct {
	Op uint16 `json:"op"`
	Jt uint8  `json:"jt,omitempty"`
	Jf uint8  `json:"jf,omitempty"`
	K  uint32 `json:"k,omitempty"`
}

// Sighting is what Watch says: any number of packets and drops at once.
type Sighting struct {
	Ready   bool     `json:"ready,omitempty"`
	Packets []Packet `json:"packets,omitempty"`
	Drops   []Drop   `json:"drops,omitempty"`
	// Counts are those of each point, in the order of Watch.Points, since it began; the last Sighting has them.
	Counts []Count `json:"counts,omitempty"`
	// Gone are points whose interface is not there any more: it was deleted, or moved to another namespace.
	// One of its name that comes later is another.
	Gone []Ref `json:"gone,omitempty"`
	// Notes are what the node cannot do of what it was asked for, and why.
	Notes []string `json:"notes,omitempty"`
}

// Packet is one that passed an interface.
type Packet struct {
	// Point is the interface itself, also where a point is for all of a namespace.
	Point Ref       `json:"point"`
	Time  time.Time `json:"time"` // by the node's clock
	// Out says that the node sent it by the interface; else it came in there.
	Out    bool   `json:"out,omitempty"`
	Length int    `json:"length"` // of the packet as it was, in bytes
	Data   []byte `json:"data"`   // from the link-layer header on, with its VLAN tags
	// Link is the type of the link-layer header, by the numbers of LINKTYPE: 1 for Ethernet, 101 for none.
	Link int `json:"link"`
}

// Count is what the kernel counted of a point.
type Count struct {
	Seen uint64 `json:"seen"`
	// Lost are packets that the kernel had no room for: they passed, and were not seen.
	Lost uint64 `json:"lost,omitempty"`
}

// Drop is a packet that the kernel dropped.
type Drop struct {
	Time time.Time `json:"time"`
	// Reason is the kernel's own name for it, without the prefix SKB_DROP_REASON_: "NETFILTER_DROP".
	Reason string `json:"reason"`
	// Where is the function of the kernel that dropped it, as "ip_forward"; "" if it is not known.
	Where string `json:"where,omitempty"`
	// Point is the interface that the packet had then; zero if it had none.
	Point Ref    `json:"point,omitzero"`
	Data  []byte `json:"data"` // from the network header on, cut
}

// Send says which packets are sent.
type Send struct {
	Namespace uint64  `json:"namespace"` // the inode
	From      string  `json:"from,omitempty"`
	To        string  `json:"to"`
	Output    int     `json:"output,omitempty"` // the index of the interface that the socket is bound to; 0 for none
	Protocol  string  `json:"protocol"`         // "icmp", "udp", "tcp"
	Port      uint16  `json:"port,omitempty"`
	Shots     []Shot  `json:"shots"`
	Mark      [8]byte `json:"mark"` // repeated in the payload; of TCP, its first four bytes are the sequence number
}

// SourcePort gives the port that packets of UDP and TCP come from: one that is nobody's by rule.
func (s *Send) SourcePort() uint16 { return binary.BigEndian.Uint16(s.Mark[:]) | 1<<15 }

// Shot is one packet that is sent. None may be cut into fragments.
type Shot struct {
	Number uint16 `json:"number"` // by which its answer is known
	Size   int    `json:"size"`   // of the IP packet, in bytes; of TCP it is that of a SYN
}

// Sent is what became of a Shot.
type Sent struct {
	Time time.Time `json:"time"`
	// Refused is the name of the error that the node's own kernel gave, as "EMSGSIZE"; "" if it took it.
	Refused string `json:"refused,omitempty"`
}
