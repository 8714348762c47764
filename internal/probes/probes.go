// Package probes serves probes and metrics of the commands that stay: to few connections at a
// time, and over TLS if there is a certificate.
package probes

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"time"

	"golang.org/x/net/netutil"
)

const (
	retryPause    = 5 * time.Second
	shutdownGrace = time.Second
)

// Limits bound what somebody can take who reaches the port.
type Limits struct {
	Connections int           // at a time; further ones wait
	Patience    time.Duration // for a request to arrive, and for an idle connection
	Answer      time.Duration // for an answer to be written
	Header      int           // bytes of a request
}

// Server serves on an address.
type Server struct {
	Address     string
	Handler     http.Handler
	Limits      Limits
	Certificate *Certificate // nil is plain HTTP
	Log         *slog.Logger
}

// Handler gives what a command serves: /livez, /readyz and /metrics.
func Handler(ready func() error, metrics http.Handler) http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /livez", func(w http.ResponseWriter, _ *http.Request) { fmt.Fprintln(w, "ok") })
	mux.HandleFunc("GET /readyz", func(w http.ResponseWriter, _ *http.Request) {
		if err := ready(); err != nil {
			http.Error(w, err.Error(), http.StatusServiceUnavailable)
			return
		}
		fmt.Fprintln(w, "ok")
	})
	mux.Handle("GET /metrics", metrics)
	return mux
}

// Run answers until ctx ends; without an address it does nothing. It tries an address that
// is taken again: a command without metrics still does its work.
func (s *Server) Run(ctx context.Context) {
	for s.Address != "" {
		err := s.serve(ctx)
		if ctx.Err() != nil {
			return
		}
		s.Log.Warn("no probes and no metrics for now", "address", s.Address, "error", err)
		select {
		case <-ctx.Done():
			return
		case <-time.After(retryPause):
		}
	}
}

func (s *Server) serve(ctx context.Context) error {
	listener, err := new(net.ListenConfig).Listen(ctx, "tcp", s.Address)
	if err != nil {
		return err
	}
	s.Log.Info("probes and metrics", "address", listener.Addr().String())
	listener = netutil.LimitListener(listener, s.Limits.Connections)
	if s.Certificate != nil {
		listener = tls.NewListener(listener, s.Certificate.config(s.Log))
	}
	server := &http.Server{
		Handler: s.Handler, ReadTimeout: s.Limits.Patience, IdleTimeout: s.Limits.Patience, WriteTimeout: s.Limits.Answer,
		MaxHeaderBytes: s.Limits.Header, ErrorLog: slog.NewLogLogger(s.Log.Handler(), slog.LevelDebug),
	}
	defer context.AfterFunc(ctx, func() {
		grace, cancel := context.WithTimeout(context.WithoutCancel(ctx), shutdownGrace)
		defer cancel()
		if server.Shutdown(grace) != nil {
			_ = server.Close()
		}
	})()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return err
	}
	return nil
}
