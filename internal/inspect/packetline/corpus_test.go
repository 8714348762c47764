package packetline

import (
	"net"
	"net/netip"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// sample is a packet of the corpus.
type sample struct {
	name   string
	packet inspect.Packet
}

var (
	macA = net.HardwareAddr{2, 0, 0, 0, 0, 1}
	macB = net.HardwareAddr{2, 0, 0, 0, 0, 2}
	data = gopacket.Payload("thirty-two bytes of some payload")
)

type stack []gopacket.SerializableLayer

func frame(kind layers.EthernetType) *layers.Ethernet {
	return &layers.Ethernet{SrcMAC: macA, DstMAC: macB, EthernetType: kind}
}

func address(text string) net.IP { return netip.MustParseAddr(text).AsSlice() }

func ip4(protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: address("10.1.0.5"), DstIP: address("10.1.0.6")}
}

func outer4(protocol layers.IPProtocol) *layers.IPv4 {
	return &layers.IPv4{Version: 4, TTL: 64, Protocol: protocol, SrcIP: address("192.0.2.1"), DstIP: address("192.0.2.2")}
}

func ip6(protocol layers.IPProtocol) *layers.IPv6 {
	return &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: protocol, SrcIP: address("fd00::5"), DstIP: address("fd00::6")}
}

func udp(from, to layers.UDPPort) *layers.UDP { return &layers.UDP{SrcPort: from, DstPort: to} }

// udp5000 is the header of UDP where the payload's checksum has no place in the stack.
func udp5000() gopacket.Payload { return gopacket.Payload{0x13, 0x88, 0x17, 0x70, 0, 40, 0, 0} }

func tag(id uint16, kind layers.EthernetType) *layers.Dot1Q {
	return &layers.Dot1Q{VLANIdentifier: id, Type: kind}
}

func syn() *layers.TCP {
	return &layers.TCP{
		SrcPort: 40000, DstPort: 80, Seq: 1000, SYN: true, Window: 64240,
		Options: []layers.TCPOption{{OptionType: layers.TCPOptionKindMSS, OptionLength: 4, OptionData: []byte{5, 180}}},
	}
}

func segment() *layers.TCP {
	return &layers.TCP{SrcPort: 40000, DstPort: 80, Seq: 1001, Ack: 2001, PSH: true, ACK: true, Window: 502}
}

func icmp4(kind, code uint8, id, seq uint16) *layers.ICMPv4 {
	return &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(kind, code), Id: id, Seq: seq}
}

func icmp6(kind, code uint8) *layers.ICMPv6 {
	return &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(kind, code)}
}

// bytes serializes a stack of headers.
func (s stack) bytes(t testing.TB) []byte {
	t.Helper()
	var network gopacket.NetworkLayer
	for _, layer := range s {
		if n, ok := layer.(gopacket.NetworkLayer); ok {
			network = n
		}
		if l, ok := layer.(interface {
			SetNetworkLayerForChecksum(gopacket.NetworkLayer) error
		}); ok {
			check.Must(t, l.SetNetworkLayerForChecksum(network))
		}
	}
	buffer := gopacket.NewSerializeBuffer()
	check.Must(t, gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, s...))
	return buffer.Bytes()
}

// corpus is what the line of each is known of.
func corpus(t testing.TB) []sample {
	t.Helper()
	var all []sample
	for _, part := range []map[string]stack{transports(), messages(t), links(), tunnels(t), fragments(), services()} {
		for name, headers := range part {
			p := headers.bytes(t)
			all = append(all, sample{name, inspect.Packet{Link: 1, Length: len(p), Data: p}})
		}
	}
	return append(all, oddities(t)...)
}

