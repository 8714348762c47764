//go:build linux

package collect_test

import (
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/lab"
)

// situation is what a probe is sent into, and what it has to say.
type situation struct {
	do, undo string
	to       string // "p2" if it is empty
	protocol string // "icmp" if it is empty
	port     uint16
	nodes    string   // those that are read: "n1 n2" if it is empty
	shots    []string // words of what became of each packet
	changes  string   // in what they changed on the way there, in its order
	unseen   string   // hops where one was not seen that was answered
	notes    []string // words of each note
}

// becomes sends the packets twice, and checks what is said of them.
func (s *situation) becomes(t *testing.T, l *lab.Lab) {
	t.Helper()
	l.Script(s.do)
	defer l.Script(s.undo)
	query := path.Query{From: "p1", To: or(s.to, "p2"), Port: s.port}
	how := lab.Probing{Protocol: or(s.protocol, "icmp"), Why: strings.Contains(strings.Join(s.shots, ""), "the kernel of "), Patience: time.Second}
	for range 2 {
		d := l.Send(query, how, strings.Fields(or(s.nodes, "n1 n2"))...)
		lines := d.Probe.Lines()
		t.Log(strings.Join(append(lines, d.Probe.Notes...), "\n"))
		check.Equal(t, "packets", len(lines), len(s.shots))
		for i, want := range s.shots {
			check.Contains(t, "what became of a packet", lines[i], strings.Split(want, " … ")...)
		}
		check.Equal(t, "notes", len(d.Probe.Notes), len(s.notes))
		for i, want := range s.notes {
			check.Contains(t, "note", d.Probe.Notes[i], want)
		}
		check.Contains(t, "changes", changes(&d.There), s.changes)
		check.Equal(t, "hops that did not see what was answered", unseen(d), s.unseen)
	}
}

func or(value, instead string) string {
	if value == "" {
		return instead
	}
	return value
}

// changes gives in what the first packet changed, hop by hop.
func changes(way *path.Way) string {
	var all []string
	for _, hop := range way.Hops {
		if len(hop.Probed) > 0 {
			all = append(all, hop.Probed[0].Changes...)
		}
	}
	return strings.Join(all, ", ")
}

// unseen gives the hops of both ways that did not see a packet that was answered.
func unseen(d *path.Document) string {
	var names []string
	for i, shot := range d.Probe.Shots {
		for _, way := range []*path.Way{&d.There, d.Back} {
			if way == nil || shot.Outcome != path.Answered || i > 0 {
				continue
			}
			for _, hop := range way.Hops {
				if len(hop.Probed) > i && hop.Probed[i].State == path.NotSeen {
					names = append(names, hop.Name)
				}
			}
		}
	}
	return strings.Join(names, " ")
}

// script gives the lines of commands of a namespace.
func script(in string, commands ...string) (text string) {
	for _, command := range commands {
		text += in + " " + command + "\n"
	}
	return text
}

// rule adds a rule for what a namespace forwards, or for what it takes for itself ("input").
func rule(in, hook, text string) string {
	return script(in, "nft add table inet t", "nft add chain inet t c { type filter hook "+hook+" priority 0 ; }", "nft add rule inet t c "+text)
}

func noRules(in string) string { return script(in, "nft flush ruleset") }

// routers are two nodes with a router between them, and a pod each, of both families. No kernel holds ICMP errors back.
const routers = `
r sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
`

const byRouter = `
p%i sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
n%i sysctl -qw net.ipv6.conf.default.accept_dad=0 net.ipv4.icmp_ratelimit=0 net.ipv6.icmp.ratelimit=0
n%i sysctl -qw net.ipv4.ip_forward=1 net.ipv6.conf.all.forwarding=1
n%i ip link add eth0 type veth peer name e%i netns @r
r ip addr add 192.0.%i.1/24 dev e%i
r ip -6 addr add fd00:19%i::1/64 dev e%i nodad
r ip link set e%i up
n%i ip addr add 192.0.%i.2/24 dev eth0
n%i ip -6 addr add fd00:19%i::2/64 dev eth0 nodad
n%i ip link set eth0 up
n%i ip route add default via 192.0.%i.1
n%i ip -6 route add default via fd00:19%i::1
r ip route add 10.244.%i.0/24 via 192.0.%i.2
r ip -6 route add fd00:24%i::/64 via fd00:19%i::2
` + podOfBoth + `
p%i ip link set eth0 up
`

