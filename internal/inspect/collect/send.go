//go:build linux

package collect

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"net/netip"
	"time"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// tcpWindow is that of a SYN, as Linux sends it.
const tcpWindow = 64240

// maxShots is how many packets one question sends at most.
const maxShots = 16

// Send sends packets of a namespace, each by itself. It must run on a thread of the node's namespaces.
func Send(options Options, send inspect.Send) ([]inspect.Sent, error) {
	shooter, err := newShooter(send)
	if err != nil {
		return nil, err
	}
	c := &collector{options: options, snapshot: inspect.New()}
	defer c.close()
	if err := c.open(); err != nil {
		return nil, err
	}
	var sent []inspect.Sent
	err = c.within(send.Namespace, func() (err error) {
		sent, err = shooter.shoot()
		return err
	})
	return sent, err
}

// shooter sends the packets of one Send.
type shooter struct {
	inspect.Send
	from, to netip.Addr
}

func newShooter(send inspect.Send) (*shooter, error) {
	s := &shooter{Send: send}
	var err error
	if s.to, err = netip.ParseAddr(send.To); err != nil {
		return nil, fmt.Errorf("send to %q: it is no address", send.To)
	}
	if s.from, err = netip.ParseAddr(send.From); err != nil || s.from.Is4() != s.to.Is4() {
		return nil, fmt.Errorf("send from %q to %s: it is no address of the same family", send.From, send.To)
	}
	if len(send.Shots) > maxShots {
		return nil, fmt.Errorf("%d packets are too many to send at once: %d may be", len(send.Shots), maxShots)
	}
	if s.header() == 0 {
		return nil, fmt.Errorf("send %q: it is none of icmp, udp and tcp", send.Protocol)
	}
	for _, shot := range send.Shots {
		if shot.Size < s.overhead() || shot.Size > 1<<16-1 {
			return nil, fmt.Errorf("send %d bytes of %s: a packet has %d to 65535", shot.Size, send.Protocol, s.overhead())
		}
	}
	return s, nil
}

// header gives the bytes of the header above IP.
func (s *shooter) header() int {
	return map[string]int{"icmp": 8, "udp": 8, "tcp": 20}[s.Protocol]
}

// overhead gives the bytes of a packet without a payload.
func (s *shooter) overhead() int {
	if s.to.Is4() {
		return 20 + s.header()
	}
	return 40 + s.header()
}

// shoot sends from the thread's namespace.
func (s *shooter) shoot() ([]inspect.Sent, error) {
	fd, err := s.open()
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("to send packets takes the capability NET_RAW: %w", err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a socket to send %s: %w", s.Protocol, err)
	}
	defer func() { _ = unix.Close(fd) }()
	sent := make([]inspect.Sent, len(s.Shots))
	for i, shot := range s.Shots {
		packet, err := s.packet(shot)
		if err != nil {
			return nil, fmt.Errorf("make a packet of %s: %w", s.Protocol, err)
		}
		sent[i].Time = time.Now().UTC()
		err = unix.Sendto(fd, packet, unix.MSG_DONTWAIT, s.address(s.to))
		var refused unix.Errno
		if errors.As(err, &refused) {
			sent[i].Refused = unix.ErrnoName(refused)
		} else if err != nil {
			return nil, fmt.Errorf("send to %s: %w", s.To, err)
		}
	}
	return sent, nil
}

// open gives a raw socket that is bound as asked, and that lets no packet be cut.
func (s *shooter) open() (int, error) {
	family, protocol := unix.AF_INET, map[string]int{"icmp": unix.IPPROTO_ICMP, "udp": unix.IPPROTO_UDP, "tcp": unix.IPPROTO_TCP}[s.Protocol]
	if s.to.Is6() {
		family = unix.AF_INET6
		if s.Protocol == "icmp" {
			protocol = unix.IPPROTO_ICMPV6
		}
	}
	fd, err := unix.Socket(family, unix.SOCK_RAW|unix.SOCK_CLOEXEC, protocol)
	if err == nil {
		if err = s.prepare(fd); err != nil {
			_ = unix.Close(fd)
		}
	}
	return fd, err
}

