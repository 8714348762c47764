package probe

import (
	"encoding/binary"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// throughUnread is twoHops where each end is on a node of its own, and what is between them was not read.
func throughUnread() *path.Document {
	d := twoHops()
	d.To.Node = "n2"
	for _, way := range []*path.Way{&d.There, d.Back} {
		way.Hops, way.Outcome = way.Hops[:2], path.Leaves
	}
	for i := range d.Back.Hops {
		d.Back.Hops[i].Node = "n2"
	}
	d.From.Ref.Index = 0 // its routing chose the interface
	return d
}

func (s sighting) seenBy(t *testing.T, p *Probe, node string, at int64) {
	t.Helper()
	other := &Probe{mark: p.mark, protocol: p.protocol, port: p.port, nodes: map[string]*observed{}}
	other.see(t, s)
	packet := other.nodes["n1"].packets[0].Packet
	packet.Time = time.Unix(1, at)
	p.Saw(node, inspect.Sighting{Packets: []inspect.Packet{packet}})
}

// What the ways have no hops for is told by what the node of the end saw.
func TestProbeBeyondTheWay(t *testing.T) {
	drop := inspect.Sighting{Drops: []inspect.Drop{{Reason: "NETFILTER_DROP", Point: inspect.Ref{Namespace: 3, Index: 2}}}}
	for name, test := range map[string]struct {
		seen    int // of the sightings of a packet that is answered
		other   func(p *Probe)
		outcome path.ShotOutcome
		reason  string
	}{
		"all is well":              {8, nil, path.Answered, ""},
		"it did not come":          {2, nil, path.PacketGone, "it was seen at h1 of n1, and nowhere on n2"},
		"it came to the node":      {3, nil, path.PacketGone, "it was seen last at h2 of n2"},
		"it came to the pod":       {4, nil, path.Unanswered, "it came to eth0 of pod shop/db, and no answer was seen"},
		"the pod's kernel drops":   {4, func(p *Probe) { p.Saw("n2", drop) }, path.PacketGone, "it came to eth0 of pod shop/db, and no answer was seen; the kernel of n2 dropped it"},
		"the answer did not come":  {6, nil, path.AnswerGone, "the answer was seen at h2 of n2, and nowhere on n1"},
		"the answer came near":     {7, nil, path.AnswerGone, "the answer was seen last at h1 of n1"},
		"the far node has no room": {2, func(p *Probe) { p.Saw("n2", inspect.Sighting{Counts: []inspect.Count{{Lost: 1}}}) }, path.Unanswered, "it came to h1 of n1, and no answer was seen"},
		"another interface": {2, func(p *Probe) {
			sighting{ref: inspect.Ref{Namespace: 1, Index: 99}, size: 1500, ttl: 63}.seenBy(t, p, "n2", 9000)
		}, path.PacketGone, "it was seen last at other0 of n2"},
	} {
		t.Run(name, func(t *testing.T) {
			d := throughUnread()
			p := started(t, d)
			p.Saw("n2", inspect.Sighting{Ready: true})
			for _, size := range []int{200, 1500} {
				for i, s := range across(size)[:test.seen] {
					node := map[bool]string{true: "n2", false: "n1"}[i > 1 && i < 6]
					s.seenBy(t, p, node, int64(1000*(i+1)))
				}
			}
			if test.other != nil {
				test.other(p)
			}
			p.Finish()
			check.Equal(t, "outcome", d.Probe.Shots[1].Outcome, test.outcome)
			check.Contains(t, "reason", d.Probe.Shots[1].Reason, test.reason)
			check.Equal(t, "what is on a way is beside it", strings.Contains(strings.Join(d.Probe.Notes, "\n"), "beside the path") && test.other == nil, false)
		})
	}
}

// An answer to what never came to the far end is of something else.
func TestProbeAnsweredElsewhere(t *testing.T) {
	for name, test := range map[string]struct {
		change  func(d *path.Document, p *Probe)
		outcome path.ShotOutcome
		reason  string
	}{
		"a node answers":          {func(*path.Document, *Probe) {}, path.Elsewhere, "something else than pod shop/db answered: it was seen at h2 of n1, and not at eth0 of pod shop/db"},
		"the far end is no link":  {func(d *path.Document, _ *Probe) { d.To.Ref.Index = 0 }, path.Answered, ""},
		"a program has it":        {func(d *path.Document, _ *Probe) { d.There.Outcome = path.Unknown }, path.Answered, ""},
		"some were not seen":      {func(_ *path.Document, p *Probe) { p.Saw("n1", inspect.Sighting{Counts: []inspect.Count{{Lost: 1}}}) }, path.Answered, ""},
		"the far node is unknown": {func(d *path.Document, _ *Probe) { d.To.Node = "n9" }, path.Answered, ""},
	} {
		t.Run(name, func(t *testing.T) {
			d := twoHops()
			p := started(t, d)
			for _, size := range []int{200, 1500} {
				all := across(size)
				p.see(t, append(all[:3:3], all[5:]...)...)
			}
			test.change(d, p)
			p.Finish()
			check.Equal(t, "outcome", d.Probe.Shots[1].Outcome, test.outcome)
			check.Contains(t, "reason", d.Probe.Shots[1].Reason, test.reason)
			check.Equal(t, "it is wrong", d.Wrong(), test.outcome != path.Answered)
		})
	}
}

// Where packets were answered that the kernels' answers have lost, these are what is wrong.
func TestProbeDisproves(t *testing.T) {
	d := twoHops()
	d.There.Outcome, d.There.Reason = path.Lost, "it has no route"
	d.There.Hops[3].State = path.IsLost
	p := started(t, d)
	p.see(t, append(across(200), across(1500)...)...)
	p.Finish()
	check.Equal(t, "there", states(&d.There), "seen seen changed seen")
	check.Contains(t, "notes", strings.Join(d.Probe.Notes, "\n"), "it was answered, though the kernels' answers have it lost")

	d = twoHops()
	d.There.Outcome, d.There.Hops, d.Narrowest = path.Lost, nil, nil // there was no route, and then there was one
	p = started(t, d)
	p.see(t, append(across(200), across(1500)...)...)
	p.Finish()
	check.Contains(t, "notes", strings.Join(d.Probe.Notes, "\n"), "it was answered, though the kernels' answers have it lost")
}

// Where NAT changed the destination, the note says to what.
func TestProbeRedirected(t *testing.T) {
	for to, note := range map[string]string{"10.0.0.2": "", "10.0.0.7": "its destination was changed to 10.0.0.7, as n1 saw it"} {
		d := twoHops()
		p := started(t, d)
		all := across(200)
		all[2].from, all[2].to = "10.0.0.1", to
		p.see(t, append(all, across(1500)...)...)
		p.Finish()
		check.Contains(t, "notes", strings.Join(d.Probe.Notes, "\n"), note)
		check.Equal(t, "there are notes", len(d.Probe.Notes) > 0, note != "")
	}
}

// A packet of UDP is known from its answer by the port that NAT left.
func TestProbeDirectionOfUDP(t *testing.T) {
	d := twoHops()
	d.To.Port = 53
	p, err := New(d, "udp")
	check.Must(t, err)
	own := binary.BigEndian.Uint16(p.mark[:]) | 1<<15
	for ports, answer := range map[[2]uint16]bool{
		{own, 53}: false, {own, 5353}: false, {1024, 53}: false, {53, own}: true, {5353, own}: true, {53, 1024}: true, {1024, 5353}: false, {53, 53}: false,
	} {
		data := made(t, ethernet(), &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: netip.MustParseAddr("10.0.0.1").AsSlice(), DstIP: netip.MustParseAddr("10.0.0.2").AsSlice()},
			&layers.UDP{SrcPort: layers.UDPPort(ports[0]), DstPort: layers.UDPPort(ports[1])}, gopacket.Payload(append(p.mark[:], p.mark[:]...)))
		f, found := p.read(data, 1)
		check.Equal(t, "found", found, true)
		check.Equal(t, "it is an answer", f.answer, answer)
	}
}

