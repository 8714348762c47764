package cluster

import (
	"context"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	apitypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/util/retry"

	"github.com/plexus-cni/plexus/types"
)

// Where Plexus is on a node and in the cluster, by the manifests.
const (
	ConfFile   = "/etc/cni/net.d/00-plexus.conflist"
	JournalDir = "/var/lib/cni/plexus/plexus"
	// journals are the records of every network of Plexus: podman has several.
	journals       = "/var/lib/cni/plexus/*/*.jsonl"
	agentNamespace = "plexus-system"
	agentName      = "plexus-agent"
)

var getOptions = metav1.GetOptions{}

// installAlone installs the plugin without an agent: the definition of networks and the nodes'
// right to read them, and the install command on every node.
func (c *Cluster) installAlone(ctx context.Context) error {
	if err := c.ApplyNADCRD(ctx); err != nil {
		return err
	}
	if err := c.BindNodesReadNADs(ctx); err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.InstallPlexus(); err != nil {
			return err
		}
	}
	return c.awaitPlexus(ctx)
}

// InstallPlexus runs the install command on the node itself.
func (n *Node) InstallPlexus(more ...string) error {
	_, err := n.Run(n.Plexus("plexus-agent"), append([]string{"install", "--from", n.cluster.bins.plexus, "--kubeconfig", KubeletKubeconfig, "--timeout", "60s"}, more...)...)
	return err
}

// UninstallPlexus runs the uninstall command on the node itself, and gives what it printed.
func (n *Node) UninstallPlexus(more ...string) (string, error) {
	return n.Run(n.Plexus("plexus-agent"), append([]string{"uninstall", "--from", n.cluster.bins.plexus}, more...)...)
}

// Plexus is the path of one of the commands of this build.
func (n *Node) Plexus(command string) string { return filepath.Join(n.cluster.bins.plexus, command) }

// installManifests does what the README says: import the image, kubectl apply -k deploy/.
func (c *Cluster) installManifests(ctx context.Context) error {
	if err := c.ImportPlexus(PlexusImage, "v0.0.0-dev"); err != nil {
		return err
	}
	if _, err := c.Kubectl("apply", "-k", filepath.Join(repository(), "deploy")); err != nil {
		return err
	}
	if err := c.AwaitAgents(ctx); err != nil {
		return err
	}
	return c.awaitPlexus(ctx)
}

// ImportPlexus builds an image of Plexus with a version, and brings it to all nodes.
func (c *Cluster) ImportPlexus(ref, version string) error {
	file, err := c.images.plexus(ref, version)
	if err != nil {
		return err
	}
	for _, n := range c.nodes {
		if err := n.runtime.load(n, file); err != nil {
			return err
		}
	}
	return nil
}

// AwaitAgents waits until the DaemonSet's pods of the newest generation are ready on all nodes
// that want one.
func (c *Cluster) AwaitAgents(ctx context.Context) error {
	return await(ctx, "the agents", func(ctx context.Context) error {
		set, err := c.agents(ctx)
		if err != nil {
			return err
		}
		s := set.Status
		if s.ObservedGeneration < set.Generation || s.UpdatedNumberScheduled < s.DesiredNumberScheduled || s.NumberReady < s.DesiredNumberScheduled {
			return fmt.Errorf("of %d agents %d are up to date, %d ready", s.DesiredNumberScheduled, s.UpdatedNumberScheduled, s.NumberReady)
		}
		if s.CurrentNumberScheduled != s.DesiredNumberScheduled || s.NumberMisscheduled > 0 {
			return fmt.Errorf("%d agents are wanted, %d are there, %d where they must not be", s.DesiredNumberScheduled, s.CurrentNumberScheduled, s.NumberMisscheduled)
		}
		return nil
	})
}

func (c *Cluster) agents(ctx context.Context) (*appsv1.DaemonSet, error) {
	return c.Client().AppsV1().DaemonSets(agentNamespace).Get(ctx, agentName, getOptions)
}

// SetAgentImage changes the image of the agents and does not wait for them.
func (c *Cluster) SetAgentImage(ctx context.Context, ref string) error {
	return c.changeAgents(ctx, func(template *corev1.PodSpec) {
		for i := range template.InitContainers {
			template.InitContainers[i].Image = ref
		}
		for i := range template.Containers {
			template.Containers[i].Image = ref
		}
	})
}

// SetExtraConfig sets the further keys of the nodes' configuration, as users do: by a setting of
// the containers that install. It waits until the runtimes have the configuration.
func (c *Cluster) SetExtraConfig(ctx context.Context, extra Conf) error {
	err := c.changeAgents(ctx, func(template *corev1.PodSpec) {
		setExtraConfig(template.InitContainers, extra)
		setExtraConfig(template.Containers, extra)
	})
	if err == nil {
		err = c.AwaitAgents(ctx)
	}
	for _, n := range c.nodes {
		if err == nil {
			err = n.AwaitConf(ctx)
		}
	}
	return err
}

func setExtraConfig(containers []corev1.Container, extra Conf) {
	const name = "PLEXUS_AGENT_EXTRA_CONFIG"
	for i := range containers {
		container := &containers[i]
		if container.Args[0] != "install" {
			continue
		}
		container.Env = slices.DeleteFunc(container.Env, func(v corev1.EnvVar) bool { return v.Name == name })
		if len(extra) > 0 {
			container.Env = append(container.Env, corev1.EnvVar{Name: name, Value: JSON(extra)})
		}
	}
}

