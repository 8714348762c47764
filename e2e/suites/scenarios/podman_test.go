package scenarios

import (
	"encoding/json"
	"net/netip"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// The networks of podman that are Plexus's, each with a default network of its own.
var podmanNetworks = map[string]string{"plexus": "10.87.0.0/24", "other": "10.88.0.0/24"}

const podmanManifests = `apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: storage, namespace: default}
spec: {config: '{"cniVersion": "1.0.0", "type": "bridge", "bridge": "storage", "ipam": {"type": "host-local", "subnet": "10.89.0.0/24"}}'}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: default, annotations: {k8s.v1.cni.cncf.io/networks: storage}}
---
apiVersion: v1
kind: Pod
metadata: {name: web, namespace: elsewhere}
---
apiVersion: v1
kind: Pod
metadata: {name: two, namespace: elsewhere, annotations: {k8s.v1.cni.cncf.io/networks: default/storage}}
---
apiVersion: v1
kind: Pod
metadata: {name: plain, namespace: elsewhere}
---
apiVersion: v1
kind: Pod
metadata: {name: twice, namespace: one}
---
apiVersion: v1
kind: Pod
metadata: {name: twice, namespace: another}
`

// podman calls with the name of a container as that of a pod, and without a namespace; and once for
// each network of a container, as eth0, eth1, and so on.
func TestE2EPodman(t *testing.T) {
	m := &podman{t, cluster.Machine(t, cluster.Podman)}
	m.install()
	m.run("web", "plexus", "10.87.0.", "10.89.0.")
	m.run("two", "plexus,other", "10.87.0.", "10.88.0.", "10.89.0.", "10.89.0.")
	m.run("plain", "other", "10.88.0.")
	for _, name := range []string{"web", "two", "plain"} {
		m.do("podman", "rm", "--force", "--time", "0", name)
	}
	m.must(m.n.AwaitClean(t.Context()))
	for name, words := range map[string]string{"twice": "in namespaces another, one", "nobody": "no manifest in /etc/plexus/manifests has a pod of that name"} {
		if err := m.n.RunContainer(name, "plexus"); err == nil || !strings.Contains(err.Error(), words) {
			m.Errorf("container %s: %v, want an error with %q", name, err, words)
		}
	}
	m.must(m.n.AwaitClean(t.Context()))
}

// podman is a machine with podman.
type podman struct {
	*testing.T
	n *cluster.Node
}

func (m *podman) must(err error) {
	m.Helper()
	if err != nil {
		m.Fatal(err)
	}
}

func (m *podman) do(name string, args ...string) string {
	m.Helper()
	out, err := m.n.Run(name, args...)
	m.must(err)
	return out
}

// install puts Plexus onto the machine by hand: no cluster, and manifests instead.
func (m *podman) install() {
	m.Helper()
	m.must(m.n.InstallPlugins(m.n.Plexus("plexus"), m.n.Plexus("plexus-once")))
	m.must(m.n.WriteFile("/etc/plexus/manifests/all.yaml", podmanManifests))
	for name, subnet := range podmanNetworks {
		file := "/etc/plexus/" + name + ".conflist"
		m.must(m.n.WriteFile(file, cluster.JSON(cluster.Conf{"cniVersion": "1.0.0", "name": "pods-" + name, "plugins": []cluster.Conf{
			{"type": "bridge", "bridge": name, "isGateway": true, "ipam": cluster.Conf{"type": "host-local", "subnet": subnet}},
		}})))
		m.must(m.n.WriteFile("/etc/cni/net.d/"+name+".conflist", cluster.JSON(cluster.Conf{"cniVersion": "1.0.0", "name": name, "plugins": []cluster.Conf{
			{"type": "plexus", "manifests": "/etc/plexus/manifests", "agentSocket": "", "clusterNetwork": file, "binDir": cluster.PluginDir},
		}})))
	}
}

// run starts a container, and demands that its interfaces have addresses that begin so, and that
// podman knows those of its networks.
func (m *podman) run(name, networks string, prefixes ...string) {
	m.Helper()
	m.must(m.n.RunContainer(name, networks))
	known := map[string]struct{ IPAddress, MacAddress string }{}
	m.must(json.Unmarshal([]byte(m.do("podman", "inspect", "--format", "{{json .NetworkSettings.Networks}}", name)), &known))
	has := m.addresses(name)
	for _, network := range strings.Split(networks, ",") {
		address, err := netip.ParseAddr(known[network].IPAddress)
		if err != nil || !netip.MustParsePrefix(podmanNetworks[network]).Contains(address) || !slices.Contains(has, address.String()) {
			m.Errorf("podman knows %q of container %s on network %s, its interfaces have %q", known[network].IPAddress, name, network, has)
		}
	}
	if !slices.EqualFunc(has, prefixes, strings.HasPrefix) {
		m.Errorf("the interfaces of container %s have the addresses %q, want %q", name, has, prefixes)
	}
}

// addresses gives those of a container's interfaces, in order, without the loopback's.
func (m *podman) addresses(name string) []string {
	m.Helper()
	pid := strings.TrimSpace(m.do("podman", "inspect", "--format", "{{.State.Pid}}", name))
	var links []struct {
		IfName   string
		AddrInfo []struct{ Family, Local string } `json:"addr_info"`
	}
	m.must(json.Unmarshal([]byte(m.do("nsenter", "--target", pid, "--net", "ip", "-json", "address")), &links))
	var all []string
	for _, link := range links {
		for _, address := range link.AddrInfo {
			if link.IfName != "lo" && address.Family == "inet" {
				all = append(all, address.Local)
			}
		}
	}
	slices.Sort(all)
	return all
}
