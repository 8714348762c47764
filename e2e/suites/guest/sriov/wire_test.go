package sriov

import (
	"bytes"
	"encoding/binary"
	"errors"
	"net"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// listen gives a socket that has every frame that an interface hears, for a minute. The
// NIC takes tags off, and the kernel hands them over beside the frame.
func listen(t *testing.T, netdev string) int {
	t.Helper()
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, int(htons(unix.ETH_P_ALL)))
	check.Must(t, err)
	check.Must(t, unix.SetsockoptInt(socket, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1))
	netif, err := net.InterfaceByName(netdev)
	check.Must(t, err)
	index := netif.Index
	check.Must(t, unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: htons(unix.ETH_P_ALL), Ifindex: index}))
	check.Must(t, unix.SetsockoptPacketMreq(socket, unix.SOL_PACKET, unix.PACKET_ADD_MEMBERSHIP, &unix.PacketMreq{Ifindex: int32(index), Type: unix.PACKET_MR_PROMISC}))
	check.Must(t, unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 60}))
	return socket
}

// firstTagOn gives the VLAN of the first tagged frame that an interface hears, 0 if none
// comes.
func firstTagOn(t *testing.T, netdev string) <-chan int {
	t.Helper()
	socket := listen(t, netdev)
	heard := make(chan int, 1)
	go func() {
		defer func() { _ = unix.Close(socket) }()
		heard <- firstTag(socket)
	}()
	return heard
}

// firstOn tells whether an interface hears a frame with something in it.
func firstOn(t *testing.T, netdev string, something []byte) <-chan bool {
	t.Helper()
	socket := listen(t, netdev)
	heard := make(chan bool, 1)
	go func() {
		defer func() { _ = unix.Close(socket) }()
		frame := make([]byte, 2048)
		for {
			n, err := unix.Read(socket, frame)
			if errors.Is(err, unix.EINTR) {
				continue // by a signal of Go's scheduler: a socket with a limit of time is not tried again by itself
			}
			if err != nil || bytes.Contains(frame[:n], something) {
				heard <- err == nil
				return
			}
		}
	}()
	return heard
}

// firstTag waits for a tagged frame; 0 if none came.
func firstTag(socket int) int {
	frame, control := make([]byte, 2048), make([]byte, 256)
	for {
		n, controlled, _, _, err := unix.Recvmsg(socket, frame, control, 0)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return 0
		}
		if n > 18 && binary.BigEndian.Uint16(frame[12:]) == unix.ETH_P_8021Q {
			return int(binary.BigEndian.Uint16(frame[14:])) & 0xfff
		}
		messages, _ := unix.ParseSocketControlMessage(control[:controlled])
		for _, m := range messages {
			// struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid.
			if m.Header.Type == unix.PACKET_AUXDATA && len(m.Data) >= 20 && binary.NativeEndian.Uint32(m.Data)&unix.TP_STATUS_VLAN_VALID != 0 {
				return int(binary.NativeEndian.Uint16(m.Data[16:])) & 0xfff
			}
		}
	}
}

func htons(v uint16) uint16 { return binary.NativeEndian.Uint16(binary.BigEndian.AppendUint16(nil, v)) }
