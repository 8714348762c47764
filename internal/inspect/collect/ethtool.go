//go:build linux

package collect

import (
	"encoding/binary"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// offloads are the names of those that change what a packet looks like, or who deals with it.
var offloads = map[string]bool{
	"tx-checksum-ipv4": true, "tx-checksum-ip-generic": true, "tx-checksum-ipv6": true, "rx-checksum": true, "tx-scatter-gather": true,
	"tx-tcp-segmentation": true, "tx-udp-segmentation": true, "tx-generic-segmentation": true, "rx-gro": true, "rx-lro": true, "rx-gro-list": true,
	"rx-udp-gro-forwarding": true, "tx-vlan-hw-insert": true, "rx-vlan-hw-parse": true, "rx-vlan-filter": true,
	"tx-udp_tnl-segmentation": true, "tx-udp_tnl-csum-segmentation": true, "hw-tc-offload": true, "esp-hw-offload": true,
}

// setOfFeatures is ETH_SS_FEATURES of the kernel: the strings that are names of offloads.
const setOfFeatures = 4

// ethtool asks the kernel's ethtool, of which one socket asks about all interfaces of a namespace.
// A kernel without it gives nothing.
type ethtool struct {
	family uint16         // its number among those of generic netlink
	names  map[int]string // of the bits of offloads
}

// ethtoolMessage is struct genlmsghdr of the kernel.
type ethtoolMessage uint8

func (ethtoolMessage) Len() int { return nl.SizeofGenlmsg }

func (m ethtoolMessage) Serialize() []byte { return []byte{byte(m), unix.ETHTOOL_GENL_VERSION, 0, 0} }

// dump asks about all interfaces of the thread's namespace; what is global is no list.
func (e *ethtool) dump(kind ethtoolMessage, flags int, parts ...nl.NetlinkRequestData) []map[uint16][]byte {
	messages, err := dump(func() ([][]byte, error) {
		request := nl.NewNetlinkRequest(int(e.family), flags)
		request.AddData(kind)
		for _, part := range parts {
			request.AddData(part)
		}
		return request.Execute(unix.NETLINK_GENERIC, e.family)
	})
	if err != nil {
		return nil
	}
	var all []map[uint16][]byte
	for _, message := range messages {
		if len(message) >= nl.SizeofGenlmsg && ethtoolMessage(message[0]) == kind { // the numbers of these answers are those of the requests
			all = append(all, attributes(message[nl.SizeofGenlmsg:]))
		}
	}
	return all
}

// readNames reads the names of the offloads, which are the kernel's own.
func (e *ethtool) readNames() {
	e.names = map[int]string{}
	set := nl.NewRtAttr(unix.ETHTOOL_A_STRINGSETS_STRINGSET|unix.NLA_F_NESTED, nil)
	set.AddRtAttr(unix.ETHTOOL_A_STRINGSET_ID, nl.Uint32Attr(setOfFeatures))
	sets := nl.NewRtAttr(unix.ETHTOOL_A_STRSET_STRINGSETS|unix.NLA_F_NESTED, nil)
	sets.AddChild(set)
	header := nl.NewRtAttr(unix.ETHTOOL_A_STRSET_HEADER|unix.NLA_F_NESTED, nil)
	for _, answer := range e.dump(unix.ETHTOOL_MSG_STRSET_GET, unix.NLM_F_REQUEST, header, sets) {
		strings := attributeList(attributes(attributes(answer[unix.ETHTOOL_A_STRSET_STRINGSETS])[unix.ETHTOOL_A_STRINGSETS_STRINGSET])[unix.ETHTOOL_A_STRINGSET_STRINGS])
		for _, one := range strings {
			of := attributes(one.Value)
			e.names[int(number(of[unix.ETHTOOL_A_STRING_INDEX]))] = unix.ByteSliceToString(of[unix.ETHTOOL_A_STRING_VALUE])
		}
	}
}

// readEthernet reads what ethtool shows of the interfaces.
func (r *reader) readEthernet() error {
	if r.ethtool == nil {
		return nil
	}
	header := nl.NewRtAttr(unix.ETHTOOL_A_FEATURES_HEADER|unix.NLA_F_NESTED, nil)
	header.AddRtAttr(unix.ETHTOOL_A_HEADER_FLAGS, nl.Uint32Attr(unix.ETHTOOL_FLAG_COMPACT_BITSETS))
	for _, answer := range r.ethtool.dump(unix.ETHTOOL_MSG_FEATURES_GET, unix.NLM_F_DUMP, header) {
		if e := r.ethernet(answer); e != nil {
			e.Offloads = r.ethtool.offloads(attributes(answer[unix.ETHTOOL_A_FEATURES_ACTIVE])[unix.ETHTOOL_A_BITSET_VALUE])
		}
	}
	for _, answer := range r.ethtool.dump(unix.ETHTOOL_MSG_LINKMODES_GET, unix.NLM_F_DUMP, header) {
		if e := r.ethernet(answer); e != nil {
			e.Speed = int(max(number(answer[unix.ETHTOOL_A_LINKMODES_SPEED]), 0)) // -1 is unknown
			e.Duplex = duplex(answer[unix.ETHTOOL_A_LINKMODES_DUPLEX])
		}
	}
	r.readDrivers()
	return nil
}

// ethernet gives that of the interface that an answer is about: its header has the same number in all.
func (r *reader) ethernet(answer map[uint16][]byte) *inspect.Ethernet {
	link := r.link(int(number(attributes(answer[unix.ETHTOOL_A_FEATURES_HEADER])[unix.ETHTOOL_A_HEADER_DEV_INDEX])))
	if link == nil {
		return nil
	}
	if link.Ethernet == nil {
		link.Ethernet = &inspect.Ethernet{}
	}
	return link.Ethernet
}

func (e *ethtool) offloads(active []byte) map[string]bool {
	all := map[string]bool{}
	for bit, name := range e.names {
		if at := 4 * (bit / 32); offloads[name] && len(active) >= at+4 {
			all[name] = binary.NativeEndian.Uint32(active[at:])&(1<<(bit%32)) != 0
		}
	}
	return all
}

func duplex(value []byte) string {
	if len(value) == 0 || value[0] > 1 {
		return ""
	}
	return []string{"half", "full"}[value[0]]
}

// readDrivers names those of hardware: the kind of another interface says as much.
func (r *reader) readDrivers() {
	file, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return
	}
	defer func() { _ = unix.Close(file) }()
	for i := range r.ns.Links {
		link := &r.ns.Links[i]
		if link.Kind != "device" || link.Ethernet == nil {
			continue
		}
		if info, err := unix.IoctlGetEthtoolDrvinfo(file, link.Name); err == nil {
			link.Ethernet.Driver = unix.ByteSliceToString(info.Driver[:])
		}
	}
}

// newEthtool finds the kernel's ethtool; nil if it has none.
func newEthtool() *ethtool {
	request := nl.NewNetlinkRequest(nl.GENL_ID_CTRL, unix.NLM_F_REQUEST)
	request.AddRawData([]byte{nl.GENL_CTRL_CMD_GETFAMILY, nl.GENL_CTRL_VERSION, 0, 0})
	request.AddRawData(nl.NewRtAttr(nl.GENL_CTRL_ATTR_FAMILY_NAME, nl.ZeroTerminated(unix.ETHTOOL_GENL_NAME)).Serialize())
	messages, err := request.Execute(unix.NETLINK_GENERIC, 0)
	if err != nil || len(messages) == 0 || len(messages[0]) < nl.SizeofGenlmsg {
		return nil
	}
	family := attributes(messages[0][nl.SizeofGenlmsg:])[nl.GENL_CTRL_ATTR_FAMILY_ID]
	if len(family) < 2 {
		return nil
	}
	e := &ethtool{family: binary.NativeEndian.Uint16(family)}
	e.readNames()
	return e
}
