package agent

import (
	"context"
	"fmt"
	"net/http"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	apitypes "k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/record"

	"github.com/plexus-cni/plexus/types"
)

const (
	eventComponent = "plexus"
	// One pod gets as many events at once as it may have interfaces, then one per refill.
	eventBurst     = 64
	eventRefill    = 5 * time.Minute
	eventsCombined = 32 // similar ones in ten minutes; more become one
	// eventsKnown is how many of the last events are kept, to count repeated ones: their
	// messages take memory.
	eventsKnown     = 512
	eventTimeout    = 10 * time.Second
	maxEventMessage = 1 << 10
)

// events writes events on pods. client-go's broadcaster counts repeated ones and bounds
// those of one pod.
type events struct {
	broadcaster record.EventBroadcaster
	recorder    record.EventRecorder
	forPlain    bool
	metrics     *metrics
}

func newEvents(config *rest.Config, client *http.Client, node string, forPlain bool, m *metrics) (*events, error) {
	scheme := runtime.NewScheme()
	if err := corev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("make a client for events: %w", err)
	}
	core := rest.CopyConfig(config)
	core.APIPath = "/api"
	core.GroupVersion = &corev1.SchemeGroupVersion
	core.NegotiatedSerializer = serializer.NewCodecFactory(scheme).WithoutConversion()
	rester, err := rest.RESTClientForConfigAndClient(core, client)
	if err != nil {
		return nil, fmt.Errorf("make a client for events: %w", err)
	}
	broadcaster := record.NewBroadcaster(record.WithCorrelatorOptions(record.CorrelatorOptions{
		LRUCacheSize: eventsKnown, BurstSize: eventBurst, QPS: float32(1 / eventRefill.Seconds()), MaxEvents: eventsCombined,
	}))
	broadcaster.StartRecordingToSink(&eventSink{rester, m})
	return &events{
		broadcaster: broadcaster,
		recorder:    broadcaster.NewRecorder(scheme, corev1.EventSource{Component: eventComponent, Host: node}),
		forPlain:    forPlain,
		metrics:     m,
	}, nil
}

// add writes the events of a call on its pod. It does not wait.
func (e *events) add(pod *types.Pod, all []types.PodEvent) {
	if !pod.Known() {
		return
	}
	ref := &corev1.ObjectReference{
		APIVersion: "v1", Kind: "Pod", Namespace: pod.Namespace, Name: pod.Name, UID: apitypes.UID(pod.UID),
	}
	for _, event := range all {
		if event.Plain && !e.forPlain {
			continue
		}
		e.recorder.Event(ref, event.Type, event.Reason, types.Shorten(event.Message, maxEventMessage))
	}
}

// stop ends the delivery of events.
func (e *events) stop() { e.broadcaster.Shutdown() }

// eventSink writes events to the API server.
type eventSink struct {
	client  rest.Interface
	metrics *metrics
}

var _ record.EventSink = (*eventSink)(nil)

// Create makes an event.
func (s *eventSink) Create(event *corev1.Event) (*corev1.Event, error) {
	return s.do(s.client.Post().Namespace(event.Namespace).Resource("events").Body(event))
}

// Update is refused: the agent may not update events, and the broadcaster patches instead.
func (s *eventSink) Update(event *corev1.Event) (*corev1.Event, error) {
	return nil, fmt.Errorf("event %s/%s: events are patched, not updated", event.Namespace, event.Name)
}

// Patch updates an event that came again.
func (s *eventSink) Patch(event *corev1.Event, data []byte) (*corev1.Event, error) {
	return s.do(s.client.Patch(apitypes.StrategicMergePatchType).Namespace(event.Namespace).Resource("events").Name(event.Name).Body(data))
}

func (s *eventSink) do(request *rest.Request) (*corev1.Event, error) {
	ctx, cancel := context.WithTimeout(context.Background(), eventTimeout)
	defer cancel()
	written := &corev1.Event{}
	err := request.Do(ctx).Into(written)
	s.metrics.events.WithLabelValues(outcome(err)).Inc()
	return written, err
}
