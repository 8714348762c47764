package scenarios

import (
	"fmt"
	"os"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// Plexus is taken away with kubectl alone, as docs/install.md says: the node with a pod refuses and
// stays as it is, the drained one is rid of Plexus; both say so by their pod's phase.
func TestE2EUninstallByPods(t *testing.T) {
	c := cluster.Shared(t)
	s := c.Scenario(t)
	s.Network("local", cluster.LocalBridge("br-unin", "192.168.67.0/24"))
	pod := s.Pod("stays", cluster.On(s.Node(1)), cluster.Networks("local"))
	pod.AwaitReady()
	s.Must(c.RemoveAgents(t.Context()))
	manifest, err := os.ReadFile("../../../deploy/uninstall/pod.yaml")
	s.Must(err)
	for _, n := range c.Nodes() {
		s.Must(c.Apply(strings.ReplaceAll(string(manifest), "NODE", n.Name)))
	}
	refused := endOf(s, s.Node(1), corev1.PodFailed)
	if !strings.Contains(refused, s.Namespace+"/stays") || !strings.Contains(refused, "drain the node first") {
		t.Errorf("the refusal does not say what lives: %s", refused)
	}
	endOf(s, s.Node(2), corev1.PodSucceeded)
	for i, want := range map[int]int{1: 3, 2: 0} {
		n := s.Node(i)
		got := append(n.Glob("/opt/cni/bin/plexus"), append(n.Glob("/opt/cni/bin/plexus-once"), n.Glob(cluster.ConfFile)...)...)
		if len(got) != want {
			t.Errorf("%s has %q", n.Name, got)
		}
	}
	pod.MustHave("eth0", "net0")
	_, err = c.Kubectl("-n", "plexus-system", "delete", "pod", "-l", "app.kubernetes.io/component=uninstall", "--wait")
	s.Must(err)
	s.Must(c.RestoreAgents(t.Context()))
	for _, n := range c.Nodes() {
		s.Must(n.AwaitNetwork(t.Context(), "plexus"))
	}
}

// endOf waits for the end of a node's uninstall, and gives what its pod says of it.
func endOf(s *cluster.Scenario, n *cluster.Node, want corev1.PodPhase) (said string) {
	s.Helper()
	name := "plexus-uninstall-" + n.Name
	s.Await(name+" to be "+string(want), func() error {
		pod, err := s.Client().CoreV1().Pods("plexus-system").Get(s.Context(), name, metav1.GetOptions{})
		if err != nil {
			return err
		}
		for _, c := range pod.Status.ContainerStatuses {
			if c.State.Terminated != nil {
				said = c.State.Terminated.Message
			}
		}
		if pod.Status.Phase != want {
			return fmt.Errorf("it is %s: %s", pod.Status.Phase, said)
		}
		return nil
	})
	s.Logf("%s is %s: %s", name, want, said)
	return said
}
