package masters

import (
	"context"
	"fmt"
	"strings"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

const (
	// NodenameFile is what calico-node writes and the calico plugin reads.
	NodenameFile = "/var/lib/calico/nodename"
	// CalicoKubeconfig is that of the calico plugin, which Calico's installer writes.
	CalicoKubeconfig = "/etc/cni/net.d/calico-kubeconfig"
	// CalicoConf is the configuration of Calico's network on a node.
	CalicoConf = "/etc/cni/net.d/10-calico.conflist"
	// CanalConf is that of Canal's.
	CanalConf = "/etc/cni/net.d/10-canal.conflist"
)

// Calico is Calico over VXLAN, with the Kubernetes API as its store and its own management of
// addresses.
type Calico struct{}

// Install implements [cluster.Master].
func (k Calico) Install(ctx context.Context, c *cluster.Cluster) error {
	return installCalico(ctx, c, "calico-vxlan.yaml", k)
}

func installCalico(ctx context.Context, c *cluster.Cluster, file string, master cluster.Master) error {
	m, err := readManifest(CalicoVar, file)
	if err != nil {
		return err
	}
	if err := m.apply(c); err != nil {
		return err
	}
	return everywhere(ctx, c, master)
}

// Boot implements [cluster.Master].
func (Calico) Boot(ctx context.Context, n *cluster.Node) error {
	m, err := readManifest(CalicoVar, "calico-vxlan.yaml")
	if err != nil {
		return err
	}
	if err := installCalicoPlugin(n, m, "calico-config", CalicoConf); err != nil {
		return err
	}
	return startCalicoNode(ctx, n, m,
		"CALICO_IPV4POOL_CIDR=10.244.0.0/16",
		"CALICO_IPV4POOL_VXLAN=Always", // published is CrossSubnet, and the nodes are of one
		"IP_AUTODETECTION_METHOD=interface=eth0",
	)
}

// Canal is Flannel's network, with Calico's policies.
type Canal struct{}

// Install implements [cluster.Master].
func (k Canal) Install(ctx context.Context, c *cluster.Cluster) error {
	return installCalico(ctx, c, "canal.yaml", k)
}

// Boot implements [cluster.Master].
func (Canal) Boot(ctx context.Context, n *cluster.Node) error {
	m, err := readManifest(CalicoVar, "canal.yaml")
	if err != nil {
		return err
	}
	if err := installCalicoPlugin(n, m, "canal-config", CanalConf); err != nil {
		return err
	}
	if err := startFlanneld(ctx, n, m, flanneld{config: "canal-config", backend: "vxlan"}); err != nil {
		return err
	}
	return startCalicoNode(ctx, n, m)
}

// installCalicoPlugin does what the manifest's container install-cni does.
func installCalicoPlugin(n *cluster.Node, m manifest, config, file string) error {
	s, err := m.server("calico-node")
	if err != nil {
		return err
	}
	conf, err := m.data(config, "cni_network_config")
	if err != nil {
		return err
	}
	mtu, err := m.data(config, "veth_mtu")
	if err != nil {
		return err
	}
	if err := n.InstallPlugins(executable(CalicoVar, "calico"), executable(CalicoVar, "calico-ipam")); err != nil {
		return err
	}
	if err := s.writeKubeconfig(n, CalicoKubeconfig); err != nil {
		return err
	}
	return n.WriteFile(file, strings.NewReplacer(
		"__KUBERNETES_NODE_NAME__", n.Name, "__CNI_MTU__", mtu, "__KUBECONFIG_FILEPATH__", CalicoKubeconfig,
	).Replace(conf))
}

// startCalicoNode does what the start script of the image calico/node does, with the manifest's
// environment and more, and waits until felix is ready.
func startCalicoNode(ctx context.Context, n *cluster.Node, m manifest, more ...string) error {
	s, err := m.server("calico-node")
	if err != nil {
		return err
	}
	env, err := s.environment(n)
	if err != nil {
		return err
	}
	const kubeconfig = "/etc/calico/kubeconfig"
	if err := s.writeKubeconfig(n, kubeconfig); err != nil {
		return err
	}
	env = append(append(env, "KUBECONFIG="+kubeconfig,
		"FELIX_FELIXHOSTNAME="+n.Name, "FELIX_DATASTORETYPE=kubernetes", "FELIX_LOGFILEPATH=none",
		"FELIX_USAGEREPORTINGENABLED=false"), more...)
	node := executable(CalicoVar, "calico-node")
	for _, step := range [][]string{{"-startup"}, {"-allocate-tunnel-addrs", "-allocate-tunnel-addrs-run-once"}} {
		if _, err := n.Run("env", append(append(env, node), step...)...); err != nil {
			return fmt.Errorf("calico-node %s: %w", step[0], err)
		}
	}
	p, err := n.StartDaemon("felix", env, node, "-felix")
	if err != nil {
		return err
	}
	return n.AwaitDaemon(ctx, p, "felix", func() error {
		_, err := n.Run(node, "-felix-ready")
		return err
	})
}
