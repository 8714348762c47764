package main

import (
	"fmt"
	"os"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/apimachinery/pkg/util/validation"

	"github.com/plexus-cni/plexus/internal/agent"
	"github.com/plexus-cni/plexus/types"
)

const defaultMetricsAddress = "127.0.0.1:9729"

// checkTaint refuses what is no key of a taint: it would match none, and the node would keep its own.
func checkTaint(key string) error {
	if key == "" {
		return nil
	}
	if faults := validation.IsQualifiedName(key); len(faults) > 0 {
		return fmt.Errorf("--remove-taint: must be the key of a taint alone, without its value and effect, got %q: %s", key, strings.Join(faults, "; "))
	}
	return nil
}

func newServe() *cobra.Command {
	var opts agent.Options
	var logs logOptions
	cmd := &cobra.Command{
		Use:   "serve",
		Short: "Answer the plugin on this node, and publish what is attached",
		Long: `serve watches the pods of this node and all networks, answers the CNI plugin plexus
on a socket that root alone may use, and writes the network-status annotation and the
events of the node's pods.

With --remove-taint it takes that taint off its node once install --follow has found that
the node uses plexus. plexus-agent status shows what it knows.

It waits for what is not there yet: the API server, the CustomResourceDefinition, the
folder of the journal, the metrics address, another agent that still has the socket.
It ends on SIGTERM; plexus does without it meanwhile.

On the metrics address:
  /livez    200 as long as it runs
  /readyz   200 once the pods of this node and all networks are known
  /metrics  in the format of Prometheus

Where OTEL_EXPORTER_OTLP_ENDPOINT is set, the spans of every call are exported
(http/protobuf); the other variables of OpenTelemetry's SDK count too.`,
		Example: `  plexus-agent serve --node-name worker-1
  plexus-agent serve --node-name worker-1 --kubeconfig /etc/kubernetes/kubelet.conf --log-format text
  PLEXUS_AGENT_NODE_NAME=worker-1 plexus-agent serve --config /etc/plexus/agent.yaml`,
		Args: func(_ *cobra.Command, args []string) error { return noArgs(args) },
		RunE: func(cmd *cobra.Command, _ []string) error {
			log, err := logs.logger(os.Stderr)
			if err != nil {
				return misuse(err)
			}
			if opts.NodeName == "" {
				return misuse(fmt.Errorf("--node-name (or %s): must be set to the name of this node in Kubernetes", envName("node-name")))
			}
			if err := checkTaint(opts.RemoveTaint); err != nil {
				return misuse(err)
			}
			opts.Log = log
			return agent.Run(cmd.Context(), opts)
		},
	}
	flags := cmd.Flags()
	flags.StringVar(&opts.Kubeconfig, "kubeconfig", "", "`file` with the way to the API server; without it, the in-cluster environment")
	flags.StringVar(&opts.NodeName, "node-name", "", "`name` of this node in Kubernetes (required)")
	flags.StringVar(&opts.Socket, "socket", types.DefaultAgentSocket, "unix `socket` on which plexus asks; its folder becomes root's alone")
	flags.StringVar(&opts.StateDir, "state-dir", types.DefaultCNIDir+"/plexus", "`folder` of the journal: plexus/ in the cniDir of the node's configuration")
	flags.StringVar(&opts.Devices.Socket, "pod-resources-socket", types.DefaultPodResourcesSocket, "unix `socket` on which the kubelet says which devices pods have; empty where there is none to ask")
	flags.StringVar(&opts.Devices.Checkpoint, "device-checkpoint", "", "`file` in which the kubelet notes devices, by which its file of claims is found, for when it does not answer; empty for none, so that plexus-once is asked")
	flags.StringVar(&opts.MetricsAddress, "metrics-address", defaultMetricsAddress, "`address` of probes and metrics; empty for none")
	flags.StringVar(&opts.MetricsCert, "metrics-tls-cert", "", "`file` of a certificate (PEM) with which probes and metrics are served over TLS")
	flags.StringVar(&opts.MetricsKey, "metrics-tls-key", "", "`file` of the key of --metrics-tls-cert")
	flags.BoolVar(&opts.MetricsAuthentication, "metrics-authentication", false, "serve metrics only to bearer tokens whose user may get the URL /metrics, as the API server says; needs --metrics-tls-cert")
	flags.BoolVar(&opts.EventsForAllPods, "events-for-all-pods", false, "put events on pods too that have their default network alone")
	flags.StringVar(&opts.RemoveTaint, "remove-taint", "", "`key` of a taint to take off the node once it uses plexus; empty for none")
	logs.bind(flags)
	return cmd
}