const podOfBoth = `
n%i ip link add cni0 address 02:00:00:00:01:0%i type bridge
n%i ip addr add 10.244.%i.1/24 dev cni0
n%i ip -6 addr add fd00:24%i::1/64 dev cni0 nodad
n%i ip link set cni0 up
n%i ip link add veth%i type veth peer name eth0 netns @p%i
n%i ip link set veth%i master cni0 up
p%i ip addr add 10.244.%i.2/24 dev eth0
p%i ip -6 addr add fd00:24%i::2/64 dev eth0 nodad
p%i ip link set eth0 up
p%i ip route add default via 10.244.%i.1
p%i ip -6 route add default via fd00:24%i::1
`

const (
	pod6         = "fd00:242::2"
	narrow       = "r ip link set e2 mtu 1400"
	wide         = "r ip link set e2 mtu 1500"
	everywhere   = "n1 n2 r"
	byRule       = "the kernel of n2 dropped it at eth0 in nft_do_chain(): NETFILTER_DROP"
	lostByRule   = "packet lost: it was seen last at eth0 of n2; " + byRule
	closed       = "answered after … nothing listens to the port, or a rule rejects it"
	resetOnWay   = "answered elsewhere: the connection was reset before it came to … , as a rule does: "
	silent       = "unanswered: it came to eth0 of … , and no answer was seen"
	tooLargeForR = "fd00:191::1 … says: it is too large: the next link takes 1400 bytes"
)

// twice is the same for the small packet and the large one.
func twice(words string) []string { return []string{words, words} }

