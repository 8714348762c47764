package vf

import (
	"context"
	"errors"
	"fmt"
	"time"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// macPatience is how long a VF may take to have its new MAC: drivers reset it for that.
const macPatience = 3 * time.Second

// setMAC gives the VF the MAC that is asked for: to the PF, so that the VF may use it,
// and to the VF's own interface on the host, which must be down.
func (e *Engine) setMAC(ctx context.Context, s *State) error {
	if s.Want.MAC == "" {
		return nil
	}
	failed := func(err error) error {
		return fmt.Errorf("%s: mac: set to %s, was %s: %w", s.whereabouts(), s.Want.MAC, s.Before.MAC, explain(err))
	}
	host.KillPoint()
	if !sameMAC(s.Before.MAC, s.Want.MAC) {
		if err := e.setPFMAC(ctx, s.PF.Netdev, s.VFIndex, s.Want.MAC); err != nil {
			return failed(err)
		}
	}
	host.KillPoint()
	if s.Link == nil {
		return nil
	}
	if err := e.setLinkMAC(ctx, s.Device, s.Want.MAC); err != nil {
		return failed(err)
	}
	return nil
}

// setLinkMAC gives the interface on the host a MAC. Some drivers let the VF say it, some
// take it over from the PF when the interface has been up, some need a while.
func (e *Engine) setLinkMAC(ctx context.Context, device, mac string) error {
	ctx, cancel := context.WithTimeout(ctx, macPatience)
	defer cancel()
	return retry(ctx, func() (bool, error) {
		link, err := e.Links.Find("", device)
		if err != nil || link == nil {
			return false, types.Join(err, errors.New("the VF has no interface on the host"))
		}
		if sameMAC(link.MAC, mac) {
			return true, nil
		}
		refused := e.Links.SetMAC("", link.Index, mac)
		if again, err := e.Links.Find("", device); err == nil && again != nil && sameMAC(again.MAC, mac) {
			return true, nil
		}
		err = types.Join(e.Links.SetUp("", link.Index, true), e.Links.SetUp("", link.Index, false))
		if again, findErr := e.Links.Find("", device); findErr == nil && again != nil && sameMAC(again.MAC, mac) {
			return true, nil
		}
		return false, types.Join(fmt.Errorf("interface %s of the VF keeps %s", link.Name, link.MAC), refused, err)
	})
}

// restoreMAC gives PF and interface the MACs that they had. Where both had the same, the
// PF forgets the one that was set, so that the VF says its own again, as it did before.
func (e *Engine) restoreMAC(ctx context.Context, s *State, netdev string, vf int, link *Link) error {
	if s.Before == nil || netdev == "" || s.Link != nil && s.Link.Infiniband {
		return nil
	}
	now, err := e.readPF(ctx, netdev, vf)
	if err != nil {
		return fmt.Errorf("%s: %w", s.whereabouts(), err)
	}
	hasLink := link != nil && s.Link != nil
	if sameMAC(now.MAC, s.Before.MAC) && (!hasLink || sameMAC(link.MAC, s.Link.MAC)) {
		return nil
	}
	host.KillPoint()
	first := s.Before.MAC
	if hasLink && sameMAC(s.Before.MAC, s.Link.MAC) {
		first = noMAC
	}
	if err := e.setPFMAC(ctx, netdev, vf, first); err != nil && first == s.Before.MAC {
		e.Log.Warn("the PF does not take back the MAC", "device", s.Device, "mac", first, "error", err)
	}
	host.KillPoint()
	if hasLink {
		err = e.setLinkMAC(ctx, s.Device, s.Link.MAC)
	}
	return e.finishMAC(ctx, s, netdev, vf, err)
}

// finishMAC sees to the PF's side once the interface has its MAC.
func (e *Engine) finishMAC(ctx context.Context, s *State, netdev string, vf int, linkErr error) error {
	faults := []error{linkErr}
	now, err := e.readPF(ctx, netdev, vf)
	if err == nil && !sameMAC(now.MAC, s.Before.MAC) {
		err = e.setPFMAC(ctx, netdev, vf, s.Before.MAC)
	}
	faults = append(faults, err)
	if err := types.Join(faults...); err != nil {
		was := s.Before.MAC
		if s.Link != nil {
			was = s.Link.MAC
		}
		return fmt.Errorf("%s: mac: set back to %s: %w", s.whereabouts(), was, explain(err))
	}
	return nil
}
