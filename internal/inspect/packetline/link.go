package packetline

import (
	"fmt"
	"net"
	"net/netip"

	"github.com/gopacket/gopacket/layers"
)

// ethernetNames are of protocols above Ethernet that only their name is said of.
var ethernetNames = map[layers.EthernetType]string{
	0x8035: "rarp", 0x8847: "mpls", 0x8848: "mpls", 0x8863: "pppoe discovery", 0x8864: "pppoe", 0x8809: "lacp", 0x888e: "eapol",
	0x88cc: "lldp", 0x88e5: "macsec", 0x88f7: "ptp", 0x9000: "loopback test",
}

const (
	tagInner = 0x8100
	tagOuter = 0x88a8
	tagOld   = 0x9100
	llcLimit = 0x0600 // smaller ones are lengths
	llcSTP   = 0x42
)

// ethernet says what a frame is.
func (l *line) ethernet(data []byte) {
	eth := &layers.Ethernet{}
	if !l.decode("ethernet", data, eth) {
		return
	}
	kind, payload := eth.EthernetType, eth.Payload
	if eth.Length != 0 {
		kind = 0
	}
	for kind == tagInner || kind == tagOuter || kind == tagOld {
		tag := &layers.Dot1Q{}
		if !l.decode("vlan", payload, tag) {
			return
		}
		l.add("vlan %d, ", tag.VLANIdentifier)
		kind, payload = tag.Type, tag.Payload
	}
	l.above(kind, payload, ends{from: eth.SrcMAC.String(), to: eth.DstMAC.String()})
}

// ends are the two addresses of a packet, as texts.
type ends struct{ from, to string }

func (e ends) String() string { return e.from + " > " + e.to }

// above says what is in a frame.
func (l *line) above(kind layers.EthernetType, data []byte, macs ends) {
	switch {
	case kind == layers.EthernetTypeIPv4:
		l.ipv4(data)
	case kind == layers.EthernetTypeIPv6:
		l.ipv6(data)
	case kind == layers.EthernetTypeARP:
		l.arp(data)
	case kind < llcLimit:
		l.add("%s: %s, %d bytes", macs, llcName(data), len(data))
	default:
		l.add("%s: %s, %d bytes", macs, ethernetName(kind), len(data))
	}
}

func ethernetName(kind layers.EthernetType) string {
	if name := ethernetNames[kind]; name != "" {
		return name
	}
	return fmt.Sprintf("type 0x%04x", uint16(kind))
}

func llcName(data []byte) string {
	if len(data) > 0 && data[0] == llcSTP {
		return "stp"
	}
	return "llc"
}

// arp says who asks for whom.
func (l *line) arp(data []byte) {
	arp := &layers.ARP{}
	if !l.decode("arp", data, arp) {
		return
	}
	from, known := netip.AddrFromSlice(arp.SourceProtAddress)
	to, both := netip.AddrFromSlice(arp.DstProtAddress)
	mac := net.HardwareAddr(arp.SourceHwAddress)
	switch {
	case !known || !both || !from.Is4():
		l.add("arp of unknown addresses")
	case arp.Operation == layers.ARPReply:
		l.add("arp %s is at %s", from, mac)
	case arp.Operation != layers.ARPRequest:
		l.add("arp operation %d", arp.Operation)
	case from == to:
		l.add("arp %s is at %s, announced", from, mac)
	case from.IsUnspecified():
		l.add("arp who has %s, a probe of %s", to, mac)
	default:
		l.add("arp who has %s, tell %s", to, from)
	}
}
