//go:build linux

package filter

import (
	"bufio"
	"bytes"
	"encoding/binary"
	"fmt"
	"io"
	"net"
	"os/exec"
	"strings"
	"testing"

	"github.com/gopacket/gopacket/pcapgo"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// live are filters that are tried on a live interface.
var live = []string{
	"ip", "tcp", "ip6 and udp", "arp", "port 80", "host 10.0.0.1 and not port 53", "ether proto 0x8100", "ether[12:2] = 0x8100", "len > 100",
	"vlan", "not vlan", "vlan 100", "vlan 200", "vlan 300", "vlan 100 and tcp", "vlan and ip6", "vlan 100 and vlan 200", "vlan 7 and vlan 100 and vlan 300 and udp",
	"vlan and vlan", "vlan 100 and vlan 200 and host 10.0.0.1", "tcp or vlan 100", "vlan and (ip or vlan 200)", "vlan and arp[6:2] = 1", "ip or vlan 200", "vlan and ip[8] = 64 and port 53",
	"vlan and not ip", "vlan and tcp[tcpflags] & tcp-syn != 0", "not (vlan 100 and port 80)", "vlan and ether src 02:00:0a:00:00:01 and multicast",
	// Both halves of its program are longer than a conditional jump.
	"vlan and (host 10.9.0.1 or 10.9.0.2 or 10.9.0.3 or 10.9.0.4 or 10.9.0.5 or 10.9.0.6 or 10.9.0.7 or 10.9.0.8 or 10.9.0.9 or 10.9.0.10 or " +
		"10.9.0.11 or 10.9.0.12 or 10.9.0.13 or 10.9.0.14 or 10.9.0.15 or 10.9.0.16 or 10.9.0.17 or 10.0.0.1)",
}

// The end of each frame says that it is ours, and which.
const (
	ours = 0x77a1
	last = 0xffff
)

func numbered(frame []byte, number uint16) []byte {
	frame = binary.BigEndian.AppendUint16(bytes.Clone(frame), ours)
	return binary.BigEndian.AppendUint16(frame, number)
}

// seen keeps which frames came, and reports the last one.
func seen(frame []byte, into map[int]bool) (ended bool) {
	if len(frame) < 4 || binary.BigEndian.Uint16(frame[len(frame)-4:]) != ours {
		return false
	}
	number := binary.BigEndian.Uint16(frame[len(frame)-2:])
	into[int(number)] = number != last
	return number == last
}

// TestNetnsAgreesWithTcpdumpLive compares what packet sockets see with our programs and with those of tcpdump:
// where frames come in, and the kernel has taken their outermost tag off; and where they go out with it.
func TestNetnsAgreesWithTcpdumpLive(t *testing.T) {
	sandbox := node.New(t).Sandbox("filter")
	sandbox.MustRun("ip", "link", "add", "out0", "type", "veth", "peer", "name", "in0")
	for _, name := range []string{"out0", "in0"} {
		sandbox.MustRun("ip", "link", "set", name, "addrgenmode", "none", "mtu", "9000", "up")
	}
	for _, name := range []string{"in0", "out0"} {
		compareLive(t, sandbox, name)
	}
}

func compareLive(t *testing.T, sandbox *node.Sandbox, name string) {
	theirs, our := map[string]*bufio.Reader{}, map[string]int{}
	for _, filter := range live {
		// The last frame passes every filter, and shows that no more come.
		filter = "ether proto 0x9999 or (" + filter + ")"
		theirs[filter] = startTcpdump(t, sandbox, name, filter)
		sandbox.Do(func() error {
			our[filter] = attached(t, name, filter)
			return nil
		})
	}
	sandbox.Do(func() error { return sendCorpus(t) })
	for filter, output := range theirs {
		want, got := map[int]bool{}, map[int]bool{}
		reader, err := pcapgo.NewReader(output)
		check.Must(t, err)
		for ended := false; !ended; {
			frame, _, err := reader.ReadPacketData()
			check.Must(t, err)
			ended = seen(frame, want)
		}
		buffer := make([]byte, 1<<16)
		for ended := false; !ended; {
			size, _, err := unix.Recvfrom(our[filter], buffer, 0)
			check.Must(t, err)
			ended = seen(buffer[:size], got)
		}
		check.Equal(t, fmt.Sprintf("the frames at %s that pass %q", name, filter), got, want)
	}
}

// startTcpdump gives the output of tcpdump once it listens. It is without its optimiser, which takes frames for
// tagged ones that are not (libpcap 1.10.3) where there is a condition before "vlan".
func startTcpdump(t *testing.T, sandbox *node.Sandbox, name, filter string) *bufio.Reader {
	t.Helper()
	command := exec.CommandContext(t.Context(), "tcpdump",
		"-O", "-Z", "root", "-n", "-p", "-U", "--immediate-mode", "-s", "2000", "-B", "4096", "-i", name, "-w", "-", filter)
	diagnostics, err := command.StderrPipe()
	check.Must(t, err)
	output, err := command.StdoutPipe()
	check.Must(t, err)
	sandbox.Do(command.Start)
	t.Cleanup(func() {
		_ = command.Process.Kill()
		_ = command.Wait()
	})
	lines := bufio.NewReader(diagnostics)
	for {
		line, err := lines.ReadString('\n')
		if err != nil {
			t.Fatalf("tcpdump does not listen at %q: %v: %s", filter, err, line)
		}
		if strings.Contains(line, "listening on") {
			go func() { _, _ = io.Copy(io.Discard, lines) }()
			return bufio.NewReader(output)
		}
	}
}

// attached gives a packet socket of an interface that has our program.
func attached(t *testing.T, name, filter string) int {
	t.Helper()
	program, err := Compile(filter, Ethernet)
	check.Must(t, err)
	instructions := make([]unix.SockFilter, len(program))
	for i, p := range program {
		instructions[i] = unix.SockFilter{Code: p.Op, Jt: p.Jt, Jf: p.Jf, K: p.K}
	}
	socket := packetSocket(t, name, 0)
	check.Must(t, unix.SetsockoptInt(socket, unix.SOL_SOCKET, unix.SO_RCVBUFFORCE, 1<<23))
	check.Must(t, unix.SetsockoptTimeval(socket, unix.SOL_SOCKET, unix.SO_RCVTIMEO, &unix.Timeval{Sec: 30}))
	check.Must(t, unix.SetsockoptSockFprog(socket, unix.SOL_SOCKET, unix.SO_ATTACH_FILTER, &unix.SockFprog{Len: uint16(len(program)), Filter: &instructions[0]}))
	bind(t, socket, name, unix.ETH_P_ALL)
	return socket
}

func packetSocket(t *testing.T, name string, protocol uint16) int {
	t.Helper()
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	check.Must(t, err)
	t.Cleanup(func() { _ = unix.Close(socket) })
	bind(t, socket, name, protocol)
	return socket
}

func bind(t *testing.T, socket int, name string, protocol uint16) {
	t.Helper()
	link, err := net.InterfaceByName(name)
	check.Must(t, err)
	var network [2]byte
	binary.BigEndian.PutUint16(network[:], protocol)
	check.Must(t, unix.Bind(socket, &unix.SockaddrLinklayer{Protocol: binary.NativeEndian.Uint16(network[:]), Ifindex: link.Index}))
}

// sendCorpus sends all whole frames, and the last one.
func sendCorpus(t *testing.T) error {
	frames, whole := corpus(t)
	socket := packetSocket(t, "out0", 0)
	for i, frame := range frames[:whole] {
		if _, err := unix.Write(socket, numbered(frame, uint16(i))); err != nil {
			return fmt.Errorf("send frame %d: %w", i, err)
		}
	}
	end := append(bytes.Clone(frames[0][:12]), 0x99, 0x99)
	_, err := unix.Write(socket, numbered(append(end, make([]byte, 100)...), last))
	return err
}
