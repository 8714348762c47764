// Package paths has two nodes on a wire, and on each a pod with further networks, by the real plexus, on
// a kernel that has every kind of them. kubectl-plexus must find them fine, and show the way from one
// pod to the other as it was built.
package paths

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

func TestE2EGuestPaths(t *testing.T) {
	guest.Run(t, guest.Options{
		Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN"}, Writes: []string{window.SnapshotsVar}, Memory: 1024,
	})
}

// situation is what both nodes have. In its texts I is the number of the node, O of the other one.
type situation struct {
	setup    string      // commands of the node, a line each
	networks []node.Conf // of the pod, in their order: net0, net1, …
	ping     string      // how a pod asks the other one's net0, besides the address
	// ways are those from a pod to the other, by the interface that they begin with. FROM and TO are the
	// host ends of the veths.
	ways map[string]string
	page bool // of docs/paths, of this name
}

// ofNode gives the configuration of a network on the node of a number: host-local's range is its own.
func ofNode(conf node.Conf, number string) node.Conf {
	text := strings.NewReplacer("RANGE", number+"0", "END", number+"9", "SUBNET", number, "OTHER", other(number)).Replace(conf.String())
	return node.Raw(text)
}

func other(number string) string { return map[string]string{"1": "2", "2": "1"}[number] }

// shared is the IPAM of a network that both nodes are on.
func shared(third string) node.Conf {
	subnet := "10.20." + third
	return node.Conf{"type": "host-local", "ranges": [][]node.Conf{{{"subnet": subnet + ".0/24", "rangeStart": subnet + ".RANGE", "rangeEnd": subnet + ".END"}}}}
}

// routed is the IPAM of a network that is routed between the nodes.
func routed() node.Conf {
	return node.Conf{
		"type": "host-local", "ranges": [][]node.Conf{{{"subnet": "10.30.SUBNET.0/24"}}},
		"routes": []node.Conf{{"dst": "10.30.0.0/16"}},
	}
}

func network(plugin string, ipam node.Conf, more node.Conf) node.Conf {
	return node.Conf{"cniVersion": "1.0.0", "name": plugin, "type": plugin, "ipam": ipam}.With(more)
}

const (
	byRoute = `ip route add 10.30.O.0/24 via 10.77.0.O dev up0
`
	bridged = `ip link add br1 type bridge
ip link set br1 up
ip link set up0 master br1
`
	// Each node takes the other one's links down for a moment: the primary brings both back to the same link.
	bonded = `ip link add bond0 type bond mode active-backup miimon 100
ip link set up1 down
ip link set up1 master bond0
ip link set up2 down
ip link set up2 master bond0
ip link set bond0 up
ip link set bond0 type bond primary up1
`
	children    = "net0 -child- up0 -wire- up0 -child- net0: arrives"
	ofCluster   = "eth0 -pair- FROM -bridged- cbr0 -routed- up0 -wire- up0 -routed- cbr0 -bridged- TO -pair- eth0: arrives"
	overBridges = "net0 -pair- FROM -bridged- br1 -bridged- up0 -wire- up0 -bridged- br1 -bridged- TO -pair- net0: arrives"
)

var situations = map[string]situation{
	"bridge": {
		setup: bridged, networks: []node.Conf{network("bridge", shared("1"), node.Conf{"bridge": "br1"})},
		ways: map[string]string{"net0": overBridges}, page: true,
	},
	"bridge with VLANs": {
		setup:    bridged + "ip link set br1 type bridge vlan_filtering 1\nbridge vlan add vid 100 dev up0\n",
		networks: []node.Conf{network("bridge", shared("2"), node.Conf{"bridge": "br1", "vlan": 100})},
		ways:     map[string]string{"net0": overBridges},
	},
	"ptp": {
		setup: byRoute, networks: []node.Conf{network("ptp", routed(), nil)},
		ways: map[string]string{"net0": "net0 -pair- FROM -routed- up0 -wire- up0 -routed- TO -pair- net0: arrives", "eth0": ofCluster}, page: true,
	},
	"macvlan": {
		networks: []node.Conf{network("macvlan", shared("3"), node.Conf{"master": "up0"})},
		ways:     map[string]string{"net0": children}, page: true,
	},
	"ipvlan-l2": {
		networks: []node.Conf{network("ipvlan", shared("4"), node.Conf{"master": "up0", "mode": "l2"})},
		ways:     map[string]string{"net0": children}, page: true,
	},
	"ipvlan-l3": {
		setup: byRoute, networks: []node.Conf{network("ipvlan", routed(), node.Conf{"master": "up0", "mode": "l3"})},
		ways: map[string]string{"net0": children}, page: true,
	},
	"vlan": {
		networks: []node.Conf{network("vlan", shared("5"), node.Conf{"master": "up0", "vlanId": 100})},
		ways:     map[string]string{"net0": children}, page: true,
	},
	"bond": {
		setup: bonded, networks: []node.Conf{network("macvlan", shared("6"), node.Conf{"master": "bond0"})},
		ways: map[string]string{"net0": "net0 -child- bond0 -child- up1 -wire- up1 -child- bond0 -child- net0: arrives"}, page: true,
	},
	"vrf": {
		networks: []node.Conf{node.List("vrf", "1.0.0", network("macvlan", shared("7"), node.Conf{"master": "up0"}), node.Conf{"type": "vrf", "vrfname": "blue"}).
			With(node.Conf{"disableCheck": true})},
		ping: "-I blue", ways: map[string]string{"net0": children}, page: true,
	},
	"three-networks": {
		networks: []node.Conf{
			network("macvlan", shared("8"), node.Conf{"master": "up1"}),
			network("vlan", shared("9"), node.Conf{"master": "up2", "vlanId": 200}),
		},
		ways: map[string]string{
			"eth0": ofCluster, "net0": "net0 -child- up1 -wire- up1 -child- net0: arrives", "net1": "net1 -child- up2 -wire- up2 -child- net1: arrives",
		}, page: true,
	},
}

func TestGuestPaths(t *testing.T) {
	guest.Inside(t)
	for _, name := range slices.Sorted(maps.Keys(situations)) {
		t.Run(name, func(t *testing.T) {
			a, b := newPods(t, situations[name])
			world := window.Read(t, a.view, b.view)
			for _, ifName := range slices.Sorted(maps.Keys(situations[name].ways)) {
				d := world.Path(path.Query{From: a.title, To: b.title, Interface: ifName})
				check.Equal(t, "the way there by "+ifName, window.Way(&d.There), a.wayTo(b, ifName))
				check.Equal(t, "the way back by "+ifName, window.Way(d.Back), b.wayTo(a, ifName))
				check.Equal(t, "more may be sent than passes by "+ifName, d.TooNarrow(), false)
				world.MustPass(d)
			}
			if situations[name].page {
				world.Keep(name, path.Query{From: a.title, To: b.title, Interface: "net0"})
			}
		})
	}
}
