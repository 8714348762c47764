package filter

import (
	"net/netip"
	"slices"
	"strings"

	"golang.org/x/net/bpf"
)

// qualifiers are the words before a value: "ip src host".
type qualifiers struct {
	at        token
	protocol  *protocol // nil for any
	direction string    // "src", "dst", "or", "and"
	kind      string    // of kinds
}

const starts = `a protocol (ip, ip6, arp, tcp, udp, icmp, icmp6, …), "ether", "src", "dst", "host", "net", "port", "portrange", "proto", ` +
	`"vlan", "broadcast", "multicast", "less", "greater", "len", "ip[…]", an address, "not", "("`

// primitive reads one condition that begins with a word.
func (p *parser) primitive() value {
	first := p.peek()
	switch {
	case p.accept("vlan"):
		return value{condition: p.vlan(first)}
	case p.accept("less", "greater"):
		return value{condition: p.length(first.name)}
	}
	words := &qualifiers{at: first}
	if words.protocol = protocols[first.name]; words.protocol != nil {
		p.take()
		p.canHave(first, words.protocol)
	}
	if cast := p.peek(); p.accept("broadcast", "multicast") {
		return value{condition: p.cast(cast, words)}
	}
	words.direction = p.direction()
	if t := p.peek(); p.accept(kinds...) {
		words.kind = t.name
	}
	switch {
	case words.direction != "" || words.kind != "":
		return value{condition: p.identifiers(words), words: words}
	case words.protocol != nil:
		return value{condition: p.whole(words)}
	case isAddress(first.text):
		words.kind = "host"
		return value{condition: p.identifier(words, p.take()), words: words}
	}
	p.refuse(first, starts)
	return value{condition: always()}
}

// canHave refuses a protocol that packets of this link type cannot have.
func (p *parser) canHave(t token, found *protocol) {
	ip := found.layer == ipLayer || found.number == etherIPv4 || found.number == etherIPv6
	if p.link == RawIP && !ip {
		p.fail(t, "%q cannot be here: packets of this interface have no Ethernet header", t.text)
	}
}

// direction reads "src", "dst", "src or dst", "src and dst".
func (p *parser) direction() string {
	if !p.at(directions...) {
		return ""
	}
	first := p.take()
	other := p.after(1)
	if p.at("or", "and") && slices.Contains(directions, other.name) && other.name != first.name {
		op := p.take()
		p.take()
		return op.name
	}
	return first.name
}

// whole is the condition of a protocol without a value.
func (p *parser) whole(words *qualifiers) condition {
	found := words.protocol
	if found.layer == linkLayer {
		p.refuse(p.peek(), `"host", "src", "dst", "proto", "broadcast", "multicast", "["`)
	}
	if found.layer == networkLayer {
		return p.leaf(func(l layout) condition { return l.has(found.number) })
	}
	return p.leaf(func(l layout) condition { return l.carries(found.number, found.v4, found.v6) })
}

// vlan is the condition of a VLAN tag. What follows in the text is looked for behind it.
func (p *parser) vlan(first token) condition {
	if p.link == RawIP {
		p.fail(first, "%q cannot be here: packets of this interface have no Ethernet header", first.text)
	}
	var id *uint32
	enclosed := p.at("(") && p.after(1).isNumber() && p.after(2).text == ")"
	if enclosed {
		p.take()
	}
	if t := p.peek(); t.isNumber() {
		p.take()
		number := p.numeral(t, 4095)
		id = &number
	}
	if enclosed {
		p.take()
	}
	n := p.leaf(func(l layout) condition { return l.tag(id) })
	p.vlans++
	p.sure++
	return n
}

func (p *parser) length(word string) condition {
	t := p.take()
	if !t.isNumber() {
		p.refuse(t, "a number of bytes")
	}
	limit, op := &number{constant: true, value: p.numeral(t, 1<<31)}, ">="
	if word == "less" {
		op = "<="
	}
	return p.leaf(func(l layout) condition { return compare(l, &number{}, op, limit) })
}

// cast is the condition of a destination that is many.
func (p *parser) cast(t token, words *qualifiers) condition {
	name := "ether"
	if words.protocol != nil {
		name = words.protocol.name
	}
	if name == "ether" && p.link == RawIP {
		p.fail(t, "%q cannot be here: packets of this interface have no Ethernet header", t.text)
	}
	makers := map[string]func(layout) condition{
		"ether broadcast": func(layout) condition { return mac([6]byte{255, 255, 255, 255, 255, 255}, 0) },
		"ether multicast": func(layout) condition { return test{load: absolute(0, 1), cond: bpf.JumpBitsSet, value: 1} },
		"ip multicast": func(l layout) condition {
			return all{l.has(etherIPv4), test{load: absolute(l.network()+16, 1), cond: bpf.JumpGreaterOrEqual, value: 224}}
		},
		"ip6 multicast": func(l layout) condition { return all{l.has(etherIPv6), l.network8(24, 255)} },
	}
	maker := makers[name+" "+t.name]
	switch {
	case maker == nil && name == "ip":
		p.fail(t, `"ip broadcast" depends on the network: write "dst host" and its last address`)
	case maker == nil:
		p.fail(t, `%q cannot be here: there is "ether broadcast", "ether multicast", "ip multicast", "ip6 multicast"`, t.text)
	default:
		return p.leaf(maker)
	}
	return always()
}

