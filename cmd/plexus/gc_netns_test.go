package main

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// in110 makes a network's configuration one of version 1.1.0, which has GC and STATUS.
func in110(conf node.Conf) node.Conf { return conf.With(node.Conf{"cniVersion": "1.1.0"}) }

// gcNode makes a node with delegates of version 1.1.0 that note their calls.
func gcNode(t *testing.T) *node.Node {
	t.Helper()
	n := node.New(t)
	n.Uplink("up0")
	n.Wrap("bridge", "macvlan")
	n.Network("mac", in110(node.Macvlan("mac", "up0", "10.2.0.0/16")))
	return n
}

func gcConf(n *node.Node, more node.Conf) node.Conf {
	return n.Conf(node.Conf{"cniVersion": "1.1.0", "delegates": []node.Conf{in110(node.ClusterBridge())}}).With(more)
}

// attached makes sandboxes whose pods ask for the macvlan network, and attaches them.
func attached(n *node.Node, conf node.Conf, ids ...string) []*node.Sandbox {
	pods := make([]*node.Sandbox, len(ids))
	for i, id := range ids {
		n.PodWith(id, "mac")
		pods[i] = n.Sandbox(id)
		n.Add(pods[i], conf)
	}
	return pods
}

// gc is a GC that says which containers are in use, each on eth0.
func gc(n *node.Node, conf node.Conf, ids ...string) *node.Outcome {
	valid := []types.GCAttachment{}
	for _, id := range ids {
		valid = append(valid, types.GCAttachment{ContainerID: id, IfName: "eth0"})
	}
	return n.Call(node.Call{Command: "GC", Config: conf.With(node.Conf{"cni.dev/valid-attachments": valid})})
}

// told gives what each network's GC was told to be in use, sorted, as "container/interface".
func told(t *testing.T, calls []node.PluginCall) map[string][]string {
	t.Helper()
	lists := map[string][]string{}
	for _, c := range calls {
		if c.Command != "GC" {
			continue
		}
		var name string
		var valid []types.GCAttachment
		for key, into := range map[string]any{"name": &name, "cni.dev/valid-attachments": &valid} {
			if err := json.Unmarshal(c.Config[key], into); err != nil {
				t.Fatalf("%s: %s: %v", c, key, err)
			}
		}
		lists[name] = []string{}
		for _, a := range valid {
			lists[name] = append(lists[name], a.ContainerID+"/"+a.IfName)
		}
		slices.Sort(lists[name])
	}
	return lists
}

func TestNetnsGC(t *testing.T) {
	n := gcNode(t)
	conf, other := gcConf(n, nil), gcConf(n, node.Conf{"name": "other"})
	pods := attached(n, conf, "c1", "c2", "c3")
	foreign := attached(n, other, "c4")[0]
	there := pods[0].Interfaces()
	n.Calls()
	check.Equal(t, "what GC prints", gc(n, conf, "c1").OK().Stdout, "")
	check.Equal(t, "interfaces of the valid", pods[0].Interfaces(), there)
	check.Equal(t, "interfaces of the invalid", append(pods[1].InterfaceNames(), pods[2].InterfaceNames()...), []string{})
	check.Equal(t, "interfaces of the other network", foreign.InterfaceNames(), []string{"eth0", "net0"})
	check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl", "c4@other@eth0.jsonl"})
	check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{
		"cbr0": {"c1/eth0", "c4/eth0"},
		"mac":  {"c1/net0", "c4/net0"},
	})
	check.Equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.2", "10.1.0.5"}, "mac": {"10.2.0.2", "10.2.0.5"}})
	n.Del(pods[0], conf)
	n.Del(foreign, other)
	n.MustBeClean()
}

func TestNetnsGCWithoutAListFreesNothing(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pod := attached(n, conf, "c1")[0]
	left := n.Leftovers()
	n.Calls()
	failure := n.Call(node.Call{Command: "GC", Config: conf}).Fails(7)
	check.Contains(t, "error", failure.Msg, "cni.dev/valid-attachments")
	check.Equal(t, "calls", n.CallNames(), []string{})
	check.Equal(t, "files", n.Leftovers(), left)
	gc(n, conf).OK() // an empty list is one
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	n.MustBeClean()
}

