// Package poll waits for a state that nothing announces.
package poll

import (
	"context"
	"fmt"
	"time"
)

// The pauses between two looks grow from the first to the longest.
const (
	firstPause   = time.Millisecond
	longestPause = 100 * time.Millisecond
)

// Final is an error after which there is nothing to wait for.
type Final struct{ error }

// Stop makes an error final.
func Stop(err error) error { return Final{err} }

// Unwrap gives the error itself.
func (f Final) Unwrap() error { return f.error }

// Until calls condition again and again until it gives no error, until that error is
// final, until the limit is over or until ctx ends. It gives the last error.
func Until(ctx context.Context, limit time.Duration, what string, condition func(context.Context) error) error {
	ctx, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	for pause := firstPause; ; pause = min(2*pause, longestPause) {
		err := condition(ctx)
		if err == nil {
			return nil
		}
		if _, end := err.(Final); end { //nolint:errorlint // a condition returns it as it is
			return fmt.Errorf("waiting for %s: %w", what, err)
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("waited in vain for %s: %w", what, err)
		case <-time.After(pause):
		}
	}
}
