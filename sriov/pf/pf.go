// Package pf asks a physical function, by netlink, what it keeps of its VFs, and sets it.
package pf

import (
	"encoding/binary"
	"errors"
	"fmt"
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/sriov"
)

// ErrNoVF is the error for a VF that the PF says nothing about.
var ErrNoVF = errors.New("the PF has no such VF")

// Bits of IFLA_EXT_MASK: a PF with many VFs does not fit into one message with the
// counters of each.
const (
	extFilterVF        = 1 << 0
	extFilterSkipStats = 1 << 3
)

// unknown is what the kernel says of a switch that the driver does not tell.
const unknown = ^uint32(0)

// Read gives what the PF of the interface keeps of a VF.
func Read(netdev string, vf int) (*sriov.VFSettings, error) {
	settings, err := read(netdev, vf)
	if err != nil {
		return nil, fmt.Errorf("PF %s, VF %d: read settings: %w", netdev, vf, err)
	}
	return settings, nil
}

func read(netdev string, vf int) (*sriov.VFSettings, error) {
	request := nl.NewNetlinkRequest(unix.RTM_GETLINK, 0)
	request.AddData(nl.NewIfInfomsg(unix.AF_UNSPEC))
	request.AddData(nl.NewRtAttr(unix.IFLA_IFNAME, nl.ZeroTerminated(netdev)))
	request.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(extFilterVF|extFilterSkipStats)))
	messages, err := request.Execute(unix.NETLINK_ROUTE, 0)
	if err != nil {
		return nil, err
	}
	for _, message := range messages {
		if len(message) < unix.SizeofIfInfomsg {
			continue
		}
		if settings := parseLink(message[unix.SizeofIfInfomsg:], vf); settings != nil {
			return settings, nil
		}
	}
	return nil, ErrNoVF
}

// attribute is one of a netlink message.
type attribute struct {
	kind  uint16
	value []byte
}

// attributes splits a message. What is left of one that ends in the middle is dropped:
// the library's own reader does not bear it.
func attributes(data []byte) []attribute {
	const header = unix.SizeofNlAttr
	var all []attribute
	for len(data) >= header {
		length := int(binary.NativeEndian.Uint16(data))
		if length < header || length > len(data) {
			break
		}
		all = append(all, attribute{kind: binary.NativeEndian.Uint16(data[2:]) & nl.NLA_TYPE_MASK, value: data[header:length]})
		aligned := (length + unix.NLA_ALIGNTO - 1) &^ (unix.NLA_ALIGNTO - 1)
		data = data[min(aligned, len(data)):]
	}
	return all
}

// parseLink finds a VF among the attributes of a PF's interface, nil if it is not there.
func parseLink(data []byte, vf int) *sriov.VFSettings {
	for _, list := range attributes(data) {
		if list.kind != unix.IFLA_VFINFO_LIST {
			continue
		}
		for _, entry := range attributes(list.value) {
			if settings := parseVF(entry.value, vf); settings != nil {
				return settings
			}
		}
	}
	return nil
}

// parseVF reads one VF's attributes; nil if they are another's. Each begins with the
// VF's number.
func parseVF(data []byte, vf int) *sriov.VFSettings {
	s := &sriov.VFSettings{VLANProto: sriov.Proto8021Q}
	mine := false
	for _, attr := range attributes(data) {
		switch {
		case attr.kind == nl.IFLA_VF_VLAN_LIST:
			parseVLANs(s, attr.value)
		case len(attr.value) >= 8:
			mine = mine || attr.kind == nl.IFLA_VF_MAC && word(attr.value, 0) == uint32(vf)
			parseAttr(s, attr)
		}
	}
	if !mine {
		return nil
	}
	return s
}

func word(data []byte, n int) uint32 {
	if len(data) < 4*n+4 {
		return unknown
	}
	return binary.NativeEndian.Uint32(data[4*n:])
}

// parseAttr reads one attribute, of at least two words.
func parseAttr(s *sriov.VFSettings, attr attribute) {
	value := attr.value
	switch attr.kind {
	case nl.IFLA_VF_MAC:
		if len(value) >= 10 {
			s.MAC = net.HardwareAddr(value[4:10]).String()
		}
	case nl.IFLA_VF_VLAN:
		s.VLAN = int(word(value, 1))
		if qos := word(value, 2); qos != unknown {
			s.QoS = int(qos)
		}
	case nl.IFLA_VF_SPOOFCHK:
		s.SpoofChk = isOn(word(value, 1))
	case nl.IFLA_VF_TRUST:
		s.Trust = isOn(word(value, 1))
	case nl.IFLA_VF_LINK_STATE:
		s.LinkState = linkStates[word(value, 1)]
	case nl.IFLA_VF_RATE:
		s.MinTxRate = word(value, 1)
		if rate := word(value, 2); rate != unknown {
			s.MaxTxRate = rate
		}
	case nl.IFLA_VF_IB_NODE_GUID:
		s.NodeGUID = parseGUID(value)
	case nl.IFLA_VF_IB_PORT_GUID:
		s.PortGUID = parseGUID(value)
	}
}

