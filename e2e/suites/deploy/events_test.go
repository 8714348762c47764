package deploy

import (
	"context"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	eventsv1 "k8s.io/api/events/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
)

const eventsPolicy = "ValidatingAdmissionPolicy 'plexus-agent-events'"

func isEventsPolicy(err error) bool {
	return apierrors.IsForbidden(err) && strings.Contains(err.Error(), eventsPolicy)
}

// eventOf is an event as the agent of a node writes it.
func eventOf(node string, on *corev1.ObjectReference) *corev1.Event {
	namespace := on.Namespace
	if namespace == "" {
		namespace = metav1.NamespaceDefault
	}
	return &corev1.Event{
		ObjectMeta: metav1.ObjectMeta{Namespace: namespace, GenerateName: "x-"}, InvolvedObject: *on,
		Source:              corev1.EventSource{Component: "plexus", Host: node},
		ReportingController: "plexus", ReportingInstance: node,
		Type: corev1.EventTypeNormal, Reason: "AddedInterface", Message: "test", Count: 1,
	}
}

func onPod(name string) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Pod", Namespace: "policy", Name: name, UID: "1"}
}

func onNode(name string) *corev1.ObjectReference {
	return &corev1.ObjectReference{APIVersion: "v1", Kind: "Node", Name: name, UID: types.UID(name)}
}

// newEventsSite is a site where the agent may also write events of the group events.k8s.io, so
// that the policy alone keeps it from that.
func newEventsSite(t *testing.T) *site {
	t.Helper()
	s := newSite(t)
	roles := s.Client().RbacV1()
	role := &rbacv1.ClusterRole{
		ObjectMeta: metav1.ObjectMeta{Name: "both-groups-of-events"},
		Rules:      []rbacv1.PolicyRule{{APIGroups: []string{"", "events.k8s.io"}, Resources: []string{"events"}, Verbs: []string{"*"}}},
	}
	binding := &rbacv1.ClusterRoleBinding{
		ObjectMeta: role.ObjectMeta,
		RoleRef:    rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role.Name},
		Subjects:   []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Namespace: namespace, Name: agent}},
	}
	_, err := roles.ClusterRoles().Create(t.Context(), role, metav1.CreateOptions{})
	if err == nil {
		_, err = roles.ClusterRoleBindings().Create(t.Context(), binding, metav1.CreateOptions{})
	}
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { s.withoutRole(t, role.Name) })
	s.awaitEvents(t, func(ctx context.Context) error { return newer(ctx, s.agent, eventOf("b", onPod("own"))) }, isEventsPolicy)
	return s
}

// withoutRole takes the right away again, which tests of the shared cluster would see.
func (s *site) withoutRole(t *testing.T, name string) {
	roles, ctx := s.Client().RbacV1(), context.WithoutCancel(t.Context())
	for _, remove := range []func(context.Context, string, metav1.DeleteOptions) error{roles.ClusterRoleBindings().Delete, roles.ClusterRoles().Delete} {
		if err := remove(ctx, name, metav1.DeleteOptions{}); err != nil {
			t.Error(err)
		}
	}
	err := wait.PollUntilContextTimeout(ctx, 20*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		_, err := s.agent.CoreV1().Events("policy").List(ctx, metav1.ListOptions{})
		return apierrors.IsForbidden(err), nil
	})
	if err != nil {
		t.Errorf("the right is not gone: %v", err)
	}
}

// awaitEvents waits until a write gives what is wanted.
func (s *site) awaitEvents(t *testing.T, write func(context.Context) error, wanted func(error) bool) {
	t.Helper()
	var last error
	err := wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(ctx context.Context) (bool, error) {
		last = write(ctx)
		return wanted(last), nil
	})
	if err != nil {
		t.Fatalf("the policy for events: %v; the last answer: %v", err, last)
	}
}

// older writes an event by core/v1, and newer the same one by events.k8s.io/v1, which takes no
// source.
func older(ctx context.Context, c kubernetes.Interface, event *corev1.Event) error {
	_, err := c.CoreV1().Events(event.Namespace).Create(ctx, event, metav1.CreateOptions{})
	return err
}

func newer(ctx context.Context, c kubernetes.Interface, event *corev1.Event) error {
	_, err := c.EventsV1().Events(event.Namespace).Create(ctx, &eventsv1.Event{
		ObjectMeta: event.ObjectMeta, Regarding: event.InvolvedObject, Related: event.Related,
		ReportingController: event.ReportingController, ReportingInstance: event.ReportingInstance,
		EventTime: metav1.NowMicro(), Action: "Attach", Type: event.Type, Reason: event.Reason, Note: event.Message,
	}, metav1.CreateOptions{})
	return err
}

