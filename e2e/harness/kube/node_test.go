package kube_test

import (
	"context"
	"encoding/json"
	"errors"
	"os"
	"testing"
	"time"

	authenticationv1 "k8s.io/api/authentication/v1"
	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/client-go/dynamic"
	"k8s.io/client-go/kubernetes"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

const statusAnnotation = "k8s.v1.cni.cncf.io/network-status"

// annotate patches an annotation of a pod through pods/status, on condition of a UID.
func annotate(ctx context.Context, c kubernetes.Interface, pod *corev1.Pod, kind types.PatchType, uid types.UID, value string) error {
	patch, err := json.Marshal(map[string]any{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": map[string]any{"uid": uid, "annotations": map[string]string{statusAnnotation: value}},
	})
	if err != nil {
		return err
	}
	var options metav1.PatchOptions
	if kind == types.ApplyPatchType {
		options = metav1.PatchOptions{FieldManager: "plexus", Force: new(true)}
	}
	_, err = c.CoreV1().Pods(pod.Namespace).Patch(ctx, pod.Name, kind, patch, options, "status")
	return err
}

func annotation(t *testing.T, c *kube.Cluster, pod *corev1.Pod) string {
	t.Helper()
	got, err := c.Client().CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return got.Annotations[statusAnnotation]
}

// wantCode checks an answer of the API server, and logs its very words.
func wantCode(t *testing.T, what string, err error, code int32) {
	t.Helper()
	got := int32(200)
	if err != nil {
		var status apierrors.APIStatus
		if !errors.As(err, &status) {
			t.Fatalf("%s: got %v, want an answer of %d", what, err, code)
		}
		got = status.Status().Code
		t.Logf("%s: %d %s: %s", what, got, status.Status().Reason, status.Status().Message)
	}
	if got != code {
		t.Errorf("%s: got %d (%v), want %d", what, got, err, code)
	}
}

func TestKubeNodeReads(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNode(t, "rd1")
	c.MakeNode(t, "rd2")
	c.MakePod(t, kube.Pod{Namespace: "reads", Name: "own", Node: "rd1"})
	c.MakePod(t, kube.Pod{Namespace: "reads", Name: "other", Node: "rd2"})
	kubeconfig, err := c.NodeKubeconfig("rd1")
	node := kube.ClientOf(t, kubeconfig, err)
	get := func(pod string) error {
		_, err := node.CoreV1().Pods("reads").Get(t.Context(), pod, metav1.GetOptions{})
		return err
	}
	list := func(selector string) error {
		_, err := node.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{FieldSelector: selector})
		return err
	}
	wantCode(t, "read own pod", get("own"), 200)
	wantCode(t, "read another node's pod", get("other"), 403)
	wantCode(t, "read a missing pod", get("missing"), 403)
	wantCode(t, "list own pods", list("spec.nodeName=rd1"), 200)
	wantCode(t, "list another node's pods", list("spec.nodeName=rd2"), 403)
	wantCode(t, "list all pods", list(""), 403)
}

func TestKubeNodePatches(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNode(t, "id1")
	c.MakeNode(t, "id2")
	own := c.MakePod(t, kube.Pod{Namespace: "patches", Name: "own", Node: "id1"})
	other := c.MakePod(t, kube.Pod{Namespace: "patches", Name: "other", Node: "id2"})
	missing := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Namespace: "patches", Name: "missing"}}
	kubeconfig, err := c.NodeKubeconfig("id1")
	node := kube.ClientOf(t, kubeconfig, err)
	for _, kind := range []types.PatchType{types.StrategicMergePatchType, types.MergePatchType, types.ApplyPatchType} {
		t.Run(string(kind), func(t *testing.T) {
			patch := func(pod *corev1.Pod, uid types.UID, value string) error {
				return annotate(t.Context(), node, pod, kind, uid, value)
			}
			value := string(kind)
			wantCode(t, "own pod", patch(own, own.UID, value), 200)
			wantCode(t, "wrong UID", patch(own, "no-such-uid", "wrong"), 422)
			wantCode(t, "another node's pod", patch(other, other.UID, "wrong"), 403)
			wantCode(t, "another node's pod, wrong UID", patch(other, own.UID, "wrong"), 403)
			wantCode(t, "a missing pod", patch(missing, own.UID, "wrong"), 404)
			if got := annotation(t, c, own); got != value {
				t.Errorf("the own pod's annotation is %q, want %q", got, value)
			}
			if got := annotation(t, c, other); got != "" {
				t.Errorf("another node's pod has the annotation %q", got)
			}
		})
	}
	for what, patch := range map[string]struct {
		kind         types.PatchType
		body         string
		code         int32
		subresources []string
	}{
		"a JSON patch": {types.JSONPatchType, `[{"op":"add","path":"/metadata/annotations/a","value":"b"}]`, 200, []string{"status"}},
		"a JSON patch whose test of the UID fails": {types.JSONPatchType, `[{"op":"test","path":"/metadata/uid","value":"x"}]`, 422, []string{"status"}},
		"a stale version":                          {types.MergePatchType, `{"metadata":{"resourceVersion":"1","annotations":{"a":"c"}}}`, 409, []string{"status"}},
		"a label":                                  {types.MergePatchType, `{"metadata":{"labels":{"a":"b"}}}`, 403, []string{"status"}},
		"the pod itself":                           {types.MergePatchType, `{"metadata":{"annotations":{"a":"c"}}}`, 403, nil},
	} {
		_, err = node.CoreV1().Pods("patches").Patch(t.Context(), "own", patch.kind, []byte(patch.body), metav1.PatchOptions{}, patch.subresources...)
		wantCode(t, what, err, patch.code)
	}
}

