package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"sync"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/types"
)

const (
	burstSize = 40
	// burstNetworks is the number of secondary networks of each of its pods.
	burstNetworks = 2
)

// burst is many ADDs at once, again and again, of one scenario.
type burst struct {
	*scenario
	direct, meta []time.Duration // from the first call to the last answer
	failed       int             // ADDs, of all of meta's
}

// measureBursts attaches many sandboxes at once, by libcni alone and through a meta-plugin in turn.
func (l *lab) measureBursts(ctx context.Context, scenarios []*scenario) ([]*burst, error) {
	var bursts []*burst
	var err error
	if l.burst, err = l.burstPods(ctx); err != nil {
		return nil, err
	}
	for _, sc := range scenarios {
		if sc.count == burstNetworks && sc.source != manifests {
			bursts = append(bursts, &burst{scenario: sc})
		}
	}
	for round := range l.bursts + 1 {
		if l.bursts == 0 {
			break // the pods are needed all the same
		}
		for i, b := range bursts {
			fmt.Fprintf(os.Stderr, "\rbench: burst %d of %d ", round*len(bursts)+i+1, (l.bursts+1)*len(bursts))
			b.favour()
			if err := b.run(ctx, round, l.burst); err != nil {
				return nil, fmt.Errorf("burst: %s: %w", b.source, err)
			}
		}
	}
	fmt.Fprintln(os.Stderr)
	return bursts, nil
}

// run measures one pair; the first one only warms up.
func (b *burst) run(ctx context.Context, round int, pods []types.Pod) error {
	sides := []*side{b.scenario.direct, b.scenario.meta}
	if round%2 == 1 {
		sides[0], sides[1] = sides[1], sides[0]
	}
	for i, s := range sides {
		took, failed, err := s.burst(ctx, fmt.Sprintf("burst-%d-%s-%d", round, b.source, i), pods)
		switch {
		case err != nil:
			return err
		case round == 0:
		case s == b.scenario.direct:
			b.direct = append(b.direct, took)
		default:
			b.meta = append(b.meta, took)
			b.failed += failed
		}
	}
	return nil
}

// burst attaches a sandbox of every pod at once, and gives the time that takes; then it
// detaches them. Only ADDs of Multus may fail, and are counted.
func (s *side) burst(ctx context.Context, id string, pods []types.Pod) (took time.Duration, failed int, err error) {
	sandboxes := sandboxesOf(id, pods)
	took, addErr := atOnce(sandboxes, func(sb sandbox) error { return s.attach(ctx, sb) })
	settle()
	time.Sleep(s.pause)
	_, delErr := atOnce(sandboxes, func(sb sandbox) error { return s.detach(ctx, sb) })
	settle()
	time.Sleep(s.pause)
	if err := errors.Join(addErr, delErr); err == nil || !s.multus {
		return took, 0, err
	}
	return took, failures(addErr), renewBurstNetns()
}

// failures counts what atOnce has joined.
func failures(err error) int {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return len(joined.Unwrap())
	}
	return 0
}

// renewBurstNetns makes the namespaces of the bursts anew, after calls that failed.
func renewBurstNetns() error {
	for i := range burstSize {
		name := filepath.Base(burstNetns(i))
		for _, verb := range []string{"del", "add"} {
			if out, err := exec.Command("ip", "netns", verb, name).CombinedOutput(); err != nil {
				return fmt.Errorf("ip netns %s: %w: %s", verb, err, out)
			}
		}
	}
	return nil
}

func sandboxesOf(id string, pods []types.Pod) []sandbox {
	sandboxes := make([]sandbox, len(pods))
	for i := range pods {
		sandboxes[i] = sandbox{fmt.Sprintf("%s-%d", id, i), burstNetns(i), pods[i]}
	}
	return sandboxes
}

func atOnce(sandboxes []sandbox, do func(sandbox) error) (time.Duration, error) {
	faults := make([]error, len(sandboxes))
	var all sync.WaitGroup
	began := time.Now()
	for i, sb := range sandboxes {
		all.Go(func() { faults[i] = do(sb) })
	}
	all.Wait()
	return time.Since(began), errors.Join(faults...)
}

func burstNetns(i int) string { return fmt.Sprintf("/run/netns/burst-%d", i) }

// burstPods makes the pods of a burst, and their namespaces. In the cluster, where there is
// one, they are made as the pod of the pairs was.
func (l *lab) burstPods(ctx context.Context) ([]types.Pod, error) {
	pods := make([]types.Pod, burstSize)
	dir := filepath.Join(l.dir, "burst")
	objects := map[string]object{}
	for i := range pods {
		if out, err := exec.Command("ip", "netns", "add", filepath.Base(burstNetns(i))).CombinedOutput(); err != nil {
			return nil, fmt.Errorf("ip netns add: %w: %s", err, out)
		}
		pods[i] = types.Pod{Namespace: namespace, Name: fmt.Sprintf("burst-%d", i)}
		o := podObject(burstNetworks)
		maps.Copy(o["metadata"].(object), object{"name": pods[i].Name})
		objects[pods[i].Name+".yaml"] = o
	}
	if l.cluster == nil {
		return pods, nil
	}
	if err := errors.Join(writeYAML(dir, objects), l.apply(ctx, dir)); err != nil {
		return nil, err
	}
	list, err := l.cluster.Client().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return nil, err
	}
	for i := range pods {
		for j := range list.Items {
			if list.Items[j].Name == pods[i].Name {
				pods[i].UID = string(list.Items[j].UID)
			}
		}
	}
	return pods, nil
}
