package deploy

import (
	"context"
	"errors"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/kubernetes/scheme"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

var serveNode = []string{"/opt/plexus/bin/kubectl-plexus", "node", "serve"}

// execute asks for a command in a pod. There is no kubelet, so what is not denied fails afterwards.
func execute(ctx context.Context, c kubernetes.Interface, pod types.NamespacedName, options *corev1.PodExecOptions) error {
	return c.CoreV1().RESTClient().Post().Namespace(pod.Namespace).Resource("pods").Name(pod.Name).SubResource("exec").
		VersionedParams(options, scheme.ParameterCodec).Do(ctx).Error()
}

// ours names a pod of the namespace of Plexus.
func ours(pod string) types.NamespacedName {
	return types.NamespacedName{Namespace: namespace, Name: pod}
}

func attach(ctx context.Context, c kubernetes.Interface, pod string) error {
	return c.CoreV1().RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod).SubResource("attach").
		VersionedParams(&corev1.PodAttachOptions{Stdout: true}, scheme.ParameterCodec).Do(ctx).Error()
}

// inForce reports whether an error is one of a request that was let through to the kubelet.
func inForce(err error) bool { return err != nil && !apierrors.IsForbidden(err) }

func TestKubeDeployWindowExec(t *testing.T) {
	s := newWindowSite(t)
	s.MakePod(t, kube.Pod{Namespace: namespace, Name: "other", Node: "a"})
	pod := s.MakePod(t, kube.Pod{Namespace: namespace, Name: window + "-a1b2c", Node: "a"})
	for name, test := range map[string]struct {
		pod     string
		options corev1.PodExecOptions
		want    string // of the policy's words; empty: it is let through
	}{
		"serve":                     {pod.Name, corev1.PodExecOptions{Command: serveNode, Stdin: true, Stdout: true}, ""},
		"serve, by name":            {pod.Name, corev1.PodExecOptions{Command: serveNode, Container: "window", Stdin: true, Stdout: true, Stderr: true}, ""},
		"a shell":                   {pod.Name, corev1.PodExecOptions{Command: []string{"/bin/sh"}}, "must be /opt/plexus/bin/kubectl-plexus node serve"},
		"another command of ours":   {pod.Name, corev1.PodExecOptions{Command: []string{serveNode[0], "gc"}}, "must be /opt/plexus/bin/kubectl-plexus node serve"},
		"serve, and more":           {pod.Name, corev1.PodExecOptions{Command: append(serveNode[:3:3], "--x")}, "must be /opt/plexus/bin/kubectl-plexus node serve"},
		"in another container":      {pod.Name, corev1.PodExecOptions{Command: serveNode, Container: "debugger"}, "must be /opt/plexus/bin/kubectl-plexus node serve"},
		"with a terminal":           {pod.Name, corev1.PodExecOptions{Command: serveNode, Stdin: true, TTY: true}, "has no terminal"},
		"in another pod":            {"other", corev1.PodExecOptions{Command: serveNode}, "only in a window pod"},
		"in a pod of a longer name": {pod.Name + "-evil", corev1.PodExecOptions{Command: serveNode}, "only in a window pod"},
	} {
		t.Run(name, func(t *testing.T) {
			err := execute(t.Context(), s.oncall, ours(test.pod), &test.options)
			if let := inForce(err); let != (test.want == "") || !let && !deniedBy(execPolicy, test.want)(err) {
				t.Errorf("got %v, want words %q", err, test.want)
			}
		})
	}
	s.MakePod(t, kube.Pod{Namespace: "policy", Name: "elsewhere", Node: "a"})
	if err := execute(t.Context(), s.Client(), ours("other"), &corev1.PodExecOptions{Command: []string{"/bin/sh"}}); !inForce(err) {
		t.Errorf("an administrator: %v", err)
	}
}

// TestKubeDeployWindowAttach gives further rights to somebody, who then is denied by the policy alone.
func TestKubeDeployWindowAttach(t *testing.T) {
	s := newWindowSite(t)
	pod := s.MakePod(t, kube.Pod{Namespace: namespace, Name: window + "-a1b2c", Node: "a"})
	if err := attach(t.Context(), s.oncall, pod.Name); !apierrors.IsForbidden(err) || strings.Contains(err.Error(), "Policy") {
		t.Errorf("with the Role alone: %v", err)
	}
	// One who may attach and run commands anywhere, but create no pods.
	s.role(t, "debuggers", "bob", "create pods/exec", "create pods/attach")
	kubeconfig, err := s.Kubeconfig("bob")
	bob := kube.ClientOf(t, kubeconfig, err)
	s.eventually(t, "the policy to deny to attach", func(ctx context.Context) error { return attach(ctx, bob, pod.Name) }, deniedBy(execPolicy, "nobody attaches to a window pod"))
	if err := execute(t.Context(), bob, ours(pod.Name), &corev1.PodExecOptions{Command: []string{"/bin/sh"}}); !deniedBy(execPolicy, "must be")(err) {
		t.Errorf("a shell in a window pod: %v", err)
	}
	s.MakePod(t, kube.Pod{Namespace: namespace, Name: "other", Node: "a"})
	if err := execute(t.Context(), bob, ours("other"), &corev1.PodExecOptions{Command: []string{"/bin/sh"}}); !inForce(err) {
		t.Errorf("what others have granted, in another pod: %v", err)
	}
}

