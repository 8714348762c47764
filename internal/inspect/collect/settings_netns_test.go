//go:build linux

package collect

import (
	"runtime"
	"slices"
	"testing"
	"unsafe"

	"github.com/vishvananda/netlink"
	"github.com/vishvananda/netlink/nl"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// What ethtool and tc show is in the snapshot.
func TestNetnsSettings(t *testing.T) {
	w := newWorld(t)
	w.Network("slow", node.Conf{"cniVersion": "1.0.0", "name": "slow", "plugins": []any{
		node.Bridge("slow", "10.9.0.0/16"), node.Conf{"type": "bandwidth", "ingressRate": 8000000, "ingressBurst": 800000, "egressRate": 16000000, "egressBurst": 800000},
	}})
	w.PodWith("c", "slow")
	c := w.Sandbox("c")
	w.Add(c, w.Conf(nil)).OK()
	c.MustRun("ethtool", "-K", "net0", "tx", "off")
	s := w.snapshot()
	pod := namespace(t, s, "c")
	net0, eth0 := pod.LinkNamed("net0").Ethernet, pod.LinkNamed("eth0").Ethernet
	check.Equal(t, "speed", net0.Speed, 10000)
	check.Equal(t, "duplex", net0.Duplex, "full")
	for name, want := range map[string]bool{"tx-checksum-ip-generic": false, "tx-tcp-segmentation": false, "tx-scatter-gather": true, "rx-vlan-hw-parse": true} {
		check.Equal(t, "net0 "+name, net0.Offloads[name], want)
		check.Equal(t, "eth0 "+name, eth0.Offloads[name], true)
	}
	check.Equal(t, "a veth has no driver of its own", net0.Driver, "")
	check.Equal(t, "a qdisc of the kernel's own", pod.LinkNamed("net0").Qdiscs, []inspect.Qdisc{{Kind: "noqueue", Parent: "root"}})

	_, end := inspect.NewGraph(s).PeerOf(inspect.Ref{Namespace: pod.Inode, Index: pod.LinkNamed("net0").Index})
	find := func(link *inspect.Link, kind string) inspect.Qdisc {
		found := slices.IndexFunc(link.Qdiscs, func(q inspect.Qdisc) bool { return q.Kind == kind })
		check.Equal(t, link.Name+" has "+kind, found >= 0, true)
		return link.Qdiscs[found]
	}
	check.Equal(t, "rate to the pod, in bytes", find(end, "tbf").Rate, uint64(1000000))
	ingress := find(end, "ingress")
	check.Equal(t, "redirects", len(ingress.Redirects), 1)
	ifb := inspect.NewGraph(s).Link(inspect.Ref{Namespace: s.Namespaces[0].Inode, Index: ingress.Redirects[0]})
	check.Equal(t, "to an ifb", ifb.Kind, "ifb")
	check.Equal(t, "rate from the pod, in bytes", find(ifb, "tbf").Rate, uint64(2000000))
	check.Equal(t, "burst", find(ifb, "tbf").Burst/1000, uint32(100))
}

// BPF programs are named, at each hook that netlink shows, and at those that it does not.
func TestNetnsBPF(t *testing.T) {
	w := newWorld(t)
	w.Do(func() error {
		fd, xdp := loadProgram(t, unix.BPF_PROG_TYPE_SCHED_CLS, "see_packets"), loadProgram(t, unix.BPF_PROG_TYPE_XDP, "see_frames")
		link, err := netlink.LinkByName("up0")
		check.Must(t, err)
		check.Must(t, netlink.LinkSetXdpFdWithFlags(link, xdp, nl.XDP_FLAGS_SKB_MODE))
		check.Must(t, netlink.QdiscAdd(&netlink.Clsact{QdiscAttrs: netlink.QdiscAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_CLSACT, Handle: netlink.MakeHandle(0xffff, 0)}}))
		check.Must(t, netlink.FilterAdd(&netlink.BpfFilter{
			FilterAttrs: netlink.FilterAttrs{LinkIndex: link.Attrs().Index, Parent: netlink.HANDLE_MIN_EGRESS, Handle: 1, Protocol: unix.ETH_P_ALL, Priority: 1},
			Fd:          fd, Name: "to_wire", DirectAction: true,
		}))
		attachTCX(t, fd, link.Attrs().Index)
		found := w.snapshotHere().Namespaces[0].LinkNamed("up0").Programs
		var at []string
		for _, program := range found {
			at = append(at, program.At+" "+program.Name)
			check.Equal(t, "it has a number", program.ID > 0, true)
		}
		check.Equal(t, "programs", at, []string{"xdp generic see_frames", "tc egress to_wire", "tcx ingress see_packets"})
		return nil
	})
}

// loadProgram loads one that answers 2, which lets all packets pass.
func loadProgram(t *testing.T, kind uint32, name string) int {
	t.Helper()
	instructions := []uint64{0x2_0000_00b7, 0x95} // r0 = 2; exit
	license := []byte("GPL\x00")
	var pinner runtime.Pinner
	pinner.Pin(&instructions[0])
	pinner.Pin(&license[0])
	defer pinner.Unpin()
	load := struct {
		kind, count           uint32
		instructions, license uint64
		level, size           uint32
		log                   uint64
		version, flags        uint32
		name                  [unix.BPF_OBJ_NAME_LEN]byte
	}{kind: kind, count: 2, instructions: uint64(uintptr(unsafe.Pointer(&instructions[0]))), license: uint64(uintptr(unsafe.Pointer(&license[0])))}
	copy(load.name[:], name)
	fd, err := bpf(unix.BPF_PROG_LOAD, unsafe.Pointer(&load), unsafe.Sizeof(load))
	check.Must(t, err)
	t.Cleanup(func() { _ = unix.Close(fd) })
	return fd
}

// attachTCX attaches a program to what comes in by an interface.
func attachTCX(t *testing.T, program, index int) {
	t.Helper()
	create := struct {
		program, target, attach, flags uint32
		_                              [4]uint64
	}{uint32(program), uint32(index), unix.BPF_TCX_INGRESS, 0, [4]uint64{}}
	link, err := bpf(unix.BPF_LINK_CREATE, unsafe.Pointer(&create), unsafe.Sizeof(create))
	check.Must(t, err)
	t.Cleanup(func() { _ = unix.Close(link) })
}

func TestParseCounters(t *testing.T) {
	check.Equal(t, "counters", parseCounters("Ip: A B\nIp: 1 -2\n\nTcpExt: C\nTcpExt: 18446744073709551615\nTail: D\n"),
		map[string]uint64{"IpA": 1, "TcpExtC": 1<<64 - 1})
}
