package scenarios

import (
	"context"
	"errors"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

var errStill = errors.New("it is as before")

// podTemplate is a pod as a controller makes it.
func podTemplate(pod *corev1.Pod) corev1.PodTemplateSpec {
	return corev1.PodTemplateSpec{
		ObjectMeta: metav1.ObjectMeta{Labels: pod.Labels, Annotations: pod.Annotations}, Spec: pod.Spec,
	}
}

// outage is a time without an API server: a minute at least.
type outage struct {
	s    *cluster.Scenario
	over <-chan time.Time
}

func startOutage(s *cluster.Scenario) *outage {
	s.KillAPI()
	o := &outage{s, time.After(time.Minute)}
	s.Cleanup(func() { o.end() })
	return o
}

// end waits until the outage has lasted, and starts the API server again. A second end does
// nothing.
func (o *outage) end() {
	o.s.Helper()
	if o.over == nil {
		return
	}
	<-o.over
	o.over = nil
	if err := o.s.StartAPI(context.Background()); err != nil {
		o.s.Error(err)
	}
}
