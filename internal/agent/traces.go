package agent

import (
	"cmp"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"sync/atomic"
	"time"

	"github.com/go-logr/logr"
	"go.opentelemetry.io/otel"
	"go.opentelemetry.io/otel/attribute"
	"go.opentelemetry.io/otel/codes"
	"go.opentelemetry.io/otel/exporters/otlp/otlptrace/otlptracehttp"
	"go.opentelemetry.io/otel/propagation"
	"go.opentelemetry.io/otel/sdk/resource"
	sdktrace "go.opentelemetry.io/otel/sdk/trace"
	"go.opentelemetry.io/otel/trace"

	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/types"
)

// traceGrace is for the last spans to be exported.
const traceGrace = time.Second

// traces exports the spans of calls, where an OTLP endpoint is configured in the
// environment. The calls are over by then; their plugins measured them.
type traces struct {
	provider *sdktrace.TracerProvider
	tracer   trace.Tracer
	// room is how many more spans may wait. The SDK's queue would drop single spans, and
	// count none; so a call that does not fit is dropped here as a whole.
	room    atomic.Int64
	metrics *metrics
	log     *slog.Logger
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
	if err := checkTraceFiles(); err != nil {
		return nil, err
	}
	otel.SetLogger(logr.FromSlogHandler(log.Handler()))
	otel.SetErrorHandler(otel.ErrorHandlerFunc(func(err error) { log.Warn("set up traces", "error", err) }))
	exporter, err := otlptracehttp.New(context.Background())
	if err != nil {
		log.Warn("no traces are exported", "error", err)
		return nil, nil
	}
	return tracesTo(exporter, node, m, log), nil
}

// tracesTo makes traces with an exporter. The environment sets the queue, the sampler
// and the resource, as the SDK documents it.
func tracesTo(exporter sdktrace.SpanExporter, node string, m *metrics, log *slog.Logger) *traces {
	t := &traces{metrics: m, log: log}
	// The environment comes last, so it wins. What is wrong in it, WithResource reports.
	ours, _ := resource.New(context.Background(), resource.WithTelemetrySDK(), resource.WithAttributes(
		attribute.String("service.name", "plexus"), attribute.String("service.version", version.Version), attribute.String("k8s.node.name", node),
	), resource.WithFromEnv())
	t.provider = sdktrace.NewTracerProvider(sdktrace.WithResource(ours), sdktrace.WithBatcher(&countingExporter{exporter, t}, t.setRoom))
	t.tracer = t.provider.Tracer("plexus", trace.WithInstrumentationVersion(version.Version))
	return t
}

// setRoom reads the size of the SDK's queue. The SDK panics on negative sizes, which the
// environment may have.
func (t *traces) setRoom(o *sdktrace.BatchSpanProcessorOptions) {
	if o.MaxExportBatchSize < 1 { // the queue is never smaller than a batch
		t.log.Warn("OTEL_BSP_MAX_QUEUE_SIZE and OTEL_BSP_MAX_EXPORT_BATCH_SIZE must be above 0; the defaults are used")
		o.MaxQueueSize, o.MaxExportBatchSize = sdktrace.DefaultMaxQueueSize, sdktrace.DefaultMaxExportBatchSize
	}
	t.room.Store(int64(o.MaxQueueSize))
}

// add makes the spans of a call, to be exported. It does not wait: if the collector is
// slow, calls are dropped, and counted.
func (t *traces) add(pod *types.Pod, call *types.CallReport) {
	if t == nil {
		return
	}
	ctx := propagation.TraceContext{}.Extract(context.Background(), propagation.MapCarrier{"traceparent": call.TraceParent})
	ctx, root := t.tracer.Start(ctx, "CNI "+oneOf(verbs, call.Command), trace.WithTimestamp(call.Started),
		trace.WithSpanKind(trace.SpanKindServer), attributes("k8s.namespace.name", pod.Namespace, "k8s.pod.name", pod.Name,
			"k8s.pod.uid", pod.UID, "container.id", call.ContainerID))
	if !root.IsRecording() {
		return // the caller does not sample this trace
	}
	spans := int64(1 + len(call.Phases))
	if t.room.Add(-spans) < 0 {
		t.room.Add(spans)
		t.metrics.spans.WithLabelValues("dropped").Inc()
		return
	}
	for i := range call.Phases {
		t.addPhase(ctx, call.Started, &call.Phases[i])
	}
	end(root, call.Started, call.Took, call.Code)
}

func (t *traces) addPhase(ctx context.Context, callStarted time.Time, phase *types.Phase) {
	name := oneOf(phases, phase.Name)
	if phase.Plugin != "" {
		name += " " + strings.ToValidUTF8(phase.Plugin, "?")
	}
	started := callStarted.Add(time.Duration(phase.After))
	_, span := t.tracer.Start(ctx, name, trace.WithTimestamp(started), attributes("cni.plugin", phase.Plugin, "cni.interface", phase.Interface))
	end(span, started, phase.Took, phase.Code)
}

// end ends a span, which hands it over to be exported.
func end(span trace.Span, started time.Time, took types.Duration, code uint) {
	if code != 0 {
		span.SetStatus(codes.Error, fmt.Sprintf("CNI code %d", code))
	}
	span.End(trace.WithTimestamp(started.Add(time.Duration(took))))
}

// attributes makes attributes of pairs, but of those without a value.
func attributes(pairs ...string) trace.SpanStartEventOption {
	var all []attribute.KeyValue
	for i := 0; i+1 < len(pairs); i += 2 {
		if pairs[i+1] != "" {
			all = append(all, attribute.String(pairs[i], strings.ToValidUTF8(pairs[i+1], "?")))
		}
	}
	return trace.WithAttributes(all...)
}

// stop exports what waits, for a moment.
func (t *traces) stop() {
	if t == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), traceGrace)
	defer cancel()
	if err := t.provider.Shutdown(ctx); err != nil {
		t.log.Warn("the last traces are lost", "error", err)
	}
}

// countingExporter counts the calls whose spans are exported, and gives their room back.
type countingExporter struct {
	sdktrace.SpanExporter
	traces *traces
}

// ExportSpans exports a batch. Its errors are logged and counted here, so none is given.
func (e *countingExporter) ExportSpans(ctx context.Context, spans []sdktrace.ReadOnlySpan) error {
	err := e.SpanExporter.ExportSpans(ctx, spans)
	calls := 0
	for _, span := range spans {
		if span.SpanKind() == trace.SpanKindServer {
			calls++
		}
	}
	e.traces.room.Add(int64(len(spans)))
	if err != nil {
		e.traces.log.Warn("export traces", "calls", calls, "error", err)
	}
	e.traces.metrics.spans.WithLabelValues(outcome(err)).Add(float64(calls))
	return nil
}
