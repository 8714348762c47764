package probe

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"

	"github.com/gopacket/gopacket/layers"

	"github.com/plexus-cni/plexus/internal/inspect/headers"
)

// frame is one of the probe's packets, as it was seen at an interface.
type frame struct {
	from, to netip.Addr // of the innermost packet
	ports    [2]uint16  // from and to; zero for ICMP
	ttl      uint8
	size     int // of the innermost packet, by its own header, in bytes
	answer   bool
	reset    bool // an answer that refuses a connection of TCP
	// rejects is what an ICMP error says that has the packet in it, "" for none; from is who says it then,
	// and size is that of the packet that it is about.
	rejects string
	// around are the headers outside of it, the outermost first: "VXLAN 1 in 10.199.0.11 → 10.199.0.12".
	around []string
	cut    bool // it, or what carries it, is a fragment
}

// Sizes of headers, in bytes.
const (
	ipv4Header = 20
	ipv6Header = 40
	icmpHeader = 8 // and of UDP
	tcpHeader  = 20
)

// Where the flags of a segment are, and the one that refuses it.
const (
	tcpFlags = 13
	tcpReset = 1 << 2
)

// Numbers of protocols above IP.
const (
	protoICMP   = 1
	protoTCP    = 6
	protoUDP    = 17
	protoICMPv6 = 58
)

// read finds the probe's packet in what was seen: behind any headers, by its mark. So it is found in
// a tunnel that nobody knows, too.
func (p *Probe) read(data []byte, link int) (frame, bool) {
	var f frame
	var start int
	var found bool
	if p.protocol == "tcp" {
		f, start, found = p.readTCP(data)
	} else {
		f, start, found = p.readPayload(data)
	}
	if !found {
		return f, false
	}
	start = f.readRejection(data, start)
	f.readAround(data[:start], link)
	return f, true
}

// readPayload finds a packet whose payload begins with the mark.
func (p *Probe) readPayload(data []byte) (f frame, start int, found bool) {
	at := bytes.Index(data, p.mark[:]) - icmpHeader
	if at < 0 {
		return f, 0, false
	}
	start, protocol, found := f.readIP(data, at)
	if !found {
		return f, 0, false
	}
	switch protocol {
	case protoICMP:
		f.answer = data[at] == layers.ICMPv4TypeEchoReply
	case protoICMPv6:
		f.answer = data[at] == layers.ICMPv6TypeEchoReply
	case protoUDP:
		f.readPorts(data[at:])
		f.answer = p.isAnswer(f.ports)
	}
	return f, start, true
}

// isAnswer tells the direction of a packet of UDP by the port of either end: NAT may have changed the other one.
func (p *Probe) isAnswer(ports [2]uint16) bool {
	send := p.Send()
	own := send.SourcePort()
	return ports[0] != own && (ports[1] == own || ports[0] == p.port && ports[1] != p.port)
}

// readTCP finds a segment with the mark as its sequence number, or one that answers it.
func (p *Probe) readTCP(data []byte) (frame, int, bool) {
	sequence := binary.BigEndian.Uint32(p.mark[:])
	for offset, value := range map[int]uint32{4: sequence, 8: sequence + 1} {
		wanted := binary.BigEndian.AppendUint32(nil, value)
		for from := 0; ; {
			i := bytes.Index(data[from:], wanted)
			if i < 0 {
				break
			}
			var f frame
			at := from + i - offset
			if start, protocol, found := f.readIP(data, at); found && protocol == protoTCP {
				f.readPorts(data[at:])
				f.answer = offset == 8
				f.reset = f.answer && len(data) > at+tcpFlags && data[at+tcpFlags]&tcpReset != 0
				return f, start, true
			}
			from += i + 1
		}
	}
	return frame{}, 0, false
}

func (f *frame) readPorts(data []byte) {
	f.ports = [2]uint16{binary.BigEndian.Uint16(data), binary.BigEndian.Uint16(data[2:])}
}

// readIP reads the IP header that ends where another one begins, and gives where it begins.
func (f *frame) readIP(data []byte, end int) (start, protocol int, found bool) {
	if start = end - ipv4Header; start >= 0 && data[start] == 4<<4|ipv4Header/4 {
		header := data[start:end]
		f.from, f.to = netip.AddrFrom4([4]byte(header[12:16])), netip.AddrFrom4([4]byte(header[16:20]))
		f.ttl, f.size = header[8], int(binary.BigEndian.Uint16(header[2:]))
		f.cut = binary.BigEndian.Uint16(header[6:])&0x3fff != 0
		return start, int(header[9]), isProbed(int(header[9]))
	}
	if start = end - ipv6Header; start >= 0 && data[start]>>4 == 6 {
		header := data[start:end]
		f.from, f.to = netip.AddrFrom16([16]byte(header[8:24])), netip.AddrFrom16([16]byte(header[24:40]))
		f.ttl, f.size = header[7], ipv6Header+int(binary.BigEndian.Uint16(header[4:]))
		return start, int(header[6]), isProbed(int(header[6]))
	}
	return 0, 0, false
}