var eventWrites = map[string]func(context.Context, kubernetes.Interface, *corev1.Event) error{"core/v1": older, "events.k8s.io/v1": newer}

// TestKubeDeployEvents writes events as the agent of node a does, and as it must not. An empty
// want is allowed.
func TestKubeDeployEvents(t *testing.T) {
	s := newEventsSite(t)
	component, host := "may write only events of the component plexus", "plexus-agent of node a may write only events of that node"
	object, further := "may write events only on pods and on its own node", "may tie an event to no further object"
	for name, test := range map[string]struct {
		on     *corev1.ObjectReference // own if nil
		change func(*corev1.Event)
		want   string
	}{
		"on a pod":                    {},
		"on a pod that is gone":       {on: onPod("gone")},
		"on its own node":             {on: onNode("a")},
		"on another node":             {on: onNode("b"), want: object},
		"on no named node":            {on: onNode(""), want: object},
		"on a Deployment":             {on: &corev1.ObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Namespace: "policy", Name: "x"}, want: object},
		"on a Pod of another group":   {on: &corev1.ObjectReference{APIVersion: "example.com/v1", Kind: "Pod", Namespace: "policy", Name: "own"}, want: object},
		"on a Node of another group":  {on: &corev1.ObjectReference{APIVersion: "example.com/v1", Kind: "Node", Name: "a"}, want: object},
		"on an object without a kind": {on: &corev1.ObjectReference{APIVersion: "v1", Namespace: "policy", Name: "own"}, want: object},
		"of the kubelet":              {change: func(e *corev1.Event) { e.Source.Component, e.ReportingController = "kubelet", "kubelet" }, want: component},
		"of another node":             {change: func(e *corev1.Event) { e.Source.Host, e.ReportingInstance = "b", "b" }, want: host},
		"reported by the kubelet":     {change: func(e *corev1.Event) { e.ReportingController = "kubelet" }, want: component},
		"reported by another node":    {change: func(e *corev1.Event) { e.ReportingInstance = "b" }, want: host},
		"related to another object":   {change: func(e *corev1.Event) { e.Related = onNode("b") }, want: further},
		"that is never deleted":       {change: func(e *corev1.Event) { e.Finalizers = []string{"example.com/stay"} }, want: further},
		"that goes with its owner": {change: func(e *corev1.Event) {
			e.OwnerReferences = []metav1.OwnerReference{{APIVersion: "v1", Kind: "Node", Name: "a", UID: "1"}}
		}, want: further},
	} {
		for group, write := range eventWrites {
			event := eventOf("a", onPod("own"))
			if test.on != nil {
				event = eventOf("a", test.on)
			}
			if test.change != nil {
				test.change(event)
			}
			err := write(t.Context(), s.agent, event)
			if test.want == "" && err != nil || test.want != "" && (!isEventsPolicy(err) || !strings.Contains(err.Error(), test.want)) {
				t.Errorf("an event %s, by %s: got %v, want a denial that says %q", name, group, err, test.want)
			}
		}
	}
	if err := older(t.Context(), s.unbound, eventOf("", onPod("own"))); !isEventsPolicy(err) || !strings.Contains(err.Error(), "does not say its node") {
		t.Errorf("with a token that is bound to no pod: %v", err)
	}
}

// TestKubeDeployEventsInTwoFields writes events of core/v1 whose two fields for a name differ.
// client-go's combined events have only the first.
func TestKubeDeployEventsInTwoFields(t *testing.T) {
	s := newEventsSite(t)
	for _, test := range []struct {
		component, reporter, host, instance string
		allowed                             bool
	}{
		{"plexus", "plexus", "a", "a", true},
		{"plexus", "", "a", "", true},
		{"", "plexus", "", "a", true},
		{"", "", "a", "a", false},
		{"kubelet", "plexus", "a", "a", false},
		{"plexus", "kubelet", "a", "a", false},
		{"plexus", "plexus", "", "", false},
		{"plexus", "plexus", "b", "a", false},
		{"plexus", "plexus", "a", "b", false},
	} {
		event := eventOf("a", onPod("own"))
		event.Source = corev1.EventSource{Component: test.component, Host: test.host}
		event.ReportingController, event.ReportingInstance = test.reporter, test.instance
		if err := older(t.Context(), s.agent, event); isEventsPolicy(err) == test.allowed || test.allowed && err != nil {
			t.Errorf("%+v: %v", test, err)
		}
	}
}

