package deploy

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

const (
	taintKey  = "plexus-cni.io/not-ready"
	taintName = "plexus-agent-taint"
)

func patchNode(ctx context.Context, c kubernetes.Interface, node, body string, subresources ...string) error {
	_, err := c.CoreV1().Nodes().Patch(ctx, node, types.MergePatchType, []byte(body), metav1.PatchOptions{}, subresources...)
	return err
}

// tainted gives a node these taints.
func (s *site) tainted(t *testing.T, node string, keys ...string) {
	t.Helper()
	if err := patchNode(context.WithoutCancel(t.Context()), s.Client(), node, taintPatch(keys...)); err != nil {
		t.Fatal(err)
	}
}

func taintPatch(keys ...string) string {
	var taints []string
	for _, key := range keys {
		taints = append(taints, fmt.Sprintf(`{"key":%q,"effect":"NoSchedule"}`, key))
	}
	return fmt.Sprintf(`{"spec":{"taints":[%s]}}`, strings.Join(taints, ","))
}

// TestKubeDeployTaint applies the component, by which the agent may take one taint off its own
// node, and do nothing else to any. TestKubeDeploySame holds the chart to the same.
func TestKubeDeployTaint(t *testing.T) {
	s := newSite(t)
	if err := patchNode(t.Context(), s.agent, "a", `{}`); !apierrors.IsForbidden(err) || isTaintPolicy(err) {
		t.Fatalf("without the component: %v", err)
	}
	t.Cleanup(func() { s.withoutTaint(t) })
	to := newServer(t, s.Cluster)
	for _, object := range kustomize(t, overlays["taint"].dir) {
		if object.GetName() != taintName {
			continue
		}
		if err := to.apply(t, object, false); err != nil {
			t.Fatalf("apply %s %s: %v", object.GetKind(), object.GetName(), err)
		}
	}
	s.awaitTaintPolicy(t)
	s.checkTaints(t)
}

// withoutTaint takes the component away from the cluster, which other tests share.
func (s *site) withoutTaint(t *testing.T) {
	ctx, policies := context.WithoutCancel(t.Context()), s.Client().AdmissionregistrationV1()
	for _, remove := range []func(context.Context, string, metav1.DeleteOptions) error{
		s.Client().RbacV1().ClusterRoleBindings().Delete, s.Client().RbacV1().ClusterRoles().Delete,
		policies.ValidatingAdmissionPolicyBindings().Delete, policies.ValidatingAdmissionPolicies().Delete,
	} {
		if err := remove(ctx, taintName, metav1.DeleteOptions{}); err != nil && !apierrors.IsNotFound(err) {
			t.Error(err)
		}
	}
	// Until the right is gone, another test would see it.
	if err := wait.PollUntilContextTimeout(ctx, 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		return apierrors.IsForbidden(patchNode(ctx, s.agent, "a", `{}`)), nil
	}); err != nil {
		t.Errorf("the right is not gone: %v", err)
	}
	s.tainted(t, "a")
	s.tainted(t, "b")
}

// awaitTaintPolicy returns once the right and the policy are in force.
func (s *site) awaitTaintPolicy(t *testing.T) {
	t.Helper()
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		err := patchNode(ctx, s.agent, "b", `{"metadata":{"labels":{"probe":"x"}}}`)
		return isTaintPolicy(err), nil
	})
	if err != nil {
		t.Fatalf("the policy is not in force: %v", err)
	}
}

func isTaintPolicy(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), "ValidatingAdmissionPolicy 'plexus-agent-taint'")
}

func (s *site) checkTaints(t *testing.T) {
	t.Helper()
	const other = "example.com/other"
	for _, tc := range []struct{ name, node, body, want string }{
		{"its taint", "a", taintPatch(other), ""},
		{"nothing", "a", `{}`, ""},
		{"another taint", "a", taintPatch(taintKey), "may change no taint"},
		{"all taints", "a", `{"spec":{"taints":null}}`, "may change no taint"},
		{"a new taint", "a", taintPatch(taintKey, other, "example.com/new"), "may change no taint"},
		{"a taint of another effect", "a", `{"spec":{"taints":[{"key":"example.com/other","effect":"NoExecute"}]}}`, "may change no taint"},
		{"unschedulable", "a", `{"spec":{"unschedulable":true}}`, "nothing of a node but a taint"},
		{"the network of pods", "a", `{"spec":{"podCIDR":"192.0.2.0/24","podCIDRs":["192.0.2.0/24"]}}`, "nothing of a node but a taint"},
		{"a label", "a", `{"metadata":{"labels":{"node-role.kubernetes.io/x":""}}}`, "nothing of a node's metadata"},
		{"a label's removal", "a", `{"metadata":{"labels":null}}`, "nothing of a node's metadata"},
		{"an annotation", "a", `{"metadata":{"annotations":{"x":"y"}}}`, "nothing of a node's metadata"},
		{"another node's taint", "b", taintPatch(other), "plexus-agent of node a may not change node b"},
	} {
		s.tainted(t, tc.node, taintKey, other)
		err := patchNode(t.Context(), s.agent, tc.node, tc.body)
		switch {
		case tc.want == "" && err != nil:
			t.Errorf("%s: %v", tc.name, err)
		case tc.want != "" && (!isTaintPolicy(err) || !strings.Contains(err.Error(), tc.want)):
			t.Errorf("%s: got %v, want a denial that says %q", tc.name, err, tc.want)
		}
	}
	if err := patchNode(t.Context(), s.agent, "a", `{"status":{"phase":"x"}}`, "status"); !apierrors.IsForbidden(err) {
		t.Errorf("the status: %v", err)
	}
	if err := patchNode(t.Context(), s.unbound, "a", `{}`); !isTaintPolicy(err) {
		t.Errorf("a token that is bound to no pod: %v", err)
	}
	if err := patchNode(t.Context(), s.Client(), "b", `{"metadata":{"labels":{"a":"b"}}}`); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	s.tainted(t, "a", taintKey, other)
	if err := removeByJSON(t.Context(), s.agent); err != nil {
		t.Errorf("as the agent does it: %v", err)
	}
}

// removeByJSON removes the taint of node a as the agent does.
func removeByJSON(ctx context.Context, c kubernetes.Interface) error {
	node, err := c.CoreV1().Nodes().Get(ctx, "a", metav1.GetOptions{})
	if err != nil {
		return err
	}
	if len(node.Spec.Taints) != 2 {
		return errors.New("the node has not its two taints")
	}
	body := `[{"op":"test","path":"/spec/taints","value":[{"key":"plexus-cni.io/not-ready","effect":"NoSchedule"},{"key":"example.com/other","effect":"NoSchedule"}]},
		{"op":"replace","path":"/spec/taints","value":[{"key":"example.com/other","effect":"NoSchedule"}]}]`
	node, err = c.CoreV1().Nodes().Patch(ctx, "a", types.JSONPatchType, []byte(body), metav1.PatchOptions{})
	if err == nil && len(node.Spec.Taints) != 1 {
		err = fmt.Errorf("the taints are %v", node.Spec.Taints)
	}
	return err
}
