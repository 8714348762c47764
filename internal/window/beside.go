package window

import (
	"context"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd/api"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/k8sclient"
)

// beside is who else knows something of a node: its container runtime, and the API server.
type beside struct {
	cluster  *genericclioptions.ConfigFlags
	endpoint string
}

func (b *beside) add(cmd *cobra.Command) {
	cmd.Flags().StringVar(&b.endpoint, "runtime-endpoint", "", "`address` of the container runtime, as unix:///run/containerd/containerd.sock; without it, those of containerd, CRI-O and k3s are tried")
}

// ask adds what they know to a Snapshot that has the part for doctor. Only this machine has a runtime, and
// credentials, that can be used.
func (b *beside) ask(ctx context.Context, snapshot *inspect.Snapshot, isHere bool) {
	if isHere {
		addRuntime(ctx, snapshot, b.endpoint)
	}
	config, err := b.restConfig(snapshot, isHere)
	switch {
	case err != nil:
		snapshot.API = &inspect.API{Error: err.Error()}
	case config != nil:
		node := snapshot.Machine.Node
		if agent := snapshot.CNI.Agent; node == "" && agent != nil {
			node = agent.Node
		}
		snapshot.API = askAPI(ctx, config, node)
	}
}

// restConfig is of the API server that the flags name, or else of that of plexus-once's kubeconfig.
func (b *beside) restConfig(snapshot *inspect.Snapshot, isHere bool) (*rest.Config, error) {
	raw, err := b.cluster.ToRawKubeConfigLoader().RawConfig()
	if err != nil {
		return nil, err
	}
	if !api.IsConfigEmpty(&raw) || *b.cluster.APIServer != "" {
		return b.cluster.ToRESTConfig()
	}
	if c := snapshot.CNI.Credentials; c != nil && c.Fault == "" && isHere {
		return k8sclient.LoadConfig(c.File)
	}
	return nil, nil
}