// TestKubeDeployWindowDelete deletes pods as somebody who has the Role, and as some who have not.
func TestKubeDeployWindowDelete(t *testing.T) {
	s := newWindowSite(t)
	s.MakePod(t, kube.Pod{Namespace: namespace, Name: "other", Node: "a"})
	pod := s.MakePod(t, kube.Pod{Namespace: namespace, Name: window + "-a1b2c", Node: "a"})
	remove := func(c kubernetes.Interface, name string) error {
		return c.CoreV1().Pods(namespace).Delete(t.Context(), name, metav1.DeleteOptions{DryRun: []string{metav1.DryRunAll}})
	}
	if err := remove(s.oncall, pod.Name); err != nil {
		t.Errorf("a window pod: %v", err)
	}
	for _, name := range []string{"other", "agent-a"} {
		if err := remove(s.oncall, name); !deniedBy(windowPolicy, "delete only pods that are called plexus-window-")(err) {
			t.Errorf("%s: %v", name, err)
		}
	}
	if err := remove(s.Client(), "other"); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	s.role(t, "cleaners", "dave", "delete pods")
	kubeconfig, err := s.Kubeconfig("dave")
	dave := kube.ClientOf(t, kubeconfig, err)
	s.eventually(t, "who may create no pods not to be held", func(context.Context) error { return remove(dave, "other") }, func(err error) bool { return err == nil })
	kubeconfig, err = s.NodeKubeconfig("a")
	if err := remove(kube.ClientOf(t, kubeconfig, err), "other"); err != nil {
		t.Errorf("the kubelet: %v", err)
	}
	if err := remove(s.account(t, "kube-system", "pod-garbage-collector", nil), "other"); err != nil {
		t.Errorf("a controller: %v", err)
	}
}

// TestKubeDeployWindowNoMore asks for what the Role does not give.
func TestKubeDeployWindowNoMore(t *testing.T) {
	s := newWindowSite(t)
	pod := s.MakePod(t, kube.Pod{Namespace: namespace, Name: window + "-a1b2c", Node: "a"})
	core, ctx := s.oncall.CoreV1(), t.Context()
	dry := metav1.PatchOptions{DryRun: []string{metav1.DryRunAll}}
	for what, ask := range map[string]func() error{
		"delete all pods": func() error {
			return core.Pods(namespace).DeleteCollection(ctx, metav1.DeleteOptions{DryRun: dry.DryRun}, metav1.ListOptions{})
		},
		"an ephemeral container": func() error {
			_, err := core.Pods(namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(`{"spec":{"ephemeralContainers":[{"name":"e","image":"x"}]}}`), dry, "ephemeralcontainers")
			return err
		},
		"another image of a pod that runs": func() error {
			_, err := core.Pods(namespace).Patch(ctx, pod.Name, types.StrategicMergePatchType, []byte(`{"spec":{"containers":[{"name":"c","image":"x"}]}}`), dry)
			return err
		},
		"update a pod": func() error {
			_, err := core.Pods(namespace).Update(ctx, pod, metav1.UpdateOptions{DryRun: dry.DryRun})
			return err
		},
		"change the settings": func() error {
			_, err := core.ConfigMaps(namespace).Patch(ctx, window, types.MergePatchType, []byte(`{"data":{"image":"x"}}`), dry)
			return err
		},
		"delete the settings": func() error {
			return core.ConfigMaps(namespace).Delete(ctx, window, metav1.DeleteOptions{DryRun: dry.DryRun})
		},
		"read another ConfigMap": func() error {
			_, err := core.ConfigMaps(namespace).Get(ctx, "kube-root-ca.crt", metav1.GetOptions{})
			return err
		},
		"list secrets":           func() error { _, err := core.Secrets(namespace).List(ctx, metav1.ListOptions{}); return err },
		"list pods elsewhere":    func() error { _, err := core.Pods("policy").List(ctx, metav1.ListOptions{}); return err },
		"create a pod elsewhere": func() error { p := windowPod(s.config); p.Namespace = "policy"; return create(ctx, s.oncall, p) },
		"read a pod's log":       func() error { return core.Pods(namespace).GetLogs(pod.Name, &corev1.PodLogOptions{}).Do(ctx).Error() },
		"forward a port of a pod": func() error {
			return core.RESTClient().Post().Namespace(namespace).Resource("pods").Name(pod.Name).SubResource("portforward").Do(ctx).Error()
		},
		"a token of the account": func() error {
			return core.RESTClient().Post().Namespace(namespace).Resource("serviceaccounts").Name("default").SubResource("token").Do(ctx).Error()
		},
	} {
		if err := ask(); !apierrors.IsForbidden(err) {
			t.Errorf("%s: got %v, want that it is forbidden", what, err)
		}
	}
	if _, err := core.ConfigMaps(namespace).Get(ctx, window, metav1.GetOptions{}); err != nil {
		t.Errorf("read the settings: %v", err)
	}
}

