package filter

import (
	"net"
	"slices"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// The ends of the corpus's packets.
var (
	macA, macB = net.HardwareAddr{2, 0, 10, 0, 0, 1}, net.HardwareAddr{2, 0, 10, 0, 0, 2}
	macAll     = net.HardwareAddr{255, 255, 255, 255, 255, 255}
	macGroup   = net.HardwareAddr{1, 0, 0x5e, 0, 0, 5}
)

type stack []gopacket.SerializableLayer

// links are the headers that come first, with the EtherType that they end with.
func links(last layers.EthernetType) []stack {
	ethernet := func(to net.HardwareAddr, next layers.EthernetType) *layers.Ethernet {
		return &layers.Ethernet{SrcMAC: macA, DstMAC: to, EthernetType: next}
	}
	tag := func(id uint16, next layers.EthernetType) *layers.Dot1Q {
		return &layers.Dot1Q{VLANIdentifier: id, Priority: 5, Type: next}
	}
	return []stack{
		{ethernet(macB, last)},
		{ethernet(macB, 0x8100), tag(100, last)},
		{ethernet(macGroup, 0x9100), tag(200, last)},
		{ethernet(macB, 0x88a8), tag(100, 0x8100), tag(200, last)},
		{ethernet(macAll, 0x8100), tag(7, 0x8100), tag(100, 0x8100), tag(300, last)},
	}
}

func ip4(source, target string, protocol layers.IPProtocol, change func(*layers.IPv4)) *layers.IPv4 {
	ip := &layers.IPv4{
		Version: 4, TTL: 64, Id: 77, Protocol: protocol,
		SrcIP: net.ParseIP(source).To4(), DstIP: net.ParseIP(target).To4(),
	}
	if change != nil {
		change(ip)
	}
	return ip
}

func ip6(source, target string, protocol layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: net.ParseIP(source), DstIP: net.ParseIP(target)}
}

func tcp(source, target layers.TCPPort, change func(*layers.TCP)) *layers.TCP {
	t := &layers.TCP{SrcPort: source, DstPort: target, Seq: 1000, Window: 100}
	if change != nil {
		change(t)
	}
	return t
}

func udp(source, target layers.UDPPort) *layers.UDP {
	return &layers.UDP{SrcPort: source, DstPort: target}
}

func data(size int) gopacket.Payload {
	payload := make(gopacket.Payload, size)
	for i := range payload {
		payload[i] = byte(i * 7)
	}
	return payload
}

// bodies4 are packets of IPv4.
func bodies4() []stack {
	options := func(ip *layers.IPv4) {
		ip.Options = []layers.IPv4Option{{OptionType: 148, OptionLength: 4, OptionData: []byte{0, 0}}}
	}
	syn := func(t *layers.TCP) { t.SYN = true }
	ack := func(t *layers.TCP) {
		t.ACK, t.PSH = true, true
		t.Options = []layers.TCPOption{{OptionType: 8, OptionLength: 10, OptionData: make([]byte, 8)}}
	}
	get := gopacket.Payload("GET / HTTP/1.1\r\n\r\n")
	return []stack{
		{ip4("10.0.0.1", "10.0.0.2", 6, nil), tcp(40000, 80, syn)},
		{ip4("10.0.0.2", "10.0.0.1", 6, options), tcp(80, 40000, ack), get},
		{ip4("10.1.2.3", "192.168.1.255", 17, nil), udp(5353, 53), data(30)},
		{ip4("192.168.1.7", "10.0.0.1", 17, options), udp(53, 8005), data(600)},
		{ip4("10.0.0.1", "224.0.0.5", 2, nil), data(8)},
		{ip4("10.0.0.1", "10.0.0.2", 1, nil), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(8, 0), Id: 5, Seq: 9}, data(56)},
		{ip4("10.0.0.2", "10.0.0.1", 1, options), &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 4)}, data(28)},
		{ip4("10.0.0.1", "10.0.0.2", 132, nil), &layers.SCTP{SrcPort: 80, DstPort: 9000}, data(20)},
		{ip4("10.0.0.1", "10.0.0.2", 50, nil), data(80)},
		{ip4("10.0.0.1", "10.0.0.2", 51, nil), data(80)},
		{ip4("10.0.0.1", "224.0.0.18", 112, nil), data(16)},
		{ip4("10.0.0.1", "224.0.0.13", 103, nil), data(16)},
		{ip4("172.16.0.1", "172.16.0.2", 47, nil), data(50)},
		{ip4("10.0.0.1", "10.0.0.2", 17, func(ip *layers.IPv4) { ip.Flags = layers.IPv4MoreFragments }), udp(53, 80), data(1400)},
		{ip4("10.0.0.1", "10.0.0.2", 17, func(ip *layers.IPv4) { ip.FragOffset, ip.Flags = 176, layers.IPv4MoreFragments }), udp(53, 80), data(1400)},
		{ip4("10.0.0.1", "10.0.0.2", 6, func(ip *layers.IPv4) { ip.FragOffset = 3 }), tcp(443, 80, syn)},
		{ip4("10.9.9.9", "10.0.0.2", 6, func(ip *layers.IPv4) { ip.TTL = 1; ip.Flags = layers.IPv4DontFragment }), tcp(22, 443, ack), data(1000)},
	}
}

