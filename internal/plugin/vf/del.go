package vf

import (
	"context"
	"errors"
	"io/fs"
	"slices"

	"github.com/plexus-cni/plexus/internal/plugin/statefile"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// Del gives a VF back. It may come twice, or for what was never attached.
func (e *Engine) Del(ctx context.Context, call Call, conf *Config) error {
	ctx, cancel := context.WithTimeout(ctx, delTimeout)
	defer cancel()
	keys, err := e.Store.Of(call.ContainerID, call.IfName)
	if err != nil {
		return err
	}
	var faults []error
	damaged := false
	for _, key := range keys {
		err := e.delState(ctx, key)
		if errors.Is(err, statefile.ErrDamaged) {
			damaged = true
			e.Log.Error("state set aside", "state", key.String(), "error", err)
			continue
		}
		faults = append(faults, err)
	}
	if len(keys) == 0 || damaged {
		faults = append(faults, e.delWithoutState(ctx, call, conf))
	}
	return types.Join(faults...)
}

func (e *Engine) delState(ctx context.Context, key Key) error {
	claim, err := e.Store.Claim(ctx, key.Device)
	if err != nil {
		return err
	}
	defer claim.Release()
	state, err := e.Store.Read(key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil // another call was faster
	case errors.Is(err, statefile.ErrDamaged):
		return types.Join(err, claim.SetAside(key))
	case err != nil:
		return err
	}
	return e.release(ctx, claim, state)
}

// delWithoutState does what the configuration alone allows: free the addresses, and if
// the VF is nobody else's and still shows signs of this attachment, take it home and set
// back what the configuration asked for. Its old name is not known any more.
func (e *Engine) delWithoutState(ctx context.Context, call Call, conf *Config) error {
	config, err := withoutPrevResult(conf.raw)
	if err != nil {
		return nil //nolint:nilerr // without a configuration there is nothing that could be done
	}
	s := &State{Key: Key{Device: conf.DeviceID, ContainerID: call.ContainerID, IfName: call.IfName}, NetNS: call.NetNS, BootID: e.BootID, Want: conf.Want, IPAM: conf.IPAM, Config: config, CNIArgs: call.Args}
	return types.Join(e.ipamOf(s).Del(ctx), e.reclaim(ctx, s))
}

func (e *Engine) reclaim(ctx context.Context, s *State) error {
	device, err := e.Devices.Device(s.Device)
	if err != nil || device.Kind != sriov.KindVF {
		return nil //nolint:nilerr // no VF that could be given back
	}
	claim, err := e.Store.Claim(ctx, s.Device)
	if err != nil {
		return err
	}
	defer claim.Release()
	holders, err := claim.Holders()
	if last, ok := claim.LastReleased(); err != nil || len(holders) > 0 || ok && last == s.Key {
		return err
	}
	if holder, err := e.sriovCNIHolder(s.Device, s.NetNS); err != nil || holder != "" {
		return err
	}
	signs, err := e.signsOf(ctx, s, device)
	if !signs {
		return err
	}
	e.Log.Warn("there is no state of this attachment: the VF's old name and settings are not known", "state", s.String())
	e.reset(ctx, s, device)
	return err
}

// signsOf reports whether the VF still looks like the attachment, and takes its interface
// home if that is in the pod.
func (e *Engine) signsOf(ctx context.Context, s *State, device *sriov.Device) (bool, error) {
	if _, exists := e.Links.Namespace(s.NetNS); exists {
		link, err := e.Links.Find(s.NetNS, s.Device)
		if err != nil {
			return false, err
		}
		if link != nil {
			return true, e.takeHome(ctx, s.NetNS, s)
		}
	}
	link, err := e.Links.Find("", s.Device)
	switch {
	case err != nil:
		return false, err
	case link != nil && link.Name == s.IfName:
		return true, e.rename(ctx, "", s.Device, TemporaryName(s.Device))
	case link != nil || !device.UserSpace() || !s.Want.Any():
		return false, nil
	}
	now, err := e.readPF(ctx, device.PF.Netdev, *device.Index)
	return err == nil && len(differences(&s.Want, now)) == 0, nil
}

// reset sets what the configuration asked for to how the kernel's drivers make a VF.
func (e *Engine) reset(ctx context.Context, s *State, device *sriov.Device) {
	warn := func(field string, err error) {
		if err != nil {
			e.Log.Warn("not set back", "device", s.Device, "field", field, "error", err)
		}
	}
	if s.Want.MAC != "" {
		warn("mac", e.setPFMAC(ctx, device.PF.Netdev, *device.Index, noMAC))
	}
	for _, f := range slices.Backward(settings) {
		if f.asked(&s.Want) {
			warn(f.field, e.set(ctx, &f, device.PF.Netdev, *device.Index, defaults()))
		}
	}
	if link, err := e.Links.Find("", s.Device); err == nil && link != nil {
		s.Traits = defaultTraits()
		warn("interface "+link.Name, e.restoreTraits(s, link))
	}
}
