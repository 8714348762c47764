package vhostuser

import (
	"os"
	"path/filepath"
	"syscall"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

const (
	macA   = "02:00:00:00:00:0a"
	macB   = "02:00:00:00:00:0b"
	enough = 1000 // packets
)

// Two pods, each with the cluster's bridge as eth0 and a vhost-user port as net0: what
// the application of one sends, that of the other receives, and the switch in between
// has counted it; after DEL nothing is left.
func TestE2EVhostUserPackets(t *testing.T) {
	l := newLab(t)
	l.Network("fast", l.network(node.Conf{"vlan": 100}))
	a, b := l.pod("a", "fast"), l.pod("b", "fast")
	added := a.add()
	b.add()
	check.Equal(t, "interfaces in the runtime's answer", added.Result.Interfaces[len(added.Result.Interfaces)-1].Name, "eth0")
	check.Equal(t, "interfaces of the namespace", a.sandbox.InterfaceNames(), []string{"eth0"})
	a.checkStatus()
	a.checkFolder()
	l.ways()

	receiver := b.startApp(macB, "rxonly")
	sender := a.startApp(macA, "txonly", "--eth-peer=0,"+macB)
	receiver.hear("testpmd> ")
	sender.hear("testpmd> ")
	receiver.do("start")
	sender.do("start")
	check.Eventually(l.t, "packets arrive", limit, func() bool {
		received, _ := receiver.counters()
		return received >= enough
	})
	sender.do("stop")
	_, sent := sender.counters()
	received, _ := receiver.counters()
	fromA, _ := l.ovs.counters(l.ovs.portOf("a", "net0"))
	_, toB := l.ovs.counters(l.ovs.portOf("b", "net0"))
	t.Logf("a's application sent %d, the switch received %d of them and sent %d to b, whose application received %d", sent, fromA, toB, received)
	if sent < enough || fromA < enough || toB < enough {
		t.Errorf("counters did not rise on all sides")
	}
	sender.quit()
	receiver.quit()

	for _, p := range []*pod{a, b} {
		p.del()
	}
	l.mustBeClean("after DEL")
	check.Equal(t, "addresses", l.Reservations(), map[string][]string{})
}

func (p *pod) checkStatus() {
	p.t.Helper()
	status := p.status()
	if len(status) != 2 {
		p.t.Fatalf("status: %+v", status)
	}
	file := p.appConfig()
	check.Equal(p.t, "status of net0", status[1], types.NetworkStatus{
		Name: "default/fast", Interface: "net0", IPs: []string{"10.9.0.2"},
		DeviceInfo: &types.DeviceInfo{Type: "vhost-user", Version: "1.1.0", VhostUser: &types.VhostUserDevice{Mode: "server", Path: podDir + "/net0/vhost.sock"}},
	})
	check.Equal(p.t, "the application's file", file, appFile{
		Socket: podDir + "/net0/vhost.sock", Mode: "server", Queues: 1, IPs: []struct{ Address string }{{"10.9.0.2/16"}},
	})
}

func (p *pod) checkFolder() {
	p.t.Helper()
	info, err := os.Stat(filepath.Join(p.folder(), "net0"))
	check.Must(p.t, err)
	stat := info.Sys().(*syscall.Stat_t)
	check.Equal(p.t, "owner and mode of the folder", []any{stat.Uid, stat.Gid, info.Mode().Perm()}, []any{uint32(1000), uint32(1000), os.FileMode(0o770)})
}

// What is sent in one VLAN does not come out in another, though the switch has got it.
func TestE2EVhostUserVLANIsolates(t *testing.T) {
	l := newLab(t)
	l.Network("red", l.network(node.Conf{"name": "red", "vlan": 100}))
	l.Network("blue", l.network(node.Conf{"name": "blue", "vlan": 200}))
	a, b := l.pod("a", "red"), l.pod("b", "blue")
	a.add()
	b.add()
	receiver := b.startApp(macB, "rxonly")
	sender := a.startApp(macA, "txonly", "--eth-peer=0,ff:ff:ff:ff:ff:ff")
	receiver.hear("testpmd> ")
	sender.hear("testpmd> ")
	receiver.do("start")
	sender.do("start")
	check.Eventually(l.t, "the switch receives", limit, func() bool {
		received, _ := l.ovs.counters(l.ovs.portOf("a", "net0"))
		return received >= enough
	})
	_, toB := l.ovs.counters(l.ovs.portOf("b", "net0"))
	received, _ := receiver.counters()
	check.Equal(t, "packets that crossed", []int{toB, received}, []int{0, 0})
	// The same two sockets pass packets once they are in one VLAN: it was the tag.
	l.ovs.vsctl("set", "Port", l.ovs.portOf("b", "net0"), "tag=100")
	check.Eventually(l.t, "packets arrive", limit, func() bool {
		received, _ := receiver.counters()
		return received >= enough
	})
	failure := b.call("CHECK", b.Conf(nil)).Fails(100)
	check.Contains(t, "text", failure.Msg, "default/b", "its VLAN is 100, was made as 200")
	sender.quit()
	receiver.quit()
	a.del()
	b.del()
	l.mustBeClean("after DEL")
}
