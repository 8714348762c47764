package agent

import (
	"cmp"
	"context"
	"crypto/rand"
	"encoding/hex"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"time"

	"go.opentelemetry.io/otel/exporters/otlp/otlptrace"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	commonpb "go.opentelemetry.io/proto/otlp/common/v1"
	resourcepb "go.opentelemetry.io/proto/otlp/resource/v1"
	tracepb "go.opentelemetry.io/proto/otlp/trace/v1"

	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/types"
)

const (
	maxWaitingTraces = 512
	uploadTimeout    = 10 * time.Second
)

// traces exports the spans of calls, where an OTLP endpoint is configured in the
// environment. The calls are over by then; their plugins measured them.
type traces struct {
	client  otlptrace.Client
	waiting chan tracedCall
	node    string
	metrics *metrics
	log     *slog.Logger
}

type tracedCall struct {
	pod  types.Pod
	call *types.CallReport
}

// newTraces gives nil if no endpoint is configured.
func newTraces(node string, m *metrics, log *slog.Logger) (*traces, error) {
	if os.Getenv("OTEL_EXPORTER_OTLP_ENDPOINT") == "" && os.Getenv("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT") == "" {
		return nil, nil
	}
	protocol := cmp.Or(os.Getenv("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL"), os.Getenv("OTEL_EXPORTER_OTLP_PROTOCOL"), "http/protobuf")
	if protocol != "http/protobuf" {
		return nil, fmt.Errorf("OTEL_EXPORTER_OTLP_PROTOCOL: %q is not supported, only http/protobuf is (port 4318 of most collectors)", protocol)
	}
	return &traces{client: otlptracehttp.NewClient(), waiting: make(chan tracedCall, maxWaitingTraces), node: node, metrics: m, log: log}, nil
}

// add hands a call over to be exported. It does not wait: if the collector is slow,
// calls are dropped, and counted.
func (t *traces) add(pod *types.Pod, call *types.CallReport) {
	if t == nil || !sampled(call.TraceParent) {
		return
	}
	select {
	case t.waiting <- tracedCall{*pod, call}:
	default:
		t.metrics.spans.WithLabelValues("dropped").Inc()
	}
}

// run exports until ctx ends.
func (t *traces) run(ctx context.Context) {
	if t == nil {
		return
	}
	if err := t.client.Start(ctx); err != nil {
		t.log.Warn("no traces are exported", "error", err)
		return
	}
	for {
		select {
		case <-ctx.Done():
			return
		case first := <-t.waiting:
			spans, calls := t.gather(first)
			t.upload(ctx, spans, calls)
		}
	}
}

// gather gives the spans of a call and of all that wait behind it.
func (t *traces) gather(first tracedCall) (spans []*tracepb.Span, calls int) {
	spans = append(spans, first.spans()...)
	for calls = 1; ; calls++ {
		select {
		case next := <-t.waiting:
			spans = append(spans, next.spans()...)
		default:
			return spans, calls
		}
	}
}

func (t *traces) upload(ctx context.Context, spans []*tracepb.Span, calls int) {
	ctx, cancel := context.WithTimeout(ctx, uploadTimeout)
	defer cancel()
	err := t.client.UploadTraces(ctx, []*tracepb.ResourceSpans{{
		Resource: &resourcepb.Resource{Attributes: []*commonpb.KeyValue{
			attribute("service.name", cmp.Or(os.Getenv("OTEL_SERVICE_NAME"), "plexus")),
			attribute("service.version", version.Version),
			attribute("k8s.node.name", t.node),
		}},
		ScopeSpans: []*tracepb.ScopeSpans{{Scope: &commonpb.InstrumentationScope{Name: "plexus", Version: version.Version}, Spans: spans}},
	}})
	if err != nil {
		t.log.Warn("export traces", "calls", calls, "error", err)
	}
	t.metrics.spans.WithLabelValues(outcome(err)).Add(float64(calls))
}

// spans gives the span of a call and those of its phases.
func (c *tracedCall) spans() []*tracepb.Span {
	traceID, parent := traceOf(c.call.TraceParent)
	root := newSpan("CNI "+oneOf(verbs, c.call.Command), traceID, parent, c.call.Started, c.call.Took, c.call.Code)
	root.Kind = tracepb.Span_SPAN_KIND_SERVER
	root.Attributes = attributes(
		"k8s.namespace.name", c.pod.Namespace, "k8s.pod.name", c.pod.Name, "k8s.pod.uid", c.pod.UID, "container.id", c.call.ContainerID)
	spans := []*tracepb.Span{root}
	for _, phase := range c.call.Phases {
		name := oneOf(phases, phase.Name)
		if phase.Plugin != "" {
			name += " " + phase.Plugin
		}
		span := newSpan(name, traceID, root.SpanId, c.call.Started.Add(time.Duration(phase.After)), phase.Took, phase.Code)
		span.Attributes = attributes("cni.plugin", phase.Plugin, "cni.interface", phase.Interface)
		spans = append(spans, span)
	}
	return spans
}

func newSpan(name string, trace, parent []byte, start time.Time, took types.Duration, code uint) *tracepb.Span {
	span := &tracepb.Span{
		Name: strings.ToValidUTF8(name, "?"), TraceId: trace, SpanId: randomBytes(8), ParentSpanId: parent,
		Kind:              tracepb.Span_SPAN_KIND_INTERNAL,
		StartTimeUnixNano: uint64(max(0, start.UnixNano())),
		EndTimeUnixNano:   uint64(max(0, start.Add(time.Duration(took)).UnixNano())),
	}
	if code != 0 {
		span.Status = &tracepb.Status{Code: tracepb.Status_STATUS_CODE_ERROR, Message: fmt.Sprintf("CNI code %d", code)}
	}
	return span
}

func attribute(key, value string) *commonpb.KeyValue {
	return &commonpb.KeyValue{Key: key, Value: &commonpb.AnyValue{Value: &commonpb.AnyValue_StringValue{StringValue: strings.ToValidUTF8(value, "?")}}}
}

// attributes makes attributes of pairs, but of those without a value.
func attributes(pairs ...string) []*commonpb.KeyValue {
	var all []*commonpb.KeyValue
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all = append(all, attribute(pairs[i], pairs[i+1]))
		}
	}
	return all
}

// traceOf reads a traceparent of W3C Trace Context; without one, a trace begins here.
func traceOf(header string) (traceID, parent []byte) {
	parts := strings.Split(header, "-")
	if len(parts) >= 4 && len(parts[0]) == 2 && parts[0] != "ff" {
		traceID, errTrace := hex.DecodeString(parts[1])
		parent, errParent := hex.DecodeString(parts[2])
		if errTrace == nil && errParent == nil && isID(traceID, 16) && isID(parent, 8) {
			return traceID, parent
		}
	}
	return randomBytes(16), nil
}

func isID(id []byte, length int) bool {
	for _, b := range id {
		if b != 0 {
			return len(id) == length
		}
	}
	return false
}

// sampled tells whether the caller wants the spans: if it says nothing, who configured
// an endpoint does.
func sampled(header string) bool {
	parts := strings.Split(header, "-")
	if len(parts) < 4 {
		return true
	}
	flags, err := hex.DecodeString(parts[3])
	return err != nil || len(flags) != 1 || flags[0]&1 == 1
}

func randomBytes(n int) []byte {
	b := make([]byte, n)
	_, _ = rand.Read(b) // never fails
	return b
}
