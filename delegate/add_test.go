package delegate

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// A source that answers for another pod than it was asked for is not believed.
func TestAddRefusesFactsOfAnotherPod(t *testing.T) {
	for name, change := range map[string]func(*specNode){
		"name":      func(n *specNode) { n.source.facts.Pod.Name = "other" },
		"namespace": func(n *specNode) { n.source.facts.Pod.Namespace = "other" },
	} {
		t.Run(name, func(t *testing.T) {
			n := newSpecNode(t, "")
			change(n)
			_, err := n.engine.Add(t.Context(), n.call)
			if err == nil || !strings.Contains(err.Error(), "pod default/web: the source of facts answered for pod") {
				t.Errorf("got %v", err)
			}
			if diff := cmp.Diff([]string(nil), n.calls(t)); diff != "" {
				t.Errorf("calls: %s", diff)
			}
		})
	}
}
