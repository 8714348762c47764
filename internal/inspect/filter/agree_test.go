//go:build linux

package filter

import (
	"bytes"
	"errors"
	"fmt"
	"io"
	"math/rand/v2"
	"os/exec"
	"strings"
	"testing"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/net/bpf"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// agreed are filters for which tcpdump and we say the same of each packet of the corpus.
var agreed = []string{
	"", "ip", "ip6", "arp", "rarp", "tcp", "udp", "sctp", "icmp", "icmp6", "igmp", "igrp", "esp", "ah", "vrrp", "pim", "carp",
	"host 10.0.0.1", "src host 10.0.0.1", "dst host 10.0.0.1", "src or dst host 10.0.0.1", "dst or src 10.0.0.1", "src and dst host 10.0.0.1",
	"src 10.0.0.1", "dst 10.0.0.2", "ip host 10.0.0.1", "ip src 10.0.0.1", "arp host 10.1.2.3", "arp src 10.0.0.1", "rarp dst host 10.1.2.3",
	"host 10.0.0.1 and 10.0.0.2", "host 10.0.0.1 or 192.168.1.7", "src host 10.0.0.1 and dst host 10.0.0.2", "host (10.0.0.2 or 10.1.2.3)",
	"not host 10.0.0.1", "! host 10.0.0.1 && ip", "ip and not host 10.0.0.1 and not 10.0.0.2", "not host 10.0.0.1 and 10.0.0.2",
	"host 2001:db8::1", "src 2001:db8::1", "dst host ff02::1", "ip6 host fe80::1", "src and dst 2001:db8::1", "host 10.0.0.1 or 2001:db8::1",
	"net 10.0.0.0/8", "net 10.0.0.0 mask 255.0.0.0", "net 10", "net 10.1", "net 192.168.1", "net 192.168.1.0/24", "net 192.168.1.0", "src net 10.0", "dst net 10.0.0.0/30",
	"net 0.0.0.0/0", "ip net 172.16.0.0/12", "arp net 10.1.0.0/16", "net 2001:db8::/32", "src net fe80::/10", "dst net ff00::/8", "net ::/0", "net 2001:db8:0:1::/64",
	"net 2001:db8::2", "ip6 net 2001:db8:1::/48", "not net 10.0.0.0/8",
	"port 80", "port 53", "src port 80", "dst port 80", "tcp port 80", "udp port 53", "sctp port 443", "udp src port 53", "tcp dst port 80 or 443", "port 80 or 443",
	"port 80 and 53", "src port 53 and dst port 80", "src and dst port 80", "port (22 or 443)", "not port 80", "not port 80 and not 53", "port 80 or port 53 and udp",
	"portrange 8000-8010", "portrange 8010-8000", "udp portrange 50-60", "src portrange 8000-65535", "dst portrange 1-1023", "portrange 80", "portrange 80-80", "port 0x50",
	"tcp portrange 20-100 or 443-444",
	"ip proto 17", `ip proto \tcp`, "ip6 proto 58", `ip6 proto \udp`, "proto 47", `proto \icmp`, "ip proto gre", "ip proto 6 or 17", "ip6 proto 44", `ip proto \sctp or \vrrp`, "proto 0",
	"ether proto 0x0806", `ether proto \ip`, `ether proto \ip6 or \arp`, "ether proto 0x8100", "ether proto 0x88a8 or 0x8847", "link proto 0x88cc",
	"ether host 02:00:0a:00:00:01", "ether src 02:00:0a:00:00:01", "ether dst 2:0:a:0:0:2", "ether dst 02-00-0A-00-00-02", "ether broadcast", "broadcast", "ether multicast", "multicast",
	"ether src 02:00:0a:00:00:01 and ether dst 01:00:5e:00:00:05", "ether host 02:00:0a:00:00:02 or 01:00:5e:00:00:05", "ip multicast", "ip6 multicast",
	"vlan", "vlan 100", "vlan 200", "not vlan", "vlan and ip", "vlan 100 and tcp", "vlan 100 and vlan 200", "vlan 100 and vlan 200 and host 10.0.0.1", "vlan and vlan and vlan",
	"vlan 7 and vlan 100 and vlan 300 and udp port 53", "vlan and ip6", "vlan and arp", "vlan and port 80", "tcp or vlan", "vlan 100 and (tcp or udp) and not port 80", "vlan and (ip or vlan 200)", "ip or vlan 100", "vlan 100 and ip[8] = 64",
	"vlan and ether src 02:00:0a:00:00:01", "vlan (100) and not ip", "vlan and net 10.0.0.0/8", "vlan and vlan and ip6 and tcp", "vlan 0xc8 and ether proto 0x800",
	"vlan and tcp[13] & 2 != 0", "not (vlan 100 and tcp)", "vlan && !ip",
	"less 60", "greater 100", "len > 100", "len <= 60", "length = 54", "len != 54 and ip", "100 < len", "less 100 and greater 60", "not less 0x40", "(len - 14) > 100", "len >> 1 = 27",
	"tcp[tcpflags] & tcp-syn != 0", "tcp[tcpflags] & (tcp-syn|tcp-ack) == tcp-syn|tcp-ack", "tcp[13] = 2", "ip[8] < 3", "ip[8] >= 64", "icmp[icmptype] == icmp-echo", "icmp[icmptype] = icmp-unreach and icmp[icmpcode] = 4",
	"icmp[0] != 8", "not icmp[0] = 8", "icmp6[icmp6type] = icmp6-neighborsolicit", "icmp6[0] == 128", "ip6[6] = 17", "ip6[40] = 128", "ip[0] & 0xf > 5", "ip[0] & 0xf != 5", "ip[6:2] & 0x1fff != 0",
	"ip[6:2] & 0x1fff = 0 and udp", "ip[2:2] > 576", "ip[12:4] = 0x0a000001", "ether[0] & 1 = 1", "ether[12:2] = 0x800", "arp[6:2] = 1", "arp[7] = 2", "rarp[6:2] == 1", "udp[4:2] > 100", "udp[0:2] = 53", "sctp[2:2] = 9000",
	"tcp[((tcp[12:1] & 0xf0) >> 2):4] = 0x47455420", "tcp port 80 and (((ip[2:2] - ((ip[0]&0xf)<<2)) - ((tcp[12]&0xf0)>>2)) != 0)", "ip[2:2] = len - 14", "tcp[0:2] = tcp[2:2]", "tcp[0:2] > tcp[2:2] and ip",
	"ip[ip[0] & 0xf] = 1", "ip[20 + 2] = 0", "ether[len - 1] = 0", "udp[8] + udp[9] = 7", "ip[8] * 2 = 128", "ip[8] / 2 = 32", "ip[8] % 10 = 4", "ip[8] ^ 64 = 0", "ip[9] | 1 = 7", "-1 = 0xffffffff",
	"ip[8] - 65 > 5", "ip[100] = 0xbc", "not ip[100] = 0xbc", "tcp[100] = 1 or udp", "igmp[0] = 0", "pim[0] = 0", "vrrp[1] = 7", "ip[1000:4] > 0 or arp", "(ip[0] & 0xf) * 4 = 24", "ip[8] << 2 = 256",
	"tcp or udp and port 53", "tcp or (udp and port 53)", "not tcp and not udp", "not (tcp or udp)", "not not ip", "!ip&&!arp", "ip and (tcp or udp) and not port 53", "tcp && (port 22 || port 443)",
	"host 10.0.0.1 and (port 80) and 10.0.0.2", "udp or host 10.0.0.1 and not arp or icmp", "(((ip)))", "port 80 or 53 or 443 or 22 and tcp", "ip and tcp[13] & 16 != 0 or ip6", "(port 80 or 443) and host 10.0.0.2",
}

// tcpdump gives which packets of a file tcpdump lets pass.
func tcpdump(t testing.TB, file []byte, options ...string) (passed map[int]bool, err error) {
	t.Helper()
	command := exec.CommandContext(t.Context(), "tcpdump", append([]string{"-Z", "root", "-r", "-", "-w", "-"}, options...)...)
	var diagnostics bytes.Buffer
	command.Stdin, command.Stderr = bytes.NewReader(file), &diagnostics
	output, err := command.Output()
	if err != nil {
		return nil, fmt.Errorf("%w: %s", err, &diagnostics)
	}
	reader, err := pcapgo.NewReader(bytes.NewReader(output))
	check.Must(t, err)
	passed = map[int]bool{}
	for {
		_, info, err := reader.ReadPacketData()
		if errors.Is(err, io.EOF) {
			return passed, nil
		}
		check.Must(t, err)
		passed[int(info.Timestamp.Unix())] = true
	}
}

// captureFile gives packets as a file, in which each has its number as its time.
func captureFile(t testing.TB, packets [][]byte, link layers.LinkType) []byte {
	t.Helper()
	var file bytes.Buffer
	writer := pcapgo.NewWriter(&file)
	check.Must(t, writer.WriteFileHeader(1<<18, link))
	for i, packet := range packets {
		check.Must(t, writer.WritePacket(gopacket.CaptureInfo{Timestamp: time.Unix(int64(i), 0), CaptureLength: len(packet), Length: len(packet)}, packet))
	}
	return file.Bytes()
}

// passes gives which packets of a file our program lets pass.
func passes(t testing.TB, packets [][]byte, link int, filter string) map[int]bool {
	t.Helper()
	program, err := compile(filter, link, inline)
	check.Must(t, err)
	vm, err := bpf.NewVM(program)
	check.Must(t, err)
	passed := map[int]bool{}
	for i, packet := range packets {
		kept, err := vm.Run(packet)
		check.Must(t, err)
		if kept > 0 {
			passed[i] = true
		}
	}
	return passed
}

// file is a corpus as tcpdump reads it.
type file struct {
	link    int
	packets [][]byte
	whole   int // how many of them, from the first on, are not cut
	all     []byte
	intact  []byte
}

func newFile(t testing.TB, link int, packets [][]byte, whole int) *file {
	t.Helper()
	return &file{
		link: link, packets: packets, whole: whole,
		all: captureFile(t, packets, layers.LinkType(link)), intact: captureFile(t, packets[:whole], layers.LinkType(link)),
	}
}

// agrees compares what passes. What tcpdump's optimiser makes of a filter tells a cut packet that lacks what is
// not needed from one that has it otherwise than the filter as it is written: so those are for the latter alone.
func (f *file) agrees(t *testing.T, filter string) {
	t.Helper()
	passed := passes(t, f.packets, f.link, filter)
	f.compare(t, filter, passed, f.all, "-O", "--", filter)
	for i := range f.packets[f.whole:] {
		delete(passed, f.whole+i)
	}
	f.compare(t, filter, passed, f.intact, "--", filter)
}

func (f *file) compare(t *testing.T, filter string, passed map[int]bool, content []byte, options ...string) {
	t.Helper()
	want, err := tcpdump(t, content, options...)
	switch {
	case err != nil && strings.Contains(err.Error(), "expression rejects all packets"):
		want = map[int]bool{}
	case err != nil:
		t.Errorf("%s: %v", filter, err)
		return
	}
	check.Equal(t, fmt.Sprintf("the packets that pass %q", filter), passed, want)
}

// TestNetnsAgreesWithTcpdump needs no namespace, but tcpdump, which make installs for those tests.
func TestNetnsAgreesWithTcpdump(t *testing.T) {
	packets, whole := corpus(t)
	if whole < 150 {
		t.Fatalf("%d packets in the corpus", whole)
	}
	file := newFile(t, Ethernet, packets, whole)
	for _, filter := range agreed {
		file.agrees(t, filter)
	}
}

// ownWords are filters that tcpdump does not take as they are, each with the same in tcpdump's words. And
// tcpdump forgets the second protocol of a sum.
var ownWords = map[string]string{
	"10.0.0.1":                            "host 10.0.0.1",
	"tcp and not 10.0.0.1 or 2001:db8::1": "tcp and not host 10.0.0.1 or host 2001:db8::1",
	"10.0.0.1 and 10.0.0.2":               "host 10.0.0.1 and host 10.0.0.2",
	"net 10/8":                            "net 10.0.0.0/8",
	"port 80 or (443 or host 10.0.0.1)":   "port 80 or port 443 or host 10.0.0.1",
	"(host 10.0.0.1) and 10.0.0.2":        "host 10.0.0.1 and host 10.0.0.2",
	"ip[8] + icmp[0] < 300":               "icmp[0] + ip[8] < 300",
}

func TestNetnsOwnWordsAgreeWithTcpdump(t *testing.T) {
	packets, whole := corpus(t)
	file := newFile(t, Ethernet, packets, whole)
	for ours, theirs := range ownWords {
		file.compare(t, theirs, passes(t, file.packets, Ethernet, ours), file.all, "-O", "--", theirs)
	}
}

// TestNetnsRandomFiltersAgreeWithTcpdump joins filters of the list, so that each is met in all places.
func TestNetnsRandomFiltersAgreeWithTcpdump(t *testing.T) {
	packets, whole := corpus(t)
	file := newFile(t, Ethernet, packets, whole)
	random := rand.New(rand.NewPCG(1, 2))
	for compared := 0; compared < 80; {
		filter := randomFilter(random, 3)
		if _, err := Compile(filter, Ethernet); err != nil {
			check.Error(t, err, "behind a tag that not every packet has")
			continue
		}
		file.agrees(t, filter)
		compared++
	}
}

func randomFilter(random *rand.Rand, depth int) string {
	if depth == 0 || random.IntN(4) == 0 {
		return "(" + agreed[1+random.IntN(len(agreed)-1)] + ")"
	}
	left, right := randomFilter(random, depth-1), randomFilter(random, depth-1)
	switch random.IntN(5) {
	case 0:
		return "not (" + left + " or " + right + ")"
	case 1:
		return left + " && " + right
	case 2:
		return "(" + left + " or not " + right + ")"
	}
	return left + " or " + right
}

// rawAgreed are filters of packets that begin with an IP header.
var rawAgreed = []string{
	"", "ip", "ip6", "tcp", "udp", "icmp or icmp6", "host 10.0.0.1", "host 2001:db8::1 or 10.0.0.2", "src net 10.0.0.0/8", "port 80", "tcp port 80 or 443", "portrange 8000-8010",
	"ip proto 17", "proto 47", "ip multicast", "ip6 multicast", "ip[8] < 3", "tcp[tcpflags] & tcp-syn != 0", "icmp6[0] = 128", "len > 100", "not ip", "ip6 proto 44",
}

func TestNetnsAgreesWithTcpdumpWithoutEthernet(t *testing.T) {
	var packets, cut [][]byte
	for _, body := range append(bodies4(), bodies6()...) {
		packet := serialized(t, body)
		packets, cut = append(packets, packet), append(cut, packet[:24])
	}
	file := newFile(t, RawIP, append(packets, cut...), len(packets))
	for _, filter := range rawAgreed {
		file.agrees(t, filter)
	}
}
