package agent

import (
	"context"
	"log/slog"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"

	"github.com/plexus-cni/plexus/internal/probes"
)

const (
	// maxWebConnections is more than kubelet and collectors have; further ones wait.
	maxWebConnections = 32
	// webPatience is how long a connection may be idle, or its request may take to arrive.
	webPatience = 5 * time.Second
	maxHeader   = 16 << 10 // bytes of a request
	httpTimeout = 30 * time.Second
	listenPause = 5 * time.Second
)

// httpServer serves probes and metrics.
type httpServer struct {
	address     string
	certificate *probes.Certificate
	patience    time.Duration // webPatience
	ready       func() error
	metrics     *metrics
	readers     *readers // nil lets everybody read metrics
	log         *slog.Logger
}

func (h *httpServer) handler() http.Handler {
	metrics := promhttp.HandlerFor(h.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: httpTimeout})
	if h.readers != nil {
		metrics = h.readers.guard(metrics)
	}
	return probes.Handler(h.ready, metrics)
}

// run answers until ctx ends.
func (h *httpServer) run(ctx context.Context) {
	if h.address == "" {
		return
	}
	server := &probes.Server{
		Address: h.address, Handler: h.handler(), Certificate: h.certificate, Log: h.log,
		Limits: probes.Limits{Connections: maxWebConnections, Patience: h.patience, Answer: httpTimeout + time.Second, Header: maxHeader},
	}
	server.Run(ctx)
}
