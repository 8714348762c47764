package kube

import (
	"fmt"
	"net/netip"
	"path/filepath"

	"github.com/plexus-cni/plexus/e2e/harness/proc"
)

// StartControllers starts the controller manager and the scheduler of a cluster with
// [Options.Controllers]. binDir has their executables; every node gets a /24 of pods. They end
// with the cluster.
func (c *Cluster) StartControllers(binDir string, pods netip.Prefix) error {
	for name, args := range map[string][]string{
		"kube-controller-manager": {
			"--use-service-account-credentials", "--service-account-private-key-file=" + c.path("tokens.pem"),
			"--root-ca-file=" + c.path("ca.pem"), "--allocate-node-cidrs", "--cluster-cidr=" + pods.String(),
			"--node-cidr-mask-size=24", "--service-cluster-ip-range=" + netip.PrefixFrom(serviceIP, 24).Masked().String(),
			// Controllers wait for nothing: a test has bursts.
			"--kube-api-qps=200", "--kube-api-burst=400",
		},
		"kube-scheduler": {"--kube-api-qps=200", "--kube-api-burst=400"},
	} {
		kubeconfig, err := c.Kubeconfig("system:" + name)
		if err != nil {
			return err
		}
		argv := append([]string{
			filepath.Join(binDir, name), "--kubeconfig=" + kubeconfig, "--leader-elect=false", "--bind-address=127.0.0.1", "--v=1",
		}, args...)
		p, err := proc.Start(proc.Command{Name: name, Log: c.Log(name), Argv: argv})
		if err != nil {
			return fmt.Errorf("start the controllers: %w", err)
		}
		c.mu.Lock()
		c.controllers = append(c.controllers, p)
		c.mu.Unlock()
	}
	return nil
}
