package inspect

import (
	"net/netip"
	"regexp"
	"strings"
)

// special are the prefixes by which a kernel or a reader tells of what kind an address is: they stay.
var special = prefixes("0.0.0.0/8", "10.0.0.0/8", "100.64.0.0/10", "127.0.0.0/8", "169.254.0.0/16", "172.16.0.0/12", "192.168.0.0/16",
	"224.0.0.0/4", "::/64", "2000::/3", "64:ff9b::/96", "fc00::/7", "fe80::/64", "ff02:0:0:0:0:1:ff00::/104", "ff00::/12")

// whole are those whose addresses are the same everywhere.
var whole = prefixes("0.0.0.0/32", "127.0.0.0/8", "224.0.0.0/24", "255.255.255.255/32", "::/127", "ff02::/112")

func prefixes(texts ...string) []netip.Prefix {
	var all []netip.Prefix
	for _, text := range texts {
		all = append(all, netip.MustParsePrefix(text))
	}
	return all
}

// address replaces an address, with or without a prefix; what is none is a name. Two addresses
// that have n bits in common have n in common afterwards, so subnets and routes stay what they are.
func (r *Redactor) address(text string, maybeNetwork bool) string {
	if prefix, err := netip.ParsePrefix(text); err == nil {
		replaced := netip.PrefixFrom(r.addr(prefix.Addr()), prefix.Bits())
		if maybeNetwork && prefix == prefix.Masked() {
			replaced = replaced.Masked()
		}
		return replaced.String()
	}
	if both, err := netip.ParseAddrPort(text); err == nil {
		return netip.AddrPortFrom(r.addr(both.Addr()), both.Port()).String()
	}
	if address, err := netip.ParseAddr(text); err == nil {
		return r.addr(address).String()
	}
	return r.name("name", text)
}

func (r *Redactor) addr(address netip.Addr) netip.Addr {
	zone := r.link(address.Zone())
	address = address.WithZone("").Unmap()
	for _, prefix := range whole {
		if prefix.Contains(address) {
			return address.WithZone(zone)
		}
	}
	original := address.AsSlice()
	replaced := make([]byte, len(original))
	for bit := range address.BitLen() {
		mask := byte(0x80) >> (bit % 8)
		value := original[bit/8] & mask
		if r.flips(address, bit) {
			value ^= mask
		}
		replaced[bit/8] |= value
	}
	result, _ := netip.AddrFromSlice(replaced)
	return result.WithZone(zone)
}

// flips says whether a bit is turned over, which depends on the bits before it alone. The last one
// never is: the two ends of a /31 are each other's.
func (r *Redactor) flips(address netip.Addr, bit int) bool {
	before, _ := address.Prefix(bit)
	for _, prefix := range special {
		if prefix.Bits() > bit && prefix.Addr().BitLen() == address.BitLen() && before.Contains(prefix.Addr()) {
			return false
		}
	}
	return bit < address.BitLen()-1 && r.hash("bit", before.String())[0]&1 == 1
}

var mac = regexp.MustCompile(`^(?i)[0-9a-f]{2}(:[0-9a-f]{2}){5}((:[0-9a-f]{2}){14})?$`)

// mac replaces a MAC by one that nobody made. Those of groups stay such.
func (r *Redactor) mac(text string) string {
	text = strings.ToLower(text)
	if strings.Trim(text, "0:") == "" || strings.Trim(text, "f:") == "" {
		return text
	}
	code := r.hash("mac", text)
	head := []byte{0x02}
	for prefix, start := range map[string][]byte{"33:33:": {0x33, 0x33}, "01:00:5e:": {0x01, 0x00, 0x5e}} {
		if strings.HasPrefix(text, prefix) {
			head = start
		}
	}
	return hexes(append(head, code...)[:(len(text)+1)/3])
}
