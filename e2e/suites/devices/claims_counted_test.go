package devices

import (
	"slices"
	"strings"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/types"
)

// claimReads counts what Plexus has read of pods, claims and slices. Watches are the agent's,
// which it has for all pods together.
func (b *claimBench) claimReads() map[string]int {
	b.Helper()
	events, err := b.Audit(func(e kube.AuditEvent) bool {
		return strings.HasPrefix(e.UserAgent, "plexus") && (e.Verb == "get" || e.Verb == "list") && !strings.Contains(e.RequestURI, "watch=") &&
			slices.Contains([]string{"pods", "resourceclaims", "resourceslices"}, e.ObjectRef.Resource)
	})
	b.Must(err)
	count := map[string]int{}
	for _, e := range events {
		count[e.Verb+" "+e.ObjectRef.Resource]++
	}
	return count
}

// counted demands how much the ADDs of pods read, once one such pod has started the watches.
func (b *claimBench) counted(mode cluster.Mode) {
	b.Helper()
	warm := b.Pod("warm", of("one"), cluster.Networks("nic"))
	b.mustHave(warm, "net0")
	b.remove(warm)
	one, two := map[string]int{}, map[string]int{"get pods": 1, "get resourceclaims": 1}
	if mode == cluster.Alone {
		one["list resourceslices"], two["list resourceslices"] = 1, 1
	}
	b.reads("counted-one", one, "one", "nic", "net0")
	b.reads("counted-two", two, "two", "nic, nic", "net0", "net1")
}

func (b *claimBench) reads(name string, want map[string]int, template, networks string, interfaces ...string) {
	b.Helper()
	before := b.claimReads()
	p := b.Pod(name, of(template), cluster.Networks(networks)).AwaitReady()
	more := map[string]int{}
	for what, n := range b.claimReads() {
		if n > before[what] {
			more[what] = n - before[what]
		}
	}
	b.Logf("pod %s: its ADD read %v", name, more)
	if diff := cmp.Diff(want, more); diff != "" {
		b.Errorf("pod %s: reads of its ADD (-want +got):\n%s", name, diff)
	}
	b.mustHave(p, interfaces...)
	b.remove(p)
}

// linkOf gives the link of a device that a claim allocates.
func linkOf(a *types.Attachment) string {
	if a.Claimed == nil {
		return "a device of no claim"
	}
	return strings.TrimPrefix(a.Claimed.Name, "dev-")
}

// afterAgent kills the agent while a pod has a device: that pod keeps it, and new ones get theirs.
func (b *claimBench) afterAgent() {
	b.Helper()
	before := b.Pod("before-kill", of("one"), cluster.Networks("nic"))
	b.mustHave(before, "net0")
	b.Await("an agent to kill", func() error { return b.node.KillProcess("/opt/plexus/bin/plexus-agent serve") })
	during := b.Pod("during", of("two"), cluster.Networks("nic, nic"))
	b.mustHave(during, "net0", "net1")
	b.Must(b.AwaitAgents(b.Context()))
	after := b.Pod("after-kill", of("one"), cluster.Networks("nic"))
	b.mustHave(after, "net0")
	b.mustHave(before, "net0")
	b.remove(before, during, after)
}
