package k8sclient

import (
	"bytes"
	"encoding/json"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"
	"unicode/utf8"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// TestEventIsACoreEvent decodes what is sent into Kubernetes' own type, which must
// know every field.
func TestEventIsACoreEvent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, s := scripted(refusal(503, "x"), answer{code: 201})
		e := types.PodEvent{Type: types.EventWarning, Reason: types.ReasonAttachFailed, Message: "m"}
		stamp := metav1.NewTime(time.Now().Truncate(time.Second))
		if err := c.Event(t.Context(), types.Pod{Namespace: "ns", Name: "p", UID: "u"}, e); err != nil {
			t.Fatal(err)
		}
		if len(s.bodies) != 2 || s.bodies[0] != s.bodies[1] {
			t.Fatalf("a repeated attempt is not the same event: %q", s.bodies)
		}
		if r := s.requests[1]; r.Method != http.MethodPost || r.URL.Path != "/base/api/v1/namespaces/ns/events" {
			t.Errorf("got %s %s", r.Method, r.URL)
		}
		decoder := json.NewDecoder(bytes.NewReader([]byte(s.bodies[1])))
		decoder.DisallowUnknownFields()
		var got corev1.Event
		if err := decoder.Decode(&got); err != nil {
			t.Fatal(err)
		}
		if !strings.HasPrefix(got.Name, "p.") {
			t.Errorf("name %q", got.Name)
		}
		got.Name = ""
		want := corev1.Event{
			TypeMeta:            metav1.TypeMeta{APIVersion: "v1", Kind: "Event"},
			ObjectMeta:          metav1.ObjectMeta{Namespace: "ns"},
			InvolvedObject:      corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "ns", Name: "p", UID: "u"},
			Type:                "Warning",
			Reason:              "NetworkAttachFailed",
			Message:             "m",
			Source:              corev1.EventSource{Component: "plexus", Host: "n1"},
			ReportingController: "plexus",
			ReportingInstance:   "n1",
			FirstTimestamp:      stamp,
			LastTimestamp:       stamp,
			Count:               1,
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEventIsBounded(t *testing.T) {
	c, _ := scripted(answer{code: 201})
	pod := types.Pod{Namespace: "ns", Name: strings.Repeat("p", 253)}
	e := c.newEvent(pod, types.PodEvent{Message: strings.Repeat("€", 400)}, time.Now())
	if len(e.Message) > 1024 || !utf8.ValidString(e.Message) || !strings.HasSuffix(e.Message, "€…") {
		t.Errorf("message of %d bytes ends in %q", len(e.Message), e.Message[len(e.Message)-8:])
	}
	if name := e.Metadata["name"]; len(name) != 253 {
		t.Errorf("name of %d characters", len(name))
	}
}

func TestEventOutcomes(t *testing.T) {
	c, s := scripted(answer{code: 409, body: `{"reason":"AlreadyExists","message":"m"}`}, answer{code: 200})
	if err := c.Event(t.Context(), types.Pod{Namespace: "ns", Name: "p"}, types.PodEvent{}); err != nil || len(s.requests) != 2 {
		t.Errorf("an event that is there already: %v after %d requests", err, len(s.requests))
	}
	c, s = scripted(answer{code: 201})
	if err := c.Event(t.Context(), types.Pod{}, types.PodEvent{}); err != nil || len(s.requests) != 0 {
		t.Errorf("an event on no pod: %v after %d attempts", err, len(s.requests))
	}
	c, _ = scripted(refusal(403, "namespace is being terminated"))
	check.Error(t, c.Event(t.Context(), types.Pod{Namespace: "ns", Name: "p"}, types.PodEvent{}), "write event on pod ns/p", "terminated")
}
