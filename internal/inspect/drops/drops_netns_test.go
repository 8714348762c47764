//go:build linux

package drops_test

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/collect"
	"github.com/plexus-cni/plexus/internal/inspect/drops"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/lab"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// limit is how long a test waits for what must come.
const limit = 30 * time.Second

// twoNodes are two nodes with a pod each, behind an overlay.
var twoNodes = map[string][]string{"n1": {"p1"}, "n2": {"p2"}}

const script = `
n1 ip link add eth0 type veth peer name eth0 netns @n2
n%i ip addr add 192.0.2.2%i/24 dev eth0
n%i ip addr add 2001:db8::%i/64 dev eth0
n%i ip link set eth0 up
n%i sysctl -qw net.ipv4.ip_forward=1
n%i sysctl -qw net.ipv6.conf.all.forwarding=1
n%i ip link add flannel.1 address 02:00:00:00:00:0%i type vxlan id 1 local 192.0.2.2%i dev eth0 dstport 8472 nolearning
n%i ip link set flannel.1 mtu 1450 up
n%i ip neigh replace 10.244.%o.0 lladdr 02:00:00:00:00:0%o dev flannel.1 nud permanent
n%i bridge fdb append 02:00:00:00:00:0%o dev flannel.1 dst 192.0.2.2%o self permanent
n%i ip route replace 10.244.%o.0/24 via 10.244.%o.0 dev flannel.1 onlink
n%i ip link add veth%i type veth peer name eth0 netns @p%i
n%i ip addr add 10.244.%i.1/24 dev veth%i
n%i ip addr add fd00:%i::1/64 dev veth%i
n%i ip link set veth%i up
p%i ip addr add 10.244.%i.2/24 dev eth0
p%i ip addr add fd00:%i::2/64 dev eth0
p%i ip link set eth0 up
p%i ip route add default via 10.244.%i.1
p%i ip -6 route add default via fd00:%i::1
n%i ip -6 route add fd00:%o::/64 via 2001:db8::%o
`

// world is a lab whose packets have marks.
type world struct {
	*lab.Lab
	t testing.TB
}

func newWorld(t testing.TB) *world {
	t.Helper()
	var lines strings.Builder
	for line := range strings.Lines(script) {
		lines.WriteString(strings.NewReplacer("%i", "1", "%o", "2").Replace(line))
		if strings.Contains(line, "%") {
			lines.WriteString(strings.NewReplacer("%i", "2", "%o", "1").Replace(line))
		}
	}
	return &world{lab.New(t, twoNodes, lines.String()), t}
}

// inode gives the number of a namespace.
func (w *world) inode(name string) uint64 {
	w.t.Helper()
	var s unix.Stat_t
	w.Do(func() error { return unix.Stat(w.Path("netns", name), &s) })
	return s.Ino
}

// send sends packets from the pod of the first node.
func (w *world) send(send inspect.Send) {
	w.t.Helper()
	send.Namespace = w.inode("p1")
	w.Do(func() error {
		_, err := collect.Send(collect.Options{StateDir: w.Path("none"), Sysfs: "/sys", NetNS: []string{w.Path("netns", "p1")}}, send)
		return err
	})
}

func open(t testing.TB, marks ...[]byte) *drops.Reader {
	t.Helper()
	r, err := drops.Open(marks)
	check.Must(t, err)
	t.Cleanup(func() { check.Must(t, r.Close()) })
	return r
}

var (
	mark  = [8]byte{'p', 'l', 'e', 'x', 'u', 's', 0xfe, 0x01}
	other = [8]byte{'o', 't', 'h', 'e', 'r', 's', 0xfe, 0x01}
)

