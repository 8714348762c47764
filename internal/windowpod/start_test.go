package windowpod

import (
	"context"
	"errors"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func waiting(reason, message string) corev1.PodStatus {
	return corev1.PodStatus{Phase: corev1.PodPending, StartTime: &metav1.Time{}, ContainerStatuses: []corev1.ContainerStatus{{
		State: corev1.ContainerState{Waiting: &corev1.ContainerStateWaiting{Reason: reason, Message: message}},
	}}}
}

func terminated(phase corev1.PodPhase, code int32) corev1.PodStatus {
	return corev1.PodStatus{Phase: phase, ContainerStatuses: []corev1.ContainerStatus{{
		State: corev1.ContainerState{Terminated: &corev1.ContainerStateTerminated{ExitCode: code, Reason: "StartError", Message: "no such file"}},
	}}}
}

// What keeps a pod from starting is said as soon as it is known.
func TestState(t *testing.T) {
	for name, tc := range map[string]struct {
		status  corev1.PodStatus
		running bool
		want    error
		says    string
	}{
		"new":                       {status: corev1.PodStatus{Phase: corev1.PodPending}},
		"being made":                {status: waiting("ContainerCreating", "")},
		"the image is missing":      {waiting("ErrImagePull", "no registry"), false, ErrNoStart, "its image is not on the node, and cannot be fetched: ErrImagePull: no registry (image localhost/plexus:v1)"},
		"it is still missing":       {waiting("ImagePullBackOff", "later"), false, ErrNoStart, "its image is not on the node"},
		"the runtime fails":         {waiting("CreateContainerError", "no mount"), false, ErrNoStart, "the runtime cannot make its container: CreateContainerError: no mount"},
		"an image without it":       {terminated(corev1.PodFailed, 128), false, ErrNoStart, "is it older than the window pod?"},
		"the node refuses it":       {corev1.PodStatus{Phase: corev1.PodFailed, Reason: "OutOfpods", Message: "too many"}, false, ErrNoStart, "the node refused or ended it: OutOfpods: too many"},
		"it has ended":              {terminated(corev1.PodSucceeded, 0), false, errNotThere, "the window pod has ended"},
		"the kubelet says nothing":  {corev1.PodStatus{Phase: corev1.PodFailed}, false, ErrNoStart, "no reason: no message"},
		"it runs without container": {status: corev1.PodStatus{Phase: corev1.PodRunning}},
	} {
		t.Run(name, func(t *testing.T) {
			pod := settingsFrom(t, nil).pod("node1", DefaultKeep, Full)
			pod.Status = tc.status
			got, err := state(pod)
			check.Equal(t, "it runs", got, tc.running)
			if !errors.Is(err, tc.want) {
				t.Fatalf("error %v, want %v", err, tc.want)
			}
			if tc.want != nil {
				check.Error(t, err, tc.says)
			}
		})
	}
	pod := settingsFrom(t, nil).pod("node1", DefaultKeep, Full)
	running(pod, time.Now())
	got, err := state(pod)
	check.Must(t, err)
	check.Equal(t, "it runs", got, true)
}

func TestWaitedTooLong(t *testing.T) {
	late, cancel := context.WithDeadline(t.Context(), time.Unix(0, 0))
	defer cancel()
	pod := settingsFrom(t, nil).pod("node1", DefaultKeep, Full)
	check.Error(t, waitedTooLong(late, pod), "the kubelet of the node did not take it within 1m0s")
	pod.Status = waiting("ContainerCreating", "a volume is missing")
	check.Error(t, waitedTooLong(late, pod), "does not start within 1m0s: ContainerCreating a volume is missing")
	pod.Status.ContainerStatuses = nil
	check.Error(t, waitedTooLong(late, pod), "does not start within 1m0s")
	stopped, stop := context.WithCancel(t.Context())
	stop()
	check.Equal(t, "a command that was told to stop", errors.Is(waitedTooLong(stopped, pod), context.Canceled), true)
}
