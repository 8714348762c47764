package agent

import (
	"context"
	"fmt"
	"log/slog"
	"net"
	"time"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

// The agent asks itself every watchdogPause, and is given up after so many questions in a
// row that had no answer. They are counted, and not their time: a machine that was suspended
// is no reason.
const (
	watchdogPause    = 5 * time.Second
	watchdogFailures = 6
)

// watchdog asks the agent's own socket a question, as plexus does. A probe of the kubelet
// would need a port, which another program may have.
type watchdog struct {
	socket   string
	pause    time.Duration
	failures int
	log      *slog.Logger
}

// run gives the reason why the agent is given up; nil once ctx ends.
func (w *watchdog) run(ctx context.Context) error {
	ticker := time.NewTicker(w.pause)
	defer ticker.Stop()
	for failed := 0; ; {
		select {
		case <-ctx.Done():
			return nil
		case <-ticker.C:
		}
		err := w.ask(ctx)
		switch {
		case ctx.Err() != nil:
			return nil
		case err == nil:
			failed = 0
			continue
		}
		failed++
		w.log.Warn("the agent does not answer itself", "socket", w.socket, "in a row", failed, "error", err)
		if failed >= w.failures {
			return fmt.Errorf("the agent has not answered itself on %s %d times in a row, in %s: %w", w.socket, failed, time.Duration(failed)*w.pause, err)
		}
	}
}

// ask asks for nothing: neither the API server nor the kubelet has a part in the answer.
func (w *watchdog) ask(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, w.pause)
	defer cancel()
	conn, err := new(net.Dialer).DialContext(ctx, "unix", w.socket)
	if err != nil {
		return err
	}
	defer conn.Close()
	_, err = rpc.Call(ctx, conn, rpc.NewConn(conn), &types.Request{Facts: &types.FactsRequest{}})
	return err
}
