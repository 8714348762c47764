package agent

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"k8s.io/apimachinery/pkg/util/resourceversion"
	"k8s.io/client-go/util/workqueue"

	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/k8sclient/watched"
	"github.com/plexus-cni/plexus/types"
)

const (
	publishWorkers = 4
	firstRetry     = 200 * time.Millisecond
	longestRetry   = 2 * time.Minute
	patchTimeout   = 15 * time.Second
	reportPause    = 25 * time.Millisecond
	// rivalPause is between two writes of one status while another program writes its own.
	rivalPause = 5 * time.Second
	// trustWrites is how long our own write counts while the watch does not show it.
	trustWrites = time.Minute
	// rescanPause is between two scans of the whole journal. They find the records that no
	// report named, because no agent answered.
	rescanPause = 30 * time.Second
)

// publisher makes the network-status annotation of every pod of the node agree with the
// journal. It is level-triggered: a report only makes it compare the two.
type publisher struct {
	records *records
	// pod gives a pod as the watch has it.
	pod   func(types.Ref) (k8sclient.PodObject, bool)
	patch func(context.Context, types.Pod, []types.NetworkStatus) (*k8sclient.PodObject, error)

	queue   workqueue.TypedRateLimitingInterface[types.Ref]
	metrics *metrics
	log     *slog.Logger
	now     func() time.Time

	mu      sync.Mutex
	serving bool
	written map[types.Ref]write // the last one
	failing map[types.Ref]bool  // to be tried again
}

func newPublisher(r *records, m *metrics, log *slog.Logger) *publisher {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.Ref](firstRetry, longestRetry)
	return &publisher{
		records: r,
		queue:   workqueue.NewTypedRateLimitingQueue(limiter),
		metrics: m,
		log:     log,
		now:     time.Now,
		written: map[types.Ref]write{},
		failing: map[types.Ref]bool{},
	}
}

// write is a pod as a write of ours left it.
type write struct {
	pod k8sclient.PodObject
	at  time.Time
}

// errRival is the error for a status that was right and is not any more.
var errRival = errors.New("another program writes the annotation too")

// enqueue makes the publisher compare the status of a pod. Before it runs it needs no
// list: it begins with all pods. It does not wait.
func (p *publisher) enqueue(pod types.Ref) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.serving {
		p.queue.Add(pod)
	}
}

// recordChanged makes the publisher compare the pods of a container whose record changed, a
// moment later: the call that reported it still has to answer, on the same cores.
func (p *publisher) recordChanged(containerID string) {
	changed, err := p.records.of(containerID)
	if err != nil {
		p.log.Warn("read the journal", "sandbox", containerID, "error", err)
	}
	for _, pod := range changed {
		p.queue.Forget(pod) // the reason of an earlier failure may be gone
		p.queue.AddAfter(pod, reportPause)
	}
}

func (p *publisher) enqueueAll(pods []types.Ref) {
	for _, pod := range pods {
		p.queue.Forget(pod)
		p.queue.Add(pod)
	}
}

// run works until ctx ends.
func (p *publisher) run(ctx context.Context) {
	defer context.AfterFunc(ctx, p.queue.ShutDown)()
	p.mu.Lock()
	p.serving = true
	p.mu.Unlock()
	var working sync.WaitGroup
	for range publishWorkers {
		working.Go(func() { p.work(ctx) })
	}
	for ctx.Err() == nil {
		changed, err := p.records.scan()
		if err != nil {
			p.log.Warn("read the journal; the status of pods is not published meanwhile", "error", err)
		}
		p.enqueueAll(changed)
		p.metrics.missing.WithLabelValues().Add(float64(p.records.missingRecords()))
		pause(ctx, rescanPause)
	}
	working.Wait()
}

func (p *publisher) work(ctx context.Context) {
	for {
		ref, closed := p.queue.Get()
		if closed {
			return
		}
		err := p.settle(ctx, ref)
		p.noteOutcome(ref, err)
		if err != nil && ctx.Err() == nil {
			p.log.Warn("the network status of a pod could not be published; it will be tried again",
				"pod", ref.String(), "attempt", p.queue.NumRequeues(ref)+1, "error", err)
			p.queue.AddRateLimited(ref)
		} else {
			p.queue.Forget(ref)
		}
		p.queue.Done(ref)
	}
}

func (p *publisher) noteOutcome(ref types.Ref, err error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if err != nil {
		p.failing[ref] = true
	} else {
		delete(p.failing, ref)
	}
}

// backlog gives the number of pods that are to be compared, or to be tried again.
func (p *publisher) backlog() int {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.queue.Len() + len(p.failing)
}

// settle makes the annotation of one pod agree with the journal. A pod that the watch does
// not have is gone, or the watch will bring it.
func (p *publisher) settle(ctx context.Context, ref types.Ref) error {
	pod, known := p.current(ref)
	if !known {
		return nil
	}
	ours, status, attached := p.records.newest(ref, pod.Is)
	if !attached || watched.Abridge(status) == pod.Annotations[types.AnnotationNetworkStatus] {
		return nil
	}
	if p.wroteRecently(ref, pod.UID, status) {
		return errRival
	}
	parsed, err := types.ParseStatus(status)
	if err != nil {
		return err
	}
	ctx, cancel := context.WithTimeout(ctx, patchTimeout)
	defer cancel()
	ours.UID = pod.UID // of the mirror, where the pod is static
	written, err := p.patch(ctx, ours, parsed)
	switch {
	case k8sclient.IsGone(err):
		p.metrics.publications.WithLabelValues("gone").Inc()
		return nil
	case err != nil:
		p.metrics.publications.WithLabelValues("error").Inc()
		return err
	}
	p.metrics.publications.WithLabelValues("ok").Inc()
	p.log.Debug("published the network status", "pod", ref.String())
	p.remember(ref, *written)
	return nil
}

// current gives the pod as the watch has it, or as our own last write left it, if the
// watch does not show that yet.
func (p *publisher) current(ref types.Ref) (k8sclient.PodObject, bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	seen, known := p.pod(ref)
	mine, wrote := p.written[ref]
	switch {
	case !wrote:
		return seen, known
	case !known || seen.UID != mine.pod.UID || p.now().Sub(mine.at) > trustWrites:
		delete(p.written, ref)
		return seen, known
	case older(seen.ResourceVersion, mine.pod.ResourceVersion):
		return mine.pod, true
	}
	return seen, known
}

// wroteRecently reports whether this very status was written a moment ago. Without the
// pause, two writers would overwrite each other in a loop.
func (p *publisher) wroteRecently(ref types.Ref, uid, status string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	mine, wrote := p.written[ref]
	return wrote && mine.pod.UID == uid && mine.pod.Annotations[types.AnnotationNetworkStatus] == watched.Abridge(status) && p.now().Sub(mine.at) < rivalPause
}

func (p *publisher) remember(ref types.Ref, written k8sclient.PodObject) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.written[ref] = write{watched.Reduce(written), p.now()}
}

// older reports whether version a is before b. Where versions cannot be compared, the
// watch counts.
func older(a, b string) bool {
	order, err := resourceversion.CompareResourceVersion(a, b)
	return err == nil && order < 0
}
