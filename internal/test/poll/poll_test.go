package poll

import (
	"context"
	"errors"
	"testing"
	"time"
)

var errNotYet = errors.New("not yet")

func TestUntilTheConditionHolds(t *testing.T) {
	calls := 0
	err := Until(t.Context(), time.Minute, "the third call", func(context.Context) error {
		if calls++; calls < 3 {
			return errNotYet
		}
		return nil
	})
	if err != nil || calls != 3 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

// The last error says why it was in vain.
func TestUntilTheContextEnds(t *testing.T) {
	ctx, cancel := context.WithCancel(t.Context())
	err := Until(ctx, time.Minute, "nothing", func(context.Context) error {
		cancel()
		return errNotYet
	})
	if !errors.Is(err, errNotYet) {
		t.Errorf("error %v", err)
	}
}

func TestUntilTheErrorIsFinal(t *testing.T) {
	calls := 0
	err := Until(t.Context(), time.Minute, "nothing", func(context.Context) error {
		calls++
		return Stop(errNotYet)
	})
	if !errors.Is(err, errNotYet) || calls != 1 {
		t.Errorf("%d calls, error %v", calls, err)
	}
}

func TestUntilTheLimit(t *testing.T) {
	if err := Until(t.Context(), time.Millisecond, "nothing", func(context.Context) error { return errNotYet }); !errors.Is(err, errNotYet) {
		t.Errorf("error %v", err)
	}
}
