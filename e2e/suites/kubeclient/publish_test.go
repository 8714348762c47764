package kubeclient

import (
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
	"github.com/plexus-cni/plexus/types"
)

var status = []types.NetworkStatus{{Name: "pods", Interface: "eth0", IPs: []string{"10.0.0.1"}, Default: true}}

// published gives what a pod's annotation says.
func published(t *testing.T, c *kube.Cluster, pod types.Pod) []types.NetworkStatus {
	t.Helper()
	got, err := c.Client().CoreV1().Pods(pod.Namespace).Get(t.Context(), pod.Name, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	value := got.Annotations[types.AnnotationNetworkStatus]
	if value == "" {
		return nil
	}
	status, err := types.ParseStatus(value)
	if err != nil {
		t.Fatal(err)
	}
	return status
}

func TestKubePublishStatus(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "publish", "p1")
	c.MakeNode(t, "p2")
	other := c.MakePod(t, kube.Pod{Namespace: "publish", Name: "other", Node: "p2"})
	mirror := c.MakeMirrorPod(t, kube.Pod{Namespace: "publish", Name: "static", Node: "p1"})
	replaced, gone, noUID := pod, pod, pod
	replaced.UID, gone.Name, noUID.UID = "00000000-0000-0000-0000-000000000000", "gone", ""
	static := types.Pod{Namespace: "publish", Name: "static", UID: mirror.Annotations[types.AnnotationConfigHash], Static: true}
	newer, noMirror := static, static
	newer.UID, noMirror.Name = "another", "nothing"
	for _, test := range []struct {
		name    string
		pod     types.Pod
		settled bool
		written bool
		want    string
	}{
		{"gone", gone, true, false, ""},
		{"another UID", replaced, true, false, ""},
		{"own pod", pod, true, true, ""},
		{"no UID", noUID, true, true, ""},
		{"another node's", types.Pod{Namespace: "publish", Name: "other", UID: string(other.UID)}, false, false, "403"},
		{"another static pod", newer, false, false, "another version"},
		{"static pod", static, true, true, ""},
		{"no mirror yet", noMirror, false, false, "no mirror"},
	} {
		t.Run(test.name, func(t *testing.T) {
			p := through(t, c)
			settled, err := nodeClient(t, p.Access, "p1").PublishStatus(t.Context(), test.pod, status)
			if settled != test.settled || (err == nil) != (test.want == "") {
				t.Fatalf("got %v, %v", settled, err)
			}
			if test.want != "" {
				wantError(t, err, types.CodeOf(err, 0), test.want)
			}
			if !test.pod.Static {
				counts(t, p, map[faultproxy.Match]int{{}: 1, {Method: "PATCH", Resource: "pods/status"}: 1})
			}
			if test.name == "gone" || test.name == "no mirror yet" {
				return
			}
			if got := published(t, c, test.pod); cmp.Diff(status, got) == "" != test.written {
				t.Errorf("the annotation is %+v", got)
			}
		})
	}
}

func TestKubeEvent(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "events", "e1")
	event := types.PodEvent{Type: types.EventWarning, Reason: types.ReasonAttachFailed, Message: "network events/a: no"}
	if err := nodeClient(t, c.Access, "e1").Event(t.Context(), pod, event); err != nil {
		t.Fatal(err)
	}
	got := events(t, c, "events")
	if len(got) != 1 {
		t.Fatalf("got %d events", len(got))
	}
	e := got[0]
	if e.InvolvedObject.Name != "p" || string(e.InvolvedObject.UID) != pod.UID || e.Reason != event.Reason || e.Type != event.Type ||
		e.Message != event.Message || e.Source.Component != "plexus" || e.Source.Host != "host" || time.Since(e.LastTimestamp.Time) > time.Minute {
		t.Errorf("got %+v", e)
	}
}

func events(t *testing.T, c *kube.Cluster, namespace string) []corev1.Event {
	t.Helper()
	list, err := c.Client().CoreV1().Events(namespace).List(t.Context(), metav1.ListOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return list.Items
}

// TestKubeFaults meets every request of an ADD with every fault, twice.
func TestKubeFaults(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "faults", "x1")
	for name, fault := range map[string]faultproxy.Fault{
		"409":                  {Status: 409},
		"429":                  {Status: 429},
		"429 with Retry-After": {Status: 429, RetryAfter: time.Second},
		"500":                  {Status: 500},
		"503":                  {Status: 503},
		"504":                  {Status: 504},
		"reset":                {Reset: true},
		"answer lost":          {Lose: true},
	} {
		t.Run(name, func(t *testing.T) {
			p := through(t, c)
			injected := map[string]*faultproxy.Injection{}
			for _, path := range []string{"/pods/p", "/network-attachment-definitions/a", "/network-attachment-definitions/b", "/pods/p/status", "/events"} {
				f := fault
				f.Path, f.Times = path, 2
				if path == "/pods/p" {
					f.Method = "GET"
				}
				injected[path] = p.Inject(f)
			}
			node := nodeClient(t, p.Access, "x1")
			facts, err := node.Facts(t.Context(), &types.FactsRequest{Pod: pod})
			if err != nil {
				t.Fatal(err)
			}
			for _, network := range facts.Networks {
				if network.Config == "" {
					t.Errorf("network %s: %s", network.Ref, network.Problem)
				}
			}
			if settled, err := node.PublishStatus(t.Context(), facts.Pod, status); !settled || err != nil {
				t.Errorf("got %v, %v", settled, err)
			}
			before := len(events(t, c, "faults"))
			if err := node.Event(t.Context(), facts.Pod, types.PodEvent{Type: types.EventNormal, Reason: types.ReasonAddedInterface, Message: t.Name()}); err != nil {
				t.Error(err)
			}
			if made := len(events(t, c, "faults")) - before; made != 1 {
				t.Errorf("%d events were made, want 1", made)
			}
			for path, injection := range injected {
				if injection.Hits() == 0 {
					t.Errorf("no fault met %s", path)
				}
			}
		})
	}
}

func TestKubeNotRetried(t *testing.T) {
	c := cluster(t)
	pod := podWithNetworks(t, c, "firm", "y1")
	for _, code := range []int{400, 401, 403, 404, 422} {
		p := through(t, c)
		p.Inject(faultproxy.Fault{Status: code})
		if _, err := nodeClient(t, p.Access, "y1").Facts(t.Context(), &types.FactsRequest{Pod: pod}); err == nil {
			t.Errorf("%d: got no error", code)
		}
		counts(t, p, map[faultproxy.Match]int{{}: 1})
	}
}
