package delegate

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// orSignal gives the signal that ended a context, or else the reason of another end.
func orSignal(ctx context.Context, otherwise string) string {
	if cause := context.Cause(ctx); errors.Is(cause, types.ErrSignal) {
		return cause.Error()
	}
	return otherwise
}

// killed says why a plugin was killed after it ran for a time.
func killed(ctx context.Context, after time.Duration) string {
	if signal := orSignal(ctx, ""); signal != "" {
		return fmt.Sprintf("was killed with everything it started after %v: %s", after, signal)
	}
	return fmt.Sprintf("did not end within %v and was killed with everything it started", after)
}

// nameSignal adds the signal that ended a call to an error that does not name it: whoever
// waited for something saw no more than the end of the wait.
func nameSignal(ctx context.Context, err error) error {
	signal := orSignal(ctx, "")
	if err == nil || signal == "" || strings.Contains(err.Error(), signal) {
		return err
	}
	return fmt.Errorf("%w: %w", context.Cause(ctx), err)
}
