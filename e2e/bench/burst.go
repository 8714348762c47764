package main

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"sync"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/types"
)

const (
	// burstSize is that of the bursts that README's table and the limits are about.
	burstSize = 40
	// burstNetworks is the number of secondary networks of each pod, but for plain pods.
	burstNetworks = 2
	// maxPods is how many pods a burst may have: so many ports has a bridge.
	maxPods = 1000
	// moreRounds is how many times more often small bursts are run than those of burstSize.
	moreRounds = 3
)

// burst is many ADDs at once, again and again, of one scenario.
type burst struct {
	*scenario
	pods         int
	rounds       int // that count
	direct, meta []call
	failed       int // ADDs, of all of meta's
}

// newBursts gives the bursts of every scenario with burstNetworks. Plain pods have the largest alone:
// on a node that starts again most pods are such.
func (l *lab) newBursts(scenarios []*scenario) []*burst {
	var bursts []*burst
	for _, sc := range scenarios {
		for _, pods := range l.sizes {
			if sc.source != manifests && (sc.count == burstNetworks || sc.count == 0 && pods == slices.Max(l.sizes)) {
				bursts = append(bursts, &burst{scenario: sc, pods: pods, rounds: burstRounds(l.bursts, pods)})
			}
		}
	}
	return bursts
}

// burstRounds gives how often a burst is run: the time of few pods scatters more.
func burstRounds(rounds, pods int) int { return rounds * min(max(burstSize/pods, 1), moreRounds) }

// measureBursts attaches many sandboxes at once, by libcni alone and through a meta-plugin in turn.
func (l *lab) measureBursts(ctx context.Context, scenarios []*scenario) ([]*burst, error) {
	if err := l.makeBurstPods(ctx); err != nil { // needed without bursts too
		return nil, err
	}
	bursts := l.newBursts(scenarios)
	if l.bursts == 0 || len(bursts) == 0 {
		return nil, nil
	}
	rounds := l.bursts * moreRounds
	for round := range rounds + 1 {
		fmt.Fprintf(os.Stderr, "\rbench: bursts, round %d of %d ", round, rounds)
		for _, b := range bursts {
			if round > b.rounds {
				continue
			}
			b.favour()
			if err := b.run(ctx, round, l.burst[b.count][:b.pods]); err != nil {
				return nil, fmt.Errorf("burst of %d: %s: %w", b.pods, b.source, err)
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
		took, failed, err := s.burst(ctx, fmt.Sprintf("burst-%d-%s-%d-%d-%d", round, b.source, b.count, b.pods, i), pods)
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

// burst attaches a sandbox of every pod at once, and measures that; then it detaches them. Only
// ADDs of Multus may fail, and are counted.
func (s *side) burst(ctx context.Context, id string, pods []types.Pod) (took call, failed int, err error) {
	sandboxes := sandboxesOf(id, pods)
	took, addErr := s.measure(func() error {
		return atOnce(sandboxes, func(sb sandbox) error { return s.attach(ctx, sb) })
	})
	_, delErr := s.measure(func() error {
		return atOnce(sandboxes, func(sb sandbox) error { return s.detach(ctx, sb) })
	})
	if err := errors.Join(addErr, delErr); err == nil || !s.multus {
		return took, 0, err
	}
	return took, failures(addErr), renewBurstNetns(len(pods))
}

// failures counts what atOnce has joined.
func failures(err error) int {
	if joined, ok := err.(interface{ Unwrap() []error }); ok {
		return len(joined.Unwrap())
	}
	return 0
}

// renewBurstNetns makes the namespaces of the bursts anew, after calls that failed.
func renewBurstNetns(count int) error {
	for i := range count {
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

func atOnce(sandboxes []sandbox, do func(sandbox) error) error {
	faults := make([]error, len(sandboxes))
	var all sync.WaitGroup
	for i, sb := range sandboxes {
		all.Go(func() { faults[i] = do(sb) })
	}
	all.Wait()
	return errors.Join(faults...)
}

func burstNetns(i int) string { return fmt.Sprintf("/run/netns/burst-%d", i) }

// makeBurstPods makes the pods of bursts, and the namespaces that they take turns with.
func (l *lab) makeBurstPods(ctx context.Context) (err error) {
	most := max(burstSize, slices.Max(l.sizes))
	for i := range most {
		if out, err := exec.Command("ip", "netns", "add", filepath.Base(burstNetns(i))).CombinedOutput(); err != nil {
			return fmt.Errorf("ip netns add: %w: %s", err, out)
		}
	}
	l.burst = map[int][]types.Pod{}
	for _, count := range []int{0, burstNetworks} {
		if l.burst[count], err = l.burstPods(ctx, count, most); err != nil {
			return err
		}
	}
	return nil
}

// burstPods makes pods with a number of secondary networks. In the cluster, where there is one,
// they are made as the pod of the pairs was.
func (l *lab) burstPods(ctx context.Context, count, most int) ([]types.Pod, error) {
	pods := make([]types.Pod, most)
	dir := filepath.Join(l.dir, fmt.Sprintf("burst-%d", count))
	objects := map[string]object{}
	for i := range pods {
		pods[i] = types.Pod{Namespace: namespace, Name: fmt.Sprintf("burst-%d-%d", count, i)}
		o := podObject(count)
		maps.Copy(o["metadata"].(object), object{"name": pods[i].Name})
		objects[pods[i].Name+".yaml"] = o
	}
	if l.cluster == nil {
		return pods, nil
	}
	if err := errors.Join(writeYAML(dir, objects), l.apply(ctx, dir)); err != nil {
		return nil, err
	}
	return pods, l.findUIDs(ctx, pods)
}

// findUIDs completes what is known of pods of the cluster.
func (l *lab) findUIDs(ctx context.Context, pods []types.Pod) error {
	list, err := l.cluster.Client().CoreV1().Pods(namespace).List(ctx, metav1.ListOptions{})
	if err != nil {
		return err
	}
	uids := map[string]string{}
	for i := range list.Items {
		uids[list.Items[i].Name] = string(list.Items[i].UID)
	}
	for i := range pods {
		pods[i].UID = uids[pods[i].Name]
	}
	return nil
}
