package window

import (
	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
)

func newSnapshot(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	var where nodeFlags
	var path string
	var withConfig bool
	cmd := &cobra.Command{
		Use:   "snapshot [--save FILE]",
		Short: "Read the network of this node and of its pods into one document",
		Long: `snapshot answers: how is the network of this node and of its pods, right now? It prints one JSON
document, which get, inspect, path and doctor read with --from. The document has addresses, names and
MACs, and no configuration of a network unless --with-config asks for them.

` + onTheNode,
		Example: `  sudo kubectl-plexus snapshot --save node1.json
  kubectl-plexus inspect --from node1.json shop/web`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			snapshot, err := where.read(cmd, inspect.Request{CNI: true, WithConfig: withConfig})
			if err != nil {
				return err
			}
			data, err := snapshot.Bytes()
			if err != nil {
				return err
			}
			if path != "" {
				return save(path, data)
			}
			_, err = cmd.OutOrStdout().Write(data)
			return err
		},
	}
	where.add(cmd, cluster)
	where.addConfDir(cmd)
	cmd.Flags().BoolVar(&withConfig, "with-config", false, "add the configurations of the runtime's folder, with masked secrets")
	cmd.Flags().StringVar(&path, "save", "", "write into this `file`, readable for its owner alone, and print nothing")
	return cmd
}
