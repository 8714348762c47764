package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
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

// serveWeb serves until the test ends, and gives the address.
func serveWeb(t *testing.T, h *httpServer) string {
	t.Helper()
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	check.Must(t, err)
	h.address, h.metrics, h.log = listener.Addr().String(), newMetrics(), noLog()
	check.Must(t, listener.Close())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		h.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	check.Eventually(t, "the server", patience, func() error {
		conn, err := net.Dial("tcp", h.address)
		if err == nil {
			err = conn.Close()
		}
		return err
	})
	return h.address
}

// Everybody on the machine may reach the port: more connections than there should be wait,
// and take no memory.
func TestHealthBoundsConnections(t *testing.T) {
	const clients = maxWebConnections + 20
	release := make(chan struct{})
	var inside, most atomic.Int32
	address := serveWeb(t, &httpServer{patience: time.Minute, ready: func() error {
		most.Store(max(most.Load(), inside.Add(1)))
		defer inside.Add(-1)
		<-release
		return nil
	}})
	answered := make(chan error)
	for range clients {
		go func() {
			client := &http.Client{Transport: &http.Transport{DisableKeepAlives: true}, Timeout: patience}
			response, err := client.Get("http://" + address + "/readyz")
			if err == nil {
				err = response.Body.Close()
			}
			answered <- err
		}()
	}
	check.Eventually(t, "as many as may be", patience, func() error {
		if got := inside.Load(); got != maxWebConnections {
			return fmt.Errorf("%d are being answered", got)
		}
		return nil
	})
	close(release)
	for range clients {
		check.Must(t, <-answered)
	}
	if got := most.Load(); got > maxWebConnections {
		t.Errorf("%d were answered at a time", got)
	}
}

// A connection that is idle, or whose request does not arrive, is ended; a header that is
// too long is refused.
func TestHealthEndsIdleConnections(t *testing.T) {
	address := serveWeb(t, &httpServer{patience: 100 * time.Millisecond, ready: func() error { return nil }})
	dial := func(text string) net.Conn {
		conn, err := net.Dial("tcp", address)
		check.Must(t, err)
		t.Cleanup(func() { _ = conn.Close() })
		check.Must(t, conn.SetDeadline(time.Now().Add(patience)))
		_, err = io.WriteString(conn, text)
		check.Must(t, err)
		return conn
	}
	for name, text := range map[string]string{
		"that says nothing":           "",
		"of half a header":            "GET /readyz HTTP/1.1\r\nHost: x\r\nX-",
		"of a body that never comes":  "POST /readyz HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n",
		"that was answered":           "GET /readyz HTTP/1.1\r\nHost: x\r\n\r\n",
		"whose header is too long":    "GET /readyz HTTP/1.1\r\nHost: x\r\nX: " + strings.Repeat("x", 2*maxHeader),
		"that asks for something odd": "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
	} {
		answer, err := io.ReadAll(dial(text))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("a connection %s goes on: %q", name, answer)
		}
		if want := map[string]string{"that was answered": " 200 OK", "whose header is too long": " 431 "}[name]; !strings.Contains(string(answer), want) {
			t.Errorf("a connection %s: %q, %v", name, answer, err)
		}
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
	h := &httpServer{address: address, patience: webPatience, metrics: newMetrics(), log: noLog(), ready: func() error {
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
