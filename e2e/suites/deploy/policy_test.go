package deploy

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	plexus "github.com/plexus-cni/plexus/types"
)

const policyName = "ValidatingAdmissionPolicy 'plexus-agent'"

// site is a cluster with the manifests applied, and an agent on node a.
type site struct {
	*kube.Cluster
	agent, unbound kubernetes.Interface // with the token of the agent's pod, and with one that is bound to no pod
	own, other     *corev1.Pod          // of nodes a and b
}

// newSite applies the manifests, and returns once what they say is in force.
func newSite(t *testing.T) *site {
	t.Helper()
	s := &site{Cluster: kube.Shared(t)}
	to := newServer(t, s.Cluster)
	for _, object := range kustomize(t, ".") {
		if err := to.apply(t, object, false); err != nil {
			t.Fatalf("apply %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
	s.MakeNode(t, "a")
	s.MakeNode(t, "b")
	annotations := map[string]string{"kept": "as it is", plexus.AnnotationNetworks: "net"}
	s.own = s.MakePod(t, kube.Pod{Namespace: "policy", Name: "own", Node: "a", Annotations: annotations})
	s.other = s.MakePod(t, kube.Pod{Namespace: "policy", Name: "other", Node: "b", Annotations: annotations})
	runs := s.MakePod(t, kube.Pod{Namespace: namespace, Name: "agent-a", Node: "a", ServiceAccount: agent})
	s.agent, s.unbound = s.account(t, namespace, agent, runs), s.account(t, namespace, agent, nil)
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := patch(ctx, s.agent, s.other, change{body: annotate("x"), dryRun: true})
		return isPolicy(err), nil
	})
	if err != nil {
		t.Fatalf("the policy is not in force: %v", err)
	}
	return s
}

// account makes a client with a token of a service account, bound to a pod if one is given.
func (s *site) account(t *testing.T, namespace, name string, pod *corev1.Pod) kubernetes.Interface {
	t.Helper()
	token, err := s.ServiceAccountToken(t.Context(), namespace, name, pod)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, _, err := s.TokenKubeconfig(token)
	return kube.ClientOf(t, kubeconfig, err)
}

// change is a patch of pods/status; a merge patch unless it says otherwise.
type change struct {
	kind   types.PatchType
	body   string
	dryRun bool
}

func annotate(value string) string { return annotation(plexus.AnnotationNetworkStatus, value) }

func annotation(key, value string) string {
	return fmt.Sprintf(`{"metadata":{"annotations":{%q:%q}}}`, key, value)
}

func patch(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, what change) error {
	options := metav1.PatchOptions{}
	if what.kind == "" {
		what.kind = types.MergePatchType
	}
	if what.kind == types.ApplyPatchType {
		options = metav1.PatchOptions{FieldManager: "plexus", Force: new(true)}
	}
	if what.dryRun {
		options.DryRun = []string{metav1.DryRunAll}
	}
	_, err := c.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, what.kind, []byte(what.body), options, "status")
	return err
}

func isPolicy(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), policyName)
}

// isDenial reports whether a policy of any name has denied a change.
func isDenial(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy '")
}

// denied sees to it that the policy has denied something, in these words.
func denied(t *testing.T, err error, words string) {
	t.Helper()
	if !isPolicy(err) || !strings.Contains(err.Error(), words) {
		t.Errorf("got %v, want a denial by the policy that says %q", err, words)
	}
}

// stored gives what the API server has of a pod, but not what changes with every write.
func stored(t *testing.T, s *site, pod *corev1.Pod) string {
	t.Helper()
	got, err := s.Client().CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	got.ManagedFields, got.ResourceVersion = nil, ""
	delete(got.Annotations, plexus.AnnotationNetworkStatus)
	data, err := json.Marshal(got)
	if err != nil {
		t.Fatal(err)
	}
	return string(data)
}

