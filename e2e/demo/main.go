// Command demo shows what Plexus does, to somebody who has neither a cluster nor a container
// runtime at hand: it makes a node and an empty pod out of network namespaces, calls plexus as a
// runtime does, and shows what came of it.
//
// Nothing else of the machine is touched: bridges, forwarding and address pools are those of
// the demo's own node, and what an interrupted run leaves is removed by the next one.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"syscall"
	"time"
)

const exitInterrupted = 130

var errLeft = errors.New("not everything that the demo made could be removed; try `make demo-clean`")

// options say what to run, and on what.
type options struct {
	keep, clean bool
	examples    string // the folder examples/demo
	bin         string // the folder of plexus
	plugins     string // the folder of the other plugins
}

func main() { os.Exit(start()) }

// start gives the exit status.
func start() int {
	var opts options
	flag.BoolVar(&opts.keep, "keep", os.Getenv("KEEP") != "", "leave the pod standing (also: KEEP=1)")
	flag.BoolVar(&opts.clean, "clean", false, "remove what earlier runs left standing, and do nothing else")
	flag.StringVar(&opts.examples, "examples", "../examples/demo", "`folder` of the configuration and the manifests")
	flag.StringVar(&opts.bin, "bin", os.Getenv("PLEXUS_BIN"), "`folder` of plexus and plexus-once (also: PLEXUS_BIN)")
	flag.StringVar(&opts.plugins, "plugins", os.Getenv("PLEXUS_CNI_BIN"), "`folder` of the reference plugins (also: PLEXUS_CNI_BIN)")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM, syscall.SIGHUP, syscall.SIGPIPE)
	defer stop()
	return exitCode(ctx, run(ctx, &opts))
}

func exitCode(ctx context.Context, err error) int {
	switch {
	case err == nil:
		return 0
	case errors.Is(err, errLeft) || ctx.Err() == nil:
		fmt.Fprintln(os.Stderr, "\ndemo:", err)
		return 1
	}
	fmt.Fprintln(os.Stderr, "\ndemo: interrupted; what it made is removed")
	return exitInterrupted
}

func run(ctx context.Context, opts *options) error {
	if opts.bin == "" || opts.plugins == "" {
		return errors.New("PLEXUS_BIN and PLEXUS_CNI_BIN are not set: run it by `make demo`, which builds both")
	}
	if opts.clean {
		return cleanAll(opts)
	}
	n, kept, err := claim()
	if err != nil {
		return err
	}
	defer n.unlock()
	for _, k := range kept {
		note("The pod of an earlier `make demo KEEP=1` is still up, and this run leaves it alone:")
		k.howToUse()
		fmt.Println()
	}
	return demonstrate(ctx, n, opts)
}

// demonstrate shows everything on a node of its own, and removes that in the end.
func demonstrate(ctx context.Context, n *node, opts *options) (err error) {
	began := time.Now()
	d := &demo{node: n, options: opts}
	defer func() {
		if err != nil || !opts.keep {
			err = errors.Join(err, d.remove())
		}
	}()
	if err := d.steps(ctx); err != nil {
		return err
	}
	if opts.keep {
		return d.leave()
	}
	good(fmt.Sprintf("\nEverything is as it should be. The demo took %.1f s and removes its namespaces now.", time.Since(began).Seconds()))
	return nil
}

// cleanAll removes what earlier runs left standing, by plexus itself as far as it goes.
func cleanAll(opts *options) error {
	nodes, err := leftStanding()
	if err != nil {
		return err
	}
	if len(nodes) == 0 {
		note("No demo is left standing.")
	}
	var faults []error
	for _, n := range nodes {
		d := &demo{node: n, options: opts}
		if n.attached() {
			faults = append(faults, d.del(context.Background()))
		}
		faults = append(faults, d.remove())
		n.unlock()
		note("Removed: " + n.name)
	}
	return errors.Join(faults...)
}
