package kube_test

import (
	"context"
	"errors"
	"io"
	"net/http"
	"syscall"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
)

// through makes a proxy before the shared cluster and a client of a node that goes through it.
func through(t *testing.T, node string) (*kube.Proxy, kubernetes.Interface) {
	t.Helper()
	p, err := kube.Shared(t).Proxy()
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := p.Close(); err != nil {
			t.Error(err)
		}
	})
	kubeconfig, err := p.NodeKubeconfig(node)
	return p, kube.ClientOf(t, kubeconfig, err)
}

func TestKubeProxyKeepsRights(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNode(t, "pr1")
	c.MakeNode(t, "pr2")
	own := c.MakePod(t, kube.Pod{Namespace: "rights", Name: "own", Node: "pr1"})
	other := c.MakePod(t, kube.Pod{Namespace: "rights", Name: "other", Node: "pr2"})
	p, node := through(t, "pr1")
	wantCode(t, "own pod", annotate(t.Context(), node, own, types.MergePatchType, own.UID, "x"), 200)
	wantCode(t, "wrong UID", annotate(t.Context(), node, own, types.MergePatchType, "no-such-uid", "x"), 422)
	wantCode(t, "another node's pod", annotate(t.Context(), node, other, types.MergePatchType, other.UID, "x"), 403)
	kubeconfig, err := p.Kubeconfig("nobody", "nothing")
	nobody := kube.ClientOf(t, kubeconfig, err)
	wantCode(t, "a user without rights", listNamespaces(t.Context(), nobody), 403)
	admin := kube.ClientOf(t, p.AdminKubeconfig(), nil)
	wantCode(t, "an administrator", listNamespaces(t.Context(), admin), 200)
	kubeconfig, _, err = p.TokenKubeconfig("stale")
	wantCode(t, "a token that is none", listNamespaces(t.Context(), kube.ClientOf(t, kubeconfig, err)), 401)
	token, err := c.ServiceAccountToken(t.Context(), "rights", "account", nil)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, _, err = p.TokenKubeconfig(token)
	wantCode(t, "a token without rights", listNamespaces(t.Context(), kube.ClientOf(t, kubeconfig, err)), 403)
	proxyCounts(t, p, map[faultproxy.Match]int{
		{}:                            7,
		{User: "system:node:pr1"}:     3,
		{Resource: "pods/status"}:     3,
		{Verb: "list"}:                4,
		{Method: "PATCH", Path: "/o"}: 3,
		{Verb: "get"}:                 0,
	})
}

func proxyCounts(t *testing.T, p *kube.Proxy, want map[faultproxy.Match]int) {
	t.Helper()
	for match, n := range want {
		if got := p.Count(match); got != n {
			t.Errorf("%d requests match %+v, want %d", got, match, n)
		}
	}
}

func TestKubeProxyInjects(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNode(t, "in1")
	pod := c.MakePod(t, kube.Pod{Namespace: "inject", Name: "p", Node: "in1"})
	p, node := through(t, "in1")
	patches := faultproxy.Match{Method: http.MethodPatch, Path: "/pods/p/status"}
	patch := func(value string) error {
		return annotate(t.Context(), node, pod, types.MergePatchType, pod.UID, value)
	}
	for status, is := range map[int]func(error) bool{
		409: apierrors.IsConflict,
		429: apierrors.IsTooManyRequests,
		500: apierrors.IsInternalError,
		503: apierrors.IsServiceUnavailable,
	} {
		p.Forget()
		fault := p.Inject(faultproxy.Fault{Match: patches, Times: 2, Status: status})
		for range 2 {
			err := patch("refused")
			wantCode(t, "injected", err, int32(status))
			if !is(err) {
				t.Errorf("%d is not what it should be: %v", status, err)
			}
		}
		if got := annotation(t, c, pod); got == "refused" {
			t.Errorf("%d: the patch came through", status)
		}
		wantCode(t, "after the faults", patch("allowed"), 200)
		requests := p.Requests(patches)
		if len(requests) != 3 || fault.Hits() != 2 || !requests[1].Injected || requests[1].Status != status ||
			requests[2].Injected || requests[2].Status != 200 {
			t.Errorf("%d: %d hits, requests %+v", status, fault.Hits(), requests)
		}
	}

	p.Forget()
	p.Inject(faultproxy.Fault{Match: patches, Times: 1, Status: 429, RetryAfter: time.Second})
	began := time.Now()
	wantCode(t, "429 with Retry-After", patch("later"), 200) // client-go obeys by itself
	if took := time.Since(began); took < time.Second || p.Count(patches) != 2 {
		t.Errorf("Retry-After: %d requests in %s", p.Count(patches), took)
	}
}

