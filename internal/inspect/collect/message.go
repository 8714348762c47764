//go:build linux

package collect

import (
	"encoding/binary"
	"encoding/hex"
	"net"
	"slices"
	"strconv"
	"syscall"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// attributes gives those of a message or of another attribute, by their type. What is damaged has
// none.
func attributes(data []byte) map[uint16][]byte {
	parsed := attributeList(data)
	all := make(map[uint16][]byte, len(parsed))
	for _, attr := range parsed {
		all[typeOf(attr)] = attr.Value
	}
	return all
}

// attributeList gives them in their order. The netlink library reads beyond what is no whole number of
// four bytes, as a MAC is: its own two first bytes may look like a length.
func attributeList(data []byte) []syscall.NetlinkRouteAttr {
	if odd := len(data) % unix.NLA_ALIGNTO; odd != 0 {
		data = append(slices.Clip(data), make([]byte, unix.NLA_ALIGNTO-odd)...)
	}
	parsed, _ := nl.ParseRouteAttr(data)
	return parsed
}

// typeOf gives the type of an attribute without the flags that only some kernels set.
func typeOf(attr syscall.NetlinkRouteAttr) uint16 {
	return attr.Attr.Type &^ (unix.NLA_F_NESTED | unix.NLA_F_NET_BYTEORDER)
}

// describeMessage adds what the netlink library does not read of an interface, or reads wrongly.
func (r *reader) describeMessage(link *inspect.Link, message []byte) {
	all := attributes(message[unix.SizeofIfInfomsg:])
	info := attributes(all[unix.IFLA_LINKINFO])
	link.Tunnel = tunnel(unix.ByteSliceToString(info[nl.IFLA_INFO_KIND]), attributes(info[nl.IFLA_INFO_DATA]))
	link.Programs = xdpPrograms(attributes(all[unix.IFLA_XDP]))
	link.PhysPort = unix.ByteSliceToString(all[unix.IFLA_PHYS_PORT_NAME])
	link.PhysSwitch = hex.EncodeToString(all[unix.IFLA_PHYS_SWITCH_ID])
	if r.ns.Sysctls != nil {
		r.describeSettings(link.Name, attributes(all[unix.IFLA_AF_SPEC]))
	}
}

// tunnelAttributes are the types of the attributes of a kind of tunnel; 0 is one that it has not.
// They differ from kind to kind.
type tunnelAttributes struct{ lower, local, remote, key, port, external uint16 }

var (
	ipTunnel  = tunnelAttributes{lower: nl.IFLA_IPTUN_LINK, local: nl.IFLA_IPTUN_LOCAL, remote: nl.IFLA_IPTUN_REMOTE, external: nl.IFLA_IPTUN_COLLECT_METADATA}
	greTunnel = tunnelAttributes{
		lower: nl.IFLA_GRE_LINK, local: nl.IFLA_GRE_LOCAL, remote: nl.IFLA_GRE_REMOTE, key: nl.IFLA_GRE_OKEY, external: nl.IFLA_GRE_COLLECT_METADATA,
	}
	vtiTunnel    = tunnelAttributes{lower: nl.IFLA_VTI_LINK, local: nl.IFLA_VTI_LOCAL, remote: nl.IFLA_VTI_REMOTE, key: nl.IFLA_VTI_OKEY}
	geneveTunnel = tunnelAttributes{remote: nl.IFLA_GENEVE_REMOTE, key: nl.IFLA_GENEVE_ID, port: nl.IFLA_GENEVE_PORT, external: nl.IFLA_GENEVE_COLLECT_METADATA}

	tunnels = map[string]tunnelAttributes{
		"ipip": ipTunnel, "sit": ipTunnel, "ip6tnl": ipTunnel, "vti": vtiTunnel, "vti6": vtiTunnel, "geneve": geneveTunnel, "wireguard": {},
		"gre": greTunnel, "gretap": greTunnel, "erspan": greTunnel, "ip6gre": greTunnel, "ip6gretap": greTunnel, "ip6erspan": greTunnel,
	}
)

// tunnel gives the settings of a tunnel; nil for what is none.
func tunnel(kind string, data map[uint16][]byte) *inspect.Tunnel {
	of, known := tunnels[kind]
	if !known {
		return nil
	}
	get := func(attribute uint16, size int) []byte {
		if value := data[attribute]; attribute != 0 && len(value) >= size {
			return value
		}
		return nil
	}
	t := &inspect.Tunnel{Local: ip(get(of.local, net.IPv4len)), Remote: ip(get(of.remote, net.IPv4len))}
	if kind == "geneve" && t.Remote == "" {
		t.Remote = ip(get(nl.IFLA_GENEVE_REMOTE6, net.IPv6len))
	}
	if lower := get(of.lower, 4); lower != nil {
		t.Lower = int(binary.NativeEndian.Uint32(lower))
	}
	if port := get(of.port, 2); port != nil {
		t.Port = int(binary.BigEndian.Uint16(port))
	}
	if key := get(of.key, 4); key != nil && hasKey(of, data) {
		number := binary.BigEndian.Uint32(key)
		if kind == "geneve" {
			number = binary.NativeEndian.Uint32(key)
		}
		t.Key = &number
	}
	_, external := data[of.external]
	t.External = external && of.external != 0
	return t
}

// greKey is GRE_KEY of the kernel: the packets have a key. A GRE tunnel without one has the attribute, too.
const greKey = 0x2000

func hasKey(of tunnelAttributes, data map[uint16][]byte) bool {
	flags := data[nl.IFLA_GRE_OFLAGS]
	return of != greTunnel || len(flags) >= 2 && binary.BigEndian.Uint16(flags)&greKey != 0
}

// interfaceSettings are those that a message has of each interface, by the number in it. Those of IPv4
// begin at 1 (IPV4_DEVCONF_FORWARDING), those of IPv6 at 0 (DEVCONF_FORWARDING).
var interfaceSettings = []struct {
	family    uint16
	attribute uint16
	version   string
	numbers   map[int]string
}{
	{unix.AF_INET, 1 /* IFLA_INET_CONF */, "ipv4", map[int]string{0: "forwarding", 2: "proxy_arp", 7: "rp_filter", 17: "arp_announce", 18: "arp_ignore"}},
	{unix.AF_INET6, 2 /* IFLA_INET6_CONF */, "ipv6", map[int]string{0: "forwarding", 22: "proxy_ndp", 26: "disable_ipv6", 59: "force_forwarding"}},
}

// describeSettings reads the settings of an interface from its message, so that /proc is not needed.
func (r *reader) describeSettings(name string, families map[uint16][]byte) {
	for _, of := range interfaceSettings {
		values := attributes(families[of.family])[of.attribute]
		for number, setting := range of.numbers {
			if at := 4 * number; len(values) >= at+4 {
				r.ns.Sysctls[inspect.Sysctl(of.version, name, setting)] = strconv.Itoa(int(int32(binary.NativeEndian.Uint32(values[at:]))))
			}
		}
	}
}
