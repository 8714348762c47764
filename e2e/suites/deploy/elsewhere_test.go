package deploy

import (
	"context"
	"os"
	"path/filepath"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// place is another namespace or other names, and what puts the manifests there.
type place struct {
	namespace, account string
	kustomization      string         // lines that change deploy/base
	component          string         // of deploy/components, if it is one with a policy for nodes
	values             map[string]any // of the chart, if there is no kustomization
	nodes              bool           // whether the agent may take a taint off its node
}

var places = map[string]place{
	"kustomize: another namespace": {namespace: "elsewhere", account: agent, kustomization: "namespace: elsewhere\n"},
	"kustomize: a prefix":          {namespace: namespace, account: "prefixed-plexus-agent", kustomization: "namePrefix: prefixed-\n"},
	"kustomize: all of them": {
		namespace: "all-of-them", account: "a-plexus-agent-z", kustomization: "namespace: all-of-them\nnamePrefix: a-\nnameSuffix: -z\n",
	},
	"kustomize: the taint of nodes": {
		namespace: "tainted", account: "p-plexus-agent", kustomization: "namespace: tainted\nnamePrefix: p-\n", component: "taint", nodes: true,
	},
	"helm: the taint of nodes": {
		namespace: namespace, account: "cni-agent", nodes: true,
		values: map[string]any{"nameOverride": "cni", "agent": map[string]any{"removeTaint": taintKey}},
	},
	"helm: another namespace": {namespace: "charted", account: agent, values: map[string]any{"namespace": map[string]any{"name": "charted"}}},
	"helm: another name":      {namespace: namespace, account: "cni-agent", values: map[string]any{"nameOverride": "cni"}},
	"helm: another account": {
		namespace: "accounted", account: "net.one", values: map[string]any{
			"namespace": map[string]any{"name": "accounted"}, "serviceAccount": map[string]any{"name": "net.one"},
		},
	},
}

// TestKubeDeployPolicyElsewhere installs under other names, and demands that the agent's account is
// no less tied to its node.
func TestKubeDeployPolicyElsewhere(t *testing.T) {
	c, err := kube.Start(t.Context(), kube.Options{BinDir: kube.BinDir(t), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	c.MakeNode(t, "a")
	c.MakeNode(t, "b")
	for name, p := range places {
		t.Run(name, func(t *testing.T) { p.check(t, &site{Cluster: c}) })
	}
}

// apply installs as the users of the place do, with kubectl.
func (p place) apply(t *testing.T, s *site) {
	t.Helper()
	s.MakeNamespace(t, p.namespace)
	args := []string{"--kubeconfig", s.AdminKubeconfig(), "apply", "--server-side", "--force-conflicts"}
	if p.kustomization != "" {
		args = append(args, "-k", p.kustomize(t))
	} else {
		file := filepath.Join(t.TempDir(), "rendered.yaml")
		rendered := output(t, tool(t, binVar, "helm"), "template", "plexus", chart, "--skip-tests", "--namespace", namespace, "--values", valuesFile(t, p.values))
		if err := os.WriteFile(file, rendered, 0o600); err != nil {
			t.Fatal(err)
		}
		s.MakeNamespace(t, namespace)
		args = append(args, "-f", file)
	}
	output(t, tool(t, kube.BinVar, "kubectl"), args...)
}

// kustomize makes a kustomization over deploy/base, and gives its folder.
func (p place) kustomize(t *testing.T) string {
	t.Helper()
	dir := t.TempDir()
	deploy, err := filepath.Abs(root)
	if err == nil {
		deploy, err = filepath.Rel(dir, deploy)
	}
	lines := p.kustomization + "resources: [" + filepath.Join(deploy, "base") + "]\n"
	if p.component != "" {
		lines += "components: [" + filepath.Join(deploy, "components", p.component) + "]\n"
	}
	if err == nil {
		err = os.WriteFile(filepath.Join(dir, "kustomization.yaml"), []byte(lines), 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	return dir
}

func (p place) check(t *testing.T, s *site) {
	p.apply(t, s)
	s.own = s.MakePod(t, kube.Pod{Namespace: "policy", Name: "own", Node: "a"})
	s.other = s.MakePod(t, kube.Pod{Namespace: "policy", Name: "other", Node: "b"})
	runs := s.MakePod(t, kube.Pod{Namespace: p.namespace, Name: "agent-a", Node: "a", ServiceAccount: p.account})
	tied, unbound := s.account(t, p.namespace, p.account, runs), s.account(t, p.namespace, p.account, nil)
	s.await(t, "the policy to be in force", tied, s.other, isDenial)
	denied := func(c kubernetes.Interface, pod *corev1.Pod, body string) {
		t.Helper()
		if err := patch(t.Context(), c, pod, change{body: body}); !isDenial(err) {
			t.Errorf("%s of pod %s: got %v, want a denial by the policy", body, pod.Name, err)
		}
	}
	denied(unbound, s.own, annotate("x"))
	denied(tied, s.own, annotation("other", "x"))
	denied(tied, s.own, `{"status":{"phase":"Running"}}`)
	if err := patch(t.Context(), tied, s.own, change{body: annotate("x")}); err != nil {
		t.Errorf("the annotation of a pod of the own node: %v", err)
	}
	s.awaitEvents(t, func(ctx context.Context) error { return older(ctx, tied, eventOf("b", onPod("own"))) }, isDenial)
	if err := older(t.Context(), tied, eventOf("a", onPod("own"))); err != nil {
		t.Errorf("an event of the own node: %v", err)
	}
	if p.nodes {
		p.awaitNode(t, tied, isDenial)
	}
	p.checkWindow(t, s)
	p.remove(t, s)
	// Without the policy the account may do it: so it was this policy that denied.
	s.await(t, "the policy to be gone", tied, s.other, func(err error) bool { return err == nil })
	if p.nodes {
		p.awaitNode(t, tied, func(err error) bool { return err == nil })
	}
}

// awaitNode waits until a change of another node gives what is wanted.
func (p place) awaitNode(t *testing.T, c kubernetes.Interface, wanted func(error) bool) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = patchNode(ctx, c, "b", `{"metadata":{"labels":{"of":"`+p.account+`"}}}`)
		return wanted(last), nil
	})
	if err != nil {
		t.Fatalf("a change of another node: %v; the last answer: %v", err, last)
	}
}

// remove removes the policies, so that they do not hold in the next place.
func (p place) remove(t *testing.T, s *site) {
	t.Helper()
	admission := s.Client().AdmissionregistrationV1()
	err := admission.ValidatingAdmissionPolicyBindings().DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
	if err == nil {
		err = admission.ValidatingAdmissionPolicies().DeleteCollection(t.Context(), metav1.DeleteOptions{}, metav1.ListOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
}

// await waits until a patch of the pod, which changes nothing, gives what is wanted.
func (s *site) await(t *testing.T, what string, c kubernetes.Interface, pod *corev1.Pod, wanted func(error) bool) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = patch(ctx, c, pod, change{body: annotate("x"), dryRun: true})
		return wanted(last), nil
	})
	if err != nil {
		t.Fatalf("wait for %s: %v; the last answer: %v", what, err, last)
	}
}
