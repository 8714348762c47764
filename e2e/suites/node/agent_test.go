package node

import (
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

const statusAnnotation = types.AnnotationNetworkStatus

// recorded gives the status that the journal has for a sandbox.
func (s *sandbox) recorded() string {
	s.node.t.Helper()
	record, err := journal.New(s.node.stateDir()).Read(journal.Key{ContainerID: s.ID, Network: "plexus", IfName: "eth0"})
	check.Must(s.node.t, err)
	status, err := types.FormatStatus(record.Status)
	check.Must(s.node.t, err)
	return status
}

// The agent answers from its watches, without any capability, and publishes with one
// write; a DEL asks nobody.
func TestKubeAgentAnswersAndPublishes(t *testing.T) {
	n, a := withAgent(t, true)
	if got := a.capabilities(); got != "0000000000000000" {
		t.Errorf("the agent has capabilities: %s", got)
	}
	pod := n.annotated("agent-two")
	s := n.sandbox(pod)
	n.proxy.Forget()
	s.must("ADD")
	s.awaitStatus()
	checkStatus(t, s)
	n.awaitEvents(pod, "Normal AddedInterface", 3)
	got := map[string]int{"pod reads": n.proxy.Count(podReads), "network reads": n.proxy.Count(networkReads), "status patches": n.proxy.Count(statusPatches)}
	want := map[string]int{"pod reads": 0, "network reads": 0, "status patches": 1}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("requests of an ADD (-want +got):\n%s", diff)
	}
	s.must("CHECK")
	n.proxy.Forget()
	s.must("DEL")
	n.await("the DEL to be counted", func() error { return a.wantMetric(`plexus_calls_total{code="0",outcome="ok",verb="DEL"}`, "1") })
	if requests := n.proxy.Requests(faultproxy.Match{}); len(requests) > 0 {
		t.Errorf("a DEL asked the API server: %+v", requests)
	}
	for series, want := range map[string]string{
		`plexus_calls_total{code="0",outcome="ok",verb="ADD"}`:                                          "1",
		`plexus_calls_total{code="0",outcome="ok",verb="CHECK"}`:                                        "1",
		`plexus_phase_duration_seconds_count{outcome="ok",phase="delegate",plugin="bridge",verb="ADD"}`: "3",
		`plexus_phase_duration_seconds_count{outcome="ok",phase="journal",plugin="",verb="ADD"}`:        "1",
		`plexus_publications_total{outcome="ok"}`:                                                       "1",
		`plexus_attachments`: "0",
	} {
		n.await(series, func() error { return a.wantMetric(series, want) })
	}
	a.stop()
	n.mustBeClean()
}

// A pod that selects a network which is not there fails by its own fault, again and again, and the
// node is not blamed; nor is it for a plugin that refuses the network.
func TestKubeAgentCountsFaults(t *testing.T) {
	n, a := withAgent(t, true)
	n.annotated("faults")
	n.cluster.MakeNAD(t, kube.NAD{Namespace: "faults", Name: "refused", Config: `{"cniVersion": "1.0.0", "name": "refused", "type": "macvlan", "master": "none"}`})
	lacking, refused := n.sandbox(n.podWith("faults", "lacking", "gone")), n.sandbox(n.podWith("faults", "refused", "refused"))
	lacking.fails("ADD", types.CodeInvalidConfig, "faults/gone")
	lacking.fails("ADD", types.CodeInvalidConfig, "faults/gone")
	refused.fails("ADD", 999, "faults/refused")
	for series, want := range map[string]string{
		`plexus_failed_calls_total{fault="user",verb="ADD"}`:    "2",
		`plexus_failed_calls_total{fault="network",verb="ADD"}`: "1",
		`plexus_failed_calls_total{fault="node",verb="ADD"}`:    "0",
	} {
		n.await(series, func() error { return a.wantMetric(series, want) })
	}
	a.stop()
	n.mustBeClean()
}
