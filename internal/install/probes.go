package install

import (
	"context"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/plexus-cni/plexus/internal/probes"
)

// What a follower puts back, as the label of plexus_node_repairs_total.
const (
	repairConfiguration = "configuration"
	repairExecutable    = "executable"
	repairFolder        = "folder"
)

// metrics are those of a follower.
type metrics struct {
	registry *prometheus.Registry
	repairs  *prometheus.CounterVec
	inUse    *prometheus.GaugeVec
}

// Registry gives the metrics of a follower that has done nothing yet: what documents,
// dashboards and alerts may name.
func Registry() *prometheus.Registry { return newMetrics().registry }

func newMetrics() *metrics {
	m := &metrics{registry: prometheus.NewRegistry(), repairs: prometheus.NewCounterVec(prometheus.CounterOpts{
		Name: "plexus_node_repairs_total", Help: "What was removed or changed on this node and put back.",
	}, []string{"what"}), inUse: prometheus.NewGaugeVec(prometheus.GaugeOpts{
		Name: "plexus_node_in_use", Help: "1 if this node uses Plexus as far as the reason goes.",
	}, []string{"reason"})}
	m.registry.MustRegister(m.repairs, m.inUse)
	for _, what := range []string{repairConfiguration, repairExecutable, repairFolder} {
		m.repairs.WithLabelValues(what) // 0 from the start
	}
	return m
}

// Bounds of the probes: a follower has little memory, and anybody may connect.
const (
	maxProbes = 16
	probeTime = 5 * time.Second
	maxHeader = 8 << 10
)

// serveProbes serves the probes and metrics of a follower until ctx ends.
func (i *Installer) serveProbes(ctx context.Context, certificate *probes.Certificate) {
	server := &probes.Server{
		Address: i.MetricsAddress, Certificate: certificate, Log: i.log,
		Handler: probes.Handler(i.inUse.ready, promhttp.HandlerFor(i.metrics.registry, promhttp.HandlerOpts{})),
		Limits:  probes.Limits{Connections: maxProbes, Patience: probeTime, Answer: probeTime, Header: maxHeader},
	}
	server.Run(ctx)
}