// identifiers reads the values of qualifiers: one, or several in parentheses.
func (p *parser) identifiers(words *qualifiers) condition {
	defer p.deeper()()
	if p.accept("not") {
		return not{p.identifiers(words)}
	}
	if !p.accept("(") {
		return p.identifier(words, p.take())
	}
	n := p.identifiers(words)
	for p.at("and", "or") {
		op := p.take()
		n = join(op.name, n, p.identifiers(words))
	}
	p.want(")")
	return n
}

// identifier is the condition of one value.
func (p *parser) identifier(words *qualifiers, t token) condition {
	switch words.kind {
	case "net":
		return p.net(words, t)
	case "port", "portrange":
		return p.port(words, t)
	case "proto":
		return p.proto(words, t)
	}
	return p.host(words, t)
}

func (p *parser) host(words *qualifiers, t token) condition {
	if words.protocol != nil && words.protocol.layer == linkLayer {
		return p.mac(words, t)
	}
	address, err := netip.ParseAddr(t.text)
	switch {
	case p.at("/"):
		p.fail(t, "%s/… is a network: write %q before it", t.text, "net")
	case err != nil && isMAC(t.text):
		p.fail(t, "%s is a MAC address: write %q before it", t.text, "ether host")
	case err != nil && t.isWord() && !isKeyword(t.name) && !strings.HasPrefix(t.text, `\`):
		p.fail(t, "%q is no IP address, which is wanted here; names of hosts are not looked up, as the node's may differ", t.text)
	case err != nil:
		p.refuse(t, "an IP address")
	}
	if p.err != nil {
		return always()
	}
	return p.addresses(words, t, netip.PrefixFrom(address, address.BitLen()))
}

func (p *parser) mac(words *qualifiers, t token) condition {
	address, ok := parseMAC(t.text)
	if !ok {
		p.fail(t, "%q is no MAC address, which is wanted here, as 02:00:0a:00:00:01", orEnd(t))
	}
	return p.leaf(func(layout) condition {
		return directed(words.direction, func(source bool) condition {
			if source {
				return mac(address, 6)
			}
			return mac(address, 0)
		})
	})
}

func orEnd(t token) string {
	if t.text == "" {
		return "the end of the filter"
	}
	return t.text
}

// port is the condition of a port, or of a range of them.
func (p *parser) port(words *qualifiers, t token) condition {
	if found := words.protocol; found != nil && !found.ports {
		p.fail(words.at, "%q has no ports; these have: %s", found.name, names(func(o *protocol) bool { return o.ports }))
	}
	low, high, isRange := strings.Cut(t.text, "-")
	if !isRange || words.kind == "port" {
		low, high = t.text, t.text
	}
	var numbers [2]uint32
	for i, text := range []string{low, high} {
		part := token{text: text, name: text, at: t.at}
		switch known := services[text]; {
		case part.isNumber():
			numbers[i] = p.numeral(part, 65535)
		case known != 0:
			p.fail(t, "%q is a name; a number is wanted here: %d", text, known)
		case isRange && words.kind == "port":
			p.fail(t, "%q is no port: write %q for several", t.text, "portrange")
		default:
			p.refuse(t, "the number of a port"+map[bool]string{true: ", or two with - between them"}[words.kind == "portrange"])
		}
	}
	return p.leaf(func(l layout) condition {
		return l.ports(words, min(numbers[0], numbers[1]), max(numbers[0], numbers[1]))
	})
}

// proto is the condition of the number of a protocol, or of its name behind a backslash.
func (p *parser) proto(words *qualifiers, t token) condition {
	if words.direction != "" {
		p.fail(words.at, `"proto" has no "src" or "dst"`)
	}
	name, escaped := strings.CutPrefix(t.text, `\`)
	known := protocols[name]
	if known != nil && !escaped {
		p.fail(t, `%s is a word of its own: write \%[1]s, or just %[1]s`, name)
	}
	ethernet := words.protocol != nil && words.protocol.layer == linkLayer
	if ethernet {
		return p.etherProto(t, known)
	}
	number, found := protocolNumbers[name]
	switch {
	case words.protocol != nil && words.protocol.number != etherIPv4 && words.protocol.number != etherIPv6:
		p.fail(words.at, `%q has no "proto"; these have: ether, ip, ip6`, words.protocol.name)
	case t.isNumber():
		number = p.numeral(t, 255)
	case known != nil && known.layer == ipLayer && known.name != "icmp6" && known.name != "carp":
		number = known.number
	case !found:
		p.refuse(t, `a number, \tcp, \udp, \sctp, \icmp, \igmp, \esp, \ah, \vrrp, \pim, gre, ospf, ipencap, ipv6, ipv6-icmp, l2tp`)
	}
	v4 := words.protocol == nil || words.protocol.number == etherIPv4
	v6 := words.protocol == nil || words.protocol.number == etherIPv6
	return p.leaf(func(l layout) condition { return l.carries(number, v4, v6) })
}

func (p *parser) etherProto(t token, known *protocol) condition {
	var number uint32
	switch {
	case t.isNumber():
		number = p.numeral(t, 0xffff)
	case known != nil && known.layer == networkLayer:
		number = known.number
	default:
		p.refuse(t, `a number, \ip, \ip6, \arp, \rarp`)
	}
	if p.err == nil && (number < 0x600 || number == 0x809b || number == 0x80f3) {
		p.fail(t, "%s is of frames with an LLC header, which are not known here: --bpf FILE takes a program of tcpdump -ddd", t.text)
	}
	return p.leaf(func(l layout) condition { return l.has(number) })
}