// Each fault has its reason, at the packet with the mark, and at no other that is lost with it.
func TestNetnsReasons(t *testing.T) {
	ping := inspect.Send{From: "10.244.1.2", To: "10.244.2.2", Protocol: "icmp"}
	ping6 := inspect.Send{From: "fd00:1::2", To: "fd00:2::2", Protocol: "icmp"}
	udp := inspect.Send{From: "10.244.1.2", To: "10.244.2.2", Protocol: "udp", Port: 33434}
	udp6 := inspect.Send{From: "fd00:1::2", To: "fd00:2::2", Protocol: "udp", Port: 33434}
	tcp := inspect.Send{From: "10.244.1.2", To: "10.244.2.2", Protocol: "tcp", Port: 80}
	tcp6 := inspect.Send{From: "fd00:1::2", To: "fd00:2::2", Protocol: "tcp", Port: 80}
	const rules = "%s nft add table inet f\n%s nft add chain inet f c { type filter hook forward priority 0 ; policy accept ; }\n"
	filtered := func(ns, rule string) string {
		return strings.ReplaceAll(rules, "%s", ns) + ns + " nft add rule inet f c " + rule + " drop\n"
	}
	for name, test := range map[string]struct {
		script        string
		send          inspect.Send
		size          int
		in            string // the namespace
		reason, where string // where: "" for any
	}{
		"a rule of nft":          {script: filtered("n1", "ip daddr 10.244.2.2"), send: ping, in: "n1", reason: "NETFILTER_DROP", where: "nft_do_chain"},
		"a rule of iptables":     {script: "n2 iptables -P FORWARD DROP", send: ping, in: "n2", reason: "NETFILTER_DROP"},
		"a rule, for TCP":        {script: filtered("n2", "tcp dport 80"), send: tcp, in: "n2", reason: "NETFILTER_DROP", where: "nft_do_chain"},
		"a rule, for IPv6":       {script: filtered("n1", "ip6 daddr fd00:2::2"), send: ping6, in: "n1", reason: "NETFILTER_DROP", where: "nft_do_chain"},
		"a rule, for TCP, IPv6":  {script: filtered("n1", "tcp dport 80"), send: tcp6, in: "n1", reason: "NETFILTER_DROP", where: "nft_do_chain"},
		"a rule, large":          {script: filtered("n1", "ip daddr 10.244.2.2"), send: ping, size: 1400, in: "n1", reason: "NETFILTER_DROP", where: "nft_do_chain"},
		"a rule for what leaves": {script: strings.ReplaceAll(filtered("p1", "ip daddr 10.244.2.2"), "forward", "output"), send: udp, in: "p1", reason: "NETFILTER_DROP", where: "nft_do_chain"},
		"forwarding is off":      {script: "n2 sysctl -qw net.ipv4.ip_forward=0", send: ping, in: "n2", reason: "IP_INADDRERRORS", where: "ip_error"},
		"no route":               {script: "n2 ip route del 10.244.2.0/24", send: ping, in: "n2", reason: "IP_INNOROUTES", where: "ip_error"},
		"no route of IPv6":       {script: "n2 ip -6 route del fd00:2::/64", send: ping6, in: "n2", reason: "IP_INNOROUTES"},
		"rp_filter":              {script: "n2 sysctl -qw net/ipv4/conf/flannel.1/rp_filter=1\nn2 ip route replace 10.244.1.0/24 dev veth2", send: ping, in: "n2", reason: "IP_RPFILTER"},
		"a blackhole":            {script: "n1 ip route add blackhole 10.244.2.2/32", send: ping, in: "n1", reason: "NOT_SPECIFIED"},
		"no FDB entry":           {script: "n1 bridge fdb del 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.22 self", send: ping, in: "n1", reason: "NO_TX_TARGET", where: "vxlan_xmit"},
		"another VNI":            {script: "n2 ip link del flannel.1\nn2 ip link add flannel.1 type vxlan id 2 local 192.0.2.22 dev eth0 dstport 8472\nn2 ip link set flannel.1 up", send: ping, in: "n2", reason: "VXLAN_VNI_NOT_FOUND", where: "vxlan_rcv"},
		"a VTEP that is down":    {script: "n2 ip link set flannel.1 down", send: ping, in: "n2", reason: "NO_SOCKET"},
		"a VTEP, down, for TCP":  {script: "n2 ip link set flannel.1 down", send: tcp, in: "n2", reason: "NO_SOCKET"},
		"an MTU on the way":      {script: "n1 ip link set flannel.1 mtu 1300", send: ping, size: 1400, in: "n1", reason: "PKT_TOO_BIG", where: "ip_forward"},
		"an MTU of a veth":       {script: "n1 ip link set veth1 mtu 1300", send: ping, size: 1400, in: "p1", reason: "NOT_SPECIFIED"},
		"an MTU on the way, 6":   {script: "n1 ip link set eth0 mtu 1300", send: ping6, size: 1400, in: "n1", reason: "PKT_TOO_BIG", where: "ip6_forward"},
		"no answer to ARP":       {script: "n2 ip addr del 10.244.2.1/24 dev veth2\nn2 ip route replace 10.244.2.0/24 dev veth2\nn2 sysctl -qw net.ipv4.neigh.veth2.mcast_solicit=1\np2 ip link set eth0 arp off", send: ping, in: "n2", reason: "NEIGH_FAILED"},
		"a closed port":          {send: udp, in: "p2", reason: "NO_SOCKET"},
		"a closed port, IPv6":    {send: udp6, in: "p2", reason: "NO_SOCKET"},
		"a closed port, TCP":     {send: tcp, in: "p2", reason: "NO_SOCKET", where: "tcp_v4_rcv"},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWorld(t)
			w.Script(test.script)
			ours, others := test.send, test.send
			ours.Mark, others.Mark = mark, other
			if ours.Port == 33434 {
				others.Port = 33435
			}
			size := test.size
			if size == 0 {
				size = map[bool]int{true: 60, false: 200}[ours.Protocol == "tcp"]
			}
			ours.Shots, others.Shots = []inspect.Shot{{Number: 1, Size: size}}, []inspect.Shot{{Number: 2, Size: size}}
			wanted := mark[:]
			if ours.Protocol == "tcp" {
				wanted = mark[:4]
			}
			r := open(t, wanted)
			before := time.Now()
			w.send(others)
			w.send(ours)
			drop := next(t, r)
			t.Logf("%s in %s at %+v", drop.Reason, drop.Where, drop.Point)
			check.Equal(t, "reason", drop.Reason, test.reason)
			check.Equal(t, "namespace", drop.Point.Namespace, w.inode(test.in))
			if test.where != "" {
				check.Equal(t, "function", drop.Where, test.where)
			}
			if drop.Where == "" {
				t.Error("the kernel's function is not known")
			}
			if drop.Time.Before(before.Add(-time.Second)) || drop.Time.After(time.Now().Add(time.Second)) {
				t.Errorf("it was dropped at %v, between %v and %v", drop.Time, before, time.Now())
			}
			if version := drop.Data[0] >> 4; version != 4 && version != 6 {
				t.Errorf("the packet does not begin with IP: %x", drop.Data[:16])
			}
			for _, drop := range left(t, r) {
				check.Equal(t, "it has the mark", bytes.Contains(drop.Data, wanted), true)
			}
		})
	}
}

