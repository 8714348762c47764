// Package paths traces packets through kinds of interfaces that a cloud machine's kernel does not
// have. Each hop is one that the script built, and the packets of a ping take the same way.
package paths

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/lab"
)

func TestE2EGuestPaths(t *testing.T) {
	guest.Run(t, guest.Options{Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN"}})
}

var twoNodes = map[string][]string{"n1": {"p1"}, "n2": {"p2"}, "wire": nil}

// both runs the lines of a script for either node: %i is its number, %o the other's.
func both(script string) string {
	return strings.NewReplacer("%i", "1", "%o", "2").Replace(script) + strings.NewReplacer("%i", "2", "%o", "1").Replace(script)
}

const (
	wire = `
wire ip link add br0 type bridge
wire ip link set br0 up
wire ip link add br1 type bridge
wire ip link set br1 up
`
	nics = `
n%i ip link add eth0 type veth peer name s%i netns @wire
n%i ip link add eth1 type veth peer name r%i netns @wire
wire ip link set s%i master br0 up
wire ip link set r%i master br1 up
n%i ip addr add 192.0.2.2%i/24 dev eth0
n%i ip link set eth0 up
n%i ip link set eth1 up
n%i sysctl -qw net.ipv4.ip_forward=1
`
	vlan = `
n%i ip link add link eth1 name eth1.100 type vlan id 100
n%i ip link set eth1.100 up
n%i ip link add net0 link eth1.100 netns @p%i type macvlan mode bridge
p%i ip addr add 10.9.0.%i/24 dev net0
p%i ip link set net0 up
`
	podVLAN = `
n%i ip link add link eth1 name net0 netns @p%i type vlan id 7%i
p%i ip addr add 10.9.0.%i/24 dev net0
p%i ip link set net0 up
`
	bond = `
n%i ip link add bond0 type bond mode active-backup miimon 100
n%i ip link set eth1 down
n%i ip link set eth1 master bond0
n%i ip link set bond0 up
n%i ip link add link bond0 name bond0.100 type vlan id 100
n%i ip link set bond0.100 up
n%i ip link add net0 link bond0.100 netns @p%i type macvlan mode bridge
p%i ip addr add 10.9.0.%i/24 dev net0
p%i ip link set net0 up
`
	vrf = `
n%i ip link add net0 link eth1 netns @p%i type macvlan mode bridge
p%i ip link add red type vrf table 10
p%i ip link set red up
p%i ip link set net0 master red
p%i ip addr add 10.9.0.%i/24 dev net0
p%i ip link set net0 up
`
	ipvlan = `
n%i ip link add net0 link eth1 netns @p%i type ipvlan mode MODE
p%i ip addr add 10.9.0.%i/24 dev net0
p%i ip link set net0 up
`
	ipvlanL3 = `
n%i ip link add net0 link eth1 netns @p%i type ipvlan mode l3
p%i ip addr add 10.%i.0.2/24 dev net0
p%i ip link set net0 up
p%i ip route add default dev net0
n%i ip addr add 198.51.100.%i/24 dev eth1
n%i ip route add 10.%o.0.0/24 via 198.51.100.%o
`
	ipip = `
n%i ip link add tun1 type ipip local 192.0.2.2%i remote 192.0.2.2%o
n%i ip link set tun1 up
n%i ip link add veth%i type veth peer name net0 netns @p%i
n%i ip addr add 10.%i.0.1/24 dev veth%i
n%i ip link set veth%i up
p%i ip addr add 10.%i.0.2/24 dev net0
p%i ip link set net0 up
p%i ip route add default via 10.%i.0.1
n%i ip route add 10.%o.0.0/24 dev tun1
`
	vlanBridge = `
n%i ip link add br0 type bridge vlan_filtering 1
n%i ip link set br0 up
n%i ip link set eth1 master br0
n%i bridge vlan add vid 5 dev eth1
n%i ip link add veth%i type veth peer name net0 netns @p%i
n%i ip link set veth%i master br0 up
n%i bridge vlan del vid 1 dev veth%i
n%i bridge vlan add vid 5 pvid untagged dev veth%i
p%i ip addr add 10.9.0.%i/24 dev net0
p%i ip link set net0 up
`
	vxlanPort = `
n%i ip link add br0 type bridge
n%i ip link set br0 up
n%i ip link add vx5 type vxlan id 5 local 192.0.2.2%i remote 192.0.2.2%o dev eth0 dstport 4789
n%i ip link set vx5 master br0 up
n%i ip link add veth%i type veth peer name net0 netns @p%i
n%i ip link set veth%i master br0 up
p%i ip addr add 10.9.0.%i/24 dev net0
p%i ip link set net0 up
`
)

// situations are ways from net0 of one pod to net0 of the other.
var situations = map[string]struct {
	script, there, reason string
	before                string // runs after a ping
	size                  int
}{
	"a VLAN below a macvlan": {script: vlan, there: "net0 -child- eth1.100 -child- eth1 -wire- eth1 -child- eth1.100 -child- net0: arrives", size: 1500},
	"different VLANs": {
		script: podVLAN, there: "net0 -child- eth1: lost", size: 1500,
		reason: "it leaves eth1 with VLAN 71, and net0 takes VLAN 72",
	},
	"a bond and a VLAN": {script: bond, there: "net0 -child- bond0.100 -child- bond0 -child- eth1 -wire- eth1 -child- bond0 -child- bond0.100 -child- net0: arrives", size: 1500},
	"a VRF":             {script: vrf, there: "net0 -child- eth1 -wire- eth1 -child- net0: arrives", size: 1500},
	"ipvlan l2":         {script: strings.ReplaceAll(ipvlan, "MODE", "l2"), there: "net0 -child- eth1 -wire- eth1 -child- net0: arrives", size: 1500},
	"ipvlan l3":         {script: ipvlanL3, there: "net0 -child- eth1 -wire- eth1 -child- net0: arrives", size: 1500},
	"IP in IP":          {script: ipip, there: "net0 -pair- veth1 -routed- tun1 -encapsulated- eth0 -wire- eth0 -decapsulated- tun1 -routed- veth2 -pair- net0: arrives", size: 1480},
	"a bridge with VLANs and an uplink": {
		script: vlanBridge, there: "net0 -pair- veth1 -bridged- br0 -bridged- eth1 -wire- eth1 -bridged- br0 -bridged- veth2 -pair- net0: arrives", size: 1500,
	},
	"a port that is not in the VLAN": {
		script: vlanBridge, before: "n2 bridge vlan del vid 5 dev eth1",
		there: "net0 -pair- veth1 -bridged- br0 -bridged- eth1 -wire- eth1: lost", size: 1500,
		reason: "the port eth1 of br0 takes no frames of VLAN 5",
	},
	"a VTEP that is a port": {
		script: vxlanPort, there: "net0 -pair- veth1 -bridged- br0 -bridged- vx5 -encapsulated- eth0 -wire- eth0 -decapsulated- vx5 -bridged- br0 -bridged- veth2 -pair- net0: arrives", size: 1450,
	},
}

// reversed gives the way back: the nodes are alike but for their numbers.
func reversed(there string) string {
	return strings.NewReplacer("veth1", "veth2", "veth2", "veth1").Replace(there)
}

func TestGuestPaths(t *testing.T) {
	guest.Inside(t)
	for name, test := range situations {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, twoNodes, wire+both(nics+test.script))
			l.Ping("p1", "p2", "net0") // so that neighbours are known, or are not
			l.Script(test.before)
			d := l.Trace(path.Query{From: "p1", To: "p2", Interface: "net0"}, "n1", "n2")
			check.Equal(t, "there", lab.Told(&d.There), test.there)
			if test.reason == "" {
				check.Equal(t, "why it does not arrive", d.There.Reason, "")
			}
			check.Contains(t, "reason", d.There.Reason, test.reason)
			check.Equal(t, "largest packet", d.Narrowest.Size, test.size)
			if test.reason == "" {
				check.Equal(t, "back", lab.Told(d.Back), reversed(test.there))
			}
		})
	}
}
