package vhostuser

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"path/filepath"
	"time"

	"github.com/containernetworking/cni/pkg/invoke"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/plugin/ipam"
	"github.com/plexus-cni/plexus/internal/plugin/statefile"
	"github.com/plexus-cni/plexus/types"
)

// undoTimeout is what an ADD that fails takes at most to undo what it did.
const undoTimeout = 30 * time.Second

// Plugin carries out the verbs of CNI.
type Plugin struct {
	Open Opener
	Exec invoke.Exec // of IPAM plugins; nil for real processes
	Path string      // CNI_PATH
}

// Call is one call of the runtime about one attachment.
type Call struct {
	ContainerID, Interface, NetNS, Args string
	Config                              []byte
}

// parse reads the call and its configuration, with further checks of both; what could
// be read is given beside the error too.
func (c *Call) parse(checks ...func(*Config, *Attachment) error) (*Config, *Attachment, error) {
	config, configErr := ParseConfig(c.Config)
	a, argsErr := attachmentOf(config.Name, c)
	faults := []error{configErr, argsErr}
	for _, check := range checks {
		faults = append(faults, check(config, a))
	}
	if err := types.Join(faults...); err != nil {
		return config, a, types.WithCode(types.CodeInvalidConfig, fmt.Errorf("network %q: %w", config.Name, err))
	}
	return config, a, nil
}

// ipamOf gives the IPAM plugin of an attachment.
func (p *Plugin) ipamOf(name string, config []byte, a *Attachment) *ipam.Plugin {
	return &ipam.Plugin{
		Name: name, Path: filepath.SplitList(p.Path), Config: config, Exec: p.Exec,
		Args: invoke.Args{ContainerID: a.ContainerID, NetNS: a.NetNS, IfName: a.Interface, PluginArgsStr: a.Args},
	}
}

// useSwitch opens the switch at an address for one use of a bounded time.
func (p *Plugin) useSwitch(ctx context.Context, address string, timeout time.Duration, use func(context.Context, Switch) error) error {
	ctx, cancel := context.WithTimeout(ctx, timeout)
	defer cancel()
	sw, err := p.Open(ctx, address)
	if err == nil {
		defer sw.Close()
		err = use(ctx, sw)
	}
	if errors.Is(err, ErrUnreachable) || errors.Is(err, context.DeadlineExceeded) {
		return types.WithCode(types.CodeTryAgainLater, err)
	}
	return err
}

// release undoes all that an attachment has, whatever part of it there is, and
// forgets it if nothing is left. Everything is tried.
func (p *Plugin) release(ctx context.Context, store *Store, s *State) error {
	shared, err := store.isShared(s)
	errs := []error{err}
	errs = append(errs, p.useSwitch(ctx, s.OVSDB, s.Timeout, func(ctx context.Context, sw Switch) error { return sw.Unplug(ctx, s.Port) }))
	host.KillPoint()
	errs = append(errs, p.ipamOf(s.IPAM, s.Config, s.attachment()).Del(ctx))
	host.KillPoint()
	if err == nil {
		errs = append(errs, s.Place.remove(ctx, shared))
	}
	host.KillPoint()
	errs = append(errs, s.removeDeviceInfo())
	host.KillPoint()
	if err := types.Join(errs...); err != nil {
		return fmt.Errorf("release %s of container %s: %w", s.Interface, s.Container, err)
	}
	return store.Remove(s.Port)
}

// known gives the state of an attachment, nil if there is none. A damaged one is made
// anew from the configuration, if that is whole.
func (p *Plugin) known(c *Config, a *Attachment, configErr error) (*State, error) {
	state, err := storeIn(c.StateDir).Read(a.PortName())
	switch {
	case err == nil:
		return state, nil
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil
	case errors.Is(err, statefile.ErrDamaged) && configErr == nil:
		return newState(c, a), nil
	}
	return nil, types.Join(err, configErr)
}
