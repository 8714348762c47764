package cluster

import (
	"context"
	"encoding/json"
	"fmt"
)

// Master is a cluster network: what makes eth0.
type Master interface {
	// Install puts the network on a cluster whose nodes are registered and wait for it.
	Install(ctx context.Context, c *Cluster) error
	// Boot starts what a node runs for the network, after a reboot.
	Boot(ctx context.Context, n *Node) error
}

// Conf is a CNI configuration, or a part of one.
type Conf = map[string]any

// Bridge is the simplest cluster network: the bridge plugin, and routes between the nodes.
type Bridge struct{}

// BridgeFile is the file of its configuration on a node.
const BridgeFile = "/etc/cni/net.d/10-bridge.conflist"

// Install implements [Master].
func (b Bridge) Install(ctx context.Context, c *Cluster) error {
	for _, n := range c.nodes {
		if err := b.Boot(ctx, n); err != nil {
			return err
		}
	}
	return c.routePods()
}

// Boot implements [Master].
func (b Bridge) Boot(_ context.Context, n *Node) error {
	if err := n.cluster.routePods(); err != nil {
		return err
	}
	return n.WriteFile(BridgeFile, JSON(b.conf(n)))
}

func (Bridge) conf(n *Node) Conf {
	return Conf{"cniVersion": "1.0.0", "name": "cluster", "plugins": []Conf{
		{
			"type": "bridge", "bridge": "cni0", "isGateway": true, "isDefaultGateway": true, "hairpinMode": true,
			"ipam": Conf{"type": "host-local", "ranges": [][]Conf{{{"subnet": n.podCIDR().String()}}}},
		},
		{"type": "portmap", "capabilities": Conf{"portMappings": true}},
	}}
}

// JSON gives a configuration as text.
func JSON(v any) string {
	text, err := json.Marshal(v)
	if err != nil {
		panic(fmt.Sprintf("e2e: a configuration that is no JSON: %v", err)) // of our own making
	}
	return string(text)
}
