package vhostuser

import (
	"context"
	"fmt"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// Add gives the sandbox its port, or nothing: what fails undoes all before it.
func (p *Plugin) Add(ctx context.Context, call *Call) (result *current.Result, retErr error) {
	c, a, err := call.parse(checkPaths)
	if err != nil {
		return nil, err
	}
	if err := p.useSwitch(ctx, c.OVSDB, c.Timeout, func(ctx context.Context, sw Switch) error { return sw.Ready(ctx, c.Bridge) }); err != nil {
		return nil, err
	}
	if err := p.ipamOf(c.IPAM, c.Raw, a).Find(); err != nil {
		return nil, err
	}
	state := newState(c, a)
	if err := p.makeRoom(ctx, c, state); err != nil {
		return nil, err
	}
	store := storeIn(c.StateDir)
	if err := store.Write(state); err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	defer func() {
		if retErr != nil {
			retErr = p.undo(ctx, store, state, retErr)
		}
	}()
	host.KillPoint()
	return p.attach(ctx, c, a, state)
}

// makeRoom releases what an ADD that did not come to its end left of the same
// attachment, and, in our own form, what is left of an older sandbox of the pod: a pod
// has one at a time, and they would have the same folder.
func (p *Plugin) makeRoom(ctx context.Context, c *Config, state *State) error {
	store := storeIn(c.StateDir)
	var old []*State
	if c.Userspace == nil {
		sharing, err := store.sharing(state)
		if err != nil {
			return err
		}
		old = sharing
	}
	if same, err := p.known(c, state.attachment(), nil); err != nil {
		return err
	} else if same != nil {
		old = append(old, same)
	}
	for _, s := range old {
		if err := p.release(ctx, store, s); err != nil {
			return fmt.Errorf("what an earlier call left: %w", err)
		}
	}
	return nil
}

// attach makes everything, the port last: by then the switch finds the folder, and the
// application its file.
func (p *Plugin) attach(ctx context.Context, c *Config, a *Attachment, state *State) (*current.Result, error) {
	result, err := p.ipamOf(c.IPAM, c.Raw, a).Add(ctx)
	if err != nil {
		return nil, err
	}
	host.KillPoint()
	describe(result, c, a, &state.Place)
	file, err := appConfig(c, a, &state.Place, result)
	if err != nil {
		return nil, fmt.Errorf("configuration file: %w", err)
	}
	// CHECK compares with this, so it is known before the pod can change the file.
	state.AppConfig = file
	if err := storeIn(c.StateDir).Write(state); err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	host.KillPoint()
	if err := state.Place.make(c.UID, c.GID, file); err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	host.KillPoint()
	if err := state.writeDeviceInfo(podSocket(c, &state.Place)); err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	host.KillPoint()
	err = p.useSwitch(ctx, c.OVSDB, c.Timeout, func(ctx context.Context, sw Switch) error { return sw.Plug(ctx, portOf(c, a, &state.Place)) })
	host.KillPoint()
	return result, err
}

// describe puts the interface into the result. There is no netdev of that name: the
// addresses are for the application.
func describe(result *current.Result, c *Config, a *Attachment, place *Place) {
	result.CNIVersion = current.ImplementedSpecVersion
	result.Interfaces = []*current.Interface{{
		Name: a.Interface, Mac: c.MAC, Mtu: c.MTU, Sandbox: a.NetNS, SocketPath: place.HostSocket(),
	}}
	for _, ip := range result.IPs {
		ip.Interface = current.Int(0)
	}
}

func portOf(c *Config, a *Attachment, place *Place) *Port {
	return &Port{
		Name: a.PortName(), Bridge: c.Bridge, Socket: place.HostSocket(),
		VLAN: c.VLAN, Trunks: c.Trunks, MTU: c.MTU, Queues: c.Queues, Owner: a.owner(),
	}
}

// undo releases what a failed ADD has made, on time of its own. What cannot be released
// stays in the state, for DEL.
func (p *Plugin) undo(ctx context.Context, store *Store, state *State, failure error) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := p.release(ctx, store, state); err != nil {
		code := types.CodeOf(failure, types.CodeFailed)
		return types.WithCode(code, types.Join(failure, fmt.Errorf("undo, which DEL will try again: %w", err)))
	}
	return failure
}
