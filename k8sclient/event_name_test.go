package k8sclient

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/types"
)

// An event has one name per pod and text, so that the same event again is found, and no
// event takes the place of another's: not of an earlier pod with the same name either.
func TestEventName(t *testing.T) {
	pod := types.Pod{Namespace: "ns", Name: "web-0", UID: "u1"}
	event := types.PodEvent{Type: types.EventWarning, Reason: types.ReasonAttachFailed, Message: "m"}
	first := eventName(&pod, &event)
	for name, tc := range map[string]struct {
		change func(*types.Pod, *types.PodEvent)
		same   bool
	}{
		"nothing":         {func(*types.Pod, *types.PodEvent) {}, true},
		"the pod's UID":   {func(p *types.Pod, _ *types.PodEvent) { p.UID = "u2" }, false},
		"no UID":          {func(p *types.Pod, _ *types.PodEvent) { p.UID = "" }, false},
		"the pod's name":  {func(p *types.Pod, _ *types.PodEvent) { p.Name = "web-1" }, false},
		"the type":        {func(_ *types.Pod, e *types.PodEvent) { e.Type = types.EventNormal }, false},
		"the reason":      {func(_ *types.Pod, e *types.PodEvent) { e.Reason = types.ReasonAddedInterface }, false},
		"the message":     {func(_ *types.Pod, e *types.PodEvent) { e.Message = "n" }, false},
		"reason, message": {func(_ *types.Pod, e *types.PodEvent) { e.Reason, e.Message = e.Reason+e.Message, "" }, false},
		"annotations": {func(p *types.Pod, _ *types.PodEvent) {
			p.Annotations = map[string]string{types.AnnotationNetworks: "net"}
		}, true},
	} {
		t.Run(name, func(t *testing.T) {
			p, e := pod, event
			tc.change(&p, &e)
			second := eventName(&p, &e)
			if (first == second) != tc.same {
				t.Errorf("%s and %s", first, second)
			}
			if !strings.HasPrefix(second, p.Name+".") {
				t.Errorf("%s does not begin with the pod's name", second)
			}
		})
	}
}
