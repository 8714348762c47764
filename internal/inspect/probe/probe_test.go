package probe

import (
	"cmp"
	"encoding/binary"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/net/bpf"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// twoHops is a path of a pod to another one, over a node that routes.
func twoHops() *path.Document {
	ref := func(ns uint64, index int) inspect.Ref { return inspect.Ref{Namespace: ns, Index: index} }
	hops := func(order ...path.Hop) []path.Hop { return order }
	pod := path.Hop{Ref: ref(2, 2), Node: "n1", In: "pod shop/web", Place: path.InPod, Name: "eth0", Kind: "veth", MTU: 1500, State: path.Passes}
	near := path.Hop{Ref: ref(1, 5), Node: "n1", Place: path.InNode, Name: "h1", Kind: "veth", Step: path.Step{Kind: path.Pair}, State: path.Passes}
	far := path.Hop{Ref: ref(1, 6), Node: "n1", Place: path.InNode, Name: "h2", Kind: "veth", Step: path.Step{Kind: path.Routed}, State: path.Passes}
	end := path.Hop{Ref: ref(3, 2), Node: "n1", In: "pod shop/db", Place: path.InPod, Name: "eth0", Kind: "veth", Step: path.Step{Kind: path.Pair}, State: path.Passes}
	return &path.Document{
		From:      path.End{Ref: ref(2, 2), Node: "n1", Subject: "pod shop/web", Interface: "eth0", Address: "10.0.0.1"},
		To:        path.End{Ref: ref(3, 2), Node: "n1", Subject: "pod shop/db", Interface: "eth0", Address: "10.0.0.2"},
		There:     path.Way{From: "10.0.0.1", To: "10.0.0.2", Outcome: path.Arrives, Hops: hops(pod, near, far, end)},
		Back:      &path.Way{From: "10.0.0.2", To: "10.0.0.1", Outcome: path.Arrives, Hops: hops(end, far, near, pod)},
		Narrowest: &path.Narrowest{Size: 1500, Sends: 1500},
	}
}

// sighting makes a packet of a probe as it would be seen at an interface.
type sighting struct {
	ref      inspect.Ref
	answer   bool
	size     int
	ttl      uint8
	from, to string
	out      bool
}

func (p *Probe) see(t *testing.T, all ...sighting) {
	t.Helper()
	for i, s := range all {
		from, to := "10.0.0.1", "10.0.0.2"
		kind := uint8(layers.ICMPv4TypeEchoRequest)
		if s.answer {
			from, to, kind = to, from, layers.ICMPv4TypeEchoReply
		}
		if s.from != "" {
			from, to = s.from, s.to
		}
		data := icmp(t, p.mark, from, to, s.ttl, kind, s.size)
		p.Saw("n1", inspect.Sighting{Packets: []inspect.Packet{{Point: s.ref, Time: time.Unix(1, int64(1000*(i+1))), Out: s.out, Link: 1, Length: len(data), Data: data}}})
	}
}

func icmp(t *testing.T, mark [8]byte, from, to string, ttl, kind uint8, size int) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: ttl, Protocol: layers.IPProtocolICMPv4, SrcIP: netip.MustParseAddr(from).AsSlice(), DstIP: netip.MustParseAddr(to).AsSlice()}
	payload := gopacket.Payload([]byte(strings.Repeat(string(mark[:]), 1+size/8))[:size-28])
	return made(t, ethernet(), ip, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, 0)}, payload)
}

func ethernet() *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: make([]byte, 6), DstMAC: make([]byte, 6), EthernetType: layers.EthernetTypeIPv4}
}

func made(t *testing.T, all ...gopacket.SerializableLayer) []byte {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	check.Must(t, gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, all...))
	return buffer.Bytes()
}

func started(t *testing.T, d *path.Document) *Probe {
	t.Helper()
	p, err := New(d, "icmp")
	check.Must(t, err)
	p.Name = func(string, inspect.Ref) (string, string) { return "the node", "other0" }
	p.Saw("n1", inspect.Sighting{Ready: true})
	p.Sent([]inspect.Sent{{Time: time.Unix(1, 0)}, {Time: time.Unix(1, 0)}})
	return p
}

