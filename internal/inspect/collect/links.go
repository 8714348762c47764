//go:build linux

package collect

import (
	"net"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

func (r *reader) readLinks() (err error) {
	if r.links, err = dump(r.LinkList); err != nil {
		return err
	}
	for _, link := range r.links {
		r.ns.Links = append(r.ns.Links, describe(link))
	}
	return nil
}

func describe(link netlink.Link) inspect.Link {
	attrs := link.Attrs()
	l := inspect.Link{
		Index: attrs.Index, Name: attrs.Name, Kind: link.Type(), Flags: flags(attrs.RawFlags), OperState: attrs.OperState.String(),
		Up: attrs.RawFlags&unix.IFF_UP != 0, Carrier: attrs.RawFlags&unix.IFF_LOWER_UP != 0, MTU: attrs.MTU,
		MAC: attrs.HardwareAddr.String(), TxQueue: max(attrs.TxQLen, 0), Master: attrs.MasterIndex,
	}
	if attrs.ParentDev != "" {
		l.Device = &inspect.Device{Bus: attrs.ParentDevBus, ID: attrs.ParentDev}
	}
	if s := attrs.Statistics; s != nil {
		l.Statistics = &inspect.Statistics{
			RxPackets: s.RxPackets, RxBytes: s.RxBytes, RxErrors: s.RxErrors, RxDropped: s.RxDropped,
			TxPackets: s.TxPackets, TxBytes: s.TxBytes, TxErrors: s.TxErrors, TxDropped: s.TxDropped,
		}
	}
	describeKind(&l, link)
	return l
}

// describeKind adds what only interfaces of one kind have.
func describeKind(l *inspect.Link, link netlink.Link) {
	switch link := link.(type) {
	case *netlink.Vlan:
		l.VLAN = link.VlanId
	case *netlink.Macvlan:
		l.Mode = macvlanModes[link.Mode]
	case *netlink.Macvtap:
		l.Mode = macvlanModes[link.Mode]
	case *netlink.IPVlan:
		l.Mode = ipvlanModes[link.Mode]
	case *netlink.IPVtap:
		l.Mode = ipvlanModes[link.Mode]
	case *netlink.Bond:
		l.Mode = link.Mode.String()
	case *netlink.Vrf:
		l.Table = int(link.Table)
	case *netlink.Bridge:
		l.Bridge = &inspect.Bridge{
			VLANFiltering: value(link.VlanFiltering), AgeingTime: int(value(link.AgeingTime)), DefaultPVID: int(value(link.VlanDefaultPVID)),
		}
	case *netlink.Vxlan:
		l.VXLAN = &inspect.VXLAN{
			ID: link.VxlanId, Local: ip(link.SrcAddr), Group: ip(link.Group), Lower: link.VtepDevIndex, Port: link.Port, Learning: link.Learning,
		}
	}
}

var (
	macvlanModes = map[netlink.MacvlanMode]string{
		netlink.MACVLAN_MODE_PRIVATE: "private", netlink.MACVLAN_MODE_VEPA: "vepa", netlink.MACVLAN_MODE_BRIDGE: "bridge",
		netlink.MACVLAN_MODE_PASSTHRU: "passthru", netlink.MACVLAN_MODE_SOURCE: "source",
	}
	ipvlanModes = map[netlink.IPVlanMode]string{netlink.IPVLAN_MODE_L2: "l2", netlink.IPVLAN_MODE_L3: "l3", netlink.IPVLAN_MODE_L3S: "l3s"}
	portStates  = []string{"disabled", "listening", "learning", "forwarding", "blocking"}
)

func value[T any](pointer *T) (v T) {
	if pointer != nil {
		v = *pointer
	}
	return v
}

// ip gives an address as text, "" for none.
func ip(address net.IP) string {
	if len(address) == 0 || address.IsUnspecified() {
		return ""
	}
	return address.String()
}

// readPorts reads what bridges have of their ports: the netlink library reads either the
// settings or the VLANs, of one port or of all.
func (r *reader) readPorts() error {
	messages, err := dump(func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(unix.RTM_GETLINK, unix.NLM_F_DUMP)
		request.AddData(nl.NewIfInfomsg(unix.AF_BRIDGE))
		request.AddData(nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(nl.RTEXT_FILTER_BRVLAN)))
		return request.Execute(unix.NETLINK_ROUTE, unix.RTM_NEWLINK)
	})
	if err != nil {
		return err
	}
	for _, message := range messages {
		header := nl.DeserializeIfInfomsg(message)
		attrs, err := nl.ParseRouteAttr(message[header.Len():])
		link := r.link(int(header.Index))
		if err != nil || link == nil {
			continue
		}
		if link.Port == nil {
			link.Port = &inspect.Port{}
		}
		for _, attr := range attrs {
			describePort(link.Port, attr.Attr.Type, attr.Value)
		}
	}
	return nil
}

func describePort(port *inspect.Port, kind uint16, value []byte) {
	nested, err := nl.ParseRouteAttr(value)
	if err != nil {
		return
	}
	for _, attr := range nested {
		switch {
		case kind == unix.IFLA_PROTINFO|unix.NLA_F_NESTED || kind == unix.IFLA_PROTINFO:
			describeSetting(port, attr.Attr.Type, attr.Value)
		case kind == unix.IFLA_AF_SPEC && attr.Attr.Type == nl.IFLA_BRIDGE_VLAN_INFO && len(attr.Value) >= nl.SizeofBridgeVlanInfo:
			vlan := nl.DeserializeBridgeVlanInfo(attr.Value)
			port.VLANs = append(port.VLANs, inspect.PortVLAN{
				ID: int(vlan.Vid), PVID: vlan.Flags&nl.BRIDGE_VLAN_INFO_PVID != 0, Untagged: vlan.Flags&nl.BRIDGE_VLAN_INFO_UNTAGGED != 0,
			})
		}
	}
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

// link gives an interface by its index; nil if it came after the interfaces were read.
func (r *reader) link(index int) *inspect.Link {
	for i := range r.ns.Links {
		if r.ns.Links[i].Index == index {
			return &r.ns.Links[i]
		}
	}
	return nil
}
