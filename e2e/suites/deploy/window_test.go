package deploy

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

const (
	window       = "plexus-window"
	windowPolicy = "ValidatingAdmissionPolicy 'plexus-window'"
	execPolicy   = "ValidatingAdmissionPolicy 'plexus-window-exec'"
)

// windowSite is a cluster with the manifests applied, and somebody who has the Role plexus-window alone.
type windowSite struct {
	*site
	oncall kubernetes.Interface
	config map[string]string // of the ConfigMap
}

// newWindowSite binds the Role, and returns once it and the policies are in force.
func newWindowSite(t *testing.T) *windowSite {
	t.Helper()
	s := &windowSite{site: newSite(t)}
	kubeconfig, err := s.Kubeconfig("alice", "oncall")
	s.oncall = kube.ClientOf(t, kubeconfig, err)
	s.bind(t, namespace, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: window}, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "Group", Name: "oncall"})
	s.config = windowConfig(t, kustomize(t, "."))
	evil := windowPod(s.config)
	evil.Name = "evil"
	s.eventually(t, "the policy of pods to deny", func(ctx context.Context) error { return create(ctx, s.oncall, evil) }, deniedBy(windowPolicy, ""))
	s.eventually(t, "the policy of commands to deny", func(ctx context.Context) error {
		return execute(ctx, s.oncall, ours("evil"), &corev1.PodExecOptions{Command: serveNode})
	}, deniedBy(execPolicy, ""))
	return s
}

// bind binds a role in a namespace for the time of the test.
func (s *windowSite) bind(t *testing.T, namespace string, role rbacv1.RoleRef, subject rbacv1.Subject) {
	t.Helper()
	bindings := s.Client().RbacV1().RoleBindings(namespace)
	binding := &rbacv1.RoleBinding{ObjectMeta: metav1.ObjectMeta{GenerateName: "window-"}, RoleRef: role, Subjects: []rbacv1.Subject{subject}}
	made, err := bindings.Create(t.Context(), binding, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := bindings.Delete(context.Background(), made.Name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	})
}

func (s *windowSite) eventually(t *testing.T, what string, ask func(context.Context) error, wanted func(error) bool) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, 20*time.Second, true, func(ctx context.Context) (bool, error) {
		if err := ask(ctx); ctx.Err() == nil {
			last = err
		}
		return wanted(last), nil
	})
	if err != nil {
		t.Fatalf("wait for %s: %v; the last answer: %v", what, err, last)
	}
}

// deniedBy recognises a denial by a policy, in these words.
func deniedBy(policy, words string) func(error) bool {
	return func(err error) bool {
		return apierrors.IsForbidden(err) && strings.Contains(err.Error(), policy) && strings.Contains(err.Error(), words)
	}
}

func create(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod) error {
	_, err := c.CoreV1().Pods(pod.Namespace).Create(ctx, pod, metav1.CreateOptions{DryRun: []string{metav1.DryRunAll}})
	return err
}

// windowPod is the shape that the policy allows: NET_ADMIN alone.
func windowPod(config map[string]string) *corev1.Pod {
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{
			Name: window + "-a1b2c", Namespace: namespace,
			Labels: map[string]string{"app.kubernetes.io/name": "plexus", "app.kubernetes.io/component": "window"},
		},
		Spec: corev1.PodSpec{
			NodeName: "a", HostNetwork: true, ServiceAccountName: "default", AutomountServiceAccountToken: new(false),
			RestartPolicy: corev1.RestartPolicyNever, ActiveDeadlineSeconds: new(int64(3600)),
			Tolerations: []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
			Containers: []corev1.Container{{
				Name: "window", Image: config["image"], ImagePullPolicy: corev1.PullIfNotPresent,
				Command: []string{"/opt/plexus/bin/kubectl-plexus"}, Args: []string{"node", "wait", "--keep", "2m"},
				Resources: corev1.ResourceRequirements{
					Requests: corev1.ResourceList{"cpu": resource.MustParse("5m"), "memory": resource.MustParse("20Mi")},
					Limits:   corev1.ResourceList{"memory": resource.MustParse("128Mi")},
				},
				SecurityContext: &corev1.SecurityContext{
					Privileged: new(false), AllowPrivilegeEscalation: new(false), ReadOnlyRootFilesystem: new(true), RunAsUser: new(int64),
					Capabilities:   &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}, Add: []corev1.Capability{"NET_ADMIN"}},
					SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
				},
			}},
		},
	}
	for i, folder := range []string{config["cniDir"], config["confDir"], config["binDir"], config["netnsDirs"]} {
		mount(pod, fmt.Sprintf("folder-%d", i), folder)
	}
	c := &pod.Spec.Containers[0]
	c.VolumeMounts[3].MountPropagation = new(corev1.MountPropagationHostToContainer)
	return pod
}

