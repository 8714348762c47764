package agent

import (
	"encoding/json"
	"fmt"
	"maps"
	"math"
	"math/rand/v2"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/k8sclient/watched"
	"github.com/plexus-cni/plexus/types"
)

func wantValue(t testing.TB, m *metrics, want float64, name string, labels ...string) error {
	t.Helper()
	if got := value(t, m, name, labels...); got != want {
		return fmt.Errorf("%s %v is %v, want %v", name, labels, got, want)
	}
	return nil
}

func TestObserve(t *testing.T) {
	m := newMetrics()
	m.observe(&types.CallReport{Command: "ADD", Took: types.Duration(time.Second), Phases: []types.Phase{
		{Name: types.PhaseJournal}, {Name: types.PhaseDelegate, Plugin: "bridge"}, {Name: types.PhaseDelegate, Plugin: "bridge", Code: 999},
	}})
	m.observe(&types.CallReport{Command: "DEL", Code: 11})
	m.observe(&types.CallReport{Command: "EVIL", Code: 12345, Phases: []types.Phase{{Name: "evil", Plugin: strings.Repeat("x", maxPluginName+1)}}})
	for _, want := range [][]string{
		{"plexus_calls_total", "verb", "ADD", "outcome", "ok", "code", "0"},
		{"plexus_calls_total", "verb", "DEL", "outcome", "error", "code", "11"},
		{"plexus_calls_total", "verb", other, "outcome", "error", "code", other},
		{"plexus_failed_calls_total", "verb", "DEL", "fault", types.FaultNode},
		{"plexus_failed_calls_total", "verb", other, "fault", types.FaultNode},
		{"plexus_call_duration_seconds", "verb", "ADD", "outcome", "ok"},
		{"plexus_phase_duration_seconds", "verb", "ADD", "phase", "journal", "plugin", "", "outcome", "ok"},
		{"plexus_phase_duration_seconds", "verb", "ADD", "phase", "delegate", "plugin", "bridge", "outcome", "ok"},
		{"plexus_phase_duration_seconds", "verb", "ADD", "phase", "delegate", "plugin", "bridge", "outcome", "error"},
		{"plexus_phase_duration_seconds", "verb", other, "phase", other, "plugin", other, "outcome", "ok"},
	} {
		if err := wantValue(t, m, 1, want[0], want[1:]...); err != nil {
			t.Error(err)
		}
	}
}

// The fault is what plexus says. One that it does not say, or that is none, follows from the code.
func TestObserveFaults(t *testing.T) {
	for name, tc := range map[string]struct {
		call types.CallReport
		want string
	}{
		"a user's":             {types.CallReport{Command: "ADD", Code: 100, Fault: types.FaultUser}, types.FaultUser},
		"a network's":          {types.CallReport{Command: "ADD", Code: 7, Fault: types.FaultNetwork}, types.FaultNetwork},
		"the node's":           {types.CallReport{Command: "ADD", Code: 7, Fault: types.FaultNode}, types.FaultNode},
		"not said, code 7":     {types.CallReport{Command: "ADD", Code: 7}, types.FaultUser},
		"not said, code 999":   {types.CallReport{Command: "ADD", Code: 999}, types.FaultNode},
		"made up":              {types.CallReport{Command: "ADD", Code: 11, Fault: "x"}, types.FaultNode},
		"not said, of a DEL":   {types.CallReport{Command: "DEL", Code: 7}, types.FaultNode},
		"not said, of a CHECK": {types.CallReport{Command: "CHECK", Code: 7}, types.FaultNode},
	} {
		t.Run(name, func(t *testing.T) {
			m := newMetrics()
			m.observe(&tc.call)
			for _, fault := range types.Faults {
				want := 0.0
				if fault == tc.want {
					want = 1
				}
				if err := wantValue(t, m, want, "plexus_failed_calls_total", "verb", tc.call.Command, "fault", fault); err != nil {
					t.Error(err)
				}
			}
		})
	}
}

// A success fails of nothing, whatever a peer says of it.
func TestObserveNoFault(t *testing.T) {
	m := newMetrics()
	m.observe(&types.CallReport{Command: "ADD", Fault: types.FaultNode})
	if err := wantValue(t, m, 0, "plexus_failed_calls_total", "verb", "ADD", "fault", types.FaultNode); err != nil {
		t.Error(err)
	}
}

// A counter that alerts use is there before it counts: what is born with its first value has not
// increased, to Prometheus.
func TestAlertedCountersStartAtZero(t *testing.T) {
	families, err := newMetrics().registry.Gather()
	check.Must(t, err)
	got := map[string]int{}
	for _, family := range families {
		for _, metric := range family.GetMetric() {
			if counter := metric.GetCounter(); counter != nil && counter.GetValue() == 0 {
				got[family.GetName()]++
			}
		}
	}
	for name, want := range map[string]int{
		"plexus_calls_total":                   len(verbs), // those that succeed
		"plexus_failed_calls_total":            len(verbs) * len(types.Faults),
		"plexus_journal_missing_records_total": 1,
	} {
		if got[name] != want {
			t.Errorf("%s: %d series are 0 at the start, want %d", name, got[name], want)
		}
	}
}