// parseVLANs reads the protocol of the first VLAN, which only the list tells.
func parseVLANs(s *sriov.VFSettings, data []byte) {
	vlans := attributes(data)
	if len(vlans) == 0 || len(vlans[0].value) < 14 {
		return
	}
	if binary.BigEndian.Uint16(vlans[0].value[12:]) == unix.ETH_P_8021AD {
		s.VLANProto = sriov.Proto8021AD
	}
}

func isOn(setting uint32) *bool {
	if setting == unknown {
		return nil
	}
	on := setting != 0
	return &on
}

var linkStates = map[uint32]string{
	nl.IFLA_VF_LINK_STATE_AUTO:    "auto",
	nl.IFLA_VF_LINK_STATE_ENABLE:  "enable",
	nl.IFLA_VF_LINK_STATE_DISABLE: "disable",
}

// parseGUID reads a GUID, which follows the VF's number in the machine's own order; one
// of zeros is none.
func parseGUID(data []byte) string {
	if len(data) < 12 {
		return ""
	}
	offset := len(data) - 8
	guid := binary.NativeEndian.Uint64(data[offset:])
	if guid == 0 {
		return ""
	}
	return net.HardwareAddr(binary.BigEndian.AppendUint64(nil, guid)).String()
}

// link gives the PF's interface for a request.
func link(netdev string) (netlink.Link, error) { return netlink.LinkByName(netdev) }

// SetMAC sets the administrative MAC of a VF; one of zeros takes it away.
func SetMAC(netdev string, vf int, mac string) error {
	address, err := net.ParseMAC(mac)
	if err != nil {
		return err
	}
	return with(netdev, func(l netlink.Link) error { return netlink.LinkSetVfHardwareAddr(l, vf, address) })
}

// SetVLAN sets VLAN, priority and protocol. The protocol is only named to the driver
// where it is not the usual one: not every driver knows that there are two.
func SetVLAN(netdev string, vf int, s *sriov.VFSettings) error {
	return with(netdev, func(l netlink.Link) error {
		if s.VLANProto == sriov.Proto8021AD {
			return netlink.LinkSetVfVlanQosProto(l, vf, s.VLAN, s.QoS, unix.ETH_P_8021AD)
		}
		return netlink.LinkSetVfVlanQos(l, vf, s.VLAN, s.QoS)
	})
}

// SetRate sets both limits, in Mbit/s.
func SetRate(netdev string, vf int, minimum, maximum uint32) error {
	return with(netdev, func(l netlink.Link) error { return netlink.LinkSetVfRate(l, vf, int(minimum), int(maximum)) })
}

// SetSpoofChk turns the check of the source MAC on or off.
func SetSpoofChk(netdev string, vf int, on bool) error {
	return with(netdev, func(l netlink.Link) error { return netlink.LinkSetVfSpoofchk(l, vf, on) })
}

// SetTrust turns trust on or off.
func SetTrust(netdev string, vf int, on bool) error {
	return with(netdev, func(l netlink.Link) error { return netlink.LinkSetVfTrust(l, vf, on) })
}

// SetLinkState sets "auto", "enable" or "disable".
func SetLinkState(netdev string, vf int, state string) error {
	for number, name := range linkStates {
		if name == state {
			return with(netdev, func(l netlink.Link) error { return netlink.LinkSetVfState(l, vf, number) })
		}
	}
	return fmt.Errorf("%q is not a link state", state)
}

// SetGUIDs sets the Infiniband GUIDs of node and port.
func SetGUIDs(netdev string, vf int, node, port string) error {
	nodeGUID, err := net.ParseMAC(node)
	if err != nil {
		return err
	}
	portGUID, err := net.ParseMAC(port)
	if err != nil {
		return err
	}
	return with(netdev, func(l netlink.Link) error {
		if err := netlink.LinkSetVfNodeGUID(l, vf, nodeGUID); err != nil {
			return err
		}
		return netlink.LinkSetVfPortGUID(l, vf, portGUID)
	})
}

func with(netdev string, do func(netlink.Link) error) error {
	l, err := link(netdev)
	if err != nil {
		return fmt.Errorf("PF %s: %w", netdev, err)
	}
	return do(l)
}