// mount adds a folder of the node, read-only.
func mount(pod *corev1.Pod, name, folder string) {
	pod.Spec.Volumes = append(pod.Spec.Volumes, corev1.Volume{
		Name: name, VolumeSource: corev1.VolumeSource{HostPath: &corev1.HostPathVolumeSource{Path: folder}},
	})
	c := &pod.Spec.Containers[0]
	c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: name, MountPath: "/host" + folder, ReadOnly: true})
}

func TestKubeDeployWindowAllows(t *testing.T) {
	s := newWindowSite(t)
	for name, edit := range map[string]func(*corev1.Pod, *corev1.Container){
		"NET_ADMIN": func(*corev1.Pod, *corev1.Container) {},
		"NET_ADMIN and SYS_ADMIN": func(_ *corev1.Pod, c *corev1.Container) {
			c.SecurityContext.Capabilities.Add = []corev1.Capability{"NET_ADMIN", "SYS_ADMIN"}
		},
		"in the other order": func(_ *corev1.Pod, c *corev1.Container) {
			c.SecurityContext.Capabilities.Add = []corev1.Capability{"SYS_ADMIN", "NET_ADMIN"}
		},
		"another duration":       func(_ *corev1.Pod, c *corev1.Container) { c.Args[3] = "10s" },
		"as Go writes durations": func(_ *corev1.Pod, c *corev1.Container) { c.Args[3] = "2m30s" },
		"the longest duration":   func(_ *corev1.Pod, c *corev1.Container) { c.Args[3] = "1h0m0s" },
		"fewer folders": func(p *corev1.Pod, c *corev1.Container) {
			p.Spec.Volumes, c.VolumeMounts = p.Spec.Volumes[3:], c.VolumeMounts[3:]
		},
		"no folder":        func(p *corev1.Pod, c *corev1.Container) { p.Spec.Volumes, c.VolumeMounts = nil, nil },
		"a name by server": func(p *corev1.Pod, _ *corev1.Container) { p.Name, p.GenerateName = "", "plexus-window-" },
		"the account by default": func(p *corev1.Pod, c *corev1.Container) {
			p.Spec.ServiceAccountName = ""
			c.SecurityContext.RunAsGroup = new(int64)
		},
		"how long it may take to end": func(p *corev1.Pod, c *corev1.Container) {
			p.Spec.TerminationGracePeriodSeconds = new(int64(5))
			c.TerminationMessagePolicy = corev1.TerminationMessageFallbackToLogsOnError
		},
		"volumes that must be there": func(p *corev1.Pod, _ *corev1.Container) {
			p.Spec.Volumes[0].HostPath.Type = new(corev1.HostPathDirectory)
		},
	} {
		t.Run(name, func(t *testing.T) {
			pod := windowPod(s.config)
			edit(pod, &pod.Spec.Containers[0])
			if err := create(t.Context(), s.oncall, pod); err != nil {
				t.Error(err)
			}
		})
	}
}

