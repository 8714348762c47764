package deploy

import (
	"context"
	"errors"
	"maps"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// checkWindow binds the Roles of a place, whatever they are called there, and demands that the policies hold
// whoever has them. It runs before the policies are removed.
func (p place) checkWindow(t *testing.T, s *site) {
	t.Helper()
	kubeconfig, err := s.Kubeconfig("alice", "oncall")
	w := &windowSite{site: s, oncall: kube.ClientOf(t, kubeconfig, err)}
	options := metav1.ListOptions{LabelSelector: "app.kubernetes.io/component=window"}
	roles, err := s.Client().RbacV1().Roles(p.namespace).List(t.Context(), options)
	if err != nil || len(roles.Items) != 2 {
		t.Fatalf("%d roles, %v", len(roles.Items), err)
	}
	slices.SortFunc(roles.Items, func(a, b rbacv1.Role) int { return len(a.Rules) - len(b.Rules) })
	capture, pods := roles.Items[0].Name, roles.Items[1].Name
	settings, err := s.Client().CoreV1().ConfigMaps(p.namespace).List(t.Context(), options)
	if err != nil || len(settings.Items) != 1 {
		t.Fatalf("%d ConfigMaps, %v", len(settings.Items), err)
	}
	// Places share a namespace, so what is left of this one must not be in the way of the next.
	t.Cleanup(func() {
		ctx := context.Background()
		err := errors.Join(s.Client().RbacV1().Roles(p.namespace).Delete(ctx, capture, metav1.DeleteOptions{}),
			s.Client().RbacV1().Roles(p.namespace).Delete(ctx, pods, metav1.DeleteOptions{}),
			s.Client().CoreV1().ConfigMaps(p.namespace).Delete(ctx, settings.Items[0].Name, metav1.DeleteOptions{}))
		if err != nil {
			t.Error(err)
		}
	})
	bind := func(role string) {
		w.bind(t, p.namespace, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role}, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "oncall"})
	}
	bind(pods)
	right := windowPod(settings.Items[0].Data)
	right.Namespace = p.namespace
	evil := right.DeepCopy()
	evil.Name = "evil"
	w.eventually(t, "the right shape to be admitted", func(ctx context.Context) error { return create(ctx, w.oncall, right) }, func(err error) bool { return err == nil })
	w.eventually(t, "the policy to deny a pod", func(ctx context.Context) error { return create(ctx, w.oncall, evil) }, isDenial)
	w.eventually(t, "the policy to deny a command", func(ctx context.Context) error {
		return execute(ctx, w.oncall, types.NamespacedName{Namespace: p.namespace, Name: "agent-a"}, &corev1.PodExecOptions{Command: serveNode})
	}, isDenial)
	captures := capturePod(settings.Items[0].Data, watches)
	captures.Namespace = p.namespace
	if err := create(t.Context(), w.oncall, captures); !deniedBy("", itsRight)(err) {
		t.Errorf("to capture, with the first Role alone: %v", err)
	}
	bind(capture)
	w.eventually(t, "who may capture to be let through", func(ctx context.Context) error { return create(ctx, w.oncall, captures) }, func(err error) bool { return err == nil })
	if _, err := w.oncall.CoreV1().ConfigMaps(p.namespace).Get(t.Context(), settings.Items[0].Name, metav1.GetOptions{}); err != nil {
		t.Errorf("the ConfigMap of the window: %v", err)
	}
}

// TestKubeDeployWindowOff switches the window off: nothing of it is there, and never the Role without the policies.
func TestKubeDeployWindowOff(t *testing.T) {
	for name, values := range map[string]map[string]any{
		"itself":                   {"window": map[string]any{"enabled": false}},
		"with all of the policies": {"admissionPolicy": false},
	} {
		for _, object := range helm(t, values) {
			if strings.Contains(object.GetName(), "window") {
				t.Errorf("%s: there is a %s %s", name, object.GetKind(), object.GetName())
			}
		}
	}
}

// TestKubeDeployWindowImage names another image, and demands that the window pod is the agent's.
func TestKubeDeployWindowImage(t *testing.T) {
	for name, all := range renderings(t) {
		want := daemonSet(t, all).Spec.Template.Spec.Containers[0].Image
		if got := windowConfig(t, all)["image"]; got != want {
			t.Errorf("%s: the image of the window pod is %s, that of the agent %s", name, got, want)
		}
	}
	p := place{kustomization: "images: [{name: localhost/plexus, newName: images.example/plexus, newTag: v9}]\n"}
	all := objects(t, output(t, tool(t, kube.BinVar, "kubectl"), "kustomize", p.kustomize(t)))
	if got := windowConfig(t, all)["image"]; got != "images.example/plexus:v9" {
		t.Errorf("kustomize, images: %s", got)
	}
}

func TestKubeDeployWindowFolders(t *testing.T) {
	want := map[string]string{"cniDir": "/a", "confDir": "/b", "binDir": "/c", "netnsDirs": "/run/netns,/run/docker/netns"}
	got := windowConfig(t, helm(t, map[string]any{
		"paths":  map[string]any{"cniState": "/a", "cniConf": "/b", "cniBin": "/c"},
		"window": map[string]any{"netnsDirs": []any{"/run/netns", "/run/docker/netns"}},
	}))
	delete(got, "image")
	if !maps.Equal(got, want) {
		t.Errorf("got %v, want %v", got, want)
	}
}
