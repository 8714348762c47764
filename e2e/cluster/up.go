package main

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

const (
	runPrefix = "plexus-cluster-"
	// outVar names the folder for the logs of a cluster that does not start.
	outVar = "PLEXUS_E2E_OUT"
)

// up starts a cluster, unless one is up, and prints how to use it.
func up(ctx context.Context, opts *options) error {
	if err := opts.possible(); err != nil {
		return err
	}
	lock, err := opts.lock()
	if err != nil {
		return err
	}
	if lock == nil {
		return opts.again(ctx)
	}
	defer lock.Close()
	if err := opts.sweep(ctx); err != nil {
		return err
	}
	s, err := opts.startKeeper(ctx, lock)
	if err != nil {
		if !errors.Is(err, errEnded) {
			opts.keepLog()
		}
		return errors.Join(err, opts.clean(context.WithoutCancel(ctx)), os.RemoveAll(opts.dir))
	}
	fmt.Print(page(opts, s))
	return nil
}

// possible says what the machine or the command line lacks.
func (o *options) possible() error {
	for _, variable := range []string{kube.BinVar, toolsVar} {
		if os.Getenv(variable) == "" {
			return fmt.Errorf("%s is not set: run it by make cluster, which builds what the cluster needs", variable)
		}
	}
	for _, path := range []string{o.dir, o.source, os.Getenv(kube.BinVar)} {
		if cluster.Hidden(path) {
			return fmt.Errorf("%s lies below a folder that every node has of its own, so that nodes cannot see it: move the checkout, or set PLEXUS_CACHE", path)
		}
	}
	return nil
}

// again is for a cluster that somebody else has started.
func (o *options) again(ctx context.Context) error {
	s, err := o.readState()
	switch {
	case err != nil:
		return err
	case s == nil || !s.Up:
		return errors.New("another make cluster is at work: wait for it, or end it by make cluster-down")
	case s.Master != o.master || s.Multus != o.multus:
		return fmt.Errorf("a cluster %s is up: remove it by make cluster-down before you start another", s.kind())
	}
	if err := o.answers(ctx); err != nil {
		return fmt.Errorf("a cluster is there, but its API server does not answer; the logs are in %s, make cluster-down removes it: %w", o.path(filesLink), err)
	}
	fmt.Print("This cluster is up already.\n", page(o, s))
	return nil
}

func (o *options) answers(ctx context.Context) error {
	kubectl := filepath.Join(o.path(binDir), "kubectl")
	out, err := exec.CommandContext(ctx, kubectl, "--kubeconfig", o.path(kubeconfig), "--request-timeout=10s", "get", "--raw", "/readyz").CombinedOutput()
	if err != nil {
		err = fmt.Errorf("%w: %s", err, bytes.TrimSpace(out))
	}
	return err
}

// sweep removes what a cluster has left that ended in another way than by down.
func (o *options) sweep(ctx context.Context) error {
	if _, err := os.Stat(o.path(stateFile)); err != nil {
		return nil
	}
	fmt.Println("An earlier cluster has ended without make cluster-down. What it left is removed.")
	return o.clean(ctx)
}

// startKeeper starts the keeper, which gets the lock, and waits until the cluster is up.
func (o *options) startKeeper(ctx context.Context, lock *os.File) (*state, error) {
	run := runPrefix + strings.ToLower(rand.Text()[:10])
	if err := o.writeState(&state{Run: run, Master: o.master, Multus: o.multus}); err != nil {
		return nil, err
	}
	log, err := os.OpenFile(o.path(logFile), os.O_WRONLY|os.O_APPEND|os.O_CREATE, 0o600)
	if err != nil {
		return nil, err
	}
	defer log.Close()
	cmd := exec.Command("/proc/self/exe", "-dir", o.dir, "-source", o.source, "-master", o.master, fmt.Sprintf("-multus=%v", o.multus), "keep")
	// Without what a test that runs this command has of its own run.
	inherited := slices.DeleteFunc(os.Environ(), func(v string) bool { return strings.HasPrefix(v, "PLEXUS_E2E_") })
	cmd.Env = slices.Concat(inherited, []string{runEntry(run), outVar + "=" + o.failures()})
	cmd.Stdout, cmd.Stderr, cmd.ExtraFiles = log, log, []*os.File{lock}
	cmd.SysProcAttr = &syscall.SysProcAttr{Setsid: true} // what ends the terminal is not for it
	if err := cmd.Start(); err != nil {
		return nil, fmt.Errorf("start the cluster's keeper: %w", err)
	}
	ended := make(chan int, 1)
	go func() {
		_ = cmd.Wait() // the exit status says how it ended
		ended <- cmd.ProcessState.ExitCode()
		close(ended)
	}()
	s, err := o.follow(ctx, ended)
	if err != nil {
		_ = cmd.Process.Signal(syscall.SIGTERM) // it may have ended
		for range ended {                       // until it is closed
		}
	}
	return s, err
}

// errEnded says that somebody ended the cluster before it was up.
var errEnded = errors.New("what was started is removed")

func runEntry(run string) string { return cluster.RunVar + "=" + run }

// failures is the folder for what a cluster that does not start says.
func (o *options) failures() string { return o.dir + "-failed" }

// follow prints what the keeper starts, until all is up.
func (o *options) follow(ctx context.Context, ended <-chan int) (*state, error) {
	began := time.Now()
	printed := 0
	tick := time.NewTicker(100 * time.Millisecond)
	defer tick.Stop()
	for {
		steps, _ := os.ReadFile(o.path(progressFile)) // it may not be there yet
		for printed < len(steps) {
			line, _, _ := bytes.Cut(steps[printed:], []byte("\n"))
			fmt.Printf("%5.1f s  %s\n", time.Since(began).Seconds(), line)
			printed += len(line) + 1
		}
		if s, err := o.readState(); err != nil || s.Up {
			return s, err
		}
		select {
		case code := <-ended:
			if code == exitInterrupted {
				return nil, fmt.Errorf("the cluster was ended before it was up: %w", errEnded)
			}
			return nil, fmt.Errorf("the cluster did not start; %s has its logs", o.failures())
		case <-ctx.Done():
			return nil, errEnded
		case <-tick.C:
		}
	}
}

// keepLog prints and keeps what the keeper said of a cluster that has not come up.
func (o *options) keepLog() {
	said, _ := os.ReadFile(o.path(logFile))
	fmt.Fprintf(os.Stderr, "%s\n", bytes.TrimSpace(said[max(0, len(said)-4<<10):]))
	_ = os.MkdirAll(o.failures(), 0o755)
	_ = os.WriteFile(filepath.Join(o.failures(), logFile), said, 0o600)
}
