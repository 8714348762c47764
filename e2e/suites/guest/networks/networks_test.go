// Package networks attaches, by the real plexus, networks of those reference plugins
// that need more of the kernel than a cloud machine's has.
package networks

import (
	"maps"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

func TestE2EGuestNetworks(t *testing.T) {
	guest.Run(t, guest.Options{Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN"}})
}

// kind is a network that a pod gets as net0.
type kind struct {
	config node.Conf
	link   string // the kind of net0
	addr   string // of net0
	master string // of net0, in the pod
	// reaches pings from the pod what only this network leads to: see newNode.
	reaches []string
}

// plugin is a network of one plugin.
func plugin(name, subnet string, keys node.Conf) node.Conf {
	return node.Conf{"cniVersion": "1.0.0", "name": name, "type": name, "ipam": node.HostLocal(subnet)}.With(keys)
}

var kinds = map[string]kind{
	"ipvlan": {
		config: plugin("ipvlan", "10.11.0.0/16", node.Conf{"master": "up0", "mode": "l2"}),
		link:   "ipvlan", addr: "10.11.0.2/16", reaches: []string{"10.11.0.250"},
	},
	"vlan": {
		config: plugin("vlan", "10.12.0.0/16", node.Conf{"master": "up0", "vlanId": 100}),
		link:   "vlan", addr: "10.12.0.2/16", reaches: []string{"10.12.0.250"},
	},
	"dummy": {
		config: plugin("dummy", "10.13.0.0/16", nil),
		link:   "dummy", addr: "10.13.0.2/16", reaches: []string{"10.13.0.2"},
	},
	// The reference plugins look for an interface's routes in the main table alone: none of
	// them passes a CHECK in a VRF.
	"vrf": {
		config: node.List("vrf", "1.0.0", node.Macvlan("vrf", "up1", "10.14.0.0/16"), node.Conf{"type": "vrf", "vrfname": "blue"}).
			With(node.Conf{"disableCheck": true}),
		link: "macvlan", addr: "10.14.0.2/16", master: "blue", reaches: []string{"-I", "blue", "10.14.0.250"},
	},
}

// newNode makes a node with the interfaces up0 and up1. The other end of up0 has
// 10.11.0.250, and behind the tag of VLAN 100 it has 10.12.0.250; that of up1 has
// 10.14.0.250.
func newNode(t *testing.T) *node.Node {
	t.Helper()
	n := node.New(t)
	other := n.Sandbox("other-end")
	for _, name := range []string{"up0", "up1"} {
		n.Run("ip", "link", "add", name, "type", "veth", "peer", "name", name+"-peer")
		n.Run("ip", "link", "set", name, "up")
		n.Run("ip", "link", "set", name+"-peer", "netns", other.Path)
	}
	for _, command := range []string{
		"ip link set up0-peer up",
		"ip addr add 10.11.0.250/16 dev up0-peer",
		"ip link add link up0-peer name tagged type vlan id 100",
		"ip link set tagged up",
		"ip addr add 10.12.0.250/16 dev tagged",
		"ip link set up1-peer up",
		"ip addr add 10.14.0.250/16 dev up1-peer",
	} {
		inSandbox(t, other, command)
	}
	return n
}

func inSandbox(t *testing.T, s *node.Sandbox, command string) string {
	t.Helper()
	out, err := s.Run("sh", "-c", command)
	if err != nil {
		t.Fatalf("%s: %v\n%s", command, err, out)
	}
	return out
}

// Each of them, and then without its interface, which somebody takes away: that fails a
// CHECK, by name, and a DEL releases the rest.
func TestGuestNetworks(t *testing.T) {
	guest.Inside(t)
	for _, name := range slices.Sorted(maps.Keys(kinds)) {
		t.Run(name, func(t *testing.T) {
			n, k := newNode(t), kinds[name]
			n.Network("extra", k.config)
			n.PodWith("c1", "extra")
			pod := n.Sandbox("c1")
			verb(n, "ADD", pod).OK()
			k.verify(t, pod)
			window.Of("node1", n).MustBeFine(t, false, "default/c1")
			verb(n, "CHECK", pod).OK()
			inSandbox(t, pod, "ip link del net0")
			if name == "vrf" {
				releaseAtTheEnd(t, n, pod)
			} else {
				releaseTheRest(t, n, pod)
			}
			clean(t, n)
		})
	}
}

func releaseTheRest(t *testing.T, n *node.Node, pod *node.Sandbox) {
	t.Helper()
	lost := verb(n, "CHECK", pod)
	if lost.ExitCode == 0 {
		t.Fatal("CHECK finds nothing amiss without net0")
	}
	check.Contains(t, "text", lost.Err.Msg, "default/c1", "default/extra", "net0")
	verb(n, "DEL", pod).OK()
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
}

// releaseAtTheEnd: the vrf plugin's DEL fails without the interface. The sandbox is then
// kept recorded until its namespace is gone: then the plugin has nothing to ask for.
func releaseAtTheEnd(t *testing.T, n *node.Node, pod *node.Sandbox) {
	t.Helper()
	failed := verb(n, "DEL", pod)
	if failed.ExitCode == 0 {
		t.Fatal("the vrf plugin does not mind that the interface is gone: this test need not either")
	}
	check.Contains(t, "text", failed.Err.Msg, "default/c1", "default/extra", "plugin vrf (DEL)")
	check.Equal(t, "reservations", n.Reservations()["vrf"], []string{"10.14.0.2"})
	pod.Destroy()
	verb(n, "DEL", pod).OK()
}

// All of them in one pod, and a second one that has not its turn of the VLAN: the kernel
// lets an interface have one link of a VLAN.
func TestGuestNetworksTogether(t *testing.T) {
	guest.Inside(t)
	n := newNode(t)
	for _, name := range []string{"ipvlan", "vlan", "dummy", "vrf"} {
		n.Network(name, kinds[name].config)
	}
	n.PodWith("c1", "ipvlan, vlan, dummy, vrf")
	n.PodWith("c2", "ipvlan, dummy, vrf, vlan")
	pod, second := n.Sandbox("c1"), n.Sandbox("c2")
	verb(n, "ADD", pod).OK()
	for ifName, kind := range map[string]string{"net0": "ipvlan", "net1": "vlan", "net2": "dummy", "net3": "macvlan", "blue": "vrf"} {
		check.Equal(t, "kind of "+ifName, pod.Interfaces()[ifName].Kind, kind)
	}
	there := n.Leftovers()
	o := verb(n, "ADD", second)
	if o.ExitCode == 0 {
		t.Fatal("a second link of one VLAN on one interface was made")
	}
	check.Contains(t, "text", o.Err.Msg, "default/c2", "default/vlan", "net3", `plugin vlan (ADD, master "up0")`)
	check.Equal(t, "interfaces of the second pod", second.InterfaceNames(), []string{})
	check.Equal(t, "files after its failure", n.Leftovers(), there)
	verb(n, "CHECK", pod).OK()
	verb(n, "DEL", pod).OK()
	verb(n, "DEL", pod).OK()
	verb(n, "ADD", second).OK()
	verb(n, "DEL", second).OK()
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	check.Equal(t, "interfaces of the second pod", second.InterfaceNames(), []string{})
	clean(t, n)
}

// The pod's default route does not lead into a VRF, whose routes its other programs do not
// use; and an attachment in a VRF loses none of them to another.
func TestGuestDefaultRouteAndVRF(t *testing.T) {
	guest.Inside(t)
	n := newNode(t)
	n.Network("vrf", kinds["vrf"].config)
	n.Network("plain", node.Bridge("br2", "10.3.0.0/16", "fd00:3::/64"))
	n.PodWith("c1", `[{"name": "vrf", "default-route": ["10.14.0.250"]}]`)
	n.PodWith("c2", `[{"name": "vrf"}, {"name": "plain", "default-route": ["fd00:3::1", "10.3.0.1"]}]`)
	pod, second := n.Sandbox("c1"), n.Sandbox("c2")
	failed := verb(n, "ADD", pod)
	if failed.ExitCode == 0 {
		t.Fatal("the pod has its default route in a VRF")
	}
	check.Contains(t, "text", failed.Err.Msg, "default/c1", "default/vrf", "default-route: interface net0 is in VRF blue")
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	verb(n, "ADD", second).OK()
	check.Equal(t, "default routes", second.DefaultRoutes(), []string{"10.3.0.1 dev net1", "fd00:3::1 dev net1"})
	for ifName, setting := range map[string]string{"eth0": "0", "net0": "1", "net1": "1"} {
		check.Equal(t, "accept_ra_defrtr of "+ifName, strings.TrimSpace(inSandbox(t, second, "cat /proc/sys/net/ipv6/conf/"+ifName+"/accept_ra_defrtr")), setting)
	}
	verb(n, "DEL", second).OK()
	clean(t, n)
}

func verb(n *node.Node, command string, pod *node.Sandbox) *node.Outcome {
	return n.Call(node.Call{Command: command, Config: n.Conf(nil), Sandbox: pod})
}

// verify demands that net0 is what it should be, and leads where it should.
func (k *kind) verify(t *testing.T, pod *node.Sandbox) {
	t.Helper()
	net0 := pod.Interfaces()["net0"]
	check.Equal(t, "kind of net0", net0.Kind, k.link)
	check.Equal(t, "addresses of net0", net0.Addrs, []string{k.addr})
	if k.master != "" {
		check.Contains(t, "text", inSandbox(t, pod, "ip -o link show net0"), "master "+k.master+" ")
	}
	inSandbox(t, pod, "ping -n -c 1 -w 60 "+strings.Join(k.reaches, " "))
	if err := pod.Ping("10.1.0.1"); err != nil {
		t.Errorf("eth0: %v", err)
	}
}

// clean demands that nothing of any pod is left.
func clean(t *testing.T, n *node.Node) {
	t.Helper()
	if left := n.Leftovers(); len(left) > 0 {
		t.Errorf("files are left: %v", left)
	}
	for _, kind := range []string{"ipvlan", "vlan", "dummy", "vrf", "macvlan"} {
		if links := n.Links(kind); len(links) > 0 {
			t.Errorf("interfaces of kind %s are left on the host: %v", kind, links)
		}
	}
}
