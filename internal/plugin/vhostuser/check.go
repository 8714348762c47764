package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"slices"

	"github.com/containernetworking/cni/pkg/types/create"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/types"
)

// Check reports whether everything of an attachment is as its ADD made it.
func (p *Plugin) Check(ctx context.Context, call *Call) error {
	c, a, err := call.parse()
	if err != nil {
		return err
	}
	state, err := storeIn(c.StateDir).Read(a.PortName())
	if err != nil {
		return types.Errorf(types.CodeUnknownContainer, "container %s is not attached as %s: %w", a.ContainerID, a.Interface, err)
	}
	return types.Join(
		checkPrevResult(c, a),
		state.Place.verify(c.UID, c.GID, state.AppConfig),
		p.checkPort(ctx, c, a, &state.Place),
		p.ipamOf(c.IPAM, c.Raw, a).Check(ctx),
	)
}

func (p *Plugin) checkPort(ctx context.Context, c *Config, a *Attachment, place *Place) error {
	return p.useSwitch(ctx, c.OVSDB, c.Timeout, func(ctx context.Context, sw Switch) error {
		if err := sw.Ready(ctx, c.Bridge); err != nil {
			return err
		}
		port, err := sw.Port(ctx, a.PortName())
		if err != nil {
			return fmt.Errorf("port %s: %w", a.PortName(), err)
		}
		return comparePorts(portOf(c, a, place), port)
	})
}

// comparePorts reports in what a port differs from what it was made as.
func comparePorts(want, got *Port) error {
	var faults []error
	for _, f := range []struct {
		what      string
		want, got any
	}{
		{"bridge", want.Bridge, got.Bridge},
		{"socket", want.Socket, got.Socket},
		{"VLAN", want.VLAN, got.VLAN},
		{"trunk", fmt.Sprint(want.Trunks), fmt.Sprint(got.Trunks)},
		{"requested MTU", want.MTU, got.MTU},
		{"queues", want.Queues, got.Queues},
		{"owner", want.Owner, got.Owner},
	} {
		if f.want != f.got {
			faults = append(faults, fmt.Errorf("port %s: its %s is %v, was made as %v", want.Name, f.what, f.got, f.want))
		}
	}
	if got.Problem != "" {
		faults = append(faults, fmt.Errorf("port %s: %s", want.Name, got.Problem))
	}
	return types.Join(faults...)
}

// checkPrevResult looks for our interface in what ADD answered.
func checkPrevResult(c *Config, a *Attachment) error {
	if c.PrevResult == nil {
		return types.Errorf(types.CodeInvalidConfig, "prevResult: is missing, and CHECK needs it")
	}
	raw, err := create.CreateFromBytes(c.PrevResult)
	if err != nil {
		return types.Errorf(types.CodeInvalidConfig, "prevResult: %w", err)
	}
	result, err := current.NewResultFromResult(raw)
	if err != nil {
		return types.Errorf(types.CodeInvalidConfig, "prevResult: %w", err)
	}
	if !slices.ContainsFunc(result.Interfaces, func(i *current.Interface) bool { return i != nil && i.Name == a.Interface }) {
		return errors.New("prevResult: has no interface " + a.Interface)
	}
	return nil
}
