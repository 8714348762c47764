// Package window is the commands of kubectl-plexus, one file a command.
package window

import (
	"context"
	"fmt"
	"strings"
	"sync/atomic"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/cli-runtime/pkg/genericiooptions"

	"github.com/plexus-cni/plexus/internal/version"
)

// program is the executable's name. kubectl runs it as `kubectl plexus`.
const program = "kubectl-plexus"

// Run runs one command line, and gives the exit code.
func Run(ctx context.Context, streams genericiooptions.IOStreams, args []string) int {
	root := New(streams)
	root.SetArgs(append([]string{}, args...)) // cobra would take nil for the arguments of this process
	err := execute(ctx, root)
	report(streams.ErrOut, err)
	return exitCode(err)
}

// execute stops waiting when the context ends: no context ends a read of standard input, or of a pipe.
func execute(ctx context.Context, root *cobra.Command) error {
	done, byItself := make(chan error, 1), &atomic.Bool{}
	go func() { done <- root.ExecuteContext(context.WithValue(ctx, endsKey{}, byItself)) }()
	select {
	case err := <-done:
		return err
	case <-ctx.Done():
	}
	if byItself.Load() {
		return <-done
	}
	return ctx.Err()
}

// endsKey is the key under which a context has whether its command ends by itself with it.
type endsKey struct{}

// endsByItself says that the command ends with its context, soon, and knows with which exit code.
func endsByItself(ctx context.Context) {
	if ends, is := ctx.Value(endsKey{}).(*atomic.Bool); is {
		ends.Store(true)
	}
}

// New gives the root command.
func New(streams genericiooptions.IOStreams) *cobra.Command {
	root := &cobra.Command{
		Use:   program,
		Short: "What Plexus attaches to a pod, and what is wrong with it",
		Long: `kubectl plexus answers one question per command about the networks of pods.

Exit codes: 0 nothing is wrong, 1 something is wrong, 2 wrong usage, 3 could not look.`,
		Annotations:   map[string]string{cobra.CommandDisplayNameAnnotation: "kubectl plexus"},
		Version:       version.String(program),
		SilenceErrors: true,
		SilenceUsage:  true,
		Args:          cobra.ArbitraryArgs, // runGroup refuses them in the words of the other refusals
		RunE:          runGroup,

		SuggestionsMinimumDistance: 2,
	}
	root.SetVersionTemplate("{{.Version}}\n")
	root.SetIn(streams.In)
	root.SetOut(streams.Out)
	root.SetErr(streams.ErrOut)
	root.SetFlagErrorFunc(func(_ *cobra.Command, err error) error { return misuse(err) })
	cluster := genericclioptions.NewConfigFlags(true)
	cluster.AddFlags(root.PersistentFlags())
	addCommands(root, cluster)
	root.InitDefaultHelpCmd()
	root.InitDefaultCompletionCmd("completion")
	refuseArguments(root)
	addCompletion(root, cluster)
	return root
}

// refuseArguments makes the errors of cobra's own commands those of usage.
func refuseArguments(root *cobra.Command) {
	for _, cmd := range root.Commands() {
		switch cmd.Name() {
		case "help":
			cmd.Args = func(_ *cobra.Command, args []string) error {
				if found, _, err := root.Find(args); err != nil || len(args) > 0 && found == root {
					return unknownCommand(root, args[0])
				}
				return nil
			}
		case "completion":
			cmd.Args, cmd.RunE = cobra.ArbitraryArgs, runGroup
			cmd.Example = completionExample
			for _, shell := range cmd.Commands() {
				shell.Args = usageArgs(cobra.NoArgs)
			}
		}
	}
}

const completionExample = `  # for this shell, with the package bash-completion
  source <(kubectl-plexus completion bash)
  # kubectl plexus is completed by kubectl itself, with kubectl_complete-plexus on the PATH
  kubectl-plexus completion zsh > "${fpath[1]}/_kubectl-plexus"
  kubectl-plexus completion fish > ~/.config/fish/completions/kubectl-plexus.fish
  kubectl-plexus completion powershell | Out-String | Invoke-Expression`

// addCommands adds every command. One that asks the API server is given the flags that say how.
func addCommands(root *cobra.Command, cluster *genericclioptions.ConfigFlags) {
	alone := []*cobra.Command{newNode(), newGC(), newRelease(), newVersion()}
	for _, cmd := range alone {
		hideClusterFlags(cmd)
	}
	root.AddCommand(append(alone, newValidate(cluster), newExplain(cluster), newGet(cluster), newInspect(cluster), newPath(cluster), newCapture(cluster), newSnapshot(cluster), newDoctor(cluster, nil), newUI(cluster))...)
}

// hideClusterFlags leaves the flags that say how to reach a cluster out of the help of a command
// that asks none.
func hideClusterFlags(cmd *cobra.Command) {
	cmd.SetHelpFunc(func(cmd *cobra.Command, args []string) {
		cmd.InheritedFlags().VisitAll(func(flag *pflag.Flag) { flag.Hidden = flag.Name != "namespace" })
		cmd.Root().HelpFunc()(cmd, args)
	})
}

// runGroup prints the help of a command that only has others, unless there are arguments: then no command has their name.
func runGroup(cmd *cobra.Command, args []string) error {
	if len(args) == 0 {
		return cmd.Help()
	}
	return unknownCommand(cmd, args[0])
}

func unknownCommand(cmd *cobra.Command, name string) error {
	problem := fmt.Sprintf("there is no command %q", name)
	if near := cmd.SuggestionsFor(name); len(near) > 0 {
		problem += ", perhaps " + strings.Join(near, " or ") + " is meant"
	}
	return misuse(fmt.Errorf("%s; see %s --help", problem, program))
}

func newVersion() *cobra.Command {
	return &cobra.Command{
		Use:   "version",
		Short: "Print the version",
		Long: `version answers: which build of kubectl-plexus is this? It prints the version, the commit and its date, and
asks no cluster.`,
		Example: "  kubectl plexus version",
		Args:    usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, err := fmt.Fprintln(cmd.OutOrStdout(), version.String(program))
			return err
		},
	}
}

// usageArgs makes the error of a check of arguments one of usage.
func usageArgs(check cobra.PositionalArgs) cobra.PositionalArgs {
	return func(cmd *cobra.Command, args []string) error { return misuse(check(cmd, args)) }
}
