package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/proc"
	"github.com/plexus-cni/plexus/internal/test/poll"
)

// Mode says how Plexus is put on the nodes of a cluster.
type Mode int

// How Plexus is installed.
const (
	// Without leaves the cluster network as it is.
	Without Mode = iota
	// Alone installs the plugin by the install command, and no agent.
	Alone
	// WithAgent applies the manifests of deploy/: agents, and installation by their init container.
	WithAgent
)

// Options say what cluster to start.
type Options struct {
	Nodes int
	// Runtimes are those of the nodes, in order; [Containerd] where it is too short.
	Runtimes []Runtime
	// Master makes the cluster network, [Bridge] if nil.
	Master Master
	Plexus Mode
	// Needs are further variables that name folders of executables: without one, the test is
	// skipped.
	Needs []string
	// MaxPods is the kubelets' bound, 250 if it is 0.
	MaxPods int
	// Report is told what is started next. It may be nil.
	Report func(step string)
}

func (o *Options) report(step string) {
	if o.Report != nil {
		o.Report(step)
	}
}

// patience is how long the harness and the scenarios wait for what must come. Nothing is judged
// by it: it bounds a run that would otherwise hang.
const patience = 3 * time.Minute

// Cluster is a running Kubernetes: control plane and nodes.
type Cluster struct {
	*kube.Cluster
	opts   Options
	dir    string
	nodes  []*Node
	bins   binaries
	images *images
}

// binaries are the folders of the executables that a cluster is made of.
type binaries struct {
	kube, cluster, plugins, plexus string
}

// need skips the test where executables are not given, which make e2e does.
func (o *Options) need(t testing.TB) {
	t.Helper()
	if os.Getuid() != 0 {
		t.Skip("needs root: it makes namespaces (make e2e)")
	}
	for _, variable := range o.variables() {
		if os.Getenv(variable) == "" {
			t.Skipf("%s is not set: run make e2e", variable)
		}
	}
}

// variables are those that must be set.
func (o *Options) variables() []string {
	all := append([]string{kube.BinVar, clusterBinVar, pluginsBinVar, plexusBinVar, imageBuilderVar}, o.Needs...)
	for _, r := range o.Runtimes {
		if r.needs != "" {
			all = append(all, r.needs)
		}
	}
	return all
}

// The variables that name the folders of executables, as make sets them.
const (
	clusterBinVar = "PLEXUS_CLUSTER_BIN"
	pluginsBinVar = "PLEXUS_CNI_BIN"
	plexusBinVar  = "PLEXUS_BIN"
	// imageBuilderVar names an executable: hack/image, which needs the network to be built.
	imageBuilderVar = "PLEXUS_IMAGE_BUILDER"
)

// Start starts a cluster and returns once its nodes are ready for pods. When it fails, nothing
// of it is left.
func Start(ctx context.Context, opts Options) (_ *Cluster, retErr error) {
	c := newCluster(opts)
	defer func() {
		if retErr != nil {
			retErr = errors.Join(retErr, c.collect("start"), c.Stop())
		}
	}()
	opts.report("control plane: etcd, kube-apiserver, kube-controller-manager, kube-scheduler")
	if err := c.startControlPlane(ctx); err != nil {
		return nil, err
	}
	if err := c.startNodes(ctx); err != nil {
		return nil, err
	}
	return c, c.Install(ctx, opts.Plexus)
}

func newCluster(opts Options) *Cluster {
	if opts.Master == nil {
		opts.Master = Bridge{}
	}
	return &Cluster{opts: opts, bins: binaries{os.Getenv(kube.BinVar), os.Getenv(clusterBinVar), os.Getenv(pluginsBinVar), os.Getenv(plexusBinVar)}}
}

// Install puts Plexus on a cluster that is Without, and waits until the runtimes use it.
func (c *Cluster) Install(ctx context.Context, mode Mode) error {
	switch mode {
	case Alone:
		return c.installAlone(ctx)
	case WithAgent:
		c.opts.report("Plexus: its image, kubectl apply -k deploy/")
		return c.installManifests(ctx)
	default:
		return nil
	}
}

