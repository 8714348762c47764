package node

import (
	"encoding/json"
	"maps"
	"path/filepath"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// Conf is a CNI configuration, of a plugin or of a list.
type Conf map[string]any

// Raw makes a configuration of bytes that need not be JSON.
func Raw(text string) Conf { return Conf{"": text} }

// With gives the configuration with more keys; a nil value takes a key out.
func (c Conf) With(more Conf) Conf {
	merged := maps.Clone(c)
	maps.Copy(merged, more)
	maps.DeleteFunc(merged, func(_ string, value any) bool { return value == nil })
	return merged
}

func (c Conf) bytes(t testing.TB) []byte {
	t.Helper()
	if text, isRaw := c[""].(string); isRaw {
		return []byte(text)
	}
	data, err := json.Marshal(c)
	check.Must(t, err)
	return data
}

// String gives the configuration as JSON.
func (c Conf) String() string {
	data, err := json.Marshal(c)
	if err != nil {
		return err.Error()
	}
	return string(data)
}

// Conf gives plexus's own configuration: the cluster's network is the bridge cbr0 with
// 10.1.0.0/16, facts come from the manifests.
func (n *Node) Conf(more Conf) Conf {
	return Conf{
		"cniVersion":  "1.0.0",
		"name":        "cluster",
		"type":        "plexus",
		"cniDir":      n.CNIDir,
		"confDir":     n.ConfDir,
		"binDir":      n.PluginDir,
		"manifests":   n.Manifests,
		"agentSocket": "",
		"delegates":   []Conf{ClusterBridge()},
	}.With(more)
}

// ClusterBridge gives the cluster's network of Conf: it has the default route.
func ClusterBridge() Conf { return Bridge("cbr0", "10.1.0.0/16").With(Conf{"isDefaultGateway": true}) }

// Bridge gives a bridge network, named as its bridge, which has the first address of
// each subnet.
func Bridge(bridge string, subnets ...string) Conf {
	return Conf{
		"cniVersion": "1.0.0", "name": bridge, "type": "bridge", "bridge": bridge,
		"isGateway": true, "ipam": HostLocal(subnets...),
	}
}

// Macvlan gives a macvlan network on an interface of the host.
func Macvlan(name, master string, subnets ...string) Conf {
	return Conf{
		"cniVersion": "1.0.0", "name": name, "type": "macvlan", "master": master, "mode": "bridge",
		"ipam": HostLocal(subnets...),
	}
}

// HostLocal gives the IPAM configuration of subnets.
func HostLocal(subnets ...string) Conf {
	var ranges [][]Conf
	for _, subnet := range subnets {
		ranges = append(ranges, []Conf{{"subnet": subnet}})
	}
	return Conf{"type": "host-local", "ranges": ranges}
}

// List makes a list of plugins' configurations.
func List(name, version string, plugins ...Conf) Conf {
	list := make([]Conf, len(plugins))
	for i, plugin := range plugins {
		list[i] = plugin.With(Conf{"name": nil, "cniVersion": nil})
	}
	return Conf{"name": name, "cniVersion": version, "plugins": list}
}

// Pod writes the manifest of a pod in namespace "default".
func (n *Node) Pod(name string, annotations map[string]string) {
	n.t.Helper()
	n.manifest("pod-"+name, Conf{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": Conf{"namespace": "default", "name": name, "annotations": annotations},
	})
}

// PodWith writes the manifest of a pod that selects networks.
func (n *Node) PodWith(name, networks string) {
	n.t.Helper()
	n.Pod(name, map[string]string{"k8s.v1.cni.cncf.io/networks": networks})
}

// Network writes the manifest of a NetworkAttachmentDefinition in namespace "default".
func (n *Node) Network(name string, config Conf) {
	n.t.Helper()
	n.NetworkIn("default", name, config)
}

// NetworkIn writes the manifest of a NetworkAttachmentDefinition.
func (n *Node) NetworkIn(namespace, name string, config Conf) {
	n.t.Helper()
	n.manifest("nad-"+namespace+"-"+name, Conf{
		"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
		"metadata": Conf{"namespace": namespace, "name": name},
		"spec":     Conf{"config": string(config.bytes(n.t))},
	})
}

func (n *Node) manifest(name string, object Conf) {
	n.t.Helper()
	data, err := yaml.Marshal(object)
	check.Must(n.t, err)
	n.WriteFile(filepath.Join(n.Manifests, name+".yaml"), string(data))
}
