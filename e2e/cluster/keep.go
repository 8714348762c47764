package main

import (
	"context"
	"errors"
	"fmt"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/masters"
)

// toolsVar names the folder of kubelet, containerd, crictl and ctr.
const toolsVar = "PLEXUS_CLUSTER_BIN"

// networks are the cluster networks that there are.
var networks = map[string]cluster.Master{
	"bridge": cluster.Bridge{}, "flannel": masters.Flannel{Backend: "vxlan"},
	"calico": masters.Calico{}, "canal": masters.Canal{},
}

// lockFD is the lock, which up hands to the keeper.
const lockFD = 3

// keep is the keeper: a process that holds the lock, and its child in namespaces of its own, which
// has the cluster. Each ends with the other. Then the first removes what the cluster has made.
func keep(ctx context.Context, opts *options) error {
	unix.CloseOnExec(lockFD) // or all that the cluster runs would hold it
	var err error
	code := cluster.Isolate("", func() int {
		if err = opts.run(ctx); err != nil {
			return 1
		}
		return 0
	})
	if err == nil && code != 0 {
		err = errors.New("the cluster has ended")
	}
	return err
}

// run starts the cluster and has it until ctx ends.
func (o *options) run(ctx context.Context) error {
	began := time.Now()
	s, err := o.readState()
	if err != nil || s == nil {
		return fmt.Errorf("%s does not say what to start: %w", o.dir, err)
	}
	s.Keeper = os.Getppid()
	if err := o.writeState(s); err != nil {
		return err
	}
	c, err := o.startCluster(ctx)
	if err != nil {
		return err
	}
	s.Up, s.Took, s.Tools = true, fmt.Sprintf("%.0f s", time.Since(began).Seconds()), os.Getenv(toolsVar)
	for _, n := range c.Nodes() {
		s.Nodes = append(s.Nodes, nodeState{Name: n.Name, IP: n.IP().String(), PID: n.PID()})
	}
	if err := o.writeState(s); err != nil {
		return errors.Join(err, c.Stop())
	}
	<-ctx.Done()
	return c.Stop()
}

func (o *options) startCluster(ctx context.Context) (*cluster.Cluster, error) {
	mode := cluster.WithAgent
	if o.multus {
		mode = cluster.Without
	}
	c, err := cluster.Start(ctx, cluster.Options{Nodes: 2, Master: networks[o.master], Plexus: mode, Report: o.progress})
	if err != nil {
		return nil, err
	}
	if o.multus {
		err = o.startMultus(ctx, c)
	}
	if err == nil {
		err = o.open(c)
	}
	if err != nil {
		return nil, errors.Join(err, c.Stop())
	}
	return c, nil
}

// startMultus puts Multus on the nodes, and the image of Plexus: it is not used yet.
func (o *options) startMultus(ctx context.Context, c *cluster.Cluster) error {
	o.progress("Multus, and a pod that it attaches")
	if err := c.InstallMultus(ctx); err != nil {
		return err
	}
	if err := c.ImportPlexus(cluster.PlexusImage, "v0.0.0-dev"); err != nil {
		return err
	}
	if _, err := c.Kubectl("apply", "-f", o.example("multus")); err != nil {
		return err
	}
	_, err := c.Kubectl("wait", "--for=condition=Ready", "--timeout=2m", "pod/before")
	return err
}

// open gives people what they need to use the cluster.
func (o *options) open(c *cluster.Cluster) error {
	server, err := url.Parse(c.Server())
	if err != nil {
		return err
	}
	if err := o.publish(server.Host, c.AdminKubeconfig()); err != nil {
		return err
	}
	if err := os.Symlink(c.Dir(), o.path(filesLink)); err != nil {
		return err
	}
	return o.putKubectl(filepath.Join(os.Getenv(kube.BinVar), "kubectl"))
}

// progress notes what is started next, for up.
func (o *options) progress(step string) {
	file, err := os.OpenFile(o.path(progressFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return // it is for people to read
	}
	_, _ = fmt.Fprintln(file, step)
	_ = file.Close()
}

func (o *options) example(parts ...string) string {
	return filepath.Join(append([]string{o.source, "examples", "cluster"}, parts...)...)
}
