package scenarios

import (
	"fmt"
	"os"
	"strconv"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// sizesVar chooses the bursts, roundsVar how often the last of them is repeated.
const (
	sizesVar  = "PLEXUS_E2E_VOLUME"
	roundsVar = "PLEXUS_E2E_ROUNDS"
)

// Many pods in one burst on two nodes: with the plain bridge, then the same with Plexus and one
// more network each, with agents and without. No ADD fails. How long it took is logged, and not
// judged.
func TestE2EVolume(t *testing.T) {
	sizes, rounds := volume(t)
	c := cluster.New(t, cluster.Options{Nodes: 2})
	s := c.Scenario(t)
	s.Must(c.ApplyNADCRD(t.Context()))
	s.Network("more", cluster.LocalBridge("br-volume", "172.20.0.0/16"))
	plain := map[int]time.Duration{}
	b := &bursts{s: s, t: t}
	for _, size := range sizes {
		plain[size] = b.run("plain bridge", size)
	}
	measure := func(what string) {
		for i, size := range sizes {
			times := 1
			if i == len(sizes)-1 {
				times = rounds
			}
			for range times {
				took := b.run(what, size, cluster.Networks("more"))
				t.Logf("%d pods, %s: %.2f of the plain bridge's time", size, what, took.Seconds()/plain[size].Seconds())
			}
		}
	}
	s.Must(c.Install(t.Context(), cluster.WithAgent))
	measure("with agents")
	s.Must(c.RemoveAgents(t.Context()))
	measure("alone")
}

// volume gives what the environment chooses: by default what fits beside other tests.
func volume(t *testing.T) (sizes []int, rounds int) {
	rounds = 1
	text := os.Getenv(sizesVar)
	if text == "" {
		text = "100"
	}
	for _, one := range strings.Split(text, ",") {
		size, err := strconv.Atoi(one)
		if err != nil {
			t.Fatalf("%s=%q: want numbers of pods, as 100,200", sizesVar, text)
		}
		sizes = append(sizes, size)
	}
	if text := os.Getenv(roundsVar); text != "" {
		var err error
		if rounds, err = strconv.Atoi(text); err != nil {
			t.Fatalf("%s=%q: want a number", roundsVar, text)
		}
	}
	return sizes, rounds
}

// bursts makes deployments of pods, and counts what fails.
type bursts struct {
	s    *cluster.Scenario
	t    *testing.T
	made int
}

// run makes all pods at once, and gives the time until the last is ready. They are gone again
// when it returns, and nothing of them is left.
func (b *bursts) run(what string, size int, options ...cluster.PodOption) time.Duration {
	s := b.s
	s.Helper()
	b.made++
	name := fmt.Sprintf("burst-%d", b.made)
	failed := failedADDs(s)
	deployments := s.Client().AppsV1().Deployments(s.Namespace)
	_, err := deployments.Create(b.t.Context(), deployment(name, options...), metav1.CreateOptions{})
	s.Must(err)
	began := time.Now()
	b.scale(name, int32(size))
	s.Await(fmt.Sprintf("%d pods to be ready", size), func() error {
		d, err := deployments.Get(b.t.Context(), name, metav1.GetOptions{})
		if err == nil && int(d.Status.ReadyReplicas) < size {
			err = fmt.Errorf("%d are", d.Status.ReadyReplicas)
		}
		return err
	})
	took := cluster.Since(began)
	failed = failedADDs(s) - failed
	b.t.Logf("%d pods, %s: all ready after %s, %d failed ADDs", size, what, took, failed)
	if failed > 0 {
		b.t.Errorf("%d ADDs failed", failed)
	}
	b.scale(name, 0)
	s.Await("the pods to go", func() error {
		_, all, err := s.ReadyPods()
		if err == nil && all > 0 {
			err = fmt.Errorf("%d are left", all)
		}
		return err
	})
	s.Must(deployments.Delete(b.t.Context(), name, metav1.DeleteOptions{}))
	s.MustBeClean()
	return took
}

func (b *bursts) scale(name string, replicas int32) {
	b.s.Helper()
	scale := &autoscalingv1.Scale{ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: b.s.Namespace}, Spec: autoscalingv1.ScaleSpec{Replicas: replicas}}
	_, err := b.s.Client().AppsV1().Deployments(b.s.Namespace).UpdateScale(b.t.Context(), name, scale, metav1.UpdateOptions{})
	b.s.Must(err)
}

func deployment(name string, options ...cluster.PodOption) *appsv1.Deployment {
	template, none := cluster.PodTemplate(name, options...), int32(0)
	return &appsv1.Deployment{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec:       appsv1.DeploymentSpec{Replicas: &none, Selector: &metav1.LabelSelector{MatchLabels: template.Labels}, Template: podTemplate(template)},
	}
}
