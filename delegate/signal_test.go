package delegate

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/types"
)

// signalled gives a context that a signal has ended.
func signalled(t *testing.T) context.Context {
	t.Helper()
	ctx, cancel := context.WithCancelCause(t.Context())
	cancel(fmt.Errorf("%w (SIGTERM)", types.ErrSignal))
	return ctx
}

// Whatever a call waits for when a signal ends it, its error says so once, with the code of
// what it waited for.
func TestSignalIsNamed(t *testing.T) {
	locked := func(t *testing.T, n *specNode) {
		lock, free, err := n.engine.Journal().TryLock(n.call.Sandbox.ContainerID)
		if err != nil || !free {
			t.Fatal(free, err)
		}
		t.Cleanup(lock.Release)
	}
	add := func(ctx context.Context, n *specNode) error { _, err := n.engine.Add(ctx, n.call); return err }
	for name, test := range map[string]struct {
		set  func(t *testing.T, n *specNode)
		call func(ctx context.Context, n *specNode) error
		code uint
	}{
		"the readiness file": {func(_ *testing.T, n *specNode) {
			n.engine.Config.ReadinessIndicatorFile = filepath.Join(n.dir, "never")
		}, add, types.CodeNotAvailable},
		"the planning":      {func(*testing.T, *specNode) {}, add, types.CodeTryAgainLater},
		"the lock in CHECK": {locked, func(ctx context.Context, n *specNode) error { return n.engine.Check(ctx, n.call) }, types.CodeTryAgainLater},
		"the lock in DEL":   {locked, func(ctx context.Context, n *specNode) error { return n.engine.Del(ctx, n.call) }, types.CodeTryAgainLater},
		"a plugin that cannot begin": {func(*testing.T, *specNode) {}, func(ctx context.Context, n *specNode) error {
			return n.engine.Del(ctx, n.call)
		}, types.CodeFailed},
	} {
		t.Run(name, func(t *testing.T) {
			n := newSpecNode(t, "")
			n.call.Sandbox.NetNS = "/proc/self/ns/net"
			test.set(t, n)
			err := test.call(signalled(t), n)
			if err == nil || strings.Count(err.Error(), "the call was ended by a signal (SIGTERM)") != 1 || types.CodeOf(err, 0) != test.code {
				t.Errorf("got %v with code %d", err, types.CodeOf(err, 0))
			}
		})
	}
}

// A deadline is no signal.
func TestSignalIsNotTheDeadline(t *testing.T) {
	ctx, cancel := context.WithTimeout(t.Context(), 0)
	defer cancel()
	n := newSpecNode(t, "")
	if err := n.engine.Del(ctx, n.call); err == nil || strings.Contains(err.Error(), "signal") || !strings.Contains(err.Error(), "there was no time left") {
		t.Errorf("got %v", err)
	}
}
