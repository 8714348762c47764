package main

import (
	"encoding/json"
	"os"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// Every version of CNI that a runtime may call in, and a delegate may speak.
var allVersions = types.CNIVersions

// knowsCheckIn tells whether a version has the verb CHECK.
func knowsCheckIn(version string) bool { return version >= "0.4.0" }

func TestNetnsEveryVerbInEveryVersion(t *testing.T) {
	for i, version := range allVersions {
		t.Run(version, func(t *testing.T) {
			n := node.New(t)
			n.Uplink("up0")
			spoken := func(shift int) node.Conf {
				return node.Conf{"cniVersion": allVersions[(i+shift)%len(allVersions)]}
			}
			n.Network("mac", node.Macvlan("mac", "up0", "10.2.0.0/16").With(spoken(1)))
			n.Network("second", node.Bridge("br2", "10.3.0.0/16").With(spoken(2)))
			n.PodWith("c1", "mac, second")
			pod := n.Sandbox("c1")
			for shift := range allVersions {
				master := node.ClusterBridge().With(spoken(shift))
				conf := n.Conf(node.Conf{"cniVersion": version, "delegates": []node.Conf{master}})
				attachAndRelease(t, n, pod, conf)
			}
		})
	}
}

func attachAndRelease(t *testing.T, n *node.Node, pod *node.Sandbox, conf node.Conf) {
	t.Helper()
	version := conf["cniVersion"].(string)
	added := n.Add(pod, conf)
	check.Equal(t, "version of the answer", added.Version, version)
	interfaces := pod.Interfaces()
	check.Equal(t, "kinds", []string{interfaces["eth0"].Kind, interfaces["net0"].Kind, interfaces["net1"].Kind}, []string{"veth", "macvlan", "veth"})
	check.Equal(t, "number of interfaces", len(interfaces), 3)
	check.Equal(t, "addresses of the answer", addresses(added.Result), interfaces["eth0"].Addrs)
	check.Equal(t, "networks with a reservation", len(n.Reservations()), 3)
	conf = prevResult(conf, added)
	if knowsCheckIn(version) {
		n.Check(pod, conf)
	} else {
		call(n, "CHECK", pod, conf).Fails(1)
	}
	check.Equal(t, "what DEL prints", n.Del(pod, conf).Stdout, "")
	n.MustBeClean()
	check.Equal(t, "interfaces after DEL", pod.InterfaceNames(), []string{})
	n.Del(pod, conf)
	n.MustBeClean()
}

func TestNetnsCheckFindsWhatIsGone(t *testing.T) {
	n, pod := threeNetworks(t)
	conf := n.Conf(nil)
	conf = prevResult(conf, n.Add(pod, conf))
	n.Check(pod, conf)
	if out, err := pod.Run("ip", "addr", "flush", "dev", "net1"); err != nil {
		t.Fatal(err, out)
	}
	failure := call(n, "CHECK", pod, conf).Fails(999) // the plugin's own code
	check.Contains(t, "error", failure.Msg, "default/c1", "default/second", "net1", "bridge")
	n.Del(pod, conf)
	n.MustBeClean()
}

func TestNetnsCheckAsksForPrevResultIn110Only(t *testing.T) {
	n, pod := threeNetworks(t)
	conf := n.Conf(node.Conf{"cniVersion": "1.1.0"})
	call(n, "CHECK", pod, prevResult(conf, &node.Outcome{Stdout: "{}"})).Fails(3)
	added := n.Add(pod, conf)
	check.Contains(t, "error", call(n, "CHECK", pod, conf).Fails(7).Msg, "prevResult")
	n.Check(pod, prevResult(conf, added))
	n.Check(pod, n.Conf(nil))
}

func TestNetnsVersion(t *testing.T) {
	n := node.New(t)
	for _, version := range allVersions {
		o := n.Call(node.Call{Command: "VERSION", Config: node.Conf{"cniVersion": version}}).OK()
		var said struct{ SupportedVersions []string }
		if err := json.Unmarshal([]byte(o.Stdout), &said); err != nil {
			t.Fatal(err, o.Stdout)
		}
		check.Equal(t, "versions", said.SupportedVersions, allVersions)
	}
}

func TestNetnsStatusAndGCAreOf110(t *testing.T) {
	n := node.New(t)
	for _, version := range allVersions {
		conf := n.Conf(node.Conf{"cniVersion": version, "cni.dev/valid-attachments": []node.Conf{}})
		for _, command := range []string{"STATUS", "GC"} {
			o := n.Call(node.Call{Command: command, Config: conf})
			if version == "1.1.0" {
				check.Equal(t, command+" prints", o.OK().Stdout, "")
			} else {
				o.Fails(1)
			}
		}
	}
}

func TestNetnsDelBeforeAdd(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
	n.Add(pod, n.Conf(nil))
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

func TestNetnsAddTwice(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge", "macvlan")
	conf := n.Conf(nil)
	added := n.Add(pod, conf)
	interfaces, routes, left := pod.Interfaces(), pod.DefaultRoutes(), n.Leftovers()
	n.Calls()
	failure := call(n, "ADD", pod, conf).Fails(100)
	check.Contains(t, "error", failure.Msg, "default/c1", "c1 is attached already", "eth0")
	check.Equal(t, "plugins that ran", n.CallNames(), []string{})
	check.Equal(t, "interfaces", pod.Interfaces(), interfaces)
	check.Equal(t, "routes", pod.DefaultRoutes(), routes)
	check.Equal(t, "files", n.Leftovers(), left)
	n.Check(pod, prevResult(conf, added))
	if err := pod.Ping("10.1.0.1"); err != nil {
		t.Error(err)
	}
	n.Del(pod, conf)
	n.MustBeClean()
}

func TestNetnsAddOfAnotherInterfaceOfTheSameContainer(t *testing.T) {
	n := node.New(t)
	n.Pod("c1", nil)
	pod := n.Sandbox("c1")
	first, other := n.Conf(nil), n.Conf(node.Conf{"name": "other", "delegates": []node.Conf{node.Bridge("br9", "10.9.0.0/16")}})
	n.Add(pod, first)
	n.Call(node.Call{Command: "ADD", Config: other, Sandbox: pod, IfName: "eth1"}).OK()
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "eth1"})
	n.Call(node.Call{Command: "DEL", Config: other, Sandbox: pod, IfName: "eth1"}).OK()
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0"})
	n.Check(pod, first)
	n.Del(pod, first)
	n.MustBeClean()
}

