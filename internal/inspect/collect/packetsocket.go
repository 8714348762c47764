//go:build linux

package collect

import (
	"encoding/binary"
	"errors"
	"fmt"
	"math/bits"
	"os"
	"syscall"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Sizes of a packet socket, in bytes.
const (
	// defaultBuffer is the kernel's for each point, and allBuffers that of all. It counts what its own
	// structures take: for a packet of a hundred bytes some eight hundred.
	defaultBuffer = 16 << 20
	allBuffers    = 128 << 20
	maxBuffer     = 64 << 20
	// maxPacket is the largest packet that an interface hands over whole, with its link-layer header.
	maxPacket = 1 << 18
	vlanTag   = 4
	ethernet  = 14
)

// errNoRaw is the error for a process that may not open a packet socket.
var errNoRaw = errors.New("to watch packets takes the capability NET_RAW")

// packetSocket gives the packets of one interface, or of all of its namespace.
//
// It is read with recvmsg, not through a ring: that says of each packet its direction and the kind of
// its link-layer header, and the filter is there before the first packet is.
type packetSocket struct {
	file    *os.File
	raw     syscall.RawConn
	point   inspect.Ref
	left    bool // its interface is gone, and that was said
	data    []byte
	control []byte
	counted inspect.Count
}

// newPacketSocket opens one in the thread's namespace.
func newPacketSocket(point inspect.Ref, watch *inspect.Watch) (*packetSocket, error) {
	fd, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC|unix.SOCK_NONBLOCK, 0) // of no protocol: it is deaf
	if errors.Is(err, unix.EPERM) {
		return nil, fmt.Errorf("%w: %w", errNoRaw, err)
	}
	if err != nil {
		return nil, fmt.Errorf("open a packet socket: %w", err)
	}
	s := &packetSocket{file: os.NewFile(uintptr(fd), "packets"), point: point, data: make([]byte, keep(watch)), control: make([]byte, 256)}
	if s.raw, err = s.file.SyscallConn(); err == nil {
		err = s.prepare(fd, watch)
	}
	if err == nil {
		// From here on it hears.
		err = unix.Bind(fd, &unix.SockaddrLinklayer{Protocol: networkOrder(unix.ETH_P_ALL), Ifindex: point.Index})
	}
	if err != nil {
		_ = s.file.Close()
		return nil, fmt.Errorf("watch the interface of index %d: %w", point.Index, err)
	}
	return s, nil
}

func keep(watch *inspect.Watch) int {
	if watch.Keep <= 0 || watch.Keep > maxPacket {
		return maxPacket
	}
	return watch.Keep
}

// prepare sets the options of the socket.
func (s *packetSocket) prepare(fd int, watch *inspect.Watch) error {
	if err := attachFilter(fd, watch.Filter); err != nil {
		return err
	}
	size := min(defaultBuffer, allBuffers/len(watch.Points))
	if watch.Buffer > 0 {
		size = min(watch.Buffer, maxBuffer)
	}
	if unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, size) != nil { // takes NET_ADMIN
		_ = unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_RCVBUF, size) // as much as the node allows
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_PACKET, unix.PACKET_AUXDATA, 1); err != nil {
		return fmt.Errorf("ask for VLAN tags: %w", err)
	}
	if err := unix.SetsockoptInt(fd, unix.SOL_SOCKET, unix.SO_TIMESTAMPNS, 1); err != nil {
		return fmt.Errorf("ask for times: %w", err)
	}
	return nil
}

// attachFilter has the kernel run a program on each packet.
func attachFilter(fd int, program []inspect.Instruction) error {
	if len(program) == 0 {
		return nil
	}
	if len(program) > unix.BPF_MAXINSNS {
		return fmt.Errorf("the filter has %d instructions, of at most %d", len(program), unix.BPF_MAXINSNS)
	}
	code := make([]unix.SockFilter, len(program))
	for i, instruction := range program {
		code[i] = unix.SockFilter{Code: instruction.Op, Jt: instruction.Jt, Jf: instruction.Jf, K: instruction.K}
	}
	if err := unix.SetsockoptSockFprog(fd, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(code)), Filter: &code[0]}); err != nil { //nolint:gosec // it is at most BPF_MAXINSNS
		return fmt.Errorf("the kernel refuses the filter: %w", err)
	}
	return nil
}

// next gives the next packet. It waits for one, until the socket's deadline.
func (s *packetSocket) next() (p *inspect.Packet, err error) {
	waited := s.raw.Read(func(fd uintptr) bool {
		p, err = s.receive(int(fd)) //nolint:gosec // it is a file's number
		return !errors.Is(err, unix.EAGAIN)
	})
	if waited != nil {
		return nil, waited
	}
	return p, err
}

// rest gives a packet that is there already, nil if none is.
func (s *packetSocket) rest() (p *inspect.Packet, err error) {
	closed := s.raw.Control(func(fd uintptr) { p, err = s.receive(int(fd)) }) //nolint:gosec // it is a file's number
	if errors.Is(err, unix.EAGAIN) {
		return nil, nil
	}
	return p, errors.Join(closed, err)
}

