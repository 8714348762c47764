package deploy

import (
	"context"
	"fmt"
	"slices"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	authorizationv1 "k8s.io/api/authorization/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// TestKubeDeployRights compares all that the agent's account may do with what it is to.
func TestKubeDeployRights(t *testing.T) {
	s := newSite(t)
	want := []string{
		"get k8s.cni.cncf.io/network-attachment-definitions", "get /pods",
		"list k8s.cni.cncf.io/network-attachment-definitions", "list /pods",
		"watch k8s.cni.cncf.io/network-attachment-definitions", "watch /pods",
		"patch /pods/status", "create /events", "patch /events",
	}
	slices.Sort(want)
	nobody := s.account(t, "policy", "nobody", nil)
	for _, in := range []string{"default", "kube-system", namespace} {
		// Every account may something: ask about itself, for example.
		everybody := rights(t, nobody, in)
		got := slices.DeleteFunc(rights(t, s.agent, in), func(right string) bool { return slices.Contains(everybody, right) })
		if diff := gocmp.Diff(want, got); diff != "" {
			t.Errorf("rights in namespace %s, wanted (-) and given (+):\n%s", in, diff)
		}
	}
}

// rights are all of a client in a namespace, those in every namespace and of the cluster included.
func rights(t *testing.T, c kubernetes.Interface, namespace string) []string {
	t.Helper()
	review := &authorizationv1.SelfSubjectRulesReview{Spec: authorizationv1.SelfSubjectRulesReviewSpec{Namespace: namespace}}
	review, err := c.AuthorizationV1().SelfSubjectRulesReviews().Create(t.Context(), review, metav1.CreateOptions{})
	if err != nil || review.Status.EvaluationError != "" {
		t.Fatalf("%v %s", err, review.Status.EvaluationError)
	}
	var all []string
	for _, rule := range review.Status.ResourceRules {
		for _, verb := range rule.Verbs {
			for _, group := range rule.APIGroups {
				for _, resource := range rule.Resources {
					all = append(all, fmt.Sprintf("%s %s/%s", verb, group, resource))
				}
			}
		}
	}
	slices.Sort(all)
	return slices.Compact(all)
}

// TestKubeDeployRequests makes requests that the agent makes, and some that it must not.
func TestKubeDeployRequests(t *testing.T) {
	s := newSite(t)
	core, ctx := s.agent.CoreV1(), t.Context()
	event, err := core.Events("policy").Create(ctx, eventOf("a", onPod("own")), metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("create an event: %v", err)
	}
	for what, ask := range map[string]func() error{
		"list pods of the node": func() error {
			_, err := core.Pods("").List(ctx, metav1.ListOptions{FieldSelector: "spec.nodeName=a"})
			return err
		},
		"get a pod":     func() error { _, err := core.Pods("policy").Get(ctx, "own", metav1.GetOptions{}); return err },
		"list networks": func() error { return s.dynamicList(ctx) },
		"patch an event": func() error {
			_, err := core.Events("policy").Patch(ctx, event.Name, types.MergePatchType, []byte(`{"count":2}`), metav1.PatchOptions{})
			return err
		},
	} {
		if err := ask(); err != nil {
			t.Errorf("%s: %v", what, err)
		}
	}
	for what, ask := range map[string]func() error{
		"get a secret": func() error { _, err := core.Secrets(namespace).Get(ctx, "x", metav1.GetOptions{}); return err },
		"get a node":   func() error { _, err := core.Nodes().Get(ctx, "a", metav1.GetOptions{}); return err },
		"delete a pod": func() error { return core.Pods("policy").Delete(ctx, "own", metav1.DeleteOptions{}) },
		"create a pod": func() error { _, err := core.Pods("policy").Create(ctx, s.own, metav1.CreateOptions{}); return err },
		"update a pod": func() error { _, err := core.Pods("policy").Update(ctx, s.own, metav1.UpdateOptions{}); return err },
		"patch a pod": func() error {
			_, err := core.Pods("policy").Patch(ctx, "own", types.MergePatchType, []byte(annotate("x")), metav1.PatchOptions{})
			return err
		},
		"replace a pod's status": func() error {
			_, err := core.Pods("policy").UpdateStatus(ctx, s.own, metav1.UpdateOptions{})
			return err
		},
		"list events": func() error { _, err := core.Events("policy").List(ctx, metav1.ListOptions{}); return err },
		"get a configuration": func() error {
			_, err := core.ConfigMaps("kube-system").Get(ctx, "x", metav1.GetOptions{})
			return err
		},
		"issue a token": func() error {
			_, err := core.ServiceAccounts(namespace).CreateToken(ctx, agent, nil, metav1.CreateOptions{})
			return err
		},
	} {
		if err := ask(); !apierrors.IsForbidden(err) || isPolicy(err) {
			t.Errorf("%s: got %v, want forbidden by RBAC", what, err)
		}
	}
}

// dynamicList lists networks as the agent, without a client of the type.
func (s *site) dynamicList(ctx context.Context) error {
	return s.agent.CoreV1().RESTClient().Get().AbsPath("/apis", kube.NADs.Group, kube.NADs.Version, kube.NADs.Resource).Do(ctx).Error()
}
