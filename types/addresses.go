package types

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net"
	"net/netip"
)

// parseAddress reads an IP address with or without a prefix length, which is -1 if there
// is none. An IPv4 address that is written as an IPv6 one is an IPv4 address.
func parseAddress(s string) (addr netip.Addr, bits int, ok bool) {
	if prefix, err := netip.ParsePrefix(s); err == nil {
		bits := prefix.Bits()
		if prefix.Addr().Is4In6() {
			bits = max(bits-96, -1)
		}
		return prefix.Addr().Unmap(), bits, true
	}
	addr, err := netip.ParseAddr(s)
	return addr.Unmap(), -1, err == nil && addr.Zone() == ""
}

// limitedBroadcast is every host of a link.
var limitedBroadcast = netip.AddrFrom4([4]byte{255, 255, 255, 255})

// specialAddress says why no host on a network has the address, "" if one may.
func specialAddress(addr netip.Addr) string {
	switch {
	case addr.IsLoopback():
		return "a loopback address"
	case addr.IsMulticast():
		return "a multicast address"
	case addr.IsUnspecified():
		return "the unspecified address"
	case addr == limitedBroadcast:
		return "the broadcast address"
	}
	return ""
}

// edgeAddress says why no host of the prefix has the address, "" if one may. A prefix of
// 31 or 32 bits, and one of IPv6, has no address set aside.
func edgeAddress(addr netip.Addr, bits int) string {
	if !addr.Is4() || bits < 0 || bits > 30 {
		return ""
	}
	quad := addr.As4()
	all := ^uint32(0) >> bits
	switch binary.BigEndian.Uint32(quad[:]) & all {
	case 0:
		return "the address of that network itself"
	case all:
		return "the broadcast address of that network"
	}
	return ""
}

func readIPs(o *object, s *Selection) {
	if !read(o, "ips", &s.IPs) {
		return
	}
	if len(s.IPs) == 0 {
		o.fault("ips", "must have at least one address (section 4.1.2.1.3); leave the key out to ask for none")
	}
	if o.checkCount("ips", len(s.IPs)) {
		return
	}
	seen := map[netip.Addr]bool{}
	for i, ip := range s.IPs {
		addr, bits, ok := parseAddress(ip)
		if !ok {
			o.fault(fmt.Sprintf("ips[%d]", i), fmt.Sprintf("%q is not an IPv4 or IPv6 address, with or without a prefix length", brief(ip)))
			continue
		}
		if kind := specialAddress(addr) + edgeAddress(addr, bits); kind != "" {
			o.fault(fmt.Sprintf("ips[%d]", i), fmt.Sprintf("%q is %s, which no interface can have", ip, kind))
		} else if seen[addr] {
			o.fault(fmt.Sprintf("ips[%d]", i), fmt.Sprintf("%q is there twice", ip))
		}
		seen[addr] = true
	}
}

func readDefaultRoute(o *object, s *Selection) {
	if !read(o, "default-route", &s.DefaultRoute) || len(s.DefaultRoute) == 0 {
		s.DefaultRoute = nil
		return
	}
	if o.checkCount("default-route", len(s.DefaultRoute)) {
		return
	}
	first := map[string]netip.Addr{} // by family; invalid once a second one is reported
	for i, gateway := range s.DefaultRoute {
		addr, err := netip.ParseAddr(gateway)
		field := fmt.Sprintf("default-route[%d]", i)
		if err != nil || addr.Zone() != "" {
			o.fault(field, fmt.Sprintf("%q is not the address of a gateway", brief(gateway)))
			continue
		}
		addr = addr.Unmap()
		family := familyName(addr)
		switch before, another := first[family]; {
		case specialAddress(addr) != "":
			o.fault(field, fmt.Sprintf("%q cannot be a gateway: it is %s", gateway, specialAddress(addr)))
		case !another:
			first[family] = addr
		case before == addr:
			o.fault(field, fmt.Sprintf("%q is there twice", gateway))
		case before.IsValid():
			o.fault(field, fmt.Sprintf("%q is a second gateway of %s beside %q, only one may be asked for", gateway, family, before))
			first[family] = netip.Addr{}
		}
	}
}

func familyName(addr netip.Addr) string {
	if addr.Is4() {
		return "IPv4"
	}
	return "IPv6"
}

// readHardware reads the addresses of the link. An empty one is the same as none.
func readHardware(o *object, s *Selection) {
	if read(o, "mac", &s.MAC) && s.MAC != "" {
		if problem := checkMAC(s.MAC); problem != "" {
			o.fault("mac", fmt.Sprintf("%q %s", brief(s.MAC), problem))
		}
	}
	if read(o, "infiniband-guid", &s.InfinibandGUID) && s.InfinibandGUID != "" {
		if problem := checkGUID(s.InfinibandGUID); problem != "" {
			o.fault("infiniband-guid", fmt.Sprintf("%q %s", brief(s.InfinibandGUID), problem))
		}
	}
}

func checkMAC(s string) string {
	mac, err := net.ParseMAC(s)
	switch {
	case err != nil || len(mac) != 6:
		return `is not a 6-byte Ethernet address as "02:23:45:67:89:01"`
	case mac[0]&1 != 0:
		return "is a multicast address, which no interface can have"
	case allBytes(mac, 0):
		return "is all zero, which no interface can have"
	}
	return ""
}

func checkGUID(s string) string {
	guid, err := net.ParseMAC(s)
	switch {
	case err != nil || len(guid) != 8:
		return `is not an 8-byte GUID as "24:8a:07:03:00:8d:ae:2f"`
	case allBytes(guid, 0) || allBytes(guid, 0xff):
		return "is all zero or all one, which no port can have"
	}
	return ""
}

func allBytes(s []byte, b byte) bool { return len(bytes.Trim(s, string([]byte{b}))) == 0 }
