package main

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// An interface that is there already is an error before the first plugin runs, and it is
// left alone, whichever network wants its name.
func TestNetnsInterfaceThatExists(t *testing.T) {
	for name, c := range map[string]struct{ link, network string }{
		"that of a selected network":     {"net1", "default/second"},
		"that of the default network":    {"eth0", "cbr0"},
		"of a plugin that does not look": {"net2", "default/blind"},
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Plugin("blind", `echo '{"cniVersion":"1.0.0","interfaces":[{"name":"'"$CNI_IFNAME"'","sandbox":"'"$CNI_NETNS"'"}]}'`)
			n.Wrap("bridge")
			n.Network("first", node.Bridge("br1", "10.2.0.0/16"))
			n.Network("second", node.Bridge("br2", "10.3.0.0/16"))
			n.Network("blind", node.Conf{"cniVersion": "1.0.0", "name": "blind", "type": "blind"})
			n.PodWith("c1", "first, second, blind")
			pod := n.Sandbox("c1")
			if out, err := pod.Run("ip", "link", "add", c.link, "type", "bridge"); err != nil {
				t.Fatal(err, out)
			}
			failure := call(n, "ADD", pod, n.Conf(nil)).Fails(4)
			check.Contains(t, "error", failure.Msg, "pod default/c1", "network "+c.network, "interface:", `"`+c.link+`"`, "already")
			check.Equal(t, "calls", n.CallNames(), []string{})
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{c.link})
			check.Equal(t, "records", n.Records(), []string{})
			if c.link != "eth0" { // without a record, DEL releases what an older node may have made
				n.Del(pod, n.Conf(nil))
				check.Equal(t, "interfaces after DEL", pod.InterfaceNames(), []string{c.link})
			}
		})
	}
}

// Where there is no namespace nothing runs, and so nothing has to be undone.
func TestNetnsAddWithoutANamespace(t *testing.T) {
	for name, path := range map[string]func(n *node.Node) string{
		"no file":    func(n *node.Node) string { return n.Path("netns", "gone") },
		"no mount":   func(n *node.Node) string { n.WriteFile(n.Path("netns", "left"), ""); return n.Path("netns", "left") },
		"no process": func(*node.Node) string { return "/proc/4194305/ns/net" },
	} {
		t.Run(name, func(t *testing.T) {
			n, pod := threeNetworks(t)
			n.Wrap("bridge", "macvlan")
			netns := path(n)
			failure := n.Call(node.Call{Command: "ADD", Config: n.Conf(nil), Sandbox: pod, NetNS: &netns}).Fails(4)
			check.Contains(t, "error", failure.Msg, "pod default/c1", "CNI_NETNS", netns)
			check.Equal(t, "calls", n.CallNames(), []string{})
			check.Equal(t, "records", n.Records(), []string{})
		})
	}
}
