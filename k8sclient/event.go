package k8sclient

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"time"

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

// Event puts an event on a pod. One of a pod that is not known is dropped.
func (c *Client) Event(ctx context.Context, pod types.Pod, e types.PodEvent) error {
	if !pod.Known() {
		return nil
	}
	body, err := json.Marshal(c.newEvent(pod, e, time.Now()))
	if err != nil {
		return fmt.Errorf("event on pod %s: %w", &pod, err)
	}
	_, err = c.do(ctx, &call{
		what: "write event on pod " + pod.String(), method: http.MethodPost,
		path:        []string{"api", "v1", "namespaces", pod.Namespace, "events"},
		contentType: "application/json", body: body,
	})
	if alreadyExists(err) {
		return nil
	}
	return coded(err)
}

func (c *Client) newEvent(pod types.Pod, e types.PodEvent, now time.Time) *event {
	involved := map[string]string{"apiVersion": "v1", "kind": kindPod, "namespace": pod.Namespace, "name": pod.Name}
	if pod.UID != "" {
		involved["uid"] = pod.UID
	}
	suffix := "." + strconv.FormatInt(now.UnixNano(), 16)
	name := pod.Name[:min(len(pod.Name), maxObjectName-len(suffix))] + suffix
	stamp := now.UTC().Format(time.RFC3339)
	return &event{
		APIVersion: "v1", Kind: "Event",
		Metadata:       map[string]string{"namespace": pod.Namespace, "name": name},
		InvolvedObject: involved,
		Type:           e.Type, Reason: e.Reason, Message: shorten(e.Message, maxEventMessage),
		Source:             map[string]string{"component": component, "host": c.nodeName},
		ReportingComponent: component, ReportingInstance: c.nodeName,
		FirstTimestamp: stamp, LastTimestamp: stamp, Count: 1,
	}
}

// shorten cuts a message to at most limit bytes and shows that it did.
func shorten(message string, limit int) string {
	const cut = "…"
	if len(message) <= limit {
		return message
	}
	return strings.ToValidUTF8(message[:limit-len(cut)], "") + cut
}
