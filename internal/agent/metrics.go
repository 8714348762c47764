package agent

import (
	"slices"
	"strconv"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/collectors"

	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/k8sclient/watched"
	"github.com/plexus-cni/plexus/types"
)

// maxPluginName and maxPlugins bound the values of the label "plugin", which peers choose.
const (
	maxPluginName = 64
	maxPlugins    = 200
	other         = "other"
)

// The known verbs and phases; any other that a peer names counts as "other".
var (
	verbs  = []string{"ADD", "DEL", "CHECK", "GC"}
	phases = []string{
		types.PhaseReady, types.PhaseFacts, types.PhasePlan, types.PhaseJournal,
		types.PhaseDelegate, types.PhaseRoutes, types.PhaseNamespace,
	}
)

// latencies are in seconds: from a millisecond to the longest ADD.
var latencies = []float64{.001, .0025, .005, .01, .025, .05, .1, .25, .5, 1, 2.5, 5, 10, 30, 60, 120}

// metrics are the metrics of /metrics.
type metrics struct {
	registry     *prometheus.Registry
	calls        *prometheus.CounterVec
	failed       *prometheus.CounterVec
	callTime     *prometheus.HistogramVec
	phaseTime    *prometheus.HistogramVec
	publications *prometheus.CounterVec
	claims       *prometheus.CounterVec
	events       *prometheus.CounterVec
	facts        *prometheus.CounterVec
	refused      *prometheus.CounterVec
	spans        *prometheus.CounterVec
	missing      *prometheus.CounterVec
	connections  prometheus.Gauge
	serving      prometheus.Gauge

	plugins map[string]bool // names seen; only observe uses it
}

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), plugins: map[string]bool{}}
	counter := func(name, help string, labels ...string) *prometheus.CounterVec {
		c := prometheus.NewCounterVec(prometheus.CounterOpts{Name: name, Help: help}, labels)
		m.registry.MustRegister(c)
		return c
	}
	gauge := func(name, help string) prometheus.Gauge {
		g := prometheus.NewGauge(prometheus.GaugeOpts{Name: name, Help: help})
		m.registry.MustRegister(g)
		return g
	}
	histogram := func(name, help string, labels ...string) *prometheus.HistogramVec {
		h := prometheus.NewHistogramVec(prometheus.HistogramOpts{Name: name, Help: help, Buckets: latencies}, labels)
		m.registry.MustRegister(h)
		return h
	}
	m.calls = counter("plexus_calls_total", "Calls of the runtime that ended, by verb, outcome and CNI code.", "verb", "outcome", "code")
	m.failed = counter("plexus_failed_calls_total", "Calls of the runtime that failed, by whose fault it is.", "verb", "fault")
	m.callTime = histogram("plexus_call_duration_seconds", "How long calls took, from the start of the plugin's work to its end.", "verb", "outcome")
	m.phaseTime = histogram("plexus_phase_duration_seconds",
		"How long parts of calls took; phase delegate is one run of one plugin.", "verb", "phase", "plugin", "outcome")
	m.publications = counter("plexus_publications_total", "Writes of network statuses to the API server.", "outcome")
	m.claims = counter("plexus_claim_publications_total", "Writes of the status of ResourceClaims to the API server.", "outcome")
	m.events = counter("plexus_events_total", "Writes of events to the API server.", "outcome")
	m.facts = counter("plexus_facts_total", "Objects that calls asked for, by where they were found.", "kind", "source")
	m.refused = counter("plexus_connections_refused_total", "Connections and requests that were refused.", "reason")
	m.spans = counter("plexus_traced_calls_total", "Calls whose spans were to be exported.", "outcome")
	m.missing = counter("plexus_journal_missing_records_total", "Records that calls reported and that are not in the folder of the journal.")
	m.startAtZero()
	m.connections = gauge("plexus_connections", "Open connections of plugins.")
	m.serving = gauge("plexus_serving", "1 if this agent answers on the socket, 0 if it waits for another one to end.")
	build := prometheus.NewGaugeVec(prometheus.GaugeOpts{Name: "plexus_build_info", Help: "Which build this is; always 1."}, []string{"version", "commit"})
	build.WithLabelValues(version.Version, version.Commit).Set(1)
	m.registry.MustRegister(build, collectors.NewGoCollector(), collectors.NewProcessCollector(collectors.ProcessCollectorOpts{}))
	return m
}

// startAtZero makes the counters that alerts compute rates of. One that is born with its first
// value has not increased.
func (m *metrics) startAtZero() {
	m.missing.WithLabelValues()
	for _, verb := range verbs {
		m.calls.WithLabelValues(verb, outcome(nil), codeLabel(0))
		for _, fault := range types.Faults {
			m.failed.WithLabelValues(verb, fault)
		}
	}
}

// outcome is the value of the label of that name.
func outcome(err error) string {
	if err != nil {
		return "error"
	}
	return "ok"
}

func outcomeOf(code uint) string {
	if code != 0 {
		return "error"
	}
	return "ok"
}

// observe counts a call. It is not safe for concurrent use.
func (m *metrics) observe(call *types.CallReport) {
	verb := oneOf(verbs, call.Command)
	m.calls.WithLabelValues(verb, outcomeOf(call.Code), codeLabel(call.Code)).Inc()
	if call.Code != 0 {
		m.failed.WithLabelValues(verb, faultOf(call)).Inc()
	}
	m.callTime.WithLabelValues(verb, outcomeOf(call.Code)).Observe(seconds(call.Took))
	for _, phase := range call.Phases {
		m.phaseTime.WithLabelValues(verb, oneOf(phases, phase.Name), m.plugin(phase.Plugin), outcomeOf(phase.Code)).Observe(seconds(phase.Took))
	}
}

