package types

import "testing"

func TestIsStatic(t *testing.T) {
	for _, tc := range []struct {
		name        string
		annotations map[string]string
		want        bool
	}{
		{"no annotations", nil, false},
		{"from the API", map[string]string{AnnotationConfigSource: "api"}, false},
		{"from a file", map[string]string{AnnotationConfigSource: "file"}, true},
		{"from a URL", map[string]string{AnnotationConfigSource: "http"}, true},
		{"a mirror", map[string]string{AnnotationConfigMirror: "hash", AnnotationConfigSource: "api"}, true},
		{"a hash alone says nothing", map[string]string{AnnotationConfigHash: "hash"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := IsStatic(tc.annotations); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestKeepAnnotations(t *testing.T) {
	got := KeepAnnotations(map[string]string{AnnotationNetworks: "a", AnnotationDefaultNetwork: "", "secret": "s", AnnotationNetworkStatus: "[]"})
	wantEqual(t, map[string]string{AnnotationNetworks: "a", AnnotationDefaultNetwork: ""}, got)
	if got := KeepAnnotations(nil); got == nil || len(got) != 0 {
		t.Errorf("of no annotations it keeps %#v, want an empty map", got)
	}
}

func TestFactsNetwork(t *testing.T) {
	facts := Facts{Networks: []Network{
		{Ref: Ref{"a", "net"}, Config: "1"},
		{Ref: Ref{"b", "net"}, Missing: true},
	}}
	got, err := facts.Network(Ref{"b", "net"})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, &Network{Ref: Ref{"b", "net"}, Missing: true}, got)
	_, err = facts.Network(Ref{"c", "net"})
	wantError(t, err, "network c/net", "said nothing")
}

func TestSelectedRefs(t *testing.T) {
	for _, tc := range []struct {
		name             string
		networks, chosen string
		want             []Ref
	}{
		{"none", "", "", nil},
		{"in order, as often as they stand there", "b,ops/a,b", "", []Ref{{"pods", "b"}, {"ops", "a"}, {"pods", "b"}}},
		{"the default network first, from multusNamespace", "b", "master", []Ref{{"kube-system", "master"}, {"pods", "b"}}},
		{"what cannot be parsed names nothing", "b,,", "master", []Ref{{"kube-system", "master"}}},
		{"nor does a bad default", "b", "[{}]", []Ref{{"pods", "b"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := Pod{Namespace: "pods", Name: "p", Annotations: map[string]string{AnnotationNetworks: tc.networks, AnnotationDefaultNetwork: tc.chosen}}
			wantEqual(t, tc.want, pod.SelectedRefs("kube-system"))
		})
	}
}

func TestUniqueRefs(t *testing.T) {
	a, b := Ref{"ns", "a"}, Ref{"ns", "b"}
	wantEqual(t, []Ref{b, a}, UniqueRefs([]Ref{b, a, b, a, a}))
	wantEqual(t, []Ref(nil), UniqueRefs(nil))
}