// TestKubeDeployWindowOthers sees to it that the policies are about nobody else.
func TestKubeDeployWindowOthers(t *testing.T) {
	s := newWindowSite(t)
	set := daemonSet(t, kustomize(t, "."))
	agents := &corev1.Pod{ObjectMeta: *set.Spec.Template.ObjectMeta.DeepCopy(), Spec: set.Spec.Template.Spec}
	agents.Namespace, agents.GenerateName = namespace, "plexus-agent-"
	if err := create(t.Context(), s.Client(), agents); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	if err := create(t.Context(), s.account(t, "kube-system", "daemon-set-controller", nil), agents); err != nil {
		t.Errorf("the controller of the agent's DaemonSet: %v", err)
	}
	// Without accounts of their own, controllers are one user.
	s.role(t, "controllers", "system:kube-controller-manager", "create pods")
	kubeconfig, err := s.Kubeconfig("system:kube-controller-manager")
	controllers := kube.ClientOf(t, kubeconfig, err)
	s.eventually(t, "the controller manager not to be held", func(ctx context.Context) error { return create(ctx, controllers, agents) }, func(err error) bool { return err == nil })
	// One who may create pods everywhere, and no DaemonSets: only the namespace of Plexus is held.
	s.role(t, "creators", "carol", "create pods")
	kubeconfig, err = s.Kubeconfig("carol")
	carol := kube.ClientOf(t, kubeconfig, err)
	s.eventually(t, "the policy to deny", func(ctx context.Context) error { return create(ctx, carol, agents) }, deniedBy(windowPolicy, ""))
	elsewhere := windowPod(s.config)
	elsewhere.Namespace, elsewhere.Name = "policy", "anything"
	if err := create(t.Context(), carol, elsewhere); err != nil {
		t.Errorf("in another namespace: %v", err)
	}
	s.role(t, "deployers", "carol", "create daemonsets")
	s.eventually(t, "who may create DaemonSets not to be held", func(ctx context.Context) error { return create(ctx, carol, agents) }, func(err error) bool { return err == nil })
}

// TestKubeDeployWindowRights compares what the roles give with what they are to give.
func TestKubeDeployWindowRights(t *testing.T) {
	s := newWindowSite(t)
	got := rights(t, s.oncall, namespace)
	everybody := rights(t, s.account(t, "policy", "nobody", nil), namespace)
	want := []string{
		"create /pods", "create /pods/exec", "delete /pods", "get /configmaps", "get /pods", "get /pods/exec", "list /pods", "watch /pods",
	}
	if diff := gocmp.Diff(want, without(got, everybody)); diff != "" {
		t.Errorf("the Role, wanted (-) and given (+):\n%s", diff)
	}
	role, err := s.Client().RbacV1().ClusterRoles().Get(t.Context(), window, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	for _, rule := range role.Rules {
		if diff := gocmp.Diff([]string{"get", "list", "watch"}, rule.Verbs); diff != "" {
			t.Errorf("the ClusterRole, verbs of %v: %s", rule.Resources, diff)
		}
	}
}

func without(all, some []string) []string {
	return slices.DeleteFunc(slices.Clone(all), func(right string) bool { return slices.Contains(some, right) })
}

// role gives a user rights in every namespace, such as "create pods", for the time of the test.
func (s *windowSite) role(t *testing.T, name, user string, what ...string) {
	t.Helper()
	roles, meta := s.Client().RbacV1(), metav1.ObjectMeta{Name: name}
	role := &rbacv1.ClusterRole{ObjectMeta: meta}
	for _, right := range what {
		verb, resource, _ := strings.Cut(right, " ")
		role.Rules = append(role.Rules, rbacv1.PolicyRule{APIGroups: []string{"", "apps"}, Resources: []string{resource}, Verbs: []string{verb}})
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: meta, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: name},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: "User", Name: user}},
	}
	_, err := roles.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	if err == nil {
		_, err = roles.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		ctx := context.Background()
		if err := errors.Join(roles.ClusterRoleBindings().Delete(ctx, name, metav1.DeleteOptions{}), roles.ClusterRoles().Delete(ctx, name, metav1.DeleteOptions{})); err != nil {
			t.Error(err)
		}
	})
}
