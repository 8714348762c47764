package windowpod

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
)

// startTimeout is how long a pod may take until it runs. Its image is on the node, as a rule.
const startTimeout = time.Minute

var (
	// ErrNoStart is the error for a window pod that does not start.
	ErrNoStart = errors.New("the window pod does not start")
	// errNotThere is the error for a pod that ended before it could be used.
	errNotThere = errors.New("the window pod has ended")
)

// create makes a pod, unless its node is known not to run it.
func (c *Cluster) create(ctx context.Context, wanted *corev1.Pod) (*corev1.Pod, error) {
	if err := c.nodeReady(ctx, wanted.Spec.NodeName); err != nil {
		return nil, err
	}
	ctx, cancel := c.limited(ctx)
	defer cancel()
	made, err := c.core.Pods(c.options.Namespace).Create(ctx, wanted, metav1.CreateOptions{})
	if err != nil {
		return nil, c.explain(ctx, err, right{"create", "pods", ""})
	}
	return made, nil
}

// nodeReady gives an error if the node does not exist, or says that it is not ready. Who may not read
// it goes on.
func (c *Cluster) nodeReady(ctx context.Context, name string) error {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	node, err := c.core.Nodes().Get(ctx, name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return errors.New("the cluster has no such node")
	}
	if err != nil {
		return nil
	}
	for _, condition := range node.Status.Conditions {
		if condition.Type == corev1.NodeReady && condition.Status != corev1.ConditionTrue {
			return fmt.Errorf("%w: the node is not ready: %s: %s", ErrNoStart, condition.Reason, condition.Message)
		}
	}
	return nil
}

// await waits until a pod runs, and keeps it up to date.
func (c *Cluster) await(ctx context.Context, pod *corev1.Pod) error {
	ctx, cancel := context.WithTimeout(ctx, startTimeout)
	defer cancel()
	for {
		if running, err := state(pod); running || err != nil {
			return err
		}
		err := c.follow(ctx, pod)
		if ctx.Err() != nil {
			return waitedTooLong(ctx, pod)
		}
		if err != nil {
			return err
		}
		// The watch ended without a reason, as it does from time to time.
		if err := c.reread(ctx, pod); err != nil {
			return err
		}
	}
}

func (c *Cluster) reread(ctx context.Context, pod *corev1.Pod) error {
	ctx, cancel := c.limited(ctx)
	defer cancel()
	now, err := c.core.Pods(c.options.Namespace).Get(ctx, pod.Name, metav1.GetOptions{})
	if apierrors.IsNotFound(err) {
		return fmt.Errorf("%w: somebody deleted it, or the node left the cluster", errNotThere)
	}
	if err != nil {
		return c.explain(ctx, err, right{"get", "pods", ""})
	}
	*pod = *now
	return nil
}

// follow watches a pod until it runs or cannot, or until the watch ends.
func (c *Cluster) follow(ctx context.Context, pod *corev1.Pod) error {
	events, err := c.core.Pods(c.options.Namespace).Watch(ctx, metav1.ListOptions{
		FieldSelector: "metadata.name=" + pod.Name, ResourceVersion: pod.ResourceVersion,
	})
	if err != nil {
		return c.explain(ctx, err, right{"watch", "pods", ""})
	}
	defer events.Stop()
	for event := range events.ResultChan() {
		now, isPod := event.Object.(*corev1.Pod)
		switch {
		case event.Type == watch.Deleted:
			return fmt.Errorf("%w: somebody deleted it, or the node left the cluster", errNotThere)
		case !isPod:
			return nil // an error, as of a version that is too old: it is read again
		}
		*pod = *now
		if running, err := state(pod); running || err != nil {
			return err
		}
	}
	return nil
}

// hopeless are the reasons for which a container waits that time does not mend.
var hopeless = map[string]string{
	"ErrImagePull":               "its image is not on the node, and cannot be fetched",
	"ImagePullBackOff":           "its image is not on the node, and cannot be fetched",
	"ErrImageNeverPull":          "its image is not on the node",
	"InvalidImageName":           "its image has no valid name",
	"CreateContainerError":       "the runtime cannot make its container",
	"CreateContainerConfigError": "the runtime cannot make its container",
	"RunContainerError":          "the runtime cannot start its container",
}

// state reports whether a pod runs, or why it never will.
func state(pod *corev1.Pod) (running bool, err error) {
	if isRunning(pod) {
		return true, nil
	}
	for _, status := range pod.Status.ContainerStatuses {
		if waiting := status.State.Waiting; waiting != nil && hopeless[waiting.Reason] != "" {
			return false, fmt.Errorf("%w: %s: %s: %s (image %s)", ErrNoStart, hopeless[waiting.Reason], waiting.Reason, waiting.Message, pod.Spec.Containers[0].Image)
		}
		if ended := status.State.Terminated; ended != nil && ended.ExitCode != 0 {
			return false, fmt.Errorf("%w: its program ended with code %d: %s: %s (image %s; is it older than the window pod?)",
				ErrNoStart, ended.ExitCode, ended.Reason, ended.Message, pod.Spec.Containers[0].Image)
		}
	}
	switch pod.Status.Phase {
	case corev1.PodSucceeded:
		return false, fmt.Errorf("%w by itself", errNotThere)
	case corev1.PodFailed:
		return false, fmt.Errorf("%w: the node refused or ended it: %s: %s", ErrNoStart, cmp.Or(pod.Status.Reason, "no reason"), cmp.Or(pod.Status.Message, "no message"))
	}
	return false, nil
}

// waitedTooLong says how far a pod came.
func waitedTooLong(ctx context.Context, pod *corev1.Pod) error {
	if !errors.Is(ctx.Err(), context.DeadlineExceeded) {
		return ctx.Err()
	}
	if pod.Status.StartTime == nil {
		return fmt.Errorf("%w: the kubelet of the node did not take it within %s: does the node exist, and is it ready?", ErrNoStart, startTimeout)
	}
	for _, status := range pod.Status.ContainerStatuses {
		if waiting := status.State.Waiting; waiting != nil {
			return fmt.Errorf("%w within %s: %s %s", ErrNoStart, startTimeout, waiting.Reason, waiting.Message)
		}
	}
	return fmt.Errorf("%w within %s", ErrNoStart, startTimeout)
}
