package agent

import (
	"context"
	"errors"
	"log/slog"
	"reflect"
	"slices"
	"sync"
	"time"

	"k8s.io/client-go/util/workqueue"

	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// refusedPause is how long a refused status is left alone: the right to it may come.
const refusedPause = 10 * time.Minute

// claimPublisher makes the status of ResourceClaims say what the journal says of their devices on
// this node. It is level-triggered: a changed record only makes it compare the two. Nothing waits
// for it, and where it may not write, nothing else changes.
type claimPublisher struct {
	records *records
	apply   func(context.Context, types.ClaimPart, *types.ClaimStatus) error

	queue   workqueue.TypedRateLimitingInterface[types.ClaimPart]
	metrics *metrics
	log     *slog.Logger

	mu      sync.Mutex
	applied map[types.ClaimPart]*types.ClaimStatus // what the API server has, or will not take
	logged  map[string]bool                        // reasons and drivers that were logged
}

func newClaimPublisher(r *records, m *metrics, log *slog.Logger) *claimPublisher {
	limiter := workqueue.NewTypedItemExponentialFailureRateLimiter[types.ClaimPart](firstRetry, longestRetry)
	p := &claimPublisher{
		records: r, queue: workqueue.NewTypedRateLimitingQueue(limiter), metrics: m, log: log,
		applied: map[types.ClaimPart]*types.ClaimStatus{}, logged: map[string]bool{},
	}
	r.claimChanged = p.enqueue
	return p
}

// enqueue makes the publisher compare a part of a claim, a moment later: see recordChanged.
func (p *claimPublisher) enqueue(part types.ClaimPart) {
	p.queue.Forget(part)
	p.queue.AddAfter(part, reportPause)
}

// run works until ctx ends. The status publisher scans the journal, and so begins the work.
func (p *claimPublisher) run(ctx context.Context) {
	defer context.AfterFunc(ctx, p.queue.ShutDown)()
	var working sync.WaitGroup
	for range publishWorkers {
		working.Go(func() { p.work(ctx) })
	}
	working.Wait()
}

func (p *claimPublisher) work(ctx context.Context) {
	for {
		part, closed := p.queue.Get()
		if closed {
			return
		}
		p.process(ctx, part)
		p.queue.Done(part)
	}
}

func (p *claimPublisher) process(ctx context.Context, part types.ClaimPart) {
	err := p.settle(ctx, part)
	switch {
	case err == nil:
		p.queue.Forget(part)
	case errors.Is(err, k8sclient.ErrClaimRefused):
		p.queue.Forget(part)
		p.queue.AddAfter(part, refusedPause)
	case ctx.Err() == nil:
		p.log.Warn("the status of a claim could not be written; it will be tried again",
			"claim", part.String(), "attempt", p.queue.NumRequeues(part)+1, "error", err)
		p.queue.AddRateLimited(part)
	}
}

// settle makes a part of a claim's status agree with the journal. A part without a live sandbox is
// emptied once, because an earlier agent may have written it.
func (p *claimPublisher) settle(ctx context.Context, part types.ClaimPart) error {
	status, recorded := p.records.claimed(part)
	if p.has(part, status, recorded) {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, patchTimeout)
	defer cancel()
	err := p.apply(ctx, part, status)
	p.count(part, err)
	switch {
	case errors.Is(err, k8sclient.ErrClaimGone), errors.Is(err, k8sclient.ErrClaimOwned): // settled
	case errors.Is(err, k8sclient.ErrClaimRefused) && status == nil && !p.wrote(part): // nothing to take out
	case err != nil:
		return err
	}
	p.remember(part, status, recorded)
	return nil
}

func (p *claimPublisher) has(part types.ClaimPart, status *types.ClaimStatus, recorded bool) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	last, known := p.applied[part]
	if known && status == nil && last == nil && !recorded {
		delete(p.applied, part)
	}
	return known && reflect.DeepEqual(last, status)
}

// wrote reports whether the claim's status has a device because of this agent.
func (p *claimPublisher) wrote(part types.ClaimPart) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.applied[part] != nil
}

// remember keeps what was applied, as long as a record names the device.
func (p *claimPublisher) remember(part types.ClaimPart, status *types.ClaimStatus, recorded bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	if recorded {
		p.applied[part] = status
	} else {
		delete(p.applied, part)
	}
}

// outcomes of an apply, by the error that says each.
var claimOutcomes = map[string]error{
	"gone": k8sclient.ErrClaimGone, "refused": k8sclient.ErrClaimRefused, "owned": k8sclient.ErrClaimOwned,
}

// count counts an apply. It logs once for each driver what no later attempt mends.
func (p *claimPublisher) count(part types.ClaimPart, err error) {
	result := outcome(err)
	for name, is := range claimOutcomes {
		if errors.Is(err, is) {
			result = name
		}
	}
	p.metrics.claims.WithLabelValues(result).Inc()
	if result != "refused" && result != "owned" {
		return
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if key := result + " " + part.Driver; !p.logged[key] {
		p.logged[key] = true
		p.log.Warn("the status of claims is not written for the devices of a driver; nothing else depends on it. This is logged once",
			"driver", part.Driver, "claim", part.String(), "error", err)
	}
}

// claimed gives what the newest live sandbox that has a device says of it, nil if none has it, and
// whether any record names it.
func (r *records) claimed(part types.ClaimPart) (status *types.ClaimStatus, recorded bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var newest *sandbox
	for _, s := range r.known {
		recorded = recorded || slices.Contains(s.parts, part)
		for i := range s.claimed {
			if s.claimed[i].Part == part && (newest == nil || s.age.Compare(newest.age) > 0) {
				newest, status = s, &s.claimed[i]
			}
		}
	}
	return status, recorded
}

// reportClaims reports the parts of claims that a record names, or named before it changed.
func (r *records) reportClaims(s *sandbox) {
	if s == nil || r.claimChanged == nil {
		return
	}
	for _, part := range s.parts {
		r.claimChanged(part)
	}
}
