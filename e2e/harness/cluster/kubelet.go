package cluster

import (
	"context"
	"fmt"
	"os"
)

const (
	staticPods = "/etc/kubernetes/manifests"
	// kubeletCA lets the API server in, for kubectl exec and logs.
	kubeletCA = "/etc/kubernetes/ca.pem"
)

// kubeletConfig is for a machine that is shared: the kubelet manages its node's control groups
// and nothing else of it. It evicts by bytes that are left, not by a share of the disk: 1% of a
// large disk is more than a whole run needs.
const kubeletConfig = `apiVersion: kubelet.config.k8s.io/v1beta1
kind: KubeletConfiguration
failCgroupV1: false
cgroupDriver: cgroupfs
cgroupsPerQOS: true
enforceNodeAllocatable: [pods]
cgroupRoot: /%s
containerRuntimeEndpoint: unix://%s
failSwapOn: false
oomScoreAdj: 0
maxPods: %d
staticPodPath: ` + staticPods + `
fileCheckFrequency: 1s
serializeImagePulls: false
authentication: {anonymous: {enabled: false}, webhook: {enabled: true}, x509: {clientCAFile: ` + kubeletCA + `}}
authorization: {mode: Webhook}
resolvConf: /dev/null
evictionHard: {memory.available: 100Mi, nodefs.available: 100Mi, imagefs.available: 100Mi}
imageGCHighThresholdPercent: 100
localStorageCapacityIsolation: false
kubeAPIQPS: 200
kubeAPIBurst: 400
eventRecordQPS: 0
registryPullQPS: 0
shutdownGracePeriod: 0s
volumePluginDir: /var/lib/kubelet/volume-plugins
`

// KubeletKubeconfig is where the kubelet's kubeconfig is on a node.
const KubeletKubeconfig = "/etc/kubernetes/kubelet.conf"

// StartKubelet starts the node's kubelet and does not wait for it.
func (n *Node) StartKubelet() error {
	kubeconfig, err := n.cluster.NodeKubeconfig(n.Name)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		return err
	}
	maxPods := n.cluster.opts.MaxPods
	if maxPods == 0 {
		maxPods = 250
	}
	for path, text := range map[string]string{
		KubeletKubeconfig:               string(text),
		"/var/lib/kubelet/config.yaml":  fmt.Sprintf(kubeletConfig, cgroupOf(n.Name), n.runtime.socket, maxPods),
		kubeletCA:                       string(n.cluster.CA()),
		staticPods + "/.not-empty-here": "",
	} {
		if err := n.WriteFile(path, text); err != nil {
			return err
		}
	}
	n.kubelet, err = n.startDaemon("kubelet", nil, n.executable("kubelet"),
		"--config=/var/lib/kubelet/config.yaml", "--kubeconfig="+KubeletKubeconfig,
		"--hostname-override="+n.Name, "--node-ip="+n.IP().String(), "--v=2")
	return err
}

// StopKubelet stops the kubelet. The pods go on.
func (n *Node) StopKubelet() { n.kubelet.Stop() }

// awaitServiceAccount waits until the controllers have made a namespace's account, without which
// no pod can be made in it.
func (c *Cluster) awaitServiceAccount(ctx context.Context, namespace string) error {
	return await(ctx, "the service account of namespace "+namespace, func(ctx context.Context) error {
		_, err := c.Client().CoreV1().ServiceAccounts(namespace).Get(ctx, "default", getOptions)
		return err
	})
}
