package agent

import (
	"context"
	"errors"
	"net"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestHealth(t *testing.T) {
	unready := errors.New("networks are not known yet: apply deploy/crd.yaml")
	for name, test := range map[string]struct {
		method, path string
		ready        error
		status       int
		body         string
	}{
		"alive, not ready": {path: "/livez", ready: unready, status: http.StatusOK, body: "ok"},
		"ready":            {path: "/readyz", status: http.StatusOK, body: "ok"},
		"not ready":        {path: "/readyz", ready: unready, status: http.StatusServiceUnavailable, body: unready.Error()},
		"metrics":          {path: "/metrics", ready: unready, status: http.StatusOK, body: "plexus_build_info{"},
		"nothing else":     {path: "/debug/pprof/", status: http.StatusNotFound, body: "not found"},
		"no writing":       {method: http.MethodPost, path: "/readyz", status: http.StatusMethodNotAllowed, body: "Method Not Allowed"},
	} {
		t.Run(name, func(t *testing.T) {
			h := &httpServer{ready: func() error { return test.ready }, metrics: newMetrics(), log: noLog()}
			answer := httptest.NewRecorder()
			h.handler().ServeHTTP(answer, httptest.NewRequest(test.method, test.path, nil))
			if answer.Code != test.status || !strings.Contains(answer.Body.String(), test.body) {
				t.Errorf("got %d %q, want %d %q", answer.Code, answer.Body, test.status, test.body)
			}
		})
	}
}

// The server ends with its context, even during an answer.
func TestHealthEnds(t *testing.T) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.Must(t, err)
	address := listener.Addr().String()
	check.Must(t, listener.Close())
	asked := atomic.Bool{}
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	h := &httpServer{address: address, metrics: newMetrics(), log: noLog(), ready: func() error {
		asked.Store(true)
		<-ctx.Done()
		return nil
	}}
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.run(ctx)
	}()
	go func() {
		for !asked.Load() {
			if response, err := http.Get("http://" + address + "/readyz"); err == nil {
				_ = response.Body.Close()
			}
		}
	}()
	check.Eventually(t, "a question", patience, func() error {
		if !asked.Load() {
			return errors.New("none came")
		}
		return nil
	})
	cancel()
	select {
	case <-done:
	case <-time.After(patience):
		t.Fatal("it does not end")
	}
}

func TestHealthNowhere(t *testing.T) {
	(&httpServer{log: noLog()}).run(t.Context()) // returns at once
}
