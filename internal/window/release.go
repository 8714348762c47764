package window

import (
	"errors"
	"fmt"
	"io"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// configFlags say which configuration of Plexus is the node's.
type configFlags struct{ config, confDir string }

func (f *configFlags) add(cmd *cobra.Command) {
	f.confDir = runtimeConfDir
	cmd.Flags().StringVar(&f.config, "config", "", "`file` with Plexus's CNI configuration; without it, the first one in "+runtimeConfDir+", else one with Plexus's defaults")
}

// onlyHere is what the help says of the commands that change something.
const onlyHere = `It runs on the node, as root, and asks neither the API server nor the runtime. It releases by
the code of DEL, which runs the DEL of each plugin.`

func newGC() *cobra.Command {
	var flags configFlags
	var dryRun bool
	cmd := &cobra.Command{
		Use:   "gc",
		Short: "Release what sandboxes that are gone have left on this node",
		Long: `gc answers: which sandboxes are gone and still have addresses, devices or interfaces here? It
releases them, and says why each was stale and what became of each network. A sandbox is gone if the
node has booted since, or if its network namespace is gone; one that may be there is left alone.

` + onlyHere + `

Exit codes: 0 nothing stale is left, 1 something is, 2 wrong usage, 3 could not look.`,
		Example: `  sudo kubectl-plexus gc --dry-run     # say it, and change nothing
  sudo kubectl-plexus gc`,
		Args: usageArgs(cobra.NoArgs),
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&dryRun, "dry-run", false, "say what is stale, and release nothing")
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, _ []string) error {
		if err := out.check(); err != nil {
			return err
		}
		list, err := collectStale(cmd, &flags, dryRun)
		return writeReleases(cmd, out, list, err)
	}
	return cmd
}

func newRelease() *cobra.Command {
	var flags configFlags
	var force bool
	cmd := &cobra.Command{
		Use:   "release SANDBOX",
		Short: "Release one sandbox that is gone from all its networks",
		Long: `release takes the ID of a sandbox, or its beginning, and releases all that the journal has of it.
A sandbox that may still be there is refused: with --force it loses its networks while it runs.

` + onlyHere + `

Exit codes: 0 all is released, 1 something is not, or the sandbox may still be there, 2 wrong usage, 3 could
not look.`,
		Example: `  sudo kubectl-plexus release 4f1d
  sudo kubectl-plexus release 4f1d --force`,
		Args: usageArgs(oneSandbox),
	}
	flags.add(cmd)
	cmd.Flags().BoolVar(&force, "force", false, "release it even if it may still be there")
	out := addOutput(cmd)
	cmd.RunE = func(cmd *cobra.Command, args []string) error {
		if err := out.check(); err != nil {
			return err
		}
		list, err := releaseSandbox(cmd, &flags, args[0], force)
		return writeReleases(cmd, out, list, err)
	}
	return cmd
}

// oneSandbox refuses anything but one ID.
func oneSandbox(_ *cobra.Command, args []string) error {
	if len(args) != 1 || args[0] == "" {
		return fmt.Errorf("release takes the ID of one sandbox, got %q", args)
	}
	return nil
}

// writeReleases writes the list, also where an error ended it early: what was released is released.
func writeReleases(cmd *cobra.Command, out *output, list *inspect.ReleaseList, failure error) error {
	if list == nil {
		return failure
	}
	if err := out.write(cmd.OutOrStdout(), list, func(w io.Writer) error { return list.WriteText(w) }); err != nil || failure != nil {
		return errors.Join(failure, err)
	}
	if list.Wrong() {
		return errShown
	}
	return nil
}
