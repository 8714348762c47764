package rpc

import (
	"context"
	"errors"
	"fmt"
	"net"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// ErrNoAnswer is the error for a source that could not be reached or did not answer
// as the protocol has it: another source may be asked. An answer that is an error of
// the source is a *types.WireError instead.
var ErrNoAnswer = errors.New("no answer")

// Call sends a request and waits for its response, until ctx ends.
func Call(ctx context.Context, conn net.Conn, c *Conn, request *types.Request) (*types.Response, error) {
	request.Version = types.WireVersion
	if err := conn.SetDeadline(deadlineOf(ctx)); err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	// A context that is cancelled has no deadline to wait for.
	defer context.AfterFunc(ctx, func() { _ = conn.SetDeadline(time.Now()) })()
	if err := c.Send(request); err != nil {
		return nil, fmt.Errorf("%w: send: %w", ErrNoAnswer, err)
	}
	line, err := c.ReadLine()
	if err != nil {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	response, err := types.ParseResponse(line)
	var said *types.WireError
	if err != nil && !errors.As(err, &said) {
		return nil, fmt.Errorf("%w: %w", ErrNoAnswer, err)
	}
	return response, err
}

// deadlineOf gives the time at which ctx ends; never is the zero time.
func deadlineOf(ctx context.Context) time.Time {
	deadline, _ := ctx.Deadline()
	return deadline
}
