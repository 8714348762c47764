package cluster

import (
	"context"
	"fmt"
	"slices"
	"strings"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/types"
)

// Pod is a pod of a scenario.
type Pod struct {
	s      *Scenario
	Name   string
	node   *Node // nil until it is known
	static bool
	uid    string // of the sandbox that was looked for last
}

// PodOption changes what pod is made.
type PodOption func(*corev1.Pod)

// On puts the pod on a node, past the scheduler.
func On(n *Node) PodOption { return func(p *corev1.Pod) { p.Spec.NodeName = n.Name } }

// Networks selects networks, in the short or the JSON form.
func Networks(selections string) PodOption { return Annotation(types.AnnotationNetworks, selections) }

// Annotation sets an annotation.
func Annotation(key, value string) PodOption {
	return func(p *corev1.Pod) { p.Annotations[key] = value }
}

// Label sets a label.
func Label(key, value string) PodOption { return func(p *corev1.Pod) { p.Labels[key] = value } }

// HostPort opens a port of the node for a port of the pod.
func HostPort(host, container int32) PodOption {
	return func(p *corev1.Pod) {
		c := &p.Spec.Containers[0]
		c.Ports = append(c.Ports, corev1.ContainerPort{HostPort: host, ContainerPort: container})
	}
}

// Command is what the pod's container runs instead of waiting.
func Command(argv ...string) PodOption {
	return func(p *corev1.Pod) { p.Spec.Containers[0].Command = argv }
}

// Serve makes the pod a web server that tells its name.
func Serve(port int) PodOption {
	return Command("/bin/sh", "-c", fmt.Sprintf("mkdir -p /www; hostname > /www/index.html; exec httpd -f -p %d -h /www", port))
}

// PodTemplate is the pod of a scenario as the options make it, for what makes pods itself.
func PodTemplate(name string, options ...PodOption) *corev1.Pod {
	grace, noToken := int64(1), false
	pod := &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name, Annotations: map[string]string{}, Labels: map[string]string{"app": name}},
		Spec: corev1.PodSpec{
			TerminationGracePeriodSeconds: &grace,
			AutomountServiceAccountToken:  &noToken,
			DNSPolicy:                     corev1.DNSDefault,
			Containers:                    []corev1.Container{{Name: "c", Image: BusyboxImage, ImagePullPolicy: corev1.PullNever}},
			Tolerations:                   []corev1.Toleration{{Operator: corev1.TolerationOpExists}},
		},
	}
	for _, option := range options {
		option(pod)
	}
	return pod
}

// Pod makes a pod and does not wait for it.
func (s *Scenario) Pod(name string, options ...PodOption) *Pod {
	s.Helper()
	_, err := s.Client().CoreV1().Pods(s.Namespace).Create(s.Context(), PodTemplate(name, options...), metav1.CreateOptions{})
	s.Must(err)
	return s.adopt(name)
}

// adopt knows a pod that something else has made or will make.
func (s *Scenario) adopt(name string) *Pod {
	p := &Pod{s: s, Name: name}
	s.pods = append(s.pods, p)
	return p
}

// PodNamed knows a pod that a controller makes.
func (s *Scenario) PodNamed(name string) *Pod { return s.adopt(name) }

// StaticPod writes a pod's manifest to a node.
func (s *Scenario) StaticPod(n *Node, name string, options ...PodOption) *Pod {
	s.Helper()
	pod := PodTemplate(name, options...)
	pod.APIVersion, pod.Kind, pod.Namespace = "v1", "Pod", s.Namespace
	pod.Spec.AutomountServiceAccountToken = nil
	manifest, err := yaml.Marshal(pod)
	s.Must(err)
	s.Must(n.WriteFile(staticPods+"/"+name+".yaml", string(manifest)))
	p := s.adopt(name + "-" + n.Name) // the mirror's name
	p.node, p.static = n, true
	return p
}

// removeStatic removes a static pod's manifest.
func (s *Scenario) removeStatic(p *Pod) {
	_, _ = p.node.Run("rm", "-f", staticPods+"/"+strings.TrimSuffix(p.Name, "-"+p.node.Name)+".yaml")
}

// RemoveStatic removes a static pod's manifest and waits until the pod has gone.
func (p *Pod) RemoveStatic() {
	p.s.Helper()
	p.s.removeStatic(p)
	p.AwaitGone()
}

// Get reads the pod.
func (p *Pod) Get() (*corev1.Pod, error) {
	return p.s.Client().CoreV1().Pods(p.s.Namespace).Get(p.s.Context(), p.Name, getOptions)
}

// AwaitReady waits until the pod is ready, and says why it is not.
func (p *Pod) AwaitReady() *Pod {
	p.s.Helper()
	p.s.Await("pod "+p.Name+" to be ready", func() error {
		pod, err := p.Get()
		if err != nil {
			return err
		}
		if !isReady(pod) || pod.DeletionTimestamp != nil {
			return fmt.Errorf("its phase is %s; events: %s", pod.Status.Phase, p.said())
		}
		p.node, p.uid = p.s.nodeNamed(pod.Spec.NodeName), string(pod.UID)
		if hash := pod.Annotations["kubernetes.io/config.hash"]; hash != "" {
			p.uid = hash // of a static pod
		}
		return nil
	})
	return p
}

func (s *Scenario) nodeNamed(name string) *Node {
	return s.nodes[slices.IndexFunc(s.nodes, func(n *Node) bool { return n.Name == name })]
}

// said is what the events say of the pod, the last of each reason.
func (p *Pod) said() string {
	events, err := p.s.Events("Pod", p.Name)
	if err != nil {
		return err.Error()
	}
	var all []string
	for reason, messages := range events {
		all = append(all, reason+": "+messages[len(messages)-1])
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// AwaitEvent waits for an event on the pod of that reason, one whose message has all the words.
func (p *Pod) AwaitEvent(reason string, words ...string) {
	p.s.Helper()
	p.s.Await(fmt.Sprintf("an event %s on pod %s with the words %q", reason, p.Name, words), func() error {
		events, err := p.s.Events("Pod", p.Name)
		if err != nil {
			return err
		}
		for _, message := range events[reason] {
			if !slices.ContainsFunc(words, func(word string) bool { return !strings.Contains(message, word) }) {
				return nil
			}
		}
		return fmt.Errorf("there are: %s", p.said())
	})
}

// Delete asks for the pod's end and does not wait for it.
func (p *Pod) Delete() {
	p.s.Helper()
	p.s.Must(p.s.Client().CoreV1().Pods(p.s.Namespace).Delete(p.s.Context(), p.Name, metav1.DeleteOptions{}))
}

// AwaitGone waits until the pod's object has gone.
func (p *Pod) AwaitGone() {
	p.s.Helper()
	p.s.Must(await(p.s.Context(), "pod "+p.Name+" to go", func(context.Context) error {
		_, err := p.Get()
		switch {
		case apierrors.IsNotFound(err):
			return nil
		case err == nil:
			return fmt.Errorf("it is there")
		}
		return err
	}))
}

// Status gives the pod's network status: the annotation that users read.
func (p *Pod) Status() []types.NetworkStatus {
	p.s.Helper()
	var status []types.NetworkStatus
	// The agent writes it after the ADD, and waits for nothing.
	p.s.Await("the network status of pod "+p.Name, func() error {
		pod, err := p.Get()
		if err != nil {
			return err
		}
		status, err = types.ParseStatus(pod.Annotations[types.AnnotationNetworkStatus])
		return err
	})
	return status
}
