package main

import (
	"context"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/libcni"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/types"
)

// Where facts come from.
const (
	manifests = "manifests"  // a folder of YAML
	api       = "api"        // the API server, the pod too
	apiHanded = "api-handed" // the same, but the runtime hands the pod's annotations over
	byAgent   = "agent"      // plexus-agent
	// In place of plexus, to compare with.
	multusThin  = "multus-thin"
	multusThick = "multus-thick"
)

var allSources = []string{manifests, api, apiHanded, byAgent, multusThin, multusThick}

const (
	maxCount  = 64
	namespace = "bench"
	nodeName  = "bench-node"
)

// object is a Kubernetes object, or a configuration.
type object = map[string]any

// scenario is what is measured in pairs: one source, and one number of secondary networks.
type scenario struct {
	source string
	count  int
	direct *side
	meta   *side // plexus or multus
	pairs  []pair
	facts  []factsTimes
	once   *onceCall // nil if no plexus-once is asked
	agent  *agent    // nil if none is asked
	parts  []part    // of an ADD, as the agent counted them
}

func ipam(subnet string) object { return object{"type": "host-local", "subnet": subnet} }

// defaultNetwork is the pod's first: a bridge that is its default gateway.
func defaultNetwork() object {
	return object{"cniVersion": "1.1.0", "name": "pods", "plugins": []object{{
		"type": "bridge", "bridge": "bench0", "isDefaultGateway": true, "hairpinMode": true, "ipam": ipam("172.31.0.0/16"),
	}}}
}

// secondary is one of the further networks: macvlan and bridge in turn.
func secondary(i int) object {
	addresses := ipam(fmt.Sprintf("10.%d.0.0/16", i)) // enough for maxPods
	plugin := object{"type": "macvlan", "master": "uplink0", "mode": "bridge", "ipam": addresses}
	if i%2 == 1 {
		plugin = object{"type": "bridge", "bridge": fmt.Sprintf("bench%d", i), "ipam": addresses}
	}
	return object{"cniVersion": "1.1.0", "name": secondaryName(i), "plugins": []object{plugin}}
}

func secondaryName(i int) string { return fmt.Sprintf("sec%d", i) }

// podObject is a pod with a number of secondary networks.
func podObject(count int) object {
	var names []string
	for i := range count {
		names = append(names, secondaryName(i))
	}
	annotations := object{types.AnnotationConfigSource: "api"} // no pod is without: the kubelet sets it
	if count > 0 {
		annotations[types.AnnotationNetworks] = strings.Join(names, ",")
	}
	return object{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": object{"name": podOf(count), "namespace": namespace, "annotations": annotations},
		"spec": object{
			"nodeName": nodeName, "automountServiceAccountToken": false,
			"containers": []object{{"name": "c", "image": "localhost/none"}},
		},
	}
}

func podOf(count int) string { return fmt.Sprintf("pod-%d", count) }

func networkObject(i int) object {
	return object{
		"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
		"metadata": object{"name": secondaryName(i), "namespace": namespace},
		"spec":     object{"config": string(encode(secondary(i)))},
	}
}

// writeManifests writes a folder with the pod and its networks, for the source manifests and
// for the API server alike.
func (l *lab) writeManifests(count int) (string, error) {
	dir := filepath.Join(l.dir, fmt.Sprintf("manifests-%d", count))
	objects := map[string]object{"pod.yaml": podObject(count)}
	for i := range count {
		objects[secondaryName(i)+".yaml"] = networkObject(i)
	}
	return dir, writeYAML(dir, objects)
}

func writeYAML(dir string, objects map[string]object) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	for name, o := range objects {
		data, err := yaml.Marshal(o)
		if err != nil {
			return err
		}
		if err := os.WriteFile(filepath.Join(dir, name), data, 0o600); err != nil {
			return err
		}
	}
	return nil
}

// scenarios prepares everything that is to be measured in pairs.
func (l *lab) scenarios(ctx context.Context) ([]*scenario, error) {
	kubeconfig, err := l.prepareCluster(ctx)
	if err != nil {
		return nil, err
	}
	var scenarios []*scenario
	for _, source := range l.sources {
		for _, count := range l.counts {
			sc, err := l.newScenario(ctx, source, count, kubeconfig)
			if err != nil {
				return nil, err
			}
			scenarios = append(scenarios, sc)
		}
	}
	return scenarios, nil
}