// faultOf gives whose fault a failed call is. A plexus before reports said it gives the code alone.
func faultOf(call *types.CallReport) string {
	switch {
	case slices.Contains(types.Faults, call.Fault):
		return call.Fault
	case call.Command == "ADD":
		return types.FaultOfCode(call.Code)
	}
	return types.FaultNode
}

func seconds(d types.Duration) float64 { return max(0, time.Duration(d).Seconds()) }

func oneOf(known []string, name string) string {
	if slices.Contains(known, name) {
		return name
	}
	return other
}

// codeLabel gives the codes of the specification one by one, and those of plugins as one.
func codeLabel(code uint) string {
	const known = 100
	if code <= known {
		return strconv.FormatUint(uint64(code), 10)
	}
	return other
}

func (m *metrics) plugin(name string) string {
	switch {
	case name == "" || m.plugins[name]:
		return name
	case len(name) > maxPluginName || len(m.plugins) >= maxPlugins:
		return other
	}
	m.plugins[name] = true
	return name
}

// gauges are computed when metrics are collected.
type gauges struct {
	journal func() tally
	queue   func() int
	caches  func() map[string]watched.Size
}

var (
	descAttachments = prometheus.NewDesc("plexus_attachments", "Attachments that the journal holds.", nil, nil)
	descRecords     = prometheus.NewDesc("plexus_journal_records", "Records in the journal: a sandbox each.", []string{"state"}, nil)
	descBytes       = prometheus.NewDesc("plexus_journal_bytes", "Size of the journal.", nil, nil)
	descQueue       = prometheus.NewDesc("plexus_publish_queue_length", "Pods whose status is to be compared or written.", nil, nil)
	descObjects     = prometheus.NewDesc("plexus_cache_objects", "Objects that the agent has from watches.", []string{"kind"}, nil)
	descCacheBytes  = prometheus.NewDesc("plexus_cache_bytes", "Memory that the objects from watches take, at most.", []string{"kind"}, nil)
	descNotKept     = prometheus.NewDesc("plexus_cache_not_kept", "Objects that are read live each time, because they are too large to be kept.", []string{"kind"}, nil)
	descFailing     = prometheus.NewDesc("plexus_cache_watch_failing", "1 if the watch fails: what is known may be out of date.", []string{"kind"}, nil)
	descRefused     = prometheus.NewDesc("plexus_cache_refused", "1 if the API server refuses the kind to the agent: what is known is not used.", []string{"kind"}, nil)
	descSynced      = prometheus.NewDesc("plexus_cache_synced", "1 if all objects of the kind are known.", []string{"kind"}, nil)
)

// Describe is part of prometheus.Collector.
func (g *gauges) Describe(out chan<- *prometheus.Desc) {
	for _, desc := range []*prometheus.Desc{descAttachments, descRecords, descBytes, descQueue, descObjects, descCacheBytes, descNotKept, descSynced, descFailing, descRefused} {
		out <- desc
	}
}

// Collect is part of prometheus.Collector.
func (g *gauges) Collect(out chan<- prometheus.Metric) {
	gauge := func(desc *prometheus.Desc, value float64, labels ...string) {
		out <- prometheus.MustNewConstMetric(desc, prometheus.GaugeValue, value, labels...)
	}
	t := g.journal()
	gauge(descAttachments, float64(t.attachments))
	gauge(descRecords, float64(t.complete), "complete")
	gauge(descRecords, float64(t.incomplete), "incomplete")
	gauge(descRecords, float64(t.damaged), "unreadable")
	gauge(descRecords, float64(t.givenUp), "given_up")
	gauge(descBytes, float64(t.bytes))
	gauge(descQueue, float64(g.queue()))
	for kind, size := range g.caches() {
		gauge(descObjects, float64(size.Objects), kind)
		gauge(descCacheBytes, float64(size.Bytes), kind)
		gauge(descNotKept, float64(size.NotKept), kind)
		gauge(descSynced, boolValue(size.Synced), kind)
		gauge(descFailing, boolValue(size.Failing), kind)
		gauge(descRefused, boolValue(size.Refused), kind)
	}
}

// boolValue gives a condition as a number.
func boolValue(condition bool) float64 {
	if condition {
		return 1
	}
	return 0
}

var descInUse = prometheus.NewDesc("plexus_node_in_use", "1 if this node uses Plexus as far as the reason goes.", []string{"reason"}, nil)

// inUse collects the reasons that install --follow, which serves its own, cannot know.
type inUse struct{ *nodeUse }

// Describe is part of prometheus.Collector.
func (inUse) Describe(out chan<- *prometheus.Desc) { out <- descInUse }

// Collect is part of prometheus.Collector.
func (u inUse) Collect(out chan<- prometheus.Metric) {
	reasons, _ := u.inspect()
	for _, use := range reasons {
		if _, own := u.own[use.Reason]; own || use.Reason == types.UseFollower {
			out <- prometheus.MustNewConstMetric(descInUse, prometheus.GaugeValue, boolValue(use.Fault == ""), use.Reason)
		}
	}
}