// What an unreadable record uses is not known, so that the delegates free nothing.
func TestNetnsGCWithAnUnreadableRecord(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pods := attached(n, conf, "c1", "c2")
	damageRecord(t, n, pods[0], damages["garbage"])
	n.Calls()
	gc(n, conf, "c1").OK()
	check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{})
	check.Equal(t, "interfaces of the valid", pods[0].InterfaceNames(), []string{"eth0", "net0"})
	check.Equal(t, "interfaces of the invalid", pods[1].InterfaceNames(), []string{})
	check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl"})
	pods[0].Destroy()
	gc(n, conf).OK() // now it is not in use
	check.Equal(t, "files", n.Leftovers(), []string{n.RecordPath(pods[0]) + ".corrupt"})
}

func TestNetnsGCLeavesANewerRecordAlone(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pods := attached(n, conf, "c1", "c2")
	damageRecord(t, n, pods[0], newerFormat)
	n.Calls()
	check.Contains(t, "error", gc(n, conf).Err.Msg, "container c1", "newer version of plexus")
	check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{})
	check.Equal(t, "interfaces of the newer", pods[0].InterfaceNames(), []string{"eth0", "net0"})
	check.Equal(t, "interfaces of the invalid", pods[1].InterfaceNames(), []string{})
}

// Sandboxes of before plexus, in use, are in the lists of the delegates.
func TestNetnsGCSparesThoseOfBefore(t *testing.T) {
	for _, name := range []string{"our folder", "its own folder"} {
		t.Run(name, func(t *testing.T) {
			n := gcNode(t)
			conf := gcConf(n, nil)
			dir := multusDirs(n)[name]
			attached(n, conf, "c1")
			bare, multus := n.Sandbox("c2"), n.Sandbox("c3")
			attachBare(t, n, node.List("cbr0", "1.1.0", node.ClusterBridge()), libcni.CacheDir, bare.RuntimeConf("eth0"))
			executable := node.Executable(t, "PLEXUS_MULTUS_BIN", "multus")
			delegates := []node.Conf{node.ClusterBridge(), node.Macvlan("mac", "up0", "10.2.0.0/16")}
			n.Call(node.Call{Plugin: executable, Command: "ADD", Sandbox: multus, Config: multusConf(n, dir).With(node.Conf{"delegates": delegates})}).OK()
			files := n.Leftovers()
			n.Calls()
			gc(n, conf, "c1", "c2", "c3").OK()
			check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{
				"cbr0": {"c1/eth0", "c2/eth0", "c3/eth0"},
				// c2 and c3 have no record: whatever was the default network then may have made their eth0.
				"mac": {"c1/net0", "c2/eth0", "c3/eth0", "c3/net1"},
			})
			check.Equal(t, "files", n.Leftovers(), files)
			check.Equal(t, "interfaces of the bare", bare.InterfaceNames(), []string{"eth0"})
			check.Equal(t, "interfaces of Multus", multus.InterfaceNames(), []string{"eth0", "net1"})
			for _, pod := range []*node.Sandbox{bare, multus} {
				n.Del(pod, conf)
			}
			gc(n, conf).OK()
			n.MustBeClean()
		})
	}
}

// As long as Multus's state of a sandbox in use cannot be read, the delegates free
// nothing; that of one that is not in use does not matter.
func TestNetnsGCWithATruncatedMultusState(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	attached(n, conf, "c1")
	n.WriteFile("/var/lib/cni/multus/c9", `[{"Name": "mac", "Byt`)
	n.Calls()
	gc(n, conf, "c1", "c9").OK()
	check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{})
	gc(n, conf, "c1").OK()
	check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{"cbr0": {"c1/eth0"}, "mac": {"c1/net0"}})
}

