package kernel

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"slices"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin/vf"
	"github.com/plexus-cni/plexus/types"
)

// Announce informs the neighbours which MAC the addresses have now: switches and caches
// may still know that of the pod that had the address, or the VF, before.
func (Links) Announce(_ context.Context, ns string, link *vf.Link, result *current.Result) error {
	mac, err := net.ParseMAC(link.MAC)
	if err != nil || len(mac) != 6 || len(result.IPs) == 0 {
		return nil //nolint:nilerr // there is nothing to announce, or no Ethernet to do it on
	}
	tentative, err := tentativeAddresses(ns, link)
	if err != nil {
		return err
	}
	var frames [][]byte
	for _, ip := range result.IPs {
		if slices.ContainsFunc(tentative, ip.Address.IP.Equal) {
			continue
		}
		if v4 := ip.Address.IP.To4(); v4 != nil {
			frames = append(frames, arpFrame(mac, v4, arpRequest), arpFrame(mac, v4, arpReply))
		} else {
			frames = append(frames, advertisement(mac, ip.Address.IP.To16()))
		}
	}
	return onThreadIn(ns, func() error { return send(link.Index, frames) })
}

// tentativeAddresses gives the addresses whose duplicates the kernel still searches for. They are not
// announced: some NICs hand a VF what it sent to a group, and the kernel would take its own
// announcement for that of a duplicate.
func tentativeAddresses(ns string, link *vf.Link) ([]net.IP, error) {
	var tentative []net.IP
	err := overNetlink(ns, func(handle *netlink.Handle) error {
		addrs, err := addressesOf(handle, device(link.Index), netlink.FAMILY_V6)
		for _, addr := range addrs {
			if addr.Flags&unix.IFA_F_TENTATIVE != 0 {
				tentative = append(tentative, addr.IP)
			}
		}
		return err
	})
	return tentative, err
}

func send(index int, frames [][]byte) error {
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return fmt.Errorf("packet socket: %w", err)
	}
	defer func() { _ = unix.Close(socket) }()
	var faults []error
	for _, frame := range frames {
		to := &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(frame[12:]), Ifindex: index, Halen: 6, Addr: [8]byte(append(frame[:6:6], 0, 0))}
		if err := unix.Sendto(socket, frame, 0, to); err != nil {
			faults = append(faults, fmt.Errorf("send: %w", err))
		}
	}
	return types.Join(faults...)
}

var broadcast = net.HardwareAddr{0xff, 0xff, 0xff, 0xff, 0xff, 0xff}

const (
	arpRequest = 1
	arpReply   = 2
)

func ethernet(to, from net.HardwareAddr, protocol uint16) []byte {
	frame := append(append([]byte{}, to...), from...)
	return binary.BigEndian.AppendUint16(frame, protocol)
}

// arpFrame is a gratuitous ARP: sender and target are the same address (RFC 5944, 4.6).
func arpFrame(mac net.HardwareAddr, ip net.IP, operation uint16) []byte {
	frame := ethernet(broadcast, mac, unix.ETH_P_ARP)
	frame = append(frame, 0, 1, 8, 0, 6, 4) // Ethernet, IPv4
	frame = binary.BigEndian.AppendUint16(frame, operation)
	target := make(net.HardwareAddr, 6)
	if operation == arpReply {
		target = mac
	}
	for _, part := range [][]byte{mac, ip, target, ip} {
		frame = append(frame, part...)
	}
	return frame
}

// advertisement is an unsolicited neighbour advertisement to all nodes, which overrides
// what they know (RFC 4861, 7.2.6).
func advertisement(mac net.HardwareAddr, ip net.IP) []byte {
	allNodes := net.ParseIP("ff02::1")
	message := []byte{136, 0, 0, 0, 0x20, 0, 0, 0} // type, code, checksum; the override flag
	message = append(message, ip...)
	message = append(message, 2, 1) // option: target link-layer address, of 8 bytes
	message = append(message, mac...)
	binary.BigEndian.PutUint16(message[2:], checksum(ip, allNodes, message))

	frame := ethernet(net.HardwareAddr{0x33, 0x33, 0, 0, 0, 1}, mac, unix.ETH_P_IPV6)
	frame = append(frame, 0x60, 0, 0, 0)
	frame = binary.BigEndian.AppendUint16(frame, uint16(len(message))) //nolint:gosec // 32
	frame = append(frame, unix.IPPROTO_ICMPV6, 255)
	for _, part := range [][]byte{ip, allNodes, message} {
		frame = append(frame, part...)
	}
	return frame
}

// checksum is that of ICMPv6, over the pseudo header too (RFC 8200, 8.1).
func checksum(from, to net.IP, message []byte) uint16 {
	pseudo := append(append([]byte{}, from...), to...)
	pseudo = binary.BigEndian.AppendUint32(pseudo, uint32(len(message))) //nolint:gosec // 32
	pseudo = append(pseudo, 0, 0, 0, unix.IPPROTO_ICMPV6)
	pseudo = append(pseudo, message...)
	var sum uint32
	for i := 0; i+1 < len(pseudo); i += 2 {
		sum += uint32(binary.BigEndian.Uint16(pseudo[i:]))
	}
	for sum>>16 != 0 {
		sum = sum&0xffff + sum>>16
	}
	return ^uint16(sum) //nolint:gosec // folded to 16 bits
}
