//go:build linux

package collect

import (
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// readPorts reads what bridges have of their ports: the netlink library reads either the
// settings or the VLANs, of one port or of all. The list has the bridges, too, with their own VLANs.
func (r *reader) readPorts() error {
	messages, err := r.dump(unix.RTM_GETLINK, nl.NewIfInfomsg(unix.AF_BRIDGE), nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(nl.RTEXT_FILTER_BRVLAN)))
	if err != nil {
		return err
	}
	for _, message := range messages {
		r.describePort(message)
	}
	return nil
}

// describePort reads a message of a port, or of a bridge. An interface that came after the others
// were read is left out.
func (r *reader) describePort(message []byte) {
	header := nl.DeserializeIfInfomsg(message)
	link := r.link(int(header.Index))
	if link == nil {
		return
	}
	port := &inspect.Port{}
	all := attributes(message[header.Len():])
	for _, attr := range attributeList(all[unix.IFLA_PROTINFO]) {
		describeSetting(port, typeOf(attr), attr.Value)
	}
	for _, attr := range attributeList(all[unix.IFLA_AF_SPEC]) {
		describeVLAN(port, typeOf(attr), attr.Value)
	}
	if link.Bridge != nil {
		link.Bridge.VLANs = port.VLANs
	} else {
		link.Port = port
	}
}

func describeVLAN(port *inspect.Port, kind uint16, value []byte) {
	if kind != nl.IFLA_BRIDGE_VLAN_INFO || len(value) < nl.SizeofBridgeVlanInfo {
		return
	}
	vlan := nl.DeserializeBridgeVlanInfo(value)
	port.VLANs = append(port.VLANs, inspect.PortVLAN{
		ID: int(vlan.Vid), PVID: vlan.Flags&nl.BRIDGE_VLAN_INFO_PVID != 0, Untagged: vlan.Flags&nl.BRIDGE_VLAN_INFO_UNTAGGED != 0,
	})
}

func describeSetting(port *inspect.Port, kind uint16, value []byte) {
	if len(value) == 0 {
		return
	}
	switch kind {
	case nl.IFLA_BRPORT_STATE:
		if int(value[0]) < len(portStates) {
			port.State = portStates[value[0]]
		}
	case nl.IFLA_BRPORT_MODE:
		port.Hairpin = value[0] != 0
	case nl.IFLA_BRPORT_ISOLATED:
		port.Isolated = value[0] != 0
	}
}