// throughRouter are probes of each protocol and family over a router. Where it is not read itself, the way there ends
// on the first node, and what is seen on the second one counts all the same.
var throughRouter = map[string]situation{
	"icmp":                          {shots: twice("answered after"), changes: "TTL 64 → 63"},
	"icmp, router read":             {nodes: everywhere, shots: twice("answered after"), changes: "TTL 64 → 63, TTL 63 → 62, TTL 62 → 61"},
	"icmp of IPv6":                  {to: pod6, shots: twice("answered after"), changes: "TTL 64 → 63"},
	"icmp of IPv6, router read":     {to: pod6, nodes: everywhere, shots: twice("answered after"), changes: "TTL 64 → 63, TTL 63 → 62, TTL 62 → 61"},
	"too large for the router":      {to: pod6, do: narrow, undo: wide, shots: []string{"answered", "rejected: … " + tooLargeForR}},
	"too large, router read":        {to: pod6, do: narrow, undo: wide, nodes: everywhere, shots: []string{"answered", "1400 bytes: answered", "rejected: r … " + tooLargeForR + "; the kernel of r dropped it at e2 in ip6_forward(): PKT_TOO_BIG"}},
	"too large, and nobody says so": {to: pod6, do: "n2 ip link set eth0 mtu 1400", undo: "n2 ip link set eth0 mtu 1500", shots: []string{"answered", "1400 bytes: answered", "packet lost: it was seen at eth0 of n1, and nowhere on n2"}},
	"the router has no route":       {to: pod6, do: "r ip -6 route del fd00:242::/64", undo: "r ip -6 route add fd00:242::/64 via fd00:192::2", shots: twice("rejected: fd00:191::1 says: it has no route")},
	"the router read has no route": {
		to: pod6, do: "r ip -6 route del fd00:242::/64", undo: "r ip -6 route add fd00:242::/64 via fd00:192::2", nodes: everywhere,
		shots: twice("rejected: r (fd00:191::1) says: it has no route; the kernel of r dropped it at e1 in ip6_pkt_discard(): IP_INNOROUTES"),
	},
	"a neighbour of the router is silent": {
		to:   pod6,
		do:   "r sysctl -qw net.ipv6.neigh.e2.retrans_time_ms=10\nr ip -6 route replace fd00:242::/64 via fd00:192::99",
		undo: "r ip -6 route replace fd00:242::/64 via fd00:192::2", nodes: everywhere,
		shots: twice("rejected: r (fd00:191::1) says: the next hop does not answer; the kernel of r dropped it at e2 in neigh_invalidate()"),
	},
	"the pod's gateway is silent": {
		to: pod6, do: "p1 ip -6 route replace default via fd00:241::99", undo: "p1 ip -6 route replace default via fd00:241::1",
		shots: twice("packet lost: it did not leave by eth0 of … , as if nobody answered for its next hop: no port of cni0 leads to fd00:241::99"),
	},
	"nft drops it":         {to: pod6, do: rule("n2", "forward", "ip6 daddr fd00:242::2 drop"), undo: noRules("n2"), shots: twice(lostByRule)},
	"nft rejects it":       {to: pod6, do: rule("n2", "forward", "reject with icmpv6 admin-prohibited"), undo: noRules("n2"), shots: twice("rejected: n2 (fd00:192::2) says: it is forbidden; " + byRule)},
	"nft drops the answer": {to: pod6, do: rule("n2", "forward", "ip6 saddr fd00:242::2 drop"), undo: noRules("n2"), shots: twice("answer lost: the answer was seen at cni0 of n2, and not at eth0 of n2; the kernel of n2 dropped it at cni0 in nft_do_chain(): NETFILTER_DROP")},
	"a later rule drops the answer": {
		do: rule("n1", "forward", "ip daddr 10.244.1.2 drop"), undo: noRules("n1"),
		shots: twice("answer lost: the answer was seen last at eth0 of n1; the kernel of n1 dropped it at eth0 in nft_do_chain(): NETFILTER_DROP"),
	},
	"the router drops the answer": {do: rule("r", "forward", "ip daddr 10.244.1.2 drop"), undo: noRules("r"), shots: twice("answer lost: the answer was seen at eth0 of n2, and nowhere on n1")},
	"ip6tables drops it":          {to: pod6, do: "n2 ip6tables-legacy -P FORWARD DROP", undo: "n2 ip6tables-legacy -P FORWARD ACCEPT", shots: twice("packet lost: it was seen last at eth0 of n2; the kernel of n2 dropped it at eth0 in nf_hook_slow(): NETFILTER_DROP")},

	"udp":                        {protocol: "udp", port: 5353, shots: twice(silent)},
	"udp of IPv6":                {to: pod6, protocol: "udp", port: 5353, nodes: everywhere, shots: twice(silent)},
	"udp, closed":                {protocol: "udp", port: 5354, shots: twice(closed)},
	"udp, no port":               {protocol: "udp", nodes: everywhere, shots: twice(closed)},
	"udp of IPv6, closed":        {to: pod6, protocol: "udp", port: 5354, shots: twice(closed)},
	"udp, closed without a word": {protocol: "udp", port: 5354, do: rule("p2", "output", "icmp type destination-unreachable drop"), undo: noRules("p2"), shots: twice(silent + "; the kernel of n2 dropped it at eth0 of … : NO_SOCKET")},
	"udp, dropped":               {protocol: "udp", port: 5353, do: rule("n2", "forward", "udp dport 5353 drop"), undo: noRules("n2"), shots: twice(lostByRule)},
	"udp, dropped in the pod":    {protocol: "udp", port: 5353, do: rule("p2", "input", "udp dport 5353 drop"), undo: noRules("p2"), shots: twice("packet lost: it came to eth0 of … the kernel of n2 dropped it at eth0 of … NETFILTER_DROP")},
	"udp, rejected in the pod":   {protocol: "udp", port: 5353, do: rule("p2", "input", "udp dport 5353 reject"), undo: noRules("p2"), shots: twice(closed)},
	"udp, rejected":              {protocol: "udp", port: 5353, do: rule("n2", "forward", "udp dport 5353 reject"), undo: noRules("n2"), shots: twice("rejected: n2 (192.0.2.2) says: a rule rejects it; " + byRule)},
	"udp, rejected by the router": {
		protocol: "udp", port: 5353, do: rule("r", "forward", "udp dport 5353 reject"), undo: noRules("r"), shots: twice("rejected: 192.0.1.1 says: a rule rejects it"),
	},
	"udp, rejected as forbidden":     {protocol: "udp", port: 5353, do: rule("n2", "forward", "reject with icmpx admin-prohibited"), undo: noRules("n2"), shots: twice("rejected: n2 (192.0.2.2) says: it is forbidden; " + byRule)},
	"udp, rejected as unreachable":   {protocol: "udp", port: 5353, do: rule("n2", "forward", "reject with icmpx host-unreachable"), undo: noRules("n2"), shots: twice("rejected: n2 (192.0.2.2) says: the next hop does not answer; " + byRule)},
	"udp of IPv6, rejected":          {to: pod6, protocol: "udp", port: 5353, do: rule("n2", "forward", "udp dport 5353 reject"), undo: noRules("n2"), shots: twice("rejected: n2 (fd00:192::2) says: a rule rejects it; " + byRule)},
	"udp of IPv6, rejected, no way":  {to: pod6, protocol: "udp", port: 5353, do: rule("n2", "forward", "reject with icmpx no-route"), undo: noRules("n2"), shots: twice("rejected: n2 (fd00:192::2) says: it has no route; " + byRule)},
	"udp, too large":                 {protocol: "udp", port: 5354, do: narrow, undo: wide, shots: []string{closed, "rejected: 192.0.1.1 says: it is too large: the next link takes 1400 bytes"}},
	"udp of IPv6, router, too large": {to: pod6, protocol: "udp", port: 5354, do: narrow, undo: wide, nodes: everywhere, shots: []string{closed, "1400 bytes: " + closed, tooLargeForR}},

	"tcp":                     {protocol: "tcp", port: 8080, shots: []string{"answered after"}},
	"tcp of IPv6":             {to: pod6, protocol: "tcp", port: 8080, nodes: everywhere, shots: []string{"answered after"}},
	"tcp, closed":             {protocol: "tcp", port: 8081, shots: []string{"answered after … nothing listens to the port, or a rule resets the connection"}},
	"tcp of IPv6, closed":     {to: pod6, protocol: "tcp", port: 8081, nodes: everywhere, shots: []string{"answered after … nothing listens to the port, or a rule resets the connection"}},
	"tcp, dropped":            {protocol: "tcp", port: 8080, do: rule("n2", "forward", "tcp dport 8080 drop"), undo: noRules("n2"), shots: []string{lostByRule}},
	"tcp of IPv6, dropped":    {to: pod6, protocol: "tcp", port: 8080, do: rule("n2", "forward", "tcp dport 8080 drop"), undo: noRules("n2"), shots: []string{lostByRule}},
	"tcp, rejected":           {protocol: "tcp", port: 8080, do: rule("n2", "forward", "tcp dport 8080 reject"), undo: noRules("n2"), shots: []string{"rejected: n2 (192.0.2.2) says: a rule rejects it; " + byRule}},
	"tcp, reset by a node":    {protocol: "tcp", port: 8080, do: rule("n2", "forward", "tcp dport 8080 reject with tcp reset"), undo: noRules("n2"), shots: []string{resetOnWay + "it was seen last at eth0 of n2; " + byRule}},
	"tcp, reset by a router":  {protocol: "tcp", port: 8080, do: rule("r", "forward", "tcp dport 8080 reject with tcp reset"), undo: noRules("r"), shots: []string{resetOnWay + "it was seen at eth0 of n1, and nowhere on n2"}},
	"tcp, reset by r read":    {protocol: "tcp", port: 8080, do: rule("r", "forward", "tcp dport 8080 reject with tcp reset"), undo: noRules("r"), nodes: everywhere, shots: []string{resetOnWay + "it was seen at e1 of r, and not at e2 of r; the kernel of r dropped it at e1 in nft_do_chain(): NETFILTER_DROP"}},
	"tcp of IPv6, reset by r": {to: pod6, protocol: "tcp", port: 8080, do: rule("r", "forward", "tcp dport 8080 reject with tcp reset"), undo: noRules("r"), nodes: everywhere, shots: []string{resetOnWay + "it was seen at e1 of r, and not at e2 of r"}},
}

func TestNetnsProbeThroughRouter(t *testing.T) {
	l := lab.New(t, map[string][]string{"n1": {"p1"}, "n2": {"p2"}, "r": nil}, routers+both(byRouter))
	l.Warm("p1", pod6)
	l.Serve("p2", "udp", "[::]:5353")
	l.Serve("p2", "tcp", "[::]:8080")
	for name, test := range throughRouter {
		t.Run(name, func(t *testing.T) { test.becomes(t, l) })
	}
	check.Equal(t, "what a probe of TCP leaves behind", strings.Fields(l.Sockets("p2"))[:2], []string{"LISTEN", "0"})
	check.Equal(t, "sockets", strings.Count(l.Sockets("p2"), "\n"), 1)
}
