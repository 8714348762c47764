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

// homePatience is how long the kernel may take to hand an interface back to the host after the end
// of its namespace. The runtime calls DEL again for one that takes longer.
const homePatience = 5 * time.Second

// restoreTimeout bounds what is done to the VF in a release, so that the addresses are freed in time.
const restoreTimeout = 10 * time.Second

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

// restore brings back interface and settings. What becomes of the one is no reason to leave the other.
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
	if holder, err := e.sriovCNIHolder(s.Device, s.NetNS); err == nil && holder != "" && !e.lives(s) {
		e.Log.Warn("the VF is another pod's, by sriov-cni: nothing to bring back", "state", s.String(), "namespace", holder)
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, restoreTimeout)
	defer cancel()
	link, awayErr := e.bringHome(ctx, s, device)
	return types.Join(err, awayErr, e.restoreAtPF(ctx, s, device, link), e.restoreLink(ctx, s, link))
}

// restoreAtPF brings back the MAC, and the settings that the PF keeps. It leaves the PF alone while
// nobody can say which of its VFs the device is.
func (e *Engine) restoreAtPF(ctx context.Context, s *State, device *sriov.Device, link *Link) error {
	if device == nil {
		return nil
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
		e.restoreSettings(ctx, s, netdev, vf),
	)
}

// bringHome gives the VF's interface once it is on the host, nil if the VF has none: the
// namespace may be there or not, and the interface may have any name.
func (e *Engine) bringHome(ctx context.Context, s *State, device *sriov.Device) (*Link, error) {
	if s.Link == nil || device != nil && (device.UserSpace() || device.Driver == "") {
		return e.Links.Find("", s.Device)
	}
	ctx, cancel := context.WithTimeout(ctx, homePatience)
	defer cancel()
	var link *Link
	taken := false
	err := retry(ctx, func() (bool, error) {
		var err error
		if link, err = e.Links.Find("", s.Device); link != nil && err == nil {
			if !taken { // it came by itself, with the names that the pod gave it
				e.removeNewNames("", link, s.Link)
			}
			return true, nil
		}
		ns, away, findErr := e.whereIs(s)
		if findErr != nil || away == nil {
			return false, types.Join(err, findErr, fmt.Errorf("%s: its interface (%s on the host, %s in the pod) is in no network namespace that can be found", s.whereabouts(), s.Link.Name, s.IfName))
		}
		taken = true
		return false, e.takeHome(ctx, ns, s)
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

// restoreLink gives the interface on the host its names, MTU and state back.
func (e *Engine) restoreLink(ctx context.Context, s *State, link *Link) error {
	if link == nil || s.Link == nil {
		return nil
	}
	// The MAC's way may have brought it up, and udev may have given it a name.
	if again, err := e.Links.Find("", s.Device); err == nil && again != nil {
		link = again
	}
	faults := []error{e.restoreNames(ctx, s, link)}
	if link.MTU != s.Link.MTU {
		host.KillPoint()
		if err := whileBusy(ctx, func() error { return e.Links.SetMTU("", link.Index, s.Link.MTU) }); err != nil {
			faults = append(faults, fmt.Errorf("%s: mtu: set back to %d, is %d: %w", s.whereabouts(), s.Link.MTU, link.MTU, err))
		}
	}
	if err := e.restoreTraits(s, link); err != nil {
		faults = append(faults, fmt.Errorf("%s: interface %s: %w", s.whereabouts(), s.Link.Name, err))
	}
	host.KillPoint()
	if err := e.setUp(ctx, "", link.Index, s.Link.Up); err != nil {
		faults = append(faults, fmt.Errorf("%s: interface %s: set up=%v again: %w", s.whereabouts(), s.Link.Name, s.Link.Up, err))
	}
	return types.Join(faults...)
}
