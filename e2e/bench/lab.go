package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/multus"
	"github.com/plexus-cni/plexus/types"
)

const (
	podName = "plexus-bench-pod"
	netns   = "/run/netns/" + podName
	state   = "/var/lib/cni" // of libcni, host-local and plexus
)

// lab is the node on which everything is measured: its network namespace is this process's own,
// its state is on the disk of /var/lib, its API server is a real one.
type lab struct {
	*options
	dir     string
	cluster *kube.Cluster // nil if no source needs it
	made    string        // a folder that was made to be mounted over
	agents  []*agent
	burst   map[int][]types.Pod // of bursts, by their number of secondary networks
	multus  *multus.Multus      // nil until it is installed
	daemon  *multus.Daemon      // of the thick one; nil unless it runs
}

func newLab(ctx context.Context, opts *options) (_ *lab, retErr error) {
	l := &lab{options: opts}
	defer func() {
		if retErr != nil {
			l.close()
		}
	}()
	if err := l.mounts(); err != nil {
		return nil, err
	}
	if err := network(); err != nil {
		return nil, err
	}
	// What outlives a call becomes a child of this process, which waits for it.
	if err := unix.Prctl(unix.PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0); err != nil {
		return nil, fmt.Errorf("become the reaper of plexus-once: %w", err)
	}
	if !l.needsCluster() {
		return l, nil
	}
	fmt.Fprintln(os.Stderr, "bench: starting etcd and kube-apiserver")
	var err error
	if l.cluster, err = kube.Start(ctx, kube.Options{BinDir: opts.kube, Dir: l.dir}); err != nil {
		return nil, err
	}
	return l, errors.Join(l.cluster.ApplyNADCRD(ctx), l.cluster.BindNodesReadNADs(ctx))
}

func (l *lab) needsCluster() bool {
	for _, source := range l.sources {
		if source != manifests {
			return true
		}
	}
	return false
}

// mounts puts folders of the lab in place of those that plugins write to.
func (l *lab) mounts() (err error) {
	if l.dir, err = os.MkdirTemp("/var/lib", "plexus-bench-"); err != nil {
		return err
	}
	if _, err := os.Stat(state); errors.Is(err, os.ErrNotExist) {
		l.made = state
	}
	inLab := filepath.Join(l.dir, "cni")
	if err := errors.Join(os.MkdirAll(state, 0o755), os.Mkdir(inLab, 0o700), os.MkdirAll("/run/netns", 0o755)); err != nil {
		return err
	}
	if err := unix.Mount(inLab, state, "", unix.MS_BIND, ""); err != nil {
		return fmt.Errorf("mount over %s: %w", state, err)
	}
	if err := unix.Mount("none", "/run/netns", "tmpfs", 0, ""); err != nil {
		return fmt.Errorf("mount over /run/netns: %w", err)
	}
	return nil
}

// network makes the interface that stands for the node's network card, and the pod's namespace.
func network() error {
	for _, args := range []string{
		"link set lo up",
		"link add uplink0 type veth peer name lan0",
		"link set uplink0 up",
		"link set lan0 up",
		"netns add " + podName,
		"-n " + podName + " link set lo up",
	} {
		if out, err := exec.Command("ip", strings.Fields(args)...).CombinedOutput(); err != nil {
			return fmt.Errorf("ip %s: %w: %s", args, err, out)
		}
	}
	return nil
}

// close stops the servers and removes what is on disk; the namespaces end with the process.
func (l *lab) close() {
	l.endServers()
	if err := l.cluster.Stop(); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	for _, mounted := range []string{netns, "/run/netns", state} {
		_ = unix.Unmount(mounted, unix.MNT_DETACH)
	}
	if err := os.RemoveAll(l.dir); err != nil {
		fmt.Fprintln(os.Stderr, "bench:", err)
	}
	if l.made != "" {
		_ = os.Remove(l.made) // unless somebody uses it by now
	}
}

// endServers ends what plexus and Multus ask on the node.
func (l *lab) endServers() {
	for _, a := range l.agents {
		a.end()
	}
	if l.daemon != nil {
		l.daemon.End()
	}
}

// settle waits until nothing that plexus has left running is running any more, and tells how
// long that took: plexus-once writes events after the answer.
func settle() time.Duration {
	began := time.Now()
	stats, _ := filepath.Glob("/proc/[0-9]*/stat")
	for _, stat := range stats {
		data, err := os.ReadFile(stat)
		if err != nil || !strings.Contains(string(data), "("+onceName+")") {
			continue
		}
		var pid, parent int
		_, rest, _ := strings.Cut(string(data), ") ")
		if _, err := fmt.Sscanf(string(data), "%d ", &pid); err != nil {
			continue
		}
		if _, err := fmt.Sscanf(rest[2:], "%d ", &parent); err == nil && parent == os.Getpid() {
			_, _ = unix.Wait4(pid, nil, 0, nil)
		}
	}
	return time.Since(began)
}
