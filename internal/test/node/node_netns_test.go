package node_test

import (
	"os"
	"testing"

	"github.com/vishvananda/netlink"

	"github.com/plexus-cni/plexus/internal/test/node"
)

func TestNetnsNodeIsNotTheMachine(t *testing.T) {
	const name = "nodetest0" // of an interface and of a network that no other test makes
	n := node.New(t)
	n.Uplink(name)
	n.Network(name, node.Macvlan(name, name, "10.2.0.0/16"))
	n.PodWith("c1", name)
	pod := n.Sandbox("c1")
	n.Call(node.Call{Command: "ADD", Config: n.Conf(nil), Sandbox: pod}).OK()
	if err := pod.Ping("10.1.0.1"); err != nil {
		t.Error(err)
	}
	if len(n.Leftovers()) == 0 || len(n.Links("veth")) != 1 || len(n.Reservations()[name]) != 1 {
		t.Errorf("the node does not show what is on it: %v, %v, %v", n.Leftovers(), n.Links("veth"), n.Reservations())
	}
	if _, err := netlink.LinkByName(name); err == nil {
		t.Error("the node's interface is one of the machine")
	}
	if _, err := os.Stat("/var/lib/cni/networks/" + name); err == nil {
		t.Error("the node's reservations are on the machine")
	}
	if info, err := os.Stat(pod.Path); err != nil || info.Size() != 0 {
		t.Errorf("%s is mounted on the machine: %v", pod.Path, err)
	}
}

func TestNetnsHooksAndCalls(t *testing.T) {
	n := node.New(t)
	n.Plugin("fake", `echo '{"cniVersion": "1.0.0"}'`)
	n.Pod("c1", nil)
	pod := n.Sandbox("c1")
	conf := n.Conf(node.Conf{"delegates": []node.Conf{{"cniVersion": "1.0.0", "name": "fake", "type": "fake", "key": "value"}}})
	n.Hook("fake", "ADD", "fail 123 'as told'")
	failure := n.Call(node.Call{Command: "ADD", Config: conf, Sandbox: pod}).Fails(123)
	if want := "pod default/c1: attach network fake as eth0: plugin fake (ADD): as told"; failure.Msg != want {
		t.Errorf("got %q, want %q", failure.Msg, want)
	}
	calls := n.Calls()
	if len(calls) != 2 || calls[0].String() != "ADD fake eth0" || string(calls[0].Config["key"]) != `"value"` || calls[1].Command != "DEL" {
		t.Errorf("calls: %v", calls)
	}
	if again := n.Calls(); len(again) != 0 {
		t.Errorf("calls that were read already: %v", again)
	}
}
