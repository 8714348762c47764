package cluster

import (
	"context"
	"testing"
)

// Machine boots a machine without Kubernetes, with the reference plugins, for a runtime without a
// server, and removes it at the end. The shared cluster is stopped first.
func Machine(t testing.TB, r Runtime) *Node {
	t.Helper()
	opts := Options{Nodes: 1, Runtimes: []Runtime{r}}
	opts.need(t)
	shared.stop()
	c := newCluster(opts)
	t.Cleanup(func() { c.endMachine(t) })
	if err := c.startMachine(t.Context()); err != nil {
		t.Fatal(err)
	}
	return c.Node(1)
}

func (c *Cluster) startMachine(ctx context.Context) error {
	if err := c.makePlace(); err != nil {
		return err
	}
	n := c.newNode(1)
	c.nodes = append(c.nodes, n)
	for _, step := range []func() error{n.boot, n.copyPlugins, n.configureRuntime} {
		if err := step(); err != nil {
			return err
		}
	}
	return n.importImages(ctx)
}

func (c *Cluster) endMachine(t testing.TB) {
	t.Helper()
	if t.Failed() {
		if err := c.collect(t.Name()); err != nil {
			t.Logf("collect what the machine says: %v", err)
		}
	}
	if err := c.Stop(); err != nil {
		t.Error(err)
	}
}