func transports() map[string]stack {
	reset := &layers.TCP{SrcPort: 80, DstPort: 40000, RST: true}
	none := &layers.TCP{SrcPort: 80, DstPort: 40000}
	options := ip4(layers.IPProtocolUDP)
	options.Options = []layers.IPv4Option{{OptionType: 7, OptionLength: 7, OptionData: []byte{4, 0, 0, 0, 0}}}
	alert := gopacket.Payload{17, 0, 5, 2, 0, 0, 1, 0} // a header of the option router alert
	skipped := gopacket.Payload{17, 0, 1, 4, 0, 0, 0, 0}
	return map[string]stack{
		"tcp syn":            {frame(0x800), ip4(layers.IPProtocolTCP), syn()},
		"tcp data":           {frame(0x800), ip4(layers.IPProtocolTCP), segment(), data},
		"tcp reset":          {frame(0x800), ip4(layers.IPProtocolTCP), reset},
		"tcp no flags":       {frame(0x800), ip4(layers.IPProtocolTCP), none},
		"tcp6 syn":           {frame(0x86dd), ip6(layers.IPProtocolTCP), syn()},
		"udp":                {frame(0x800), ip4(layers.IPProtocolUDP), udp(5000, 6000), data},
		"udp6":               {frame(0x86dd), ip6(layers.IPProtocolUDP), udp(5000, 6000), data},
		"udp options":        {frame(0x800), options, udp(5000, 6000), data},
		"udp6 hop by hop":    {frame(0x86dd), ip6(layers.IPProtocolIPv6HopByHop), alert, udp5000(), data},
		"udp6 destination":   {frame(0x86dd), ip6(layers.IPProtocolIPv6Destination), skipped, udp5000(), data},
		"other6 hop by hop":  {frame(0x86dd), ip6(layers.IPProtocolIPv6HopByHop), gopacket.Payload{253, 0, 5, 2, 0, 0, 1, 0}, data},
		"other6 destination": {frame(0x86dd), ip6(layers.IPProtocolIPv6Destination), gopacket.Payload{253, 0, 1, 4, 0, 0, 0, 0}, data},
		"sctp":               {frame(0x800), ip4(layers.IPProtocolSCTP), &layers.SCTP{SrcPort: 36412, DstPort: 36413}, gopacket.Payload{1, 0, 0, 20}},
		"igmp":               {frame(0x800), ip4(layers.IPProtocolIGMP), data},
		"esp":                {frame(0x800), ip4(layers.IPProtocolESP), gopacket.Payload{0, 0, 1, 2, 0, 0, 0, 1}},
		"ah":                 {frame(0x800), ip4(layers.IPProtocolAH), gopacket.Payload{6, 4, 0, 0, 0, 0, 1, 2}},
		"protocol 253":       {frame(0x800), ip4(253), data},
	}
}

func messages(t testing.TB) map[string]stack {
	quoted := stack{ip4(layers.IPProtocolUDP), udp(5000, 6000), data}.bytes(t)[:28]
	quoted6 := stack{ip6(layers.IPProtocolTCP), segment(), data}.bytes(t)
	piece := append([]byte(nil), quoted...)
	piece[7] = 5 // not the first fragment
	fifth := append([]byte(nil), quoted...)
	fifth[0] = 0x55
	ask := &layers.ICMPv6NeighborSolicitation{TargetAddress: address("fd00::6"), Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptSourceAddress, Data: macA}}}
	says := &layers.ICMPv6NeighborAdvertisement{Flags: 0x60, TargetAddress: address("fd00::5"), Options: layers.ICMPv6Options{{Type: layers.ICMPv6OptTargetAddress, Data: macA}}}
	unasked := &layers.ICMPv6NeighborAdvertisement{Flags: 0x20, TargetAddress: address("fd00::5"), Options: says.Options}
	probe := ip6(layers.IPProtocolICMPv6)
	probe.SrcIP, probe.DstIP = address("::"), address("ff02::1:ff00:6")
	icmp, icmpv6 := ip4(layers.IPProtocolICMPv4), ip6(layers.IPProtocolICMPv6)
	return map[string]stack{
		"echo":             {frame(0x800), icmp, icmp4(8, 0, 7, 1), data},
		"echo reply":       {frame(0x800), icmp, icmp4(0, 0, 7, 1), data},
		"port unreachable": {frame(0x800), icmp, icmp4(3, 3, 0, 0), gopacket.Payload(quoted)},
		"too big":          {frame(0x800), icmp, icmp4(3, 4, 0, 1450), gopacket.Payload(quoted)},
		"time exceeded":    {frame(0x800), icmp, icmp4(11, 0, 0, 0), gopacket.Payload(quoted)},
		"quotes nothing":   {frame(0x800), icmp, icmp4(11, 0, 0, 0), data, data, data},
		"quotes fragment":  {frame(0x800), icmp, icmp4(11, 1, 0, 0), gopacket.Payload(piece)},
		"quotes version 5": {frame(0x800), icmp, icmp4(11, 0, 0, 0), gopacket.Payload(fifth)},
		"icmp 40":          {frame(0x800), icmp, icmp4(40, 3, 0, 0)},
		"echo6":            {frame(0x86dd), icmpv6, icmp6(128, 0), &layers.ICMPv6Echo{Identifier: 7, SeqNumber: 2}, data},
		"echo6 reply":      {frame(0x86dd), icmpv6, icmp6(129, 0), &layers.ICMPv6Echo{Identifier: 7, SeqNumber: 2}, data},
		"too big 6":        {frame(0x86dd), icmpv6, icmp6(2, 0), gopacket.Payload(append([]byte{0, 0, 5, 0}, quoted6...))},
		"no route 6":       {frame(0x86dd), icmpv6, icmp6(1, 0), gopacket.Payload(append([]byte{0, 0, 0, 0}, quoted6...))},
		"solicitation":     {frame(0x86dd), icmpv6, icmp6(135, 0), ask},
		"probe 6":          {frame(0x86dd), probe, icmp6(135, 0), ask},
		"advertisement":    {frame(0x86dd), icmpv6, icmp6(136, 0), says},
		"unasked":          {frame(0x86dd), icmpv6, icmp6(136, 0), unasked},
		"router":           {frame(0x86dd), icmpv6, icmp6(134, 0), &layers.ICMPv6RouterAdvertisement{HopLimit: 64}},
		"icmp6 200":        {frame(0x86dd), icmpv6, icmp6(200, 1), data},
	}
}

