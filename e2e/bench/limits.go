package main

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/multus"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
)

const (
	cgroups   = "/sys/fs/cgroup"
	cfsPeriod = 100_000 // microseconds
)

// limited is a burst while the server of the node runs within the limits of its DaemonSet.
type limited struct {
	what   string
	limits corev1.ResourceList
	took   time.Duration
	failed int
	killed string // processes, for memory
}

// measureLimited runs one burst of each source that has a server on the node, within the limits
// that its manifest sets. What a server starts runs within them too.
func (l *lab) measureLimited(ctx context.Context, scenarios []*scenario) ([]*limited, error) {
	if _, err := os.Stat(filepath.Join(cgroups, "memory", "memory.limit_in_bytes")); err != nil {
		fmt.Fprintln(os.Stderr, "bench: no burst within limits: control groups are not of version 1 here")
		return nil, nil
	}
	var all []*limited
	for _, sc := range scenarios {
		if sc.count != burstNetworks || sc.source != byAgent && sc.source != multusThick {
			continue
		}
		fmt.Fprintf(os.Stderr, "bench: %s within its limits\n", sc.source)
		m, err := l.measureWithin(ctx, sc)
		if err != nil {
			return nil, fmt.Errorf("%s within its limits: %w", sc.source, err)
		}
		all = append(all, m)
	}
	return all, nil
}

func (l *lab) measureWithin(ctx context.Context, sc *scenario) (_ *limited, err error) {
	m := &limited{what: sc.source}
	if m.limits, err = l.publishedLimits(sc.source); err != nil {
		return nil, err
	}
	group := filepath.Base(l.dir) + "-" + sc.source
	defer func() { err = errors.Join(err, removeGroup(group)) }()
	if err := makeGroup(group, m.limits); err != nil {
		return nil, err
	}
	end, err := l.restartWithin(ctx, sc, group)
	if err != nil {
		return nil, err
	}
	defer end()
	sc.favour()
	sandboxes := sandboxesOf("limited-"+sc.source, l.burst[burstNetworks][:burstSize])
	began := time.Now()
	m.failed = failures(atOnce(sandboxes, func(sb sandbox) error { return sc.meta.attach(ctx, sb) }))
	m.took = time.Since(began)
	settle()
	m.killed, err = killedIn(group)
	// A DEL of what failed may fail too: the namespaces are made anew.
	_ = atOnce(sandboxes, func(sb sandbox) error { return sc.meta.detach(ctx, sb) })
	settle()
	return m, errors.Join(err, renewBurstNetns(burstSize))
}

// restartWithin starts the server of a scenario in a control group, in place of the one that runs.
func (l *lab) restartWithin(ctx context.Context, sc *scenario, group string) (end func(), err error) {
	wrap := []string{"sh", "-c", fmt.Sprintf(`for g in memory cpu; do echo $$ >%s/$g/%s/cgroup.procs || exit; done; exec "$@"`, cgroups, group), "sh"}
	if sc.source == multusThick {
		l.daemon.Kill()
		return l.daemon.Kill, l.daemon.Restart(ctx, wrap...)
	}
	sc.agent.end()
	sc.agent.cmd = sc.agent.again(wrap)
	if err := sc.agent.cmd.Start(); err != nil {
		return nil, err
	}
	return sc.agent.end, sc.agent.awaitReady(ctx)
}

// publishedLimits gives those of the DaemonSet's first container.
func (l *lab) publishedLimits(source string) (corev1.ResourceList, error) {
	file := filepath.Join(deploy, "daemonset.yaml")
	if source == multusThick {
		file = filepath.Join(l.multusBin, multus.Manifest)
	}
	objects, err := kube.ReadManifest(file)
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		var set appsv1.DaemonSet
		if o.GetKind() == "DaemonSet" {
			err := runtime.DefaultUnstructuredConverter.FromUnstructured(o.Object, &set)
			return set.Spec.Template.Spec.Containers[0].Resources.Limits, err
		}
	}
	return nil, fmt.Errorf("%s has no DaemonSet", file)
}

// makeGroup makes a control group as the kubelet does for a container.
func makeGroup(name string, limits corev1.ResourceList) error {
	memory, cpu := filepath.Join(cgroups, "memory", name), filepath.Join(cgroups, "cpu", name)
	err := errors.Join(os.Mkdir(memory, 0o755), os.Mkdir(cpu, 0o755))
	if bytes := limits.Memory().Value(); bytes > 0 {
		err = errors.Join(err, set(memory, "memory.limit_in_bytes", bytes))
	}
	if milli := limits.Cpu().MilliValue(); milli > 0 {
		err = errors.Join(err, set(cpu, "cpu.cfs_period_us", cfsPeriod), set(cpu, "cpu.cfs_quota_us", milli*cfsPeriod/1000))
	}
	return err
}

func set(dir, file string, value int64) error {
	return os.WriteFile(filepath.Join(dir, file), strconv.AppendInt(nil, value, 10), 0o600)
}

// removeGroup removes a control group whose processes have been killed.
func removeGroup(name string) error {
	var errs []error
	for _, hierarchy := range []string{"memory", "cpu"} {
		dir := filepath.Join(cgroups, hierarchy, name)
		err := os.Remove(dir)
		for range 100 {
			if err == nil || errors.Is(err, fs.ErrNotExist) {
				break
			}
			time.Sleep(50 * time.Millisecond) // until the last plugin has ended
			err = os.Remove(dir)
		}
		if !errors.Is(err, fs.ErrNotExist) {
			errs = append(errs, err)
		}
	}
	return errors.Join(errs...)
}

// killedIn counts the processes of a group that the kernel has killed for memory.
func killedIn(name string) (string, error) {
	data, err := os.ReadFile(filepath.Join(cgroups, "memory", name, "memory.oom_control"))
	for line := range strings.Lines(string(data)) {
		if count, ok := strings.CutPrefix(line, "oom_kill "); ok {
			return strings.TrimSpace(count), nil
		}
	}
	return "", err
}

func limitRows(all []*limited) [][]string {
	rows := [][]string{{fmt.Sprintf("%d ADDs at once within limits", burstSize), "memory", "CPU", "failed", "killed for memory", "s"}}
	for _, m := range all {
		cpu := "none"
		if !m.limits.Cpu().IsZero() {
			cpu = m.limits.Cpu().String()
		}
		rows = append(rows, []string{m.what, m.limits.Memory().String(), cpu, strconv.Itoa(m.failed), m.killed, seconds(m.took)})
	}
	return rows
}