// next gives the next packet that was dropped.
func next(t testing.TB, r *drops.Reader) inspect.Drop {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	drop, err := r.Read(ctx)
	check.Must(t, err)
	return drop
}

// left gives those that are there.
func left(t testing.TB, r *drops.Reader) (all []inspect.Drop) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	for {
		drop, err := r.Read(ctx)
		if errors.Is(err, context.Canceled) {
			return all
		}
		check.Must(t, err)
		all = append(all, drop)
	}
}

// What arrives is not said to be dropped, though the kernel says so of each answer to a ping.
func TestNetnsWhatArrivesIsNotDropped(t *testing.T) {
	w := newWorld(t)
	for from, to := range map[string]string{"10.244.1.2": "10.244.2.2", "fd00:1::2": "fd00:2::2"} {
		if !w.Reaches("p1", "", to) {
			t.Fatalf("%s does not reach %s", from, to)
		}
		r := open(t, mark[:])
		send := inspect.Send{From: from, To: to, Protocol: "icmp", Mark: mark, Shots: []inspect.Shot{{Number: 1, Size: 200}}}
		w.send(send)
		send.Protocol, send.Port = "udp", 33434
		w.send(send) // to a port that is closed, behind the other
		drop := next(t, r)
		check.Equal(t, "the first", drop.Reason, "NO_SOCKET")
		check.Contains(t, "where", drop.Where, "udp")
		check.Equal(t, "no more", len(left(t, r)), 0)
	}
}