// prepareCluster gives the kubeconfig of the node's own identity, as the kubelet has it.
func (l *lab) prepareCluster(ctx context.Context) (string, error) {
	if l.cluster == nil {
		return "", nil
	}
	dir := filepath.Join(l.dir, "cluster")
	objects := map[string]object{
		"namespace.yaml": {"apiVersion": "v1", "kind": "Namespace", "metadata": object{"name": namespace}},
		"node.yaml":      {"apiVersion": "v1", "kind": "Node", "metadata": object{"name": nodeName}},
	}
	if err := writeYAML(dir, objects); err != nil {
		return "", err
	}
	if err := l.apply(ctx, dir); err != nil {
		return "", err
	}
	return l.cluster.NodeKubeconfig(nodeName)
}

func (l *lab) apply(ctx context.Context, dir string) error {
	files, err := filepath.Glob(filepath.Join(dir, "*.yaml"))
	if err != nil {
		return err
	}
	for _, file := range files {
		if err := l.cluster.ApplyFile(ctx, file); err != nil {
			return err
		}
	}
	return nil
}

func (l *lab) newScenario(ctx context.Context, source string, count int, kubeconfig string) (*scenario, error) {
	dir, err := l.writeManifests(count)
	if err != nil {
		return nil, err
	}
	sc := &scenario{source: source, count: count, direct: l.newSide(), meta: l.newSide()}
	pod := types.Pod{Namespace: namespace, Name: podOf(count)}
	if source != manifests {
		if err := l.create(ctx, dir, &pod); err != nil {
			return nil, err
		}
	}
	sc.direct.pod, sc.meta.pod = pod, pod
	if err := sc.loadDirect(); err != nil {
		return nil, err
	}
	plugin, err := l.metaPlugin(ctx, sc, dir, kubeconfig)
	if err != nil {
		return nil, err
	}
	return sc, sc.meta.load(object{"cniVersion": "1.1.0", "name": "meta", "plugins": []object{plugin}})
}

// loadDirect adds the networks that libcni attaches alone.
func (sc *scenario) loadDirect() error {
	if err := sc.direct.load(defaultNetwork()); err != nil {
		return err
	}
	for i := range sc.count {
		if err := sc.direct.load(secondary(i)); err != nil {
			return err
		}
	}
	return nil
}

// metaPlugin gives the configuration of the plugin that is measured.
func (l *lab) metaPlugin(ctx context.Context, sc *scenario, dir, kubeconfig string) (object, error) {
	switch sc.source {
	case multusThin:
		sc.meta.forMultus()
		return l.thinMultus(ctx)
	case multusThick:
		sc.meta.forMultus()
		sc.direct.pause, sc.meta.pause = agentPause, agentPause
		plugin, err := l.thickMultus(ctx)
		if err == nil {
			sc.meta.server = l.daemon.PID()
		}
		return plugin, err
	case byAgent:
		return l.withAgent(ctx, sc, kubeconfig)
	}
	plugin := object{"type": "plexus", "delegates": []object{defaultNetwork()}, "agentSocket": ""}
	if sc.source == manifests {
		plugin["manifests"] = dir
	} else {
		plugin["kubeconfig"] = kubeconfig
	}
	if sc.source == apiHanded {
		plugin["capabilities"] = object{types.CapabilityPodAnnotations: true}
		sc.meta.capabilities = object{types.CapabilityPodAnnotations: sc.meta.pod.Annotations}
	}
	sc.once = l.newOnceCall(sc, dir, kubeconfig)
	return plugin, nil
}

// withAgent gives the configuration of a plexus that asks an agent of its own.
func (l *lab) withAgent(ctx context.Context, sc *scenario, kubeconfig string) (_ object, err error) {
	if sc.agent, err = l.startAgent(ctx, fmt.Sprintf("agent-%d", sc.count)); err != nil {
		return nil, err
	}
	sc.direct.pause, sc.meta.pause = agentPause, agentPause
	sc.meta.server = sc.agent.cmd.Process.Pid
	return object{"type": "plexus", "delegates": []object{defaultNetwork()}, "kubeconfig": kubeconfig, "agentSocket": sc.agent.socket}, nil
}

// create creates a pod and its networks in the cluster, and completes what is known of the pod.
func (l *lab) create(ctx context.Context, dir string, pod *types.Pod) error {
	if err := l.apply(ctx, dir); err != nil {
		return err
	}
	made, err := l.cluster.Client().CoreV1().Pods(pod.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if err != nil {
		return err
	}
	pod.UID, pod.Annotations = string(made.UID), made.Annotations
	return nil
}

// load adds a network to a side.
func (s *side) load(config object) error {
	list, err := libcni.NetworkConfFromBytes(encode(config))
	if err != nil {
		return err
	}
	s.lists = append(s.lists, list)
	return nil
}
