package masters

import (
	"context"
	"fmt"
	"strings"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// SubnetFile is what flanneld writes and its plugin reads.
const SubnetFile = "/run/flannel/subnet.env"

// Flannel is flanneld with the Kubernetes API as its store, and the flannel plugin.
type Flannel struct {
	Backend string // "vxlan" or "host-gw"
}

// Install implements [cluster.Master].
func (f Flannel) Install(ctx context.Context, c *cluster.Cluster) error {
	m, err := readManifest(FlannelVar, "kube-flannel.yml")
	if err != nil {
		return err
	}
	if err := m.apply(c); err != nil {
		return err
	}
	return everywhere(ctx, c, f)
}

// everywhere boots a cluster network on all nodes.
func everywhere(ctx context.Context, c *cluster.Cluster, m cluster.Master) error {
	for _, n := range c.Nodes() {
		if err := m.Boot(ctx, n); err != nil {
			return fmt.Errorf("on %s: %w", n.Name, err)
		}
	}
	return nil
}

// Boot implements [cluster.Master].
func (f Flannel) Boot(ctx context.Context, n *cluster.Node) error {
	m, err := readManifest(FlannelVar, "kube-flannel.yml")
	if err != nil {
		return err
	}
	conf, err := m.data("kube-flannel-cfg", "cni-conf.json")
	if err != nil {
		return err
	}
	if err := n.InstallPlugins(executable(FlannelCNIVar, "flannel")); err != nil {
		return err
	}
	if err := n.WriteFile("/etc/cni/net.d/10-flannel.conflist", conf); err != nil {
		return err
	}
	return startFlanneld(ctx, n, m, flanneld{config: "kube-flannel-cfg", backend: f.Backend})
}

// flanneld is what differs between flanneld of Flannel and that of Canal.
type flanneld struct {
	config  string // the ConfigMap with its settings
	backend string // in the place of the published one, vxlan
}

// startFlanneld starts flanneld as its container would, and waits until it has a subnet.
func startFlanneld(ctx context.Context, n *cluster.Node, m manifest, f flanneld) error {
	s, err := m.server("kube-flannel")
	if err != nil {
		return err
	}
	const kubeconfig, netConf = "/etc/kube-flannel/kubeconfig", "/etc/kube-flannel/net-conf.json"
	if err := s.writeKubeconfig(n, kubeconfig); err != nil {
		return err
	}
	conf, err := m.data(f.config, "net-conf.json")
	if err != nil {
		return err
	}
	if err := n.WriteFile(netConf, strings.Replace(conf, `"vxlan"`, `"`+f.backend+`"`, 1)); err != nil {
		return err
	}
	env, err := s.environment(n)
	if err != nil {
		return err
	}
	argv := append(append([]string{executable(FlannelVar, "flanneld"), "--kubeconfig-file=" + kubeconfig}, s.Command[1:]...), s.Args...)
	p, err := n.StartDaemon("flanneld", append(env, "NODE_NAME="+n.Name), argv...)
	if err != nil {
		return err
	}
	return n.AwaitDaemon(ctx, p, SubnetFile, func() error {
		_, err := n.ReadFile(SubnetFile)
		return err
	})
}