// across are the sightings of a packet of a size that is answered.
func across(size int) []sighting {
	r := func(ns uint64, index int) inspect.Ref { return inspect.Ref{Namespace: ns, Index: index} }
	return []sighting{
		{ref: r(2, 2), size: size, ttl: 64, out: true},
		{ref: r(1, 5), size: size, ttl: 64},
		{ref: r(1, 6), size: size, ttl: 63, out: true},
		{ref: r(3, 2), size: size, ttl: 63},
		{ref: r(3, 2), answer: true, size: size, ttl: 64, out: true},
		{ref: r(1, 6), answer: true, size: size, ttl: 64},
		{ref: r(1, 5), answer: true, size: size, ttl: 63, out: true},
		{ref: r(2, 2), answer: true, size: size, ttl: 63},
	}
}

func TestProbeJudges(t *testing.T) {
	drop := func(p *Probe, answer bool) inspect.Drop {
		kind, from, to, reason := uint8(layers.ICMPv4TypeEchoRequest), "10.0.0.1", "10.0.0.2", "NETFILTER_DROP"
		if answer {
			kind, from, to, reason = layers.ICMPv4TypeEchoReply, to, from, "IP_RPFILTER"
		}
		return inspect.Drop{Reason: reason, Where: "ip_forward", Point: inspect.Ref{Namespace: 1, Index: 5}, Data: icmp(t, p.mark, from, to, 64, kind, 1500)[14:]}
	}
	for name, test := range map[string]struct {
		saw     func(p *Probe)
		small   path.ShotOutcome
		large   path.ShotOutcome
		reason  string // of the large one
		states  string // of the hops there
		changes string // at the third hop
		back    string // states of the way back
		notes   string
	}{
		"all is well": {
			func(p *Probe) { p.see(t, append(across(200), across(1500)...)...) }, path.Answered, path.Answered, "", "seen seen changed seen", "TTL 64 → 63", "seen seen changed seen", "",
		},
		"large packets are lost": {
			func(p *Probe) { p.see(t, append(across(200), across(1500)[:2]...)...) }, path.Answered, path.PacketGone,
			"it was seen at h1 of n1, and not at h2 of n1", "seen seen not seen not seen", "TTL 64 → 63", "seen seen changed seen", "",
		},
		"large answers are lost": {
			func(p *Probe) { p.see(t, append(across(200), across(1500)[:6]...)...) }, path.Answered, path.AnswerGone,
			"the answer was seen at h2 of n1, and not at h1 of n1", "seen seen changed seen", "TTL 64 → 63", "seen seen not seen not seen", "",
		},
		"nobody answers": {
			func(p *Probe) { p.see(t, append(across(200)[:4], across(1500)[:4]...)...) }, path.Unanswered, path.Unanswered,
			"it came to eth0 of pod shop/db, and no answer was seen", "seen seen changed seen", "TTL 64 → 63", "passes passes passes passes", "",
		},
		"nothing is seen": {
			func(*Probe) {}, path.PacketGone, path.PacketGone, "it did not leave by eth0 of pod shop/web", "not seen not seen not seen not seen", "", "passes passes passes passes", "",
		},
		"the sender's kernel does not take the large one": {
			func(p *Probe) {
				p.see(t, across(200)...)
				p.Sent([]inspect.Sent{{Time: time.Unix(1, 0)}, {Refused: "EMSGSIZE"}})
			}, path.Answered, path.NotAccepted, "larger than the MTU of the interface", "not seen not seen not seen not seen", "TTL 64 → 63", "seen seen changed seen", "",
		},
		"an address is translated": {
			func(p *Probe) {
				all := across(1500)
				all[2].from, all[2].to, all[3].from, all[3].to = "192.0.2.1", "10.0.0.2", "192.0.2.1", "10.0.0.2"
				p.see(t, append(across(200), all...)...)
			}, path.Answered, path.Answered, "", "seen seen changed seen", "source 10.0.0.1 → 192.0.2.1", "seen seen changed seen", "",
		},
		"a kernel says why": {
			func(p *Probe) {
				p.see(t, append(across(200), across(1500)[:2]...)...)
				p.Saw("n1", inspect.Sighting{Drops: []inspect.Drop{drop(p, true), drop(p, false), {Reason: "OTHERHOST", Point: inspect.Ref{Namespace: 77}, Data: drop(p, false).Data}}})
			}, path.Answered, path.PacketGone, "; the kernel of n1 dropped it at other0 in ip_forward(): NETFILTER_DROP", "seen seen not seen not seen", "TTL 64 → 63", "seen seen changed seen", "",
		},
		"a kernel drops a copy": {
			func(p *Probe) {
				p.see(t, append(across(200), across(1500)[:4]...)...)
				p.Saw("n1", inspect.Sighting{Drops: []inspect.Drop{{Reason: "OTHERHOST", Point: inspect.Ref{Namespace: 1, Index: 9}, Data: drop(p, false).Data}}})
			}, path.Answered, path.Unanswered, "it came to eth0 of pod shop/db, and no answer was seen", "seen seen changed seen", "TTL 64 → 63", "seen seen changed seen", "",
		},
		"it goes another way": {
			func(p *Probe) {
				all := append(across(200), across(1500)...)
				all[2].ref, all[10].ref = inspect.Ref{Namespace: 1, Index: 9}, inspect.Ref{Namespace: 1, Index: 9}
				p.see(t, all...)
			}, path.Answered, path.Answered, "", "seen seen not seen changed", "", "seen seen changed seen", "it was also seen beside the path on n1, at other0 of n1",
		},
		"it goes on where the path ends": {
			func(p *Probe) {
				p.document.There.Outcome = path.Unknown
				all := append(across(200), across(1500)...)
				all[2].ref, all[10].ref = inspect.Ref{Namespace: 1, Index: 9}, inspect.Ref{Namespace: 1, Index: 9}
				p.see(t, all...)
			}, path.Answered, path.Answered, "", "seen seen not seen changed", "", "seen seen changed seen", "it was also seen where the way is not known on n1, at other0 of n1",
		},
		"a copy went to whom it is not for": {
			func(p *Probe) {
				p.see(t, append(across(200), across(1500)[:2]...)...)
				copied := drop(p, false)
				copied.Reason = "OTHERHOST"
				p.Saw("n1", inspect.Sighting{Drops: []inspect.Drop{copied, drop(p, false)}})
			}, path.Answered, path.PacketGone, "and not at h2 of n1; the kernel of n1 dropped it at other0 in ip_forward(): NETFILTER_DROP", "seen seen not seen not seen", "TTL 64 → 63", "seen seen changed seen", "",
		},
		"a watcher had no room": {
			func(p *Probe) {
				p.see(t, append(across(200), across(1500)...)...)
				p.Saw("n1", inspect.Sighting{Counts: []inspect.Count{{Seen: 9, Lost: 3}}})
			}, path.Answered, path.Answered, "", "seen seen changed seen", "TTL 64 → 63", "seen seen changed seen", "n1 had no room for 3 packets",
		},
	} {
		t.Run(name, func(t *testing.T) {
			d := twoHops()
			p := started(t, d)
			test.saw(p)
			p.Finish()
			check.Equal(t, "sizes", []int{d.Probe.Shots[0].Size, d.Probe.Shots[1].Size}, []int{200, 1500})
			check.Equal(t, "the small one", d.Probe.Shots[0].Outcome, test.small)
			check.Equal(t, "the large one", d.Probe.Shots[1].Outcome, test.large)
			check.Contains(t, "reason", d.Probe.Shots[1].Reason, test.reason)
			check.Equal(t, "a copy is named", strings.Contains(d.Probe.Shots[1].Reason, "OTHERHOST"), false)
			check.Equal(t, "there", states(&d.There), test.states)
			check.Equal(t, "back", states(d.Back), test.back)
			check.Contains(t, "notes", strings.Join(d.Probe.Notes, "\n"), test.notes)
			check.Equal(t, "there are notes", len(d.Probe.Notes) > 0, test.notes != "")
			var changes []string
			for _, probed := range d.There.Hops[2].Probed {
				changes = append(changes, probed.Changes...)
			}
			check.Contains(t, "changes", strings.Join(changes, ", "), test.changes)
			check.Equal(t, "it is wrong", d.Wrong(), test.small != path.Answered || test.large != path.Answered)
		})
	}
}