// A container of podman has two networks of plexus, whose interfaces must not meet: the
// undo of the second would take the first's away.
func TestNetnsInterfaceOfTheOtherRecordIsRefused(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge", "macvlan")
	first := n.Conf(nil)
	second := n.Conf(node.Conf{"name": "other", "delegates": []node.Conf{node.Bridge("br8", "10.8.0.0/16")}})
	n.Add(pod, first)
	n.PodWith("c1", "second@net0")
	interfaces, files := pod.Interfaces(), n.Leftovers()
	n.Calls()
	failure := n.Call(node.Call{Command: "ADD", Config: second, Sandbox: pod, IfName: "eth1"}).Fails(7)
	check.Contains(t, "error", failure.Msg, "default/c1", "network default/second", `interface: "net0" is taken`)
	check.Equal(t, "calls", n.CallNames(), []string{})
	check.Equal(t, "interfaces", pod.Interfaces(), interfaces)
	check.Equal(t, "files", n.Leftovers(), files)
	n.Call(node.Call{Command: "DEL", Config: second, Sandbox: pod, IfName: "eth1"}).OK()
	check.Equal(t, "interfaces after its DEL", pod.Interfaces(), interfaces)
	n.Check(pod, first)
	n.Del(pod, first)
	n.MustBeClean()
}

func TestNetnsAddAfterAFailedAdd(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge", "macvlan")
	n.Hook("macvlan", "ADD", "fail 101 'no luck today'")
	call(n, "ADD", pod, n.Conf(nil)).Fails(101)
	n.MustBeClean()
	n.Hook("macvlan", "ADD", "")
	n.Add(pod, n.Conf(nil))
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "net0", "net1"})
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

func TestNetnsDelOfANamespaceThatIsGone(t *testing.T) {
	for name, keepFile := range map[string]bool{"no file": false, "an empty file": true} {
		t.Run(name, func(t *testing.T) {
			n, pod := threeNetworks(t)
			n.Wrap("bridge", "macvlan")
			n.Add(pod, n.Conf(nil))
			pod.Destroy(keepFile)
			n.Calls()
			n.Del(pod, n.Conf(nil))
			for _, c := range n.Calls() {
				check.Equal(t, "CNI_NETNS of "+c.String(), c.NetNS, "")
			}
			n.MustBeClean()
		})
	}
}

func TestNetnsDelWithoutNamespace(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Add(pod, n.Conf(nil))
	n.Call(node.Call{Command: "DEL", Config: n.Conf(nil), Sandbox: pod, NetNS: ptr("")}).OK()
	check.Equal(t, "reservations", n.Reservations(), map[string][]string{})
	check.Equal(t, "records", n.Records(), []string{})
}

func TestNetnsAddInTheHostsNamespaceIsRefused(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge", "macvlan")
	host := n.Path("netns", "host")
	n.WriteFile(host, "")
	n.Run("mount", "--bind", "/proc/thread-self/ns/net", host)
	o := n.Call(node.Call{Command: "ADD", Config: n.Conf(nil), Sandbox: pod, NetNS: &host})
	check.Contains(t, "error", o.Fails(4).Msg, "CNI_NETNS", host)
	check.Equal(t, "plugins that ran", n.CallNames(), []string{})
	if _, err := os.Stat(n.CNIDir); !os.IsNotExist(err) {
		t.Errorf("%s was made: %v", n.CNIDir, err)
	}
}

func TestNetnsAddWithoutNamespaceIsRefused(t *testing.T) {
	n, pod := threeNetworks(t)
	missing := n.Path("netns", "nobody")
	n.Call(node.Call{Command: "ADD", Config: n.Conf(nil), Sandbox: pod, NetNS: ptr("")}).Fails(4)
	o := n.Call(node.Call{Command: "ADD", Config: n.Conf(nil), Sandbox: pod, NetNS: &missing})
	if o.ExitCode != 1 || o.Err.Msg == "" {
		t.Errorf("want a CNI error, got exit code %d, %s", o.ExitCode, o.Stdout)
	}
	n.MustBeClean()
}