func TestKubeProxyBreaks(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNode(t, "br1")
	pod := c.MakePod(t, kube.Pod{Namespace: "break", Name: "p", Node: "br1"})
	p, node := through(t, "br1")
	broken := func(err error) bool {
		return errors.Is(err, syscall.ECONNRESET) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
	}

	reset := p.Inject(faultproxy.Fault{Match: faultproxy.Match{Verb: "patch"}, Reset: true})
	if err := annotate(t.Context(), node, pod, types.MergePatchType, pod.UID, "reset"); !broken(err) {
		t.Errorf("a reset connection: got %v", err)
	}
	reset.Remove()
	if got := annotation(t, c, pod); got != "" {
		t.Errorf("reset: the annotation is %q", got)
	}

	p.Inject(faultproxy.Fault{Match: faultproxy.Match{Resource: "pods/status"}, Times: 1, Lose: true})
	if err := annotate(t.Context(), node, pod, types.MergePatchType, pod.UID, "lost"); !broken(err) {
		t.Errorf("a lost answer: got %v", err)
	}
	if got := annotation(t, c, pod); got != "lost" {
		t.Errorf("a lost answer: the annotation is %q", got)
	}
	if all := p.Requests(faultproxy.Match{}); len(all) != 2 || all[0].Status != 0 || all[1].Status != 200 {
		t.Errorf("requests %+v", all)
	}

	p.Inject(faultproxy.Fault{Delay: 300 * time.Millisecond})
	began := time.Now()
	wantCode(t, "a delayed request", annotate(t.Context(), node, pod, types.MergePatchType, pod.UID, "x"), 200)
	if took := time.Since(began); took < 300*time.Millisecond {
		t.Errorf("the delayed request took %s", took)
	}
}

func TestKubeProxyWatch(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNode(t, "wa1")
	p, node := through(t, "wa1")
	pods, err := node.CoreV1().Pods("").Watch(t.Context(), metav1.ListOptions{FieldSelector: "spec.nodeName=wa1"})
	if err != nil {
		t.Fatal(err)
	}
	defer pods.Stop()
	c.MakePod(t, kube.Pod{Namespace: "watch", Name: "p", Node: "wa1"})
	select {
	case event := <-pods.ResultChan():
		if event.Type != watch.Added {
			t.Errorf("got the event %v", event)
		}
	case <-time.After(10 * time.Second):
		t.Error("no event came through the proxy")
	}
	proxyCounts(t, p, map[faultproxy.Match]int{{Verb: "watch", Resource: "pods"}: 1})
}

func TestKubeAudit(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNode(t, "au1")
	pod := c.MakePod(t, kube.Pod{Namespace: "audit", Name: "p", Node: "au1"})
	kubeconfig, err := c.NodeKubeconfig("au1")
	direct := kube.ClientOf(t, kubeconfig, err)
	_, proxied := through(t, "au1")
	patches := func(e kube.AuditEvent) bool { return e.Verb == "patch" && e.ObjectRef.Namespace == "audit" }
	before, err := c.Audit(patches) // of an earlier run with -count
	if err != nil {
		t.Fatal(err)
	}
	for _, node := range []kubernetes.Interface{direct, proxied} {
		wantCode(t, "patch", annotate(t.Context(), node, pod, types.MergePatchType, pod.UID, "x"), 200)
	}
	wantCode(t, "wrong UID", annotate(t.Context(), direct, pod, types.MergePatchType, "no-such-uid", "x"), 422)
	var events []kube.AuditEvent
	err = wait.PollUntilContextTimeout(t.Context(), 10*time.Millisecond, 10*time.Second, true, func(context.Context) (bool, error) {
		if events, err = c.Audit(patches); err == nil {
			events = events[len(before):]
		}
		return len(events) == 3 && events[2].ResponseStatus.Code != 0, err
	})
	if err != nil {
		t.Fatalf("%v: the audit log has %+v", err, events)
	}
	for i, code := range []int{200, 200, 422} {
		e := events[i]
		if e.Caller() != "system:node:au1" || e.ResponseStatus.Code != code || e.ObjectRef.Resource != "pods" ||
			e.ObjectRef.Subresource != "status" || e.ObjectRef.Name != "p" {
			t.Errorf("event %d, of which the code is to be %d: %+v", i, code, e)
		}
	}
}
