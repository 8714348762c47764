package pcapng

import (
	"bufio"
	"io"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// command is one of Wireshark's, which finds no settings and no hosts of the machine's user.
func command(t *testing.T, name string, args ...string) *exec.Cmd {
	t.Helper()
	c := exec.CommandContext(t.Context(), name, args...)
	home := t.TempDir()
	c.Env = []string{"PATH=" + os.Getenv("PATH"), "HOME=" + home, "XDG_CONFIG_HOME=" + home, "TZ=UTC", "LC_ALL=C.UTF-8"}
	return c
}

// rows gives what it says, a line each.
func rows(t *testing.T, name string, args ...string) []string {
	t.Helper()
	out, err := command(t, name, args...).Output()
	check.Must(t, err)
	return strings.Split(strings.TrimSpace(string(out)), "\n")
}

// datagram gives a packet of UDP.
func datagram(t *testing.T, from, to string, size int) inspect.Packet {
	t.Helper()
	ether := &layers.Ethernet{SrcMAC: []byte{2, 0, 0, 0, 0, 1}, DstMAC: []byte{2, 0, 0, 0, 0, 2}, EthernetType: layers.EthernetTypeIPv4}
	a, b := netip.MustParseAddr(from), netip.MustParseAddr(to)
	udp := &layers.UDP{SrcPort: 5000, DstPort: 6000}
	var ip gopacket.SerializableLayer
	if a.Is4() {
		v4 := &layers.IPv4{Version: 4, TTL: 64, Protocol: layers.IPProtocolUDP, SrcIP: a.AsSlice(), DstIP: b.AsSlice()}
		check.Must(t, udp.SetNetworkLayerForChecksum(v4))
		ip = v4
	} else {
		ether.EthernetType = layers.EthernetTypeIPv6
		v6 := &layers.IPv6{Version: 6, HopLimit: 64, NextHeader: layers.IPProtocolUDP, SrcIP: a.AsSlice(), DstIP: b.AsSlice()}
		check.Must(t, udp.SetNetworkLayerForChecksum(v6))
		ip = v6
	}
	buffer := gopacket.NewSerializeBuffer()
	check.Must(t, gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, ether, ip, udp, gopacket.Payload(make([]byte, size))))
	return inspect.Packet{Time: when, Length: len(buffer.Bytes()), Data: buffer.Bytes(), Link: 1}
}

// capturedFile writes a file with all that a capture has.
func capturedFile(t *testing.T) string {
	t.Helper()
	path := filepath.Join(t.TempDir(), "capture.pcapng")
	f, err := os.Create(path)
	check.Must(t, err)
	defer func() { check.Must(t, f.Close()) }()
	w := New(f, Section{Application: "kubectl-plexus", Comment: "of shop/web"})
	check.Must(t, w.Names(name("10.1.0.5", "shop/web net0"), name("fd00::5", "shop/web net0 6")))
	pod := add(t, w, Interface{Name: "net0", Description: "shop/web, network shop/storage", Comment: "the pod", Filter: "udp port 6000", Link: 1, Keep: 100})
	there := datagram(t, "10.1.0.5", "10.1.0.6", 20)
	there.Out = true
	check.Must(t, w.Packet(pod, there, "hop 1 of 2", "marked"))
	check.Must(t, w.Names(name("10.1.0.6", "shop/db net1")))
	port := add(t, w, Interface{Name: "veth1", Description: "port of br0, node n1", Link: 1})
	big := datagram(t, "10.1.0.6", "10.1.0.5", 60000)
	big.Data = append(big.Data, make([]byte, 300000)...)
	check.Must(t, w.Packet(port, big))
	check.Must(t, w.Packet(port, datagram(t, "fd00::5", "fd00::6", 20)))
	check.Must(t, w.Statistics(pod, Statistics{Begin: when, End: when, Count: inspect.Count{Seen: 3, Lost: 1}}))
	check.Must(t, w.Flush())
	return path
}

func TestNetnsTsharkReads(t *testing.T) {
	path := capturedFile(t)
	fields := []string{"-r", path, "-N", "n", "-T", "fields", "-E", "separator=|", "-E", "occurrence=a"}
	for _, field := range []string{
		"frame.interface_name", "frame.interface_description", "frame.comment", "frame.packet_flags_direction",
		"frame.time_epoch", "ip.src_host", "ip.dst_host", "ipv6.src_host",
	} {
		fields = append(fields, "-e", field)
	}
	const epoch = "1795930867.123456789"
	check.Equal(t, "packets", rows(t, "tshark", fields...), []string{
		"net0|shop/web, network shop/storage|hop 1 of 2,marked|0x00000002|" + epoch + "|shop/web net0|10.1.0.6|",
		"veth1|port of br0, node n1||0x00000001|" + epoch + "|shop/db net1|shop/web net0|",
		"veth1|port of br0, node n1||0x00000001|" + epoch + "|||shop/web net0 6",
	})
	check.Contains(t, "capinfos", strings.Join(rows(t, "capinfos", path), "\n"),
		"Capture application: kubectl-plexus", "Capture comment:     of shop/web", "Number of interfaces in file: 2",
		"Name = net0", "Filter string = udp port 6000", "Comment = the pod", "Number of stat entries = 1", "nanoseconds (9)",
		"Number of resolved IPv4 addresses in file: 2", "Number of resolved IPv6 addresses in file: 1")
}

// Whoever looks at a pipe sees each packet when it is flushed, with interfaces and names that came later.
func TestNetnsTsharkReadsPipe(t *testing.T) {
	c := command(t, "tshark", "-i", "-", "-l", "-N", "n", "-T", "fields", "-E", "separator=|", "-e", "frame.interface_name", "-e", "ip.src_host")
	in, err := c.StdinPipe()
	check.Must(t, err)
	out, err := c.StdoutPipe()
	check.Must(t, err)
	check.Must(t, c.Start())
	lines := bufio.NewReader(out)
	w := New(in, Section{Application: "kubectl-plexus"})
	for _, step := range []struct{ name, address, pod string }{{"net0", "10.1.0.5", "shop/web"}, {"veth1", "10.1.0.6", "shop/db"}} {
		number := add(t, w, Interface{Name: step.name, Link: 1})
		check.Must(t, w.Names(name(step.address, step.pod)))
		check.Must(t, w.Packet(number, datagram(t, step.address, "10.1.0.7", 20)))
		check.Must(t, w.Flush())
		line, err := lines.ReadString('\n')
		check.Must(t, err)
		check.Equal(t, "line", line, step.name+"|"+step.pod+"\n")
	}
	check.Must(t, in.Close())
	_, err = io.Copy(io.Discard, lines)
	check.Must(t, err)
	check.Must(t, c.Wait())
}
