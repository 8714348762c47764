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
	"syscall"
)

// insideVar marks the process that runs in namespaces of its own.
const insideVar = "PLEXUS_BENCH_INSIDE"

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
	opts, err := parseFlags(os.Args[1:], runtime.NumCPU())
	if errors.Is(err, flag.ErrHelp) {
		return nil
	}
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
	r := &report{options: opts}
	for _, part := range []func(context.Context, *lab) error{r.measureAlone, r.measureCalls, r.measureBursts, r.measureLarge} {
		if err := part(ctx, l); err != nil {
			return err
		}
	}
	r.print(os.Stdout)
	return nil
}

// measureAlone measures what needs no pairs, once the servers are at rest.
func (r *report) measureAlone(ctx context.Context, l *lab) (err error) {
	if r.scenarios, err = l.scenarios(ctx); err != nil {
		return err
	}
	if r.machine, err = l.measureMachine(); err != nil {
		return err
	}
	if r.starts, err = l.measureStarts(ctx); err != nil {
		return err
	}
	if r.annotations {
		r.annotated, err = l.measureAnnotations(ctx)
	}
	return err
}

// measureCalls measures pairs of single calls.
func (r *report) measureCalls(ctx context.Context, l *lab) (err error) {
	if err := l.measurePairs(ctx, r.scenarios); err != nil {
		return err
	}
	if err := l.measureFacts(ctx, r.scenarios); err != nil {
		return err
	}
	for _, sc := range r.scenarios {
		if sc.agent == nil {
			continue
		}
		if sc.parts, err = sc.agent.parts(ctx); err != nil {
			return err
		}
	}
	return nil
}

// measureBursts measures many calls at once, and what they leave in the memory of servers.
func (r *report) measureBursts(ctx context.Context, l *lab) (err error) {
	if r.memory, err = l.idleMemory(r.scenarios); err != nil {
		return err
	}
	if r.bursts, err = l.measureBursts(ctx, r.scenarios); err != nil {
		return err
	}
	if err := r.memory.afterBursts(); err != nil {
		return err
	}
	if r.limits {
		r.limited, err = l.measureLimited(ctx, r.scenarios)
	}
	return err
}

// measureLarge measures an agent in a large cluster, at the end, as the cluster stays large.
func (r *report) measureLarge(ctx context.Context, l *lab) (err error) {
	if !r.scale || l.cluster == nil {
		return nil
	}
	if r.large, err = l.measureScale(ctx); err != nil {
		return fmt.Errorf("large cluster: %w", err)
	}
	return nil
}
