package deploy

import (
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/restmapper"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// unserved are the kinds whose definitions belong to an operator that is not here, and cannot be
// had from the module proxy: of these only the kind and the version are looked at.
var unserved = map[string]string{
	"ServiceMonitor": "monitoring.coreos.com/v1", "PrometheusRule": "monitoring.coreos.com/v1", "PodMonitor": "monitoring.coreos.com/v1",
	"SecurityContextConstraints": "security.openshift.io/v1",
}

// server applies objects to a cluster, as kubectl apply --server-side does.
type server struct {
	*kube.Cluster
	mapper meta.RESTMapper
}

func newServer(t *testing.T, c *kube.Cluster) *server {
	t.Helper()
	groups, err := restmapper.GetAPIGroupResources(c.Client().Discovery())
	if err != nil {
		t.Fatal(err)
	}
	return &server{c, restmapper.NewDiscoveryRESTMapper(groups)}
}

// apply applies an object, whose every field must be known to the server.
func (s *server) apply(t *testing.T, object *unstructured.Unstructured, dryRun bool) error {
	t.Helper()
	kind := object.GroupVersionKind()
	mapping, err := s.mapper.RESTMapping(kind.GroupKind(), kind.Version)
	if err != nil {
		return err
	}
	data, err := object.MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	options := metav1.PatchOptions{FieldManager: "plexus-e2e", FieldValidation: metav1.FieldValidationStrict}
	if dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	resource := s.Dynamic().Resource(mapping.Resource)
	if mapping.Scope.Name() == meta.RESTScopeNameNamespace {
		_, err = resource.Namespace(object.GetNamespace()).Patch(t.Context(), object.GetName(), types.ApplyPatchType, data, options)
		return err
	}
	_, err = resource.Patch(t.Context(), object.GetName(), types.ApplyPatchType, data, options)
	return err
}

// TestKubeDeployDryRun has the API server judge every object of every rendering.
func TestKubeDeployDryRun(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNamespace(t, namespace) // a dry run does not make it for the next object
	s := newServer(t, c)
	for name, all := range renderings(t) {
		t.Run(name, func(t *testing.T) {
			for _, object := range all {
				if version, ok := unserved[object.GetKind()]; ok {
					if object.GetAPIVersion() != version {
						t.Errorf("%s is of %s, want %s", object.GetKind(), object.GetAPIVersion(), version)
					}
					continue
				}
				if err := s.apply(t, object, true); err != nil {
					t.Errorf("%s %s: %v", object.GetKind(), object.GetName(), err)
				}
			}
		})
	}
	t.Run("an unknown field", func(t *testing.T) {
		object := find(t, kustomize(t, "."), "DaemonSet")
		if err := unstructured.SetNestedField(object.Object, true, "spec", "template", "spec", "hostNetwrok"); err != nil {
			t.Fatal(err)
		}
		if err := s.apply(t, object, true); err == nil || !strings.Contains(err.Error(), "hostNetwrok") {
			t.Errorf("got %v, want an error that names the field", err)
		}
	})
}

// allowedBelow is what the level baseline may find fault with.
var allowedBelow = []string{
	"host namespaces (hostNetwork=true", "hostPath volumes (", `probe or lifecycle host (container "agent" uses probe or lifecycle host "127.0.0.1"`,
}

// TestKubeDeployPodSecurity shows that the namespace's label is needed, and for nothing but the
// node's network and folders.
func TestKubeDeployPodSecurity(t *testing.T) {
	c := kube.Shared(t)
	s := newServer(t, c)
	all := kustomize(t, ".")
	label := find(t, all, "Namespace").GetLabels()["pod-security.kubernetes.io/enforce"]
	if err := s.apply(t, find(t, all, "Namespace"), false); err != nil {
		t.Fatal(err)
	}
	template := daemonSet(t, all).Spec.Template
	create := func(namespace string) error {
		pod := &corev1.Pod{ObjectMeta: *template.ObjectMeta.DeepCopy(), Spec: *template.Spec.DeepCopy()}
		pod.Name = "admitted"
		_, err := c.Client().CoreV1().Pods(namespace).Create(t.Context(), pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
		return err
	}
	if err := create(namespace); err != nil {
		t.Errorf("level %s: %v", label, err)
	}
	baseline := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{
		Name: "baseline", Labels: map[string]string{"pod-security.kubernetes.io/enforce": "baseline"},
	}}
	if _, err := c.Client().CoreV1().Namespaces().Create(t.Context(), baseline, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	err := create("baseline")
	if !apierrors.IsForbidden(err) {
		t.Fatalf("level baseline: got %v", err)
	}
	_, why, _ := strings.Cut(err.Error(), `violates PodSecurity "baseline:latest": `)
	for _, part := range strings.Split(why, "), ") {
		if !slices.ContainsFunc(allowedBelow, func(allowed string) bool { return strings.HasPrefix(part, allowed) }) {
			t.Errorf("it needs more than the node's network and folders: %s", part)
		}
	}
}