func arp(operation uint16, from, to string) *layers.ARP {
	return &layers.ARP{
		AddrType: layers.LinkTypeEthernet, Protocol: layers.EthernetTypeIPv4, HwAddressSize: 6, ProtAddressSize: 4, Operation: operation,
		SourceHwAddress: macA, SourceProtAddress: address(from), DstHwAddress: make([]byte, 6), DstProtAddress: address(to),
	}
}

func links() map[string]stack {
	odd := arp(1, "10.1.0.5", "10.1.0.6")
	odd.ProtAddressSize, odd.SourceProtAddress, odd.DstProtAddress = 2, []byte{1, 2}, []byte{1, 2}
	return map[string]stack{
		"arp request":   {frame(0x806), arp(1, "10.1.0.5", "10.1.0.6")},
		"arp reply":     {frame(0x806), arp(2, "10.1.0.5", "10.1.0.6")},
		"arp announced": {frame(0x806), arp(1, "10.1.0.5", "10.1.0.5")},
		"arp probe":     {frame(0x806), arp(1, "0.0.0.0", "10.1.0.6")},
		"arp 9":         {frame(0x806), arp(9, "10.1.0.5", "10.1.0.6")},
		"arp odd":       {frame(0x806), odd},
		"vlan":          {frame(0x8100), tag(100, 0x800), ip4(layers.IPProtocolUDP), udp(5000, 6000), data},
		"vlan arp":      {frame(0x8100), tag(100, 0x806), arp(1, "10.1.0.5", "10.1.0.6")},
		"qinq":          {frame(0x88a8), tag(10, 0x8100), tag(20, 0x800), ip4(layers.IPProtocolICMPv4), icmp4(8, 0, 7, 1), data},
		"vlan of old":   {frame(0x9100), tag(10, 0x800), ip4(layers.IPProtocolUDP), udp(5000, 6000), data},
		"lldp":          {frame(0x88cc), data},
		"unknown type":  {frame(0x1234), data},
		"stp":           {&layers.Ethernet{SrcMAC: macA, DstMAC: macB, Length: 35}, gopacket.Payload(append([]byte{0x42, 0x42, 3}, data...))},
		"llc":           {&layers.Ethernet{SrcMAC: macA, DstMAC: macB, Length: 32}, data},
	}
}