// A reset by the far end says that nothing listens; what accepts says nothing.
func TestProbeResets(t *testing.T) {
	for reset, reason := range map[bool]string{true: "nothing listens to the port, or a rule resets the connection", false: ""} {
		d := twoHops()
		d.To.Port = 80
		p, err := New(d, "tcp")
		check.Must(t, err)
		p.Sent([]inspect.Sent{{Time: time.Unix(1, 0)}})
		ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: []byte{10, 0, 0, 2}, DstIP: []byte{10, 0, 0, 1}}
		answer := made(t, ethernet(), ip, &layers.TCP{SrcPort: 80, DstPort: 40000, Ack: binary.BigEndian.Uint32(p.mark[:]) + 1, RST: reset, SYN: !reset, ACK: true})
		p.Saw("n1", inspect.Sighting{Packets: []inspect.Packet{
			{Point: d.To.Ref, Time: time.Unix(1, 1000), Link: 1, Data: segment(t, p.mark)}, {Point: d.From.Ref, Time: time.Unix(1, 2000), Link: 1, Data: answer},
		}})
		p.Finish()
		check.Equal(t, "outcome", d.Probe.Shots[0].Outcome, path.Answered)
		check.Equal(t, "reason", d.Probe.Shots[0].Reason, reason)
	}
}
