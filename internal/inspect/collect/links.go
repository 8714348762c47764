//go:build linux

package collect

import (
	"fmt"
	"net"
	"strings"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// rtextFilterSkipStats is RTEXT_FILTER_SKIP_STATS of the kernel: without the counters of IPv6.
const rtextFilterSkipStats = 1 << 3

// readLinks reads the messages itself: the netlink library leaves out what describeMessage adds.
func (r *reader) readLinks() error {
	filter := uint32(nl.RTEXT_FILTER_VF)
	if r.handle == nil {
		filter = rtextFilterSkipStats
	}
	messages, err := r.dump(unix.RTM_GETLINK, nl.NewIfInfomsg(unix.AF_UNSPEC), nl.NewRtAttr(unix.IFLA_EXT_MASK, nl.Uint32Attr(filter)))
	if err != nil {
		return err
	}
	for _, message := range messages {
		link, err := netlink.LinkDeserialize(nil, message)
		if err != nil {
			return fmt.Errorf("an interface: %w", err)
		}
		described := describe(link)
		r.describeMessage(&described, message)
		r.links, r.ns.Links = append(r.links, link), append(r.ns.Links, described)
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
	if slave, ok := attrs.Slave.(*netlink.BondSlave); ok {
		l.Slave = &inspect.BondSlave{State: strings.ToLower(slave.State.String()), MII: strings.ToLower(strings.ReplaceAll(slave.MiiStatus.String(), "_", " ")), Failures: int(slave.LinkFailureCount)}
	}
	for _, vf := range attrs.Vfs {
		l.VFs = append(l.VFs, inspect.VF{
			Index: vf.ID, MAC: vf.Mac.String(), VLAN: vf.Vlan, QoS: vf.Qos, Trust: vf.Trust == 1, Spoofchk: vf.Spoofchk, State: vfStates[vf.LinkState],
		})
	}
	describeKind(&l, link)
	return l
}

// describeKind adds what only interfaces of one kind have.
func describeKind(l *inspect.Link, link netlink.Link) {
	switch link := link.(type) {
	case *netlink.Vlan:
		l.VLAN = link.VlanId
		if link.VlanProtocol == netlink.VLAN_PROTOCOL_8021AD {
			l.VLANProtocol = "802.1ad"
		}
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
		l.ActiveSlave = max(link.ActiveSlave, 0)
	case *netlink.Netkit:
		l.Mode = map[netlink.NetkitMode]string{netlink.NETKIT_MODE_L2: "l2", netlink.NETKIT_MODE_L3: "l3"}[link.Mode]
	case *netlink.Tuntap:
		l.Tun = &inspect.Tun{Layer: map[netlink.TuntapMode]int{netlink.TUNTAP_MODE_TAP: 2, netlink.TUNTAP_MODE_TUN: 3}[link.Mode]}
	case *netlink.Vrf:
		l.Table = int(link.Table)
	case *netlink.Bridge:
		l.Bridge = &inspect.Bridge{
			VLANFiltering: value(link.VlanFiltering), AgeingTime: int(value(link.AgeingTime)), DefaultPVID: int(value(link.VlanDefaultPVID)),
		}
	case *netlink.Vxlan:
		l.VXLAN = &inspect.VXLAN{
			ID: link.VxlanId, Local: ip(link.SrcAddr), Group: ip(link.Group), Lower: link.VtepDevIndex, Port: link.Port, Learning: link.Learning,
			External: link.FlowBased,
		}
	}
}

var (
	macvlanModes = map[netlink.MacvlanMode]string{
		netlink.MACVLAN_MODE_PRIVATE: "private", netlink.MACVLAN_MODE_VEPA: "vepa", netlink.MACVLAN_MODE_BRIDGE: "bridge",
		netlink.MACVLAN_MODE_PASSTHRU: "passthru", netlink.MACVLAN_MODE_SOURCE: "source",
	}
	ipvlanModes = map[netlink.IPVlanMode]string{netlink.IPVLAN_MODE_L2: "l2", netlink.IPVLAN_MODE_L3: "l3", netlink.IPVLAN_MODE_L3S: "l3s"}
	vfStates    = map[uint32]string{netlink.VF_LINK_STATE_AUTO: "auto", netlink.VF_LINK_STATE_ENABLE: "enable", netlink.VF_LINK_STATE_DISABLE: "disable"}
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

// link gives an interface by its index; nil if it came after the interfaces were read.
func (r *reader) link(index int) *inspect.Link {
	for i := range r.ns.Links {
		if r.ns.Links[i].Index == index {
			return &r.ns.Links[i]
		}
	}
	return nil
}
