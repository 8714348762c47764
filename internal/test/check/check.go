// Package check has the checks that the tests of every package make.
package check

import (
	"context"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/poll"
)

// Must ends the test at an error.
func Must(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// Equal fails the test if the values differ.
func Equal[T any](t testing.TB, what string, got, want T) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", what, diff)
	}
}

// Contains fails the test for each part that the text lacks.
func Contains(t testing.TB, what, text string, parts ...string) {
	t.Helper()
	for _, part := range parts {
		if !strings.Contains(text, part) {
			t.Errorf("%s lacks %q: %s", what, part, text)
		}
	}
}

// Error ends the test if there is no error, and fails it for each part that the error's
// message lacks.
func Error(t testing.TB, err error, parts ...string) {
	t.Helper()
	if err == nil {
		t.Fatalf("no error, want one with %q", parts)
	}
	Contains(t, "error", err.Error(), parts...)
}

// Condition holds once it is true, or gives no error.
type Condition interface{ func() bool | func() error }

var errNotYet = errors.New("it is not so")

// Eventually waits until the condition holds, and ends the test if it does not within the limit.
func Eventually[C Condition](t testing.TB, what string, limit time.Duration, condition C) {
	t.Helper()
	// The test's own context has ended by the time of its clean-up, which may wait too.
	err := poll.Until(context.Background(), limit, what, func(context.Context) error {
		switch holds := any(condition).(type) {
		case func() error:
			return holds()
		case func() bool:
			if !holds() {
				return errNotYet
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
}