// receive takes a packet, or gives EAGAIN.
func (s *packetSocket) receive(fd int) (*inspect.Packet, error) {
	for {
		length, control, _, from, err := unix.Recvmsg(fd, s.data, s.control, unix.MSG_TRUNC|unix.MSG_DONTWAIT)
		if errors.Is(err, unix.EINTR) {
			continue
		}
		if err != nil {
			return nil, err
		}
		link, known := from.(*unix.SockaddrLinklayer)
		if !known {
			return nil, errors.New("the kernel says of a packet no interface")
		}
		return s.packet(link, length, s.control[:control]), nil
	}
}

// packet makes one of what was received.
func (s *packetSocket) packet(from *unix.SockaddrLinklayer, length int, control []byte) *inspect.Packet {
	p := &inspect.Packet{
		Point: inspect.Ref{Namespace: s.point.Namespace, Index: from.Ifindex}, Out: from.Pkttype == unix.PACKET_OUTGOING,
		Link: linkType(from.Hatype),
	}
	tag := s.describe(p, control)
	p.Data = withTag(s.data[:min(length, len(s.data))], tag, len(s.data))
	p.Length = max(p.Length, length) + len(tag)
	return p
}

// describe takes a packet's time, and its length before the filter cut it, from its control messages, and
// gives the VLAN tag that the kernel took out.
func (s *packetSocket) describe(p *inspect.Packet, control []byte) (tag []byte) {
	messages, err := unix.ParseSocketControlMessage(control)
	if err != nil {
		messages = nil
	}
	for _, m := range messages {
		switch {
		case m.Header.Level == unix.SOL_SOCKET && m.Header.Type == unix.SO_TIMESTAMPNS && len(m.Data) >= 16:
			p.Time = time.Unix(int64(binary.NativeEndian.Uint64(m.Data)), int64(binary.NativeEndian.Uint64(m.Data[8:]))).UTC() //nolint:gosec // the kernel's struct timespec
		case m.Header.Level == unix.SOL_PACKET && m.Header.Type == unix.PACKET_AUXDATA:
			tag = tagOf(m.Data)
			if len(m.Data) >= 8 {
				p.Length = int(binary.NativeEndian.Uint32(m.Data[4:]))
			}
		}
	}
	if p.Time.IsZero() {
		p.Time = time.Now().UTC()
	}
	return tag
}

// tagOf gives the tag of struct tpacket_auxdata: status, len, snaplen, mac, net, vlan_tci, vlan_tpid.
func tagOf(aux []byte) []byte {
	if len(aux) < 20 || binary.NativeEndian.Uint32(aux)&unix.TP_STATUS_VLAN_VALID == 0 {
		return nil
	}
	protocol := uint16(unix.ETH_P_8021Q)
	if binary.NativeEndian.Uint32(aux)&unix.TP_STATUS_VLAN_TPID_VALID != 0 {
		protocol = binary.NativeEndian.Uint16(aux[18:])
	}
	tag := binary.BigEndian.AppendUint16(nil, protocol)
	return binary.BigEndian.AppendUint16(tag, binary.NativeEndian.Uint16(aux[16:]))
}

// withTag gives a copy of a packet with its VLAN tag where it was, of at most so many bytes.
func withTag(data, tag []byte, most int) []byte {
	at := ethernet - 2
	if len(tag) == 0 || len(data) < at {
		return append([]byte(nil), data...)
	}
	whole := make([]byte, 0, len(data)+len(tag))
	whole = append(append(append(whole, data[:at]...), tag...), data[at:]...)
	return whole[:min(len(whole), most)]
}

// linkType gives the number of LINKTYPE for the kernel's kind of a device.
func linkType(kind uint16) int {
	switch kind {
	case unix.ARPHRD_ETHER, unix.ARPHRD_LOOPBACK:
		return 1
	case unix.ARPHRD_NONE, unix.ARPHRD_PPP, unix.ARPHRD_TUNNEL, unix.ARPHRD_TUNNEL6, unix.ARPHRD_SIT, unix.ARPHRD_IPGRE, unix.ARPHRD_IP6GRE, unix.ARPHRD_RAWIP:
		return 101
	}
	return 147 // LINKTYPE_USER0: nobody is told that it is something else
}

// gone reports whether the interface is not there any more. The kernel has unbound the socket then; that of one
// which is down stays bound.
func (s *packetSocket) gone() (gone bool) {
	_ = s.raw.Control(func(fd uintptr) {
		bound, err := unix.Getsockname(int(fd)) //nolint:gosec // it is a file's number
		link, known := bound.(*unix.SockaddrLinklayer)
		gone = err == nil && known && link.Ifindex < 0
	})
	return gone
}

// counts gives what the kernel counted since the socket was opened: it forgets at each question.
func (s *packetSocket) counts() inspect.Count {
	_ = s.raw.Control(func(fd uintptr) {
		stats, err := unix.GetsockoptTpacketStats(int(fd), unix.SOL_PACKET, unix.PACKET_STATISTICS) //nolint:gosec // it is a file's number
		if err != nil {
			return
		}
		s.counted.Seen += uint64(stats.Packets)
		s.counted.Lost += uint64(stats.Drops)
	})
	return s.counted
}

func networkOrder(n uint16) uint16 {
	if binary.NativeEndian.Uint16([]byte{0, 1}) == 1 {
		return n
	}
	return bits.ReverseBytes16(n)
}
