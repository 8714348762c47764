package main

import (
	"encoding/json"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// A runtime may call CHECK straight after ADD. A chain that makes no interface of its own passes
// it, with the real plugins: they look for CNI_IFNAME, or for an interface in prevResult.
func TestNetnsCheckOfAChainWithoutAnInterface(t *testing.T) {
	tuning := node.Conf{"type": "tuning", "sysctl": node.Conf{"net.ipv4.conf.eth0.arp_filter": "1"}}
	bandwidth, portmap := node.Conf{"type": "bandwidth", "capabilities": node.Conf{"bandwidth": true}}, node.Conf{"type": "portmap"}
	for name, plugins := range map[string][]node.Conf{
		"tuning":               {tuning},
		"bandwidth":            {bandwidth},
		"portmap":              {portmap},
		"all of them":          {portmap, tuning, bandwidth},
		"after one of its own": {{"type": "keeper"}, tuning},
	} {
		for _, version := range []string{"0.4.0", "1.0.0", "1.1.0"} {
			t.Run(name+" "+version, func(t *testing.T) {
				n, pod, conf := chained(t, plugins)
				conf = conf.With(node.Conf{"cniVersion": version})
				added := n.Add(pod, conf)
				check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "net0"})
				n.Check(pod, prevResult(conf, added))
				n.Del(pod, conf)
				n.MustBeClean()
			})
		}
	}
}

// chained makes a node whose pod has a bridge as eth0, macvlan as net0 and an auxiliary chain of
// plugins. The plugin "keeper" has a file for each attachment, makes nothing else, and misses it
// in CHECK.
func chained(t *testing.T, plugins []node.Conf) (*node.Node, *node.Sandbox, node.Conf) {
	t.Helper()
	n := node.New(t)
	n.Uplink("up0")
	n.Plugin("keeper", `file=`+n.Path("kept")+`-$CNI_IFNAME
case $CNI_COMMAND in
ADD) : >"$file"; echo '{}' ;;
CHECK) [ -e "$file" ] || fail 100 "nothing is kept of $CNI_IFNAME" ;;
DEL) rm -f "$file" ;;
esac`)
	main := n.ConfDir + "/10-main.conflist"
	n.WriteFile(main, node.List("main", "1.0.0", node.ClusterBridge()).String())
	for i, plugin := range plugins {
		n.WriteFile(n.ConfDir+"/chain/"+string(rune('1'+i))+".conf", plugin.String())
	}
	n.Network("mac", node.Macvlan("mac", "up0", "10.2.0.0/16"))
	n.PodWith("c1", "mac")
	return n, n.Sandbox("c1"), n.Conf(node.Conf{"delegates": nil, "clusterNetwork": main, "auxiliaryCNIChainName": "chain"})
}

// CHECK of such a chain finds what is gone all the same, and names where it looked.
func TestNetnsCheckOfAChainFindsWhatIsGone(t *testing.T) {
	tuning := node.Conf{"type": "tuning", "sysctl": node.Conf{"net.ipv4.conf.eth0.arp_filter": "1"}}
	n, pod, conf := chained(t, []node.Conf{{"type": "keeper"}, tuning})
	conf = prevResult(conf, n.Add(pod, conf))
	n.Check(pod, conf)

	pod.MustRun("sysctl", "-w", "net.ipv4.conf.eth0.arp_filter=0")
	failure := call(n, "CHECK", pod, conf).Fails(999)
	check.Contains(t, "error", failure.Msg, "check network chain on net1", "plugin tuning (CHECK)", "on eth0: ", "current value is 0")
	pod.MustRun("sysctl", "-w", "net.ipv4.conf.eth0.arp_filter=1")
	n.Check(pod, conf)

	n.Run("rm", n.Path("kept-net1"))
	failure = call(n, "CHECK", pod, conf).Fails(100)
	check.Contains(t, "error", failure.Msg, "check network chain on net1", "nothing is kept of net1", "nothing is kept of eth0")
}

// A network that is selected may make no interface either. One that made an interface is checked
// on it alone, whatever its result says.
func TestNetnsCheckOfASelectedChain(t *testing.T) {
	for name, makes := range map[string]bool{"nothing": false, "an interface": true} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			body := `echo '{"cniVersion":"1.0.0"}'`
			if makes {
				body = `nsenter --net="$CNI_NETNS" ip link add "$CNI_IFNAME" type veth peer name other; ` + body
			}
			n.Plugin("quiet", `[ "$CNI_COMMAND" != ADD ] || { `+body+`; }`)
			n.Network("tuned", node.List("tuned", "1.0.0", node.Conf{"type": "quiet"}, node.Conf{"type": "tuning", "sysctl": node.Conf{"net.ipv4.conf.eth0.arp_filter": "1"}}))
			n.PodWith("c1", "tuned")
			pod, conf := n.Sandbox("c1"), n.Conf(nil)
			conf = prevResult(conf, n.Add(pod, conf))
			n.Check(pod, conf)
			if makes {
				pod.MustRun("ip", "link", "del", "net0")
				check.Contains(t, "error", call(n, "CHECK", pod, conf).Fails(999).Msg, "network default/tuned on net0", "Cannot find container link net0")
			}
		})
	}
}

// A plugin of such a chain gets in CHECK what its ADD had; only where it fails so, the first interface and
// the default network's result, in the version of the chain.
func TestNetnsWhatAChainGetsInCheck(t *testing.T) {
	n, pod, conf := chained(t, []node.Conf{{"type": "keeper"}, {"type": "picky", "cniVersion": "1.0.0"}})
	n.Plugin("picky", `case $CNI_COMMAND in
ADD) echo '{}' ;;
CHECK) [ "$CNI_IFNAME" = eth0 ] || fail 100 "not $CNI_IFNAME" ;;
esac`)
	added := n.Add(pod, conf)
	n.Calls()
	n.Check(pod, prevResult(conf, added))
	calls := n.Calls()
	var names []string
	for _, c := range calls {
		names = append(names, c.String())
	}
	check.Equal(t, "calls", names, []string{"CHECK keeper net1", "CHECK picky net1", "CHECK picky eth0"})
	for i, want := range [][]string{{}, {}, addresses(added.Result)} {
		check.Equal(t, "prevResult of "+names[i], addresses(node.ParseResult(t, calls[i].Config["prevResult"])), want)
	}
	var said string
	check.Must(t, json.Unmarshal(calls[2].Config["cniVersion"], &said))
	var previous struct{ CNIVersion string }
	check.Must(t, json.Unmarshal(calls[2].Config["prevResult"], &previous))
	check.Equal(t, "version of prevResult", previous.CNIVersion, said)
}
