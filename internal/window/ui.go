package window

import (
	"context"
	"errors"
	"fmt"
	"net"
	"slices"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/window/ui"
	"github.com/plexus-cni/plexus/internal/windowpod"
)

// uiOptions are the flags of ui.
type uiOptions struct {
	node   nodeFlags
	beside beside
	names  []string
	froms  []string
	port   uint16
}

func newUI(cluster *genericclioptions.ConfigFlags) *cobra.Command {
	o := &uiOptions{beside: beside{cluster: cluster}}
	cmd := &cobra.Command{
		Use:   "ui",
		Short: "Show nodes, their pods and paths between them on a page in the browser",
		Long: `ui answers: how is the network of a node and of its pods, for who would rather look than read? It prints
the address of a page, which shows what get, inspect, doctor and path say: which pods are on which
networks, what is wrong, each interface, and the way of a packet as a picture. While somebody looks at the
page, the nodes are read again every few seconds. It ends with Ctrl-C.

The page is served on this machine alone, to whoever has its address: there is a token in it, which is
another one each time. Nothing can be changed by the page.

Without --node and --from this machine is read, which takes root. A node of the cluster is read through a
window pod (docs/window.md). A path may lead to a pod of another node: that one is read too.`,
		Example: `  kubectl plexus ui --node node1
  kubectl plexus ui --node node1 --node node2 --port 8017
  sudo kubectl-plexus ui                          # on a node
  kubectl-plexus ui --from report/node1.json --from report/node2.json`,
		Args: usageArgs(cobra.NoArgs),
		RunE: func(cmd *cobra.Command, _ []string) error { return o.run(cmd) },
	}
	o.node.add(cmd, cluster)
	o.node.here = true
	o.node.addConfDir(cmd)
	o.node.addPods(cmd)
	o.beside.add(cmd)
	cmd.Flags().StringArrayVar(&o.names, "node", nil, "show the node of the cluster of this `name`, through a window pod; may be given again")
	cmd.Flags().StringArrayVar(&o.froms, "from", nil, "show the node of this saved snapshot `file`; may be given again")
	cmd.Flags().Uint16Var(&o.port, "port", 0, "`port` of the page on this machine; without it, one that is free")
	return cmd
}

func (o *uiOptions) check(cmd *cobra.Command) error {
	sorted := slices.Sorted(slices.Values(o.names))
	switch {
	case len(o.names) > 0 && len(o.froms) > 0:
		return misuse(errors.New("--node reads nodes of the cluster, and --from saved ones: give one of the two"))
	case len(slices.Compact(sorted)) < len(o.names):
		return misuse(errors.New("--node: name each node once"))
	}
	for _, other := range []string{"state-dir", "netns-dir", "conf-dir", "runtime-endpoint"} {
		if (len(o.names) > 0 || len(o.froms) > 0) && cmd.Flags().Changed(other) {
			return misuse(fmt.Errorf("--%s is about this machine, and --node or --from name others", other))
		}
	}
	if err := windowpod.CheckKeep(o.node.keep); err != nil {
		return misuse(fmt.Errorf("--keep: %w", err))
	}
	return nil
}

func (o *uiOptions) run(cmd *cobra.Command) (err error) {
	if err := o.check(cmd); err != nil {
		return err
	}
	ctx := cmd.Context()
	endsByItself(ctx)
	nodes := &shownNodes{options: o, ctx: ctx, others: map[string]*lasting{}}
	if err := o.choose(cmd, nodes); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, nodes.close()) }()
	listener, err := o.listen(ctx)
	if err != nil {
		return err
	}
	server, err := ui.New(ctx, nodes)
	if err != nil {
		_ = listener.Close() // nobody was served
		return err
	}
	fmt.Fprintln(cmd.OutOrStdout(), server.URL(listener.Addr()))
	return server.Serve(ctx, listener)
}

// choose says which nodes the page shows.
func (o *uiOptions) choose(cmd *cobra.Command, nodes *shownNodes) error {
	snapshots, err := loadEach(cmd, o.froms)
	if err != nil {
		return err
	}
	for _, snapshot := range snapshots {
		nodes.shown = append(nodes.shown, &shownNode{saved: snapshot, name: snapshot.Machine.Name()})
	}
	for _, name := range o.names {
		nodes.shown = append(nodes.shown, &shownNode{lasting: nodes.lastingOf(name), name: name})
	}
	if len(nodes.shown) > 0 {
		return nil
	}
	node, err := o.node.openLocal()
	if err != nil {
		return err
	}
	snapshot, err := node.Snapshot(cmd.Context(), inspect.Request{Brief: true})
	if err != nil {
		return err
	}
	here := &shownNode{lasting: &lasting{node: node, open: o.node.openLocal}, name: snapshot.Machine.Name(), isHere: true}
	nodes.shown = append(nodes.shown, here)
	return nil
}

// listen takes a port of the loopback interface. A machine may have IPv6 alone; a port that was named is not
// looked for elsewhere.
func (o *uiOptions) listen(ctx context.Context) (net.Listener, error) {
	var config net.ListenConfig
	listener, err := config.Listen(ctx, "tcp", net.JoinHostPort("127.0.0.1", fmt.Sprint(o.port)))
	if err == nil {
		return listener, nil
	}
	if o.port != 0 {
		return nil, fmt.Errorf("--port %d: %w: leave it out, and the page gets one that is free", o.port, err)
	}
	return config.Listen(ctx, "tcp", "[::1]:0")
}
