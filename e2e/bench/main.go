// Command bench measures what Plexus costs. It runs the same attachments by libcni itself, in its
// own process as containerd does, and through plexus or Multus, in turn, and reports the ratios of such
// pairs, which a busy machine disturbs far less than it does times.
//
// It asserts nothing but that every call succeeds; those of Multus may fail in a burst.
package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"syscall"

	"github.com/plexus-cni/plexus/e2e/harness/multus"
)

// insideVar marks the process that runs in namespaces of its own.
const insideVar = "PLEXUS_BENCH_INSIDE"

// options say what to measure.
type options struct {
	pairs     int
	bursts    int // of burstSize sandboxes at once
	scale     bool
	counts    []int // of secondary networks
	sources   []string
	markdown  bool
	bin       string // the folder of plexus
	plugins   string // the folder of the other plugins
	kube      string // the folder of etcd and kube-apiserver
	multusBin string // the folder of Multus
}

func main() {
	err := launch()
	var ended *exec.ExitError
	switch {
	case errors.As(err, &ended): // the process inside has said why
		os.Exit(1)
	case err != nil:
		fmt.Fprintln(os.Stderr, "bench:", err)
		os.Exit(1)
	}
}

func launch() error {
	opts, err := parseFlags()
	if err != nil {
		return err
	}
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	defer stop()
	if os.Getenv(insideVar) == "" {
		return enter(ctx)
	}
	if err := measure(ctx, opts); ctx.Err() == nil {
		return err
	}
	return errors.New("interrupted")
}

func parseFlags() (*options, error) {
	opts := &options{
		bin:       os.Getenv("PLEXUS_BIN"),
		plugins:   os.Getenv("PLEXUS_CNI_BIN"),
		kube:      os.Getenv("PLEXUS_KUBE_BIN"),
		multusBin: os.Getenv(multus.BinVar),
	}
	var counts, sources string
	flag.IntVar(&opts.pairs, "n", 25, "`number` of pairs of each kind")
	flag.IntVar(&opts.bursts, "bursts", 7, "`number` of pairs of bursts; 0 for none")
	flag.BoolVar(&opts.scale, "scale", true, "measure an agent in a large cluster")
	flag.StringVar(&counts, "networks", "0,2,8", "`numbers` of secondary networks")
	flag.StringVar(&sources, "sources", strings.Join(allSources, ","), "where facts come from: `some` of these")
	flag.BoolVar(&opts.markdown, "markdown", false, "print tables for docs/performance.md")
	flag.Parse()
	for field := range strings.SplitSeq(counts, ",") {
		count, err := strconv.Atoi(field)
		if err != nil || count < 0 || count > maxCount {
			return nil, fmt.Errorf("-networks: %q is not a number from 0 to %d", field, maxCount)
		}
		opts.counts = append(opts.counts, count)
	}
	for source := range strings.SplitSeq(sources, ",") {
		if !slices.Contains(allSources, source) {
			return nil, fmt.Errorf("-sources: %q is not one of %s", source, strings.Join(allSources, ", "))
		}
		opts.sources = append(opts.sources, source)
	}
	if opts.multusBin == "" && (slices.Contains(opts.sources, multusThin) || slices.Contains(opts.sources, multusThick)) {
		return nil, fmt.Errorf("%s must be set for these -sources, as `make bench` does", multus.BinVar)
	}
	if opts.pairs < 1 || opts.bin == "" || opts.plugins == "" || opts.kube == "" {
		return nil, errors.New("-n must be at least 1, and PLEXUS_BIN, PLEXUS_CNI_BIN and PLEXUS_KUBE_BIN must be set, as `make bench` does")
	}
	return opts, nil
}

// enter runs this program again, in a network and a mount namespace of its own, which end with
// it.
func enter(ctx context.Context) error {
	runtime.LockOSThread() // the signal below comes when the thread ends
	cmd := exec.Command("/proc/self/exe", os.Args[1:]...)
	cmd.Env = append(os.Environ(), insideVar+"=1")
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{
		Unshareflags: syscall.CLONE_NEWNET | syscall.CLONE_NEWNS,
		Pdeathsig:    syscall.SIGTERM,
		Setpgid:      true, // Ctrl-C comes by way of this process
	}
	if err := cmd.Start(); err != nil {
		return fmt.Errorf("make namespaces for the measurements: %w", err)
	}
	stop := context.AfterFunc(ctx, func() { _ = cmd.Process.Signal(syscall.SIGTERM) })
	defer stop()
	return cmd.Wait()
}

// measure measures everything, and reports.
func measure(ctx context.Context, opts *options) error {
	l, err := newLab(ctx, opts)
	if err != nil {
		return err
	}
	defer l.close()
	scenarios, err := l.scenarios(ctx)
	if err != nil {
		return err
	}
	starts, err := l.measureStarts(ctx)
	if err != nil {
		return err
	}
	annotations, err := l.measureAnnotations(ctx)
	if err != nil {
		return err
	}
	if err := l.measurePairs(ctx, scenarios); err != nil {
		return err
	}
	if err := l.measureFacts(ctx, scenarios); err != nil {
		return err
	}
	for _, sc := range scenarios {
		if sc.agent == nil {
			continue
		}
		if sc.parts, err = sc.agent.parts(ctx); err != nil {
			return err
		}
	}
	memory, err := l.idleMemory(scenarios)
	if err != nil {
		return err
	}
	bursts, err := l.measureBursts(ctx, scenarios)
	if err == nil {
		err = memory.afterBursts()
	}
	if err != nil {
		return err
	}
	within, err := l.measureLimited(ctx, scenarios)
	if err != nil {
		return err
	}
	disk, err := l.measureDisk()
	if err != nil {
		return err
	}
	var large *scale
	if opts.scale && l.cluster != nil {
		if large, err = l.measureScale(ctx); err != nil {
			return fmt.Errorf("large cluster: %w", err)
		}
	}
	(&report{options: opts, starts: starts, annotations: annotations, scenarios: scenarios, bursts: bursts, memory: memory, limited: within, disk: disk, scale: large}).print(os.Stdout)
	return nil
}
