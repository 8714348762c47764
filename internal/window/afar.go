package window

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	corev1client "k8s.io/client-go/kubernetes/typed/core/v1"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/internal/windowpod"
)

// maxOpen is how many nodes are open at once.
const maxOpen = 5

// afar is how nodes of a cluster are read.
type afar struct {
	cluster   *genericclioptions.ConfigFlags
	cmd       *cobra.Command
	name      string // of the node
	namespace string // of Plexus
	keep      time.Duration
	brief     bool            // the command reads only interfaces and addresses
	needs     windowpod.Needs // what else a window pod has to be able to do
	way       string          // how the node was read
	away      bool            // it was read through a window pod
	connect   func() (*clients, error)
}

// clients are what nodes of a cluster are read by.
type clients struct {
	windows *windowpod.Cluster
	core    corev1client.CoreV1Interface
	timeout time.Duration
}

// addAfar adds the flags for commands that read a node of a cluster.
func (a *afar) addAfar(cmd *cobra.Command) {
	cmd.Flags().StringVar(&a.name, "node", "", "read the node of this `name`, through a window pod")
	a.addPods(cmd)
}

// addPods adds the flags of window pods.
func (a *afar) addPods(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.DurationVar(&a.keep, "keep", windowpod.DefaultKeep, "how long a window pod stays for the next command")
	flags.StringVar(&a.namespace, "plexus-namespace", windowpod.Namespace, "`namespace` that Plexus is installed in")
}

// errNoCluster is the error where nothing says how to reach a cluster: client-go would ask localhost:8080.
var errNoCluster = errors.New("no cluster is known: there is no kubeconfig (--kubeconfig, KUBECONFIG, ~/.kube/config); give one, or files")

// hasCluster reports whether something says how to reach a cluster.
func (a *afar) hasCluster() (bool, error) {
	config, err := a.cluster.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return false, err
	}
	_, outside := rest.InClusterConfig()
	return len(config.Clusters) > 0 || *a.cluster.APIServer != "" || outside == nil, nil
}

func (a *afar) newClients() (*clients, error) {
	if known, err := a.hasCluster(); err != nil || !known {
		return nil, cmp.Or(err, errNoCluster)
	}
	config, err := a.cluster.ToRESTConfig()
	if err != nil {
		return nil, err
	}
	config.UserAgent = program + "/" + version.Version
	c := &clients{timeout: cmp.Or(config.Timeout, askTimeout)}
	needs := max(a.needs, windowpod.Full)
	if a.brief {
		needs = windowpod.Brief
	}
	c.windows, err = windowpod.New(config, windowpod.Options{
		Namespace: a.namespace, Keep: a.keep, Needs: needs, Build: version.Version, Timeout: c.timeout, Progress: a.progress,
	})
	if err != nil {
		return nil, err
	}
	c.core, err = corev1client.NewForConfig(config)
	return c, err
}

// progress says what is waited for.
func (a *afar) progress(format string, args ...any) {
	_, _ = fmt.Fprintf(a.cmd.ErrOrStderr(), program+": "+format+"\n", args...)
}

// openNode gives the way to a node of the cluster, through a window pod on it. Any number may be
// open at once. The caller closes each.
func (a *afar) openNode(ctx context.Context, name string) (inspect.Node, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	node, err := c.windows.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	return node, nil
}

// nodeOf gives the name of the node that a pod is on, named as NAMESPACE/POD.
func (a *afar) nodeOf(ctx context.Context, pod string) (string, error) {
	c, err := a.connect()
	if err != nil {
		return "", err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	namespace, name, _ := strings.Cut(pod, "/")
	found, err := c.core.Pods(namespace).Get(ctx, name, metav1.GetOptions{})
	switch {
	case apierrors.IsForbidden(err):
		otherwise := ""
		if a.cmd.Flags().Lookup("node") != nil {
			otherwise = "; or name the node with --node"
		}
		return "", fmt.Errorf("pod %s: its node is not known, as %w: this needs get pods in %s, which the ClusterRole plexus-window gives%s",
			pod, windowpod.ErrRight, namespace, otherwise)
	case err != nil:
		return "", fmt.Errorf("pod %s: ask the cluster for its node: %w", pod, err)
	case found.Spec.NodeName == "":
		return "", fmt.Errorf("pod %s: the cluster has not placed it on a node yet", pod)
	}
	return found.Spec.NodeName, nil
}

// nodeNames gives the names of all nodes that run Linux.
func (a *afar) nodeNames(ctx context.Context) ([]string, error) {
	c, err := a.connect()
	if err != nil {
		return nil, err
	}
	ctx, cancel := context.WithTimeout(ctx, c.timeout)
	defer cancel()
	nodes, err := c.core.Nodes().List(ctx, metav1.ListOptions{LabelSelector: corev1.LabelOSStable + "=linux"})
	if apierrors.IsForbidden(err) {
		return nil, fmt.Errorf("%w: this needs list nodes, which the ClusterRole plexus-window gives", windowpod.ErrRight)
	}
	if err != nil {
		return nil, fmt.Errorf("ask the cluster for its nodes: %w", err)
	}
	var names []string
	for i := range nodes.Items {
		names = append(names, nodes.Items[i].Name)
	}
	return names, nil
}

// eachNode opens the nodes, at most five at once, and runs a function for each, which it may do for
// several at once. What fails for one node does not keep the others; the error has all of them.
func (a *afar) eachNode(ctx context.Context, names []string, run func(name string, node inspect.Node) error) error {
	var group errgroup.Group
	group.SetLimit(maxOpen)
	errs := make([]error, len(names))
	for i, name := range names {
		group.Go(func() error {
			node, err := a.openNode(ctx, name)
			if err == nil {
				err = errors.Join(run(name, node), node.Close())
			}
			errs[i] = err
			return nil
		})
	}
	_ = group.Wait()
	return errors.Join(errs...)
}

// Names gives the names of the nodes, for doctor.
func (a *afar) Names(ctx context.Context) ([]string, error) { return a.nodeNames(ctx) }

// Open opens a node, for doctor.
func (a *afar) Open(ctx context.Context, name string) (inspect.Node, error) {
	return a.openNode(ctx, name)
}
