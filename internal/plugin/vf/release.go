package vf

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// homePatience is how long the kernel may take to hand an interface back to the host
// after the end of its namespace.
const homePatience = 20 * time.Second

// release brings a VF back to how it was, frees its addresses, and forgets it. All is
// tried; what fails keeps the state, so that it can be tried again.
func (e *Engine) release(ctx context.Context, claim *Claim, s *State) error {
	faults := []error{e.restore(ctx, s)}
	host.KillPoint()
	faults = append(faults, e.ipamOf(s).Del(ctx))
	if s.DeviceInfoFile != "" {
		host.KillPoint()
		faults = append(faults, sriov.RemoveInfo(s.DeviceInfoFile))
	}
	if err := types.Join(faults...); err != nil {
		return err
	}
	return claim.Remove(s.Key)
}

// restore brings back interface and settings.
func (e *Engine) restore(ctx context.Context, s *State) error {
	if s.BootID != e.BootID {
		e.Log.Info("the machine has been started since: its VFs are new ones", "state", s.String())
		return nil
	}
	device, err := e.Devices.Device(s.Device)
	if errors.Is(err, sriov.ErrNoDevice) {
		e.Log.Warn("the VF is gone: nothing to bring back", "state", s.String())
		return nil
	}
	if err != nil {
		return err
	}
	link, err := e.bringHome(ctx, s, device)
	if err != nil {
		return err
	}
	netdev, vf := "", s.VFIndex
	if device.PF != nil && device.Index != nil {
		netdev, vf = device.PF.Netdev, *device.Index
	}
	if netdev == "" && s.Want.Any() {
		return fmt.Errorf("%s: the PF has no interface on the host: what the network asked for cannot be set back", s.whereabouts())
	}
	return types.Join(
		e.restoreMAC(ctx, s, netdev, vf, link),
		e.restoreSettings(s, netdev, vf),
		e.restoreLink(s, link),
	)
}

// bringHome gives the VF's interface once it is on the host, nil if the VF has none: the
// namespace may be there or not, and the interface may have any name.
func (e *Engine) bringHome(ctx context.Context, s *State, device *sriov.Device) (*Link, error) {
	if s.Link == nil || device.UserSpace() || device.Driver == "" {
		return e.Links.Find("", s.Device)
	}
	ctx, cancel := context.WithTimeout(ctx, homePatience)
	defer cancel()
	var link *Link
	err := retry(ctx, func() (bool, error) {
		var err error
		if link, err = e.Links.Find("", s.Device); link != nil && err == nil {
			return true, nil
		}
		ns, away, findErr := e.whereIs(s)
		if findErr != nil || away == nil {
			return false, types.Join(err, findErr, fmt.Errorf("%s: its interface (%s on the host, %s in the pod) is in no network namespace that can be found", s.whereabouts(), s.Link.Name, s.IfName))
		}
		return false, e.takeHome(s.Device, ns, away)
	})
	if err != nil {
		return nil, err
	}
	return link, nil
}

// whereIs finds the interface in the sandbox, else in whatever namespace it is.
func (e *Engine) whereIs(s *State) (ns string, link *Link, err error) {
	if e.lives(s) {
		if link, err = e.Links.Find(s.NetNS, s.Device); link != nil || err != nil {
			return s.NetNS, link, err
		}
	}
	return e.Links.Search(s.Device)
}

// takeHome moves the interface from a namespace to the host, under a name that is
// nobody else's: the pod's name may be taken there.
func (e *Engine) takeHome(device, ns string, link *Link) error {
	name := TemporaryName(device)
	host.KillPoint()
	if err := e.Links.SetUp(ns, link.Index, false); err != nil {
		return fmt.Errorf("device %s: take interface %s in %s down: %w", device, link.Name, ns, err)
	}
	host.KillPoint()
	if err := e.Links.Rename(ns, link.Index, name); err != nil {
		return fmt.Errorf("device %s: rename interface %s in %s to %s: %w", device, link.Name, ns, name, err)
	}
	host.KillPoint()
	if err := e.Links.Move(ns, link.Index, ""); err != nil {
		return fmt.Errorf("device %s: move interface %s from %s to the host: %w", device, name, ns, err)
	}
	host.KillPoint()
	return nil
}

// restoreLink gives the interface on the host its name, MTU and state back.
func (e *Engine) restoreLink(s *State, link *Link) error {
	if link == nil || s.Link == nil {
		return nil
	}
	// The MAC's way may have brought it up, and udev may have given it a name.
	if again, err := e.Links.Find("", s.Device); err == nil && again != nil {
		link = again
	}
	var faults []error
	if link.Name != s.Link.Name {
		host.KillPoint()
		err := types.Join(e.Links.SetUp("", link.Index, false), e.Links.Rename("", link.Index, s.Link.Name))
		if err != nil {
			faults = append(faults, fmt.Errorf("%s: rename interface %s back to %s: %w", s.whereabouts(), link.Name, s.Link.Name, err))
		}
	}
	if link.MTU != s.Link.MTU {
		host.KillPoint()
		if err := e.Links.SetMTU("", link.Index, s.Link.MTU); err != nil {
			faults = append(faults, fmt.Errorf("%s: mtu: set back to %d, is %d: %w", s.whereabouts(), s.Link.MTU, link.MTU, err))
		}
	}
	if err := e.restoreTraits(s, link); err != nil {
		faults = append(faults, fmt.Errorf("%s: interface %s: %w", s.whereabouts(), s.Link.Name, err))
	}
	host.KillPoint()
	if err := e.Links.SetUp("", link.Index, s.Link.Up); err != nil {
		faults = append(faults, fmt.Errorf("%s: interface %s: set up=%v again: %w", s.whereabouts(), s.Link.Name, s.Link.Up, err))
	}
	return types.Join(faults...)
}