func tunnels(t testing.TB) map[string]stack {
	inner := gopacket.Payload(stack{frame(0x800), ip4(layers.IPProtocolICMPv4), icmp4(8, 0, 7, 1), data}.bytes(t))
	tagged := gopacket.Payload(stack{frame(0x8100), tag(20, 0x806), arp(1, "10.1.0.5", "10.1.0.6")}.bytes(t))
	packet := gopacket.Payload(stack{ip4(layers.IPProtocolTCP), syn()}.bytes(t))
	packet6 := gopacket.Payload(stack{ip6(layers.IPProtocolUDP), udp(5000, 6000), data}.bytes(t))
	vxlan := &layers.VXLAN{ValidIDFlag: true, VNI: 100}
	first := outer4(layers.IPProtocolUDP)
	first.Id, first.Flags = 4711, layers.IPv4MoreFragments
	bridged := layers.EthernetTypeTransparentEthernetBridging
	return map[string]stack{
		"vxlan":        {frame(0x800), outer4(layers.IPProtocolUDP), udp(40000, 4789), vxlan, inner},
		"vxlan 8472":   {frame(0x800), outer4(layers.IPProtocolUDP), udp(40000, 8472), vxlan, tagged},
		"vxlan first":  {frame(0x800), first, udp(40000, 8472), vxlan, inner[:13]},
		"vxlan short":  {frame(0x800), outer4(layers.IPProtocolUDP), udp(40000, 8472), vxlan, inner[:60]},
		"no vxlan":     {frame(0x800), outer4(layers.IPProtocolUDP), udp(40000, 8472), data},
		"vxlan over 6": {frame(0x86dd), ip6(layers.IPProtocolUDP), udp(40000, 4789), vxlan, inner},
		"geneve":       {frame(0x800), outer4(layers.IPProtocolUDP), udp(40000, 6081), &layers.Geneve{VNI: 7, Protocol: bridged}, inner},
		"geneve ip":    {frame(0x800), outer4(layers.IPProtocolUDP), udp(40000, 6081), &layers.Geneve{VNI: 7, Protocol: 0x800}, packet},
		"gre":          {frame(0x800), outer4(layers.IPProtocolGRE), &layers.GRE{Protocol: 0x800}, packet},
		"gre key":      {frame(0x800), outer4(layers.IPProtocolGRE), &layers.GRE{Protocol: bridged, KeyPresent: true, Key: 5}, inner},
		"gre 6":        {frame(0x800), outer4(layers.IPProtocolGRE), &layers.GRE{Protocol: 0x86dd}, packet6},
		"gre other":    {frame(0x800), outer4(layers.IPProtocolGRE), &layers.GRE{Protocol: 0x8847}, packet6},
		"ipip":         {frame(0x800), outer4(layers.IPProtocolIPv4), packet},
		"sit":          {frame(0x800), outer4(layers.IPProtocolIPv6), packet6},
	}
}

func fragments() map[string]stack {
	first, later, last, icmp := ip4(layers.IPProtocolUDP), ip4(layers.IPProtocolUDP), ip4(layers.IPProtocolUDP), ip4(layers.IPProtocolICMPv4)
	first.Id, first.Flags = 4711, layers.IPv4MoreFragments
	later.Id, later.Flags, later.FragOffset = 4711, layers.IPv4MoreFragments, 5
	last.Id, last.FragOffset = 4711, 9
	icmp.Id, icmp.Flags = 4712, layers.IPv4MoreFragments
	piece := func(offset uint16, more bool) stack {
		header := []byte{17, 0, byte(offset >> 5), byte(offset << 3), 0, 0, 0, 9}
		if more {
			header[3] |= 1
		}
		return stack{frame(0x86dd), ip6(layers.IPProtocolIPv6Fragment), gopacket.Payload(append(header, 0x13, 0x88, 0x17, 0x70, 7, 208, 0, 0))}
	}
	return map[string]stack{
		"fragment first": {frame(0x800), first, gopacket.Payload{0x13, 0x88, 0x17, 0x70, 7, 208, 0, 0, 1, 2, 3, 4}},
		"fragment later": {frame(0x800), later, data},
		"fragment last":  {frame(0x800), last, data},
		"fragment icmp":  {frame(0x800), icmp, icmp4(8, 0, 7, 1), data},
		"fragment6":      piece(0, true),
		"fragment6 last": piece(1, false),
	}
}