// TestKubeDeployWindowImageAnnotation changes and removes the annotation of the namespace that kustomize sets.
func TestKubeDeployWindowImageAnnotation(t *testing.T) {
	s := newWindowSite(t)
	const key = "plexus-cni.io/window-image"
	set := func(value string) {
		t.Helper()
		_, err := s.Client().CoreV1().Namespaces().Patch(context.Background(), namespace, types.MergePatchType, []byte(`{"metadata":{"annotations":{"`+key+`":`+value+`}}}`), metav1.PatchOptions{})
		if err != nil {
			t.Fatal(err)
		}
	}
	t.Cleanup(func() { set(`"` + s.config["image"] + `"`) })
	other := windowPod(s.config)
	other.Spec.Containers[0].Image = "images.example/plexus@sha256:" + strings.Repeat("0", 64)
	set(`"` + other.Spec.Containers[0].Image + `"`)
	s.eventually(t, "the new image to be admitted", func(ctx context.Context) error { return create(ctx, s.oncall, other) }, func(err error) bool { return err == nil })
	if err := create(t.Context(), s.oncall, windowPod(s.config)); !deniedBy(windowPolicy, "the image of a window pod must be "+other.Spec.Containers[0].Image)(err) {
		t.Errorf("the image of before: %v", err)
	}
	// The chart's namespace has none: the image is that of the policy.
	set("null")
	s.eventually(t, "the new image to be refused", func(ctx context.Context) error { return create(ctx, s.oncall, other) }, deniedBy(windowPolicy, "must be "+s.config["image"]))
	if err := create(t.Context(), s.oncall, windowPod(s.config)); err != nil {
		t.Errorf("the installed image: %v", err)
	}
}

// TestKubeDeployWindowOverlays installs each overlay, and demands that the pod is admitted that its ConfigMap
// describes, and that of before is not.
func TestKubeDeployWindowOverlays(t *testing.T) {
	s := newWindowSite(t)
	to := newServer(t, s.Cluster)
	apply := func(all []*unstructured.Unstructured) {
		t.Helper()
		for _, object := range all {
			if object.GetKind() == "ValidatingAdmissionPolicy" {
				if err := to.apply(t, object, false); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
	admitted := func(err error) bool { return err == nil }
	for name, all := range map[string][]*unstructured.Unstructured{"k3s": kustomize(t, "overlays/k3s"), "k3s by the chart": helm(t, k3sValues)} {
		apply(all)
		pod := windowPod(windowConfig(t, all))
		s.eventually(t, name, func(ctx context.Context) error { return create(ctx, s.oncall, pod) }, admitted)
		if err := create(t.Context(), s.oncall, windowPod(s.config)); !deniedBy(windowPolicy, "/var/lib/rancher/k3s/data/cni")(err) {
			t.Errorf("%s, other folders: %v", name, err)
		}
		apply(kustomize(t, "."))
		s.eventually(t, "the usual folders", func(ctx context.Context) error { return create(ctx, s.oncall, windowPod(s.config)) }, admitted)
	}
	all := kustomize(t, "overlays/selinux")
	apply(all)
	pod := windowPod(s.config)
	pod.Spec.SecurityContext = &corev1.PodSecurityContext{SELinuxOptions: &corev1.SELinuxOptions{Type: windowConfig(t, all)["seLinuxType"]}}
	s.eventually(t, "SELinux", func(ctx context.Context) error { return create(ctx, s.oncall, pod) }, admitted)
	for _, options := range []corev1.SELinuxOptions{{Type: "unconfined_t"}, {Type: "spc_t", Level: "s0"}} {
		pod.Spec.SecurityContext.SELinuxOptions = &options
		if err := create(t.Context(), s.oncall, pod); !deniedBy(windowPolicy, podSecurity)(err) {
			t.Errorf("%v: %v", options, err)
		}
	}
	apply(kustomize(t, "."))
}

// windowConfig gives the data of the window's ConfigMap.
func windowConfig(t testing.TB, all []*unstructured.Unstructured) map[string]string {
	t.Helper()
	for _, object := range all {
		if object.GetKind() == "ConfigMap" && object.GetLabels()["app.kubernetes.io/component"] == "window" {
			data, _, err := unstructured.NestedStringMap(object.Object, "data")
			if err != nil {
				t.Fatal(err)
			}
			return data
		}
	}
	t.Fatal("there is no ConfigMap of the window")
	return nil
}
