package node

import (
	"encoding/json"
	"fmt"
	"os"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/internal/test/check"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// Requests by which the tests count.
var (
	podReads      = faultproxy.Match{Verb: "get", Resource: "pods"}
	networkReads  = faultproxy.Match{Verb: "get", Resource: "network-attachment-definitions"}
	statusPatches = faultproxy.Match{Verb: "patch", Resource: "pods/status"}
	eventWrites   = faultproxy.Match{Verb: "create", Resource: "events"}
)

// annotated makes a pod that asks for networks a and b, and the networks.
func (n *node) annotated(namespace string) *corev1.Pod {
	n.t.Helper()
	for name, subnet := range map[string]string{"a": "10.91.0.0/24", "b": "10.92.0.0/24"} {
		config, err := json.Marshal(bridge(name, subnet, false))
		check.Must(n.t, err)
		n.cluster.MakeNAD(n.t, kube.NAD{Namespace: namespace, Name: name, Config: string(config)})
	}
	return n.cluster.MakePod(n.t, kube.Pod{Namespace: namespace, Name: "web", Node: n.name, Annotations: map[string]string{types.AnnotationNetworks: "a,b"}})
}

func TestKubePodWithTwoNetworks(t *testing.T) {
	for _, test := range []struct {
		name     string
		handOver bool
		podReads int
	}{
		{name: "annotations-read", podReads: 1},
		{name: "annotations-handed-over", handOver: true},
	} {
		t.Run(test.name, func(t *testing.T) {
			n := newNode(t)
			n.handOver = test.handOver
			s := n.sandbox(n.annotated("two-" + test.name))
			s.must("ADD")
			got := map[string]int{"pod reads": n.proxy.Count(podReads), "network reads": n.proxy.Count(networkReads), "status patches": n.proxy.Count(statusPatches)}
			want := map[string]int{"pod reads": test.podReads, "network reads": 2, "status patches": 1}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Errorf("requests of an ADD (-want +got):\n%s", diff)
			}
			checkStatus(t, s)
			n.awaitEvents(s.pod, "Normal AddedInterface", 3)
			s.must("CHECK")
			n.proxy.Forget()
			s.must("DEL")
			if requests := n.proxy.Requests(faultproxy.Match{}); len(requests) > 0 {
				t.Errorf("a DEL asked the API server: %+v", requests)
			}
			n.mustBeClean()
		})
	}
}

// checkStatus compares what is in the annotation with what is certain of it.
func checkStatus(t *testing.T, s *sandbox) {
	t.Helper()
	type essence struct {
		Name, Interface string
		Default         bool
		IPs             int
	}
	var got []essence
	for _, entry := range s.status() {
		got = append(got, essence{entry.Name, entry.Interface, entry.Default, len(entry.IPs)})
		if entry.MAC == "" || entry.MTU != 1500 || strings.Contains(strings.Join(entry.IPs, ""), "/") {
			t.Errorf("status entry lacks something, or has a prefix: %+v", entry)
		}
	}
	namespace := s.pod.Namespace
	want := []essence{{"master", "eth0", true, 1}, {namespace + "/a", "net0", false, 1}, {namespace + "/b", "net1", false, 1}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("network-status (-want +got):\n%s", diff)
	}
}

// awaitEvents waits until so many events, "Type Reason", are on the pod: they come after
// the answer.
func (n *node) awaitEvents(pod *corev1.Pod, kind string, count int) (found []corev1.Event) {
	n.t.Helper()
	n.await("events "+kind, func() error {
		list, err := n.cluster.Client().CoreV1().Events(pod.Namespace).List(n.t.Context(), metav1.ListOptions{})
		check.Must(n.t, err)
		found = slices.DeleteFunc(list.Items, func(event corev1.Event) bool {
			return event.InvolvedObject.UID != pod.UID || event.Type+" "+event.Reason != kind
		})
		if len(found) < count {
			return fmt.Errorf("only these events came: %+v", found)
		}
		return nil
	})
	return found
}

// A plain pod asks nobody where the runtime hands its annotations over, gets its status
// and no event.
func TestKubePlainPod(t *testing.T) {
	n := newNode(t)
	n.handOver = true
	s := n.sandbox(n.cluster.MakePod(t, kube.Pod{Namespace: "plain", Name: "web", Node: n.name, Annotations: map[string]string{"kubernetes.io/config.source": "api"}}))
	s.must("ADD")
	if status := s.status(); len(status) != 1 || status[0].Name != "master" || !status[0].Default {
		t.Errorf("status: %+v", status)
	}
	if requests := n.proxy.Requests(faultproxy.Match{}); len(requests) != 1 || n.proxy.Count(statusPatches) != 1 {
		t.Errorf("requests: %+v", requests)
	}
	s.must("DEL")
	if n.proxy.Count(eventWrites) != 0 {
		t.Error("a plain pod got an event")
	}
	n.mustBeClean()
}

// With the API server down a pod that asks for networks is refused to be tried again
// later, and nothing is touched; a DEL does not care; a plain pod whose annotations were
// handed over starts, and its status comes with a later call.
func TestKubeAPIServerDown(t *testing.T) {
	n := newNode(t)
	n.handOver = true
	n.config = testnode.Conf{"addTimeout": "3s"}
	attached := n.sandbox(n.annotated("down"))
	attached.must("ADD")
	waiting := n.sandbox(n.cluster.MakePod(t, kube.Pod{Namespace: "down", Name: "waits", Node: n.name, Annotations: map[string]string{types.AnnotationNetworks: "a"}}))
	plain := n.sandbox(n.cluster.MakePod(t, kube.Pod{Namespace: "down", Name: "plain", Node: n.name, Annotations: map[string]string{"kubernetes.io/config.source": "api"}}))

	outage := n.proxy.Inject(faultproxy.Fault{Reset: true})
	waiting.fails("ADD", types.CodeTryAgainLater, "down/waits", "down/a")
	attached.must("DEL")
	n.mustBeClean()
	plain.must("ADD")
	outage.Remove()
	if status := plain.status(); status != nil {
		t.Errorf("the API server was down, and yet: %+v", status)
	}

	waiting.must("ADD")
	n.awaitStatus(plain)
	waiting.must("DEL")
	plain.must("DEL")
	n.mustBeClean()
}