func isProbed(protocol int) bool {
	return protocol == protoICMP || protocol == protoICMPv6 || protocol == protoUDP || protocol == protoTCP
}

// readRejection finds the ICMP error that has the packet in it, and gives where the outer of the two begins.
func (f *frame) readRejection(data []byte, start int) int {
	about := *f
	at := start - icmpHeader
	if at < 0 {
		return start
	}
	outer := frame{}
	begin, protocol, found := outer.readIP(data, at)
	if !found {
		return start
	}
	kind := [3]byte{4, data[at], data[at+1]}
	if protocol == protoICMPv6 {
		kind[0] = 6
	}
	outer.rejects = rejections[kind]
	switch {
	case protocol != protoICMP && protocol != protoICMPv6 || !isError(kind):
		return start
	case outer.rejects == tooLarge:
		outer.rejects += fmt.Sprintf(": the next link takes %d bytes", binary.BigEndian.Uint32(data[at+4:])&0xffff)
	case outer.rejects == "":
		outer.rejects = fmt.Sprintf("ICMP type %d, code %d", kind[1], kind[2])
	}
	outer.answer, outer.size = true, about.size
	*f = outer
	return begin
}

// isError reports an ICMP message about another packet.
func isError(kind [3]byte) bool {
	if kind[0] == 6 {
		return kind[1] < 128
	}
	return kind[1] == layers.ICMPv4TypeDestinationUnreachable || kind[1] == layers.ICMPv4TypeTimeExceeded || kind[1] == layers.ICMPv4TypeParameterProblem
}

// Texts of rejections that something is decided by.
const (
	tooLarge   = "it is too large"
	closedPort = "nothing listens to the port, or a rule rejects it"
)

// rejections are what ICMP errors mean, by the version of IP, type and code.
var rejections = map[[3]byte]string{
	{4, 3, 0}: "it has no route", {4, 3, 1}: "the next hop does not answer", {4, 3, 2}: "it does not know the protocol", {4, 3, 3}: closedPort,
	{4, 3, 4}: tooLarge, {4, 3, 9}: "it is forbidden", {4, 3, 10}: "it is forbidden", {4, 3, 13}: "it is forbidden", {4, 11, 0}: "its TTL came to 0: it goes round",
	{4, 11, 1}: "a fragment of it was lost",
	{6, 1, 0}:  "it has no route", {6, 1, 1}: "it is forbidden", {6, 1, 3}: "the next hop does not answer", {6, 1, 4}: closedPort, {6, 1, 5}: "its source address is not allowed",
	{6, 1, 6}: "its route rejects it", {6, 2, 0}: tooLarge, {6, 3, 0}: "its hop limit came to 0: it goes round", {6, 3, 1}: "a fragment of it was lost",
}

// readAround says which headers are before the packet.
func (f *frame) readAround(data []byte, link int) {
	carrier := ""
	for _, layer := range headers.Of(data, link) {
		switch layer := layer.(type) {
		case *layers.Dot1Q:
			f.around = append(f.around, fmt.Sprintf("VLAN %d", layer.VLANIdentifier))
		case *layers.IPv4:
			carrier = fmt.Sprintf("%s → %s", layer.SrcIP, layer.DstIP)
			f.around = append(f.around, "IP "+carrier)
			f.cut = f.cut || layer.Flags&layers.IPv4MoreFragments != 0 || layer.FragOffset != 0
		case *layers.IPv6:
			carrier = fmt.Sprintf("%s → %s", layer.SrcIP, layer.DstIP)
			f.around = append(f.around, "IP "+carrier)
		case *layers.UDP:
			f.carried(fmt.Sprintf("UDP %d", layer.DstPort), carrier)
		case *layers.VXLAN:
			f.carried(fmt.Sprintf("VXLAN %d", layer.VNI), carrier)
		case *layers.Geneve:
			f.carried(fmt.Sprintf("Geneve %d", layer.VNI), carrier)
		case *layers.GRE:
			f.carried("GRE", carrier)
		}
	}
}

// carried replaces the last header by the one that it carries.
func (f *frame) carried(what, carrier string) {
	if len(f.around) > 0 {
		f.around = f.around[:len(f.around)-1]
	}
	f.around = append(f.around, what+", "+carrier)
}
