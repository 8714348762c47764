package kubeclient

import (
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// TestKubeFactsOfANode reads with the identity of a kubelet, and counts.
func TestKubeFactsOfANode(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "facts", "f1")
	resource := map[string]string{types.AnnotationResourceName: "example.com/nic"}
	c.MakeNAD(t, kube.NAD{Namespace: multusNamespace, Name: "base", Config: config("base"), Annotations: resource})
	p := through(t, c)
	request := &types.FactsRequest{Pod: pod, MultusNamespace: multusNamespace, Networks: []types.Ref{ref(multusNamespace, "base"), ref("facts", "gone")}}
	networks := []types.Network{
		{Ref: ref(multusNamespace, "base"), Config: config("base"), ResourceName: "example.com/nic"},
		{Ref: ref("facts", "gone"), Missing: true},
		{Ref: ref("facts", "a"), Config: config("a")},
		{Ref: ref("facts", "b"), Config: config("b")},
	}
	annotations := map[string]string{types.AnnotationNetworks: "a,b"}
	got, err := nodeClient(t, p.Access, "f1").Facts(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	pod.Annotations = annotations
	if diff := cmp.Diff(&types.Facts{Pod: pod, Networks: networks}, got); diff != "" {
		t.Error(diff)
	}
	counts(t, p, map[faultproxy.Match]int{{}: 5, {Verb: "get", Resource: "pods"}: 1, {Verb: "get", Resource: "network-attachment-definitions"}: 4})

	p.Forget()
	request.Pod, request.HasAnnotations = pod, true
	got, err = nodeClient(t, p.Access, "f1").Facts(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&types.Facts{Pod: pod, Networks: networks}, got); diff != "" {
		t.Error(diff)
	}
	counts(t, p, map[faultproxy.Match]int{{}: 4, {Resource: "pods"}: 0})

	p.Forget()
	request = &types.FactsRequest{Pod: types.Pod{Namespace: "facts", Name: "p", UID: pod.UID}, HasAnnotations: true}
	if _, err = nodeClient(t, p.Access, "f1").Facts(t.Context(), request); err != nil {
		t.Fatal(err)
	}
	counts(t, p, map[faultproxy.Match]int{{}: 0})
}

func TestKubeFactsErrors(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "wrong", "w1")
	c.MakeNode(t, "w2")
	old, gone := pod, pod
	old.UID, gone.Name = "00000000-old", "gone"
	nobody := func() (string, error) { return c.Kubeconfig("nobody", "nothing") }
	admin := func() (string, error) { return c.AdminKubeconfig(), nil }
	node := func() (string, error) { return c.NodeKubeconfig("w1") }
	other := func() (string, error) { return c.NodeKubeconfig("w2") }
	for name, test := range map[string]struct {
		as   func() (string, error)
		pod  types.Pod
		code uint
		want []string
		took time.Duration
	}{
		"older pod's sandbox":  {node, old, 0, []string{"pod wrong/p", "older pod", old.UID, pod.UID}, time.Second},
		"no such pod":          {admin, gone, 0, []string{"pod wrong/gone: not found"}, time.Second},
		"no such pod, as node": {node, gone, types.CodeTryAgainLater, []string{"pod wrong/gone", "no relationship found", "deleted"}, 10 * time.Second},
		"another node's pod":   {other, pod, types.CodeTryAgainLater, []string{"pod wrong/p", "bound to another node"}, 10 * time.Second},
		"no rights":            {nobody, pod, 0, []string{"read pod wrong/p", c.Server(), "403"}, time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			kubeconfig, err := test.as()
			begin := time.Now()
			_, err = client(t, kubeconfig, err).Facts(t.Context(), &types.FactsRequest{Pod: test.pod})
			wantError(t, err, test.code, test.want...)
			if took := time.Since(begin); took > test.took {
				t.Errorf("took %s", took)
			}
		})
	}
}

func wantError(t *testing.T, err error, code uint, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatal("got no error")
	}
	if got := types.CodeOf(err, 0); got != code {
		t.Errorf("code %d, want %d", got, code)
	}
	for _, part := range parts {
		if !strings.Contains(err.Error(), part) {
			t.Errorf("error %q does not say %q", err, part)
		}
	}
	t.Log(err)
}