func TestNetnsGCGoesOnAfterAFailure(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pods := attached(n, conf, "c1", "c2")
	n.Hook("macvlan", "DEL", `[ "$CNI_CONTAINERID" != c1 ] || fail 77 'not now'`)
	n.Hook("bridge", "GC", "fail 78 'nor now'")
	failure := gc(n, conf)
	check.Contains(t, "error", failure.Err.Msg, "container c1", "not now", "network cbr0", "nor now")
	check.Equal(t, "interfaces", append(pods[0].InterfaceNames(), pods[1].InterfaceNames()...), []string{"net0"})
	check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth0.jsonl"})
	n.Hook("macvlan", "DEL", "")
	n.Hook("bridge", "GC", "")
	gc(n, conf).OK()
	n.MustBeClean()
}

// The time is shared by what is to be released, not by all that there is.
func TestNetnsGCOfOneAmongMany(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pods := attached(n, conf, "a1", "b1")
	data, valid := n.ReadFile(n.RecordPath(pods[1])), []string{"b1"}
	for i := range 108 {
		id := fmt.Sprintf("b1-%03d", i)
		valid = append(valid, id)
		n.WriteFile(filepath.Join(n.CNIDir, "plexus", id+"@cluster@eth0.jsonl"), strings.ReplaceAll(data, `"containerID":"b1"`, `"containerID":"`+id+`"`))
	}
	check.Equal(t, "number of records", len(n.Records()), 110)
	n.Hook("macvlan", "DEL", "sleep 1") // slow, not stuck
	gc(n, conf, valid...).OK()
	check.Equal(t, "interfaces", pods[0].InterfaceNames(), []string{})
	check.Equal(t, "number of records", len(n.Records()), 109)
	check.Equal(t, "interfaces of the valid", pods[1].InterfaceNames(), []string{"eth0", "net0"})
}

// Sandboxes that Multus attached, and that the runtime keeps under another network.
func TestNetnsGCSparesLivingSandboxesOfMultus(t *testing.T) {
	for _, name := range []string{"our folder", "its own folder"} {
		t.Run(name, func(t *testing.T) {
			n := gcNode(t)
			conf := gcConf(n, nil)
			dir := multusDirs(n)[name]
			attached(n, conf, "c1")
			living, dead := n.Sandbox("c3"), n.Sandbox("c4")
			delegates := []node.Conf{node.ClusterBridge(), node.Macvlan("mac", "up0", "10.2.0.0/16")}
			for _, pod := range []*node.Sandbox{living, dead} {
				n.Call(node.Call{
					Plugin: node.Executable(t, "PLEXUS_MULTUS_BIN", "multus"), Command: "ADD", Sandbox: pod,
					Config: multusConf(n, dir).With(node.Conf{"delegates": delegates}),
				}).OK()
			}
			dead.Destroy()
			n.Calls()
			gc(n, conf, "c1").OK()
			check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{
				"cbr0": {"c1/eth0", "c3/eth0"},
				"mac":  {"c1/net0", "c3/net1"},
			})
			check.Equal(t, "interfaces of Multus", living.InterfaceNames(), []string{"eth0", "net1"})
			for network, address := range map[string]string{"cbr0": "10.1.0.3", "mac": "10.2.0.3"} {
				if !slices.Contains(n.Reservations()[network], address) {
					t.Errorf("%s of network %s is not reserved any more", address, network)
				}
			}
			n.Del(living, conf)
			check.Equal(t, "interfaces of Multus after its DEL", living.InterfaceNames(), []string{})
		})
	}
}

// A plugin may tell a list that is empty from none.
func TestNetnsGCOfNoAttachmentsTellsAnEmptyList(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	attached(n, conf, "c1")
	n.Calls()
	gc(n, conf).OK()
	lists := map[string]string{}
	for _, c := range n.Calls() {
		if c.Command == "GC" {
			lists[c.Plugin] = string(c.Config["cni.dev/valid-attachments"])
		}
	}
	check.Equal(t, "lists", lists, map[string]string{"bridge": "[]", "macvlan": "[]"})
	n.MustBeClean()
}
