package window

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/explain"
	"github.com/plexus-cni/plexus/types"
)

// runtimeConfDir is where a runtime has its CNI configuration.
const runtimeConfDir = "/etc/cni/net.d"

// explainOptions are the flags of explain.
type explainOptions struct {
	files       []string
	config      string
	showSecrets bool
	output      *output
	cluster     *genericclioptions.ConfigFlags
	where       nodeFlags
	confDir     string // the runtime's, where Plexus's configuration is looked for
}

func newExplain(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	o := &explainOptions{cluster: cluster, confDir: runtimeConfDir}
	cmd := &cobra.Command{
		Use:   "explain [pod] [NAMESPACE/]NAME | -f FILE...",
		Short: "Show what ADD would do for a pod, without running anything",
		Long: `explain answers: to which networks will this pod be attached, in which order, and what
will each plugin get? If the pod would fail, it answers with the error of ADD, word for
word, and its CNI code.

It plans as plexus does on the node, and runs nothing: no plugin, not even to ask for its
version. The pod and its networks come from the API server, or from files. What belongs
to the node comes from this machine if it is a node: Plexus's configuration, the
executables, the networks that are files. With --node it comes from that node of the cluster,
which is read through a window pod (docs/window.md), with --from from a saved snapshot. The
output lists what is assumed where it is not known.

Values of configurations that look like secrets are masked.

Exit codes: 0 the pod would be attached, 1 it would fail, 2 wrong usage, 3 a pod, a network or a file cannot be
read.`,
		Example: `  # a pod of the cluster
  kubectl plexus explain pod shop/web
  # every pod of these files, before they are applied
  kubectl plexus explain -f pod.yaml -f networks/ --config 00-plexus.conflist
  # for a node, which is read through a window pod
  kubectl plexus explain pod shop/web --node node1
  # for a node that was saved by kubectl plexus snapshot --node node1 --with-config --save node1.json
  kubectl plexus explain -f pod.yaml --from node1.json
  # one of them, with the exact configuration that each plugin will get
  kubectl plexus explain pod web -f pod.yaml -o json`,
		Args: usageArgs(o.checkArgs),
		RunE: func(cmd *cobra.Command, args []string) error { return o.run(cmd, args) },
	}
	cmd.Flags().StringSliceVarP(&o.files, "filename", "f", nil, "`file` or folder with pods and networks, \"-\" for the standard input; instead of the API server")
	cmd.Flags().StringVar(&o.config, "config", "", "`file` with Plexus's CNI configuration; without it, the first one in "+runtimeConfDir+", else one is assumed")
	cmd.Flags().BoolVar(&o.showSecrets, "show-secrets", false, "show values that look like secrets")
	o.where.addPlanned(cmd, cluster)
	o.output = addOutput(cmd)
	return cmd
}

func (o *explainOptions) checkArgs(_ *cobra.Command, args []string) error {
	isRead := o.where.name != "" || o.where.from != ""
	switch {
	case isRead && o.showSecrets:
		return errors.New("--show-secrets: what is read of a node by --node or --from has masked secrets, which nothing can show")
	case o.where.from == "-" && slices.Contains(o.files, "-"):
		return errors.New("the standard input is a snapshot (--from -) or manifests (-f -), not both")
	case len(args) == 0 && len(o.files) == 0:
		return errors.New("which pod? Name one (pod NAMESPACE/NAME), or files (-f)")
	case len(args) == 0:
		return nil
	case len(args) > 1 && args[0] != "pod":
		return fmt.Errorf("%q cannot be explained, a pod can: explain pod NAMESPACE/NAME", args[0])
	case args[0] == "pod" && len(args) != 2:
		return fmt.Errorf("explain pod takes one name, got %d", len(args)-1)
	}
	_, err := parsePodName(args[len(args)-1], "default")
	return err
}

// parsePodName reads [NAMESPACE/]NAME.
func parsePodName(name, namespace string) (types.Ref, error) {
	ref := types.Ref{Namespace: namespace, Name: name}
	if before, after, found := strings.Cut(name, "/"); found {
		ref = types.Ref{Namespace: before, Name: after}
	}
	if ref.Namespace == "" || ref.Name == "" || strings.Contains(ref.Name, "/") {
		return types.Ref{}, fmt.Errorf("%q is not the name of a pod, which is NAMESPACE/NAME or NAME", name)
	}
	return ref, nil
}

func (o *explainOptions) run(cmd *cobra.Command, args []string) error {
	if err := o.output.check(); err != nil {
		return err
	}
	source, pods, err := o.open(cmd, args)
	if err != nil {
		return err
	}
	node, err := o.openNode(cmd)
	if err != nil {
		return err
	}
	document, err := o.explain(cmd.Context(), node, source, pods)
	if err != nil {
		return err
	}
	if err := o.output.write(cmd.OutOrStdout(), document, o.where.withWay(document.Write)); err != nil {
		return err
	}
	if document.HasRefused() {
		return errShown
	}
	return nil
}

// openNode opens the node that --node or --from names, else this machine.
func (o *explainOptions) openNode(cmd *cobra.Command) (*node, error) {
	snapshot, err := o.where.readPlanned(cmd)
	switch {
	case err != nil:
		return nil, err
	case snapshot != nil:
		node, err := openSaved(snapshot, o.config)
		if err == nil && node.listed() != nil {
			node.assume(elsewhereToo)
		}
		return node, err
	}
	return openNode(o.config, o.confDir)
}

// open gives the source of facts, and the pods to explain.
func (o *explainOptions) open(cmd *cobra.Command, args []string) (podSource, []types.Ref, error) {
	if len(o.files) == 0 {
		if err := checkKnown(o.cluster); err != nil {
			return nil, nil, err
		}
		namespace, _, err := o.cluster.ToRawKubeConfigLoader().Namespace()
		if err != nil {
			return nil, nil, err
		}
		pod, err := parsePodName(args[len(args)-1], namespace)
		if err != nil {
			return nil, nil, misuse(err)
		}
		source, err := openCluster(o.cluster)
		return source, []types.Ref{pod}, err
	}
	source, err := openFiles(o.files, cmd.InOrStdin())
	if err != nil {
		return nil, nil, err
	}
	if len(args) == 0 {
		pods := source.objects.Pods()
		if len(pods) == 0 {
			return nil, nil, fmt.Errorf("there is no Pod in %s", strings.Join(o.files, ", "))
		}
		return source, pods, nil
	}
	pod, err := parsePodName(args[len(args)-1], o.fileNamespace())
	return source, []types.Ref{pod}, err
}

// fileNamespace is where a pod of files is looked up that is named without a namespace.
func (o *explainOptions) fileNamespace() string {
	if given := o.cluster.Namespace; given != nil && *given != "" {
		return *given
	}
	return "default"
}

func (o *explainOptions) explain(ctx context.Context, node *node, source podSource, pods []types.Ref) (*explain.Document, error) {
	document := explain.New(node.describe())
	for _, ref := range pods {
		facts, assumed, err := gather(ctx, node, source, ref)
		if err != nil {
			return nil, err
		}
		pod, err := node.explain(ctx, facts, o.showSecrets)
		if err != nil {
			return nil, err
		}
		pod.Assumed = append(assumed, pod.Assumed...)
		document.Pods = append(document.Pods, pod)
	}
	return document, nil
}
