package vhostuser

import (
	"context"
	"errors"
	"fmt"

	"github.com/plexus-cni/plexus/types"
)

// Status reports whether an ADD could work. A switch that does not answer says nothing
// of the ports that it has (code 50); one that answers and cannot serve has cut off the
// containers that are there too (code 51).
func (p *Plugin) Status(ctx context.Context, call *Call) error {
	c, err := ParseConfig(call.Config)
	if err != nil {
		return types.WithCode(types.CodeInvalidConfig, fmt.Errorf("network %q: %w", c.Name, err))
	}
	err = p.useSwitch(ctx, c.OVSDB, c.Timeout, func(ctx context.Context, sw Switch) error { return sw.Ready(ctx, c.Bridge) })
	switch {
	case errors.Is(err, ErrUnfit):
		return types.WithCode(types.CodeLimitedConnectivity, err)
	case err != nil:
		return types.WithCode(types.CodeNotAvailable, err)
	}
	return types.WithCode(types.CodeNotAvailable, p.ipamOf(c.IPAM, c.Raw, &Attachment{Network: c.Name}).Status(ctx))
}
