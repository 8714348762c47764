package k8sclient

import (
	"errors"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

func TestObjects(t *testing.T) {
	o := NewObjects()
	check.Must(t, o.Add("a.yaml", []byte(podAndNetwork)))
	check.Must(t, o.Add("b.json", []byte(`{"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "a"}, "spec": {"x": 1}}`)))
	check.Equal(t, "pods", o.Pods(), []types.Ref{ref("default", "a"), ref("ns", "p")})
	check.Equal(t, "spec", string(o.PodSpec(ref("default", "a"))), `{"x":1}`)
	check.Equal(t, "spec of none", string(o.PodSpec(ref("ns", "p"))), "")
	facts, err := o.Facts(&types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}, Networks: []types.Ref{ref("kube-system", "c")}})
	check.Must(t, err)
	want := &types.Facts{
		Pod: types.Pod{Namespace: "ns", Name: "p", UID: "u1", Annotations: map[string]string{types.AnnotationNetworks: "a, other/b, a"}},
		Networks: []types.Network{
			{Ref: ref("kube-system", "c"), Missing: true},
			{Ref: ref("ns", "a"), Config: "{\"name\": \"a\",\n\"type\": \"x\"}\n", ResourceName: "example.com/nic"},
			{Ref: ref("other", "b"), Missing: true},
		},
	}
	check.Equal(t, "facts", facts, want)
}

func TestObjectsRefused(t *testing.T) {
	o := NewObjects()
	check.Must(t, o.Add("a.yaml", []byte(podAndNetwork)))
	check.Error(t, o.Add("b.yaml", []byte(podAndNetwork)), "manifest b.yaml, document 2: Pod ns/p is defined already, in manifest a.yaml, document 2")
	_, err := o.Facts(&types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "q"}})
	if !errors.Is(err, ErrPodNotFound) {
		t.Errorf("another pod: %v", err)
	}
	check.Error(t, err, "pod ns/q: not found: no manifest has it")
}
