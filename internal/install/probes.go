package install

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"sync"
	"time"

	"github.com/prometheus/client_golang/prometheus"
	"github.com/prometheus/client_golang/prometheus/promhttp"
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
	maxProbes   = 16
	probeTime   = 5 * time.Second
	maxHeader   = 8 << 10
	listenPause = 5 * time.Second
)

// probes serves the metrics of a follower.
type probes struct {
	address string
	ready   func() error
	metrics *metrics
	log     *slog.Logger
}

func (p *probes) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := p.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.metrics.registry, promhttp.HandlerOpts{}))
	return mux
}

// run answers until ctx ends. It tries an address that is taken again: a follower without
// metrics still follows.
func (p *probes) run(ctx context.Context) {
	for p.address != "" {
		err := p.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		p.log.Warn("no probes and no metrics for now", "address", p.address, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(listenPause):
		}
	}
}

func (p *probes) serve(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", p.address)
	if err != nil {
		return err
	}
	p.log.Info("probes and metrics", "address", listener.Addr().String())
	server := &http.Server{
		Handler: p.handler(), ReadTimeout: probeTime, WriteTimeout: probeTime, IdleTimeout: probeTime,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(p.log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() { _ = server.Close() })()
	if err := server.Serve(newBoundedListener(listener, maxProbes)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}

// boundedListener closes the connections above a number.
type boundedListener struct {
	net.Listener
	open chan struct{}
}

func newBoundedListener(listener net.Listener, most int) *boundedListener {
	return &boundedListener{listener, make(chan struct{}, most)}
}

// Accept is part of net.Listener.
func (l *boundedListener) Accept() (net.Conn, error) {
	for {
		conn, err := l.Listener.Accept()
		if err != nil {
			return nil, err
		}
		select {
		case l.open <- struct{}{}:
			return &countedConn{Conn: conn, open: l.open}, nil
		default:
			_ = conn.Close()
		}
	}
}

// countedConn is counted until it is closed.
type countedConn struct {
	net.Conn
	open chan struct{}
	once sync.Once
}

// Close is part of net.Conn.
func (c *countedConn) Close() error {
	c.once.Do(func() { <-c.open })
	return c.Conn.Close()
}
