package kube

import (
	"context"
	"crypto/rand"
	"encoding/hex"
	"maps"
	"testing"
	"time"

	authorizationv1 "k8s.io/api/authorization/v1"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/client-go/kubernetes"
)

// Pod says which pod to make. Its namespace is made when it is missing; its node must exist if
// the pod is a mirror pod. Node and ServiceAccount may be empty.
type Pod struct {
	Namespace, Name, Node string
	ServiceAccount        string // not for mirror pods: NodeRestriction forbids it
	Annotations           map[string]string
}

// NAD says which NetworkAttachmentDefinition to make. Its namespace is made when it is missing.
type NAD struct {
	Namespace, Name string
	Config          string // may be empty: then spec.config is left out
	Annotations     map[string]string
}

// The annotations by which the kubelet marks static pods and their mirrors.
const (
	annotationSource = "kubernetes.io/config.source"
	annotationHash   = "kubernetes.io/config.hash"
	annotationMirror = "kubernetes.io/config.mirror"
	annotationSeen   = "kubernetes.io/config.seen"
)

// MakeNamespace makes a namespace unless it exists. Namespaces stay until the cluster stops.
func (c *Cluster) MakeNamespace(t testing.TB, name string) {
	t.Helper()
	namespace := &corev1.Namespace{ObjectMeta: metav1.ObjectMeta{Name: name}}
	_, err := c.client.CoreV1().Namespaces().Create(t.Context(), namespace, metav1.CreateOptions{})
	if ignoreExists(err) != nil {
		t.Fatalf("make namespace %s: %v", name, err)
	}
}

// MakeNode makes a node unless it exists. Nodes stay until the cluster stops.
func (c *Cluster) MakeNode(t testing.TB, name string) *corev1.Node {
	t.Helper()
	nodes := c.client.CoreV1().Nodes()
	node := &corev1.Node{ObjectMeta: metav1.ObjectMeta{
		Name: name, Labels: map[string]string{corev1.LabelHostname: name},
	}}
	_, err := nodes.Create(t.Context(), node, metav1.CreateOptions{})
	if err = ignoreExists(err); err == nil {
		node, err = nodes.Get(t.Context(), name, metav1.GetOptions{})
	}
	if err != nil {
		t.Fatalf("make node %s: %v", name, err)
	}
	return node
}

// MakePod makes a pod that is bound to its node, and returns once the node may read it. The pod
// is deleted at the end of the test.
func (c *Cluster) MakePod(t testing.TB, p Pod) *corev1.Pod {
	t.Helper()
	return c.makePod(t, c.client, p.object())
}

// MakeMirrorPod makes the pod by which a kubelet shows a static pod of its node to the API server,
// with the identity of that node, as NodeRestriction demands. The UID of the static pod itself,
// which a runtime hands to CNI plugins, is the annotation kubernetes.io/config.hash.
func (c *Cluster) MakeMirrorPod(t testing.TB, p Pod) *corev1.Pod {
	t.Helper()
	node := c.MakeNode(t, p.Node)
	kubelet, err := c.nodeClient(p.Node)
	if err != nil {
		t.Fatalf("make a client of node %s: %v", p.Node, err)
	}
	pod, hash := p.object(), newHash()
	pod.Annotations[annotationSource] = "file"
	pod.Annotations[annotationHash] = hash
	pod.Annotations[annotationMirror] = hash
	pod.Annotations[annotationSeen] = time.Now().Format(time.RFC3339Nano)
	pod.OwnerReferences = []metav1.OwnerReference{*metav1.NewControllerRef(node, corev1.SchemeGroupVersion.WithKind("Node"))}
	pod.OwnerReferences[0].BlockOwnerDeletion = nil // the kubelet leaves it out, and may not set it
	pod.Spec.Tolerations = []corev1.Toleration{{Operator: corev1.TolerationOpExists, Effect: corev1.TaintEffectNoExecute}}
	return c.makePod(t, kubelet, pod)
}

