package agent

import (
	"bytes"
	"context"
	"encoding/hex"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/plexus-cni/plexus/types"
)

const (
	testTrace  = "0af7651916cd43dd8448eb211c80319c"
	testParent = "b7ad6b7169203331"
)

// collector is an OTLP endpoint that keeps what it gets.
type collector struct {
	t      *testing.T
	status int
	mu     sync.Mutex
	spans  map[string]*tracepb.Span // by name
	// resource are the attributes of whoever sent them.
	resource map[string]string
}

// newCollector makes the environment name a collector, which answers with the status.
func newCollector(t *testing.T, status int) *collector {
	t.Helper()
	c := &collector{t: t, status: status, spans: map[string]*tracepb.Span{}, resource: map[string]string{}}
	server := httptest.NewServer(c)
	t.Cleanup(server.Close)
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", server.URL)
	return c
}

func (c *collector) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, err := io.ReadAll(r.Body)
	var request collectorpb.ExportTraceServiceRequest
	if err == nil {
		err = proto.Unmarshal(body, &request)
	}
	if err != nil || r.URL.Path != "/v1/traces" || r.Header.Get("Content-Type") != "application/x-protobuf" {
		c.t.Errorf("%s %s (%s): %v", r.Method, r.URL, r.Header.Get("Content-Type"), err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, resource := range request.GetResourceSpans() {
		for _, attribute := range resource.GetResource().GetAttributes() {
			c.resource[attribute.GetKey()] = attribute.GetValue().GetStringValue()
		}
		for _, scope := range resource.GetScopeSpans() {
			for _, span := range scope.GetSpans() {
				c.spans[span.GetName()] = span
			}
		}
	}
	w.WriteHeader(c.status)
}

// exporting makes traces that export until the test ends.
func exporting(t *testing.T) *traces {
	t.Helper()
	traces, err := newTraces("node-1", newMetrics(), noLog())
	must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		traces.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
	})
	return traces
}

// awaitTraced waits until so many calls came to an end of their export.
func (t *traces) awaitTraced(tb testing.TB, outcome string, calls float64) {
	tb.Helper()
	await(tb, "the calls to be "+outcome, func() error {
		return wantValue(tb, t.metrics, calls, "plexus_traced_calls_total", "outcome", outcome)
	})
}

func testCall() *types.CallReport {
	return &types.CallReport{
		Command: "ADD", ContainerID: "c1", Started: time.Unix(1000, 0), Took: types.Duration(90 * time.Millisecond),
		TraceParent: "00-" + testTrace + "-" + testParent + "-01",
		Phases: []types.Phase{
			{Name: types.PhaseFacts, After: types.Duration(time.Millisecond), Took: types.Duration(2 * time.Millisecond)},
			{Name: types.PhaseDelegate, Plugin: "bridge", Interface: "net0", After: types.Duration(10 * time.Millisecond), Took: types.Duration(80 * time.Millisecond), Code: 999},
		},
		Code: 7,
	}
}

// essence is what is certain of a span.
type essence struct {
	Trace, Parent string
	Began, Took   time.Duration // since the call began
	Failed        string
	Attributes    map[string]string
}

func essenceOf(span *tracepb.Span) essence {
	attributes := map[string]string{}
	for _, attribute := range span.GetAttributes() {
		attributes[attribute.GetKey()] = attribute.GetValue().GetStringValue()
	}
	return essence{
		Trace: hex.EncodeToString(span.GetTraceId()), Parent: hex.EncodeToString(span.GetParentSpanId()),
		Began:  time.Duration(span.GetStartTimeUnixNano()) - 1000*time.Second,
		Took:   time.Duration(span.GetEndTimeUnixNano() - span.GetStartTimeUnixNano()),
		Failed: span.GetStatus().GetMessage(), Attributes: attributes,
	}
}