func states(w *path.Way) string {
	var all []string
	for _, hop := range w.Hops {
		all = append(all, string(hop.State))
	}
	return strings.Join(all, " ")
}

// Who rejects a packet is told from who answers it.
func TestProbeRejections(t *testing.T) {
	for name, test := range map[string]struct {
		kind, code uint8
		mtu        uint16
		from       string // "" for a router on the way
		reason     string
	}{
		"too large":         {3, 4, 1400, "", "10.0.0.254 says: it is too large: the next link takes 1400 bytes"},
		"no route":          {3, 0, 0, "", "10.0.0.254 says: it has no route"},
		"a new code":        {3, 99, 0, "", "10.0.0.254 says: ICMP type 3, code 99"},
		"a loop":            {11, 0, 0, "", "its TTL came to 0"},
		"a rule":            {3, 3, 0, "", "10.0.0.254 says: a rule rejects it"},
		"a node":            {3, 1, 0, "192.0.2.7", "n1 (192.0.2.7) says: the next hop does not answer"},
		"the sender itself": {3, 1, 0, "10.0.0.1", "pod shop/web (10.0.0.1) says: the next hop does not answer"},
		"the far end":       {3, 3, 0, "10.0.0.2", "pod shop/db (10.0.0.2) says: a rule rejects it"},
	} {
		t.Run(name, func(t *testing.T) {
			d := twoHops()
			p := started(t, d)
			p.see(t, across(200)[:2]...)
			p.Owner = func(address string) string { return map[string]string{"192.0.2.7": "n1"}[address] }
			data := rejection(t, p.mark, cmp.Or(test.from, "10.0.0.254"), 200, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(test.kind, test.code), Seq: test.mtu})
			p.Saw("n1", inspect.Sighting{Packets: []inspect.Packet{{Point: d.From.Ref, Time: time.Unix(1, 9000), Link: 1, Data: data}}})
			p.Finish()
			check.Equal(t, "outcome", d.Probe.Shots[0].Outcome, path.Rejected)
			check.Contains(t, "reason", d.Probe.Shots[0].Reason, test.reason)
		})
	}
}

