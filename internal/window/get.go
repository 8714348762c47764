package window

import (
	"context"
	"errors"
	"fmt"
	"io"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
)

const formatWide = "wide"

// getOptions are the flags of get.
type getOptions struct {
	node    nodeFlags
	pod     string
	network string
	watch   bool
	all     bool
	output  *output
	table   inspect.AttachedTable
}

func newGet(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	o := &getOptions{}
	cmd := &cobra.Command{
		Use:   "get [[pod] NAMESPACE/POD]",
		Short: "List what is attached to the pods of a node, and whether it is as it was made",
		Long: `get answers: which pods of a node have which networks, and is each attachment still as Plexus made
it? It compares the journal with the kernel, and with the status of the pod if there is a cluster. The
states are ok, unpublished (the pod's status lacks it, or has something else), changed (addresses or MAC),
gone (no such interface any more), unfinished (an ADD that is under way, or was cut short) and dead (the
sandbox is gone, the record not yet released). The exit code is 1 if there is a state other than the
first two.

With --watch it stays, on one node, and prints what changes; released is then an attachment whose record
is gone. It ends with Ctrl-C, and with exit code 0.

With -A it is all nodes of the cluster, at most five at once. A node that cannot be read is said so, and
the exit code is 3.

` + whichNode,
		Example: `  kubectl plexus get -A --network shop/lan        # which pods are on a network
  kubectl plexus get --node node1
  sudo kubectl-plexus get                         # on a node
  sudo kubectl-plexus get --network shop/lan     # which pods are on a network
  sudo kubectl-plexus get shop/web -o wide
  sudo kubectl-plexus get --watch
  kubectl-plexus get --from node1.json -o json`,
		Args: usageArgs(onePod),
		RunE: func(cmd *cobra.Command, args []string) error {
			if len(args) > 0 {
				o.pod = podName(afterPod(args)[0], *cluster.Namespace)
				o.node.pod = o.pod
			}
			return o.run(cmd)
		},
	}
	o.node.add(cmd, cluster)
	o.node.addFrom(cmd)
	o.node.addAfar(cmd)
	addSave(cmd, &o.node.save)
	cmd.Flags().BoolVarP(&o.all, "all-nodes", "A", false, "list the attachments of all nodes of the cluster")
	cmd.Flags().StringVar(&o.network, "network", "", "only attachments to the network of this `name`, as the column NETWORK has it")
	cmd.Flags().BoolVarP(&o.watch, "watch", "w", false, "print what changes, until Ctrl-C")
	o.output = addOutput(cmd, formatWide)
	return cmd
}

func (o *getOptions) run(cmd *cobra.Command) (err error) {
	if err := o.output.check(); err != nil {
		return err
	}
	o.table.Wide = o.output.format == formatWide
	if o.watch && o.node.from != "" {
		return misuse(errors.New("--watch: a saved snapshot does not change"))
	}
	o.node.brief = o.node.save == "" // what is saved is for every command
	if o.all {
		return o.runAll(cmd)
	}
	node, err := o.node.open(cmd)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, node.Close()) }()
	if o.watch {
		return o.follow(cmd, node)
	}
	list, err := o.list(cmd.Context(), node)
	if err == nil && o.pod != "" && len(list.Items) == 0 {
		err = o.notFound()
	}
	if err != nil {
		return err
	}
	if err := o.write(cmd, list); err != nil {
		return err
	}
	return verdict(list)
}

// notFound says that a pod that was named has no attachment on the node.
func (o *getOptions) notFound() error {
	if o.network != "" {
		return fmt.Errorf("pod %s: %w: the journal has no attachment of it to the network %s", o.pod, inspect.ErrNotFound, o.network)
	}
	return fmt.Errorf("pod %s: %w: the journal has no attachment of it", o.pod, inspect.ErrNotFound)
}

// list reads the node, and compares.
func (o *getOptions) list(ctx context.Context, node inspect.Node) (*inspect.AttachedList, error) {
	snapshot, err := o.node.ask(ctx, node, inspect.Request{Brief: true})
	if err != nil {
		return nil, err
	}
	list := inspect.NewAttachedList(snapshot, func(a *inspect.Attached) bool {
		return (o.pod == "" || a.Pod == o.pod) && (o.network == "" || a.Network == o.network)
	})
	if o.node.from == "" {
		comparePublished(ctx, o.node.cluster, list, snapshot.Machine.Name())
	}
	return list, nil
}

// write writes a list. What could not be asked goes to stderr too: the table has no place for it.
func (o *getOptions) write(cmd *cobra.Command, list *inspect.AttachedList) error {
	return o.output.write(cmd.OutOrStdout(), list, o.node.withWay(func(w io.Writer) error {
		o.node.way = "" // it is written
		for _, note := range list.Notes {
			fmt.Fprintf(cmd.ErrOrStderr(), "%s: %s: %s\n", program, note.About, note.Text)
		}
		return o.table.Write(w, list)
	}))
}

// runAll reads all nodes. Those that cannot be read do not keep the others.
func (o *getOptions) runAll(cmd *cobra.Command) error {
	if o.node.name != "" || o.node.from != "" || o.watch {
		return misuse(errors.New("--all-nodes is every node, once: leave out --node, --from and --watch"))
	}
	if err := o.node.check(cmd); err != nil {
		return err
	}
	names, err := o.node.nodeNames(cmd.Context())
	if err != nil {
		return err
	}
	lists := make([]*inspect.AttachedList, len(names))
	err = o.node.eachNode(cmd.Context(), names, func(name string, node inspect.Node) error {
		list, err := o.list(cmd.Context(), node)
		lists[slices.Index(names, name)] = list
		return err
	})
	if err != nil {
		err = fmt.Errorf("not every node could be read:\n%w", err)
	}
	list := inspect.MergeAttached(lists...)
	if err != nil && len(list.Items) == 0 {
		return err // nothing is known, so there is nothing to list
	}
	o.table.Nodes = true
	if err := errors.Join(o.write(cmd, list), err); err != nil {
		return err
	}
	return verdict(list)
}

// follow writes the list, and then what changes of it.
func (o *getOptions) follow(cmd *cobra.Command, node inspect.Node) error {
	var before *inspect.AttachedList
	return watch(cmd.Context(), node, func() error {
		list, err := o.list(cmd.Context(), node)
		if err != nil {
			return err
		}
		changes := list
		if before != nil {
			changes = list.Changes(before)
			changes.Notes = nil // they were written
		}
		isFirst := before == nil
		before = list
		if !isFirst && len(changes.Items) == 0 {
			return nil
		}
		if !isFirst && o.output.format == formatYAML {
			fmt.Fprintln(cmd.OutOrStdout(), "---")
		}
		return o.write(cmd, changes)
	})
}

// verdict is the error of a list that says what is wrong.
func verdict(list *inspect.AttachedList) error {
	if list.Wrong() {
		return errShown
	}
	return nil
}
