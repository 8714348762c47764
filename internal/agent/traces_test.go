package agent

import (
	"bytes"
	"context"
	"encoding/hex"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	collectorpb "go.opentelemetry.io/proto/otlp/collector/trace/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"
	"google.golang.org/protobuf/proto"

	"github.com/plexus-cni/plexus/internal/test/check"
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
	// resource has the attributes of the resource.
	resource map[string]string
	received int // spans
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
				c.received++
			}
		}
	}
	w.WriteHeader(c.status)
}

// exporting makes traces that export at once, until the test ends.
func exporting(t *testing.T) *traces {
	t.Helper()
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "1")
	traces, err := newTraces("node-1", newMetrics(), noLog())
	check.Must(t, err)
	t.Cleanup(traces.stop)
	return traces
}

// awaitTraced waits until so many calls came to an end of their export.
func (t *traces) awaitTraced(tb testing.TB, outcome string, calls float64) {
	tb.Helper()
	check.Eventually(tb, "the calls to be "+outcome, patience, func() error {
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
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "3") // room for one of them
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

// While a collector hangs, calls that do not fit are dropped whole and counted. add never waits.
func TestTracesDropped(t *testing.T) {
	c := newCollector(t, http.StatusOK)
	c.mu.Lock() // it does not answer
	t.Setenv("OTEL_BSP_MAX_QUEUE_SIZE", "20")
	t.Setenv("OTEL_BSP_MAX_EXPORT_BATCH_SIZE", "5")
	traces := exporting(t)
	const fit = 20 / 3 // calls, of three spans each
	for range fit + 3 {
		traces.add(&types.Pod{}, testCall())
	}
	if err := wantValue(t, traces.metrics, 3, "plexus_traced_calls_total", "outcome", "dropped"); err != nil {
		t.Error(err)
	}
	c.mu.Unlock()
	traces.awaitTraced(t, "ok", fit)
	for range fit { // there is room again, for as many
		traces.add(&types.Pod{}, testCall())
	}
	traces.awaitTraced(t, "ok", 2*fit)
	c.mu.Lock()
	defer c.mu.Unlock()
	if want := 3 * 2 * fit; c.received != want {
		t.Errorf("%d spans arrived, want %d", c.received, want)
	}
}

// What waits when the agent ends is exported.
func TestTracesAreFlushed(t *testing.T) {
	c := newCollector(t, http.StatusOK)
	t.Setenv("OTEL_BSP_SCHEDULE_DELAY", "3600000")
	traces, err := newTraces("node-1", newMetrics(), noLog())
	check.Must(t, err)
	traces.add(&types.Pod{}, testCall())
	traces.stop()
	if err := wantValue(t, traces.metrics, 1, "plexus_traced_calls_total", "outcome", "ok"); err != nil {
		t.Error(err)
	}
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.received != 3 {
		t.Errorf("%d spans arrived, want 3", c.received)
	}
}

// An agent that ends does not wait for a collector that hangs.
func TestTracesEndWithoutTheCollector(t *testing.T) {
	c := newCollector(t, http.StatusOK)
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, timeout := range []string{"OTEL_EXPORTER_OTLP_TIMEOUT", "OTEL_BSP_EXPORT_TIMEOUT"} {
		t.Setenv(timeout, "3600000")
	}
	traces := exporting(t)
	traces.add(&types.Pod{}, testCall())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		traces.stop()
	}()
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("it waits for the collector")
	}
}

// The environment names the service and adds attributes to the resource.
func TestTracesResource(t *testing.T) {
	for name, test := range map[string]struct{ env, want map[string]string }{
		"defaults":      {nil, map[string]string{"service.name": "plexus", "k8s.node.name": "node-1"}},
		"a name":        {map[string]string{"OTEL_SERVICE_NAME": "cni"}, map[string]string{"service.name": "cni", "k8s.node.name": "node-1"}},
		"attributes":    {map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "a=b,k8s.node.name=n"}, map[string]string{"service.name": "plexus", "a": "b", "k8s.node.name": "n"}},
		"no attributes": {map[string]string{"OTEL_RESOURCE_ATTRIBUTES": "nonsense"}, map[string]string{"service.name": "plexus", "k8s.node.name": "node-1"}},
	} {
		t.Run(name, func(t *testing.T) {
			for key, value := range test.env {
				t.Setenv(key, value)
			}
			c := newCollector(t, http.StatusOK)
			traces := exporting(t)
			traces.add(&types.Pod{}, testCall())
			traces.awaitTraced(t, "ok", 1)
			c.mu.Lock()
			defer c.mu.Unlock()
			for key, want := range test.want {
				if got := c.resource[key]; got != want {
					t.Errorf("%s is %q, want %q", key, got, want)
				}
			}
		})
	}
}

// An exporter that cannot be set up costs the traces, not the agent.
func TestTracesNotSetUp(t *testing.T) {
	server := httptest.NewTLSServer(http.NotFoundHandler())
	defer server.Close()
	authority := filepath.Join(t.TempDir(), "ca.pem")
	check.Must(t, os.WriteFile(authority, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw}), 0o600))
	t.Setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://c:4318")
	t.Setenv("OTEL_EXPORTER_OTLP_CERTIFICATE", authority) // which plain HTTP has no use for
	if traces, err := newTraces("n", newMetrics(), noLog()); traces != nil || err != nil {
		t.Errorf("got %v, %v", traces, err)
	}
}