// sink is a namespace that drops datagrams to port 9.
func sink(t testing.TB) *node.Sandbox {
	t.Helper()
	s := node.New(t).Sandbox("sink")
	s.MustRun("nft", "add table inet f; add chain inet f c { type filter hook output priority 0 ; }; add rule inet f c udp dport 9 drop")
	return s
}

// flood has a sink drop datagrams with a payload.
func flood(s *node.Sandbox, count int, payload []byte) {
	s.Do(func() error {
		socket, err := unix.Socket(unix.AF_INET, unix.SOCK_DGRAM|unix.SOCK_CLOEXEC, 0)
		if err != nil {
			return err
		}
		defer func() { _ = unix.Close(socket) }()
		for range count {
			if err := unix.Sendto(socket, payload, 0, &unix.SockaddrInet4{Port: 9, Addr: [4]byte{127, 0, 0, 1}}); !errors.Is(err, unix.EPERM) {
				return fmt.Errorf("it is not dropped: %w", err)
			}
		}
		return nil
	})
}

// Ten thousand other packets that are dropped hide none of ours, and take no room.
func TestNetnsOthersDoNotHideOurs(t *testing.T) {
	s := sink(t)
	r := open(t, mark[:])
	flood(s, 10000, bytes.Repeat(other[:], 40))
	flood(s, 1, bytes.Repeat(mark[:], 40))
	drop := next(t, r)
	check.Equal(t, "reason", drop.Reason, "NETFILTER_DROP")
	check.Equal(t, "no more", len(left(t, r)), 0)
	if lost := r.Lost(); lost > 100 { // where the program interrupts itself, it does not run
		t.Errorf("%d were lost", lost)
	}
}

// The payload is found however the mark is turned, from the size on that has it where it is looked for.
func TestNetnsMarksAreFoundHoweverTurned(t *testing.T) {
	s := sink(t)
	r := open(t, []byte("something"[:8]), mark[:])
	for turned := range len(mark) {
		flood(s, 1, bytes.Repeat(append(mark[turned:len(mark):len(mark)], mark[:turned]...), 18))
		if got := len(next(t, r).Data); got != 28+18*8 {
			t.Errorf("turned by %d, the packet has %d bytes", turned, got)
		}
	}
}

// What the ring has no room for is counted.
func TestNetnsLostAreCounted(t *testing.T) {
	s := sink(t)
	r := open(t, mark[:])
	const sent = 2000
	flood(s, sent, bytes.Repeat(mark[:], 40))
	lost, seen := r.Lost(), len(left(t, r))
	if seen == 0 || lost == 0 || int(lost)+seen < sent {
		t.Errorf("%d lost, and %d seen, of %d", lost, seen, sent)
	}
}

// A Read that waits ends with its context, and with the reader.
func TestNetnsReadEnds(t *testing.T) {
	r := open(t, mark[:])
	for range 3 {
		ctx, cancel := context.WithCancel(t.Context())
		done := make(chan error)
		go func() {
			_, err := r.Read(ctx)
			done <- err
		}()
		cancel()
		check.Equal(t, "it ends with the context", errors.Is(<-done, context.Canceled), true)
	}
	done := make(chan error)
	go func() {
		_, err := r.Read(t.Context())
		done <- err
	}()
	check.Must(t, r.Close())
	check.Equal(t, "it ends with the reader", errors.Is(<-done, os.ErrClosed), true)
}