// bodies6 are packets of IPv6.
func bodies6() []stack {
	fragment := func(next layers.IPProtocol, offset uint16) stack {
		return stack{
			ip6("2001:db8::1", "2001:db8::2", 44),
			gopacket.Payload{byte(next), 0, byte(offset >> 5), byte(offset<<3) | 1, 0, 0, 0, 9},
		}
	}
	hops := gopacket.Payload{6, 0, 5, 2, 0, 0, 1, 0}
	return []stack{
		{ip6("2001:db8::1", "2001:db8::2", 6), tcp(40000, 80, func(t *layers.TCP) { t.SYN, t.ACK = true, true })},
		{ip6("2001:db8:1::7", "2001:db8::1", 17), udp(53, 8000), data(100)},
		{ip6("fe80::1", "ff02::1", 58), gopacket.Payload{135, 0, 0, 0}, data(20)},
		{ip6("fe80::1", "fe80::2", 58), gopacket.Payload{128, 0, 0, 0}, data(56)},
		{ip6("2001:db8::1", "2001:db8::2", 132), &layers.SCTP{SrcPort: 443, DstPort: 22}, data(20)},
		{ip6("2001:db8::1", "2001:db8::2", 50), data(40)},
		{ip6("2001:db8::1", "ff02::d", 103), data(40)},
		append(fragment(17, 0), udp(53, 80), data(100)),
		append(fragment(6, 100), data(100)),
		{ip6("2001:db8::1", "2001:db8::2", 0), hops, tcp(22, 80, nil)},
	}
}

// bodiesARP are packets of ARP and RARP.
func bodiesARP() []stack {
	arp := func(operation uint16, target net.HardwareAddr) stack {
		return stack{&layers.ARP{
			AddrType: 1, Protocol: 0x800, HwAddressSize: 6, ProtAddressSize: 4, Operation: operation,
			SourceHwAddress: macA, SourceProtAddress: []byte{10, 0, 0, 1}, DstHwAddress: target, DstProtAddress: []byte{10, 1, 2, 3},
		}}
	}
	return []stack{arp(1, make([]byte, 6)), arp(2, macB)}
}

// corpus gives frames of all sorts, and then some of them cut at each of their fields.
func corpus(t testing.TB) (all [][]byte, whole int) {
	t.Helper()
	bodies := map[layers.EthernetType][]stack{0x800: bodies4(), 0x86dd: bodies6(), 0x806: bodiesARP(), 0x8035: bodiesARP(), 0x8847: {{data(60)}}, 0x88cc: {{data(60)}}}
	for _, etherType := range []layers.EthernetType{0x800, 0x86dd, 0x806, 0x8035, 0x8847, 0x88cc} {
		for _, link := range links(etherType) {
			for _, body := range bodies[etherType] {
				all = append(all, serialized(t, append(append(stack{}, link...), body...)))
			}
		}
	}
	bpdu := slices.Concat[[]byte](macAll, macA, []byte{0, 40, 0x42, 0x42, 3}, data(60)) // with a length instead of an EtherType
	all = append(all, bpdu)
	whole = len(all)
	for _, i := range []int{0, 1, 3, 13, 17, 51, 70, 85, 87, 92, 100, 135, 137} {
		for _, size := range []int{0, 7, 13, 14, 15, 18, 23, 26, 30, 33, 34, 36, 37, 40, 54, 55, 56} {
			all = append(all, all[i][:min(size, len(all[i]))])
		}
	}
	return all, whole
}

func serialized(t testing.TB, all stack) []byte {
	t.Helper()
	buffer := gopacket.NewSerializeBuffer()
	check.Must(t, gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true}, all...))
	return append([]byte{}, buffer.Bytes()...)
}
