// Package pf reads and changes, by netlink, the settings that a physical function keeps of its VFs.
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

// ErrNoVF is the error for a VF that the PF does not list.
var ErrNoVF = errors.New("the PF has no such VF")

// Bits of IFLA_EXT_MASK: list the VFs, without their counters. With them, the answer of a PF with many
// VFs does not fit into one message.
const (
	extFilterVF        = 1 << 0
	extFilterSkipStats = 1 << 3
)

// unknown is the value of a setting that the driver does not report.
const unknown = ^uint32(0)

// Read gives the settings that a PF, named by its interface, keeps of a VF.
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

// attribute is one attribute of a netlink message.
type attribute struct {
	kind  uint16
	value []byte
}

// attributes splits a message into its attributes. It drops an attribute that is cut off; the netlink
// library's own parser panics on one.
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

// parseLink finds a VF's settings among the attributes of its PF's interface; nil if it is not listed.
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

// parseVF reads the attributes of one VF; it gives nil if they are another VF's. Each attribute begins
// with the VF's number.
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

// word gives the nth 32-bit word of an attribute, or unknown if it is shorter.
func word(data []byte, n int) uint32 {
	if len(data) < 4*n+4 {
		return unknown
	}
	return binary.NativeEndian.Uint32(data[4*n:])
}

// parseAttr reads one attribute of at least two words into the settings.
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
		s.SpoofChk = parseSwitch(word(value, 1))
	case nl.IFLA_VF_TRUST:
		s.Trust = parseSwitch(word(value, 1))
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

// parseVLANs reads the protocol of the first VLAN, which only the list of VLANs has.
func parseVLANs(s *sriov.VFSettings, data []byte) {
	vlans := attributes(data)
	if len(vlans) == 0 || len(vlans[0].value) < 14 {
		return
	}
	if binary.BigEndian.Uint16(vlans[0].value[12:]) == unix.ETH_P_8021AD {
		s.VLANProto = sriov.Proto8021AD
	}
}

// parseSwitch reads "on" or "off"; nil if the driver does not report it.
func parseSwitch(setting uint32) *bool {
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

// parseGUID reads the GUID at the end of an attribute, in the machine's byte order. A GUID of zeros is
// no GUID.
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

// SetMAC sets the administrative MAC of a VF; a MAC of zeros removes it.
func SetMAC(netdev string, vf int, mac string) error {
	address, err := net.ParseMAC(mac)
	if err != nil {
		return err
	}
	return setOn(netdev, func(l netlink.Link) error { return netlink.LinkSetVfHardwareAddr(l, vf, address) })
}

// SetVLAN sets VLAN, priority and protocol. It passes the protocol to the driver only if it is not
// 802.1q: not every driver accepts one.
func SetVLAN(netdev string, vf int, s *sriov.VFSettings) error {
	return setOn(netdev, func(l netlink.Link) error {
		if s.VLANProto == sriov.Proto8021AD {
			return netlink.LinkSetVfVlanQosProto(l, vf, s.VLAN, s.QoS, unix.ETH_P_8021AD)
		}
		return netlink.LinkSetVfVlanQos(l, vf, s.VLAN, s.QoS)
	})
}

// SetRate sets both rate limits, in Mbit/s.
func SetRate(netdev string, vf int, minimum, maximum uint32) error {
	return setOn(netdev, func(l netlink.Link) error { return netlink.LinkSetVfRate(l, vf, int(minimum), int(maximum)) })
}

// SetSpoofChk turns the check of source MACs on or off.
func SetSpoofChk(netdev string, vf int, on bool) error {
	return setOn(netdev, func(l netlink.Link) error { return netlink.LinkSetVfSpoofchk(l, vf, on) })
}

// SetTrust sets whether the PF trusts the VF.
func SetTrust(netdev string, vf int, on bool) error {
	return setOn(netdev, func(l netlink.Link) error { return netlink.LinkSetVfTrust(l, vf, on) })
}

// SetLinkState sets the link state to "auto", "enable" or "disable".
func SetLinkState(netdev string, vf int, state string) error {
	for number, name := range linkStates {
		if name == state {
			return setOn(netdev, func(l netlink.Link) error { return netlink.LinkSetVfState(l, vf, number) })
		}
	}
	return fmt.Errorf("%q is not a link state", state)
}

// SetGUIDs sets the Infiniband GUIDs of the node and the port.
func SetGUIDs(netdev string, vf int, node, port string) error {
	nodeGUID, err := net.ParseMAC(node)
	if err != nil {
		return err
	}
	portGUID, err := net.ParseMAC(port)
	if err != nil {
		return err
	}
	return setOn(netdev, func(l netlink.Link) error {
		if err := netlink.LinkSetVfNodeGUID(l, vf, nodeGUID); err != nil {
			return err
		}
		return netlink.LinkSetVfPortGUID(l, vf, portGUID)
	})
}

// setOn runs a request on the interface of a PF.
func setOn(netdev string, set func(netlink.Link) error) error {
	l, err := netlink.LinkByName(netdev)
	if err != nil {
		return fmt.Errorf("PF %s: %w", netdev, err)
	}
	return set(l)
}
