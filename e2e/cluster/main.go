// Command cluster starts a Kubernetes cluster of two nodes on this machine, for somebody who wants
// to try Plexus: that of the tests (package harness/cluster), which stays up when the command ends.
//
// The command leaves a keeper behind, a process of a session of its own. The cluster's processes are
// the keeper's, in network and mount namespaces that nothing leaves; one port of the machine's
// loopback leads to the API server. All files are in one folder, with a lock that the keeper holds for
// as long as it lives: what is there without a holder was left by one that was killed, or by a
// machine that was switched off, and is removed.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"syscall"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

const exitInterrupted = 130

// options say what to do, and with what cluster.
type options struct {
	dir    string // of all that belongs to the cluster
	source string // the root of the source tree
	master string // the name of the cluster network
	multus bool   // start with Multus, without Plexus
	node   string // of shell
	cmd    string // what shell runs instead of a shell
}

// verbs are what the command can do. Keep is for up, which runs it.
var verbs = map[string]func(context.Context, *options) error{
	"up": up, "down": down, "shell": shell, "keep": keep,
}

func main() {
	if cluster.IsNode() {
		os.Exit(cluster.BeNode())
	}
	os.Exit(start())
}

// start gives the exit status.
func start() int {
	var opts options
	flag.StringVar(&opts.dir, "dir", "../out/cluster", "`folder` for all files of the cluster")
	flag.StringVar(&opts.source, "source", "..", "`folder` of the source tree")
	flag.StringVar(&opts.master, "master", "bridge", "cluster `network`: bridge, flannel, calico or canal")
	flag.BoolVar(&opts.multus, "multus", false, "start with Multus in the place of Plexus")
	flag.StringVar(&opts.node, "node", "node1", "`name` of the node that shell enters")
	flag.StringVar(&opts.cmd, "cmd", "", "`command` line that shell runs on the node")
	flag.Parse()
	do, known := verbs[flag.Arg(0)]
	if !known || flag.NArg() != 1 {
		fmt.Fprintln(os.Stderr, "usage: cluster [flags] up|down|shell (make cluster, make cluster-down, make cluster-shell)")
		return 2
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP)
	defer stop()
	err := opts.complete()
	if err == nil {
		err = do(ctx, &opts)
	}
	switch {
	case err == nil:
		return 0
	case ctx.Err() != nil:
		fmt.Fprintln(os.Stderr, "\ncluster: interrupted;", err)
		return exitInterrupted
	}
	fmt.Fprintln(os.Stderr, "cluster:", err)
	return 1
}

// complete makes the folders absolute, and puts temporary files where the cluster's are: the
// harness has all of its own there.
func (o *options) complete() (err error) {
	if _, known := networks[o.master]; !known {
		return fmt.Errorf("there is no cluster network %q: MASTER is bridge, flannel, calico or canal", o.master)
	}
	if os.Getuid() != 0 {
		return errors.New("this needs root: it makes namespaces")
	}
	for _, dir := range []*string{&o.dir, &o.source} {
		if *dir, err = filepath.Abs(*dir); err != nil {
			return err
		}
	}
	return os.Setenv("TMPDIR", o.dir)
}

func (o *options) path(name string) string { return filepath.Join(o.dir, name) }
