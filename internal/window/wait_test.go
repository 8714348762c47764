package window

import (
	"context"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestWaitFor(t *testing.T) {
	const keep = 2 * time.Minute
	at := func(seconds ...int) map[int]bool {
		set := map[int]bool{}
		for _, second := range seconds {
			set[second] = true
		}
		return set
	}
	from := func(first, last int) map[int]bool {
		set := map[int]bool{}
		for second := first; second <= last; second++ {
			set[second] = true
		}
		return set
	}
	for name, tc := range map[string]struct {
		serves map[int]bool // in which seconds somebody is seen
		begins map[int]bool // in which seconds somebody began, and ended before he was seen
		want   time.Duration
	}{
		"nobody comes":          {nil, nil, keep},
		"somebody stays":        {from(10, 3000), nil, 3000*time.Second + keep},
		"somebody comes late":   {at(119), nil, 119*time.Second + keep},
		"somebody is short":     {nil, at(100), 100*time.Second + 500*time.Millisecond + keep},
		"several, one by one":   {at(50, 150), at(100, 200), 200*time.Second + 500*time.Millisecond + keep},
		"somebody is too late":  {at(121), at(122), keep},
		"the last is the short": {from(1, 5), at(5), 5*time.Second + 500*time.Millisecond + keep},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				start, begun := time.Now(), make(chan struct{})
				ctx, cancel := context.WithCancel(t.Context())
				defer cancel()
				for second := range tc.begins {
					time.AfterFunc(time.Duration(second)*time.Second+500*time.Millisecond, func() { // of the bubble's clock
						select {
						case begun <- struct{}{}:
						case <-ctx.Done():
						}
					})
				}
				waitFor(ctx, keep, begun, func() bool { return tc.serves[int(time.Since(start).Seconds())] })
				took := time.Since(start)
				if took < tc.want || took >= tc.want+lookEvery {
					t.Errorf("it ended after %s, want %s", took, tc.want)
				}
			})
		})
	}
}

// A pod that is deleted ends at once.
func TestWaitForEndsWithItsContext(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		begun := time.Now()
		waitFor(ctx, time.Hour, nil, func() bool { return true })
		check.Equal(t, "it took", time.Since(begun), 0)
	})
}
