package vhostuser

import (
	"context"
	"errors"

	"github.com/plexus-cni/plexus/internal/plugin/ipam"
	"github.com/plexus-cni/plexus/types"
)

// Del releases an attachment. What cannot be released, as the port while the switch is
// down, is an error and stays in the state: a port of which DEL said that it was gone
// would stay for ever. The runtime, or Plexus with its journal, calls again.
func (p *Plugin) Del(ctx context.Context, call *Call) error {
	c, a, configErr := call.parse()
	state, err := p.known(c, a, configErr)
	if err != nil {
		return err
	}
	if state != nil {
		return p.release(ctx, storeIn(c.StateDir), state)
	}
	if configErr != nil {
		return nil // an ADD with it touched nothing
	}
	return p.releaseUnknown(ctx, c, a)
}

// releaseUnknown is for an attachment of which no state is left: there never was any, or
// it has been released, or the node has lost it. Only the last would leave anything,
// and then the switch may well be down for good: this cannot be an error.
func (p *Plugin) releaseUnknown(ctx context.Context, c *Config, a *Attachment) error {
	portErr := p.useSwitch(ctx, c.OVSDB, c.Timeout, func(ctx context.Context, sw Switch) error { return sw.Unplug(ctx, a.PortName()) })
	if errors.Is(portErr, ErrUnreachable) || errors.Is(portErr, context.DeadlineExceeded) {
		portErr = nil
	}
	ipamErr := p.ipamOf(c.IPAM, c.Raw, a).Del(ctx)
	if errors.Is(ipamErr, ipam.ErrMissing) {
		ipamErr = nil // an ADD would have been refused
	}
	return types.Join(portErr, ipamErr, newState(c, a).removeDeviceInfo(), storeIn(c.StateDir).RemoveUnfinished(a.PortName()))
}