func TestKubeDeployPolicyAllows(t *testing.T) {
	s := newSite(t)
	before := stored(t, s, s.own)
	status := s.own.DeepCopy()
	for what, change := range map[string]change{
		"a merge patch":           {body: annotate("merge")},
		"on condition of the UID": {body: fmt.Sprintf(`{"metadata":{"uid":%q,"annotations":{%q:"u"}}}`, s.own.UID, plexus.AnnotationNetworkStatus)},
		"a strategic merge patch": {kind: types.StrategicMergePatchType, body: annotate("strategic")},
		"a JSON patch": {
			kind: types.JSONPatchType,
			body: `[{"op":"add","path":"/metadata/annotations/` + strings.ReplaceAll(plexus.AnnotationNetworkStatus, "/", "~1") + `","value":"json"}]`,
		},
		"an apply": {kind: types.ApplyPatchType, body: `{"apiVersion":"v1","kind":"Pod",` + annotate("apply")[1:]},
		"removal":  {body: fmt.Sprintf(`{"metadata":{"annotations":{%q:null}}}`, plexus.AnnotationNetworkStatus)},
		"nothing":  {body: `{}`},
		// What this resource never writes is no concern of the policy, and stays as it is.
		"the specification": {body: `{"spec":{"activeDeadlineSeconds":1}}`},
		"an owner":          {body: `{"metadata":{"ownerReferences":[{"apiVersion":"v1","kind":"Node","name":"a","uid":"1"}]}}`},
	} {
		if err := patch(t.Context(), s.agent, status, change); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	if after := stored(t, s, s.own); after != before {
		t.Errorf("the pod was\n%s\nand is\n%s", before, after)
	}
	bare := s.MakePod(t, kube.Pod{Namespace: "policy", Name: "bare", Node: "a"})
	if err := patch(t.Context(), s.agent, bare, change{body: annotate("first")}); err != nil {
		t.Errorf("the first annotation of a pod: %v", err)
	}
}

// TestKubeDeployPolicyCost bounds what the policy costs for a pod with very many annotations.
func TestKubeDeployPolicyCost(t *testing.T) {
	s := newSite(t)
	annotations := map[string]string{}
	for i := range 5000 {
		annotations[fmt.Sprintf("example.com/annotation-%d", i)] = "0123456789"
	}
	pod := s.MakePod(t, kube.Pod{Namespace: "policy", Name: "many", Node: "a", Annotations: annotations})
	if err := patch(t.Context(), s.agent, pod, change{body: annotate("x")}); err != nil {
		t.Error(err)
	}
	denied(t, patch(t.Context(), s.agent, pod, change{body: annotation("example.com/annotation-4999", "x")}), "may change no annotation but")
}

func TestKubeDeployPolicyDenies(t *testing.T) {
	s := newSite(t)
	annotations, metadata, status := "may change no annotation but", "may change nothing of a pod's metadata", "may change nothing of a pod's status"
	before := stored(t, s, s.own)
	for _, test := range []struct{ name, body, want string }{
		{"another annotation", annotation("other", "x"), annotations},
		{"another annotation besides", `{"metadata":{"annotations":{"other":"x","` + plexus.AnnotationNetworkStatus + `":"[]"}}}`, annotations},
		{"the selection of networks", annotation(plexus.AnnotationNetworks, "another"), annotations},
		{"an annotation's removal", `{"metadata":{"annotations":{"kept":null}}}`, annotations},
		{"all annotations' removal", `{"metadata":{"annotations":null}}`, annotations},
		{"an annotation of a similar name", annotation("k8s.v1.cni.cncf.io/networks-status", "[]"), annotations},
		{"a label", `{"metadata":{"labels":{"a":"b"}}}`, metadata},
		{"a finalizer", `{"metadata":{"finalizers":["example.com/stay"]}}`, metadata},
		{"the name's origin", `{"metadata":{"generateName":"x-"}}`, metadata},
		{"the phase", `{"status":{"phase":"Running"}}`, status},
		{"a condition", `{"status":{"conditions":[{"type":"Ready","status":"True"}]}}`, status},
		{"an address", `{"status":{"podIP":"192.0.2.1","podIPs":[{"ip":"192.0.2.1"}]}}`, status},
	} {
		t.Run(test.name, func(t *testing.T) {
			denied(t, patch(t.Context(), s.agent, s.own, change{body: test.body}), test.want)
		})
	}
	if after := stored(t, s, s.own); after != before {
		t.Errorf("the pod was\n%s\nand is\n%s", before, after)
	}
	t.Run("an apply", func(t *testing.T) {
		denied(t, patch(t.Context(), s.agent, s.own, change{kind: types.ApplyPatchType, body: `{"apiVersion":"v1","kind":"Pod",` + annotation("other", "x")[1:]}), annotations)
	})
}

func TestKubeDeployPolicyNodes(t *testing.T) {
	s := newSite(t)
	nowhere := s.MakePod(t, kube.Pod{Namespace: "policy", Name: "nowhere"})
	before := stored(t, s, s.other)
	denied(t, patch(t.Context(), s.agent, s.other, change{body: annotate("x")}), "plexus-agent of node a may not write the status of a pod of node b")
	denied(t, patch(t.Context(), s.agent, nowhere, change{body: annotate("x")}), "may not write the status of a pod of no node")
	denied(t, patch(t.Context(), s.unbound, s.own, change{body: annotate("x")}), "the token of plexus-agent does not say its node")
	denied(t, patch(t.Context(), s.unbound, nowhere, change{body: annotate("x")}), "the token of plexus-agent does not say its node")
	if after := stored(t, s, s.other); after != before {
		t.Errorf("the pod was\n%s\nand is\n%s", before, after)
	}
}

// TestKubeDeployPolicyOthers sees to it that the policy is about nobody else.
func TestKubeDeployPolicyOthers(t *testing.T) {
	s := newSite(t)
	ready := change{body: `{"metadata":{"annotations":{"other":"x"}},"status":{"conditions":[{"type":"Ready","status":"True"}]}}`}
	kubeconfig, err := s.NodeKubeconfig("b")
	kubelet := kube.ClientOf(t, kubeconfig, err)
	if err := patch(t.Context(), kubelet, s.other, ready); err != nil {
		t.Errorf("the kubelet: %v", err)
	}
	if err := patch(t.Context(), kubelet, s.own, ready); isPolicy(err) || !apierrors.IsForbidden(err) {
		t.Errorf("the kubelet, another node's pod: %v", err)
	}
	if err := patch(t.Context(), s.Client(), s.own, ready); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	s.grant(t, "policy", "controller")
	err = patch(t.Context(), s.account(t, "policy", "controller", nil), s.other, change{body: annotation("other", "y")})
	if err != nil {
		t.Errorf("another service account: %v", err)
	}
}

// grant gives a service account the agent's role, and returns once it holds.
func (s *site) grant(t *testing.T, namespace, name string) {
	t.Helper()
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: agent},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: name}},
	}
	if _, err := s.Client().RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	c := s.account(t, namespace, name, nil)
	err := wait.PollUntilContextTimeout(t.Context(), 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := patch(ctx, c, s.own, change{body: `{}`, dryRun: true})
		var status apierrors.APIStatus
		if err != nil && !errors.As(err, &status) {
			return false, err
		}
		return err == nil, nil
	})
	if err != nil {
		t.Fatalf("the role is not in force: %v", err)
	}
}
