package window

import (
	"cmp"
	"crypto/rand"
	"errors"
	"fmt"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// snapshotOptions are the flags of snapshot.
type snapshotOptions struct {
	where      nodeFlags
	save       string
	redact     bool
	key        string
	withConfig bool
	pods       []string
}

func newSnapshot(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	o := &snapshotOptions{}
	cmd := &cobra.Command{
		Use:   "snapshot [NAMESPACE/POD...] [--save FILE|FOLDER]",
		Short: "Read the network of this node and of its pods into one document",
		Long: `snapshot answers: how is the network of a node and of its pods, right now? It prints one JSON
document, which get, inspect and doctor read with --from; path needs what path --save writes. If pods are
named, which have to be on one node, the document has of the others nothing but their host ends. It has
addresses, names and MACs, and no configuration of a network unless --with-config asks for them.

With --redact the names of pods, nodes and interfaces, the addresses and the MACs are replaced, the same
by the same, and configurations are left out. Subnets stay subnets, and the kind of an address stays: what
get, inspect and path find is the same. Another run gives other names, unless --redact-key is the same.

` + whichNode,
		Example: `  kubectl plexus snapshot --node node1 --save node1.json
  kubectl plexus snapshot shop/web
  sudo kubectl-plexus snapshot --save node1.json
  sudo kubectl-plexus snapshot shop/web shop/db --save report/
  kubectl-plexus snapshot --from node1.json shop/web --redact --save report.json
  kubectl-plexus inspect --from node1.json shop/web`,
		Args: usageArgs(cobra.ArbitraryArgs),
		RunE: func(cmd *cobra.Command, args []string) error {
			for _, arg := range args {
				o.pods = append(o.pods, podName(arg, *cluster.Namespace))
			}
			if len(o.pods) > 0 {
				o.where.pod = o.pods[0] // the others have to be on its node
			}
			return o.run(cmd)
		},
	}
	o.where.add(cmd, cluster)
	o.where.addFrom(cmd)
	o.where.addConfDir(cmd)
	o.where.addAfar(cmd)
	addSave(cmd, &o.save)
	cmd.Flags().BoolVar(&o.withConfig, "with-config", false, "add the configurations of the runtime's folder, with masked secrets")
	cmd.Flags().BoolVar(&o.redact, "redact", false, "replace names, addresses and MACs")
	cmd.Flags().StringVar(&o.key, "redact-key", "", "a `secret`: files that are redacted with the same one have the same replacements")
	return cmd
}

func (o *snapshotOptions) run(cmd *cobra.Command) error {
	if o.key != "" && !o.redact {
		return misuse(errors.New("--redact-key: goes with --redact"))
	}
	wait := startProgress(cmd)
	wait.say("reading the node")
	snapshot, err := o.where.read(cmd, inspect.Request{CNI: true, WithConfig: o.withConfig})
	wait.stop()
	if err == nil {
		snapshot, err = o.choose(snapshot)
	}
	if err == nil && o.redact {
		snapshot, err = inspect.NewRedactor([]byte(cmp.Or(o.key, rand.Text()))).Snapshot(snapshot)
	}
	if err != nil {
		return err
	}
	if o.save != "" {
		return saveSnapshot(o.save, snapshot)
	}
	data, err := snapshot.Bytes()
	if err != nil {
		return err
	}
	_, err = cmd.OutOrStdout().Write(data)
	return err
}

// choose leaves out what the pods do not need.
func (o *snapshotOptions) choose(s *inspect.Snapshot) (*inspect.Snapshot, error) {
	if len(o.pods) == 0 {
		return s, nil
	}
	var inodes []uint64
	var faults []error
	for _, pod := range o.pods {
		inode, err := s.FindPod(pod)
		if err != nil {
			faults = append(faults, fmt.Errorf("%w (node %s)", err, s.Machine.Name()))
		}
		inodes = append(inodes, inode)
	}
	return s.Part(inodes...), errors.Join(faults...)
}
