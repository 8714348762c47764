package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
	"golang.org/x/net/netutil"
)

const (
	// maxWebConnections is more than kubelet and collectors have; further ones wait.
	maxWebConnections = 32
	// webPatience is how long a connection may be idle, or its request may take to arrive.
	webPatience   = 5 * time.Second
	maxHeader     = 16 << 10 // bytes of a request
	httpTimeout   = 30 * time.Second
	listenPause   = 5 * time.Second
	shutdownGrace = time.Second
)

// httpServer serves probes and metrics.
type httpServer struct {
	address  string
	patience time.Duration // webPatience
	ready    func() error
	metrics  *metrics
	log      *slog.Logger
}

func (h *httpServer) handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := h.ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", promhttp.HandlerFor(h.metrics.registry, promhttp.HandlerOpts{MaxRequestsInFlight: 4, Timeout: httpTimeout}))
	return mux
}

// run answers until ctx ends. It tries an address that is taken again: an agent without
// metrics still serves.
func (h *httpServer) run(ctx context.Context) {
	if h.address == "" {
		return
	}
	for {
		err := h.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		h.log.Warn("no probes and no metrics for now", "address", h.address, "error", err)
		pause(ctx, listenPause)
	}
}

func (h *httpServer) serve(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", h.address)
	if err != nil {
		return err
	}
	h.log.Info("probes and metrics", "address", listener.Addr().String())
	server := &http.Server{
		Handler: h.handler(), ReadTimeout: h.patience, IdleTimeout: h.patience, WriteTimeout: httpTimeout + time.Second,
		MaxHeaderBytes: maxHeader, ErrorLog: slog.NewLogLogger(h.log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
	})()
	if err := server.Serve(netutil.LimitListener(listener, maxWebConnections)); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
