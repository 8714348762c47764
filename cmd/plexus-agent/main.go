// Command plexus-agent is the resident part of Plexus on a node: it knows pods and
// networks, and publishes what is attached. It runs no plugin and needs no privilege.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"

	"github.com/spf13/cobra"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/version"
)

const program = "plexus-agent"

// Exit codes beside 0.
const (
	exitFailed = 1
	exitMisuse = 2
)

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	root := newRoot()
	root.SetArgs(args)
	err := root.ExecuteContext(ctx)
	var misuse *misuseError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &misuse):
		fmt.Fprintf(os.Stderr, "%s: %v\nSee %s --help.\n", program, err, program)
		return exitMisuse
	default:
		fmt.Fprintf(os.Stderr, "%s: %v\n", program, err)
		return exitFailed
	}
}

// misuseError is the error for a command line, an environment or a configuration file
// that makes no sense.
type misuseError struct{ err error }

func (e *misuseError) Error() string { return e.err.Error() }
func (e *misuseError) Unwrap() error { return e.err }

func misuse(err error) error {
	if err == nil {
		return nil
	}
	return &misuseError{err}
}

func newRoot() *cobra.Command {
	root := &cobra.Command{
		Use:   program,
		Short: "The resident part of Plexus on a node",
		Long: `plexus-agent answers the CNI plugin plexus on its node from watches, and publishes
what is attached to pods: their network-status annotation and events. It runs no
plugin, enters no pod, and needs no capability. Where it is absent, plexus asks the
API server itself: slower, never wrong.

Every flag may also be set in the environment, as PLEXUS_AGENT_ and the name of the
flag in capitals with "_" for "-" (PLEXUS_AGENT_NODE_NAME), or in a YAML file that
--config names, by the name of the flag (node-name: worker-1). A flag wins over the
environment, and that over the file.`,
		Version:           version.String(program),
		SilenceErrors:     true,
		SilenceUsage:      true,
		Args:              func(_ *cobra.Command, args []string) error { return noArgs(args) },
		RunE:              func(cmd *cobra.Command, _ []string) error { return cmd.Help() },
		PersistentPreRunE: func(cmd *cobra.Command, _ []string) error { return misuse(readSettings(cmd.Flags())) },
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.PersistentFlags().String(configFlag, "", "`file` with settings, as YAML; flags and the environment win over it")
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse(err) })
	root.AddCommand(newServe(), newStatus(), newInstall(), newUninstall(), newInterfaces())
	return root
}

func noArgs(args []string) error {
	if len(args) > 0 {
		return misuse(fmt.Errorf("unexpected argument %q", args[0]))
	}
	return nil
}
