package window

import (
	"context"
	"time"
)

// lookEvery is how often the first process of a window pod looks for others.
const lookEvery = time.Second

// waitFor waits until nobody was served for a while. Somebody is if a process serves at the moment, or
// began to since: one that is short is not seen between two looks.
func waitFor(ctx context.Context, keep time.Duration, begun <-chan struct{}, serving func() bool) {
	look := time.NewTicker(min(lookEvery, keep))
	defer look.Stop()
	last := time.Now()
	for {
		select {
		case <-ctx.Done():
			return
		case <-begun:
			last = time.Now()
		case now := <-look.C:
			if serving() {
				last = now
			}
			if now.Sub(last) >= keep {
				return
			}
		}
	}
}
