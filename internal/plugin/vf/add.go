package vf

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// Add attaches a VF. Whatever fails, everything is undone.
func (e *Engine) Add(ctx context.Context, call Call, conf *Config) (_ *current.Result, retErr error) {
	ctx, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	if err := conf.checkForAdd(); err != nil {
		return nil, types.WithCode(types.CodeInvalidConfig, err)
	}
	device, err := e.virtualFunction(conf.DeviceID)
	if err != nil {
		return nil, err
	}
	claim, err := e.Store.Claim(ctx, conf.DeviceID)
	if err != nil {
		return nil, err
	}
	defer claim.Release()
	if err := e.checkSRIOVCNI(conf.DeviceID); err != nil {
		return nil, err
	}
	if err := e.makeRoom(ctx, claim, call); err != nil {
		return nil, err
	}
	state, err := e.snapshot(ctx, call, conf, device)
	if err != nil {
		return nil, err
	}
	if err := claim.Save(state); err != nil {
		return nil, types.WithCode(types.CodeIOFailure, types.Join(err, claim.Remove(state.Key)))
	}
	defer func() {
		if retErr != nil {
			retErr = types.Join(retErr, e.undo(ctx, claim, state))
		}
	}()
	result, err := e.attach(ctx, claim, state)
	if err == nil && !conf.DNS.IsEmpty() {
		result.DNS = conf.DNS
	}
	return result, err
}

// undo takes back a failed ADD, in time of its own.
func (e *Engine) undo(ctx context.Context, claim *Claim, s *State) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), undoTimeout)
	defer cancel()
	if err := e.release(ctx, claim, s); err != nil {
		return fmt.Errorf("undo: %w", err)
	}
	return nil
}

