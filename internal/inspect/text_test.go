package inspect

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// rich gives a pod that has one of each.
func rich() *Snapshot {
	s := healthy()
	vf, key := 3, uint32(7)
	a, node := s.ns(podA), s.ns(hostNS)
	a.Paths = []string{"/run/netns/a"}
	eth0, net0 := s.at(podA, "eth0"), s.at(podA, "net0")
	eth0.Ethernet = &Ethernet{Speed: 10000, Duplex: "full", Offloads: map[string]bool{"rx-gro": false, "tx-scatter-gather": true, "rx-checksum": true}}
	eth0.Programs = []Program{{At: "tcx ingress", ID: 12, Name: "from_pod"}, {At: "xdp", ID: 13}}
	eth0.Qdiscs = []Qdisc{{Kind: "noqueue", Parent: "root"}}
	eth0.TxQueue, eth0.Statistics = 1000, &Statistics{RxPackets: 3, RxBytes: 180, TxDropped: 1}
	net0.MAC = "02:00:00:00:00:99" // it is not that of the record
	s.Records[0].Attachments[1].Interfaces[0].MAC = "02:00:00:00:00:03"
	a.Packets = []PacketSocket{{Index: 2, Program: "tcpdump"}, {Index: 2, Program: "tcpdump"}, {Protocol: 3}}
	a.Neighbours = []Neighbour{{Index: 2, Address: "10.1.0.1", MAC: s.at(hostNS, "cbr0").MAC, State: "reachable"}}
	a.Sysctls["net.ipv4.conf.eth0.arp_ignore"] = "1"
	a.Counters = map[string]uint64{"TcpExtIPReversePathFilter": 0, "IpExtInNoRoutes": 4}
	a.Rules = []Rule{{Family: 4, Table: localTable}, {Priority: 100, Family: 4, From: "10.2.0.2/32", Not: true, Mark: 16, Input: "eth0", Table: 100}}
	a.Routes = append(a.Routes, Route{Table: 100, Family: 4, To: "default", Index: 3, NextHops: []NextHop{{Via: "10.2.0.1", Index: 3}, {Index: 99}}, Metric: 5},
		Route{Table: localTable, Family: 4, To: "127.0.0.1"})
	a.Netfilter, node.Netfilter = Netfilter{Legacy: []string{"ip filter"}}, Netfilter{NFT: []string{"inet x"}, Closed: []string{"nft inet x y"}}

	bond := up(10, "bond0", "bond", 1500)
	bond.Mode, bond.ActiveSlave = "active-backup", 11
	slave := up(11, "net2", "device", 1500)
	slave.Master, slave.Slave = 10, &BondSlave{State: "active", MII: "up", Failures: 2}
	slave.Device = &Device{Bus: "pci", ID: "0000:01:10.3", VF: &vf, PF: "up0", Representor: "up0_3"}
	slave.Ethernet = &Ethernet{Driver: "iavf"}
	vlan := up(12, "bond0.9", "vlan", 1500)
	vlan.VLAN, vlan.VLANProtocol, vlan.Link = 9, "802.1ad", &Ref{podA, 10}
	tap := up(13, "tap0", "tun", 1500)
	tap.Tun = &Tun{Layer: 2, Program: "qemu"}
	gre := up(14, "gre1", "gre", 1472)
	gre.Tunnel = &Tunnel{Local: "10.1.0.2", Remote: "192.0.2.5", Key: &key, Lower: 2}
	vrf := up(15, "red", "vrf", 65535)
	vrf.Table, vrf.Tunnel = 10, nil
	lost := up(16, "net3", "veth", 1500)
	lost.Link = &Ref{0, 7}
	a.Links = append(a.Links, bond, slave, vlan, tap, gre, vrf, lost, Link{Index: 17, Name: "sit0", Kind: "sit", Tunnel: &Tunnel{}})

	veth5, cbr0, up0 := s.at(hostNS, "veth5"), s.at(hostNS, "cbr0"), s.at(hostNS, "up0")
	veth5.Qdiscs = []Qdisc{{Kind: "tbf", Handle: "1:", Parent: "root", Rate: 125000, Dropped: 6}, {Kind: "ingress", Handle: "ffff:", Parent: "ingress", Redirects: []int{8}}}
	veth5.Programs = []Program{{At: "tc ingress", ID: 14, Name: "cls"}}
	veth5.Port = &Port{State: "forwarding", Hairpin: true, Isolated: true, VLANs: []PortVLAN{{ID: 1, PVID: true, Untagged: true}, {ID: 9}}}
	cbr0.Bridge.VLANs = []PortVLAN{{ID: 1, PVID: true}}
	up0.VFs = []VF{{Index: 2}, {Index: 3, MAC: "02:00:00:00:00:0f", VLAN: 9, Trust: true, State: "auto"}}
	node.Links = append(node.Links, up(8, "bwp1", "ifb", 1500), up(9, "up0_3", "device", 1500))
	for i := range 30 {
		node.FDB = append(node.FDB, FDBEntry{Index: 6, MAC: "02:00:00:00:01:" + string(rune('a'+i/10)) + string(rune('0'+i%10)), Master: 4})
	}
	node.FDB = append(node.FDB, FDBEntry{Index: 5, MAC: eth0.MAC, VLAN: 1, Master: 4}, FDBEntry{Index: 5, MAC: veth5.MAC, Master: 4, State: "permanent"})
	s.Records[0].Attachments = append(s.Records[0].Attachments, Attachment{
		Network: "default/fast", Interface: "net4", Plugins: []string{"plexus-vhostuser"}, Attached: true,
		Interfaces: []RecordedInterface{{Name: "vhu1"}, {Name: "net4", MAC: "02:00:00:00:00:44", InSandbox: true, Socket: "/run/vhost/a/net4.sock"}},
		Addresses:  []RecordedAddress{{Address: "10.4.0.2/24"}},
	})
	s.Notes = []Note{{About: "the node", Text: "something was not read"}, {About: "/run/netns/b", Text: "of another pod"}, {About: "/run/netns/a", Text: "of this one"}}
	return s
}

// Each fact is in the text, with the command that shows it. Run the test with -update after a change.
func TestText(t *testing.T) {
	for file, commands := range map[string]bool{"testdata/everything.txt": false, "testdata/everything-commands.txt": true} {
		var text strings.Builder
		check.Must(t, NewReport(rich(), podA).WriteText(&text, commands))
		check.Golden(t, file, []byte(text.String()))
	}
}

// A namespace that nobody can enter by a path has no commands that would.
func TestTextWithoutPath(t *testing.T) {
	s := rich()
	s.ns(podA).Paths, s.ns(podA).Brief = nil, true
	var text strings.Builder
	check.Must(t, NewReport(s, podA).WriteText(&text, true))
	if strings.Contains(text.String(), "nsenter") {
		t.Errorf("%s", text.String())
	}
	check.Contains(t, "brief", text.String(), "only the interfaces and their addresses", "$ ip -d link show dev veth5")
}
