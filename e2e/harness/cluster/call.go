package cluster

import (
	"context"

	"github.com/containernetworking/cni/libcni"
)

// PluginDir is the folder of plugins on a node.
const PluginDir = "/opt/cni/bin"

// Call is a call of Plexus as a sandbox's runtime makes it, by the configuration that it uses.
type Call struct {
	Node *Node
	Conf libcni.RuntimeConf
}

// Call is the call for the pod's sandbox, which may be gone when it is made.
func (p *Pod) Call() *Call {
	p.s.Helper()
	sandbox := p.Sandbox()
	return &Call{p.node, libcni.RuntimeConf{
		ContainerID: sandbox.ID, NetNS: sandbox.NetNS, IfName: "eth0",
		Args: [][2]string{
			{"IgnoreUnknown", "1"},
			{"K8S_POD_NAMESPACE", sandbox.Metadata.Namespace},
			{"K8S_POD_NAME", sandbox.Metadata.Name},
			{"K8S_POD_INFRA_CONTAINER_ID", sandbox.ID},
			{"K8S_POD_UID", sandbox.Metadata.UID},
		},
	}}
}

// Check calls CHECK, with what the runtime remembers of the ADD.
func (c *Call) Check(ctx context.Context) error {
	return c.do("", func(cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error {
		return cni.CheckNetworkList(ctx, list, &c.Conf)
	})
}

// Del calls DEL.
func (c *Call) Del(ctx context.Context) error {
	return c.do("", func(cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error {
		return cni.DelNetworkList(ctx, list, &c.Conf)
	})
}

// AddUnknown calls ADD, of which the runtime remembers nothing: only a GC can release it.
func (c *Call) AddUnknown(ctx context.Context) error {
	return c.do(c.Node.dir, func(cni *libcni.CNIConfig, list *libcni.NetworkConfigList) error {
		_, err := cni.AddNetworkList(ctx, list, &c.Conf)
		return err
	})
}

func (c *Call) do(cache string, verb func(*libcni.CNIConfig, *libcni.NetworkConfigList) error) error {
	return c.Node.Do(func() error {
		list, err := libcni.ConfListFromFile(ConfFile)
		if err != nil {
			return err
		}
		return verb(libcni.NewCNIConfigWithCacheDir([]string{PluginDir}, cache, nil), list)
	})
}
