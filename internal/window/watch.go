package window

import (
	"context"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// How often a node is read that does not say when something changes, and one that does: it
// may miss an event. After each, settle passes, so that an ADD with all its events is one change.
const (
	pollEvery  = 2 * time.Second
	checkEvery = 10 * time.Second
	settle     = 200 * time.Millisecond
)

// changing is a way to a node that says when something of it may have changed.
type changing interface {
	Changes(ctx context.Context) (<-chan struct{}, error)
}

// watch runs a function now, and again whenever the node may have changed. It ends well with the context.
func watch(ctx context.Context, node inspect.Node, run func() error) error {
	endsByItself(ctx)
	var changes <-chan struct{}
	every := pollEvery
	if says, is := node.(changing); is {
		var err error
		if changes, err = says.Changes(ctx); err != nil {
			return err
		}
		every = checkEvery
	}
	for ctx.Err() == nil {
		err := run()
		switch {
		case ctx.Err() != nil:
			return nil
		case err != nil:
			return err
		}
		wait(ctx, nil, settle)
		wait(ctx, changes, every)
	}
	return nil
}

// wait waits for a change, for some time at most.
func wait(ctx context.Context, changes <-chan struct{}, atMost time.Duration) {
	timer := time.NewTimer(atMost)
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-changes:
	case <-timer.C:
	}
}
