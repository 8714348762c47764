package main

import (
	"encoding/json"
	"fmt"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// dualStack makes a node whose pod "c1" is attached to two bridges with both families;
// eth0 has the default routes, and the selection asks of the second network.
func dualStack(t *testing.T, request string) (*node.Node, *node.Sandbox, node.Conf) {
	t.Helper()
	n := node.New(t)
	n.Network("second", node.Bridge("br2", "10.3.0.0/16", "fd00:3::/64"))
	n.PodWith("c1", fmt.Sprintf(`[{"name": "second"%s}]`, request))
	master := node.Bridge("cbr0", "10.1.0.0/16", "fd00:1::/64").With(node.Conf{"isDefaultGateway": true})
	return n, n.Sandbox("c1"), n.Conf(node.Conf{"delegates": []node.Conf{master}})
}

var defaultRouteCases = []struct {
	name    string
	request string
	eth0    []string // default routes that stay there
	net0    []string // that go there
	status  []string // the status' default-route of net0
}{
	{name: "no request", eth0: []string{"10.1.0.1", "fd00:1::1"}},
	{name: "empty list", request: `[]`, eth0: []string{"10.1.0.1", "fd00:1::1"}},
	{
		name: "IPv4", request: `["10.3.0.1"]`,
		eth0: []string{"fd00:1::1"}, net0: []string{"10.3.0.1"}, status: []string{"10.3.0.1"},
	},
	{
		name: "IPv6", request: `["fd00:3::1"]`,
		eth0: []string{"10.1.0.1"}, net0: []string{"fd00:3::1"}, status: []string{"fd00:3::1"},
	},
	{
		name: "link-local", request: `["fe80::1"]`,
		eth0: []string{"10.1.0.1"}, net0: []string{"fe80::1"}, status: []string{"fe80::1"},
	},
	{
		name: "both", request: `["fd00:3::1", "10.3.0.1"]`,
		net0: []string{"10.3.0.1", "fd00:3::1"}, status: []string{"fd00:3::1", "10.3.0.1"},
	},
}

func TestNetnsDefaultRoute(t *testing.T) {
	for _, c := range defaultRouteCases {
		t.Run(c.name, func(t *testing.T) {
			request := ""
			if c.request != "" {
				request = `, "default-route": ` + c.request
			}
			n, pod, conf := dualStack(t, request)
			added := n.Add(pod, conf)
			eth0, net0 := on("eth0", c.eth0), on("net0", c.net0)
			check.Equal(t, "default routes in the namespace", pod.DefaultRoutes(), byFamily(append(eth0, net0...)))
			check.Equal(t, "in the answer", defaultsIn(added.Result, "eth0"), eth0)
			check.Equal(t, "in the cache of eth0", defaultsIn(n.Cached(pod, "cbr0", "eth0"), "eth0"), eth0)
			check.Equal(t, "in the cache of net0", defaultsIn(n.Cached(pod, "br2", "net0"), "net0"), net0)
			status := statusOf(n, pod)
			check.Equal(t, "default-route of eth0's status", status["eth0"].DefaultRoute, nil)
			check.Equal(t, "gateway of eth0's status", status["eth0"].Gateway, c.eth0)
			check.Equal(t, "default-route of net0's status", status["net0"].DefaultRoute, c.status)
			check.Equal(t, "gateway of net0's status", status["net0"].Gateway, c.net0)
			n.Check(pod, prevResult(conf, added))
			n.Del(pod, prevResult(conf, added))
			n.MustBeClean()
		})
	}
}

// on gives default routes as Sandbox.DefaultRoutes does.
func on(ifName string, gateways []string) []string {
	routes := []string{}
	for _, gateway := range gateways {
		routes = append(routes, gateway+" dev "+ifName)
	}
	return routes
}

// byFamily puts IPv4 first and leaves the order as it is otherwise.
func byFamily(routes []string) []string {
	v4, v6 := []string{}, []string{}
	for _, route := range routes {
		if strings.Contains(route, ":") {
			v6 = append(v6, route)
		} else {
			v4 = append(v4, route)
		}
	}
	return append(v4, v6...)
}

func TestNetnsDefaultRouteThatCannotBeIsUndone(t *testing.T) {
	for name, c := range map[string]struct{ gateways, problem string }{
		"not on-link, IPv4":         {`["10.99.0.1"]`, "gateway 10.99.0.1"},
		"not on-link, IPv6":         {`["fd00:99::1"]`, "gateway fd00:99::1"},
		"on-link elsewhere":         {`["10.1.0.1"]`, "gateway 10.1.0.1"},
		"the pod's own":             {`["10.3.0.2"]`, "gateway 10.3.0.2: is the pod's own address"},
		"the pod's own, IPv6":       {`["fd00:3::2"]`, "gateway fd00:3::2: is the pod's own address"},
		"the network's own":         {`["10.3.0.0"]`, "gateway 10.3.0.0: is the address of the network on net0 itself, which no host has"},
		"one family of two is":      {`["10.3.0.1", "fd00:99::1"]`, "gateway fd00:99::1"},
		"broadcast":                 {`["10.3.255.255"]`, "gateway 10.3.255.255"},
		"the pod's other interface": {`["10.1.0.2"]`, "gateway 10.1.0.2"},
	} {
		t.Run(name, func(t *testing.T) {
			n, pod, conf := dualStack(t, `, "default-route": `+c.gateways)
			failure := call(n, "ADD", pod, conf).Fails(100)
			check.Contains(t, "error", failure.Msg, "pod default/c1", "network default/second", "default-route", c.problem)
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			n.MustBeClean()
		})
	}
}

// Two gateways of a family would be two routes to choose from: nothing runs.
func TestNetnsDefaultRouteOfTwoGateways(t *testing.T) {
	for name, c := range map[string]struct{ gateways, problem string }{
		"IPv4":               {`["10.3.0.9", "10.3.0.1"]`, `default-route[1]: "10.3.0.1" is a second gateway of IPv4 beside "10.3.0.9"`},
		"IPv6":               {`["fd00:3::9", "fd00:3::1"]`, `default-route[1]: "fd00:3::1" is a second gateway of IPv6 beside "fd00:3::9"`},
		"IPv4 and both IPv6": {`["fe80::1", "10.3.0.1", "fd00:3::1"]`, `default-route[2]: "fd00:3::1" is a second gateway of IPv6 beside "fe80::1"`},
	} {
		t.Run(name, func(t *testing.T) {
			n, pod, conf := dualStack(t, `, "default-route": `+c.gateways)
			n.Wrap("bridge")
			failure := call(n, "ADD", pod, conf).Fails(7)
			check.Contains(t, "error", failure.Msg, "pod default/c1", "default/second", c.problem, "only one may be asked for")
			check.Equal(t, "calls", n.CallNames(), []string{})
			n.MustBeClean()
		})
	}
}

// A third network loses the default route that its own plugin made.
func TestNetnsDefaultRouteIsTakenFromEveryOtherAttachment(t *testing.T) {
	n := node.New(t)
	n.Network("greedy", node.Bridge("br3", "10.4.0.0/16").With(node.Conf{"isDefaultGateway": true}))
	n.Network("second", node.Bridge("br2", "10.3.0.0/16"))
	n.PodWith("c1", `[{"name": "second", "default-route": ["10.3.0.1"]}, {"name": "greedy"}]`)
	pod := n.Sandbox("c1")
	added := n.Add(pod, n.Conf(node.Conf{"result": "all"}))
	check.Equal(t, "default routes", pod.DefaultRoutes(), []string{"10.3.0.1 dev net0"})
	check.Equal(t, "in the answer", defaultsIn(added.Result, "net0"), []string{"10.3.0.1 dev net0"})
	check.Equal(t, "in the cache of net1", defaultsIn(n.Cached(pod, "br3", "net1"), "net1"), []string{})
	if err := pod.Ping("10.3.0.1"); err != nil {
		t.Error(err)
	}
	n.Check(pod, prevResult(n.Conf(nil), added))
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

// The default route of another table is where it was, and so says the result.
func TestNetnsDefaultRouteOfAnotherTableStays(t *testing.T) {
	n := node.New(t)
	ipam := node.HostLocal("10.1.0.0/16").With(node.Conf{"routes": []node.Conf{{"dst": "0.0.0.0/0", "gw": "10.1.0.1", "table": 100}}})
	n.Network("second", node.Bridge("br2", "10.3.0.0/16"))
	n.PodWith("c1", `[{"name":"second","default-route":["10.3.0.1"]}]`)
	pod := n.Sandbox("c1")
	master := in110(node.Bridge("cbr0", "10.1.0.0/16")).With(node.Conf{"ipam": ipam})
	added := n.Add(pod, n.Conf(node.Conf{"cniVersion": "1.1.0", "delegates": []node.Conf{master}}))
	check.Equal(t, "default routes", pod.DefaultRoutes(), []string{"10.3.0.1 dev net0"})
	routes, err := pod.Run("ip", "route", "show", "table", "100")
	check.Contains(t, "table 100", routes, "default via 10.1.0.1 dev eth0")
	check.Equal(t, "error", err, nil)
	said, err := json.Marshal(added.Result.Routes)
	check.Equal(t, "routes of the result", string(said), `[{"dst":"0.0.0.0/0","gw":"10.1.0.1","table":100}]`)
	check.Equal(t, "error", err, nil)
}
