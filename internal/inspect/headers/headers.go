// Package headers takes the headers of a captured packet apart.
package headers

import (
	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
)

// The types of link-layer headers that can be taken apart, by the numbers of LINKTYPE.
const (
	Ethernet = 1
	RawIP    = 101
)

// vxlanOfLinux is the port that the kernel takes if none is given, as Flannel does; gopacket knows the assigned one.
const vxlanOfLinux = 8472

func init() { layers.RegisterUDPPortLayerType(vxlanOfLinux, layers.LayerTypeVXLAN) }

// Of gives the headers of a packet, the outermost first, as far as they can be read.
func Of(data []byte, link int) []gopacket.Layer {
	if len(data) == 0 {
		return nil
	}
	var first gopacket.Decoder = layers.LayerTypeEthernet
	switch {
	case link == Ethernet:
	case data[0]>>4 == 6:
		first = layers.LayerTypeIPv6
	default:
		first = layers.LayerTypeIPv4
	}
	return gopacket.NewPacket(data, first, gopacket.DecodeOptions{NoCopy: true}).Layers()
}
