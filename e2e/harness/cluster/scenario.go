package cluster

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// Scenario is one test on a cluster, in a namespace of its own. At its end the pods are deleted,
// and nothing may be left of them on any node: no record, no address, no interface. What a failed
// one saw is kept, in a folder that the test names.
type Scenario struct {
	testing.TB
	*Cluster
	Namespace string
	pods      []*Pod
}

// Scenario begins a scenario.
func (c *Cluster) Scenario(t testing.TB) *Scenario {
	t.Helper()
	name := strings.ToLower(strings.NewReplacer("TestE2E", "", "_", "-", "/", "-").Replace(t.Name()))
	s := &Scenario{TB: t, Cluster: c, Namespace: name}
	c.MakeNamespace(t, name)
	s.Must(c.awaitServiceAccount(t.Context(), name))
	t.Cleanup(s.end)
	return s
}

func (s *Scenario) end() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if s.Failed() {
		s.keep()
	}
	err := s.deletePods(ctx)
	if err == nil {
		err = s.clean(ctx)
	}
	if err != nil {
		failed := s.Failed()
		s.Errorf("at the end of the scenario: %v", err)
		if !failed {
			s.keep()
		}
	}
	_ = s.Client().CoreV1().Namespaces().Delete(ctx, s.Namespace, metav1.DeleteOptions{})
}

func (s *Scenario) keep() {
	if err := s.collect(s.Name()); err != nil {
		s.Logf("collect what the cluster says: %v", err)
	}
}

// deletePods deletes the scenario's pods, and waits until they are gone.
func (s *Scenario) deletePods(ctx context.Context) error {
	for _, p := range s.pods {
		if p.static {
			s.removeStatic(p)
		}
	}
	pods := s.Client().CoreV1().Pods(s.Namespace)
	if err := pods.DeleteCollection(ctx, metav1.DeleteOptions{}, metav1.ListOptions{}); err != nil {
		return err
	}
	return await(ctx, "the pods of "+s.Namespace+" to go", func(ctx context.Context) error {
		left, err := pods.List(ctx, metav1.ListOptions{})
		if err == nil && len(left.Items) > 0 {
			err = fmt.Errorf("%d are left, the first is %s", len(left.Items), left.Items[0].Name)
		}
		return err
	})
}

// clean waits until nothing of any pod is on the nodes.
func (s *Scenario) clean(ctx context.Context) error {
	for _, n := range s.nodes {
		if err := n.AwaitClean(ctx); err != nil {
			return err
		}
	}
	return nil
}

// MustBeClean demands that nothing of any pod is on the nodes.
func (s *Scenario) MustBeClean() {
	s.Helper()
	s.Must(s.clean(s.Context()))
}

// Must ends the scenario if err is not nil.
func (s *Scenario) Must(err error) {
	s.Helper()
	if err != nil {
		s.Fatal(err)
	}
}

// Await waits until condition gives no error.
func (s *Scenario) Await(what string, condition func() error) {
	s.Helper()
	s.Must(await(s.Context(), what, func(context.Context) error { return condition() }))
}

// Network makes a NetworkAttachmentDefinition in the scenario's namespace.
func (s *Scenario) Network(name string, conf Conf) {
	s.Helper()
	if _, there := conf["cniVersion"]; !there {
		conf["cniVersion"] = "1.0.0"
	}
	s.MakeNAD(s.TB, kube.NAD{Namespace: s.Namespace, Name: name, Config: JSON(conf)})
}

// Macvlan is a network over the nodes' eth1, which all nodes share. The addresses that host-local
// gives are first to last of 192.168.<net>.0/24; where they are 0, each pod asks for its own.
func Macvlan(net, first, last int) Conf {
	ipam := Conf{"type": "static"}
	if first > 0 {
		ipam = Conf{
			"type": "host-local", "subnet": fmt.Sprintf("192.168.%d.0/24", net),
			"rangeStart": fmt.Sprintf("192.168.%d.%d", net, first), "rangeEnd": fmt.Sprintf("192.168.%d.%d", net, last),
		}
	}
	return Conf{"type": "macvlan", "master": "eth1", "capabilities": Conf{"ips": true, "mac": true}, "ipam": ipam}
}

// LocalBridge is a network of one node.
func LocalBridge(bridge, subnet string) Conf {
	return Conf{
		"type": "bridge", "bridge": bridge, "isGateway": true,
		"ipam": Conf{"type": "host-local", "subnet": subnet},
	}
}

// Events gives the messages of the events on an object of the scenario's namespace, by reason.
func (s *Scenario) Events(kind, name string) (map[string][]string, error) {
	events, err := s.Client().CoreV1().Events(s.Namespace).List(s.Context(), metav1.ListOptions{
		FieldSelector: "involvedObject.kind=" + kind + ",involvedObject.name=" + name,
	})
	if err != nil {
		return nil, err
	}
	found := map[string][]string{}
	for i := range events.Items {
		e := &events.Items[i]
		found[e.Reason] = append(found[e.Reason], e.Message)
	}
	return found, nil
}

// ReadyPods gives the number of pods of the scenario that are ready, and of all.
func (s *Scenario) ReadyPods() (ready, all int, err error) {
	pods, err := s.Client().CoreV1().Pods(s.Namespace).List(s.Context(), metav1.ListOptions{})
	if err != nil {
		return 0, 0, err
	}
	for i := range pods.Items {
		if isReady(&pods.Items[i]) {
			ready++
		}
	}
	return ready, len(pods.Items), nil
}

func isReady(pod *corev1.Pod) bool {
	for _, c := range pod.Status.Conditions {
		if c.Type == corev1.PodReady {
			return c.Status == corev1.ConditionTrue
		}
	}
	return false
}

// Since is the time since a moment, for a log.
func Since(began time.Time) time.Duration { return time.Since(began).Round(10 * time.Millisecond) }
