// Package probe watches packets go along a path: which to send, where to look for them, and what
// became of them. It is pure: it neither sends nor watches.
package probe

import (
	"crypto/rand"
	"encoding/binary"
	"fmt"
	"slices"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
)

// Protocols are those that packets are sent by.
var Protocols = []string{"icmp", "udp", "tcp"}

// Sizes and ports.
const (
	small     = 200   // bytes of a packet that passes any link
	udpPort   = 33434 // to which nobody listens, by rule: the far end's kernel says so
	synSize4  = 40
	synSize6  = 60
	keepBytes = 512 // of each packet: more than all headers and the mark
)

// Probe is a few packets along a path.
type Probe struct {
	document *path.Document
	protocol string
	port     uint16
	mark     [8]byte
	shots    []inspect.Shot
	sent     []inspect.Sent
	nodes    map[string]*observed
	// Name gives the namespace and the name of an interface of a node; nil where nobody knows.
	Name func(node string, ref inspect.Ref) (in, name string)
	// Owner names who has an address, "" where that is not one alone; nil where nobody knows.
	Owner func(address string) string
	// Explain says what a kernel's reason means, and what to do about it; nil where nobody knows.
	Explain func(reason string) (text, do string)
}

// observed is what was seen on a node.
type observed struct {
	packets []seen
	drops   []inspect.Drop
	counts  []inspect.Count
	notes   []string
	fault   error
}

// seen is a packet of the probe at an interface.
type seen struct {
	inspect.Packet
	frame
}

// New makes the probe of a path that was traced. The error says what the path lacks for it.
func New(document *path.Document, protocol string) (*Probe, error) {
	p := &Probe{document: document, protocol: protocol, port: document.To.Port, nodes: map[string]*observed{}}
	switch {
	case !slices.Contains(Protocols, protocol):
		return nil, fmt.Errorf("there is no probe of %q: there are those of icmp, udp and tcp", protocol)
	case document.From.Ref.Namespace == 0 || document.From.Address == "":
		return nil, fmt.Errorf("no packet can be sent from %s: %s", document.From.Subject, document.There.Summary())
	case len(document.There.Hops) > 0 && document.There.Hops[0].Ref.Index == 0:
		return nil, fmt.Errorf("no packet can be sent by %s: %s", document.From.Interface, document.There.Reason)
	case protocol == "tcp" && p.port == 0:
		return nil, fmt.Errorf("a probe of tcp takes the port of the far end: to %s:PORT", document.To.Subject)
	case protocol == "udp" && p.port == 0:
		p.port = udpPort
	}
	_, _ = rand.Read(p.mark[:]) // it never fails
	p.shots = p.sizes()
	return p, nil
}

// sizes gives the packets: a small one, one that just passes the narrowest hop, the largest that both ends may send, and
// the largest that the sender may.
func (p *Probe) sizes() []inspect.Shot {
	sizes := []int{small}
	switch narrowest := p.document.Narrowest; {
	case p.protocol == "tcp" && inspect.ParseIP(p.document.To.Address).Is4():
		sizes = []int{synSize4}
	case p.protocol == "tcp":
		sizes = []int{synSize6}
	case narrowest != nil:
		sizes = append(sizes, narrowest.Size, narrowest.Sends, p.document.There.Hops[0].MTU)
	}
	slices.Sort(sizes)
	var shots []inspect.Shot
	for i, size := range slices.Compact(sizes) {
		if size >= small || p.protocol == "tcp" {
			shots = append(shots, inspect.Shot{Number: uint16(i + 1), Size: min(size, 1<<16-1)}) //nolint:gosec // of three
		}
	}
	return shots
}

// Send says what is sent, and from which namespace of the node of the path's beginning.
func (p *Probe) Send() inspect.Send {
	send := inspect.Send{
		Namespace: p.document.From.Ref.Namespace, From: p.document.From.Address, To: p.document.To.Address,
		Protocol: p.protocol, Port: p.port, Shots: p.shots, Mark: p.mark,
	}
	if p.document.Bound {
		send.Output = p.document.From.Ref.Index
	}
	return send
}

// Watch says what is watched on a node: all interfaces of the namespaces that the path has there.
func (p *Probe) Watch(node string) inspect.Watch {
	watch := inspect.Watch{Filter: p.filter(), Keep: keepBytes, Marks: p.marks()}
	add := func(inode uint64) {
		point := inspect.Ref{Namespace: inode}
		if inode != 0 && !slices.Contains(watch.Points, point) {
			watch.Points = append(watch.Points, point)
		}
	}
	for _, end := range []path.End{p.document.From, p.document.To} {
		if end.Node == node {
			add(end.Ref.Namespace)
		}
	}
	for _, way := range p.ways() {
		for _, hop := range way.Hops {
			if hop.Node == node {
				add(hop.Ref.Namespace)
			}
		}
	}
	return watch
}

func (p *Probe) ways() []*path.Way {
	if p.document.Back == nil {
		return []*path.Way{&p.document.There}
	}
	return []*path.Way{&p.document.There, p.document.Back}
}

// marks are the bytes that each packet of the probe has, and each answer.
func (p *Probe) marks() [][]byte {
	if p.protocol != "tcp" {
		return [][]byte{p.mark[:]}
	}
	answer := binary.BigEndian.AppendUint32(nil, binary.BigEndian.Uint32(p.mark[:])+1)
	return [][]byte{p.mark[:4], answer}
}

// Saw takes what a node says.
func (p *Probe) Saw(node string, sighting inspect.Sighting) {
	o := p.on(node)
	for _, packet := range sighting.Packets {
		if f, found := p.read(packet.Data, packet.Link); found {
			o.packets = append(o.packets, seen{packet, f})
		}
	}
	o.drops = append(o.drops, sighting.Drops...)
	o.notes = append(o.notes, sighting.Notes...)
	if sighting.Counts != nil {
		o.counts = sighting.Counts
	}
}

// Failed takes why a node could not be watched.
func (p *Probe) Failed(node string, why error) { p.on(node).fault = why }

func (p *Probe) on(node string) *observed {
	if p.nodes[node] == nil {
		p.nodes[node] = &observed{}
	}
	return p.nodes[node]
}

// Sent takes what became of the packets at the sender's own kernel.
func (p *Probe) Sent(sent []inspect.Sent) { p.sent = sent }

func (p *Probe) refused(shot int) string {
	if shot >= len(p.sent) {
		return ""
	}
	return p.sent[shot].Refused
}

// answer gives the answer to a packet, or its rejection, where the sender has it; nil for none.
func (p *Probe) answer(size int) *seen {
	from := p.document.From
	return p.first(from.Node, func(s *seen) bool {
		return s.answer && s.is(size) && s.Point.Namespace == from.Ref.Namespace && !s.Out
	})
}

// is reports whether it is the packet of a size, or of its answer. One of TCP may have options.
func (s *seen) is(size int) bool { return s.size == size || size < small }

// first gives the first of what was seen on a node, nil if there is none.
func (p *Probe) first(node string, wanted func(*seen) bool) (first *seen) {
	o := p.nodes[node]
	if o == nil {
		return nil
	}
	for i := range o.packets {
		if s := &o.packets[i]; wanted(s) && (first == nil || s.Time.Before(first.Time)) {
			first = s
		}
	}
	return first
}

// since gives microseconds, at least one.
func since(from, to time.Time) int64 { return max(to.Sub(from).Microseconds(), 1) }