// However many names a peer makes up, the number of series has a bound.
func TestObserveIsBounded(t *testing.T) {
	m, random := newMetrics(), rand.New(rand.NewPCG(1, 2))
	for i := range 1000 {
		hostile := types.CallReport{
			Command: fmt.Sprintf("C%d", i), Code: uint(random.Uint64()), Took: types.Duration(random.Int64()), TraceParent: "x", Fault: fmt.Sprintf("f%d", i),
		}
		if i%3 == 0 {
			hostile.Command = verbs[i%len(verbs)]
			hostile.Took = math.MinInt64
		}
		for j := range 20 {
			hostile.Phases = append(hostile.Phases, types.Phase{
				Name: phases[random.IntN(len(phases))], Plugin: fmt.Sprintf("p%d", i*20+j), Code: uint(j % 2), Took: types.Duration(random.Int64()),
			})
		}
		hostile.Phases[0].Plugin, hostile.Phases[0].Name = "\xff\x00", "\xff"
		m.observe(overTheWire(t, &hostile))
	}
	series := map[string]int{}
	families, err := m.registry.Gather()
	check.Must(t, err)
	for _, family := range families {
		series[family.GetName()] = len(family.GetMetric())
	}
	anyVerb, outcomes := len(verbs)+1, 2
	for name, most := range map[string]int{
		"plexus_calls_total":            anyVerb * (1 + 100 + 1), // codes 0 to 100, and the others
		"plexus_failed_calls_total":     anyVerb * len(types.Faults),
		"plexus_call_duration_seconds":  anyVerb * outcomes,
		"plexus_phase_duration_seconds": anyVerb * (len(phases) + 1) * (maxPlugins + 2) * outcomes, // those seen, none, and the others
	} {
		if got := series[name]; got == 0 || got > most {
			t.Errorf("%s has %d series, at most %d are meant to be", name, got, most)
		}
	}
	if len(m.plugins) != maxPlugins {
		t.Errorf("%d names of plugins are kept", len(m.plugins))
	}
}

// overTheWire gives a report as it comes out of a request.
func overTheWire(t *testing.T, report *types.CallReport) *types.CallReport {
	t.Helper()
	line, err := json.Marshal(types.Request{Version: types.WireVersion, Publish: &types.PublishRequest{Report: report}})
	check.Must(t, err)
	request, err := types.ParseRequest(line)
	check.Must(t, err)
	return request.Publish.Report
}

func TestGauges(t *testing.T) {
	m := newMetrics()
	m.registry.MustRegister(&gauges{
		journal: func() tally {
			return tally{complete: 3, incomplete: 2, damaged: 1, givenUp: 4, attachments: 9, bytes: 4096}
		},
		queue: func() int { return 7 },
		caches: func() map[string]watched.Size {
			return map[string]watched.Size{watched.KindPods: {Objects: 250, Synced: true}, watched.KindNetworks: {Objects: 1, Failing: true, Refused: true}}
		},
	})
	got := map[string]float64{}
	for _, labels := range [][]string{
		{"plexus_attachments"},
		{"plexus_journal_bytes"},
		{"plexus_publish_queue_length"},
		{"plexus_journal_records", "state", "complete"},
		{"plexus_journal_records", "state", "incomplete"},
		{"plexus_journal_records", "state", "unreadable"},
		{"plexus_journal_records", "state", "given_up"},
		{"plexus_cache_objects", "kind", "pods"},
		{"plexus_cache_objects", "kind", "networks"},
		{"plexus_cache_synced", "kind", "pods"},
		{"plexus_cache_synced", "kind", "networks"},
		{"plexus_cache_watch_failing", "kind", "pods"},
		{"plexus_cache_watch_failing", "kind", "networks"},
		{"plexus_cache_refused", "kind", "pods"},
		{"plexus_cache_refused", "kind", "networks"},
	} {
		got[strings.Join(labels, " ")] = value(t, m, labels[0], labels[1:]...)
	}
	want := map[string]float64{
		"plexus_attachments": 9, "plexus_journal_bytes": 4096, "plexus_publish_queue_length": 7,
		"plexus_journal_records state complete": 3, "plexus_journal_records state incomplete": 2, "plexus_journal_records state unreadable": 1,
		"plexus_journal_records state given_up": 4,
		"plexus_cache_objects kind pods":        250, "plexus_cache_objects kind networks": 1,
		"plexus_cache_synced kind pods": 1, "plexus_cache_synced kind networks": 0,
		"plexus_cache_watch_failing kind pods": 0, "plexus_cache_watch_failing kind networks": 1,
		"plexus_cache_refused kind pods": 0, "plexus_cache_refused kind networks": 1,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("gauges (-want +got):\n%s", diff)
	}
	if names := slices.Sorted(maps.Keys(got)); len(names) != len(want) {
		t.Errorf("series: %v", names)
	}
}
