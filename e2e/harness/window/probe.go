package window

import (
	"context"
	"errors"
	"fmt"
	"io"
	"os/exec"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/collect"
	"github.com/plexus-cni/plexus/internal/inspect/drops"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/inspect/probe"
	"github.com/plexus-cni/plexus/internal/inspect/stream"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// patience is how long a probe waits: a kernel gives up a neighbour that does not answer after three seconds.
const patience = 4 * time.Second

// process is a program that is spoken to by its standard input and output.
type process struct {
	io.Reader
	io.WriteCloser
	cmd *exec.Cmd
}

// Close ends the program, which ends with its input.
func (p *process) Close() error { return errors.Join(p.WriteCloser.Close(), p.cmd.Wait()) }

// serve runs on the node what runs in a window pod, and gives the way to it. The test closes it.
func (n *Node) serve(t testing.TB) *stream.Client {
	t.Helper()
	folders := stream.Folders{State: n.StateDir, NetNS: collect.DefaultNetNSDirs}
	if n.StateDir == "" {
		folders.State = types.DefaultCNIDir + "/plexus"
	}
	if n.NetNSDir != "" {
		folders.NetNS = []string{n.NetNSDir}
	}
	p := &process{cmd: exec.Command(n.Program, "node", "serve", "--root", "")}
	var err error
	p.Reader, err = p.cmd.StdoutPipe()
	check.Must(t, err)
	p.WriteCloser, err = p.cmd.StdinPipe()
	check.Must(t, err)
	check.Must(t, n.Do(p.cmd.Start))
	client, err := stream.Connect(t.Context(), p, stream.Hello{Protocol: stream.Protocol, Build: "test", Folders: folders})
	check.Must(t, err)
	return client
}

// Probe sends packets along a path that [World.Path] traced, and adds to it what became of them, with the
// kernels' reasons if a packet was lost.
func (w *World) Probe(d *path.Document) {
	w.t.Helper()
	w.probe(d, true)
}

func (w *World) probe(d *path.Document, why bool) {
	w.t.Helper()
	p, err := probe.New(d, "icmp")
	check.Must(w.t, err)
	world := path.NewWorld(w.snapshots...)
	p.Name, p.Owner, p.Explain = world.NameOf, world.OwnerOf, drops.Explain
	nodes := map[string]inspect.Watcher{}
	for _, n := range w.nodes {
		nodes[n.Name] = n.serve(w.t)
	}
	defer func() {
		for _, node := range nodes {
			_ = node.Close()
		}
	}()
	ctx, cancel := context.WithTimeout(w.t.Context(), time.Minute)
	defer cancel()
	check.Must(w.t, p.Run(ctx, nodes, patience, why))
}

// MustPass demands that packets which fit go the way that was traced, and are answered by the way back.
func (w *World) MustPass(d *path.Document) {
	w.t.Helper()
	w.probe(d, false)
	for i, shot := range d.Probe.Shots {
		if d.Narrowest == nil || shot.Size <= d.Narrowest.Size {
			check.Equal(w.t, fmt.Sprintf("a packet of %d bytes (%s)", shot.Size, shot.Reason), shot.Outcome, path.Answered)
			w.mustBeSeen(d, i)
		}
	}
	if d.There.Outcome == path.Arrives { // else it is seen where nobody could predict it
		check.Equal(w.t, "notes of the probe", len(d.Probe.Notes), 0)
	}
	if w.t.Failed() {
		w.t.Logf("probe: %q, %q", d.Probe.Lines(), d.Probe.Notes)
	}
}

// mustBeSeen demands that a packet was seen at each hop where it can be.
func (w *World) mustBeSeen(d *path.Document, shot int) {
	w.t.Helper()
	for _, way := range []*path.Way{&d.There, d.Back} {
		if way == nil {
			continue
		}
		for i := range way.Hops {
			hop := &way.Hops[i]
			if len(hop.Probed) > shot && hop.Probed[shot].State == path.NotSeen {
				w.t.Errorf("the probe was not seen at %s of %s (%s), which is on the way", hop.Name, hop.Node, hop.In)
			}
		}
	}
}