// rejection is what a router, or an end, says of a packet of a size.
func rejection(t *testing.T, mark [8]byte, from string, size int, why *layers.ICMPv4) []byte {
	t.Helper()
	inner := icmp(t, mark, "10.0.0.1", "10.0.0.2", 63, layers.ICMPv4TypeEchoRequest, size)[14:]
	outer := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolICMPv4, SrcIP: net.ParseIP(from).To4(), DstIP: []byte{10, 0, 0, 1}}
	return made(t, ethernet(), outer, why, gopacket.Payload(inner))
}

func TestProbeRefusals(t *testing.T) {
	for want, change := range map[string]func(*path.Document) string{
		`there is no probe of "sctp"`:                        func(*path.Document) string { return "sctp" },
		"takes the port of the far end: to pod shop/db:PORT": func(*path.Document) string { return "tcp" },
		"no packet can be sent from pod shop/web":            func(d *path.Document) string { d.From.Ref.Namespace = 0; return "icmp" },
		"no packet can be sent by eth0: a program of it has it": func(d *path.Document) string {
			d.There.Hops[0].Ref, d.There.Reason = inspect.Ref{}, "a program of it has it"
			return "icmp"
		},
	} {
		d := twoHops()
		_, err := New(d, change(d))
		check.Error(t, err, want)
	}
}

// The kernel lets the probe's packets pass, behind any header, and hardly anything else.
func TestProbeFilter(t *testing.T) {
	for _, protocol := range []string{"icmp", "tcp"} {
		d := twoHops()
		d.To.Port = 80
		p, err := New(d, protocol)
		check.Must(t, err)
		var raw []bpf.RawInstruction
		for _, i := range p.filter() {
			raw = append(raw, bpf.RawInstruction{Op: i.Op, Jt: i.Jt, Jf: i.Jf, K: i.K})
		}
		program, whole := bpf.Disassemble(raw)
		check.Equal(t, "it is a program", whole, true)
		vm, err := bpf.NewVM(program)
		check.Must(t, err)
		for shift := range 60 {
			data := icmp(t, p.mark, "10.0.0.1", "10.0.0.2", 64, 8, 200)
			if protocol == "tcp" {
				data = segment(t, p.mark)
				shift &^= 1
			}
			kept, err := vm.Run(append(make([]byte, shift), data...))
			check.Must(t, err)
			check.Equal(t, protocol+" passes", kept > 0, true)
		}
		kept, err := vm.Run(icmp(t, [8]byte{1}, "10.0.0.1", "10.0.0.2", 64, 8, 200))
		check.Must(t, err)
		check.Equal(t, "another packet passes", kept > 0, false)
	}
}