func (c *Cluster) makePod(t testing.TB, client kubernetes.Interface, pod *corev1.Pod) *corev1.Pod {
	t.Helper()
	c.MakeNamespace(t, pod.Namespace)
	made, err := client.CoreV1().Pods(pod.Namespace).Create(t.Context(), pod, metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("make pod %s/%s: %v", pod.Namespace, pod.Name, err)
	}
	c.cleanup(t, "pod "+pod.Namespace+"/"+pod.Name, func(ctx context.Context) error {
		now := int64(0)
		options := metav1.DeleteOptions{GracePeriodSeconds: &now, Preconditions: metav1.NewUIDPreconditions(string(made.UID))}
		return c.client.CoreV1().Pods(pod.Namespace).Delete(ctx, pod.Name, options)
	})
	if pod.Spec.NodeName == "" {
		return made
	}
	err = c.waitNodeMay(t.Context(), pod.Spec.NodeName, authorizationv1.ResourceAttributes{
		Verb: "get", Version: "v1", Resource: "pods", Namespace: pod.Namespace, Name: pod.Name,
	})
	if err != nil {
		t.Fatal(err)
	}
	return made
}

// MakeNAD makes a network, which is deleted at the end of the test.
func (c *Cluster) MakeNAD(t testing.TB, n NAD) *unstructured.Unstructured {
	t.Helper()
	c.MakeNamespace(t, n.Namespace)
	networks := c.dyn.Resource(NADs).Namespace(n.Namespace)
	made, err := networks.Create(t.Context(), n.object(), metav1.CreateOptions{})
	if err != nil {
		t.Fatalf("make network %s/%s: %v", n.Namespace, n.Name, err)
	}
	c.cleanup(t, "network "+n.Namespace+"/"+n.Name, func(ctx context.Context) error {
		return networks.Delete(ctx, n.Name, metav1.DeleteOptions{})
	})
	return made
}

// cleanup removes what at the end of the test, if the API server can do it then.
func (c *Cluster) cleanup(t testing.TB, what string, remove func(context.Context) error) {
	t.Cleanup(func() {
		if !c.serving() {
			return
		}
		ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
		defer cancel()
		if err := ignoreNotFound(remove(ctx)); err != nil {
			t.Errorf("remove %s after the test: %v", what, err)
		}
	})
}

func (c *Cluster) nodeClient(node string) (kubernetes.Interface, error) {
	kubeconfig, err := c.NodeKubeconfig(node)
	if err != nil {
		return nil, err
	}
	config, err := RESTConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	return kubernetes.NewForConfig(config)
}

func (p Pod) object() *corev1.Pod {
	annotations := map[string]string{}
	maps.Copy(annotations, p.Annotations)
	noToken := false
	return &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Namespace: p.Namespace, Name: p.Name, Annotations: annotations},
		Spec: corev1.PodSpec{
			NodeName:                     p.Node,
			ServiceAccountName:           p.ServiceAccount,
			AutomountServiceAccountToken: &noToken,
			Containers:                   []corev1.Container{{Name: "c", Image: "localhost/none"}},
		},
	}
}

func (n NAD) object() *unstructured.Unstructured {
	object := &unstructured.Unstructured{Object: map[string]any{}}
	object.SetAPIVersion(NADs.GroupVersion().String())
	object.SetKind("NetworkAttachmentDefinition")
	object.SetNamespace(n.Namespace)
	object.SetName(n.Name)
	object.SetAnnotations(n.Annotations)
	if n.Config != "" {
		object.Object["spec"] = map[string]any{"config": n.Config}
	}
	return object
}

// newHash is what the kubelet makes of a static pod's manifest: 32 hexadecimal digits.
func newHash() string {
	var b [16]byte
	_, _ = rand.Read(b[:]) // never fails
	return hex.EncodeToString(b[:])
}
