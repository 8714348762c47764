// Package deploy holds what is in the folder deploy, the manifests and the chart, against a real
// API server.
package deploy

// Metrics are those of the agent and of follow that the dashboard and the alerts may name, each with its labels.
// The buckets, sum and count of a histogram are not listed.
var Metrics = map[string][]string{
	"plexus_calls_total":                   {"verb", "outcome", "code"},
	"plexus_failed_calls_total":            {"verb", "fault"},
	"plexus_call_duration_seconds":         {"verb", "outcome"},
	"plexus_phase_duration_seconds":        {"verb", "phase", "plugin", "outcome"},
	"plexus_attachments":                   {},
	"plexus_journal_records":               {"state"},
	"plexus_journal_bytes":                 {},
	"plexus_journal_missing_records_total": {},
	"plexus_publish_queue_length":          {},
	"plexus_publications_total":            {"outcome"},
	"plexus_cache_objects":                 {"kind"},
	"plexus_cache_synced":                  {"kind"},
	"plexus_cache_watch_failing":           {"kind"},
	"plexus_cache_refused":                 {"kind"},
	"plexus_facts_total":                   {"kind", "source"},
	"plexus_events_total":                  {"outcome"},
	"plexus_connections":                   {},
	"plexus_connections_refused_total":     {"reason"},
	"plexus_traced_calls_total":            {"outcome"},
	"plexus_serving":                       {},
	"plexus_build_info":                    {"version", "commit"},
	"plexus_node_repairs_total":            {"what"},
	"plexus_node_in_use":                   {"reason"},
	"plexus_pods_without_networks":         {},
	"process_resident_memory_bytes":        {},
	"process_cpu_seconds_total":            {},
}

// Histograms are those of [Metrics] that have buckets.
var Histograms = []string{"plexus_call_duration_seconds", "plexus_phase_duration_seconds"}

// TargetLabels are those that Prometheus gives to every metric of the agent: by the ServiceMonitor,
// by itself, and where one Prometheus has the metrics of many clusters.
var TargetLabels = []string{"node", "job", "endpoint", "cluster"}
