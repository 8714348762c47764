package packetline

import (
	"encoding/binary"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// message is a type and code of ICMP.
type message struct{ kind, code uint8 }

// Messages of ICMP that are about another packet.
var (
	about4 = map[message]string{
		{3, 0}: "network unreachable", {3, 1}: "host unreachable", {3, 2}: "protocol unreachable", {3, 3}: "port unreachable",
		{3, 4}: "fragmentation needed", {3, 5}: "source route failed", {3, 9}: "network prohibited", {3, 10}: "host prohibited",
		{3, 13}: "prohibited", {5, 0}: "redirect", {5, 1}: "redirect", {11, 0}: "time exceeded", {11, 1}: "fragments missing",
		{12, 0}: "bad header",
	}
	about6 = map[message]string{
		{1, 0}: "no route", {1, 1}: "prohibited", {1, 2}: "beyond the source's scope", {1, 3}: "address unreachable",
		{1, 4}: "port unreachable", {1, 5}: "source prohibited", {1, 6}: "route rejected", {2, 0}: "packet too big",
		{3, 0}: "hop limit exceeded", {3, 1}: "fragments missing", {4, 0}: "bad header", {4, 1}: "unknown next header",
	}
)

// other6 are ICMPv6's messages about no other packet.
var other6 = map[uint8]string{
	130: "multicast query", 131: "multicast report", 132: "multicast done", 133: "router solicitation", 134: "router advertisement",
	137: "redirect", 143: "multicast report",
}

func (l *line) icmp4(d *datagram) {
	icmp := &layers.ICMPv4{}
	if !l.decode(d.String()+": icmp", d.payload, icmp) {
		return
	}
	is := message{icmp.TypeCode.Type(), icmp.TypeCode.Code()}
	switch {
	case is.kind == layers.ICMPv4TypeEchoRequest:
		l.add("%s: icmp echo request, id %d, seq %d, %d bytes%s", d, icmp.Id, icmp.Seq, d.size, d.piece)
	case is.kind == layers.ICMPv4TypeEchoReply:
		l.add("%s: icmp echo reply, id %d, seq %d, %d bytes%s", d, icmp.Id, icmp.Seq, d.size, d.piece)
	case about4[is] == "":
		l.add("%s: icmp type %d, code %d, %d bytes%s", d, is.kind, is.code, d.size, d.piece)
	default:
		l.add("%s: icmp %s", d, about4[is])
		if is == (message{3, 4}) {
			l.add(", mtu %d", icmp.Seq)
		}
		l.quote(icmp.Payload)
	}
}

func (l *line) icmp6(d *datagram) {
	icmp := &layers.ICMPv6{}
	if !l.decode(d.String()+": icmp6", d.payload, icmp) {
		return
	}
	is := message{icmp.TypeCode.Type(), icmp.TypeCode.Code()}
	switch {
	case is.kind == layers.ICMPv6TypeEchoRequest || is.kind == layers.ICMPv6TypeEchoReply:
		l.echo6(d, is.kind, icmp.Payload)
	case is.kind == layers.ICMPv6TypeNeighborSolicitation:
		l.solicitation(d, icmp.Payload)
	case is.kind == layers.ICMPv6TypeNeighborAdvertisement:
		l.advertisement(d, icmp.Payload)
	case about6[is] != "":
		l.about6(d, is, icmp.Payload)
	case other6[is.kind] != "":
		l.add("%s: icmp6 %s, %d bytes%s", d, other6[is.kind], d.size, d.piece)
	default:
		l.add("%s: icmp6 type %d, code %d, %d bytes%s", d, is.kind, is.code, d.size, d.piece)
	}
}

func (l *line) about6(d *datagram, is message, data []byte) {
	l.add("%s: icmp6 %s", d, about6[is])
	if len(data) < 4 {
		return
	}
	if is == (message{2, 0}) {
		l.add(", mtu %d", binary.BigEndian.Uint32(data))
	}
	l.quote(data[4:])
}

func (l *line) echo6(d *datagram, kind uint8, data []byte) {
	name := "icmp6 echo request"
	if kind == layers.ICMPv6TypeEchoReply {
		name = "icmp6 echo reply"
	}
	echo := &layers.ICMPv6Echo{}
	if l.decode(d.String()+": "+name, data, echo) {
		l.add("%s: %s, id %d, seq %d, %d bytes%s", d, name, echo.Identifier, echo.SeqNumber, d.size, d.piece)
	}
}

func (l *line) solicitation(d *datagram, data []byte) {
	ask := &layers.ICMPv6NeighborSolicitation{}
	if !l.decode(d.String()+": icmp6 neighbor solicitation", data, ask) {
		return
	}
	target, _ := netip.AddrFromSlice(ask.TargetAddress)
	if d.from.IsUnspecified() {
		l.add("%s: icmp6 who has %s, a probe", d, target)
		return
	}
	l.add("%s: icmp6 who has %s%s", d, target, linkAddress(" from ", ask.Options, layers.ICMPv6OptSourceAddress))
}

func (l *line) advertisement(d *datagram, data []byte) {
	says := &layers.ICMPv6NeighborAdvertisement{}
	if !l.decode(d.String()+": icmp6 neighbor advertisement", data, says) {
		return
	}
	target, _ := netip.AddrFromSlice(says.TargetAddress)
	l.add("%s: icmp6 %s is%s", d, target, linkAddress(" at ", says.Options, layers.ICMPv6OptTargetAddress))
	if !says.Solicited() {
		l.add(", unasked")
	}
}

// linkAddress gives the address that an option has, behind a word.
func linkAddress(word string, options layers.ICMPv6Options, kind layers.ICMPv6Opt) string {
	for _, option := range options {
		if option.Type == kind && len(option.Data) == 6 {
			return word + net.HardwareAddr(option.Data).String()
		}
	}
	return ""
}

// quote says which packet a message is about, of which it has the beginning.
func (l *line) quote(data []byte) {
	d := quoted(data)
	if d == nil {
		return
	}
	at := ends{d.from.String(), d.to.String()}
	if !d.later && (d.protocol == layers.IPProtocolTCP || d.protocol == layers.IPProtocolUDP || d.protocol == layers.IPProtocolSCTP) {
		at = d.withPorts()
	}
	l.add(", about %s: %s", at, protocolName(d.protocol))
}

// quoted decodes the header of a packet of which there is only the beginning.
func quoted(data []byte) *datagram {
	ip4, ip6 := &layers.IPv4{}, &layers.IPv6{}
	if _, err := parse(data, ip4); err == nil && ip4.Version == 4 {
		return fromIPv4(ip4)
	}
	if _, err := parse(data, lengthless{ip6}); err == nil && ip6.Version == 6 {
		return fromIPv6(ip6)
	}
	return nil
}