// Sizes that make no sense end nothing.
func TestTracesOfNoSize(t *testing.T) {
	for _, key := range []string{"OTEL_BSP_MAX_QUEUE_SIZE", "OTEL_BSP_MAX_EXPORT_BATCH_SIZE"} {
		t.Run(key, func(t *testing.T) {
			t.Setenv(key, "-1")
			if spans := spansOf(t, &types.Pod{}, testCall()); len(spans) != 3 {
				t.Errorf("%d spans, want 3", len(spans))
			}
		})
	}
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
			traces.add(&types.Pod{}, testCall()) // nil takes nothing
		})
	}
}

// uploads is an OTLP client that keeps what it is to send.
type uploads struct{ spans []*tracepb.Span }

func (*uploads) Start(context.Context) error { return nil }
func (*uploads) Stop(context.Context) error  { return nil }

func (u *uploads) UploadTraces(_ context.Context, all []*tracepb.ResourceSpans) error {
	for _, resource := range all {
		for _, scope := range resource.GetScopeSpans() {
			u.spans = append(u.spans, scope.GetSpans()...)
		}
	}
	return nil
}

// uploading makes traces of which an OTLP client keeps the spans.
func uploading(t *testing.T) (*traces, *uploads) {
	t.Helper()
	u := &uploads{}
	exporter, err := otlptrace.New(context.Background(), u)
	check.Must(t, err)
	return tracesTo(exporter, "n", newMetrics(), noLog()), u
}

// spansOf gives the spans of a call, the root last.
func spansOf(t *testing.T, pod *types.Pod, call *types.CallReport) []*tracepb.Span {
	t.Helper()
	traces, u := uploading(t)
	traces.add(pod, call)
	traces.stop()
	return u.spans
}

func TestTraceParent(t *testing.T) {
	const root, child, unsampled = "a trace of its own", "a child", "no spans"
	for header, want := range map[string]string{
		"00-" + testTrace + "-" + testParent + "-01":      child,
		"00-" + testTrace + "-" + testParent + "-03":      child,
		"01-" + testTrace + "-" + testParent + "-01-more": child, // a later version may say more
		"00-" + testTrace + "-" + testParent + "-00":      unsampled,
		"00-" + testTrace + "-" + testParent + "-02":      unsampled,
		"01-" + testTrace + "-" + testParent + "-00-more": unsampled,
		"":          root,
		"00":        root,
		"nonsense":  root,
		"00-a-b-01": root,
		"00-a-b-00": root,
		"00-" + testTrace + "-" + testParent + "-x":                root,
		"00-" + testTrace + "-" + testParent + "-0100":             root,
		"00-" + testTrace + "-" + testParent + "-00-more":          root,
		"ff-" + testTrace + "-" + testParent + "-01":               root,
		"0-" + testTrace + "-" + testParent + "-01":                root,
		"00-" + testTrace[2:] + "-" + testParent + "-01":           root,
		"00-" + testTrace + "00-" + testParent + "-01":             root,
		"00-" + testTrace + "-" + testParent[2:] + "-01":           root,
		"00-" + strings.Repeat("0", 32) + "-" + testParent + "-01": root,
		"00-" + testTrace + "-" + strings.Repeat("0", 16) + "-01":  root,
		"00-" + strings.Repeat("x", 32) + "-" + testParent + "-01": root,
		"00-" + testTrace + "-" + testParent:                       root,
	} {
		got := unsampled
		for _, span := range spansOf(t, &types.Pod{}, &types.CallReport{Command: "ADD", TraceParent: header}) {
			switch trace, parent := hex.EncodeToString(span.GetTraceId()), hex.EncodeToString(span.GetParentSpanId()); {
			case trace == testTrace && parent == testParent:
				got = child
			case trace != testTrace && parent == "" && len(trace) == 32:
				got = root
			default:
				got = "trace " + trace + ", parent " + parent
			}
		}
		if got != want {
			t.Errorf("%q makes %s, want %s", header, got, want)
		}
	}
}

// The SDK's variable chooses the sampler; without it the caller decides.
func TestSampler(t *testing.T) {
	for sampler, want := range map[string]struct{ asked, unasked int }{
		"":                       {1, 1},
		"parentbased_always_off": {1, 0},
		"always_off":             {0, 0},
	} {
		t.Setenv("OTEL_TRACES_SAMPLER", sampler)
		asked := spansOf(t, &types.Pod{}, &types.CallReport{TraceParent: "00-" + testTrace + "-" + testParent + "-01"})
		unasked := spansOf(t, &types.Pod{}, &types.CallReport{})
		if len(asked) != want.asked || len(unasked) != want.unasked {
			t.Errorf("%q: %d spans of a call with a parent and %d of one without, want %+v", sampler, len(asked), len(unasked), want)
		}
	}
}

func isID(id []byte, length int) bool {
	return len(id) == length && len(bytes.Trim(id, "\x00")) > 0
}

// FuzzTraceParent holds that whatever the runtime's environment has, the spans have IDs
// as OTLP wants them, and can be encoded.
func FuzzTraceParent(f *testing.F) {
	f.Add("00-"+testTrace+"-"+testParent+"-01", "bridge", uint8(0))
	f.Add("00-"+testTrace+"-"+testParent+"-00", "bridge", uint8(0))
	f.Add("00--", "\xff", uint8(7))
	f.Add("", "", uint8(1))
	f.Fuzz(func(t *testing.T, header, text string, code uint8) {
		call := &types.CallReport{
			Command: text, TraceParent: header, Code: uint(code), ContainerID: text, Took: types.Duration(code) - 7,
			Phases: []types.Phase{{Name: text, Plugin: text, Interface: text}},
		}
		spans := spansOf(t, &types.Pod{Name: text}, call)
		if len(spans) == 0 && len(header) >= len("00-"+testTrace+"-"+testParent+"-00") {
			return // the caller does not sample
		}
		if len(spans) != 2 || !bytes.Equal(spans[0].GetParentSpanId(), spans[1].GetSpanId()) {
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
