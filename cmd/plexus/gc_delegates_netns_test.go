package main

import (
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// What lives is known from the records, also where libcni's cache is lost.
func TestNetnsGCWithoutACache(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pods := attached(n, conf, "c1", "c2")
	if err := os.RemoveAll(filepath.Join(n.CNIDir, "results")); err != nil {
		t.Fatal(err)
	}
	n.Calls()
	gc(n, conf, "c1").OK()
	check.Equal(t, "what the delegates were told", told(t, n.Calls()), map[string][]string{"cbr0": {"c1/eth0"}, "mac": {"c1/net0"}})
	check.Equal(t, "reservations", n.Reservations(), map[string][]string{"cbr0": {"10.1.0.2"}, "mac": {"10.2.0.2"}})
	check.Equal(t, "interfaces of the invalid", pods[1].InterfaceNames(), []string{})
	n.Del(pods[0], conf)
	n.MustBeClean()
}

// The GC of one network that fails keeps no other from its own. It begins with any of them,
// so that in some of many rounds this is the first.
func TestNetnsGCOfEveryNetwork(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	pod := attached(n, conf, "c1")[0]
	n.Hook("bridge", "GC", "fail 78 'not now'")
	n.Calls()
	first := map[string]bool{}
	for range 30 {
		check.Contains(t, "error", gc(n, conf, "c1").Fails(100).Msg, "network cbr0", "not now")
		var asked []string
		for _, c := range n.Calls() {
			if c.Command == "GC" {
				asked = append(asked, c.Plugin)
			}
		}
		first[asked[0]] = true
		slices.Sort(asked)
		check.Equal(t, "plugins whose GC ran", asked, []string{"bridge", "macvlan"})
	}
	check.Equal(t, "networks that came first", first, map[string]bool{"bridge": true, "macvlan": true})
	n.Hook("bridge", "GC", "")
	n.Del(pod, conf)
	n.MustBeClean()
}

// Two networks of one CNI name are two: each gets its GC, with the attachments of both. What
// one pod alone asked for is no network's business.
func TestNetnsGCOfNetworksOfOneName(t *testing.T) {
	for name, blue := range map[string]node.Conf{
		"of two plugins":     in110(node.Bridge("", "10.3.0.0/16")).With(node.Conf{"bridge": "blue0"}),
		"of one plugin only": in110(node.Macvlan("", "up0", "10.3.0.0/16")),
	} {
		t.Run(name, func(t *testing.T) {
			n := gcNode(t)
			conf := gcConf(n, nil)
			red := in110(node.Macvlan("", "up0", "10.2.0.0/16"))
			delete(red, "name")
			delete(blue, "name")
			n.NetworkIn("red", "net", red)
			n.NetworkIn("blue", "net", blue)
			var pods []*node.Sandbox
			for id, networks := range map[string]string{"c1": `[{"namespace": "red", "name": "net", "cni-args": {"secret": "of c1"}}]`, "c2": "blue/net"} {
				n.PodWith(id, networks)
				pod := n.Sandbox(id)
				n.Add(pod, conf)
				pods = append(pods, pod)
			}
			n.Calls()
			gc(n, conf, "c1", "c2").OK()
			var subnets []string
			for _, c := range n.Calls() {
				if c.Command != "GC" || string(c.Config["name"]) != `"net"` {
					continue
				}
				if args, some := c.Config["args"]; some {
					t.Errorf("the GC of %s got %s", c.Plugin, args)
				}
				check.Equal(t, "what it was told", told(t, []node.PluginCall{c}), map[string][]string{"net": {"c1/net0", "c2/net0"}})
				subnets = append(subnets, strings.Join(regexp.MustCompile(`10\.\d`).FindAllString(string(c.Config["ipam"]), 1), ""))
			}
			slices.Sort(subnets)
			check.Equal(t, "the networks whose GC ran", subnets, []string{"10.2", "10.3"})
			for _, pod := range pods {
				n.Del(pod, conf)
			}
			n.MustBeClean()
		})
	}
}
