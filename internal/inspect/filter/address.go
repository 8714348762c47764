package filter

import (
	"net"
	"net/netip"
	"regexp"
	"strconv"
	"strings"
)

func isAddress(text string) bool {
	_, err := netip.ParseAddr(text)
	return err == nil
}

var macForm = regexp.MustCompile(`^[0-9A-Fa-f]{1,2}([:-][0-9A-Fa-f]{1,2}){5}$`)

func isMAC(text string) bool {
	_, ok := parseMAC(text)
	return ok
}

// parseMAC reads a MAC address; a byte may have one digit.
func parseMAC(text string) (address [6]byte, ok bool) {
	if !macForm.MatchString(text) {
		return address, false
	}
	for i, digits := range strings.FieldsFunc(text, func(r rune) bool { return r == ':' || r == '-' }) {
		value, _ := strconv.ParseUint(digits, 16, 8)
		address[i] = byte(value)
	}
	return address, true
}

// net is the condition of a network: "10.0.0.0/8", "10.0.0.0 mask 255.0.0.0", "10.1" or "10".
func (p *parser) net(words *qualifiers, t token) condition {
	address, bits, ok := network(t)
	if !ok {
		p.refuse(t, "a network, as 10.0.0.0/8 or 2001:db8::/32")
		return always()
	}
	mask := netip.PrefixFrom(address, bits)
	switch {
	case p.accept("/"):
		length := p.take()
		if !length.isNumber() {
			p.refuse(length, "the number of bits of the network")
		}
		mask = netip.PrefixFrom(address, int(p.numeral(length, uint32(address.BitLen()))))
	case p.accept("mask"):
		mask = p.mask(address)
	}
	if p.err != nil {
		return always()
	}
	if mask.Masked() != mask {
		p.fail(t, "%s has bits behind the network's %d: write %s", t.text, mask.Bits(), mask.Masked())
		return always()
	}
	return p.addresses(words, t, mask)
}

// network reads an address, of which the last numbers may be left out.
func network(t token) (address netip.Addr, bits int, ok bool) {
	text := t.text
	if t.isNumber() {
		// To tcpdump, "net 0" is one address, and a larger number is all of a network.
		value, problem := t.number()
		if problem != "" || value == 0 || value > 255 {
			return netip.Addr{}, 0, false
		}
		text = strconv.Itoa(int(value))
	}
	given := strings.Count(text, ".") + 1
	if !strings.Contains(text, ":") {
		text += strings.Repeat(".0", max(0, 4-given))
	}
	address, err := netip.ParseAddr(text)
	if err != nil || address.Zone() != "" {
		return netip.Addr{}, 0, false
	}
	if address.Is4() {
		return address, 8 * min(given, 4), true
	}
	return address, 128, true
}

// mask reads the mask of a network.
func (p *parser) mask(address netip.Addr) netip.Prefix {
	t := p.take()
	given, err := netip.ParseAddr(t.text)
	if err != nil || !given.Is4() || !address.Is4() {
		p.refuse(t, `a mask, as 255.255.0.0; for IPv6, write "/" and a number`)
		return netip.Prefix{}
	}
	ones, bits := net.IPMask(given.AsSlice()).Size()
	if bits == 0 {
		p.fail(t, "%s is no mask: its ones are not all on the left", t.text)
	}
	return netip.PrefixFrom(address, ones)
}

// addresses is the condition of an address or a network of IP.
func (p *parser) addresses(words *qualifiers, t token, in netip.Prefix) condition {
	if found := words.protocol; found != nil {
		switch {
		case found.layer == ipLayer:
			p.fail(words.at, `%q has no addresses: write "%[1]s and host %s"`, found.name, t.text)
		case found.layer == linkLayer:
			p.fail(t, `%s is an IP address: "ether" has MAC addresses, and no networks`, t.text)
		case (found.number == etherIPv6) == in.Addr().Is4():
			p.fail(t, "%s is no address of %s", t.text, found.name)
		}
	}
	return p.leaf(func(l layout) condition { return l.addresses(words, in) })
}
