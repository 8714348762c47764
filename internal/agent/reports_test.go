package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/k8sclient/watched"
	"github.com/plexus-cni/plexus/types"
)

// newReporter makes an agent that can process reports.
func newReporter(t *testing.T, traces *traces, log *slog.Logger) *agent {
	t.Helper()
	m := newMetrics()
	events, err := newEvents(&rest.Config{Host: "http://127.0.0.1:1"}, http.DefaultClient, "n", false, m)
	check.Must(t, err)
	return &agent{
		events: events, traces: traces, metrics: m, log: log, reports: make(chan *types.PublishRequest, maxReports),
		publisher: newPublisher(newRecords(t.TempDir(), "boot", noLog()), m, noLog()),
	}
}

// ending makes an agent that ends, and processes the requests that wait.
func ending(t *testing.T, traces *traces, log *slog.Logger, requests ...*types.PublishRequest) {
	t.Helper()
	a := newReporter(t, traces, log)
	for _, request := range requests {
		a.accept(request)
	}
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	a.processReports(ctx)
}

// processed gives what an agent logs at warning and above as it processes requests.
func processed(t *testing.T, requests ...*types.PublishRequest) (lines []map[string]any) {
	t.Helper()
	var out bytes.Buffer
	ending(t, nil, slog.New(slog.NewJSONHandler(&out, &slog.HandlerOptions{Level: slog.LevelWarn})), requests...)
	for text := range strings.Lines(out.String()) {
		var line map[string]any
		check.Must(t, json.Unmarshal([]byte(text), &line))
		delete(line, "time")
		lines = append(lines, line)
	}
	return lines
}

func failedDel() *types.PublishRequest {
	return &types.PublishRequest{
		Pod: types.Pod{Namespace: "d", Name: "web"},
		Report: &types.CallReport{
			Command: "DEL", ContainerID: "c1", Code: 999, Took: types.Duration(90 * time.Millisecond), Error: "detach network d/a: bridge: out of luck",
			Phases: []types.Phase{
				{Name: types.PhaseDelegate, Plugin: "macvlan", Interface: "net1"},
				{Name: types.PhaseDelegate, Plugin: "bridge", Interface: "net0", Code: 999},
				{Name: types.PhaseDelegate, Plugin: "ptp", Interface: "eth0", Code: 11},
			},
		},
	}
}

func TestFailedCallsAreLogged(t *testing.T) {
	line := map[string]any{
		"level": "WARN", "msg": "call failed", "command": "DEL", "pod": "d/web", "sandbox": "c1", "code": 999.0, "fault": "node", "took": 90e6,
		"phase": "delegate", "plugin": "bridge", "interface": "net0", "error": "detach network d/a: bridge: out of luck",
	}
	success := failedDel()
	success.Report.Code, success.Report.Error = 0, ""
	older := &types.PublishRequest{Report: &types.CallReport{Command: "GC", Code: 100}} // plexus before reports had errors
	long := failedDel()
	long.Report.Error, long.Report.Command, long.Report.Phases = strings.Repeat("x", 2*types.MaxReportError), "EVIL", nil
	for name, test := range map[string]struct {
		requests []*types.PublishRequest
		want     []map[string]any
	}{
		"a failed DEL":     {[]*types.PublishRequest{failedDel()}, []map[string]any{line}},
		"a success":        {[]*types.PublishRequest{success, {Pod: types.Pod{Name: "p"}}}, nil},
		"without an error": {[]*types.PublishRequest{older}, []map[string]any{{"level": "WARN", "msg": "call failed", "command": "GC", "code": 100.0, "fault": "node", "took": 0.0}}},
		"a long error": {[]*types.PublishRequest{long}, []map[string]any{{
			"level": "WARN", "msg": "call failed", "command": other, "pod": "d/web", "sandbox": "c1", "code": 999.0, "fault": "node", "took": 90e6,
			"error": strings.Repeat("x", types.MaxReportError-3) + "…",
		}}},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, processed(t, test.requests...)); diff != "" {
				t.Errorf("log (-want +got):\n%s", diff)
			}
		})
	}
}

// Of many failed calls each has its line.
func TestFailedCallsAreEachLogged(t *testing.T) {
	var requests []*types.PublishRequest
	for i := range maxReports {
		request := failedDel()
		request.Report.ContainerID = fmt.Sprintf("c%d", i)
		requests = append(requests, request)
	}
	seen := map[any]int{}
	for _, line := range processed(t, requests...) {
		seen[line["sandbox"]]++
	}
	for i := range maxReports {
		if id := fmt.Sprintf("c%d", i); seen[id] != 1 {
			t.Errorf("%d lines of sandbox %s", seen[id], id)
		}
	}
}

// The spans of the last calls are exported before the agent is gone.
func TestLastCallsAreTraced(t *testing.T) {
	traces, u := uploading(t)
	ending(t, traces, noLog(), failedDel())
	if len(u.spans) != 4 {
		t.Errorf("%d spans, want 4: %v", len(u.spans), u.spans)
	}
}

func TestFirstListsAreLogged(t *testing.T) {
	var out bytes.Buffer
	logKnown(slog.New(slog.NewTextHandler(&out, nil)), map[string]watched.Size{watched.KindPods: {Objects: 3}, watched.KindNetworks: {Objects: 4}})
	if got, want := out.String(), `msg="the pods of this node and all networks are known" pods=3 networks=4`+"\n"; !strings.HasSuffix(got, want) {
		t.Errorf("got %q, want %q at the end", got, want)
	}
}
