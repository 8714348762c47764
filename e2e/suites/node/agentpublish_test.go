package node

import (
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// journalBytes gives the content of every file of the journal.
func (n *node) journalBytes() map[string]string {
	n.t.Helper()
	files, err := filepath.Glob(n.stateDir() + "/*")
	check.Must(n.t, err)
	all := map[string]string{}
	for _, file := range files {
		content, err := os.ReadFile(file)
		check.Must(n.t, err)
		all[filepath.Base(file)] = string(content)
	}
	return all
}

// Whatever becomes of a write, the annotation comes to be what the journal says; the ADD
// does not wait for it, and nothing is written into the journal.
func TestKubeAgentPublishesThroughFaults(t *testing.T) {
	n, a := withAgent(t, true)
	n.annotated("faults")
	for name, test := range map[string]struct {
		fault faultproxy.Fault
		meets int // requests before the fault is over; 0: Times of the fault
	}{
		"outage":      {fault: faultproxy.Fault{Reset: true}, meets: 3},
		"conflict":    {fault: faultproxy.Fault{Match: statusPatches, Status: 409, Times: 3}},
		"too-many":    {fault: faultproxy.Fault{Match: statusPatches, Status: 429, RetryAfter: time.Second, Times: 1}},
		"broken":      {fault: faultproxy.Fault{Match: statusPatches, Status: 500, Times: 3}},
		"forbidden":   {fault: faultproxy.Fault{Match: statusPatches, Status: 403, Times: 2}}, // not tried again at once, but later
		"lost-answer": {fault: faultproxy.Fault{Match: statusPatches, Lose: true, Times: 1}},
	} {
		s := n.sandbox(n.podWith("faults", name, "a,b"))
		n.await("the agent to know the pod", func() error { return a.knows(n, s) })
		fault := n.proxy.Inject(test.fault)
		s.must("ADD")
		before := n.journalBytes()
		n.awaitHits(fault, max(test.meets, test.fault.Times))
		fault.Remove()
		s.awaitStatus()
		if diff := cmp.Diff(before, n.journalBytes()); diff != "" {
			t.Errorf("%s: the journal was written to (-before +after):\n%s", name, diff)
		}
		s.must("DEL")
	}
	a.stop()
	n.mustBeClean()
}

// knows is an error until the agent's watch has brought the sandbox's pod: what it would
// have to read live meets faults of its own.
func (a *agent) knows(n *node, s *sandbox) error {
	live := `plexus_facts_total{kind="pods",source="live"}`
	before := a.metric(live)
	_, err := n.ask(s)
	if after := a.metric(live); err == nil && after != before {
		err = fmt.Errorf("it was read live: %s, then %s times", before, after)
	}
	return err
}

// Somebody overwrites or removes the annotation: it is put right again, also if that was
// while no agent ran.
func TestKubeAgentPutsRight(t *testing.T) {
	n, a := withAgent(t, true)
	pod := n.annotated("putright")
	s := n.sandbox(pod)
	s.must("ADD")
	s.awaitStatus()
	for _, value := range []any{"[]", "nonsense", nil} {
		n.annotate(pod, value)
		s.awaitStatus()
	}
	a.kill()
	n.annotate(pod, `[{"name":"evil"}]`)
	a = n.startAgent(a.kubeconfig)
	s.awaitStatus()
	for name, content := range n.journalBytes() {
		if strings.Contains(content, `"`+types.EventPublished+`"`) {
			t.Errorf("%s says that it is published: %s", name, content)
		}
	}
	s.must("DEL")
	a.stop()
	n.mustBeClean()
}

// What was attached while no agent ran, and whose status could not be written, is
// published by the agent as it starts.
func TestKubeAgentPublishesWhatItFinds(t *testing.T) {
	n := newNode(t)
	n.config = testnode.Conf{"agentSocket": n.socket()}
	pod := n.annotated("found")
	s := n.sandbox(pod)
	fault := n.proxy.Inject(faultproxy.Fault{Match: statusPatches, Status: 500})
	s.must("ADD")
	n.awaitHits(fault, 1)
	if got := n.annotation(pod); got != "" {
		t.Fatalf("it was published: %s", got)
	}
	fault.Remove()
	before := n.journalBytes()
	a := n.startAgent(n.agentKubeconfig())
	s.awaitStatus()
	patches := n.patchesOf(pod)
	if last := patches[len(patches)-1]; last.User != "" { // only the agent has a token
		t.Errorf("it was written by %s", last.User)
	}
	if diff := cmp.Diff(before, n.journalBytes()); diff != "" {
		t.Errorf("the journal was written to (-before +after):\n%s", diff)
	}
	s.must("DEL")
	a.stop()
	n.mustBeClean()
}

// The records of another boot tell nothing of what is attached now.
func TestKubeAgentAfterNodeRestart(t *testing.T) {
	n, a := withAgent(t, true)
	n.annotated("restart")
	dead, living := n.sandbox(n.podWith("restart", "dead", "a")), n.sandbox(n.podWith("restart", "living", "a"))
	for _, s := range []*sandbox{dead, living} {
		s.must("ADD")
		s.awaitStatus()
	}
	a.kill()
	record := filepath.Join(n.stateDir(), dead.ID+"@plexus@eth0.jsonl")
	content, err := os.ReadFile(record)
	check.Must(t, err)
	boot, err := os.ReadFile("/proc/sys/kernel/random/boot_id")
	check.Must(t, err)
	changed := strings.Replace(string(content), strings.TrimSpace(string(boot)), "00000000-0000-0000-0000-000000000000", 1)
	if changed == string(content) {
		t.Fatalf("the record has no boot ID: %s", content)
	}
	check.Must(t, os.WriteFile(record, []byte(changed), 0o600))
	n.annotate(dead.pod, nil)
	n.annotate(living.pod, nil)
	n.proxy.Forget()
	a = n.startAgent(a.kubeconfig)
	a.awaitReady()
	living.awaitStatus()
	n.await("the queue to be empty", func() error { return a.wantMetric("plexus_publish_queue_length", "0") })
	if got, patches := n.annotation(dead.pod), n.patchesOf(dead.pod); got != "" || len(patches) > 0 {
		t.Errorf("of a dead sandbox it was published: %q, %+v", got, patches)
	}
	for _, s := range []*sandbox{dead, living} {
		s.must("DEL")
	}
	a.stop()
	n.mustBeClean()
}

// A pod that is gone is forgotten: what could not be written for it is not tried again.
func TestKubeAgentForgetsPodsThatAreGone(t *testing.T) {
	n, a := withAgent(t, true)
	n.annotated("gone")
	gone, other := n.sandbox(n.podWith("gone", "gone", "a")), n.sandbox(n.podWith("gone", "other", "a"))
	fault := n.proxy.Inject(faultproxy.Fault{Match: statusPatches, Status: 403})
	gone.must("ADD")
	n.awaitHits(fault, 3)
	known := a.metric(`plexus_cache_objects{kind="pods"}`)
	n.deletePod(gone.pod)
	n.await("the agent to know", func() error {
		if a.metric(`plexus_cache_objects{kind="pods"}`) == known {
			return errors.New("it knows as many pods as before")
		}
		return nil
	})
	fault.Remove()
	tried := len(n.patchesOf(gone.pod))
	// The pauses between the tries that there were are below 2 s.
	for began := time.Now(); time.Since(began) < 4*time.Second; {
		other.must("ADD")
		other.awaitStatus()
		other.must("DEL")
		n.annotate(other.pod, nil)
	}
	// One may have been under way.
	if now := len(n.patchesOf(gone.pod)); now > tried+1 {
		t.Errorf("it was tried %d times, and then %d times more", tried, now-tried)
	}
	n.await("the queue to be empty", func() error { return a.wantMetric("plexus_publish_queue_length", "0") })
	gone.must("DEL")
	a.stop()
	n.mustBeClean()
}

// Of two sandboxes of one pod the newest that is complete is published, and the older one
// again once that has gone.
func TestKubeAgentTwoSandboxesOfOnePod(t *testing.T) {
	n, a := withAgent(t, true)
	pod := n.annotated("twice")
	older, newer, failed := n.sandboxOf(pod, "sb-older"), n.sandboxOf(pod, "sb-newer"), n.sandboxOf(pod, "sb-failed")
	older.must("ADD")
	older.awaitStatus()
	newer.must("ADD")
	newer.awaitStatus()
	broken := failed.Path
	failed.Path = "/run/netns/none"
	if out := failed.call("ADD"); out.Err == nil {
		t.Fatal("an ADD without a namespace succeeded")
	}
	failed.Path = broken
	newer.awaitStatus()
	newer.must("DEL")
	older.awaitStatus()
	newer.must("ADD")
	newer.awaitStatus()
	older.must("DEL")
	newer.awaitStatus()
	newer.must("DEL")
	failed.must("DEL")
	a.stop()
	n.mustBeClean()
}

// The mirror of a static pod gets its status, whether it is there at the ADD or comes
// later.
func TestKubeAgentStaticPods(t *testing.T) {
	n, a := withAgent(t, true)
	n.annotated("static-agent")
	mirror := n.cluster.MakeMirrorPod(t, kube.Pod{Namespace: "static-agent", Name: "there", Node: n.name, Annotations: map[string]string{types.AnnotationNetworks: "a"}})
	there := n.sandbox(mirror)
	there.uid = mirror.Annotations[types.AnnotationConfigHash]
	there.must("ADD")
	there.awaitStatus()
	there.must("DEL")

	pods := n.cluster.Client().CoreV1().Pods("static-agent")
	mirror = n.cluster.MakeMirrorPod(t, kube.Pod{Namespace: "static-agent", Name: "later", Node: n.name, Annotations: map[string]string{types.AnnotationNetworks: "a"}})
	n.deletePod(mirror)
	later := n.sandbox(mirror)
	later.uid = mirror.Annotations[types.AnnotationConfigHash]
	n.handOver = true // how a static pod's annotations are known before its mirror is there
	later.must("ADD")
	again := mirror.DeepCopy()
	again.UID, again.ResourceVersion, again.Generation = "", "", 0
	_, err := pods.Create(t.Context(), again, metav1.CreateOptions{})
	check.Must(t, err)
	later.awaitStatus()
	later.must("DEL")
	n.deletePod(mirror)
	a.stop()
	n.mustBeClean()
}

// eventPatches are what the broadcaster makes of an event that comes again.
var eventPatches = faultproxy.Match{Verb: "patch", Resource: "events"}

// noisy is a plugin that says much on stderr and fails.
const noisy = `#!/bin/sh
cat >/dev/null
[ "$CNI_COMMAND" != VERSION ] || { echo '{"cniVersion":"1.0.0","supportedVersions":["1.0.0"]}'; exit 0; }
[ "$CNI_COMMAND" = ADD ] || exit 0
echo SECRET-ON-STDERR >&2
[ -e "$0.silent" ] || echo '{"cniVersion":"1.0.0","code":123,"msg":"it did not work","details":"SECRET-IN-DETAILS"}'
exit 1
`

// Events tell of an annotated pod's interfaces and of failures, repeated ones once, with
// nothing of what a plugin wrote to its log; a plain pod has none.
func TestKubeAgentEvents(t *testing.T) {
	n, a := withAgent(t, true)
	plugins := t.TempDir()
	check.Must(t, os.WriteFile(filepath.Join(plugins, "noisy"), []byte(noisy), 0o700))
	n.config["binDir"] = plugins
	pod := n.annotated("told")
	n.cluster.MakeNAD(t, kube.NAD{Namespace: "told", Name: "noisy", Config: `{"cniVersion":"1.0.0","name":"noisy","type":"noisy"}`})
	plain := n.sandbox(n.cluster.MakePod(t, kube.Pod{Namespace: "told", Name: "plain", Node: n.name}))
	plain.must("ADD")
	s := n.sandbox(pod)
	s.must("ADD")
	added := n.awaitEvents(pod, "Normal AddedInterface", 3)
	var messages []string
	for _, event := range added {
		messages = append(messages, event.Message)
	}
	if text := strings.Join(messages, "\n"); !strings.Contains(text, "eth0") || !strings.Contains(text, "net0") || !strings.Contains(text, "told/b") {
		t.Errorf("events: %s", text)
	}

	lacking := n.sandbox(n.podWith("told", "lacking", "a,nowhere"))
	for range 5 {
		lacking.fails("ADD", types.CodeInvalidConfig, "told/nowhere", "told/lacking")
	}
	n.await("one event that came five times", func() error {
		events := n.awaitEvents(lacking.pod, "Warning NetworkAttachFailed", 1)
		if len(events) != 1 || events[0].Count != 5 {
			return fmt.Errorf("%d events, the first of them %d times", len(events), events[0].Count)
		}
		if got := events[0].Message; !strings.Contains(got, "told/nowhere") || !strings.Contains(got, "code 7") {
			t.Errorf("event: %q", got)
		}
		return nil
	})
	if patches := n.proxy.Count(eventPatches); patches != 4 {
		t.Errorf("%d patches of events, want 4", patches)
	}

	failing := n.sandbox(n.podWith("told", "failing", "noisy"))
	failing.fails("ADD", 123, "it did not work")
	check.Must(t, os.WriteFile(filepath.Join(plugins, "noisy.silent"), nil, 0o600))
	if out := failing.call("ADD"); out.Err == nil {
		t.Error("a plugin that says nothing has succeeded")
	}
	for _, event := range n.awaitEvents(failing.pod, "Warning NetworkAttachFailed", 2) {
		if strings.Contains(event.Message, "SECRET") || !strings.Contains(event.Message, "told/noisy") {
			t.Errorf("event: %q", event.Message)
		}
	}
	list, err := n.cluster.Client().CoreV1().Events("told").List(t.Context(), metav1.ListOptions{})
	check.Must(t, err)
	for _, event := range list.Items {
		if event.InvolvedObject.Name == "plain" {
			t.Errorf("a plain pod got an event: %s", event.Message)
		}
	}
	if creates := n.proxy.Count(eventWrites); creates != 3+1+2 {
		t.Errorf("%d events were created, want %d", creates, 3+1+2)
	}
	for _, s := range []*sandbox{plain, s, lacking, failing} {
		s.must("DEL")
	}
	a.stop()
	n.mustBeClean()
}

func TestKubeAgentEventsForAllPods(t *testing.T) {
	n, a := withAgent(t, true, "--events-for-all-pods")
	pod := n.cluster.MakePod(t, kube.Pod{Namespace: "told-all", Name: "plain", Node: n.name})
	s := n.sandbox(pod)
	s.must("ADD")
	events := n.awaitEvents(pod, "Normal AddedInterface", 1)
	if !slices.ContainsFunc([]string{"eth0", "master"}, func(word string) bool { return strings.Contains(events[0].Message, word) }) {
		t.Errorf("event: %q", events[0].Message)
	}
	if events[0].Source.Component != "plexus" || events[0].Source.Host != n.name {
		t.Errorf("the event is of %+v", events[0].Source)
	}
	s.must("DEL")
	a.stop()
	n.mustBeClean()
}
