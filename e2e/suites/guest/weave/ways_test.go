package weave

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// verifyWays demands that kubectl-plexus finds nothing wrong with two pods, and shows the way from one to
// the other as far as a kernel knows it: the switch of Weave's daemon is no bridge.
func verifyWays(t *testing.T, pods [2]*pod) {
	t.Helper()
	views := []*window.Node{window.Of("node1", pods[0].host.Node), window.Of("node2", pods[1].host.Node)}
	for i, p := range pods {
		views[i].MustBeFine(t, false, "default/"+p.PodName)
	}
	world := window.Read(t, views...)
	query := path.Query{From: "default/" + pods[0].PodName, To: "default/" + pods[1].PodName, Interface: "eth0"}
	d := world.Path(query)
	check.Contains(t, "the way there by eth0", window.Way(&d.There), pods[0].toSwitch(), "unknown", "Open vSwitch")
	check.Contains(t, "the way back by eth0", window.Way(d.Back), pods[1].toSwitch(), "unknown", "Open vSwitch")
	world.MustPass(d)
	query.Interface = "net0"
	d = world.Path(query)
	world.MustPass(d)
	check.Equal(t, "the ways by net0", window.Ways(d), "net0 -child- eth1 -wire- eth1 -child- net0: arrives\nnet0 -child- eth1 -wire- eth1 -child- net0: arrives")
	query.Interface = "eth0"
	world.Keep("weave", query)
	for name, f := range faults {
		f.verify(t, name, pods[1], views, path.Query{From: "default/" + pods[1].PodName, To: "default/" + pods[0].PodName, Interface: "eth0"})
	}
}

// fault is something that goes wrong on the node of the pod that sends.
type fault struct {
	commands [2]string // that make it, and that mend it; HOSTEND is the other end of eth0
	way      []string  // words of what path says
	probe    []string  // words of what a probe with the kernel's reason says
}

var faults = map[string]fault{
	"the cable to the switch is down": {
		commands: [2]string{"ip link set vethwe-bridge down", "ip link set vethwe-bridge up"},
		way:      []string{"weave: lost", "the port vethwe-bridge of weave is disabled"},
		probe:    []string{"rejected: pod default/p2 (", "says: the next hop does not answer", "NEIGH_FAILED, "},
	},
	"a firewall lets no IP pass on bridges": {
		commands: [2]string{
			"nft add table bridge hardened\nnft add chain bridge hardened forward { type filter hook forward priority 0 ; }\nnft add rule bridge hardened forward ether type ip drop",
			"nft delete table bridge hardened",
		},
		way:   []string{"unknown", "Open vSwitch"}, // netfilter's rules are not judged
		probe: []string{"packet lost: it was seen at ", "and not at vethwe-bridge of node2", "NETFILTER_DROP, "},
	},
}

// verify demands twice that a probe says where packets are lost, for which reason, and then that they pass again.
func (f fault) verify(t *testing.T, name string, from *pod, views []*window.Node, query path.Query) {
	t.Helper()
	from.host.all(f.commands[0])
	for range 2 {
		_, err := from.Run("ip", "neigh", "flush", "dev", "eth0")
		check.Must(t, err)
		world := window.Read(t, views...)
		d := world.Path(query)
		check.Contains(t, name+": the way there", window.Way(&d.There), f.way...)
		world.Probe(d)
		t.Logf("%s: %s\n%q", name, window.Way(&d.There), d.Probe.Lines())
		for _, shot := range d.Probe.Shots {
			check.Contains(t, name+": the probe", string(shot.Outcome)+": "+shot.Reason, f.probe...)
		}
	}
	from.host.all(f.commands[1])
	world := window.Read(t, views...)
	world.MustPass(world.Path(query))
}

// all runs commands on the host, a line each.
func (h *host) all(commands string) {
	h.t.Helper()
	for line := range strings.Lines(commands) {
		words := strings.Fields(line)
		h.Run(words[0], words[1:]...)
	}
}

// toSwitch gives the way from the pod to the switch.
func (p *pod) toSwitch() string {
	p.host.t.Helper()
	type link struct {
		Index int    `json:"ifindex"`
		Peer  int    `json:"link_index"`
		Name  string `json:"ifname"`
	}
	out, err := p.Run("ip", "-json", "link", "show", "dev", "eth0")
	check.Must(p.host.t, err)
	var own, all []link
	check.Must(p.host.t, json.Unmarshal([]byte(out), &own))
	check.Must(p.host.t, json.Unmarshal([]byte(p.host.Run("ip", "-json", "link", "show", "type", "veth")), &all))
	for _, end := range all {
		if end.Index == own[0].Peer {
			return "eth0 -pair- " + end.Name + " -bridged- weave -bridged- vethwe-bridge -pair- vethwe-datapath"
		}
	}
	p.host.t.Fatalf("eth0 of pod %s has no other end", p.PodName)
	return ""
}
