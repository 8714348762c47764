package main

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/agent/status"
	"github.com/plexus-cni/plexus/types"
)

// Formats of the output of status.
const (
	formatText = "text"
	formatJSON = "json"
)

// statusOptions are the flags of status.
type statusOptions struct {
	socket  string
	output  string
	timeout time.Duration
}

func newStatus() *cobra.Command {
	o := &statusOptions{}
	cmd := &cobra.Command{
		Use:   "status",
		Short: "Say whether this node uses plexus, and if not, why",
		Long: `status asks the agent of this node what it and install --follow know: whether new pods
get plexus, by each reason for which they may not; how many pods, networks and sandboxes
it knows; and the last calls that failed.

It needs to be root. Its exit code is 0 if new pods get plexus and the agent is ready,
1 if not, or if no agent answers, and 2 for a wrong command line. A kubeconfig of
plexus-once that cannot be used is shown, and is no failure while an agent answers.`,
		Example: `  # The node of one agent.
  kubectl -n plexus-system exec plexus-agent-x7k2p -c agent -- plexus-agent status

  # Every node.
  for pod in $(kubectl -n plexus-system get pods -l app.kubernetes.io/component=agent -o name); do
    kubectl -n plexus-system exec "$pod" -c agent -- plexus-agent status
  done

  # For a program.
  plexus-agent status --output json`,
		Args: func(_ *cobra.Command, args []string) error { return noArgs(args) },
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd.Context(), cmd.OutOrStdout()) },
	}
	flags := cmd.Flags()
	flags.StringVar(&o.socket, "socket", types.DefaultAgentSocket, "unix `socket` of the agent")
	flags.StringVarP(&o.output, "output", "o", formatText, "`format`: "+formatText+" or "+formatJSON)
	flags.DurationVar(&o.timeout, "timeout", 5*time.Second, "how long to wait for the agent")
	return cmd
}

func (o *statusOptions) run(ctx context.Context, out io.Writer) error {
	if o.output != formatText && o.output != formatJSON {
		return misuse(fmt.Errorf("--output: must be %s or %s, got %q", formatText, formatJSON, o.output))
	}
	ctx, cancel := context.WithTimeout(ctx, o.timeout)
	defer cancel()
	state, noAgent := status.Ask(ctx, o.socket)
	if noAgent != nil {
		state = status.WithoutAgent(o.socket, time.Now())
	}
	if err := o.print(out, state); err != nil {
		return err
	}
	if noAgent != nil {
		return noAgent
	}
	return status.Fault(state)
}

func (o *statusOptions) print(out io.Writer, state *types.NodeState) error {
	if o.output == formatText {
		return status.Write(out, state, time.Now())
	}
	encoder := json.NewEncoder(out)
	encoder.SetIndent("", "  ")
	return encoder.Encode(state)
}