func services() map[string]stack {
	question := []layers.DNSQuestion{{Name: []byte("db.shop.svc"), Type: layers.DNSTypeA, Class: layers.DNSClassIN}}
	hostile := []layers.DNSQuestion{{Name: []byte("a\x1b[2Jb"), Type: layers.DNSTypeTXT, Class: layers.DNSClassIN}}
	answer := layers.DNSResourceRecord{Name: question[0].Name, Type: layers.DNSTypeA, Class: layers.DNSClassIN, IP: address("10.1.0.6")}
	text := layers.DNSResourceRecord{Name: question[0].Name, Type: layers.DNSTypeTXT, Class: layers.DNSClassIN, TXTs: [][]byte{[]byte("x")}}
	dns := func(from, to layers.UDPPort, d *layers.DNS) stack {
		return stack{frame(0x800), ip4(layers.IPProtocolUDP), udp(from, to), d}
	}
	return map[string]stack{
		"dns query":   dns(40000, 53, &layers.DNS{ID: 9, Questions: question}),
		"dns hostile": dns(40000, 53, &layers.DNS{ID: 9, Questions: hostile}),
		"dns answer":  dns(53, 40000, &layers.DNS{ID: 9, QR: true, Questions: question, Answers: []layers.DNSResourceRecord{answer}}),
		"dns text":    dns(53, 40000, &layers.DNS{ID: 9, QR: true, Questions: question, Answers: []layers.DNSResourceRecord{text}}),
		"dns no name": dns(53, 40000, &layers.DNS{ID: 9, QR: true, Questions: question, ResponseCode: layers.DNSResponseCodeNXDomain}),
		"dns refused": dns(53, 40000, &layers.DNS{ID: 9, QR: true, Questions: question, ResponseCode: layers.DNSResponseCodeRefused}),
		"mdns":        dns(5353, 5353, &layers.DNS{Questions: question}),
		"no dns":      {frame(0x800), ip4(layers.IPProtocolUDP), udp(40000, 53), data},
	}
}

// oddities are packets that a serializer does not make.
func oddities(t testing.TB) []sample {
	t.Helper()
	tcp := stack{frame(0x800), ip4(layers.IPProtocolTCP), segment(), data}.bytes(t)
	raw := stack{ip6(layers.IPProtocolTCP), segment(), data}.bytes(t)
	big := append([]byte(nil), raw...)
	big[4], big[5] = 0, 0
	vxlan := stack{frame(0x800), outer4(layers.IPProtocolUDP), udp(40000, 4789), &layers.VXLAN{ValidIDFlag: true, VNI: 100}, gopacket.Payload(tcp)}.bytes(t)
	option := append([]byte(nil), tcp...)
	option[14] = 0x42 // a header of 8 bytes
	deep := stack{frame(0x800)}
	for range 2 * most {
		deep = append(deep, outer4(layers.IPProtocolIPv4))
	}
	nested := deep.bytes(t)
	cut := func(name string, p []byte, n int) sample {
		return sample{name, inspect.Packet{Link: 1, Length: len(p), Data: p[:n]}}
	}
	short := func(name string, p []byte, n int) sample {
		return sample{name, inspect.Packet{Link: 1, Length: n, Data: p[:n]}}
	}
	return []sample{
		{"empty", inspect.Packet{Link: 1}},
		{"empty raw", inspect.Packet{Link: 101}},
		{"raw 6", inspect.Packet{Link: 101, Length: len(raw), Data: raw}},
		{"raw nothing", inspect.Packet{Link: 101, Length: 3, Data: []byte{0xf0, 1, 2}}},
		{"segment without length", inspect.Packet{Link: 101, Length: len(big), Data: big}},
		{"other link", inspect.Packet{Link: 147, Length: 99, Data: []byte{1}}},
		{"no ip header", inspect.Packet{Link: 1, Length: len(option), Data: option}},
		{"nested", inspect.Packet{Link: 1, Length: len(nested), Data: nested}},
		cut("kept to ethernet", tcp, 10), cut("kept to ip", tcp, 20), cut("kept to ports", tcp, 40), cut("kept to tcp", tcp, 54),
		cut("kept to no ports", tcp, 36), cut("kept to vxlan", vxlan, 50), cut("kept to inner", vxlan, 90),
		short("short in ethernet", tcp, 10), short("short in ip", tcp, 20), short("short in tcp", tcp, 40), short("short in data", tcp, 60),
	}
}
