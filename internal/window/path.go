package window

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/netip"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/capture"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/windowpod"
)

// maxQuestions ends a path whose every answer leads to another question.
const maxQuestions = 200

// pathOptions are the flags of path.
type pathOptions struct {
	node     nodeFlags
	froms    []string
	save     string
	query    path.Query
	probe    probeFlags
	width    int
	output   *output
	fallback *string // the namespace of a pod that is named without one
	// openNode opens a node of the cluster.
	openNode func(ctx context.Context, name string) (inspect.Node, error)
}

func newPath(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	o := &pathOptions{fallback: cluster.Namespace}
	o.openNode = o.node.openNode
	cmd := &cobra.Command{
		Use:   "path NAMESPACE/POD [-i INTERFACE] to NAMESPACE/POD|ADDRESS[:PORT]",
		Short: "Say which way packets take from a pod to another, and back",
		Long: `path answers: which way does a packet take, and where does it end? It shows each interface that the
packet passes, and how it comes from one to the next. The kernels are asked for it: their routing,
neighbours and forwarding databases. Rules of netfilter and BPF programs cannot be asked; path says
where they are. It sends no packet, unless --probe is given: then it sends a few along the path, watches
every interface of it, and says at each hop whether they were seen, and in what they changed; and between
which two hops they were lost. --why adds the kernel's own reason for each packet that it dropped.

Two pods that are on several networks together have several ways: choose with -i. In place of a pod
the path of a network namespace can be given. The nodes of both ends are read, and no others: that of an
address is looked up in the cluster, among the addresses of pods on all their networks, and of nodes. The
exit code is 1 if a kernel loses the packet, or if large packets do not pass whole.

For root on a node, or with --state-dir or --netns-dir, this machine is read, and the node of the other
pod through a window pod if there is a cluster (docs/window.md). Elsewhere the nodes of both pods are
read so. With --from what --save wrote is read instead, one file a node. Nothing of a node is changed.`,
		Example: `  sudo kubectl-plexus path shop/web -i net0 to shop/db
  sudo kubectl-plexus path shop/web to 192.0.2.9
  kubectl plexus path shop/web -i net0 to shop/db --probe
  kubectl plexus path shop/web to shop/db:5432 --probe=tcp --why
  kubectl plexus path shop/web -i net0 to shop/db -o html > way.html
  kubectl plexus path shop/web -i net0 to shop/db --save report
  kubectl-plexus path shop/web -i net0 to shop/db --from report/node1.json --from report/node2.json`,
		Args: usageArgs(o.parse),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.node.add(cmd, cluster)
	o.node.here = true
	o.node.addPods(cmd)
	cmd.Flags().StringArrayVar(&o.froms, "from", nil, "read a saved snapshot from this `file` instead of the node, one a node")
	cmd.Flags().StringVar(&o.save, "save", "", "write the snapshots, with what was asked, into this `folder`, one file a node; --from reads them")
	cmd.Flags().StringVarP(&o.query.Interface, "interface", "i", "", "the pod's `interface` that packets leave by; without it, the pod's routing chooses")
	o.probe.add(cmd)
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

func (o *pathOptions) parse(cmd *cobra.Command, args []string) error {
	if len(args) == 3 && args[1] == "to" {
		args = []string{args[0], args[2]}
	}
	if len(args) != 2 || args[0] == "to" || args[1] == "to" {
		return fmt.Errorf("path takes two ends, as NAMESPACE/POD to NAMESPACE/POD or ADDRESS, got %q; the protocol of a probe is written --probe=udp", args)
	}
	o.query.From, o.query.To = args[0], args[1]
	if err := o.parsePort(args[1]); err != nil {
		return err
	}
	for _, end := range []string{o.query.From, o.query.To} {
		namespace, pod, qualified := strings.Cut(end, "/")
		if strings.TrimSpace(end) == "" || !filepath.IsAbs(end) && qualified && (namespace == "" || pod == "") {
			return fmt.Errorf("%q is no end of a path, which is NAMESPACE/POD, an address, or the path of a network namespace", end)
		}
	}
	if o.width < 0 {
		return fmt.Errorf("--width: %d is below 0", o.width)
	}
	return o.probe.check(cmd, o)
}

// parsePort takes the port off the far end: of an address, or of a pod, whose name has no colon.
func (o *pathOptions) parsePort(end string) error {
	if address, err := netip.ParseAddrPort(end); err == nil {
		o.query.To, o.query.Port = address.Addr().String(), address.Port()
		return nil
	}
	name, port, found := strings.Cut(end, ":")
	if !found || path.IsAddress(end) || filepath.IsAbs(end) {
		return nil
	}
	number, err := strconv.ParseUint(port, 10, 16)
	if err != nil || number == 0 {
		return fmt.Errorf("%q: %q is no port, which is a number of 1 to 65535", end, port)
	}
	o.query.To, o.query.Port = name, uint16(number)
	return nil
}

func (o *pathOptions) run(cmd *cobra.Command) (err error) {
	if err := o.output.check(); err != nil {
		return err
	}
	o.query.From, o.query.To = o.subject(o.query.From), o.subject(o.query.To)
	v := &visited{}
	defer func() { err = errors.Join(err, v.close()) }()
	o.node.needs = o.probe.needs()
	document, err := o.visit(cmd, v)
	if err == nil && o.probe.protocol != "" {
		err = o.probe.run(cmd.Context(), v, document)
	}
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

// visit reads the nodes of the path, and traces it.
func (o *pathOptions) visit(cmd *cobra.Command, v *visited) (*path.Document, error) {
	if err := o.read(cmd, v); err != nil {
		return nil, err
	}
	return o.trace(cmd.Context(), v)
}

// read reads the nodes of the path.
func (o *pathOptions) read(cmd *cobra.Command, v *visited) error {
	nodes, err := o.open(cmd)
	for _, node := range nodes {
		err = errors.Join(err, v.add(cmd.Context(), node, o.request()))
	}
	if err == nil {
		err = o.reach(cmd.Context(), v)
	}
	return err
}

// subject completes the name of a pod.
func (o *pathOptions) subject(name string) string {
	if path.IsAddress(name) || filepath.IsAbs(name) {
		return name
	}
	return podName(name, *o.fallback)
}

// open gives the nodes that are known before anything is read: saved ones, or this machine. What was
// opened has to be closed also after an error.
func (o *pathOptions) open(cmd *cobra.Command) (nodes []inspect.Node, err error) {
	snapshots, err := loadEach(cmd, o.froms)
	if err != nil {
		return nil, err
	}
	for _, snapshot := range snapshots {
		nodes = append(nodes, savedNode{snapshot})
	}
	if err := windowpod.CheckKeep(o.node.keep); err != nil {
		return nodes, misuse(fmt.Errorf("--keep: %w", err))
	}
	if len(nodes) > 0 {
		return nodes, nil
	}
	known, err := o.node.hasCluster()
	if err != nil || known && !o.node.isHere(cmd) {
		return nil, err
	}
	node, err := o.node.openLocal()
	if err != nil {
		return nil, err
	}
	return []inspect.Node{node}, nil
}

// reach opens the nodes of the pods that no snapshot has, where there is a cluster to ask. A machine that
// has neither pod has no part in the path.
func (o *pathOptions) reach(ctx context.Context, world *visited) error {
	if len(o.froms) > 0 {
		return nil
	}
	known, err := o.node.hasCluster()
	if err != nil || !known {
		return err
	}
	if !filepath.IsAbs(o.query.From) && !world.has(o.query.From) && !world.has(o.query.To) {
		if err := world.close(); err != nil {
			return err
		}
		*world = visited{}
	}
	for _, subject := range []string{o.query.From, o.query.To} {
		name, err := o.nodeOf(ctx, subject, world)
		if err != nil {
			return err
		}
		if name == "" {
			continue
		}
		node, err := o.openNode(ctx, name)
		if err != nil {
			return err
		}
		if err := world.add(ctx, node, o.request()); err != nil {
			return err
		}
	}
	return nil
}

// nodeOf gives the node that an end of the path is on, "" if it has been read, or if nobody knows it.
func (o *pathOptions) nodeOf(ctx context.Context, subject string, world *visited) (string, error) {
	switch {
	case subject == "" || filepath.IsAbs(subject):
		return "", nil
	case !path.IsAddress(subject):
		if world.has(subject) {
			return "", nil
		}
		return o.node.nodeOf(ctx, subject)
	case world.isOf(path.NewWorld(world.snapshots...).OwnerOf(subject)):
		return "", nil // a node's own; that of a pod which was read may be another one's too, on another network
	}
	name, err := o.node.nodeOfAddress(ctx, subject)
	if err != nil {
		o.node.progress("the node that has %s is not read: %v", subject, err)
		return "", nil
	}
	if world.isOf(name) {
		return "", nil
	}
	return name, nil
}

// visited are the nodes of a path, and what was read of each.
type visited struct {
	nodes     []inspect.Node
	snapshots []*inspect.Snapshot
	world     *path.World // after a trace
}

func (v *visited) add(ctx context.Context, node inspect.Node, request inspect.Request) error {
	v.nodes = append(v.nodes, node) // before anything fails, so that it is closed
	snapshot, err := node.Snapshot(ctx, request)
	v.snapshots = append(v.snapshots, snapshot)
	return err
}

func (v *visited) has(pod string) bool {
	return slices.ContainsFunc(v.snapshots, func(s *inspect.Snapshot) bool {
		_, err := s.FindPod(pod)
		return err == nil
	})
}

// isOf reports whether a node of the cluster has been read.
func (v *visited) isOf(node string) bool {
	return slices.ContainsFunc(v.snapshots, func(s *inspect.Snapshot) bool { return s.Machine.Name() == node })
}

// find gives the namespace of a pod, or of a path, and the Snapshot that has it.
func (v *visited) find(subject string) (s *inspect.Snapshot, inode uint64, err error) {
	for _, s = range v.snapshots {
		if filepath.IsAbs(subject) {
			inode, err = s.FindPath(subject)
		} else {
			inode, err = s.FindPod(subject)
		}
		if err == nil {
			break
		}
	}
	return s, inode, err
}

// watcher gives the node of a name, which has been read from a node that is there.
func (v *visited) watcher(name string) inspect.Watcher {
	for i, s := range v.snapshots {
		if watcher, able := v.nodes[i].(inspect.Watcher); able && s.Machine.Name() == name {
			return watcher
		}
	}
	return nil
}

// watch has a node watch.
func (v *visited) watch(ctx context.Context, task *capture.Task, saw func(inspect.Sighting) error) error {
	watcher := v.watcher(task.Node)
	if watcher == nil {
		return fmt.Errorf("no packet can be watched on %s: its node is not there", task.Node)
	}
	return watcher.Watch(ctx, task.Watch, saw)
}

func (v *visited) close() error {
	var all []error
	for _, node := range v.nodes {
		all = append(all, node.Close())
	}
	return errors.Join(all...)
}

// request is what is read of each node.
func (o *pathOptions) request() (request inspect.Request) {
	for _, subject := range []string{o.query.From, o.query.To} {
		if filepath.IsAbs(subject) {
			request.NetNS = append(request.NetNS, subject)
		}
	}
	return request
}

// trace asks the nodes until the path needs no further answer.
func (o *pathOptions) trace(ctx context.Context, v *visited) (*path.Document, error) {
	v.world = path.NewWorld(v.snapshots...)
	for range maxQuestions {
		document, asked, err := v.world.Trace(o.query)
		if errors.Is(err, path.ErrChoose) {
			return nil, misuse(err)
		}
		if err != nil || len(asked) == 0 {
			return document, errors.Join(err, o.keep(v.snapshots))
		}
		for _, question := range asked {
			answers, err := v.nodes[question.Machine].Answers(ctx, []inspect.Question{question.Question})
			if err != nil {
				return nil, err
			}
			v.snapshots[question.Machine].Answers = append(v.snapshots[question.Machine].Answers, answers...)
		}
	}
	return nil, fmt.Errorf("the path from %s to %s has no end after %d questions", o.query.From, o.query.To, maxQuestions)
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