func segment(t *testing.T, mark [8]byte) []byte {
	t.Helper()
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: []byte{10, 0, 0, 1}, DstIP: []byte{10, 0, 0, 2}}
	return made(t, ethernet(), ip, &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: binary.BigEndian.Uint32(mark[:]), SYN: true})
}

// A segment is known by its sequence number, and the answer by what it acknowledges.
func TestProbeReadsTCP(t *testing.T) {
	d := twoHops()
	d.To.Port = 80
	p, err := New(d, "tcp")
	check.Must(t, err)
	f, found := p.read(segment(t, p.mark), 1)
	check.Equal(t, "found", found, true)
	check.Equal(t, "answer", f.answer, false)
	check.Equal(t, "ports", f.ports, [2]uint16{40000, 80})
	ip := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolTCP, SrcIP: []byte{10, 0, 0, 2}, DstIP: []byte{10, 0, 0, 1}}
	answer := made(t, ethernet(), ip, &layers.TCP{SrcPort: 80, DstPort: 40000, Ack: binary.BigEndian.Uint32(p.mark[:]) + 1, SYN: true, ACK: true})
	f, found = p.read(answer, 1)
	check.Equal(t, "found", found, true)
	check.Equal(t, "answer", f.answer, true)
}

// Nothing that a node says makes it panic.
func FuzzProbe(f *testing.F) {
	p := &Probe{document: twoHops(), protocol: "icmp", mark: [8]byte{1, 2, 3, 4, 5, 6, 7, 8}, nodes: map[string]*observed{}, shots: []inspect.Shot{{Number: 1, Size: 200}}}
	f.Add([]byte("\x45\x00\x00\x1c\x00\x00\x00\x00\x40\x01\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x08\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"), 101, false)
	f.Add(append(make([]byte, 14), "\x45\x00\x00\x1c\x00\x00\x00\x00\x40\x01\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x00\x00\x00\x00\x00\x00\x00\x01\x02\x03\x04\x05\x06\x07\x08"...), 1, true)
	f.Fuzz(func(_ *testing.T, data []byte, link int, tcp bool) {
		q := *p
		q.document, q.nodes = twoHops(), map[string]*observed{}
		if tcp {
			q.protocol = "tcp"
		}
		q.Saw("n1", inspect.Sighting{
			Packets: []inspect.Packet{{Point: inspect.Ref{Namespace: 2, Index: 2}, Data: data, Link: link}, {Point: inspect.Ref{Namespace: 1, Index: 6}, Data: data, Link: link}},
			Drops:   []inspect.Drop{{Reason: "X", Data: data}},
		})
		q.Sent([]inspect.Sent{{}})
		q.Finish()
	})
}

// A node and its pods have interfaces of one name: a drop at one of them is of no other.
func TestDropIsAtItsHop(t *testing.T) {
	hop := path.Hop{Node: "n1", In: "pod shop/web", Name: "eth0"}
	for name, test := range map[string]struct {
		drop path.Dropped
		want bool
	}{
		"the same":               {path.Dropped{Node: "n1", In: "pod shop/web", Interface: "eth0"}, true},
		"the node's":             {path.Dropped{Node: "n1", In: "the node", Interface: "eth0"}, false},
		"another pod's":          {path.Dropped{Node: "n1", In: "pod shop/db", Interface: "eth0"}, false},
		"of another node":        {path.Dropped{Node: "n2", In: "pod shop/web", Interface: "eth0"}, false},
		"nobody says where":      {path.Dropped{Node: "n1", Interface: "eth0"}, true},
		"another one of the pod": {path.Dropped{Node: "n1", In: "pod shop/web", Interface: "net0"}, false},
	} {
		check.Equal(t, name, isAt(&test.drop, &hop), test.want)
	}
	far := path.Hop{Node: "n1", In: "the node", Name: "eth0"}
	p := &Probe{document: &path.Document{There: path.Way{Hops: []path.Hop{far, hop}}}}
	shot := &path.Shot{Gap: &path.Gap{SeenAt: 1, MissedAt: -1}, Drops: []path.Dropped{{Node: "n1", In: "the node", Interface: "eth0", Reason: "A"}, {Node: "n1", In: "pod shop/web", Interface: "eth0", Reason: "B"}}}
	check.Equal(t, "the reason", p.nearest(shot).Reason, "B")
}
