package window

import (
	"context"
	"errors"
	"fmt"
	"io"
	"path/filepath"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
)

// maxQuestions ends a path whose every answer leads to another question.
const maxQuestions = 200

// pathOptions are the flags of path.
type pathOptions struct {
	node     nodeFlags
	froms    []string
	save     string
	query    path.Query
	width    int
	output   *output
	fallback *string // the namespace of a pod that is named without one
}

func newPath(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	o := &pathOptions{fallback: cluster.Namespace}
	cmd := &cobra.Command{
		Use:   "path NAMESPACE/POD [-i INTERFACE] to NAMESPACE/POD|ADDRESS",
		Short: "Say which way packets take from a pod to another, and back",
		Long: `path answers: which way does a packet take, and where does it end? It shows each interface that the
packet passes, and how it comes from one to the next. The kernels are asked for it: their routing,
neighbours and forwarding databases. Rules of netfilter and BPF programs cannot be asked; path says
where they are. It sends no packet.

Two pods that are on several networks together have several ways: choose with -i. In place of a pod
the path of a network namespace can be given. The exit code is 1 if a kernel loses the packet, or if
large packets do not pass whole.

` + onTheNode + `
With --from it reads saved snapshots instead, one a node, as any user, anywhere.`,
		Example: `  sudo kubectl-plexus path shop/web -i net0 to shop/db
  sudo kubectl-plexus path shop/web to 192.0.2.9
  kubectl-plexus path shop/web -i net0 to shop/db --from node1.json --from node2.json`,
		Args: usageArgs(o.parse),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.node.add(cmd, cluster)
	o.node.here = true
	cmd.Flags().StringArrayVar(&o.froms, "from", nil, "read a saved snapshot from this `file` instead of the node, one a node")
	cmd.Flags().StringVar(&o.save, "save", "", "write the snapshots, with what was asked, into this `folder`, one file a node; --from reads them")
	cmd.Flags().StringVarP(&o.query.Interface, "interface", "i", "", "the pod's `interface` that packets leave by; without it, the pod's routing chooses")
	cmd.Flags().IntVar(&o.width, "width", 0, "`pixels` of the picture of -o svg: 888, or one column below 600")
	o.output = addOutput(cmd, formatMermaid, formatSVG, formatHTML)
	return cmd
}

// Formats of pictures.
const (
	formatMermaid = "mermaid"
	formatSVG     = "svg"
	formatHTML    = "html"
)

// draw writes a path as text or as a picture.
func (o *pathOptions) draw(w io.Writer, document *path.Document) error {
	drawn := ""
	switch o.output.format {
	case formatMermaid:
		drawn = document.Mermaid()
	case formatSVG:
		drawn = document.SVG(o.width)
	case formatHTML:
		drawn = document.HTML()
	default:
		return document.WriteText(w)
	}
	_, err := io.WriteString(w, drawn)
	return err
}

func (o *pathOptions) parse(_ *cobra.Command, args []string) error {
	if len(args) == 3 && args[1] == "to" {
		args = []string{args[0], args[2]}
	}
	if len(args) != 2 || args[0] == "to" || args[1] == "to" {
		return fmt.Errorf("path takes two ends, as NAMESPACE/POD to NAMESPACE/POD or ADDRESS, got %q", args)
	}
	o.query.From, o.query.To = args[0], args[1]
	return nil
}

func (o *pathOptions) run(cmd *cobra.Command) (err error) {
	if err := o.output.check(); err != nil {
		return err
	}
	o.query.From, o.query.To = o.subject(o.query.From), o.subject(o.query.To)
	nodes, err := o.open(cmd)
	defer func() {
		for _, node := range nodes {
			err = errors.Join(err, node.Close())
		}
	}()
	if err != nil {
		return err
	}
	document, err := o.trace(cmd.Context(), nodes)
	if err != nil {
		return err
	}
	if err := o.output.write(cmd.OutOrStdout(), document, func(w io.Writer) error { return o.draw(w, document) }); err != nil {
		return err
	}
	if document.Wrong() {
		return errShown
	}
	return nil
}

// subject completes the name of a pod.
func (o *pathOptions) subject(name string) string {
	if path.IsAddress(name) || filepath.IsAbs(name) {
		return name
	}
	return podName(name, *o.fallback)
}

// open gives the nodes that the path is about. What was opened has to be closed also after an error.
func (o *pathOptions) open(cmd *cobra.Command) (nodes []inspect.Node, err error) {
	for _, file := range o.froms {
		snapshot, err := load(cmd, file)
		if err != nil {
			return nodes, err
		}
		nodes = append(nodes, savedNode{snapshot})
	}
	if len(nodes) > 0 {
		return nodes, nil
	}
	node, err := o.node.open(cmd)
	if err != nil {
		return nil, err
	}
	return []inspect.Node{node}, nil
}

// trace asks the nodes until the path needs no further answer.
func (o *pathOptions) trace(ctx context.Context, nodes []inspect.Node) (*path.Document, error) {
	snapshots, err := o.read(ctx, nodes)
	if err != nil {
		return nil, err
	}
	world := path.NewWorld(snapshots...)
	for range maxQuestions {
		document, asked, err := world.Trace(o.query)
		if errors.Is(err, path.ErrChoose) {
			return nil, misuse(err)
		}
		if err != nil || len(asked) == 0 {
			return document, errors.Join(err, o.keep(snapshots))
		}
		for _, question := range asked {
			answers, err := nodes[question.Machine].Answers(ctx, []inspect.Question{question.Question})
			if err != nil {
				return nil, err
			}
			snapshots[question.Machine].Answers = append(snapshots[question.Machine].Answers, answers...)
		}
	}
	return nil, fmt.Errorf("the path from %s to %s has no end after %d questions", o.query.From, o.query.To, maxQuestions)
}

func (o *pathOptions) read(ctx context.Context, nodes []inspect.Node) ([]*inspect.Snapshot, error) {
	var request inspect.Request
	for _, subject := range []string{o.query.From, o.query.To} {
		if filepath.IsAbs(subject) {
			request.NetNS = append(request.NetNS, subject)
		}
	}
	var snapshots []*inspect.Snapshot
	for _, node := range nodes {
		snapshot, err := node.Snapshot(ctx, request)
		if err != nil {
			return nil, err
		}
		snapshots = append(snapshots, snapshot)
	}
	return snapshots, nil
}

// keep saves the snapshots, each under the name of its node.
func (o *pathOptions) keep(snapshots []*inspect.Snapshot) error {
	if o.save == "" {
		return nil
	}
	for _, snapshot := range snapshots {
		if err := saveSnapshot(o.save+"/", snapshot); err != nil {
			return err
		}
	}
	return nil
}
