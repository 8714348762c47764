package packetline

import (
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// protocolNames are of IP's protocols by what they are called here.
var protocolNames = map[layers.IPProtocol]string{
	layers.IPProtocolTCP: "tcp", layers.IPProtocolUDP: "udp", layers.IPProtocolSCTP: "sctp", layers.IPProtocolICMPv4: "icmp",
	layers.IPProtocolICMPv6: "icmp6", layers.IPProtocolGRE: "gre", layers.IPProtocolIPv4: "ipip", layers.IPProtocolIPv6: "ip6 in ip",
	layers.IPProtocolESP: "esp", layers.IPProtocolAH: "ah", layers.IPProtocolIGMP: "igmp", layers.IPProtocolOSPF: "ospf",
	layers.IPProtocolVRRP: "vrrp", layers.IPProtocolUDPLite: "udplite", layers.IPProtocolNoNextHeader: "nothing",
	33: "dccp", 46: "rsvp", 88: "eigrp", 103: "pim", 108: "ipcomp", 115: "l2tp", 135: "mobility",
}

// datagram is an IP packet.
type datagram struct {
	from, to netip.Addr
	protocol layers.IPProtocol
	payload  []byte
	size     int // of the payload, by the header
	piece    string
	later    bool // it is a fragment, and not the first
}

// raw says what a packet without a link-layer header is.
func (l *line) raw(data []byte) {
	switch {
	case len(data) == 0:
		l.add("an empty packet")
	case data[0]>>4 == 4:
		l.ipv4(data)
	case data[0]>>4 == 6:
		l.ipv6(data)
	default:
		l.add("no IP packet, %d bytes", len(data))
	}
}

func (l *line) ipv4(data []byte) {
	ip := &layers.IPv4{}
	if !l.decode("ip", data, ip) {
		return
	}
	l.short = l.short || l.cut && l.inner == 0
	l.datagram(fromIPv4(ip))
}

func fromIPv4(ip *layers.IPv4) *datagram {
	d := &datagram{protocol: ip.Protocol, payload: ip.Payload, size: max(int(ip.Length)-int(ip.IHL)*4, len(ip.Payload))}
	d.from, _ = netip.AddrFromSlice(ip.SrcIP)
	d.to, _ = netip.AddrFromSlice(ip.DstIP)
	d.cutInto(int(ip.FragOffset)*8, ip.Flags&layers.IPv4MoreFragments != 0, uint32(ip.Id))
	return d
}

// cutInto says which fragment it is, if it is one.
func (d *datagram) cutInto(offset int, more bool, id uint32) {
	if offset == 0 && !more {
		return
	}
	d.later = offset > 0
	d.piece = fmt.Sprintf(", fragment of %d: bytes %d-%d", id, offset, offset+max(d.size-1, 0))
	if more {
		d.piece += ", more follow"
	}
}

func (l *line) ipv6(data []byte) {
	ip := &layers.IPv6{}
	if !l.decode("ip6", data, lengthless{ip}) {
		return
	}
	l.short = l.short || l.cut && l.inner == 0
	if d := fromIPv6(ip); l.extensions(d) {
		l.datagram(d)
	}
}

func fromIPv6(ip *layers.IPv6) *datagram {
	d := &datagram{protocol: ip.NextHeader, payload: ip.Payload, size: int(ip.Length)}
	d.from, _ = netip.AddrFromSlice(ip.SrcIP)
	d.to, _ = netip.AddrFromSlice(ip.DstIP)
	if ip.HopByHop != nil {
		d.protocol, d.size = ip.HopByHop.NextHeader, d.size-ip.HopByHop.ActualLength
	}
	d.size = max(d.size, len(d.payload))
	return d
}

// lengthless is IPv6 whose header may have no length: the node's own segments of TCP are larger than the
// field until they leave it.
type lengthless struct{ *layers.IPv6 }

// DecodeFromBytes decodes the header.
func (ip lengthless) DecodeFromBytes(data []byte, feedback gopacket.DecodeFeedback) error {
	err := ip.IPv6.DecodeFromBytes(data, feedback)
	if len(data) >= 40 && ip.Length == 0 && ip.NextHeader != layers.IPProtocolIPv6HopByHop {
		return nil
	}
	return err
}

// extensions takes the headers off that stand before the payload's, and says whether it could.
func (l *line) extensions(d *datagram) bool {
	for !d.later {
		switch d.protocol {
		case layers.IPProtocolIPv6HopByHop, layers.IPProtocolIPv6Routing, layers.IPProtocolIPv6Destination:
			if !l.extension(d) {
				return false
			}
		case layers.IPProtocolIPv6Fragment:
			if !l.fragment(d) {
				return false
			}
		default:
			return true
		}
	}
	return true
}

func (l *line) extension(d *datagram) bool {
	header := &layers.IPv6ExtensionSkipper{}
	if !l.decode(d.String()+": extension header", d.payload, header) {
		return false
	}
	d.size -= len(header.Contents)
	d.protocol, d.payload = header.NextHeader, header.Payload
	return true
}

func (l *line) fragment(d *datagram) bool {
	header := &layers.IPv6Fragment{}
	if !l.decode(d.String()+": fragment", d.payload, header) {
		return false
	}
	d.size -= len(header.Contents)
	d.protocol, d.payload = header.NextHeader, header.Payload
	d.cutInto(int(header.FragmentOffset)*8, header.MoreFragments, header.Identification)
	return true
}

func (d *datagram) String() string { return d.from.String() + " > " + d.to.String() }

// datagram says what is in an IP packet.
func (l *line) datagram(d *datagram) {
	if d.later {
		l.add("%s: %s%s", d, protocolName(d.protocol), d.piece)
		return
	}
	l.whole = l.whole && d.piece == ""
	switch d.protocol {
	case layers.IPProtocolTCP:
		l.tcp(d)
	case layers.IPProtocolUDP:
		l.udp(d)
	case layers.IPProtocolSCTP:
		l.sctp(d)
	case layers.IPProtocolICMPv4:
		l.icmp4(d)
	case layers.IPProtocolICMPv6:
		l.icmp6(d)
	case layers.IPProtocolGRE:
		l.gre(d)
	case layers.IPProtocolIPv4, layers.IPProtocolIPv6:
		l.tunnel(d.String()+": "+protocolName(d.protocol)+d.piece, func() { l.raw(d.payload) })
	default:
		l.add("%s: %s, %d bytes%s", d, securityName(d), d.size, d.piece)
	}
}

// tunnel says what a packet has inside.
func (l *line) tunnel(outer string, inner func()) {
	l.add("%s | ", outer)
	l.inner++
	inner()
}

func protocolName(p layers.IPProtocol) string {
	if name := protocolNames[p]; name != "" {
		return name
	}
	return fmt.Sprintf("protocol %d", uint8(p))
}

// securityName gives the name of a protocol, for IPsec with the number of the association.
func securityName(d *datagram) string {
	switch {
	case d.protocol == layers.IPProtocolESP && len(d.payload) >= 4:
		return fmt.Sprintf("esp 0x%08x", binary.BigEndian.Uint32(d.payload))
	case d.protocol == layers.IPProtocolAH && len(d.payload) >= 8:
		return fmt.Sprintf("ah 0x%08x", binary.BigEndian.Uint32(d.payload[4:]))
	}
	return protocolName(d.protocol)
}