func TestKubeMirrorPod(t *testing.T) {
	c := kube.Shared(t)
	pod := c.MakeMirrorPod(t, kube.Pod{
		Namespace: "mirror", Name: "static-m1", Node: "m1", Annotations: map[string]string{"k": "v"},
	})
	hash := pod.Annotations["kubernetes.io/config.hash"]
	if len(hash) != 32 || pod.Annotations["kubernetes.io/config.mirror"] != hash || string(pod.UID) == hash {
		t.Errorf("UID %s, annotations %v", pod.UID, pod.Annotations)
	}
	if pod.Annotations["kubernetes.io/config.source"] != "file" || pod.Annotations["k"] != "v" {
		t.Errorf("annotations %v", pod.Annotations)
	}
	kubeconfig, err := c.NodeKubeconfig("m1")
	node := kube.ClientOf(t, kubeconfig, err)
	wantCode(t, "patch with the UID of the API", annotate(t.Context(), node, pod, types.MergePatchType, pod.UID, "x"), 200)
	wantCode(t, "patch with the hash", annotate(t.Context(), node, pod, types.MergePatchType, types.UID(hash), "y"), 422)
	ordinary := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "o"}, Spec: pod.Spec}
	_, err = node.CoreV1().Pods("mirror").Create(t.Context(), ordinary, metav1.CreateOptions{})
	wantCode(t, "make a pod that is no mirror", err, 403)
}

func TestKubeNetworks(t *testing.T) {
	c := own(t) // the CRD must not be there yet
	c.MakeNode(t, "n1")
	c.MakePod(t, kube.Pod{Namespace: "a", Name: "p", Node: "n1"})
	kubeconfig, err := c.NodeKubeconfig("n1")
	if err != nil {
		t.Fatal(err)
	}
	config, err := kube.RESTConfig(kubeconfig)
	if err != nil {
		t.Fatal(err)
	}
	node, err := dynamic.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	read := func(c dynamic.Interface, name string) error {
		_, err := c.Resource(kube.NADs).Namespace("a").Get(t.Context(), name, metav1.GetOptions{})
		return err
	}
	wantCode(t, "read without the CRD, node", read(node, "net"), 403)
	wantCode(t, "read without the CRD, admin", read(c.Dynamic(), "net"), 404)
	began := time.Now()
	if err := c.ApplyNADCRD(t.Context()); err != nil {
		t.Fatal(err)
	}
	t.Logf("networks are served after %s", time.Since(began))
	made := c.MakeNAD(t, kube.NAD{Namespace: "a", Name: "net", Config: `{"type":"x"}`, Annotations: map[string]string{"k": "v"}})
	c.MakeNAD(t, kube.NAD{Namespace: "a", Name: "on-disk"})
	if spec := made.Object["spec"].(map[string]any); spec["config"] != `{"type":"x"}` || made.GetAnnotations()["k"] != "v" {
		t.Errorf("made %v", made.Object)
	}
	wantCode(t, "read without the right", read(node, "net"), 403)
	for range 2 { // applying again changes nothing
		if err := c.BindNodesReadNADs(t.Context()); err != nil {
			t.Fatal(err)
		}
	}
	wantCode(t, "read with the right", read(node, "net"), 200)
	wantCode(t, "read one that is missing", read(node, "missing"), 404)
	err = node.Resource(kube.NADs).Namespace("a").Delete(t.Context(), "net", metav1.DeleteOptions{})
	wantCode(t, "delete with the right to read", err, 403)
}

func TestKubeTokenFile(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNode(t, "t1")
	pod := c.MakePod(t, kube.Pod{Namespace: "tokens", Name: "agent", Node: "t1", ServiceAccount: "agent"})
	token, err := c.ServiceAccountToken(t.Context(), "tokens", "agent", pod)
	if err != nil {
		t.Fatal(err)
	}
	kubeconfig, file, err := c.TokenKubeconfig("stale")
	if err != nil {
		t.Fatal(err)
	}
	write := func(token string) {
		t.Helper()
		if err := os.WriteFile(file, []byte(token), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	whoami := func() (authenticationv1.UserInfo, error) {
		review := &authenticationv1.SelfSubjectReview{}
		review, err := kube.ClientOf(t, kubeconfig, nil).AuthenticationV1().SelfSubjectReviews().Create(t.Context(), review, metav1.CreateOptions{})
		return review.Status.UserInfo, err
	}
	_, err = whoami()
	wantCode(t, "a token that is none", err, 401)
	write(token)
	user, err := whoami()
	wantCode(t, "a token that is one", err, 200)
	node := user.Extra["authentication.kubernetes.io/node-name"]
	if user.Username != "system:serviceaccount:tokens:agent" || len(node) != 1 || node[0] != "t1" {
		t.Errorf("the token says %+v", user)
	}
	write("stale again")
	_, err = whoami()
	wantCode(t, "a token that is none again", err, 401)
}
