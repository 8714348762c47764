package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// withoutNetworks is a node whose pods, records and phases a test sets.
type withoutNetworks struct {
	*unattached
	known     map[string]string // annotations, as SELECTION or SELECTION|STATUS, by the name of the pod
	records   map[string]bool
	phase     map[string]bool // whether it runs
	fault     error
	blind     bool
	told      []string
	questions int
}

func newWithoutNetworks() *withoutNetworks {
	w := &withoutNetworks{records: map[string]bool{}, phase: map[string]bool{}}
	w.unattached = &unattached{
		pods: func(do func(types.Ref, k8sclient.PodObject)) {
			for name, text := range w.known {
				selection, status, _ := strings.Cut(text, "|")
				do(types.Ref{Namespace: "ns", Name: name}, k8sclient.PodObject{UID: "uid-" + name, Annotations: map[string]string{
					types.AnnotationNetworks: selection, types.AnnotationNetworkStatus: status,
				}})
			}
		},
		attached: func(ref types.Ref, _ k8sclient.PodObject) bool { return w.records[ref.Name] },
		trusted:  func() bool { return !w.blind },
		whole:    func() bool { return true },
		running: func(context.Context) (map[string]bool, error) {
			w.questions++
			running := map[string]bool{}
			for name, runs := range w.phase {
				running["uid-"+name] = runs
			}
			return running, w.fault
		},
		tell: func(pod *types.Pod) { w.told = append(w.told, pod.Name+" "+pod.UID) }, log: noLog(),
	}
	return w
}

func TestPodsWithoutTheirNetworks(t *testing.T) {
	const multus = `[{"name":"cbr0","default":true},{"name":"ns/mv","interface":"net1"}]`
	for name, tc := range map[string]struct {
		annotations string
		harm        func(w *withoutNetworks)
		want        float64
		questions   int
	}{
		"it runs without":              {"mv", nil, 1, 1},
		"in the long form":             {`[{"name":"mv"}]`, nil, 1, 1},
		"the status has a default one": {`mv|[{"name":"cbr0","default":true}]`, nil, 1, 1},
		"it selects none":              {"", nil, 0, 0},
		"it selects an empty list":     {" [] ", nil, 0, 0},
		"it has a record":              {"mv", func(w *withoutNetworks) { w.records["p"] = true }, 0, 0},
		"Multus has attached it":       {"mv|" + multus, nil, 0, 0},
		"a status that is too long":    {"mv|sha256:x", nil, 0, 0},
		"it does not run":              {"mv", func(w *withoutNetworks) { w.phase["p"] = false }, 0, 1},
		"the agent does not know yet":  {"mv", func(w *withoutNetworks) { w.blind = true }, 0, 0},
		"the journal cannot be read":   {"mv", func(w *withoutNetworks) { w.whole = func() bool { return false } }, 0, 0},
		"nobody can say what runs":     {"mv", func(w *withoutNetworks) { w.fault = errors.New("no") }, 0, 1},
	} {
		t.Run(name, func(t *testing.T) {
			w := newWithoutNetworks()
			w.known, w.phase["p"] = map[string]string{"p": tc.annotations}, true
			if tc.harm != nil {
				tc.harm(w)
			}
			m := newMetrics()
			m.registry.MustRegister(podsWithout{w.unattached})
			w.check(t.Context())
			check.Equal(t, "at first sight", value(t, m, "plexus_pods_without_networks"), 0)
			check.Equal(t, "questions at first sight", w.questions, 0)
			w.check(t.Context())
			check.Equal(t, "found", value(t, m, "plexus_pods_without_networks"), tc.want)
			check.Equal(t, "questions", w.questions, tc.questions)
			check.Equal(t, "told", float64(len(w.told)), tc.want)
		})
	}
}

// TestPodWithoutNetworksIsToldOnce: again only of another pod, also one of the same name.
func TestPodWithoutNetworksIsToldOnce(t *testing.T) {
	w := newWithoutNetworks()
	w.known = map[string]string{"p": "mv"}
	w.phase["p"], w.phase["q"] = true, true
	for range 4 {
		w.check(t.Context())
	}
	w.known["q"] = "mv"
	for range 2 {
		w.check(t.Context())
	}
	if want := []string{"p uid-p", "q uid-q"}; !slices.Equal(w.told, want) {
		t.Errorf("told %q, want %q", w.told, want)
	}
	check.Equal(t, "count", w.count.Load(), 2)
	w.known = nil
	w.check(t.Context())
	check.Equal(t, "count once they are gone", w.count.Load(), 0)
}
