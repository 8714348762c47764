package weave

import (
	"encoding/json"
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
	query.Interface = "net0"
	d = world.Path(query)
	check.Equal(t, "the ways by net0", window.Ways(d), "net0 -child- eth1 -wire- eth1 -child- net0: arrives\nnet0 -child- eth1 -wire- eth1 -child- net0: arrives")
	query.Interface = "eth0"
	world.Keep("weave", query)
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
