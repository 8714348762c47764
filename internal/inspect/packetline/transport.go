package packetline

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"

	"github.com/gopacket/gopacket/layers"
)

// Ports of UDP whose payload is read.
const (
	portDNS       = 53
	portMDNS      = 5353
	portVXLAN     = 4789
	portVXLANOld  = 8472 // Linux's own, and flannel's
	portGeneve    = 6081
	vxlanHeader   = 8
	vxlanHasIdent = 0x08
)

// withPorts gives the addresses with the ports, which the first four bytes of the payload have.
func (d *datagram) withPorts() ends {
	if len(d.payload) < 4 {
		return ends{d.from.String(), d.to.String()}
	}
	from, to := binary.BigEndian.Uint16(d.payload), binary.BigEndian.Uint16(d.payload[2:])
	return ends{netip.AddrPortFrom(d.from, from).String(), netip.AddrPortFrom(d.to, to).String()}
}

func (l *line) tcp(d *datagram) {
	tcp := &layers.TCP{}
	if !l.decode(d.withPorts().String()+": tcp", d.payload, tcp) {
		return
	}
	l.add("%s: tcp %s, seq %d", d.withPorts(), flags(tcp), tcp.Seq)
	if tcp.ACK {
		l.add(", ack %d", tcp.Ack)
	}
	l.add(", win %d", tcp.Window)
	for _, option := range tcp.Options {
		if option.OptionType == layers.TCPOptionKindMSS && len(option.OptionData) == 2 {
			l.add(", mss %d", binary.BigEndian.Uint16(option.OptionData))
		}
	}
	l.add(", %d bytes%s", max(d.size-int(tcp.DataOffset)*4, 0), d.piece)
}

// flags gives the names of the flags that are set.
func flags(tcp *layers.TCP) string {
	var names []string
	for _, flag := range []struct {
		set  bool
		name string
	}{
		{tcp.SYN, "SYN"},
		{tcp.FIN, "FIN"},
		{tcp.RST, "RST"},
		{tcp.PSH, "PSH"},
		{tcp.ACK, "ACK"},
		{tcp.URG, "URG"},
		{tcp.ECE, "ECE"},
		{tcp.CWR, "CWR"},
	} {
		if flag.set {
			names = append(names, flag.name)
		}
	}
	if len(names) == 0 {
		return "without flags"
	}
	return strings.Join(names, " ")
}

func (l *line) udp(d *datagram) {
	udp := &layers.UDP{}
	if !l.decode(d.withPorts().String()+": udp", d.payload, udp) {
		return
	}
	if l.known(d, udp) {
		return
	}
	size := d.size - 8
	if udp.Length >= 8 {
		size = int(udp.Length) - 8
	}
	l.add("%s: udp, %d bytes%s", d.withPorts(), size, d.piece)
}

// known says what is in UDP, if its port is of something that is read here.
func (l *line) known(d *datagram, udp *layers.UDP) bool {
	to, data := udp.DstPort, udp.Payload
	switch {
	case (to == portVXLAN || to == portVXLANOld) && len(data) >= vxlanHeader && data[0]&vxlanHasIdent != 0:
		l.vxlan(d, data)
	case to == portGeneve && len(data) >= 8:
		l.geneve(d, data)
	case to == portDNS || udp.SrcPort == portDNS || to == portMDNS:
		return l.dns(d, data)
	default:
		return false
	}
	return true
}

func (l *line) vxlan(d *datagram, data []byte) {
	vxlan := &layers.VXLAN{}
	if l.decode(d.String()+": vxlan", data, vxlan) {
		l.tunnel(fmt.Sprintf("%s: vxlan %d%s", d, vxlan.VNI, d.piece), func() { l.ethernet(vxlan.Payload) })
	}
}

func (l *line) geneve(d *datagram, data []byte) {
	geneve := &layers.Geneve{}
	if l.decode(d.String()+": geneve", data, geneve) {
		l.tunnel(fmt.Sprintf("%s: geneve %d%s", d, geneve.VNI, d.piece), func() { l.inside(geneve.Protocol, geneve.Payload) })
	}
}

func (l *line) gre(d *datagram) {
	gre := &layers.GRE{}
	if !l.decode(d.String()+": gre", d.payload, gre) {
		return
	}
	outer := d.String() + ": gre"
	if gre.KeyPresent {
		outer += fmt.Sprintf(" key %d", gre.Key)
	}
	l.tunnel(outer+d.piece, func() { l.inside(gre.Protocol, gre.Payload) })
}

// inside says what is in a tunnel of any protocol of Ethernet, which may be Ethernet itself.
func (l *line) inside(kind layers.EthernetType, data []byte) {
	switch kind {
	case layers.EthernetTypeTransparentEthernetBridging:
		l.ethernet(data)
	case layers.EthernetTypeIPv4:
		l.ipv4(data)
	case layers.EthernetTypeIPv6:
		l.ipv6(data)
	default:
		l.add("%s, %d bytes", ethernetName(kind), len(data))
	}
}

func (l *line) sctp(d *datagram) {
	sctp := &layers.SCTP{}
	if !l.decode(d.withPorts().String()+": sctp", d.payload, sctp) {
		return
	}
	chunk := "without a chunk"
	if len(sctp.Payload) > 0 {
		chunk = strings.ToUpper(layers.SCTPChunkType(sctp.Payload[0]).String())
	}
	l.add("%s: sctp %s, %d bytes%s", d.withPorts(), chunk, max(d.size-len(sctp.Contents), 0), d.piece)
}

// dns says what is asked for first, and whether there is an answer; it says nothing of what is no DNS.
func (l *line) dns(d *datagram, data []byte) bool {
	dns := &layers.DNS{}
	if _, err := parse(data, dns); err != nil || len(dns.Questions)+len(dns.Answers) == 0 {
		return false
	}
	l.add("%s: dns ", d.withPorts())
	if dns.QR {
		l.add("answer %d", dns.ID)
	} else {
		l.add("query %d", dns.ID)
	}
	if len(dns.Questions) > 0 {
		l.add(", %s %s", dns.Questions[0].Type, printable(string(dns.Questions[0].Name)))
	}
	if dns.QR {
		l.add(", %s", result(dns))
	}
	return true
}

// result says what the answer is.
func result(dns *layers.DNS) string {
	switch {
	case dns.ResponseCode == layers.DNSResponseCodeNXDomain:
		return "no such name"
	case dns.ResponseCode != layers.DNSResponseCodeNoErr:
		return strings.ToLower(dns.ResponseCode.String())
	}
	for _, answer := range dns.Answers {
		if address, ok := netip.AddrFromSlice(answer.IP); ok {
			return fmt.Sprintf("records: %d, %s", len(dns.Answers), address.Unmap())
		}
	}
	return fmt.Sprintf("records: %d", len(dns.Answers))
}