// makeRoom sees to it that nobody else has the VF. What a dead sandbox has, or an ADD of
// this one that was cut short, is released.
func (e *Engine) makeRoom(ctx context.Context, claim *Claim, call Call) error {
	holders, err := claim.Holders()
	if err != nil {
		return types.WithCode(types.CodeIOFailure, err)
	}
	for _, key := range holders {
		state, err := e.Store.Read(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		mine := key.ContainerID == call.ContainerID && key.IfName == call.IfName
		switch {
		case mine && state.Attached && e.lives(state):
			return fmt.Errorf("%s: %w", key, ErrAttached)
		case !mine && e.mayLive(state):
			return types.WithCode(types.CodeInvalidConfig, fmt.Errorf("device %s: %w: container %s, interface %s, network namespace %s", key.Device, ErrTaken, key.ContainerID, key.IfName, state.NetNS))
		}
		e.Log.Info("released what was left behind", "state", key.String())
		if err := e.release(ctx, claim, state); err != nil {
			return fmt.Errorf("release what container %s left behind: %w", key.ContainerID, err)
		}
	}
	return nil
}

// snapshot records how everything is before the ADD, and what the ADD will do. It changes
// nothing.
func (e *Engine) snapshot(ctx context.Context, call Call, conf *Config, device *sriov.Device) (*State, error) {
	id, exists := e.Links.Namespace(call.NetNS)
	if !exists {
		return nil, types.Errorf(types.CodeUnknownContainer, "network namespace %s: there is none", call.NetNS)
	}
	config, err := withoutPrevResult(conf.raw)
	if err != nil {
		return nil, err
	}
	s := &State{
		Format: stateFormat, Key: Key{Device: device.ID, ContainerID: call.ContainerID, IfName: call.IfName},
		Network: conf.Name, NetNS: call.NetNS, NetNSInode: id.Inode, NetNSChanged: id.Changed, NetNSCookie: id.Cookie,
		MountNSInode: e.Links.MountNS(), BootID: e.BootID,
		PF: device.PF, VFIndex: *device.Index, Want: conf.Want, IPAM: conf.IPAM, Config: config, CNIArgs: call.Args,
	}
	if _, err := os.Stat(conf.DeviceInfoFile); conf.DeviceInfoFile != "" && errors.Is(err, fs.ErrNotExist) {
		s.DeviceInfoFile = conf.DeviceInfoFile
	}
	if err := e.ipamOf(s).Find(); err != nil {
		return nil, err
	}
	if err := e.snapshotSettings(ctx, s); err != nil {
		return nil, err
	}
	return s, e.snapshotLink(s, device)
}

func (e *Engine) snapshotSettings(ctx context.Context, s *State) error {
	if s.PF.Netdev == "" {
		if s.Want.Any() {
			return fmt.Errorf("%s: the PF has no interface on the host (driver %q): what the network asks for cannot be set", s.whereabouts(), s.PF.Driver)
		}
		return nil
	}
	before, err := e.readPF(ctx, s.PF.Netdev, s.VFIndex)
	if err != nil && s.Want.Any() {
		return fmt.Errorf("%s: %w", s.whereabouts(), err)
	}
	if err != nil {
		e.Log.Warn("the PF does not report the VF, and the network sets nothing there", "device", s.Device, "error", err)
	}
	s.Before = before
	return nil
}

func (e *Engine) snapshotLink(s *State, device *sriov.Device) error {
	link, err := e.Links.Find("", s.Device)
	if err != nil {
		return fmt.Errorf("%s: its interface: %w", s.whereabouts(), err)
	}
	s.Link = link
	if link == nil {
		return e.withoutLink(s, device)
	}
	if link.Infiniband && s.Want.MAC != "" {
		return types.WithCode(types.CodeInvalidConfig, &types.FieldError{Field: "mac", Problem: fmt.Sprintf("interface %s of device %s is Infiniband, whose address is not set by a MAC", link.Name, s.Device)})
	}
	e.snapshotTraits(s)
	taken, err := e.Links.Exists(s.NetNS, s.IfName)
	if err == nil && taken {
		err = types.Errorf(types.CodeInvalidEnv, "CNI_IFNAME: there is an interface %s in %s already", s.IfName, s.NetNS)
	}
	return err
}

// withoutLink reports whether a VF with no interface on the host can be attached: one that
// a process will drive can.
func (e *Engine) withoutLink(s *State, device *sriov.Device) error {
	if device.UserSpace() {
		return nil
	}
	if device.Driver == "" {
		return fmt.Errorf("%s: no driver is bound to it: bind the kernel's, or vfio-pci for DPDK", s.whereabouts())
	}
	ns, _, err := e.Links.Search(s.Device)
	where := "nor in any other that can be found"
	if ns != "" {
		where = "but in " + ns
	}
	return types.Join(fmt.Errorf("%s (driver %s): its interface is not in the host's network namespace, %s", s.whereabouts(), device.Driver, where), err)
}

// attach does what the snapshot says.
func (e *Engine) attach(ctx context.Context, claim *Claim, s *State) (*current.Result, error) {
	if s.Link != nil {
		host.KillPoint()
		if err := e.setUp(ctx, "", s.Link.Index, false); err != nil {
			return nil, fmt.Errorf("%s: take interface %s down: %w", s.whereabouts(), s.Link.Name, err)
		}
	}
	if err := e.apply(ctx, s); err != nil {
		return nil, err
	}
	if err := e.setMAC(ctx, s); err != nil {
		return nil, err
	}
	link, err := e.moveIn(ctx, s)
	if err != nil {
		return nil, err
	}
	result, err := e.addresses(ctx, s, link)
	if err != nil {
		return nil, err
	}
	if err := e.writeDeviceInfo(s); err != nil {
		return nil, err
	}
	s.Attached = true
	if err := claim.Save(s); err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	host.KillPoint()
	return result, nil
}

// moveIn takes the interface into the pod, under the name of the pod, up. On its way it
// has a name that is nobody else's.
func (e *Engine) moveIn(ctx context.Context, s *State) (*Link, error) {
	if s.Link == nil {
		return nil, nil
	}
	name := TemporaryName(s.Device)
	for _, step := range []struct {
		what string
		do   func() error
	}{
		{"rename it to " + name, func() error { return e.rename(ctx, "", s.Device, name) }},
		{"move it to " + s.NetNS, func() error { return e.move(ctx, "", s.Device, s.NetNS) }},
		{"rename it to " + s.IfName, func() error { return e.nameInPod(ctx, s) }},
		{"prepare it", func() error { e.prepare(s); return nil }},
		{"bring it up", func() error { return e.bringUp(ctx, s) }},
	} {
		host.KillPoint()
		err := context.Cause(ctx) // asked to stop: what was done is undone
		if err == nil {
			err = step.do()
		}
		if err != nil {
			return nil, fmt.Errorf("%s: interface %s: %s: %w", s.whereabouts(), s.Link.Name, step.what, err)
		}
	}
	host.KillPoint()
	link, err := e.find(s.NetNS, s.Device)
	if err != nil {
		return nil, fmt.Errorf("%s: interface %s in %s: %w", s.whereabouts(), s.IfName, s.NetNS, err)
	}
	return link, nil
}

// prepare is for the interface in the pod while it is down. A pod can do without.
func (e *Engine) prepare(s *State) {
	if err := e.Links.Prepare(s.NetNS, s.IfName); err != nil {
		e.Log.Warn("the interface's addresses may not outlive a link that goes down, nor be announced again", "device", s.Device, "error", err)
	}
}

// nameInPod gives the interface in the pod the pod's name, and no other that it did not have before.
func (e *Engine) nameInPod(ctx context.Context, s *State) error {
	link, err := e.find(s.NetNS, s.Device)
	if err != nil {
		return err
	}
	e.removeNewNames(s.NetNS, link, s.Link)
	return e.rename(ctx, s.NetNS, s.Device, s.IfName)
}

// bringUp brings the interface in the pod up: its number may be another there.
func (e *Engine) bringUp(ctx context.Context, s *State) error {
	link, err := e.find(s.NetNS, s.Device)
	if err != nil {
		return err
	}
	return e.setUp(ctx, s.NetNS, link.Index, true)
}

// addresses asks the IPAM plugin, and puts what it gave onto the interface.
func (e *Engine) addresses(ctx context.Context, s *State, link *Link) (*current.Result, error) {
	host.KillPoint()
	result, err := e.ipamOf(s).Add(ctx)
	if err != nil {
		return nil, err
	}
	host.KillPoint()
	result.Interfaces = []*current.Interface{s.describe(link)}
	for _, ip := range result.IPs {
		ip.Interface = current.Int(0)
	}
	if link == nil {
		result.Interfaces[0].Mtu = e.mtuOfPF(s)
		return result, nil
	}
	if err := whileBusy(ctx, func() error { return e.Links.Configure(ctx, s.NetNS, link, result) }); err != nil {
		return nil, fmt.Errorf("%s: interface %s: %w", s.whereabouts(), s.IfName, err)
	}
	host.KillPoint()
	if err := e.Links.Announce(ctx, s.NetNS, link, result); err != nil {
		e.Log.Warn("the neighbours were not informed about the addresses", "device", s.Device, "error", err)
	}
	return result, nil
}

// describe gives the interface of the result. With a driver of user space there is none,
// but its name is what the attachment goes by.
func (s *State) describe(link *Link) *current.Interface {
	iface := &current.Interface{Name: s.IfName, Sandbox: s.NetNS, PciID: s.Device}
	switch {
	case link != nil:
		iface.Mac, iface.Mtu = link.MAC, link.MTU
	case s.Want.MAC != "":
		iface.Mac = s.Want.MAC
	case s.Before != nil && !sameMAC(s.Before.MAC, noMAC):
		iface.Mac = s.Before.MAC
	}
	return iface
}

// mtuOfPF gives what a process that drives the VF may send; 0 if that is not known. The VF has no
// interface to ask, and its NIC takes no larger frames than the PF is set to.
func (e *Engine) mtuOfPF(s *State) int {
	if s.PF.Netdev == "" {
		return 0
	}
	mtu, err := e.PF.MTU(s.PF.Netdev)
	if err != nil {
		e.Log.Warn("the MTU of the PF is not known: the result has none", "device", s.Device, "error", err)
		return 0
	}
	return mtu
}

// writeDeviceInfo describes the device, where nobody has described it yet.
func (e *Engine) writeDeviceInfo(s *State) error {
	if s.DeviceInfoFile == "" {
		return nil
	}
	host.KillPoint()
	device, err := e.Devices.Device(s.Device)
	if err != nil {
		return err
	}
	return sriov.WriteInfo(s.DeviceInfoFile, device.Info())
}

// withoutPrevResult gives a configuration to keep: the result before is only for this
// call, and its size is anybody's.
func withoutPrevResult(config []byte) (json.RawMessage, error) {
	var raw map[string]json.RawMessage
	if err := json.Unmarshal(config, &raw); err != nil {
		return nil, err
	}
	delete(raw, "prevResult")
	return json.Marshal(raw)
}
