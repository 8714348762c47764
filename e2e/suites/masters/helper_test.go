package masters

import (
	"bytes"
	"context"
	"encoding/json"
	"os"
	"regexp"
	"slices"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/invoke"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/types"
)

// cniDir is where Plexus keeps what libcni remembers of plugins.
const cniDir = "/var/lib/cni/plexus"

type exampleNetwork struct {
	name string
	conf cluster.Conf
}

type examplePod struct{ name, networks string }

// readExample reads an example that is refused: a network, a pod that selects it, and, from the
// first line, what Plexus says.
func readExample(s *cluster.Scenario, file string) (network exampleNetwork, pod examplePod, message string) {
	s.Helper()
	text, err := os.ReadFile(file)
	s.Must(err)
	first, _, _ := strings.Cut(string(text), "\n")
	message = strings.TrimPrefix(first, "# refused: ")
	objects, err := kube.ReadManifest(file)
	s.Must(err)
	for _, object := range objects {
		switch object.GetKind() {
		case "NetworkAttachmentDefinition":
			network.name = object.GetName()
			config, _, err := unstructured.NestedString(object.Object, "spec", "config")
			s.Must(err)
			s.Must(json.Unmarshal([]byte(config), &network.conf))
		case "Pod":
			pod = examplePod{object.GetName(), object.GetAnnotations()[types.AnnotationNetworks]}
		}
	}
	return network, pod, message
}

// logAnswers logs what the plugins answered to ADD, as the record has it, and what became of it
// in the pod's status.
func (tr *trial) logAnswers(p *cluster.Pod) {
	tr.s.Helper()
	record, err := p.Node().Record(p.Sandbox())
	tr.s.Must(err)
	for i, status := range p.Status() {
		var answer bytes.Buffer
		tr.s.Must(json.Compact(&answer, record.Progress[i].Result))
		tr.s.Logf("%s of pod %s, answer: %s", record.Plan.Attachments[i].Network, p.Name, &answer)
		tr.s.Logf("%s of pod %s, status: %s", record.Plan.Attachments[i].Network, p.Name, cluster.JSON(status))
	}
}

// logEvents logs the last event of each reason on a pod.
func (tr *trial) logEvents(p *cluster.Pod) {
	tr.s.Helper()
	events, err := tr.s.Events("Pod", p.Name)
	tr.s.Must(err)
	for reason, messages := range events {
		tr.s.Logf("%s of pod %s: %s", reason, p.Name, messages[len(messages)-1])
	}
}

// logCheck logs what the network's plugins themselves print when they are asked to CHECK a pod.
func (tr *trial) logCheck(p *cluster.Pod) {
	tr.s.Helper()
	record, err := p.Node().Record(p.Sandbox())
	tr.s.Must(err)
	list, err := libcni.NetworkConfFromBytes([]byte(record.Plan.Attachments[0].Config))
	tr.s.Must(err)
	call := p.Call()
	cni := libcni.NewCNIConfigWithCacheDir([]string{cluster.PluginDir}, cniDir, &loggingExec{s: tr.s})
	tr.s.Must(call.Node.Do(func() error { return cni.CheckNetworkList(tr.s.Context(), list, &call.Conf) }))
}

// loggingExec runs plugins and logs what they print.
type loggingExec struct {
	invoke.DefaultExec
	s *cluster.Scenario
}

func (e *loggingExec) ExecPlugin(ctx context.Context, path string, stdin []byte, env []string) ([]byte, error) {
	out, err := (&invoke.RawExec{}).ExecPlugin(ctx, path, stdin, env)
	e.s.Logf("%s itself prints %q, error %v", path, out, err)
	return out, err
}

// interfaces gives the interfaces of a node that pods have an end of.
func interfaces(s *cluster.Scenario, n *cluster.Node) []string {
	s.Helper()
	out, err := n.Run("ip", "-json", "link", "show", "type", "veth")
	s.Must(err)
	var links []struct{ IfName string }
	s.Must(json.Unmarshal([]byte(out), &links))
	var all []string
	for _, link := range links {
		if !strings.HasPrefix(link.IfName, "eth") {
			all = append(all, link.IfName)
		}
	}
	return all
}

// ofPods are the chains of rules that are made for one pod: by portmap, by flannel's bridge, by
// felix.
var ofPods = regexp.MustCompile(`^:(CNI-[0-9a-f]{24}|CNI-DN-\S+|cali-[tf]w-\S+)`)

// ruleLeftovers gives what pods have left in a node's packet filter.
func ruleLeftovers(s *cluster.Scenario, n *cluster.Node) []string {
	s.Helper()
	out, err := n.Run("iptables-save")
	s.Must(err)
	var left []string
	for line := range strings.Lines(out) {
		if chain := ofPods.FindString(line); chain != "" {
			left = append(left, chain[1:])
		}
	}
	return left
}

// calicoHandles gives Calico's reservations of a node's addresses, but that of its tunnel.
func calicoHandles(n *cluster.Node) []string {
	out, err := n.Cluster().Kubectl("get", "ipamhandles.crd.projectcalico.org", "--output=name")
	if err != nil {
		return []string{err.Error()}
	}
	return slices.DeleteFunc(strings.Fields(out), func(handle string) bool { return strings.Contains(handle, "/vxlan-tunnel-addr-") })
}

// flannelScratch gives what the flannel plugin keeps of sandboxes on a node.
func flannelScratch(n *cluster.Node) []string { return n.Glob("/var/lib/cni/flannel/*") }
