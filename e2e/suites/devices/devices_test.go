package devices

import (
	"encoding/json"
	"errors"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apiresource "k8s.io/apimachinery/pkg/api/resource"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/types"
)

// requests makes the pod's container ask for devices.
func requests(n int64) cluster.PodOption {
	return func(p *corev1.Pod) {
		quantity := *apiresource.NewQuantity(n, apiresource.DecimalSI)
		p.Spec.Containers[0].Resources.Limits = corev1.ResourceList{resource: quantity}
	}
}

// another gives the pod a second container, before the first, that asks for devices.
func another(n int64) cluster.PodOption {
	return func(p *corev1.Pod) {
		c := *p.Spec.Containers[0].DeepCopy()
		c.Name = "z"
		p.Spec.Containers = append([]corev1.Container{c}, p.Spec.Containers...)
		requests(n)(p)
	}
}

// bench is a scenario with three devices on its one node.
type bench struct {
	*cluster.Scenario
	node   *cluster.Node
	plugin *devicePlugin
	links  *links
}

func newBench(t *testing.T, mode cluster.Mode) *bench {
	t.Helper()
	c := cluster.New(t, cluster.Options{Nodes: 1, Plexus: mode})
	b := &bench{Scenario: c.Scenario(t), node: c.Node(1)}
	ids := []string{"ethd2", "ethd0", "ethd1"}
	b.links = makeLinks(b.Scenario, b.node, ids)
	b.plugin = &devicePlugin{s: b.Scenario, node: b.node, ids: ids}
	b.plugin.start()
	t.Cleanup(func() { b.plugin.stop() })
	config := cluster.JSON(cluster.Conf{
		"cniVersion": "1.0.0", "type": "plexus-e2e-nic",
		"ipam": cluster.Conf{"type": "host-local", "subnet": "192.168.61.0/24"},
	})
	b.MakeNAD(t, kube.NAD{Namespace: b.Namespace, Name: "nic", Config: config, Annotations: map[string]string{types.AnnotationResourceName: resource}})
	b.MakeNAD(t, kube.NAD{Namespace: b.Namespace, Name: "plain", Config: config})
	return b
}

// mustHave waits for a pod, and demands that its interfaces are the devices that the kubelet
// says it has, in order, and that its status and its record say so.
func (b *bench) mustHave(p *cluster.Pod, interfaces ...string) []string {
	b.Helper()
	p.AwaitReady().MustHave(append([]string{"eth0"}, interfaces...)...)
	var allocated []string
	b.Await("the kubelet to know the devices of pod "+p.Name, func() error { // it learns of pods anew after a restart
		if allocated = b.plugin.allocated(p.Name); len(allocated) != len(interfaces) {
			return fmt.Errorf("it says %q", allocated)
		}
		return nil
	})
	var want, got []string
	for i, id := range allocated {
		want = append(want, interfaces[i]+" "+b.links.macs[id])
	}
	for _, i := range p.Interfaces() {
		if slices.Contains(interfaces, i.Name) {
			got = append(got, i.Name+" "+i.MAC)
		}
	}
	slices.Sort(got)
	if slices.Sort(want); !slices.Equal(got, want) {
		b.Fatalf("pod %s has %q; the kubelet gave it %q, which are %q", p.Name, got, allocated, want)
	}
	if recorded := recorded(b.Scenario, b.node, p, func(a *types.Attachment) string { return a.DeviceID }); !slices.Equal(recorded, allocated) {
		b.Errorf("the record of pod %s has devices %q, want %q", p.Name, recorded, allocated)
	}
	b.Logf("pod %s: the kubelet gave %q, the pod has %q", p.Name, allocated, got)
	return allocated
}

// recorded gives what the record of a pod has of each attachment with a device.
func recorded(s *cluster.Scenario, n *cluster.Node, p *cluster.Pod, of func(*types.Attachment) string) []string {
	s.Helper()
	var all []string
	for _, name := range n.Journal() {
		text, err := n.ReadFile(cluster.JournalDir + "/" + name)
		s.Must(err)
		intent, _, _ := strings.Cut(text, "\n")
		var record types.Intent
		s.Must(json.Unmarshal([]byte(intent), &record))
		if record.Plan.Pod.Name != p.Name {
			continue
		}
		for i := range record.Plan.Attachments {
			if a := &record.Plan.Attachments[i]; a.DeviceID != "" {
				all = append(all, of(a))
			}
		}
	}
	return all
}

