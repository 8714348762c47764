package watched

import (
	"context"
	"fmt"

	"golang.org/x/sync/semaphore"

	"github.com/plexus-cni/plexus/types"
)

// Bounds of what the networks in answers take, as JSON, in bytes.
const (
	// maxAnswer is of one answer.
	maxAnswer = 2 << 20
	// smallAnswer is what one may take that never waits for large ones.
	smallAnswer = 128 << 10
	// unheardLength is assumed of a network that the watch has not brought.
	unheardLength = 4 << 10
)

// Objects that are read live at a time.
const (
	maxLiveNetworks = 4
	maxLivePods     = 8
)

// answers bound the memory that answers take at a time. Small ones and large ones have
// their own: nobody waits for another pod's large networks.
type answers struct {
	small, large           *semaphore.Weighted
	liveNetworks, livePods *semaphore.Weighted
}

func newAnswers() *answers {
	return &answers{
		small: semaphore.NewWeighted(maxAnswer), large: semaphore.NewWeighted(maxAnswer),
		liveNetworks: semaphore.NewWeighted(maxLiveNetworks), livePods: semaphore.NewWeighted(maxLivePods),
	}
}

// reserve waits for room for an answer of so many bytes, which is free again when until
// ends.
func (a *answers) reserve(ctx, until context.Context, length int) error {
	if length > maxAnswer {
		return tooLong(length)
	}
	pool := a.small
	if length > smallAnswer {
		pool = a.large
	}
	if err := pool.Acquire(ctx, int64(length)); err != nil {
		return types.WithCode(types.CodeTryAgainLater, fmt.Errorf("the agent gives as many large answers as it can: %w", err))
	}
	context.AfterFunc(until, func() { pool.Release(int64(length)) })
	return nil
}

// extend reserves room for an answer that is longer than it was thought to be. It does not
// wait: who holds some and waits for more may wait for ever.
func (a *answers) extend(until context.Context, from, to int) error {
	switch {
	case to <= from:
		return nil
	case to > maxAnswer:
		return tooLong(to)
	case !a.large.TryAcquire(int64(to - from)):
		return types.Errorf(types.CodeTryAgainLater, "the agent gives as many large answers as it can")
	}
	context.AfterFunc(until, func() { a.large.Release(int64(to - from)) })
	return nil
}

func tooLong(length int) error {
	return types.Errorf(types.CodeTryAgainLater,
		"the networks that the pod names take %d bytes or more, and the agent answers with %d at most", length, maxAnswer)
}

// slot waits until one more object may be read live, and gives what ends the read.
func slot(ctx context.Context, of *semaphore.Weighted) (free func(), err error) {
	if err := of.Acquire(ctx, 1); err != nil {
		return nil, types.WithCode(types.CodeTryAgainLater, fmt.Errorf("the agent reads as many objects live as it can: %w", err))
	}
	return func() { of.Release(1) }, nil
}