func (s *shooter) prepare(fd int) error {
	// It is not the receiver: what comes in is only seen by whoever watches.
	_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, 0)
	discover := [3]int{unix.IPPROTO_IP, unix.IP_MTU_DISCOVER, unix.IP_PMTUDISC_PROBE}
	if s.to.Is6() {
		discover = [3]int{unix.IPPROTO_IPV6, unix.IPV6_MTU_DISCOVER, unix.IPV6_PMTUDISC_PROBE}
	}
	if err := unix.SetsockoptInt(fd, discover[0], discover[1], discover[2]); err != nil {
		return fmt.Errorf("forbid fragments: %w", err)
	}
	if s.Output != 0 {
		if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_BINDTOIFINDEX, s.Output); err != nil {
			return fmt.Errorf("bind to the interface of index %d: %w", s.Output, err)
		}
	}
	if err := unix.Bind(fd, s.address(s.from)); err != nil {
		return fmt.Errorf("bind to %s: %w", s.from, err)
	}
	return nil
}

func (s *shooter) address(a netip.Addr) unix.Sockaddr {
	if a.Is4() {
		return &unix.SockaddrInet4{Addr: a.As4()}
	}
	return &unix.SockaddrInet6{Addr: a.As16(), ZoneId: uint32(s.Output)} //nolint:gosec // the index of an interface
}

// packet gives a packet from the header above IP on.
func (s *shooter) packet(shot inspect.Shot) ([]byte, error) {
	payload := bytes.Repeat(s.Mark[:], 1+shot.Size/len(s.Mark))[:shot.Size-s.overhead()]
	if s.Protocol == "tcp" {
		payload = nil
	}
	buffer := gopacket.NewSerializeBuffer()
	err := gopacket.SerializeLayers(buffer, gopacket.SerializeOptions{FixLengths: true, ComputeChecksums: true}, append(s.headers(shot), gopacket.Payload(payload))...)
	return buffer.Bytes(), err
}

// headers gives what is above IP.
func (s *shooter) headers(shot inspect.Shot) []gopacket.SerializableLayer {
	id, source := binary.BigEndian.Uint16(s.Mark[:]), s.SourcePort()
	switch s.Protocol {
	case "udp":
		udp := &layers.UDP{SrcPort: layers.UDPPort(source), DstPort: layers.UDPPort(s.Port)}
		_ = udp.SetNetworkLayerForChecksum(s.network(layers.IPProtocolUDP))
		return []gopacket.SerializableLayer{udp}
	case "tcp":
		tcp := &layers.TCP{SrcPort: layers.TCPPort(source), DstPort: layers.TCPPort(s.Port), Seq: binary.BigEndian.Uint32(s.Mark[:]), SYN: true, Window: tcpWindow}
		_ = tcp.SetNetworkLayerForChecksum(s.network(layers.IPProtocolTCP))
		return []gopacket.SerializableLayer{tcp}
	}
	if s.to.Is4() {
		return []gopacket.SerializableLayer{&layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(layers.ICMPv4TypeEchoRequest, 0), Id: id, Seq: shot.Number}}
	}
	icmp := &layers.ICMPv6{TypeCode: layers.CreateICMPv6TypeCode(layers.ICMPv6TypeEchoRequest, 0)}
	_ = icmp.SetNetworkLayerForChecksum(s.network(layers.IPProtocolICMPv6))
	return []gopacket.SerializableLayer{icmp, &layers.ICMPv6Echo{Identifier: id, SeqNumber: shot.Number}}
}

// network gives the header that a checksum covers. The kernel makes the one that is sent.
func (s *shooter) network(protocol layers.IPProtocol) gopacket.NetworkLayer {
	if s.to.Is4() {
		return &layers.IPv4{SrcIP: s.from.AsSlice(), DstIP: s.to.AsSlice(), Protocol: protocol}
	}
	return &layers.IPv6{SrcIP: s.from.AsSlice(), DstIP: s.to.AsSlice(), NextHeader: protocol}
}
