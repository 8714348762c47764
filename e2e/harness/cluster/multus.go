package cluster

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
)

const (
	// MultusVar names the folder of Multus.
	MultusVar = "PLEXUS_MULTUS_BIN"
	// MultusFile is the file of its configuration on a node.
	MultusFile = confDir + "/00-multus.conf"
	confDir    = "/etc/cni/net.d"
)

// InstallMultus puts the real Multus, the thin one, on a cluster without Plexus, with a
// configuration as its users have it, and waits until the runtimes use it.
func (c *Cluster) InstallMultus(ctx context.Context) error {
	deploy := filepath.Join(repository(), "deploy") // by kubectl, as users have it: it remembers what it applied
	if _, err := c.Kubectl("apply", "-f", filepath.Join(deploy, "crd.yaml"), "-f", filepath.Join(deploy, "rbac-nodes.yaml")); err != nil {
		return err
	}
	if err := c.ApplyNADCRD(ctx); err != nil {
		return err
	}
	if err := c.BindNodesReadNADs(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.installMultus(); err != nil {
			return err
		}
	}
	for _, n := range c.nodes {
		if err := n.AwaitNetwork(ctx, "multus"); err != nil {
			return err
		}
	}
	return nil
}

func (n *Node) installMultus() error {
	confs := slices.Concat(n.Glob(confDir+"/*.conflist"), n.Glob(confDir+"/*.conf"))
	if len(confs) == 0 {
		return errors.New("install Multus: " + n.Name + " has no cluster network in " + confDir)
	}
	if err := n.InstallPlugins(filepath.Join(os.Getenv(MultusVar), "multus")); err != nil {
		return err
	}
	return n.WriteFile(MultusFile, JSON(Conf{
		"cniVersion": "1.0.0", "name": "multus", "type": "multus", "kubeconfig": KubeletKubeconfig,
		"capabilities": Conf{"portMappings": true}, "clusterNetwork": slices.Min(confs),
	}))
}
