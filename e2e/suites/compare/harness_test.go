// Package compare holds what the documents say of Plexus beside Multus: it puts both, the real
// ones, into the same situation, as a runtime does, and says what each does.
package compare

import (
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/e2e/harness/multus"
	"github.com/plexus-cni/plexus/e2e/harness/proc"
	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

func TestMain(m *testing.M) {
	os.Exit(proc.Isolate(func() int { return kube.Main(m) }))
}

// The meta-plugins.
const (
	plexus = "plexus"
	thin   = "multus-thin"
	thick  = "multus-thick"
	// published is the thick one with the configuration that its daemon writes. thick holds the
	// cluster's network in its own configuration instead, so that it can be compared in more.
	published = "multus-thick-as-published"
)

// conf is a configuration in JSON.
type conf = map[string]any

// node is a machine with one meta-plugin, behind a proxy before the API server.
type node struct {
	*testing.T
	cluster *kube.Cluster
	proxy   *kube.Proxy
	name    string
	dir     string
	cni     *libcni.CNIConfig
	list    *libcni.NetworkConfigList
	daemon  *multus.Daemon // nil unless it is a thick Multus
}

// nodes counts them: each has its own name.
var nodes atomic.Int32

// compare runs a situation on a node of every meta-plugin that is named, and compares what was
// seen with what is wanted.
func compare[seen any](t *testing.T, want map[string]seen, situation func(*node) seen) {
	t.Helper()
	for _, plugin := range []string{plexus, thin, thick, published} {
		wanted, ok := want[plugin]
		if !ok {
			continue
		}
		t.Run(plugin, func(t *testing.T) {
			if diff := cmp.Diff(wanted, situation(newNode(t, plugin))); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func newNode(t *testing.T, plugin string) *node {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes network namespaces (make test-integration)")
	}
	n := &node{T: t, cluster: kube.Shared(t), name: fmt.Sprintf("compare-%d", nodes.Add(1)), dir: t.TempDir()}
	check.Must(n, n.cluster.ApplyNADCRD(t.Context()))
	check.Must(n, n.cluster.BindNodesReadNADs(t.Context()))
	proxy, err := n.cluster.Proxy()
	check.Must(n, err)
	n.proxy = proxy
	t.Cleanup(func() { check.Must(n, proxy.Close()) })
	n.cluster.MakeNode(t, n.name)
	n.makePlugins()
	for name, config := range map[string]conf{"a": n.bridge("a"), "missing": n.missing(), "stuck": {"cniVersion": "1.0.0", "name": "stuck", "type": "stuck"}} {
		n.cluster.MakeNAD(t, kube.NAD{Namespace: n.name, Name: name, Config: n.json(config)})
	}
	n.install(plugin)
	return n
}

func (n *node) json(value any) string {
	n.Helper()
	data, err := json.Marshal(value)
	check.Must(n, err)
	return string(data)
}

func (n *node) path(name string) string { return filepath.Join(n.dir, name) }

// stuck is a plugin whose ADD does not end until the test lets it, and then fails.
const stuck = `#!/bin/sh
cat >/dev/null
case "$CNI_COMMAND" in
VERSION) echo '{"cniVersion":"1.1.0","supportedVersions":["1.0.0","1.1.0"]}' ;;
ADD)
	echo begun >"%[1]s/started"
	read -r line <"%[1]s/goon"
	exit 1
	;;
esac
`

// makePlugins makes the node's folder of plugins: the real ones, and stuck with its two pipes.
func (n *node) makePlugins() {
	n.Helper()
	real, err := filepath.Glob(filepath.Join(testnode.Folder(n, "PLEXUS_CNI_BIN"), "*"))
	check.Must(n, err)
	check.Must(n, os.Mkdir(n.path("plugins"), 0o755))
	for _, path := range real {
		check.Must(n, os.Symlink(path, filepath.Join(n.path("plugins"), filepath.Base(path))))
	}
	check.Must(n, os.WriteFile(filepath.Join(n.path("plugins"), "stuck"), fmt.Appendf(nil, stuck, n.dir), 0o755)) //nolint:gosec // an executable
	for _, name := range []string{"started", "goon"} {
		check.Must(n, exec.Command("mkfifo", n.path(name)).Run())
	}
}

// bridge is a network of the real bridge plugin.
func (n *node) bridge(name string) conf {
	id := strings.TrimPrefix(n.name, "compare-")
	return conf{"cniVersion": "1.0.0", "name": name, "plugins": []conf{{
		"type": "bridge", "bridge": "b" + id + name,
		"ipam": conf{"type": "host-local", "subnet": map[string]string{"a": "10.91.0.0/24", "cluster": "10.90.0.0/24"}[name], "dataDir": n.path("ipam")},
	}}}
}

// missing is a network whose plugin must fail.
func (n *node) missing() conf {
	return conf{"cniVersion": "1.0.0", "name": "missing", "type": "macvlan", "master": "missing0", "ipam": conf{"type": "static"}}
}

// install loads the configuration of the meta-plugin, as its node has it.
func (n *node) install(plugin string) {
	n.Helper()
	var config conf
	if plugin == plexus {
		kubeconfig, err := n.proxy.NodeKubeconfig(n.name)
		check.Must(n, err)
		config = conf{
			"type": "plexus", "agentSocket": "", "kubeconfig": kubeconfig, "delegates": []conf{n.bridge("cluster")},
			"cniDir": n.path("state"), "binDir": n.path("plugins"),
		}
	} else {
		config = n.installMultus(plugin)
	}
	data := n.json(conf{"cniVersion": "1.1.0", "name": "meta", "plugins": []conf{config}})
	list, err := libcni.NetworkConfFromBytes([]byte(data))
	check.Must(n, err)
	n.list = list
	path := []string{testnode.Folder(n, "PLEXUS_BIN"), testnode.Folder(n, multus.BinVar), n.path("plugins")}
	n.cni = libcni.NewCNIConfigWithCacheDir(path, n.path("cache"), &invoke.DefaultExec{RawExec: &invoke.RawExec{}})
}

func (n *node) installMultus(plugin string) conf {
	n.Helper()
	m, err := multus.Install(n.Context(), multus.Options{
		BinDir: testnode.Folder(n, multus.BinVar), Plugins: n.path("plugins"), Dir: n.path("multus"), CNIDir: n.path("state"),
		Cluster: n.cluster, Access: n.proxy.Access, Node: n.name, Network: n.bridge("cluster"),
	})
	check.Must(n, err)
	if plugin == thin {
		return m.Thin()
	}
	n.daemon, err = m.StartDaemon(n.Context())
	check.Must(n, err)
	n.Cleanup(n.daemon.End)
	config, err := n.daemon.Delegating()
	if plugin == published {
		config, err = n.daemon.Conf()
	}
	check.Must(n, err)
	return config
}

// sandbox is that of a pod.
type sandbox struct {
	*node
	id   string
	conf *libcni.RuntimeConf
}

// pod makes a pod that asks for networks, and its sandbox.
func (n *node) pod(name, networks string) *sandbox {
	n.Helper()
	pod := n.cluster.MakePod(n, kube.Pod{
		Namespace: n.name, Name: name, Node: n.name, Annotations: map[string]string{types.AnnotationNetworks: networks},
	})
	return n.sandbox(pod)
}

func (n *node) sandbox(pod *corev1.Pod) *sandbox {
	n.Helper()
	id := n.name + "-" + pod.Name
	if out, err := exec.Command("ip", "netns", "add", id).CombinedOutput(); err != nil {
		n.Fatalf("ip netns add: %v: %s", err, out)
	}
	s := &sandbox{node: n, id: id, conf: &libcni.RuntimeConf{
		ContainerID: id, NetNS: "/run/netns/" + id, IfName: "eth0",
		Args: [][2]string{
			{"IgnoreUnknown", "1"},
			{"K8S_POD_NAMESPACE", pod.Namespace},
			{"K8S_POD_NAME", pod.Name},
			{"K8S_POD_INFRA_CONTAINER_ID", id},
			{"K8S_POD_UID", string(pod.UID)},
		},
	}}
	n.Cleanup(s.destroy)
	return s
}

// destroy removes the sandbox's namespace.
func (s *sandbox) destroy() { _ = exec.Command("ip", "netns", "del", s.id).Run() }

func (s *sandbox) add(ctx context.Context) error {
	_, err := s.cni.AddNetworkList(ctx, s.list, s.conf)
	return err
}

// mustAdd attaches a sandbox from which all is expected to be there.
func (s *sandbox) mustAdd() {
	s.Helper()
	check.Must(s, s.add(s.Context()))
	s.mustHaveNetworks()
}

// mustHaveNetworks demands that the sandbox has more than its default network.
func (s *sandbox) mustHaveNetworks() {
	s.Helper()
	if got := len(s.interfaces()); got < 2 {
		s.Fatalf("the sandbox has the interfaces %v", s.interfaces())
	}
}

func (s *sandbox) del() error { return s.cni.DelNetworkList(s.Context(), s.list, s.conf) }

func (s *sandbox) check() error { return s.cni.CheckNetworkList(s.Context(), s.list, s.conf) }

// gc says to the meta-plugin which sandboxes there are.
func (n *node) gc(valid ...*sandbox) error {
	attachments := []cnitypes.GCAttachment{}
	for _, s := range valid {
		attachments = append(attachments, cnitypes.GCAttachment{ContainerID: s.id, IfName: s.conf.IfName})
	}
	return n.cni.GCNetworkList(n.Context(), n.list, &libcni.GCArgs{ValidAttachments: attachments})
}

// interfaces gives the names of the sandbox's interfaces but the loopback's.
func (s *sandbox) interfaces() []string {
	s.Helper()
	out, err := exec.Command("ip", "-n", s.id, "-json", "link", "show").Output()
	check.Must(s, err)
	var links []struct {
		Name string `json:"ifname"`
	}
	check.Must(s, json.Unmarshal(out, &links))
	names := []string{}
	for _, link := range links {
		if link.Name != "lo" {
			names = append(names, link.Name)
		}
	}
	return names
}

// reserved gives the addresses that host-local holds, as "network/address".
func (n *node) reserved() []string {
	n.Helper()
	files, err := filepath.Glob(filepath.Join(n.path("ipam"), "*", "10.*"))
	check.Must(n, err)
	addresses := []string{}
	for _, file := range files {
		addresses = append(addresses, filepath.Base(filepath.Dir(file))+"/"+filepath.Base(file))
	}
	return addresses
}

// outage cuts the node off from the API server.
func (n *node) outage() *faultproxy.Injection { return n.proxy.Inject(faultproxy.Fault{Reset: true}) }
