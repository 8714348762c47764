package vhostuser

import (
	"context"
	"fmt"

	"github.com/plexus-cni/plexus/types"
)

// GC releases the attachments of a network that are in no use any more, by their state,
// and the ports of the network of which no state is left.
func (p *Plugin) GC(ctx context.Context, call *Call) error {
	c, err := ParseConfig(call.Config)
	if err != nil {
		return types.WithCode(types.CodeInvalidConfig, fmt.Errorf("network %q: %w", c.Name, err))
	}
	if !c.HasValid {
		return types.Errorf(types.CodeInvalidConfig, "cni.dev/valid-attachments: is missing: without it nothing can be released")
	}
	valid := map[types.GCAttachment]bool{}
	for _, a := range c.Valid {
		valid[a] = true
	}
	store := storeIn(c.StateDir)
	states, err := store.all()
	errs := []error{err}
	for _, s := range states {
		if s.Network == c.Name && !valid[types.GCAttachment{ContainerID: s.Container, IfName: s.Interface}] {
			errs = append(errs, p.release(ctx, store, s))
		}
	}
	errs = append(errs, p.unplugInvalid(ctx, c, valid))
	errs = append(errs, p.ipamOf(c.IPAM, c.Raw, &Attachment{Network: c.Name}).GC(ctx))
	return types.Join(errs...)
}

func (p *Plugin) unplugInvalid(ctx context.Context, c *Config, valid map[types.GCAttachment]bool) error {
	return p.useSwitch(ctx, c.OVSDB, c.Timeout, func(ctx context.Context, sw Switch) error {
		ports, err := sw.Owned(ctx, c.Name)
		if err != nil {
			return err
		}
		var errs []error
		for i := range ports {
			if o := &ports[i].Owner; !valid[types.GCAttachment{ContainerID: o.ContainerID, IfName: o.Interface}] {
				errs = append(errs, sw.Unplug(ctx, ports[i].Name))
			}
		}
		return types.Join(errs...)
	})
}
