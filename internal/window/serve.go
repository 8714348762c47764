package window

import (
	"fmt"
	"time"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/stream"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/internal/windowpod"
)

// newNode gives the commands that run in a window pod. They are for no hand, and in no list.
func newNode() *cobra.Command {
	cmd := &cobra.Command{
		Use:     "node",
		Short:   "What runs in a window pod",
		Long:    "node has the commands that run in a window pod. Other commands start them (docs/window.md).",
		Example: "  kubectl-plexus node wait --keep 2m",
		Hidden:  true,
		Args:    cobra.ArbitraryArgs,
		RunE:    runGroup,
	}
	cmd.AddCommand(newServe(), newWait())
	return cmd
}

func newServe() *cobra.Command {
	var root string
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Read this node for whoever speaks to it by its standard input",
		Long: `serve answers requests from its standard input on its standard output, as the commands send them to a
window pod. It ends with its input, or when nobody takes its output any more.`,
		Example: "  kubectl-plexus node serve",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			announce()
			return stream.Serve(cmd.Context(), cmd.InOrStdin(), cmd.OutOrStdout(), version.Version, func(folders stream.Folders) (inspect.Node, error) {
				return openServed(root, folders)
			})
		},
	}
	cmd.Flags().StringVar(&root, "root", windowpod.HostRoot, "`folder` that the node's folders are mounted below")
	return cmd
}

func newWait() *cobra.Command {
	var keep time.Duration
	cmd := &cobra.Command{
		Use:   "wait",
		Short: "Wait until nobody is served",
		Long: `wait is the first process of a window pod. It ends when no other process of the pod has served anybody
for the time of --keep, and the pod ends with it.`,
		Example: "  kubectl-plexus node wait --keep 2m",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			if keep <= 0 {
				return misuse(fmt.Errorf("--keep: %s is no time to wait", keep))
			}
			return waitUnused(cmd.Context(), keep)
		},
	}
	cmd.Flags().DurationVar(&keep, "keep", windowpod.DefaultKeep, "how long to wait for somebody to serve")
	return cmd
}