func TestKubeFactsHintAtMissingRights(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "hint", "h1")
	pod.Annotations = map[string]string{types.AnnotationNetworks: "a"}
	kubeconfig, err := c.Kubeconfig("nobody", "nothing")
	facts, err := client(t, kubeconfig, err).Facts(t.Context(), &types.FactsRequest{Pod: pod, HasAnnotations: true})
	if err != nil {
		t.Fatal(err)
	}
	for _, part := range []string{"hint/a", "403", "system:nodes", "deploy/rbac-nodes.yaml"} {
		if got := facts.Networks[0]; !strings.Contains(got.Problem, part) || got.Code != 0 {
			t.Errorf("problem %q, code %d: want it to say %q", got.Problem, got.Code, part)
		}
	}
}

func TestKubeFactsOfAStaticPod(t *testing.T) {
	c := cluster(t)
	mirror := c.MakeMirrorPod(t, kube.Pod{Namespace: "static", Name: "s", Node: "st1", Annotations: map[string]string{types.AnnotationNetworks: "x"}})
	uid := mirror.Annotations[types.AnnotationConfigHash]
	facts, err := nodeClient(t, c.Access, "st1").Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "static", Name: "s", UID: uid}})
	if err != nil {
		t.Fatal(err)
	}
	if !facts.Pod.Static || facts.Pod.UID != uid || facts.Pod.Annotations[types.AnnotationNetworks] != "x" {
		t.Errorf("got %+v", facts.Pod)
	}
}

// TestKubeTokenFileIsReadAnew replaces a token, as the kubelet does.
func TestKubeTokenFileIsReadAnew(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "token", "t1")
	token, err := c.ServiceAccountToken(t.Context(), "token", "reader", nil)
	if err != nil {
		t.Fatal(err)
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "token-reader"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: "ServiceAccount", Namespace: "token", Name: "reader"}},
	}
	if _, err := c.Client().RbacV1().ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{}); err != nil {
		t.Fatal(err)
	}
	kubeconfig, file, err := c.TokenKubeconfig("stale")
	_, err = client(t, kubeconfig, err).Facts(t.Context(), &types.FactsRequest{Pod: pod})
	wantError(t, err, 0, "401")
	if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
		t.Fatal(err)
	}
	check.Eventually(t, "the rights, of which RBAC learns by a watch", 10*time.Second, func() error {
		facts, err := client(t, kubeconfig, nil).Facts(t.Context(), &types.FactsRequest{Pod: pod})
		if err == nil && facts.Networks[1].Config == "" {
			err = errors.New("the second network has no configuration")
		}
		return err
	})
}

// TestKubeAPIServerThatIsNotThere has a cluster of its own, which has no networks' kind either.
func TestKubeAPIServerThatIsNotThere(t *testing.T) {
	c, err := kube.Start(t.Context(), kube.Options{BinDir: kube.BinDir(t)})
	t.Cleanup(func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	})
	if err != nil {
		t.Fatal(err)
	}
	facts := func(timeout time.Duration) (*types.Facts, time.Duration, error) {
		begin := time.Now()
		node := nodeClient(t, c.Access, "d1")
		facts, err := node.Facts(t.Context(), &types.FactsRequest{
			Pod: types.Pod{Namespace: "down", Name: "p"}, Timeout: types.Duration(timeout), MultusNamespace: multusNamespace,
		})
		return facts, time.Since(begin), err
	}
	c.MakeNode(t, "d1")
	c.MakePod(t, kube.Pod{Namespace: "down", Name: "p", Node: "d1", Annotations: map[string]string{types.AnnotationNetworks: "a"}})
	got, err := client(t, c.AdminKubeconfig(), nil).Facts(t.Context(), &types.FactsRequest{Networks: []types.Ref{ref("down", "a")}})
	if err != nil || !got.Networks[0].Missing {
		t.Errorf("without the kind: got %+v, %v, want a missing network", got, err)
	}
	if err := c.Pause(); err != nil {
		t.Fatal(err)
	}
	_, took, err := facts(3 * time.Second)
	wantError(t, err, types.CodeTryAgainLater, "read pod down/p at "+c.Server(), "no answer")
	if took > 3*time.Second {
		t.Errorf("hanging: took %s", took)
	}
	if err := c.Resume(); err != nil {
		t.Fatal(err)
	}
	c.KillAPI()
	_, took, err = facts(3 * time.Second)
	wantError(t, err, types.CodeTryAgainLater, "read pod down/p at "+c.Server(), "attempts in", "connection refused")
	if took > 3*time.Second {
		t.Errorf("refused: took %s", took)
	}
	started := make(chan error, 1)
	go func() { started <- c.StartAPI(t.Context()) }()
	if _, took, err = facts(0); err != nil {
		t.Errorf("while it starts: %v", err)
	}
	t.Logf("answered %s after the API server was started", took)
	if err := <-started; err != nil {
		t.Fatal(err)
	}
}
