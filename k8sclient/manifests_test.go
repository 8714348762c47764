package k8sclient

import (
	"errors"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

const podAndNetwork = `# only a comment
---
apiVersion: v1
kind: Pod
metadata: {name: p, namespace: ns, uid: u1, annotations: {k8s.v1.cni.cncf.io/networks: "a, other/b, a", secret: x}}
--- # the network
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata:
  name: a
  namespace: ns
  annotations: {k8s.v1.cni.cncf.io/resourceName: example.com/nic}
spec:
  config: |
    {"name": "a",
    "type": "x"}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: p}
spec: {config: {not: a string}}
`

func folder(t *testing.T, files map[string]string) Manifests {
	t.Helper()
	dir := t.TempDir()
	for name, content := range files {
		if err := os.WriteFile(filepath.Join(dir, name), []byte(content), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	return Manifests{Dir: dir}
}

func ref(namespace, name string) types.Ref { return types.Ref{Namespace: namespace, Name: name} }

func TestManifestsFacts(t *testing.T) {
	networkA := types.Network{Ref: ref("ns", "a"), Config: "{\"name\": \"a\",\n\"type\": \"x\"}\n", ResourceName: "example.com/nic"}
	annotations := map[string]string{types.AnnotationNetworks: "a, other/b, a"}
	for name, test := range map[string]struct {
		files   map[string]string
		request types.FactsRequest
		want    types.Facts
	}{
		"pod and its networks": {
			files:   map[string]string{"all.yaml": podAndNetwork, "notes.txt": "kind: ["},
			request: types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p", UID: "u1"}, Networks: []types.Ref{ref("sys", "x"), ref("ns", "a")}},
			want: types.Facts{
				Pod:      types.Pod{Namespace: "ns", Name: "p", UID: "u1", Annotations: annotations},
				Networks: []types.Network{{Ref: ref("sys", "x"), Missing: true}, networkA, {Ref: ref("other", "b"), Missing: true}},
			},
		},
		"the manifest's UID where the runtime gives none": {
			files:   map[string]string{"p.json": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","uid":"u1"}}`},
			request: types.FactsRequest{Pod: types.Pod{Namespace: "default", Name: "p"}},
			want:    types.Facts{Pod: types.Pod{Namespace: "default", Name: "p", UID: "u1", Annotations: map[string]string{}}},
		},
		"the runtime's annotations win": {
			files: map[string]string{"all.yml": podAndNetwork},
			request: types.FactsRequest{HasAnnotations: true, Pod: types.Pod{
				Namespace: "ns", Name: "p", Annotations: map[string]string{types.AnnotationNetworks: "ns/a"},
			}},
			want: types.Facts{
				Pod:      types.Pod{Namespace: "ns", Name: "p", UID: "u1", Annotations: map[string]string{types.AnnotationNetworks: "ns/a"}},
				Networks: []types.Network{networkA},
			},
		},
		"a static pod has another UID": {
			files: map[string]string{"p.yaml": `{apiVersion: v1, kind: Pod, metadata: {name: p, uid: m,
				annotations: {kubernetes.io/config.mirror: h}}}`},
			request: types.FactsRequest{Pod: types.Pod{Namespace: "default", Name: "p", UID: "h"}},
			want:    types.Facts{Pod: types.Pod{Namespace: "default", Name: "p", UID: "h", Static: true, Annotations: map[string]string{}}},
		},
		"lists": {
			files: map[string]string{
				"list.yaml": `{apiVersion: v1, kind: List, items: [{apiVersion: v1, kind: Pod, metadata: {name: p}}]}`,
				"nads.json": `{"apiVersion":"k8s.cni.cncf.io/v1","kind":"NetworkAttachmentDefinitionList","items":[{"metadata":{"name":"n"}}]}`,
			},
			request: types.FactsRequest{Pod: types.Pod{Namespace: "default", Name: "p"}, Networks: []types.Ref{ref("default", "n")}},
			want: types.Facts{
				Pod:      types.Pod{Namespace: "default", Name: "p", Annotations: map[string]string{}},
				Networks: []types.Network{{Ref: ref("default", "n")}},
			},
		},
		"a name without a namespace, of namespace default": {
			files:   map[string]string{"all.yaml": podAndNetwork, "p.json": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","uid":"u2"}}`},
			request: types.FactsRequest{Pod: types.Pod{Name: "p"}},
			want:    types.Facts{Pod: types.Pod{Namespace: "default", Name: "p", UID: "u2", Annotations: map[string]string{}}},
		},
		"a name without a namespace, of one alone": {
			files:   map[string]string{"all.yaml": podAndNetwork, "q.json": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"q"}}`},
			request: types.FactsRequest{Pod: types.Pod{Name: "p"}},
			want: types.Facts{
				Pod:      types.Pod{Namespace: "ns", Name: "p", UID: "u1", Annotations: annotations},
				Networks: []types.Network{networkA, {Ref: ref("other", "b"), Missing: true}},
			},
		},
		"no pod at all": {
			request: types.FactsRequest{Networks: []types.Ref{ref("a", "b")}},
			want: types.Facts{
				Pod:      types.Pod{Annotations: map[string]string{}},
				Networks: []types.Network{{Ref: ref("a", "b"), Missing: true}},
			},
		},
	} {
		t.Run(name, func(t *testing.T) {
			got, err := folder(t, test.files).Facts(t.Context(), &test.request)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestManifestsErrors(t *testing.T) {
	for name, test := range map[string]struct {
		files map[string]string
		want  []string
	}{
		"no such pod":      {map[string]string{"a.yaml": ""}, []string{"pod default/p", "not found"}},
		"another UID":      {map[string]string{"a.yaml": `{apiVersion: v1, kind: Pod, metadata: {name: p, uid: new}}`}, []string{"default/p", "older pod", "UID old", "UID new"}},
		"broken YAML":      {map[string]string{"a.yaml": "kind: Pod\n---\nkind: ["}, []string{"a.yaml, document 2", "yaml"}},
		"not an object":    {map[string]string{"a.yaml": "- 1"}, []string{"a.yaml, document 1", "not a Kubernetes object"}},
		"no kind":          {map[string]string{"a.yaml": "{}"}, []string{"a.yaml", "no kind"}},
		"no name":          {map[string]string{"a.yaml": "{apiVersion: v1, kind: Pod}"}, []string{"a.yaml", "metadata.name"}},
		"bad metadata":     {map[string]string{"a.yaml": "{apiVersion: v1, kind: Pod, metadata: 1}"}, []string{"a.yaml", "Pod: metadata"}},
		"bad spec":         {map[string]string{"a.yaml": "{apiVersion: k8s.cni.cncf.io/v1, kind: NetworkAttachmentDefinition, metadata: {name: net}, spec: {config: {}}}"}, []string{"default/net", "spec"}},
		"bad items":        {map[string]string{"a.yaml": "{apiVersion: v1, kind: List, items: 1}"}, []string{"a.yaml", "items"}},
		"bad item":         {map[string]string{"a.yaml": "{apiVersion: v1, kind: List, items: [{}]}"}, []string{"a.yaml", "items[0]", "no kind"}},
		"defined twice":    {map[string]string{"a.yaml": podAndNetwork, "b.yaml": podAndNetwork}, []string{"b.yaml, document 2", "Pod ns/p", "a.yaml, document 2"}},
		"two broken files": {map[string]string{"a.yaml": "{}", "b.yml": "{}"}, []string{"a.yaml", "b.yml"}},
	} {
		t.Run(name, func(t *testing.T) {
			m := folder(t, test.files)
			_, err := m.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "default", Name: "p", UID: "old"}})
			check.Error(t, err, append(test.want, m.Dir)...)
		})
	}
	_, err := Manifests{Dir: "/does/not/exist"}.Facts(t.Context(), &types.FactsRequest{})
	check.Error(t, err, "/does/not/exist")
}

func TestManifestsMissingPodIsNotFound(t *testing.T) {
	for _, pod := range []types.Pod{{Namespace: "default", Name: "p"}, {Name: "p"}} {
		_, err := folder(t, nil).Facts(t.Context(), &types.FactsRequest{Pod: pod})
		if !errors.Is(err, ErrPodNotFound) {
			t.Errorf("pod %s: got %v, want %v", &pod, err, ErrPodNotFound)
		}
	}
}

// Of several pods of a name, none of them in namespace default, none is chosen.
func TestManifestsNameOfSeveralPods(t *testing.T) {
	m := folder(t, map[string]string{"all.yaml": podAndNetwork, "p.json": `{"apiVersion":"v1","kind":"Pod","metadata":{"name":"p","namespace":"apps"}}`})
	_, err := m.Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Name: "p"}})
	check.Error(t, err, m.Dir, "K8S_POD_NAMESPACE", "namespaces apps, ns")
	if types.CodeOf(err, 0) != types.CodeInvalidEnv {
		t.Errorf("code of %v", err)
	}
}

func TestManifestsPublish(t *testing.T) {
	settled, err := Manifests{}.PublishStatus(t.Context(), types.Pod{}, nil)
	if !settled || err != nil {
		t.Errorf("got %v, %v, want it settled", settled, err)
	}
	if err := (Manifests{}).Event(t.Context(), types.Pod{}, types.PodEvent{}); err != nil {
		t.Error(err)
	}
}
