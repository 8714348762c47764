package deploy

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

const (
	capturing  = window + "-capture"
	itsRight   = "who captures packets must have the right to capture pods"
	itsCapture = "a window pod with NET_RAW, and no other, must be called plexus-window-capture-"
)

// The capabilities of the shapes that a window pod may have.
var (
	briefly = []corev1.Capability{"NET_ADMIN"}
	fully   = []corev1.Capability{"NET_ADMIN", "SYS_ADMIN"}
	watches = []corev1.Capability{"NET_ADMIN", "SYS_ADMIN", "NET_RAW"}
	whys    = []corev1.Capability{"NET_ADMIN", "SYS_ADMIN", "NET_RAW", "BPF", "PERFMON"}
)

// mayCapture gives a user both Roles, and returns once they are in force.
func (s *windowSite) mayCapture(t *testing.T, user string) kubernetes.Interface {
	t.Helper()
	kubeconfig, err := s.Kubeconfig(user)
	client := kube.ClientOf(t, kubeconfig, err)
	for _, role := range []string{window, capturing} {
		s.bind(t, namespace, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: role}, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: user})
	}
	s.eventually(t, "both Roles", func(ctx context.Context) error { return create(ctx, client, capturePod(s.config, watches)) }, func(err error) bool { return err == nil })
	return client
}

// capturePod is a window pod with some capabilities, by the name of those that capture.
func capturePod(config map[string]string, add []corev1.Capability) *corev1.Pod {
	pod := windowPod(config)
	pod.Name = capturing + "-a1b2c"
	pod.Spec.Containers[0].SecurityContext.Capabilities.Add = add
	return pod
}

// TestKubeDeployWindowCaptures creates the shapes that capture, as somebody who may, and as somebody who has the
// Role plexus-window alone.
func TestKubeDeployWindowCaptures(t *testing.T) {
	s := newWindowSite(t)
	capturer := s.mayCapture(t, "bob")
	reversed := slices.Clone(whys)
	slices.Reverse(reversed)
	for name, add := range map[string][]corev1.Capability{"watch": watches, "why": whys, "in the other order": reversed} {
		t.Run(name, func(t *testing.T) {
			if err := create(t.Context(), capturer, capturePod(s.config, add)); err != nil {
				t.Errorf("somebody who may: %v", err)
			}
			if err := create(t.Context(), s.oncall, capturePod(s.config, add)); !deniedBy(windowPolicy, itsRight)(err) {
				t.Errorf("somebody who may not: %v", err)
			}
			otherwise := capturePod(s.config, add)
			otherwise.Name = window + "-a1b2c"
			if err := create(t.Context(), capturer, otherwise); !deniedBy(windowPolicy, itsCapture)(err) {
				t.Errorf("by the name of one that does not capture: %v", err)
			}
		})
	}
	for _, add := range [][]corev1.Capability{briefly, fully} {
		if err := create(t.Context(), capturer, capturePod(s.config, add)); !deniedBy(windowPolicy, itsCapture)(err) {
			t.Errorf("%v by the name of one that captures: %v", add, err)
		}
	}
}

// TestKubeDeployWindowCapabilities adds one capability to each shape, and takes one away. Only what is another
// shape is admitted.
func TestKubeDeployWindowCapabilities(t *testing.T) {
	s := newWindowSite(t)
	capturer := s.mayCapture(t, "bob")
	tried := 0
	for _, add := range neighbours() {
		t.Run(strings.Join(words(add), " "), func(t *testing.T) {
			pods := []*corev1.Pod{windowPod(s.config), capturePod(s.config, add)}
			pods[0].Spec.Containers[0].SecurityContext.Capabilities.Add = add
			for _, pod := range pods {
				if err := create(t.Context(), capturer, pod); !deniedBy(windowPolicy, itsCaps)(err) {
					t.Errorf("%s: got %v, want a denial that says %q", pod.Name, err, itsCaps)
				}
			}
		})
		tried++
	}
	if tried < 120 {
		t.Errorf("only %d sets of capabilities were tried", tried)
	}
}