func (c *Cluster) startControlPlane(ctx context.Context) (err error) {
	if err := c.makePlace(); err != nil {
		return err
	}
	c.Cluster, err = kube.Start(ctx, kube.Options{BinDir: c.bins.kube, Dir: c.dir, Address: serviceIP, Port: 443, Controllers: true})
	if err != nil {
		return err
	}
	return c.StartControllers(c.bins.cluster, podNetwork)
}

// makePlace makes what nodes need of the machine: switches between them, and a folder.
func (c *Cluster) makePlace() (err error) {
	if err := makeFabric(); err != nil {
		return err
	}
	if err := os.MkdirAll(runDir(), 0o755); err != nil {
		return err
	}
	c.dir, err = os.MkdirTemp(runDir(), "cluster-")
	c.images = &images{dir: c.dir, repository: repository()}
	return err
}

// startNodes starts the nodes one after the other, so that they get their networks in order, and
// then waits for all.
func (c *Cluster) startNodes(ctx context.Context) error {
	for i := range c.opts.Nodes {
		n := c.newNode(i + 1)
		c.nodes = append(c.nodes, n)
		c.opts.report(n.Name + ": " + n.runtime.Name + ", kubelet")
		if err := n.start(ctx); err != nil {
			return fmt.Errorf("start %s: %w", n.Name, err)
		}
	}
	c.opts.report("the cluster network")
	if err := c.opts.Master.Install(ctx, c); err != nil {
		return fmt.Errorf("install the cluster network: %w", err)
	}
	for _, n := range c.nodes {
		if err := n.awaitReady(ctx); err != nil {
			return err
		}
	}
	return c.awaitServiceAccount(ctx, "default")
}

// Stop stops all and removes it from the machine. A cluster that has not started whole can be
// stopped too.
func (c *Cluster) Stop() error {
	for _, n := range c.nodes {
		n.PowerOff()
	}
	return errors.Join(c.Cluster.Stop(), removeAll(c.dir))
}

// Dir is the folder of the nodes' disks and of the servers' logs.
func (c *Cluster) Dir() string { return c.dir }

// Node gives a node by its number, from 1.
func (c *Cluster) Node(i int) *Node { return c.nodes[i-1] }

// Nodes gives all nodes.
func (c *Cluster) Nodes() []*Node { return c.nodes }

// Kubectl runs kubectl as an administrator and gives what it prints.
func (c *Cluster) Kubectl(args ...string) (string, error) {
	return proc.Lasting().Run(filepath.Join(c.bins.kube, "kubectl"), append([]string{"--kubeconfig", c.AdminKubeconfig()}, args...)...)
}

// Apply applies a manifest as an administrator.
func (c *Cluster) Apply(manifest string) error {
	cmd := exec.Command(filepath.Join(c.bins.kube, "kubectl"), "--kubeconfig", c.AdminKubeconfig(), "apply", "--server-side", "-f", "-")
	cmd.Stdin = strings.NewReader(manifest)
	_, err := proc.Lasting().RunCommand(cmd)
	return err
}

// await polls condition until it gives no error, and otherwise says what it waited for and the
// last error.
func await(ctx context.Context, what string, condition func(context.Context) error) error {
	return poll.Until(ctx, patience, what, condition)
}

// removeAll removes a folder in which containers had their files. An empty path is nothing.
func removeAll(dir string) error {
	if dir == "" {
		return nil
	}
	return os.RemoveAll(dir)
}

// repository is the root of the source tree, found from the working folder.
func repository() string {
	out, err := exec.Command("go", "list", "-m", "-f", "{{.Dir}}", "github.com/plexus-cni/plexus").Output()
	if err != nil {
		return ""
	}
	return filepath.Clean(string(out[:len(out)-1]))
}
