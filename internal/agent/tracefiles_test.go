package agent

import (
	"io"
	"log"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/pki"
	"github.com/plexus-cni/plexus/types"
)

// A collector whose certificate is of a private authority gets the spans only if the
// authority's file is named.
func TestTracesOverTLS(t *testing.T) {
	authority := pki.New(t)
	for name, test := range map[string]struct{ variable, file, outcome string }{
		"its authority":            {"OTEL_EXPORTER_OTLP_CERTIFICATE", authority.File(t), "ok"},
		"its authority for traces": {"OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE", authority.File(t), "ok"},
		"another authority":        {"OTEL_EXPORTER_OTLP_CERTIFICATE", pki.New(t).File(t), "error"},
		"no authority":             {"OTEL_EXPORTER_OTLP_CERTIFICATE", "", "error"},
	} {
		t.Run(name, func(t *testing.T) {
			c := newCollector(t, http.StatusOK)
			server := httptest.NewUnstartedServer(c)
			server.TLS = authority.Server(t)
			server.Config.ErrorLog = log.New(io.Discard, "", 0)
			server.StartTLS()
			t.Cleanup(server.Close)
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
			t.Setenv(test.variable, test.file)
			traces := exporting(t)
			traces.add(&types.Pod{}, testCall())
			traces.awaitTraced(t, test.outcome, 1)
			c.mu.Lock()
			defer c.mu.Unlock()
			if got := c.received > 0; got != (test.outcome == "ok") {
				t.Errorf("the collector has %d spans", c.received)
			}
		})
	}
}

// Files that cannot be used are refused, and not passed over as the SDK does.
func TestTraceFilesRefused(t *testing.T) {
	dir := t.TempDir()
	authority := pki.New(t)
	good := authority.File(t)
	certificate, key := authority.Issue(t, dir, "client")
	empty, missing := filepath.Join(dir, "empty"), filepath.Join(dir, "missing")
	check.Must(t, os.WriteFile(empty, []byte("no certificate\n"), 0o600))
	fifo := filepath.Join(dir, "fifo")
	check.Must(t, unix.Mkfifo(fifo, 0o600))
	const (
		ca, traceCA      = "OTEL_EXPORTER_OTLP_CERTIFICATE", "OTEL_EXPORTER_OTLP_TRACES_CERTIFICATE"
		client, clientID = "OTEL_EXPORTER_OTLP_CLIENT_CERTIFICATE", "OTEL_EXPORTER_OTLP_CLIENT_KEY"
	)
	for name, test := range map[string]struct {
		env   map[string]string
		fault []string
	}{
		"nothing":                      {},
		"an authority":                 {env: map[string]string{ca: good}},
		"no file":                      {map[string]string{ca: missing}, []string{ca + ": ", missing}},
		"no certificate in it":         {map[string]string{ca: empty}, []string{ca + ": ", empty, "has no certificate"}},
		"a key":                        {map[string]string{ca: key}, []string{ca + ": ", "has no certificate"}},
		"a folder":                     {map[string]string{ca: dir}, []string{ca + ": ", dir}},
		"a FIFO":                       {map[string]string{ca: fifo}, []string{ca + ": ", fifo}},
		"a client's, and a FIFO":       {map[string]string{client: certificate, clientID: fifo}, []string{client, fifo}},
		"no file for traces":           {map[string]string{ca: good, traceCA: missing}, []string{traceCA + ": ", missing}},
		"that for traces counts":       {env: map[string]string{ca: missing, traceCA: good}},
		"a client's":                   {env: map[string]string{client: certificate, clientID: key}},
		"a client's without its key":   {map[string]string{client: certificate}, []string{client, clientID, "together"}},
		"a client's key alone":         {map[string]string{clientID: key}, []string{client, clientID, "together"}},
		"a client's, and no file":      {map[string]string{client: certificate, clientID: missing}, []string{client, missing}},
		"a client's, of other content": {map[string]string{client: empty, clientID: key}, []string{client, "certificate"}},
	} {
		t.Run(name, func(t *testing.T) {
			t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "https://127.0.0.1:1")
			for key, value := range test.env {
				t.Setenv(key, value)
			}
			traces, err := newTraces("n", newMetrics(), noLog())
			if (err == nil) != (test.fault == nil) || (traces == nil) != (err != nil) {
				t.Fatalf("got %v, %v", traces, err)
			}
			for _, part := range test.fault {
				if !strings.Contains(err.Error(), part) {
					t.Errorf("got %v, want %q in it", err, part)
				}
			}
		})
	}
}