// neighbours gives each set that is one capability away from a shape, and no shape itself.
func neighbours() (sets [][]corev1.Capability) {
	shapes := [][]corev1.Capability{briefly, fully, watches, whys}
	add := func(set []corev1.Capability) {
		same := func(other []corev1.Capability) bool { return sameSet(set, other) }
		if !slices.ContainsFunc(shapes, same) && !slices.ContainsFunc(sets, same) {
			sets = append(sets, set)
		}
	}
	for _, shape := range shapes {
		for _, capability := range capabilities {
			if !slices.Contains(shape, capability) {
				add(append(slices.Clone(shape), capability))
			}
		}
		for i := range shape {
			add(slices.Delete(slices.Clone(shape), i, i+1))
		}
	}
	return sets
}

func sameSet(a, b []corev1.Capability) bool {
	return len(a) == len(b) && !slices.ContainsFunc(a, func(c corev1.Capability) bool { return !slices.Contains(b, c) })
}

func words(add []corev1.Capability) (words []string) {
	for _, capability := range add {
		words = append(words, string(capability))
	}
	return words
}

// capabilities are those of Linux 6.18.
var capabilities = []corev1.Capability{
	"AUDIT_CONTROL", "AUDIT_READ", "AUDIT_WRITE", "BLOCK_SUSPEND", "BPF", "CHECKPOINT_RESTORE", "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH",
	"FOWNER", "FSETID", "IPC_LOCK", "IPC_OWNER", "KILL", "LEASE", "LINUX_IMMUTABLE", "MAC_ADMIN", "MAC_OVERRIDE", "MKNOD", "NET_ADMIN",
	"NET_BIND_SERVICE", "NET_BROADCAST", "NET_RAW", "PERFMON", "SETFCAP", "SETGID", "SETPCAP", "SETUID", "SYSLOG", "SYS_ADMIN", "SYS_BOOT",
	"SYS_CHROOT", "SYS_MODULE", "SYS_NICE", "SYS_PACCT", "SYS_PTRACE", "SYS_RAWIO", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "WAKE_ALARM",
}

// TestKubeDeployWindowCaptureExec runs the command in a pod that somebody else has made, who may capture.
func TestKubeDeployWindowCaptureExec(t *testing.T) {
	s := newWindowSite(t)
	capturer := s.mayCapture(t, "bob")
	s.role(t, "debuggers", "carol", "create pods/exec")
	kubeconfig, err := s.Kubeconfig("carol")
	carol := kube.ClientOf(t, kubeconfig, err)
	pod := ours(s.MakePod(t, kube.Pod{Namespace: namespace, Name: capturing + "-a1b2c", Node: "a"}).Name)
	run := func(client kubernetes.Interface, pod types.NamespacedName, command []string) error {
		return execute(t.Context(), client, pod, &corev1.PodExecOptions{Command: command, Stdin: true, Stdout: true})
	}
	if err := run(capturer, pod, serveNode); !inForce(err) {
		t.Errorf("somebody who may: %v", err)
	}
	if err := run(capturer, pod, []string{"/bin/sh"}); !deniedBy(execPolicy, "must be /opt/plexus/bin/kubectl-plexus node serve")(err) {
		t.Errorf("a shell: %v", err)
	}
	longer := pod
	longer.Name += "-evil"
	if err := run(capturer, longer, serveNode); !deniedBy(execPolicy, "only in a window pod")(err) {
		t.Errorf("a longer name: %v", err)
	}
	if err := run(s.oncall, pod, serveNode); !deniedBy(execPolicy, itsRight)(err) {
		t.Errorf("somebody with the Role plexus-window alone: %v", err)
	}
	s.eventually(t, "who may run commands everywhere to be held", func(context.Context) error { return run(carol, pod, serveNode) }, deniedBy(execPolicy, itsRight))
}

// TestKubeDeployWindowCaptureRight compares what the Role gives with what it is to give.
func TestKubeDeployWindowCaptureRight(t *testing.T) {
	s := newWindowSite(t)
	kubeconfig, err := s.Kubeconfig("erin")
	erin := kube.ClientOf(t, kubeconfig, err)
	everybody := rights(t, erin, namespace)
	s.bind(t, namespace, rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: capturing}, rbacv1.Subject{APIGroup: rbacv1.GroupName, Kind: "User", Name: "erin"})
	var got []string
	s.eventually(t, "the Role", func(context.Context) error {
		if got = without(rights(t, erin, namespace), everybody); len(got) == 0 {
			return fmt.Errorf("it gives nothing")
		}
		return nil
	}, func(err error) bool { return err == nil })
	if want := []string{"capture /pods"}; !slices.Equal(got, want) {
		t.Errorf("it gives %v, want %v", got, want)
	}
}
