package filter

import (
	"errors"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestRefused(t *testing.T) {
	for _, test := range []struct {
		text   string
		column int
		says   string
	}{
		{"host 10.0.0.1 and prot 6", 19, `"prot" is not known; here one of: a protocol`},
		{"tcp prot 80", 5, `"prot" is not known; here one of: "and" or "or"`},
		{"foo", 1, `"foo" is not known`},
		{"ip and foo", 8, `"foo" is not known`},
		{"tcp port", 9, "the filter ends too early; here one of: the number of a port"},
		{"ip and", 7, "the filter ends too early"},
		{"(ip or tcp", 11, `ends too early; here one of: ")"`},
		{"ip)", 3, `")" cannot be here; here one of: "and" or "or"`},
		{"ip tcp", 4, `"tcp" cannot be here`},
		{"and ip", 1, `"and" cannot be here`},
		{"not", 4, "ends too early"},
		{"()", 2, `")" cannot be here`},
		{"mpls 5", 1, `"mpls" is a word of tcpdump that is not known here: write "ether proto 0x8847"`},
		{"pppoes and ip", 1, `"pppoes" is a word of tcpdump`},
		{"ip or gateway 10.0.0.1", 7, `"gateway" is a word of tcpdump`},
		{"inbound", 1, "each packet that is shown has its direction"},
		{"tcp and outbound", 9, `"outbound"`},
		{"ip protochain 6", 4, `"protochain" is a word of tcpdump`},
		{"geneve", 1, "udp port 6081"},
		{"vxlan 5", 1, "udp port 4789"},
		{"ifindex 3", 1, "choose the interface"},
		{"byte 3 = 1", 1, "ether[N]"},
		{"llc", 1, "--bpf FILE"},
		{"wlan host 02:00:00:00:00:01", 1, "--bpf FILE"},
		{"host shop.example", 6, `"shop.example" is no IP address, which is wanted here; names of hosts are not looked up`},
		{"host 10.0.0.256", 6, "no IP address"},
		{"host 10.0.1", 6, "no IP address"},
		{"host 80", 6, "no IP address"},
		{"host tcp", 6, `"tcp" cannot be here; here one of: an IP address`},
		{"host 10.0.0.0/8", 6, `write "net" before it`},
		{"host 02:00:0a:00:00:01", 6, `write "ether host" before it`},
		{"ether host 10.0.0.1", 12, "no MAC address"},
		{"ether host", 11, "the end of the filter"},
		{"ether src 02:00:0a:00:00", 11, "no MAC address"},
		{"ether", 6, "ends too early"},
		{"tcp host 10.0.0.1", 1, `write "tcp and host 10.0.0.1"`},
		{"tcp dst 10.0.0.1", 1, `write "tcp and host 10.0.0.1"`},
		{"ip host ::1", 9, "no address of ip"},
		{"ip6 net 10.0.0.0/8", 9, "no address of ip6"},
		{"ether net 10.0.0.0/8", 11, "MAC addresses"},
		{"net 10.0.0.1/8", 5, "write 10.0.0.0/8"},
		{"net 10.0.0.0/33", 14, "33 is more than 32"},
		{"net ::/129", 8, "129 is more than 128"},
		{"net 10.0.0.0 mask 255.0.255.0", 19, "no mask"},
		{"net 10.0.0.0 mask 8", 19, "a mask, as 255.255.0.0"},
		{"net 10.0.0.0/x", 14, `"x" is not known`},
		{"net 0", 5, "a network, as 10.0.0.0/8"},
		{"net 300", 5, "a network, as 10.0.0.0/8"},
		{"net shop", 5, "a network"},
		{"port https", 6, `"https" is a name; a number is wanted here: 443`},
		{"port nonsense", 6, `"nonsense" is not known`},
		{"port 65536", 6, "65536 is more than 65535"},
		{"port 080", 6, "octal"},
		{"port 80-90", 6, `write "portrange"`},
		{"portrange 80-", 11, "two with - between them"},
		{"portrange 1-2-3", 11, "two with - between them"},
		{"icmp port 80", 1, `"icmp" has no ports; these have: sctp, tcp, udp`},
		{"ip6 port 80", 1, `"ip6" has no ports`},
		{"port 99999999999", 6, "more than 32 bits"},
		{"ip proto tcp", 10, `write \tcp, or just tcp`},
		{"ip proto 256", 10, "256 is more than 255"},
		{"ip proto eigrp", 10, `"eigrp" is not known`},
		{"tcp proto 6", 1, `"tcp" has no "proto"`},
		{"src proto 6", 1, `no "src" or "dst"`},
		{"ether proto 5", 13, "LLC header"},
		{"ether proto 0x809b", 13, "LLC header"},
		{`ether proto \tcp`, 13, "here one of: a number"},
		{"ether proto 65536", 13, "more than 65535"},
		{"vlan 4096", 6, "4096 is more than 4095"},
		{"vlan 100 or vlan 200", 18, "behind a tag that not every packet has here"},
		{"vlan or tcp", 9, "behind a tag that not every packet has here"},
		{"(ip or vlan) and not tcp", 22, "behind a tag that not every packet has here"},
		{"not vlan and tcp", 14, "behind a tag that not every packet has here"},
		{"vlan and (vlan or ip) and tcp", 19, "behind a tag that not every packet has here"},
		{"ip broadcast", 4, "last address"},
		{"arp multicast", 5, "cannot be here"},
		{"less ip", 6, "a number of bytes"},
		{"80", 3, `"port 80"`},
		{"len", 4, "to compare"},
		{"tcp[13] & 2", 12, "to compare"},
		{"tcp[13", 7, `here one of: "]"`},
		{"tcp[13:3] = 1", 8, "1, 2, 4"},
		{"esp[0] = 1", 1, "the bytes of esp cannot be looked at"},
		{"ip[-1] = 1", 4, "no packet has a byte there"},
		{"ip[0xfffff004] = 1", 4, "no packet has a byte there"},
		{"ip[8] / 0 = 1", 7, "by zero"},
		{"ip[8] % (1 - 1) = 1", 7, "by zero"},
		{"ip[8] << 32 = 1", 7, "from 0 to 31"},
		{"ip[8] >> ip[9] = 1", 7, "from 0 to 31"},
		{"ip[8] & 3 ^ 1 = 0", 7, "use parentheses"},
		{"ip[8] = 1 = 2", 11, `"and" or "or"`},
		{"ip[8] = tcp", 9, `"tcp" cannot be here; here one of: a number`},
		{"host 10.0.0.1 or shop.example", 18, `"shop.example" is not known; here one of: a protocol`},
		{"port 80 or https", 12, `"https" is not known; here one of: a protocol`},
		{"host 10.0.0.1 or 10.0.0", 18, "no IP address"},
		{"net 10.0.0.0/8 or 02:00:0a:00:00:01", 19, "a network"},
		{"ip[8] =", 8, "ends too early"},
		{"(host 10.0.0.1 or 10.0.0.2) and 80", 35, `"port 80"`},
		{"tcp and 80", 11, `"port 80"`},
		{"port 80 and 10.0.0.1", 13, "the number of a port"},
		{"ip; drop", 3, `";" is no sign`},
		{"höst 10.0.0.1", 2, `"ö" is no sign`},
		{"ip or \x00", 7, "is no sign"},
		{"host 10.0.0.1 or ☃", 18, `"☃" is no sign`},
		{strings.Repeat("(", 200) + "ip", 101, "more than 100 parts within each other"},
		{strings.Repeat("not ", 200) + "ip", 401, "more than 100 parts within each other"},
		{strings.Repeat("ip[", 200) + "0", 0, "more than 100 parts within each other"},
		{"ip" + strings.Repeat(" or ip", 5000), 0, "more than 4096 conditions"},
		{"host ::1" + strings.Repeat(" or ::2", 2000), 1, "more than 4096 instructions"},
		{strings.Repeat("ip or ", 20000), 65537, "longer than 65536 bytes"},
		{"len = " + strings.Repeat("(len+", 17) + "1" + strings.Repeat(")", 17), 0, "use fewer parentheses"},
	} {
		_, err := Compile(test.text, Ethernet)
		refusedAt(t, test.text, err, test.column, test.says)
	}
}

// refusedAt checks an error; the column 0 is for any.
func refusedAt(t *testing.T, text string, err error, column int, says string) {
	t.Helper()
	text = text[:min(len(text), 60)]
	var refused *Error
	if !errors.As(err, &refused) {
		t.Errorf("%q: the error is %v, want an Error", text, err)
		return
	}
	if column > 0 {
		check.Equal(t, "the column in "+text, refused.Column, column)
	}
	check.Contains(t, text, refused.Problem, says)
}

func TestRefusedWithoutEthernet(t *testing.T) {
	for _, text := range []string{
		"arp", "rarp", "ether host 02:00:0a:00:00:01", "ether proto 0x800", "broadcast", "multicast", "vlan", "vlan 5",
		"ether[0] = 1", "arp host 10.0.0.1", "arp[6:2] = 1", "link proto 0x800", "ether broadcast",
	} {
		_, err := Compile(text, RawIP)
		refusedAt(t, text, err, 1, "packets of this interface have no Ethernet header")
	}
	_, err := Compile("ip", 105)
	check.Error(t, err, "link type 105")
}

func TestErrorSaysWhere(t *testing.T) {
	_, err := Compile("ip, tcp", Ethernet)
	check.Error(t, err, `filter: column 3: "," is no sign of the filter language`)
}
