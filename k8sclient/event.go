package k8sclient

import (
	"context"
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/http"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/plexus-cni/plexus/types"
)

const (
	component       = "plexus"
	maxEventMessage = 1 << 10 // the API server's own bound
	maxObjectName   = 253
)

// event is a core/v1 Event, as far as Plexus fills it in.
type event struct {
	APIVersion         string            `json:"apiVersion"`
	Kind               string            `json:"kind"`
	Metadata           map[string]string `json:"metadata"`
	InvolvedObject     map[string]string `json:"involvedObject"`
	Type               string            `json:"type"`
	Reason             string            `json:"reason"`
	Message            string            `json:"message"`
	Source             map[string]string `json:"source"`
	ReportingComponent string            `json:"reportingComponent"`
	ReportingInstance  string            `json:"reportingInstance"`
	FirstTimestamp     string            `json:"firstTimestamp"`
	LastTimestamp      string            `json:"lastTimestamp"`
	Count              int               `json:"count"`
}

// Event writes an event on a pod. The same event again only renews the time of the one
// that exists. An event on an unknown pod is dropped.
func (c *Client) Event(ctx context.Context, pod types.Pod, e types.PodEvent) error {
	if !pod.Known() {
		return nil
	}
	event := c.newEvent(pod, e, time.Now())
	body, err := json.Marshal(event)
	if err != nil {
		return fmt.Errorf("event on pod %s: %w", &pod, err)
	}
	_, err = c.do(ctx, &call{
		what: "write event on pod " + pod.String(), method: http.MethodPost,
		path:        []string{"api", "v1", "namespaces", pod.Namespace, "events"},
		contentType: "application/json", body: body,
	})
	if apierrors.IsAlreadyExists(err) {
		return c.repeatEvent(ctx, &pod, event)
	}
	return coded(err)
}

// repeatEvent renews the time of an event. Its count stays: nodes may write events, but
// not read them.
func (c *Client) repeatEvent(ctx context.Context, pod *types.Pod, e *event) error {
	body, err := json.Marshal(map[string]string{"lastTimestamp": e.LastTimestamp})
	if err != nil {
		return fmt.Errorf("event on pod %s: %w", pod, err)
	}
	_, err = c.do(ctx, &call{
		what: "repeat event on pod " + pod.String(), method: http.MethodPatch,
		path:        []string{"api", "v1", "namespaces", pod.Namespace, "events", e.Metadata["name"]},
		contentType: mergePatch, body: body,
	})
	return coded(err)
}

// eventName is the same for the same event on the same pod.
func eventName(pod *types.Pod, e *types.PodEvent) string {
	h := fnv.New64a()
	for _, part := range []string{pod.UID, e.Type, e.Reason, e.Message} {
		_, _ = h.Write([]byte(part + "\x00"))
	}
	suffix := fmt.Sprintf(".%016x", h.Sum64())
	return strings.TrimRight(pod.Name[:min(len(pod.Name), maxObjectName-len(suffix))], "-.") + suffix
}

func (c *Client) newEvent(pod types.Pod, e types.PodEvent, now time.Time) *event {
	involved := map[string]string{"apiVersion": "v1", "kind": kindPod, "namespace": pod.Namespace, "name": pod.Name}
	if pod.UID != "" {
		involved["uid"] = pod.UID
	}
	stamp := now.UTC().Format(time.RFC3339)
	return &event{
		APIVersion: "v1", Kind: "Event",
		Metadata:       map[string]string{"namespace": pod.Namespace, "name": eventName(&pod, &e)},
		InvolvedObject: involved,
		Type:           e.Type, Reason: e.Reason, Message: types.Shorten(e.Message, maxEventMessage),
		Source:             map[string]string{"component": component, "host": c.nodeName},
		ReportingComponent: component, ReportingInstance: c.nodeName,
		FirstTimestamp: stamp, LastTimestamp: stamp, Count: 1,
	}
}