// TestKubeDeployEventsOfOthers changes events that are there: the agent's own, and those of others.
func TestKubeDeployEventsOfOthers(t *testing.T) {
	s := newEventsSite(t)
	const again, taken = `{"count":2}`, `{"source":{"component":"plexus","host":"a"},"reportingComponent":"plexus","reportingInstance":"a"}`
	for _, test := range []struct{ name, component, node, body, want string }{
		{"its own event, again", "plexus", "a", again, ""},
		{"its own, of another node then", "plexus", "a", `{"source":{"host":"b"}}`, "only events of that node"},
		{"its own, of another component then", "plexus", "a", `{"source":{"component":"kubelet"}}`, "only events of the component plexus"},
		{"its own, on something else then", "plexus", "a", `{"involvedObject":{"kind":"Service"}}`, "only on pods"},
		{"another agent's", "plexus", "b", again, "only events of that node"},
		{"another agent's, its own then", "plexus", "b", taken, "only events of that node"},
		{"the kubelet's", "kubelet", "a", again, "only events of the component plexus"},
		{"the kubelet's, its own then", "kubelet", "a", taken, "only events of the component plexus"},
	} {
		event := s.makeEvent(t, test.component, test.node)
		_, err := s.agent.CoreV1().Events("policy").Patch(t.Context(), event.Name, types.StrategicMergePatchType, []byte(test.body), metav1.PatchOptions{})
		if test.want == "" && err != nil || test.want != "" && (!isEventsPolicy(err) || !strings.Contains(err.Error(), test.want)) {
			t.Errorf("%s: got %v, want a denial that says %q", test.name, err, test.want)
		}
	}
}

func (s *site) makeEvent(t *testing.T, component, node string) *corev1.Event {
	t.Helper()
	event := eventOf(node, onPod("own"))
	event.Source.Component, event.ReportingController = component, component
	event, err := s.Client().CoreV1().Events("policy").Create(t.Context(), event, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return event
}

// TestKubeDeployEventsByEveryVerb changes events by each request that changes one.
func TestKubeDeployEventsByEveryVerb(t *testing.T) {
	s := newEventsSite(t)
	core, events, ctx := s.agent.CoreV1().Events("policy"), s.agent.EventsV1().Events("policy"), t.Context()
	label := []byte(`{"metadata":{"labels":{"a":"b"}}}`)
	apply := metav1.PatchOptions{FieldManager: "plexus", Force: new(true)}
	for verb, change := range map[string]func(name string) error{
		"patch": func(name string) error {
			_, err := core.Patch(ctx, name, types.MergePatchType, label, metav1.PatchOptions{})
			return err
		},
		"patch by events.k8s.io": func(name string) error {
			_, err := events.Patch(ctx, name, types.MergePatchType, label, metav1.PatchOptions{})
			return err
		},
		"apply": func(name string) error {
			_, err := core.Patch(ctx, name, types.ApplyPatchType, []byte(`{"apiVersion":"v1","kind":"Event",`+string(label[1:])), apply)
			return err
		},
		"update": func(name string) error {
			event, err := core.Get(ctx, name, metav1.GetOptions{})
			if err == nil {
				_, err = core.Update(ctx, event, metav1.UpdateOptions{})
			}
			return err
		},
		"update by events.k8s.io": func(name string) error {
			event, err := events.Get(ctx, name, metav1.GetOptions{})
			if err == nil {
				_, err = events.Update(ctx, event, metav1.UpdateOptions{})
			}
			return err
		},
	} {
		if err := change(s.makeEvent(t, "plexus", "a").Name); err != nil {
			t.Errorf("%s of its own event: %v", verb, err)
		}
		if err := change(s.makeEvent(t, "plexus", "b").Name); !isEventsPolicy(err) {
			t.Errorf("%s of another node's event: %v", verb, err)
		}
		if err := change(s.makeEvent(t, "kubelet", "a").Name); !isEventsPolicy(err) {
			t.Errorf("%s of the kubelet's event: %v", verb, err)
		}
	}
	_, err := core.Patch(ctx, "made-by-apply", types.ApplyPatchType,
		[]byte(`{"apiVersion":"v1","kind":"Event","metadata":{"name":"made-by-apply"},"involvedObject":{"apiVersion":"v1","kind":"Service","namespace":"policy","name":"x"},"source":{"component":"plexus","host":"a"}}`), apply)
	if !isEventsPolicy(err) {
		t.Errorf("an event that an apply makes: %v", err)
	}
}

// TestKubeDeployEventsByOthers sees to it that the policy is about nobody else.
func TestKubeDeployEventsByOthers(t *testing.T) {
	s := newEventsSite(t)
	event := eventOf("b", &corev1.ObjectReference{APIVersion: "v1", Kind: "Service", Namespace: "policy", Name: "x"})
	if err := older(t.Context(), s.Client(), event); err != nil {
		t.Errorf("an administrator: %v", err)
	}
	s.grant(t, "policy", "writer")
	if err := older(t.Context(), s.account(t, "policy", "writer", nil), event); err != nil {
		t.Errorf("another service account: %v", err)
	}
}
