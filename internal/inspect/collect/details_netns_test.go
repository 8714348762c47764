//go:build linux

package collect

import (
	"bytes"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// What a path needs of interfaces is in the snapshot.
func TestNetnsDetails(t *testing.T) {
	w := newWorld(t)
	w.Run("ip", "link", "add", "vx1", "type", "vxlan", "external", "dstport", "4790")
	w.Run("sysctl", "-qw", "net.ipv4.conf.cbr0.arp_ignore=1", "net.ipv4.conf.cbr0.arp_announce=2", "net.ipv4.conf.cbr0.rp_filter=2",
		"net.ipv4.conf.cbr0.proxy_arp=1", "net.ipv6.conf.up0.disable_ipv6=1", "net.ipv6.conf.cbr0.proxy_ndp=1", "net.ipv4.conf.all.rp_filter=2",
		"net.ipv4.conf.all.arp_ignore=3", "net.ipv6.conf.all.forwarding=1")
	s := w.snapshot()
	host := &s.Namespaces[0]
	check.Equal(t, "a VTEP of metadata", host.LinkNamed("vx1").VXLAN.External, true)
	check.Equal(t, "a bridge is no port", host.LinkNamed("cbr0").Port == nil, true)
	for name, value := range host.Sysctls {
		path := "/proc/sys/" + strings.NewReplacer(".", "/", "/", ".").Replace(name)
		w.Do(func() error {
			data, err := os.ReadFile(path)
			check.Equal(t, name, value, strings.TrimSpace(string(data)))
			return err
		})
	}
	for name, want := range map[string]string{
		"net.ipv4.conf.cbr0.arp_ignore": "1", "net.ipv4.conf.cbr0.arp_announce": "2", "net.ipv4.conf.cbr0.rp_filter": "2",
		"net.ipv4.conf.cbr0.proxy_arp": "1", "net.ipv6.conf.up0.disable_ipv6": "1", "net.ipv6.conf.cbr0.proxy_ndp": "1",
		"net.ipv4.conf.all.rp_filter": "2", "net.ipv4.conf.all.arp_ignore": "3", "net.ipv4.ip_forward": "1", "net.ipv6.conf.all.forwarding": "1",
	} {
		check.Equal(t, name, host.Sysctls[name], want)
	}
}

// A program at the end of a packet socket or of a tap is named.
func TestNetnsPrograms(t *testing.T) {
	w := newWorld(t)
	self, err := os.ReadFile("/proc/self/comm")
	check.Must(t, err)
	program := strings.TrimSpace(string(self))
	w.Do(func() error {
		index := w.snapshotHere().Namespaces[0].LinkNamed("up0").Index
		socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
		check.Must(t, err)
		t.Cleanup(func() { _ = unix.Close(socket) })
		check.Must(t, unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: 0x0300 /* all, in the network's order */, Ifindex: index}))
		tap, err := os.OpenFile(tunDevice, os.O_RDWR, 0)
		check.Must(t, err)
		t.Cleanup(func() { _ = tap.Close() })
		request, err := unix.NewIfreq("tap9")
		check.Must(t, err)
		request.SetUint16(unix.IFF_TAP | unix.IFF_NO_PI)
		check.Must(t, unix.IoctlIfreq(int(tap.Fd()), unix.TUNSETIFF, request))

		s := w.snapshotHere()
		host := &s.Namespaces[0]
		// The process of a test is in another namespace than this thread, so it was not searched.
		files := openFiles{sockets: map[string][]*string{}, tuns: map[string]*string{}, namespaces: map[string]bool{}}
		files.add(host)
		files.search("/proc/self", fmt.Sprintf("net:[%d]", host.Inode))
		check.Equal(t, "tap", host.LinkNamed("tap9").Tun, &inspect.Tun{Layer: 2, Program: program})
		check.Equal(t, "a veth", host.LinkNamed("up0").Tun == nil, true)
		found := slices.IndexFunc(host.Packets, func(p inspect.PacketSocket) bool { return p.Index == index })
		check.Equal(t, "a packet socket", found >= 0, true)
		check.Equal(t, "its protocol", host.Packets[found].Protocol, uint16(unix.ETH_P_ALL))
		check.Equal(t, "its program", host.Packets[found].Program, program)
		return nil
	})
}

// tunnelMessage makes the attributes of a tunnel as the kernel does.
func tunnelMessage(attrs ...*nl.RtAttr) map[uint16][]byte {
	var data bytes.Buffer
	for _, attr := range attrs {
		data.Write(attr.Serialize())
	}
	return attributes(data.Bytes())
}

