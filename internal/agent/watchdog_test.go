package agent

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// dog is a watchdog of a server that the test runs.
func dog(socket string) *watchdog {
	return &watchdog{socket: socket, pause: 20 * time.Millisecond, failures: 3, log: noLog()}
}

// An agent that does not answer is given up, whatever the reason.
func TestWatchdogGivesUp(t *testing.T) {
	hung := testServer()
	hung.facts = func(ctx context.Context, _ *types.FactsRequest) (*types.Facts, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	wrong := testServer()
	wrong.facts = func(context.Context, *types.FactsRequest) (*types.Facts, error) { return nil, errors.New("no luck") }
	broken := testServer()
	broken.facts = func(context.Context, *types.FactsRequest) (*types.Facts, error) { panic("a defect") }
	for name, socket := range map[string]string{
		"it hangs": run(t, hung).path, "it errs": run(t, wrong).path, "it panics": run(t, broken).path,
		"nobody listens": filepath.Join(socketDir(t), "s"),
	} {
		t.Run(name, func(t *testing.T) {
			check.Error(t, dog(socket).run(t.Context()), "has not answered itself on "+socket+" 3 times in a row", "60ms")
		})
	}
}

// An agent that answers now and then goes on.
func TestWatchdogIsPatient(t *testing.T) {
	s := testServer()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	var asked atomic.Int32
	s.facts = func(_ context.Context, request *types.FactsRequest) (*types.Facts, error) {
		if request.Pod.Known() || len(request.Networks) > 0 {
			t.Errorf("it is asked about %+v", request)
		}
		switch n := asked.Add(1); {
		case n == 20:
			cancel()
		case n%3 != 0:
			return nil, errors.New("no luck")
		}
		return &types.Facts{Pod: request.Pod}, nil
	}
	if err := dog(run(t, s).path).run(ctx); err != nil || asked.Load() < 20 {
		t.Errorf("after %d questions: %v", asked.Load(), err)
	}
}

// An agent that does not answer itself ends: here because its watchdog finds nobody where it
// asks.
func TestServeEndsUnanswered(t *testing.T) {
	socket := filepath.Join(socketDir(t), "s")
	fault := make(chan error, 1)
	a := &agent{
		opts: &Options{Socket: socket}, metrics: newMetrics(), log: noLog(),
		watchdog: dog(socket + ".other"), giveUp: func(err error) { fault <- err },
	}
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error)
	go func() { done <- a.serve(ctx, func() {}) }()
	select {
	case err := <-fault:
		check.Error(t, err, "has not answered itself")
	case <-time.After(patience):
		t.Error("it goes on")
	}
	cancel()
	check.Must(t, <-done)
	if _, err := os.Stat(socket); err == nil {
		t.Error("its socket is still there")
	}
}
