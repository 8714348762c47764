package window

import (
	"io"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
)

const formatWide = "wide"

func newGet(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	var node nodeFlags
	var network string
	cmd := &cobra.Command{
		Use:   "get [NAMESPACE/POD]",
		Short: "List what is attached to the pods of a node, and whether it is as it was made",
		Long: `get answers: which pods of this node have which networks, and is each attachment still as Plexus made
it? It compares the journal with the kernel. The states are ok, unpublished (the pod's status is not
written yet), changed (addresses or MAC), gone (no such interface any more), unfinished (an ADD that is
under way, or was cut short) and dead (the sandbox is gone, the record not yet released). The exit code
is 1 if there is a state other than the first two.

` + onTheNode + `
With --from it reads a saved snapshot instead, as any user, anywhere.`,
		Example: `  sudo kubectl-plexus get
  sudo kubectl-plexus get --network shop/lan     # which pods are on a network
  sudo kubectl-plexus get shop/web -o wide
  kubectl-plexus get --from node1.json -o json`,
		Args: usageArgs(onePod),
	}
	node.add(cmd, cluster)
	node.addFrom(cmd)
	addSave(cmd, &node.save)
	cmd.Flags().StringVar(&network, "network", "", "only attachments to the network of this `name`, as the column NETWORK has it")
	out := addOutput(cmd, formatWide)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(); err != nil {
			return err
		}
		pod := ""
		if len(args) > 0 {
			pod = podName(args[0], *cluster.Namespace)
		}
		snapshot, err := node.read(cmd, inspect.Request{Brief: true})
		if err != nil {
			return err
		}
		list := inspect.NewAttachedList(snapshot, func(a *inspect.Attached) bool {
			return (pod == "" || a.Pod == pod) && (network == "" || a.Network == network)
		})
		text := func(w io.Writer) error {
			return (&inspect.AttachedTable{Wide: out.format == formatWide}).Write(w, list)
		}
		if err := out.write(cmd.OutOrStdout(), list, text); err != nil {
			return err
		}
		if list.Wrong() {
			return errShown
		}
		return nil
	}
	return cmd
}