func TestTunnel(t *testing.T) {
	key := func(n uint32) *uint32 { return &n }
	v6 := append([]byte{0x20, 1, 0xd, 0xb8}, make([]byte, 12)...)
	for name, test := range map[string]struct {
		kind string
		data map[uint16][]byte
		want *inspect.Tunnel
	}{
		"no tunnel": {"veth", nil, nil},
		"wireguard": {"wireguard", nil, &inspect.Tunnel{}},
		"ipip of a lower interface": {"ipip", tunnelMessage(
			nl.NewRtAttr(nl.IFLA_IPTUN_LINK, nl.Uint32Attr(3)), nl.NewRtAttr(nl.IFLA_IPTUN_LOCAL, []byte{192, 0, 2, 1}), nl.NewRtAttr(nl.IFLA_IPTUN_REMOTE, []byte{0, 0, 0, 0}),
		), &inspect.Tunnel{Local: "192.0.2.1", Lower: 3}},
		"ip6tnl of metadata": {"ip6tnl", tunnelMessage(nl.NewRtAttr(nl.IFLA_IPTUN_COLLECT_METADATA, nil)), &inspect.Tunnel{External: true}},
		"gre with a key": {"gre", tunnelMessage(
			nl.NewRtAttr(nl.IFLA_GRE_OFLAGS, []byte{0x20, 0}), nl.NewRtAttr(nl.IFLA_GRE_OKEY, []byte{0, 0, 1, 7}), nl.NewRtAttr(nl.IFLA_GRE_IKEY, []byte{0, 0, 0, 9}),
		), &inspect.Tunnel{Key: key(263)}},
		"ip6gretap without a key": {"ip6gretap", tunnelMessage(
			nl.NewRtAttr(nl.IFLA_GRE_OFLAGS, []byte{0, 0}), nl.NewRtAttr(nl.IFLA_GRE_OKEY, []byte{0, 0, 0, 0}), nl.NewRtAttr(nl.IFLA_GRE_LOCAL, v6),
		), &inspect.Tunnel{Local: "2001:db8::"}},
		"geneve": {"geneve", tunnelMessage(
			nl.NewRtAttr(nl.IFLA_GENEVE_ID, nl.Uint32Attr(5)), nl.NewRtAttr(nl.IFLA_GENEVE_REMOTE6, v6), nl.NewRtAttr(nl.IFLA_GENEVE_PORT, []byte{0x17, 0xc1}),
		), &inspect.Tunnel{Remote: "2001:db8::", Key: key(5), Port: 6081}},
		"what is too short": {"geneve", tunnelMessage(
			nl.NewRtAttr(nl.IFLA_GENEVE_ID, []byte{1}), nl.NewRtAttr(nl.IFLA_GENEVE_REMOTE, []byte{1}), nl.NewRtAttr(nl.IFLA_GENEVE_PORT, []byte{1}),
		), &inspect.Tunnel{}},
	} {
		t.Run(name, func(t *testing.T) { check.Equal(t, "tunnel", tunnel(test.kind, test.data), test.want) })
	}
}

// The VLANs of a bridge are the node's own, those of a port are the port's.
func TestPorts(t *testing.T) {
	vlans := nl.NewRtAttr(unix.IFLA_AF_SPEC, nil)
	vlans.AddRtAttr(nl.IFLA_BRIDGE_VLAN_INFO, []byte{nl.BRIDGE_VLAN_INFO_PVID | nl.BRIDGE_VLAN_INFO_UNTAGGED, 0, 1, 0})
	vlans.AddRtAttr(nl.IFLA_BRIDGE_VLAN_INFO, []byte{0, 0, 9, 0})
	r := &reader{ns: &inspect.Namespace{Links: []inspect.Link{{Index: 2, Bridge: &inspect.Bridge{}}, {Index: 3}}}}
	for index := range int32(5) {
		message := nl.NewIfInfomsg(unix.AF_BRIDGE)
		message.Index = index
		r.describePort(append(message.Serialize(), vlans.Serialize()...))
	}
	want := []inspect.PortVLAN{{ID: 1, PVID: true, Untagged: true}, {ID: 9}}
	check.Equal(t, "a bridge", r.ns.Links[0], inspect.Link{Index: 2, Bridge: &inspect.Bridge{VLANs: want}})
	check.Equal(t, "a port", r.ns.Links[1], inspect.Link{Index: 3, Port: &inspect.Port{VLANs: want}})
}
