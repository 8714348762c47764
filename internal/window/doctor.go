package window

import (
	"cmp"
	"context"
	"errors"
	"io"
	"sync"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// maxNodes is how many nodes are read at once.
const maxNodes = 5

// remoteNodes is the way to the nodes of a cluster.
type remoteNodes interface {
	// Names gives the names of all nodes.
	Names(ctx context.Context) ([]string, error)
	// Open opens one; the caller closes it.
	Open(ctx context.Context, name string) (inspect.Node, error)
}

// doctor is one call of the command.
type doctor struct {
	local  nodeFlags
	beside beside
	remote remoteNodes
	node   string
	all    bool
}

func newDoctor(cluster *genericclioptions.ConfigFlags, remote remoteNodes) *cobra.Command {
	d := &doctor{beside: beside{cluster: cluster}, remote: remote}
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Say on one page what is wrong with a node",
		Long: `doctor answers: does this node do what it should for CNI, and if not, why? It prints what is wrong, the
worst first, each with what was seen and what to do, and then how the node is: which configuration the
runtime takes, the agent, credentials, what is left of sandboxes that are gone, addresses, devices. It adds
the findings of inspect for every pod of the node. docs/findings.md has all findings.

Exit codes: 0 there is no error and no warning, 1 there is one, 2 wrong usage, 3 could not look.

It runs on the node, as root. With --node it reads a node of the cluster through a window pod
(docs/window.md), and with --all-nodes every one. The agent, the container runtime and the API server
are asked as far as they can be reached; no plugin is run, and nothing is changed.
With --from it reads a saved snapshot instead.`,
		Example: `  sudo kubectl-plexus doctor
  sudo kubectl-plexus doctor -o json
  kubectl plexus doctor --node node1
  kubectl plexus doctor --all-nodes
  kubectl-plexus doctor --from node1.json`,
		Args: usageArgs(cobra.NoArgs),
	}
	d.local.add(cmd, cluster)
	d.local.here = true
	d.local.addFrom(cmd)
	d.local.addConfDir(cmd)
	d.beside.add(cmd)
	cmd.Flags().StringVar(&d.node, "node", "", "the `node` of the cluster to look at, through a window pod; without it, the one that this runs on")
	cmd.Flags().BoolVarP(&d.all, "all-nodes", "A", false, "a row for each node of the cluster, at most five read at once")
	d.local.addPods(cmd)
	if d.remote == nil {
		d.remote = &d.local.afar
	}
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := errors.Join(d.check(), out.check()); err != nil {
			return err
		}
		if d.all {
			return d.runAll(cmd, out)
		}
		return d.runOne(cmd, out)
	}
	return cmd
}

func (d *doctor) check() error {
	chosen := 0
	for _, is := range []bool{d.all, d.node != "", d.local.from != ""} {
		if is {
			chosen++
		}
	}
	if chosen > 1 {
		return misuse(errors.New("choose one of --node, --all-nodes and --from"))
	}
	return nil
}

func (d *doctor) runOne(cmd *cobra.Command, out *output) error {
	snapshot, err := d.snapshot(cmd)
	if err != nil {
		return err
	}
	page := inspect.NewDoctor(snapshot)
	if err := out.write(cmd.OutOrStdout(), page, page.WriteText); err != nil {
		return err
	}
	if page.Wrong() {
		return errShown
	}
	return nil
}

// snapshot reads a node, and what else is known of it from here.
func (d *doctor) snapshot(cmd *cobra.Command) (*inspect.Snapshot, error) {
	if d.node != "" {
		return d.readRemote(cmd.Context(), d.node)
	}
	snapshot, err := d.local.read(cmd, inspect.Request{CNI: true})
	if err == nil {
		err = snapshot.Judges()
	}
	if err != nil {
		return nil, err
	}
	if d.local.from == "" {
		d.beside.ask(cmd.Context(), snapshot, true)
	}
	return snapshot, nil
}

// readRemote reads a node of the cluster.
func (d *doctor) readRemote(ctx context.Context, name string) (*inspect.Snapshot, error) {
	node, err := d.remote.Open(ctx, name)
	if err != nil {
		return nil, err
	}
	snapshot, err := node.Snapshot(ctx, inspect.Request{CNI: true})
	if err := errors.Join(err, node.Close()); err != nil {
		return nil, err
	}
	if err := snapshot.Judges(); err != nil {
		return nil, err
	}
	snapshot.Machine.Node = cmp.Or(snapshot.Machine.Node, name)
	d.beside.ask(ctx, snapshot, false)
	return snapshot, nil
}

// runAll reads every node, several at once.
func (d *doctor) runAll(cmd *cobra.Command, out *output) error {
	names, err := d.remote.Names(cmd.Context())
	if err != nil {
		return err
	}
	list := inspect.NewDoctorList(d.pages(cmd.Context(), names))
	if err := out.write(cmd.OutOrStdout(), list, func(w io.Writer) error { return list.WriteText(w) }); err != nil {
		return err
	}
	switch wrong, unread := list.Wrong(); {
	case wrong:
		return errShown
	case unread:
		return errUnread
	}
	return nil
}

// errUnread is the error of a list that says which nodes could not be read.
var errUnread = withExit(exitBlind, errors.New("a node could not be read"))

func (d *doctor) pages(ctx context.Context, names []string) []inspect.NodePage {
	pages := make([]inspect.NodePage, len(names))
	free := make(chan struct{}, maxNodes)
	var work sync.WaitGroup
	for i, name := range names {
		work.Go(func() {
			free <- struct{}{}
			defer func() { <-free }()
			pages[i].Node = name
			snapshot, err := d.readRemote(ctx, name)
			if err != nil {
				pages[i].Error = err.Error()
				return
			}
			pages[i].Doctor = inspect.NewDoctor(snapshot)
		})
	}
	work.Wait()
	return pages
}
