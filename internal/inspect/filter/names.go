package filter

import (
	"maps"
	"slices"
	"strings"
)

// layer is that of a protocol.
type layer int

const (
	linkLayer layer = iota
	networkLayer
	ipLayer
)

// protocol is one that has a word of its own.
type protocol struct {
	name   string
	layer  layer
	number uint32 // the EtherType, or the protocol of IP
	v4, v6 bool   // the versions of IP that the word is for
	ports  bool
	sealed bool // its bytes cannot be looked at by name[…]
}

var protocols = byName([]protocol{
	{name: "ether", layer: linkLayer},
	{name: "ip", layer: networkLayer, number: etherIPv4},
	{name: "ip6", layer: networkLayer, number: etherIPv6},
	{name: "arp", layer: networkLayer, number: etherARP},
	{name: "rarp", layer: networkLayer, number: etherRARP},
	{name: "tcp", layer: ipLayer, number: 6, v4: true, v6: true, ports: true},
	{name: "udp", layer: ipLayer, number: 17, v4: true, v6: true, ports: true},
	{name: "sctp", layer: ipLayer, number: 132, v4: true, v6: true, ports: true},
	{name: "icmp", layer: ipLayer, number: 1, v4: true},
	{name: "icmp6", layer: ipLayer, number: 58, v6: true},
	{name: "igmp", layer: ipLayer, number: 2, v4: true},
	{name: "igrp", layer: ipLayer, number: 9, v4: true},
	{name: "esp", layer: ipLayer, number: 50, v4: true, v6: true, sealed: true},
	{name: "ah", layer: ipLayer, number: 51, v4: true, v6: true, sealed: true},
	{name: "pim", layer: ipLayer, number: 103, v4: true, v6: true},
	{name: "vrrp", layer: ipLayer, number: 112, v4: true},
	{name: "carp", layer: ipLayer, number: 112, v4: true},
})

func byName(all []protocol) map[string]*protocol {
	table := map[string]*protocol{}
	for i := range all {
		table[all[i].name] = &all[i]
	}
	return table
}

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
	etherRARP = 0x8035
	etherIPv6 = 0x86dd
)

// directions and kinds are the words between a protocol and a value.
var (
	directions = []string{"src", "dst"}
	kinds      = []string{"host", "net", "port", "portrange", "proto"}
	others     = []string{"broadcast", "multicast", "vlan", "less", "greater", "len", "and", "or", "not", "mask"}
)

// protocolNumbers are the names that "ip proto" takes for protocols without a word of their own.
var protocolNumbers = map[string]uint32{"gre": 47, "ospf": 89, "ipencap": 4, "ipv6": 41, "ipv6-icmp": 58, "l2tp": 115}

// services are for a hint only: /etc/services says of each machine which of TCP and UDP a name is for.
var services = map[string]int{
	"ftp": 21, "ssh": 22, "telnet": 23, "smtp": 25, "domain": 53, "dns": 53, "bootps": 67, "bootpc": 68, "tftp": 69,
	"http": 80, "kerberos": 88, "pop3": 110, "sunrpc": 111, "ntp": 123, "imap": 143, "imap2": 143, "snmp": 161,
	"bgp": 179, "ldap": 389, "https": 443, "syslog": 514, "ldaps": 636, "nfs": 2049, "mysql": 3306,
	"postgresql": 5432, "redis": 6379,
}

// constants are names of values that stand in comparisons.
var constants = map[string]uint32{
	"tcpflags": 13,
	"tcp-fin":  0x01, "tcp-syn": 0x02, "tcp-rst": 0x04, "tcp-push": 0x08, "tcp-ack": 0x10, "tcp-urg": 0x20, "tcp-ece": 0x40, "tcp-cwr": 0x80,
	"icmptype": 0, "icmpcode": 1, "icmp6type": 0, "icmp6code": 1,
	"icmp-echoreply": 0, "icmp-unreach": 3, "icmp-sourcequench": 4, "icmp-redirect": 5, "icmp-echo": 8,
	"icmp-routeradvert": 9, "icmp-routersolicit": 10, "icmp-timxceed": 11, "icmp-paramprob": 12, "icmp-tstamp": 13,
	"icmp-tstampreply": 14, "icmp-ireq": 15, "icmp-ireqreply": 16, "icmp-maskreq": 17, "icmp-maskreply": 18,
	"icmp6-destinationunreach": 1, "icmp6-packettoobig": 2, "icmp6-timeexceeded": 3, "icmp6-parameterproblem": 4,
	"icmp6-echo": 128, "icmp6-echoreply": 129, "icmp6-multicastlistenerquery": 130,
	"icmp6-multicastlistenerreportv1": 131, "icmp6-multicastlistenerdone": 132, "icmp6-routersolicit": 133,
	"icmp6-routeradvert": 134, "icmp6-neighborsolicit": 135, "icmp6-neighboradvert": 136, "icmp6-redirect": 137,
	"icmp6-multicastlistenerreportv2": 143,
}

// unsupported are words of tcpdump that are refused, with what to write in their place.
var unsupported = map[string]string{
	"gateway":    `write "ether host MAC and not host ADDRESS"`,
	"inbound":    "choose packets by addresses; each packet that is shown has its direction",
	"outbound":   "choose packets by addresses; each packet that is shown has its direction",
	"ifindex":    "choose the interface instead",
	"protochain": `extension headers are not followed; "proto" sees the first one`,
	"byte":       `write "ether[N]" and a comparison`,
	"geneve":     `write "udp port 6081" for its outer packets`,
	"vxlan":      `write "udp port 4789" for its outer packets`,
	"mpls":       `write "ether proto 0x8847" for its outer packets`,
	"pppoed":     `write "ether proto 0x8863"`,
	"pppoes":     `write "ether proto 0x8864" for its outer packets`,
	"stp":        `write "ether dst 01:80:c2:00:00:00"`,
}

// foreign are more of them, of networks that no pod is on.
var foreign = strings.Fields(`atalk aarp decnet lat sca moprc mopdl iso esis es-is isis is-is l1 l2 iih lsp snp csnp psnp clnp
	ipx netbeui radio fddi tr wlan ppp slip llc lane metac bcc oam oamf4 oamf4ec oamf4sc sc ilmic vpi vci connectmsg
	metaconnect on ifname rset ruleset rnr rulenum srnr subrulenum reason action type subtype dir direction
	addr1 addr2 addr3 addr4 address1 address2 address3 address4 ra ta fisu lssu lsu msu hfisu hlssu hmsu sio opc dpc sls
	hsio hopc hdpc hsls`)

// whyNot says what to do instead of a word of tcpdump that is not known here.
func whyNot(word string) (advice string, found bool) {
	if slices.Contains(foreign, word) {
		return "--bpf FILE takes a program of tcpdump -ddd", true
	}
	advice, found = unsupported[word]
	return advice, found
}

// isKeyword reports whether a word cannot be a value.
func isKeyword(word string) bool {
	_, refused := whyNot(word)
	_, constant := constants[word]
	return refused || constant || protocols[word] != nil ||
		slices.Contains(directions, word) || slices.Contains(kinds, word) || slices.Contains(others, word)
}

// names lists the protocols for which the condition holds.
func names(has func(*protocol) bool) string {
	var some []string
	for _, name := range slices.Sorted(maps.Keys(protocols)) {
		if has(protocols[name]) {
			some = append(some, name)
		}
	}
	return strings.Join(some, ", ")
}