func (n *node) awaitStatus(s *sandbox) {
	n.t.Helper()
	check.Eventually(n.t, "the status of "+s.pod.Namespace+"/"+s.pod.Name, patience, func() bool { return s.status() != nil })
}

func TestKubeRefusals(t *testing.T) {
	n := newNode(t)
	pod := n.annotated("refused")
	t.Run("another UID", func(t *testing.T) {
		s := n.sandbox(pod)
		s.uid = "11111111-1111-1111-1111-111111111111"
		s.fails("ADD", types.CodeFailed, "refused/web", s.uid, string(pod.UID))
		s.must("DEL")
	})
	t.Run("no such pod", func(t *testing.T) {
		gone := pod.DeepCopy()
		gone.Name, gone.UID = "gone", "22222222-2222-2222-2222-222222222222"
		s := n.sandbox(gone)
		s.fails("ADD", types.CodeTryAgainLater, "refused/gone")
		s.must("DEL")
	})
	t.Run("no such network", func(t *testing.T) {
		lacking := n.cluster.MakePod(t, kube.Pod{Namespace: "refused", Name: "lacking", Node: n.name, Annotations: map[string]string{types.AnnotationNetworks: "a,nowhere"}})
		s := n.sandbox(lacking)
		s.fails("ADD", types.CodeInvalidConfig, "refused/lacking", "refused/nowhere")
		events := n.awaitEvents(lacking, "Warning NetworkAttachFailed", 1)
		if !strings.Contains(events[0].Message, "refused/nowhere") || !strings.Contains(events[0].Message, "code 7") {
			t.Errorf("event: %q", events[0].Message)
		}
		// The runtime tries again: it is the same event, seen once more.
		s.fails("ADD", types.CodeInvalidConfig, "refused/nowhere")
		n.awaitRequests(faultproxy.Match{Verb: "patch", Resource: "events"}, 1)
		if again := n.awaitEvents(lacking, "Warning NetworkAttachFailed", 1); len(again) != 1 {
			t.Errorf("%d events, want one", len(again))
		}
		s.must("DEL")
	})
	n.mustBeClean()
}

// awaitRequests waits until the API server was asked so often.
func (n *node) awaitRequests(match faultproxy.Match, count int) {
	n.t.Helper()
	n.await("requests of the API server", func() error {
		if got := n.proxy.Count(match); got < count {
			return fmt.Errorf("only %d requests match %+v", got, match)
		}
		return nil
	})
}

// A static pod is known to the runtime under another UID than to the API server.
func TestKubeStaticPod(t *testing.T) {
	n := newNode(t)
	mirror := n.cluster.MakeMirrorPod(t, kube.Pod{Namespace: "static", Name: "web", Node: n.name})
	s := n.sandbox(mirror)
	s.uid = mirror.Annotations["kubernetes.io/config.hash"]
	s.must("ADD")
	if status := s.status(); len(status) != 1 || status[0].Interface != "eth0" {
		t.Errorf("status: %+v", status)
	}
	s.must("DEL")
	n.mustBeClean()
}

// Without the rights that deploy/rbac-nodes.yaml gives, the error says so.
func TestKubeNoRightToReadNetworks(t *testing.T) {
	n := newNode(t)
	pod := n.annotated("norights")
	kubeconfig, err := n.cluster.Kubeconfig("nobody-in-particular", "system:authenticated")
	check.Must(t, err)
	n.handOver = true
	n.config = testnode.Conf{"kubeconfig": kubeconfig}
	s := n.sandbox(pod)
	s.fails("ADD", types.CodeInvalidConfig, "norights/web", "norights/a", "rbac-nodes.yaml")
	s.must("DEL")
	n.mustBeClean()
}

// The credentials are read anew at every call.
func TestKubeTokenIsReadAnew(t *testing.T) {
	n := newNode(t)
	pod := n.cluster.MakePod(t, kube.Pod{Namespace: "token", Name: "web", Node: n.name})
	kubeconfig, tokenFile, err := n.cluster.TokenKubeconfig("no-token-yet")
	check.Must(t, err)
	n.config = testnode.Conf{"kubeconfig": kubeconfig}
	s := n.sandbox(pod)
	s.fails("ADD", types.CodeFailed, "401")
	check.Must(t, os.WriteFile(tokenFile, []byte(n.administratorToken("token")), 0o600))
	s.must("ADD")
	s.must("DEL")
}

// administratorToken gives a token of an account that may do anything.
func (n *node) administratorToken(namespace string) string {
	n.t.Helper()
	token, err := n.cluster.ServiceAccountToken(n.t.Context(), namespace, "plexus", nil)
	check.Must(n.t, err)
	_, err = n.cluster.Client().RbacV1().ClusterRoleBindings().Create(n.t.Context(), &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: namespace + "-plexus"},
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "cluster-admin"},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: "plexus"}},
	}, metav1.CreateOptions{})
	check.Must(n.t, err)
	return token
}
