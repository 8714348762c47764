//go:build linux

package collect_test

import (
	"context"
	"encoding/binary"
	"fmt"
	"net"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/collect"
	"github.com/plexus-cni/plexus/internal/inspect/filter"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// pairOf makes a node with a veth pair, whose other end is in a sandbox.
func pairOf(t *testing.T) (n *node.Node, web *node.Sandbox) {
	t.Helper()
	n = node.New(t)
	web = n.Sandbox("web")
	n.Run("ip", "link", "add", "h0", "type", "veth", "peer", "name", "eth0", "netns", web.Path)
	n.Run("ip", "addr", "add", "10.9.0.1/24", "dev", "h0")
	n.Run("ip", "link", "set", "h0", "up")
	web.MustRun("ip", "addr", "add", "10.9.0.2/24", "dev", "eth0")
	web.MustRun("ip", "link", "set", "eth0", "up")
	return n, web
}

// watched is what was seen at interfaces until it was ended.
type watched struct {
	packets chan inspect.Packet
	gone    chan inspect.Ref
	end     func() []inspect.Count
}

// watch watches interfaces of the sandbox.
func watch(t *testing.T, n *node.Node, web *node.Sandbox, w inspect.Watch) *watched {
	t.Helper()
	var watching *collect.Watching
	n.Do(func() (err error) {
		options := collect.Options{StateDir: n.Path("none"), Sysfs: "/sys", NetNS: []string{web.Path}}
		s, err := collect.Node(options)
		check.Must(t, err)
		inode, err := s.FindPath(web.Path)
		check.Must(t, err)
		w.Points = []inspect.Ref{{Namespace: inode, Index: inspect.NewGraph(s).Namespace(inode).LinkNamed("eth0").Index}}
		watching, err = collect.Watch(options, w)
		return err
	})
	ctx, cancel := context.WithCancel(t.Context())
	seen := &watched{packets: make(chan inspect.Packet, 100_000), gone: make(chan inspect.Ref, 2)}
	ended, ready := make(chan []inspect.Count, 1), make(chan struct{})
	go func() {
		var counts []inspect.Count
		err := watching.Run(ctx, func(s inspect.Sighting) error {
			if s.Ready {
				close(ready)
			}
			for _, p := range s.Packets {
				seen.packets <- p
			}
			for _, gone := range s.Gone {
				seen.gone <- gone
			}
			counts = s.Counts
			return nil
		})
		check.Equal(t, "error of the watch", err, nil)
		close(seen.packets)
		ended <- counts
	}()
	<-ready
	seen.end = func() []inspect.Count { cancel(); return <-ended }
	return seen
}

// Every packet of a burst was seen, or is counted as lost.
func TestNetnsWatchBurst(t *testing.T) {
	const burst = 50_000
	n, web := pairOf(t)
	program, err := filter.Compile("udp dst port 9000", filter.Ethernet)
	check.Must(t, err)
	seen := watch(t, n, web, inspect.Watch{Filter: program})
	sendUDP(t, n, burst, func(i int) []byte { return binary.BigEndian.AppendUint32(nil, uint32(i)) })
	counts := seen.end()
	taken := 0
	for p := range seen.packets {
		taken++
		check.Equal(t, "direction", p.Out, false)
	}
	t.Logf("%d of %d packets were taken, %d lost", taken, burst, counts[0].Lost)
	check.Equal(t, "packets that were seen, or counted as lost", uint64(taken)+counts[0].Lost, burst)
	if taken < burst/2 {
		t.Errorf("only %d packets were taken", taken)
	}
}

// A buffer that is too small loses packets, and counts them.
func TestNetnsWatchCountsWhatIsLost(t *testing.T) {
	const burst = 20_000
	n, web := pairOf(t)
	program, err := filter.Compile("udp dst port 9000", filter.Ethernet)
	check.Must(t, err)
	seen := watch(t, n, web, inspect.Watch{Filter: program, Buffer: 4096})
	sendUDP(t, n, burst, func(int) []byte { return make([]byte, 1400) })
	counts := seen.end()
	taken := 0
	for range seen.packets {
		taken++
	}
	t.Logf("%d of %d packets were taken, %d lost", taken, burst, counts[0].Lost)
	check.Equal(t, "packets that were seen, or counted as lost", uint64(taken)+counts[0].Lost, burst)
	check.Equal(t, "some are lost", counts[0].Lost > 0, true)
}

// sendUDP sends packets to a port of the sandbox that nobody listens to.
func sendUDP(t *testing.T, n *node.Node, count int, payload func(i int) []byte) {
	t.Helper()
	n.Do(func() error {
		conn, err := net.ListenPacket("udp", "10.9.0.1:0") // not connected: no ICMP error ends it
		check.Must(t, err)
		to := &net.UDPAddr{IP: net.IPv4(10, 9, 0, 2), Port: 9000}
		for i := range count {
			if _, err := conn.WriteTo(payload(i), to); err != nil {
				return err
			}
		}
		return conn.Close()
	})
}

// A VLAN tag that the kernel takes off a frame is where it was; that of priority alone too.
func TestNetnsWatchKeepsTags(t *testing.T) {
	for name, tag := range map[string]uint16{"VLAN 100": 100, "a priority alone": 3 << 13, "no VLAN and no priority": 0} {
		t.Run(name, func(t *testing.T) {
			n, web := pairOf(t)
			program, err := filter.Compile("vlan", filter.Ethernet)
			check.Must(t, err)
			seen := watch(t, n, web, inspect.Watch{Filter: program, Keep: 40})
			frame := append(append(make([]byte, 12), 0x81, 0x00), byte(tag>>8), byte(tag), 0x88, 0xb5)
			frame = append(frame, make([]byte, 82)...)
			for i := range 6 {
				frame[i] = 0xff
			}
			n.Do(func() error { return sendFrame("h0", frame) })
			p := <-seen.packets
			seen.end()
			check.Equal(t, "length", p.Length, len(frame))
			check.Equal(t, "bytes", p.Data, frame[:40])
			check.Equal(t, "link", p.Link, filter.Ethernet)
			if age := time.Since(p.Time); age < 0 || age > time.Hour {
				t.Errorf("its time is %s", p.Time)
			}
		})
	}
}

func sendFrame(name string, frame []byte) error {
	link, err := net.InterfaceByName(name)
	if err != nil {
		return err
	}
	socket, err := unix.Socket(unix.AF_PACKET, unix.SOCK_RAW|unix.SOCK_CLOEXEC, 0)
	if err != nil {
		return err
	}
	defer func() { _ = unix.Close(socket) }()
	return unix.Sendto(socket, frame, 0, &unix.SockaddrLinklayer{Ifindex: link.Index})
}

// Both directions are told apart, and an interface that goes down and up is watched on.
func TestNetnsWatchDownAndUp(t *testing.T) {
	n, web := pairOf(t)
	program, err := filter.Compile("icmp", filter.Ethernet)
	check.Must(t, err)
	seen := watch(t, n, web, inspect.Watch{Filter: program})
	for round := range 2 {
		check.Must(t, web.Ping("10.9.0.1"))
		for _, out := range []bool{true, false} {
			p := <-seen.packets
			check.Equal(t, fmt.Sprint("it goes out, in round ", round), p.Out, out)
		}
		web.MustRun("ip", "link", "set", "eth0", "down")
		web.MustRun("ip", "link", "set", "eth0", "up")
	}
	seen.end()
}

// A watch says that its interface is gone, once, and ends when there is no other.
func TestNetnsWatchOfWhatGoes(t *testing.T) {
	for name, test := range map[string]struct {
		before, goes []string
		down         bool // before it is watched
	}{
		"deleted":                        {goes: []string{"ip", "link", "del", "eth0"}},
		"deleted while it was down":      {before: []string{"ip", "link", "set", "eth0", "down"}, goes: []string{"ip", "link", "del", "eth0"}},
		"deleted, and down all the time": {goes: []string{"ip", "link", "del", "eth0"}, down: true},
		"moved to another namespace":     {goes: []string{"ip", "link", "set", "eth0", "netns", "1", "name", "gone17"}},
		"deleted at its other end, too":  {before: []string{"ip", "link", "set", "eth0", "name", "other"}},
	} {
		t.Run(name, func(t *testing.T) {
			n, web := pairOf(t)
			if test.down {
				web.MustRun("ip", "link", "set", "eth0", "down")
			}
			seen := watch(t, n, web, inspect.Watch{})
			if test.before != nil {
				web.MustRun(test.before[0], test.before[1:]...)
			}
			if test.goes != nil {
				web.MustRun(test.goes[0], test.goes[1:]...)
			} else {
				n.Run("ip", "link", "del", "h0")
			}
			for range seen.packets { // until it ends by itself
			}
			check.Equal(t, "counts", len(seen.end()), 1)
			check.Equal(t, "said to be gone", len(seen.gone), 1)
			check.Equal(t, "an index", (<-seen.gone).Index > 0, true)
		})
	}
}

// A packet's length is what it was, also if the filter cut it.
func TestNetnsWatchLength(t *testing.T) {
	for name, w := range map[string]inspect.Watch{
		"cut by the filter":  {Filter: []inspect.Instruction{{Op: 6, K: 40}}},
		"cut by the watcher": {Filter: []inspect.Instruction{{Op: 6, K: 1 << 18}}, Keep: 40},
	} {
		t.Run(name, func(t *testing.T) {
			n, web := pairOf(t)
			seen := watch(t, n, web, w)
			sendUDP(t, n, 1, func(int) []byte { return make([]byte, 1000) })
			for p := range seen.packets {
				if p.Length == 14+20+8+1000 {
					check.Equal(t, "bytes", len(p.Data), 40)
					break
				}
			}
			seen.end()
		})
	}
}

// Marks choose; what cannot be watched is said by name.
func TestNetnsWatchMarksAndRefusals(t *testing.T) {
	n, web := pairOf(t)
	program, err := filter.Compile("udp", filter.Ethernet) // an ICMP error has the mark too
	check.Must(t, err)
	seen := watch(t, n, web, inspect.Watch{Filter: program, Marks: [][]byte{[]byte("find-me")}, Buffer: 1 << 20})
	sendUDP(t, n, 3, func(i int) []byte { return []byte([]string{"nothing", "here you find-me and more", "nothing"}[i]) })
	check.Contains(t, "the packet", string((<-seen.packets).Data), "here you find-me")
	seen.end()
	check.Equal(t, "more packets", len(seen.packets), 0)

	options := collect.Options{StateDir: n.Path("none"), Sysfs: "/sys", NetNS: []string{web.Path}}
	for want, w := range map[string]inspect.Watch{
		"no interface is named":            {},
		"the network namespace is gone":    {Points: []inspect.Ref{{Namespace: 7}}},
		"256 may be":                       {Points: make([]inspect.Ref, 257)},
		"the kernel refuses the filter":    {Points: []inspect.Ref{hostRef(t, n)}, Filter: []inspect.Instruction{{Op: 0xffff}}},
		"it has 5000 instructions":         {},
		"watch the interface of index 999": {Points: []inspect.Ref{{Namespace: hostRef(t, n).Namespace, Index: 999}}},
	} {
		if want == "it has 5000 instructions" {
			w, want = inspect.Watch{Points: []inspect.Ref{hostRef(t, n)}, Filter: make([]inspect.Instruction, 5000)}, "the filter has 5000 instructions, of at most 4096"
		}
		n.Do(func() error {
			_, err := collect.Watch(options, w)
			check.Error(t, err, want)
			return nil
		})
	}
}

func hostRef(t *testing.T, n *node.Node) (ref inspect.Ref) {
	t.Helper()
	n.Do(func() error {
		s, err := collect.Node(collect.Options{StateDir: n.Path("none"), Sysfs: "/sys"})
		check.Must(t, err)
		ref = inspect.Ref{Namespace: s.Namespaces[0].Inode, Index: s.Namespaces[0].LinkNamed("h0").Index}
		return nil
	})
	return ref
}

// What cannot be sent is refused before anything is.
func TestNetnsSendRefusals(t *testing.T) {
	n, _ := pairOf(t)
	good := inspect.Send{Namespace: hostRef(t, n).Namespace, From: "10.9.0.1", To: "10.9.0.2", Protocol: "icmp", Shots: []inspect.Shot{{Number: 1, Size: 100}}}
	for want, change := range map[string]func(*inspect.Send){
		`send to "x": it is no address`:                      func(s *inspect.Send) { s.To = "x" },
		`it is no address of the same family`:                func(s *inspect.Send) { s.From = "fd00::1" },
		"17 packets are too many to send at once":            func(s *inspect.Send) { s.Shots = make([]inspect.Shot, 17) },
		"it is none of icmp, udp and tcp":                    func(s *inspect.Send) { s.Protocol = "sctp" },
		"send 27 bytes of icmp: a packet has 28 to 65535":    func(s *inspect.Send) { s.Shots = []inspect.Shot{{Size: 27}} },
		"send 65536 bytes of icmp: a packet has 28 to 65535": func(s *inspect.Send) { s.Shots = []inspect.Shot{{Size: 65536}} },
		"bind to 10.9.0.77":                                  func(s *inspect.Send) { s.From = "10.9.0.77" },
	} {
		send := good
		change(&send)
		n.Do(func() error {
			_, err := collect.Send(collect.Options{StateDir: n.Path("none"), Sysfs: "/sys"}, send)
			check.Error(t, err, want)
			return nil
		})
	}
	good.Shots = []inspect.Shot{{Number: 1, Size: 100}, {Number: 2, Size: 9000}}
	n.Do(func() error {
		sent, err := collect.Send(collect.Options{StateDir: n.Path("none"), Sysfs: "/sys"}, good)
		check.Must(t, err)
		check.Equal(t, "what the kernel says", []string{sent[0].Refused, sent[1].Refused}, []string{"", "EMSGSIZE"})
		return nil
	})
}
