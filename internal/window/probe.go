package window

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/drops"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/inspect/probe"
	"github.com/plexus-cni/plexus/internal/windowpod"
)

// How long a probe waits for answers. A neighbour that nobody answers for is given up after three seconds, and
// only then the kernel says why it dropped what waited for it.
const (
	defaultWait = 3 * time.Second
	whyWait     = 4 * time.Second
	maxWait     = time.Minute
)

// probeFlags are the flags of path by which packets are sent.
type probeFlags struct {
	protocol string
	why      bool
	wait     time.Duration
}

func (f *probeFlags) add(cmd *cobra.Command) {
	flags := cmd.Flags()
	flags.StringVar(&f.protocol, "probe", "", "send packets along the path, of this `protocol`: icmp, udp or tcp")
	flags.Lookup("probe").NoOptDefVal = "icmp"
	flags.BoolVar(&f.why, "why", false, "say the kernel's reason for each packet of the probe that it dropped")
	flags.DurationVar(&f.wait, "wait", defaultWait, "how long the probe waits for answers")
	_ = cmd.RegisterFlagCompletionFunc("probe", cobra.FixedCompletions(probe.Protocols, cobra.ShellCompDirectiveNoFileComp))
}

// check refuses flags that say nothing together.
func (f *probeFlags) check(cmd *cobra.Command, o *pathOptions) error {
	flag := "--probe"
	if f.why && f.protocol == "" {
		flag, f.protocol = "--why", "icmp"
	}
	switch {
	case f.protocol == "":
		return nil
	case !slices.Contains(probe.Protocols, f.protocol):
		return fmt.Errorf("--probe: there is no probe of %q: give one of %s, as --probe=udp", f.protocol, strings.Join(probe.Protocols, ", "))
	case len(o.froms) > 0:
		return fmt.Errorf("%s sends packets on the nodes, and --from reads saved snapshots: give one of the two", flag)
	case f.protocol == "icmp" && o.query.Port != 0:
		return fmt.Errorf("a probe of icmp has no port: give --probe=tcp or --probe=udp for port %d of %s", o.query.Port, o.query.To)
	case f.protocol == "tcp" && o.query.Port == 0:
		return fmt.Errorf("--probe=tcp takes a port of the far end: path %s to %s:PORT --probe=tcp", o.query.From, o.query.To)
	case f.wait <= 0 || f.wait > maxWait:
		return fmt.Errorf("--wait: %s is not between 0 and %s", f.wait, maxWait)
	}
	if f.why && !cmd.Flags().Changed("wait") {
		f.wait = whyWait
	}
	return nil
}

// needs says what a window pod has to be able to do.
func (f *probeFlags) needs() windowpod.Needs {
	switch {
	case f.why:
		return windowpod.Why
	case f.protocol != "":
		return windowpod.Watch
	}
	return windowpod.Full
}

// run sends packets along a path that was traced, and adds to the document what became of them.
func (f *probeFlags) run(ctx context.Context, v *visited, document *path.Document) error {
	p, err := probe.New(document, f.protocol)
	if err != nil {
		return err
	}
	p.Name, p.Owner, p.Explain = v.world.NameOf, v.world.OwnerOf, drops.Explain
	nodes := map[string]inspect.Watcher{}
	for _, snapshot := range v.snapshots {
		name := snapshot.Machine.Name()
		if watcher := v.watcher(name); watcher != nil {
			nodes[name] = watcher
		}
	}
	return p.Run(ctx, nodes, f.wait, f.why)
}