func TestTracesAreExported(t *testing.T) {
	c := newCollector(t, http.StatusOK)
	traces := exporting(t)
	traces.add(&types.Pod{Namespace: "d", Name: "web", UID: "u1"}, testCall())
	traces.awaitTraced(t, "ok", 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	got := map[string]essence{}
	for name, span := range c.spans {
		got[name] = essenceOf(span)
		if len(span.GetSpanId()) != 8 {
			t.Errorf("span %s has the ID %x", name, span.GetSpanId())
		}
	}
	root := hex.EncodeToString(c.spans["CNI ADD"].GetSpanId())
	want := map[string]essence{
		"CNI ADD": {
			Trace: testTrace, Parent: testParent, Took: 90 * time.Millisecond, Failed: "CNI code 7",
			Attributes: map[string]string{"k8s.namespace.name": "d", "k8s.pod.name": "web", "k8s.pod.uid": "u1", "container.id": "c1"},
		},
		"facts": {Trace: testTrace, Parent: root, Began: time.Millisecond, Took: 2 * time.Millisecond, Attributes: map[string]string{}},
		"delegate bridge": {
			Trace: testTrace, Parent: root, Began: 10 * time.Millisecond, Took: 80 * time.Millisecond, Failed: "CNI code 999",
			Attributes: map[string]string{"cni.plugin": "bridge", "cni.interface": "net0"},
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("spans (-want +got):\n%s", diff)
	}
	if c.resource["service.name"] != "plexus" || c.resource["k8s.node.name"] != "node-1" {
		t.Errorf("they are of %v", c.resource)
	}
}

// A caller that does not sample its trace gets no spans; one that says nothing does.
func TestTracesNotSampled(t *testing.T) {
	c := newCollector(t, http.StatusOK)
	traces := exporting(t)
	unsampled := testCall()
	unsampled.TraceParent = strings.TrimSuffix(unsampled.TraceParent, "1") + "0"
	unsampled.Command = "DEL"
	traces.add(&types.Pod{}, unsampled)
	unasked := testCall()
	unasked.TraceParent = ""
	traces.add(&types.Pod{}, unasked)
	traces.awaitTraced(t, "ok", 1)
	c.mu.Lock()
	defer c.mu.Unlock()
	root := c.spans["CNI ADD"]
	if c.spans["CNI DEL"] != nil || root == nil || len(root.GetParentSpanId()) != 0 || len(root.GetTraceId()) != 16 {
		t.Errorf("spans: %v", c.spans)
	}
}

func TestTracesThatNobodyTakes(t *testing.T) {
	newCollector(t, http.StatusBadRequest)
	traces := exporting(t)
	traces.add(&types.Pod{}, testCall())
	traces.awaitTraced(t, "error", 1)
}

// A collector that is slow costs traces, and nobody any time.
func TestTracesDropped(t *testing.T) {
	newCollector(t, http.StatusOK)
	traces, err := newTraces("node-1", newMetrics(), noLog()) // does not run
	must(t, err)
	for range maxWaitingTraces + 3 {
		traces.add(&types.Pod{}, testCall())
	}
	traces.awaitTraced(t, "dropped", 3)
}

func TestTracesConfigured(t *testing.T) {
	for name, test := range map[string]struct {
		env   map[string]string
		there bool
		fault string
	}{
		"no endpoint":         {},
		"an endpoint":         {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, there: true},
		"of traces":           {env: map[string]string{"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, there: true},
		"the right protocol":  {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_EXPORTER_OTLP_PROTOCOL": "http/protobuf"}, there: true},
		"grpc":                {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}, fault: `"grpc" is not supported, only http/protobuf is`},
		"grpc for traces":     {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "grpc"}, fault: `"grpc"`},
		"traces count more":   {env: map[string]string{"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4317", "OTEL_EXPORTER_OTLP_PROTOCOL": "grpc", "OTEL_EXPORTER_OTLP_TRACES_PROTOCOL": "http/protobuf"}, there: true},
		"grpc to nobody here": {env: map[string]string{"OTEL_EXPORTER_OTLP_PROTOCOL": "grpc"}},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range test.env {
				t.Setenv(key, value)
			}
			traces, err := newTraces("n", newMetrics(), noLog())
			if (traces != nil) != test.there || (err == nil) != (test.fault == "") || err != nil && !strings.Contains(err.Error(), test.fault) {
				t.Errorf("got %v, %v, want there %v, fault %q", traces, err, test.there, test.fault)
			}
			traces.add(&types.Pod{}, testCall()) // nil takes nothing, and nobody notices
		})
	}
}

func TestTraceOf(t *testing.T) {
	for header, known := range map[string]bool{
		"00-" + testTrace + "-" + testParent + "-01":      true,
		"01-" + testTrace + "-" + testParent + "-01-more": true, // a later version may say more
		"":   false,
		"00": false,
		"ff-" + testTrace + "-" + testParent + "-01":               false,
		"0-" + testTrace + "-" + testParent + "-01":                false,
		"00-" + testTrace[2:] + "-" + testParent + "-01":           false,
		"00-" + testTrace + "00-" + testParent + "-01":             false,
		"00-" + testTrace + "-" + testParent[2:] + "-01":           false,
		"00-" + strings.Repeat("0", 32) + "-" + testParent + "-01": false,
		"00-" + testTrace + "-" + strings.Repeat("0", 16) + "-01":  false,
		"00-" + strings.Repeat("x", 32) + "-" + testParent + "-01": false,
		"00-" + testTrace + "-" + testParent:                       false,
	} {
		trace, parent := traceOf(header)
		if known && (hex.EncodeToString(trace) != testTrace || hex.EncodeToString(parent) != testParent) {
			t.Errorf("%q: trace %x, parent %x", header, trace, parent)
		}
		if !known && (len(trace) != 16 || parent != nil || hex.EncodeToString(trace) == testTrace) {
			t.Errorf("%q: trace %x, parent %x, want a new one", header, trace, parent)
		}
	}
}

func TestSampled(t *testing.T) {
	for header, want := range map[string]bool{
		"": true, "nonsense": true, "00-a-b-01": true, "00-a-b-03": true, "00-a-b-00": false, "00-a-b-02": false,
		"00-a-b-x": true, "00-a-b-0100": true, "00-a-b-00-more": false,
	} {
		if got := sampled(header); got != want {
			t.Errorf("sampled(%q) is %v", header, got)
		}
	}
}

// FuzzTraceParent holds that whatever the runtime's environment has, the spans have IDs
// as OTLP wants them, and can be encoded.
func FuzzTraceParent(f *testing.F) {
	f.Add("00-"+testTrace+"-"+testParent+"-01", "bridge", uint8(0))
	f.Add("00--", "\xff", uint8(7))
	f.Add("", "", uint8(1))
	f.Fuzz(func(t *testing.T, header, text string, code uint8) {
		sampled(header)
		call := &types.CallReport{
			Command: text, TraceParent: header, Code: uint(code), ContainerID: text, Took: types.Duration(code) - 7,
			Phases: []types.Phase{{Name: text, Plugin: text, Interface: text}},
		}
		spans := (&tracedCall{types.Pod{Name: text}, call}).spans()
		if len(spans) != 2 || !bytes.Equal(spans[1].GetParentSpanId(), spans[0].GetSpanId()) {
			t.Fatalf("spans: %v", spans)
		}
		for _, span := range spans {
			if !isID(span.GetTraceId(), 16) || !isID(span.GetSpanId(), 8) || len(span.GetParentSpanId()) > 0 && !isID(span.GetParentSpanId(), 8) {
				t.Errorf("IDs of %v", span)
			}
			if _, err := proto.Marshal(span); err != nil {
				t.Error(err)
			}
		}
	})
}
