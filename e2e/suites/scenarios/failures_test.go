package scenarios

import (
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// A pod whose network is missing waits, says so, and starts once the network is there.
func TestE2EMissingNetwork(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	p := s.Pod("p", cluster.On(s.Node(1)), cluster.Networks("not-there-yet"))
	p.AwaitEvent("FailedCreatePodSandBox", "network "+s.Namespace+"/not-there-yet", "there is no NetworkAttachmentDefinition")
	if left := s.Node(1).Reservations(); len(left) > 0 {
		t.Errorf("a pod without its network has reserved %q", left)
	}
	s.Network("not-there-yet", cluster.Macvlan(54, 10, 99))
	p.AwaitReady().MustHave("eth0", "net0")
}

// A plugin that fails undoes all that was attached before it, and the pod starts when it is mended.
func TestE2EFailingPlugin(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	s.Network("good", cluster.Macvlan(55, 10, 99))
	bad := cluster.Macvlan(56, 10, 99)
	bad["master"] = "eth7"
	s.Network("bad", bad)
	p := s.Pod("p", cluster.On(s.Node(1)), cluster.Networks("good, bad"))
	p.AwaitEvent("FailedCreatePodSandBox", s.Namespace+"/bad", "macvlan", "eth7")
	s.MustBeClean()
	_, err := s.Node(1).Run("ip", "link", "add", "eth7", "type", "bridge")
	s.Must(err)
	t.Cleanup(func() { _, _ = s.Node(1).Run("ip", "link", "del", "eth7") })
	p.AwaitReady().MustHave("eth0", "net0", "net1")
}

// A pod of a StatefulSet comes again under its name: another sandbox, another UID.
func TestE2EStatefulSet(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	s.Network("mv", cluster.Macvlan(57, 10, 99))
	template := cluster.PodTemplate("set", cluster.Networks("mv"))
	one := int32(1)
	_, err := s.Client().AppsV1().StatefulSets(s.Namespace).Create(t.Context(), &appsv1.StatefulSet{
		ObjectMeta: metav1.ObjectMeta{Name: "set"},
		Spec: appsv1.StatefulSetSpec{
			Replicas: &one, Selector: &metav1.LabelSelector{MatchLabels: template.Labels},
			Template: podTemplate(template),
		},
	}, metav1.CreateOptions{})
	s.Must(err)
	t.Cleanup(func() {
		_ = s.Client().AppsV1().StatefulSets(s.Namespace).Delete(t.Context(), "set", metav1.DeleteOptions{})
	})
	p := s.PodNamed("set-0").AwaitReady()
	p.MustHave("eth0", "net0")
	first, err := p.Get()
	s.Must(err)
	p.Delete()
	s.Await("the set to make the pod again", func() error {
		second, err := p.Get()
		if err == nil && second.UID == first.UID {
			err = errStill
		}
		return err
	})
	p.AwaitReady().MustHave("eth0", "net0")
	s.Must(s.Client().AppsV1().StatefulSets(s.Namespace).Delete(t.Context(), "set", metav1.DeleteOptions{}))
	p.AwaitGone()
}