// AwaitConf waits until the node's runtime has read the configuration of Plexus as it is.
func (n *Node) AwaitConf(ctx context.Context) error { return n.runtime.read(ctx, n) }

// changeAgents changes the template of the agents' pods and does not wait for them.
func (c *Cluster) changeAgents(ctx context.Context, change func(*corev1.PodSpec)) error {
	return retry.RetryOnConflict(retry.DefaultBackoff, func() error { // the controller writes the object too
		set, err := c.agents(ctx)
		if err != nil {
			return err
		}
		change(&set.Spec.Template.Spec)
		_, err = c.Client().AppsV1().DaemonSets(agentNamespace).Update(ctx, set, metav1.UpdateOptions{})
		return err
	})
}

// RemoveAgents takes the agents away, by a node selector that no node has, and waits until they
// are gone. The plugin stays.
func (c *Cluster) RemoveAgents(ctx context.Context) error {
	return c.selectAgents(ctx, `{"plexus-e2e": "nowhere"}`)
}

// RestoreAgents brings the agents back and waits for them.
func (c *Cluster) RestoreAgents(ctx context.Context) error {
	return c.selectAgents(ctx, `{"plexus-e2e": null}`)
}

func (c *Cluster) selectAgents(ctx context.Context, labels string) error {
	patch := []byte(`{"spec": {"template": {"spec": {"nodeSelector": ` + labels + `}}}}`)
	_, err := c.Client().AppsV1().DaemonSets(agentNamespace).Patch(ctx, agentName, apitypes.StrategicMergePatchType, patch, metav1.PatchOptions{})
	if err != nil {
		return err
	}
	if err := c.AwaitAgents(ctx); err != nil {
		return err
	}
	return await(ctx, "the agents that are not wanted to end", func(ctx context.Context) error {
		set, err := c.agents(ctx)
		if err != nil {
			return err
		}
		pods, err := c.Client().CoreV1().Pods(agentNamespace).List(ctx, metav1.ListOptions{})
		if err == nil && len(pods.Items) != int(set.Status.DesiredNumberScheduled) {
			err = fmt.Errorf("there are %d agents, %d are wanted", len(pods.Items), set.Status.DesiredNumberScheduled)
		}
		return err
	})
}

// awaitPlexus waits until the runtime of every node calls Plexus.
func (c *Cluster) awaitPlexus(ctx context.Context) error {
	for _, n := range c.nodes {
		if err := n.AwaitNetwork(ctx, "plexus"); err != nil {
			return err
		}
	}
	return nil
}

// AwaitNetwork waits until the node's runtime uses the network of that name.
func (n *Node) AwaitNetwork(ctx context.Context, name string) error {
	return await(ctx, "the runtime of "+n.Name+" to use network "+name, func(context.Context) error {
		return n.runtime.used(n, name)
	})
}

// Journal gives the names of the records on the node.
func (n *Node) Journal() []string {
	var names []string
	for _, path := range n.Glob(JournalDir + "/*.jsonl") {
		names = append(names, filepath.Base(path))
	}
	return names
}

// Record reads the record of a sandbox on the node.
func (n *Node) Record(sandbox Sandbox) (*types.Record, error) {
	paths := n.Glob(JournalDir + "/*" + sandbox.ID + "*.jsonl")
	if len(paths) != 1 {
		return nil, fmt.Errorf("on %s, sandbox %s has the records %q", n.Name, sandbox.ID, paths)
	}
	text, err := n.ReadFile(paths[0])
	if err != nil {
		return nil, err
	}
	return types.ParseRecord([]byte(text))
}

// Reservations gives the addresses that host-local has reserved on the node, as NETWORK/ADDRESS.
func (n *Node) Reservations() []string {
	var found []string
	for _, path := range n.Glob("/var/lib/cni/networks/*/*") {
		base := filepath.Base(path)
		if base != "lock" && !strings.HasPrefix(base, "last_reserved_ip.") {
			found = append(found, filepath.Base(filepath.Dir(path))+"/"+base)
		}
	}
	return found
}

// AwaitClean waits until nothing of any pod is on the node.
func (n *Node) AwaitClean(ctx context.Context) error {
	return await(ctx, n.Name+" to be clean", func(context.Context) error {
		if left := n.leftovers(); len(left) > 0 {
			return fmt.Errorf("left behind: %s", strings.Join(left, ", "))
		}
		return nil
	})
}

// leftovers gives what pods have left on the node: records, addresses, what plugin tuning is to
// restore, interfaces.
func (n *Node) leftovers() []string {
	left := slices.Concat(n.Glob(journals), n.Reservations(), n.Glob("/run/cni/tuning/*"))
	out, err := n.Run("ip", "-o", "link", "show", "type", "veth")
	if err != nil {
		return append(left, err.Error())
	}
	for line := range strings.Lines(out) {
		if fields := strings.Fields(line); len(fields) > 1 && !strings.HasPrefix(fields[1], "eth") {
			left = append(left, "interface "+strings.TrimSuffix(fields[1], ":"))
		}
	}
	return left
}
