package main

import (
	"encoding/json"
	"net"
	"slices"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// threeNetworks makes a node whose pod "c1" is attached to a bridge as eth0, and asks
// for macvlan and another bridge.
func threeNetworks(t *testing.T) (*node.Node, *node.Sandbox) {
	t.Helper()
	n := node.New(t)
	n.Uplink("up0")
	n.Network("mac", node.Macvlan("mac", "up0", "10.2.0.0/16"))
	n.Network("second", node.Bridge("br2", "10.3.0.0/16"))
	n.PodWith("c1", "mac, second")
	return n, n.Sandbox("c1")
}

// call is a call that may fail.
func call(n *node.Node, command string, pod *node.Sandbox, conf node.Conf) *node.Outcome {
	return n.Call(node.Call{Command: command, Config: conf, Sandbox: pod})
}

// addresses gives the addresses of a result with their prefix, sorted.
func addresses(result *current.Result) []string {
	all := []string{}
	for _, ip := range result.IPs {
		all = append(all, ip.Address.String())
	}
	slices.Sort(all)
	return all
}

// defaultsIn gives the default routes that a result names, as Sandbox.DefaultRoutes
// does, for its interface.
func defaultsIn(result *current.Result, ifName string) []string {
	all := []string{}
	for _, route := range result.Routes {
		if ones, _ := route.Dst.Mask.Size(); ones == 0 {
			all = append(all, gateway(route)+" dev "+ifName)
		}
	}
	return all
}

func gateway(route *cnitypes.Route) string {
	if route.GW == nil {
		return net.IP(nil).String()
	}
	return route.GW.String()
}

// statusOf gives the status in a sandbox's record, by interface.
func statusOf(n *node.Node, pod *node.Sandbox) map[string]types.NetworkStatus {
	all := map[string]types.NetworkStatus{}
	for _, entry := range n.Record(pod).Status {
		all[entry.Interface] = entry
	}
	return all
}

// prevResult makes a configuration with the result of an ADD, as a runtime does for
// CHECK and DEL.
func prevResult(conf node.Conf, o *node.Outcome) node.Conf {
	return conf.With(node.Conf{"prevResult": json.RawMessage(o.Stdout)})
}

func ptr[T any](v T) *T { return &v }