// Pods get the devices that a real kubelet has allocated to them, whoever asks it.
func TestE2EDevices(t *testing.T) {
	for name, mode := range map[string]cluster.Mode{"agent": cluster.WithAgent, "alone": cluster.Alone} {
		t.Run(name, func(t *testing.T) {
			b := newBench(t, mode)
			two := b.Pod("two", requests(1), another(1), cluster.Networks("nic, nic"))
			b.mustHave(two, "net0", "net1")
			one := b.Pod("one", requests(1), cluster.Networks("nic"))
			given := b.mustHave(one, "net0")
			// A third request waits as Kubernetes has it, and gets what is given back.
			third := b.Pod("third", requests(1), cluster.Networks("nic"))
			third.AwaitEvent("FailedScheduling", "Insufficient "+resource)
			if pod, err := third.Get(); err != nil || pod.Status.Phase != corev1.PodPending || pod.Spec.NodeName != "" {
				t.Errorf("the third pod does not wait for a device: %v", err)
			}
			one.Delete()
			if got := b.mustHave(third, "net0"); !slices.Equal(got, given) {
				t.Errorf("the third pod has %q, not %q", got, given)
			}
			b.afterRestart(third)
			b.refusals()
			two.Delete()
			two.AwaitGone()
			for _, id := range b.plugin.ids {
				b.Await("device "+id+" to be back", func() error { return b.links.back(id) })
			}
			if mode == cluster.WithAgent {
				b.agentAsked()
			} else {
				b.byCheckpoint()
			}
		})
	}
}

// afterRestart restarts the kubelet: pods keep their devices, and new ones get theirs.
func (b *bench) afterRestart(third *cluster.Pod) {
	b.Helper()
	b.plugin.stop()
	b.node.StopKubelet()
	b.Must(b.node.StartKubelet())
	b.plugin.start()
	b.mustHave(third, "net0")
	third.Delete()
	third.AwaitGone()
	fourth := b.Pod("fourth", requests(1), cluster.Networks(`[{"name": "nic", "interface": "fast"}]`))
	b.mustHave(fourth, "fast")
	fourth.Delete()
	fourth.AwaitGone()
}

// refusals are of pods that want more than they were given, or what is another's.
func (b *bench) refusals() {
	b.Helper()
	more := b.Pod("more", requests(1), cluster.Networks("nic, nic"))
	more.AwaitEvent("FailedCreatePodSandBox", "resource "+resource+": no device is left", "network "+b.Namespace+"/nic")
	more.Delete()
	more.AwaitGone()
	none := b.Pod("none", cluster.On(b.node), cluster.Networks("nic"))
	none.AwaitEvent("FailedCreatePodSandBox", "resource "+resource, "none, since no container of it requests one")
	none.Delete()
	none.AwaitGone()
	others := b.plugin.allocated("two")[0]
	thief := b.Pod("thief", cluster.On(b.node), cluster.Networks(`[{"name": "plain", "deviceID": "`+others+`"}]`))
	thief.AwaitEvent("FailedCreatePodSandBox", "deviceID", others, "is not the pod's")
	thief.Delete()
	thief.AwaitGone()
}

// agentAsked demands that an agent has asked by itself: what it cannot, plexus-once does.
func (b *bench) agentAsked() {
	b.Helper()
	metrics, err := b.node.Run("bash", "-c", `exec 3<>/dev/tcp/127.0.0.1/9729 && printf 'GET /metrics HTTP/1.0\r\n\r\n' >&3 && timeout 10 cat <&3`)
	b.Must(err)
	asked := regexp.MustCompile(`(?m)^plexus_facts_total\{kind="devices",source="live"\} [1-9].*$`).FindString(metrics)
	if b.Logf("%s", asked); asked == "" {
		b.Error("the agent has not asked the kubelet for devices")
	}
	logs := b.node.Glob("/var/log/pods/plexus-system_*/agent/*.log")
	if len(logs) == 0 {
		b.Fatal("there is no log of an agent")
	}
	for _, path := range logs {
		text, err := b.node.ReadFile(path)
		b.Must(err)
		for line := range strings.Lines(text) {
			if strings.Contains(line, "its devices are not known") {
				b.Errorf("the agent could not ask the kubelet: %s", line)
			}
		}
	}
}

// byCheckpoint gives a pod its devices by what the kubelet has noted, where its socket is
// not to be found.
func (b *bench) byCheckpoint() {
	b.Helper()
	hideKubelet(b.Scenario, b.node)
	b.mustHave(b.Pod("noted", requests(2), cluster.Networks("nic, nic")), "net0", "net1")
	plain := b.Pod("unknown", cluster.On(b.node), cluster.Networks("nic"))
	plain.AwaitEvent("FailedCreatePodSandBox", "its devices are not known", nowhere, "it does not know the pod")
}

// nowhere is a socket that is not there.
const nowhere = "/nowhere/kubelet.sock"

// hideKubelet has Plexus look for the kubelet where it is not.
func hideKubelet(s *cluster.Scenario, n *cluster.Node) {
	s.Helper()
	s.Must(n.InstallPlexus("--pod-resources-socket", nowhere))
	s.Await("the runtime to read the configuration", func() error {
		info, err := n.CRI("info")
		if err == nil && !strings.Contains(info, nowhere) {
			err = errors.New("it has another")
		}
		return err
	})
}
