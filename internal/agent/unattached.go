package agent

import (
	"context"
	"log/slog"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"github.com/prometheus/client_golang/prometheus"

	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// unattachedCheck is how often the agent looks for pods without their networks.
const unattachedCheck = 30 * time.Second

// unattached finds pods that run without the networks that they select: the runtime did not
// call Plexus when it made their sandbox, which is an error to nobody else.
type unattached struct {
	pods     func(func(types.Ref, k8sclient.PodObject)) // gives those of the node
	attached func(types.Ref, k8sclient.PodObject) bool
	// trusted reports whether the agent serves and knows pods, and whole whether it has read all
	// records: who knows only some takes attached pods for others.
	trusted, whole func() bool
	// running gives the UIDs of those that run in a network namespace of their own.
	running func(context.Context) (map[string]bool, error)
	tell    func(*types.Pod)
	log     *slog.Logger

	seen  map[string]types.Pod // by UID: those without a record at the last check
	told  map[string]bool
	count atomic.Int64
}

func (u *unattached) run(ctx context.Context) {
	for ctx.Err() == nil {
		u.check(ctx)
		pause(ctx, unattachedCheck)
	}
}

// check counts the pods that had no record twice in a row, and run. It asks the API server
// only if there are any: these are mostly pods that cannot start.
func (u *unattached) check(ctx context.Context) {
	if !u.trusted() || !u.whole() {
		u.seen = nil
		return
	}
	before := u.seen
	u.seen = u.candidates()
	var due []types.Pod
	for uid, pod := range u.seen {
		if _, twice := before[uid]; twice {
			due = append(due, pod)
		}
	}
	if len(due) == 0 {
		u.report(nil)
		return
	}
	running, err := u.running(ctx)
	if err != nil {
		u.log.Debug("look for pods without their networks", "error", err)
		return // all may be as it was
	}
	u.report(slices.DeleteFunc(due, func(pod types.Pod) bool { return !running[pod.UID] }))
}

// report counts the pods, and says it of each once.
func (u *unattached) report(pods []types.Pod) {
	before := u.told
	u.told = map[string]bool{}
	for _, pod := range pods {
		u.told[pod.UID] = true
		if !before[pod.UID] {
			u.log.Warn("a pod runs without the networks that it selects, since the runtime did not call plexus for it: delete it, so that it starts anew", "pod", pod.String())
			u.tell(&pod)
		}
	}
	u.count.Store(int64(len(pods)))
}

// candidates gives the pods that select networks, and have neither a record nor a status.
func (u *unattached) candidates() map[string]types.Pod {
	found := map[string]types.Pod{}
	u.pods(func(ref types.Ref, pod k8sclient.PodObject) {
		if selectsNetworks(pod.Annotations) && !u.attached(ref, pod) {
			found[pod.UID] = types.Pod{Namespace: ref.Namespace, Name: ref.Name, UID: pod.UID}
		}
	})
	return found
}

// selectsNetworks reports whether a pod selects networks that its status does not have. Multus
// may have attached it, and a status that cannot be read here was written by somebody too.
func selectsNetworks(annotations map[string]string) bool {
	selection := strings.TrimSpace(annotations[types.AnnotationNetworks])
	if selection == "" || selection == "[]" {
		return false
	}
	text := annotations[types.AnnotationNetworkStatus]
	if text == "" {
		return true
	}
	status, err := types.ParseStatus(text)
	for _, entry := range status {
		if !entry.Default {
			return false
		}
	}
	return err == nil
}

// tellUnattached writes the event on a pod that runs without its networks.
func (a *agent) tellUnattached(pod *types.Pod) {
	a.events.add(pod, []types.PodEvent{{
		Type: types.EventWarning, Reason: types.ReasonNetworksMissing,
		Message: "the pod runs without the networks that it selects, since the runtime did not call plexus when it started: delete the pod, so that it starts anew",
	}})
}

var descPodsWithout = prometheus.NewDesc("plexus_pods_without_networks", "Pods of this node that run without the networks that they select.", nil, nil)

// podsWithout collects how many were found.
type podsWithout struct{ *unattached }

// Describe is part of prometheus.Collector.
func (podsWithout) Describe(out chan<- *prometheus.Desc) { out <- descPodsWithout }

// Collect is part of prometheus.Collector.
func (p podsWithout) Collect(out chan<- prometheus.Metric) {
	out <- prometheus.MustNewConstMetric(descPodsWithout, prometheus.GaugeValue, float64(p.count.Load()))
}
