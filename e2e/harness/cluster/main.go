package cluster

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/proc"
	"github.com/plexus-cni/plexus/internal/test/poll"
)

const (
	// runPrefix begins the name of all that a run makes on the machine: its folder and its
	// control groups. The process follows.
	runPrefix = "plexus-e2e-"
	// RunVar is the variable with the name of the run. Every process of a run has it in its
	// environment, but for those in containers.
	RunVar = "PLEXUS_E2E_RUN"
)

// Main runs a package's scenarios in namespaces of their own, and leaves nothing behind, also
// when they fail or are interrupted. It returns the exit status, for os.Exit in TestMain. The
// processes that are the nodes' first ones start here too.
func Main(m *testing.M) int {
	if IsNode() {
		return BeNode()
	}
	if runName() == "" {
		sweep()
	}
	return Isolate(runPrefix+strconv.Itoa(os.Getpid()), func() int {
		code := m.Run()
		shared.stop()
		return code
	})
}

// Isolate runs inside in namespaces of its own, in a second process of this executable, and
// removes what it has made on the machine. run names that; if the environment has a name already
// (see [RunVar]), that one holds.
func Isolate(run string, inside func() int) int {
	if runName() == "" {
		if err := os.Setenv(RunVar, run); err != nil {
			panic(err)
		}
	}
	return proc.Isolate(inside, func() {
		if err := Remove(context.Background(), runName()); err != nil {
			fmt.Fprintln(os.Stderr, err)
		}
	})
}

// runName is the name of this run.
func runName() string { return os.Getenv(RunVar) }

// runDir is the folder of this run.
func runDir() string { return filepath.Join(os.TempDir(), runName()) }

// sweep removes what runs have left that were killed.
func sweep() {
	folders, _ := filepath.Glob(filepath.Join(os.TempDir(), runPrefix+"*"))
	for _, path := range append(folders, rootsOf(runPrefix+"*")...) {
		name := filepath.Base(path)
		pid, err := strconv.Atoi(strings.TrimPrefix(name, runPrefix))
		if err == nil && syscall.Kill(pid, 0) == syscall.ESRCH {
			_ = Remove(context.Background(), name) // or the next run does
		}
	}
}

// Remove removes all that a run has made on the machine, once the kernel has ended its processes:
// its control groups, and its folder below the one for temporary files.
func Remove(ctx context.Context, run string) error {
	if run == "" { // or it would be all control groups of the machine
		return errors.New("remove a run: it has no name")
	}
	return poll.Until(ctx, 20*time.Second, "what run "+run+" has made to go", func(context.Context) error {
		if err := removeCgroups(run); err != nil {
			return err
		}
		return os.RemoveAll(filepath.Join(os.TempDir(), run))
	})
}

// shared is the cluster that the scenarios of a package share.
var shared sharedCluster

type sharedCluster struct {
	mu      sync.Mutex
	cluster *Cluster
	err     error
}

// Shared gives the cluster that the scenarios of a package share: two nodes with the bridge
// plugin as their cluster network, and Plexus installed by its manifests. It is started when
// first asked for. Without its executables, the test is skipped.
func Shared(t testing.TB) *Cluster {
	t.Helper()
	opts := Options{Nodes: 2, Plexus: WithAgent}
	opts.need(t)
	shared.mu.Lock()
	defer shared.mu.Unlock()
	if shared.cluster == nil && shared.err == nil {
		shared.cluster, shared.err = Start(t.Context(), opts)
	}
	if shared.err != nil {
		t.Fatal(shared.err)
	}
	return shared.cluster
}

// New starts a cluster for one scenario, and stops it at the end. The shared one is stopped
// first: two clusters are too much for one machine.
func New(t testing.TB, opts Options) *Cluster {
	t.Helper()
	opts.need(t)
	shared.stop()
	c, err := Start(t.Context(), opts)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// stop stops the shared cluster, if it runs. The next scenario that asks for it starts it anew.
func (s *sharedCluster) stop() {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.cluster == nil {
		return
	}
	if err := s.cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "stop the shared cluster:", err)
	}
	s.cluster = nil
}
