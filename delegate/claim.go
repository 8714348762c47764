package delegate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// claim puts the intent on disk, which makes the devices of the plan this sandbox's own.
// It is refused while another sandbox that lives has one of them; what a sandbox that is
// gone has not given back is released first, so that no DEL of it follows our ADD.
func (s *session) claim(ctx context.Context) error {
	if !s.record.Plan.HasDevices() {
		return s.createRecord()
	}
	for {
		dead, err := s.tryClaim(ctx)
		if err != nil || len(dead) == 0 {
			return err
		}
		for _, holder := range dead {
			if err := s.releaseHolder(ctx, holder); err != nil {
				return err
			}
		}
	}
}

// tryClaim puts the intent on disk if no other sandbox has the devices. It looks and writes
// under one lock, so that one of several sandboxes that want a device gets it. If only
// sandboxes that are gone have them, it gives their claims and writes nothing.
func (s *session) tryClaim(ctx context.Context) ([]heldDevice, error) {
	unlock, err := s.Journal().LockDevices(ctx)
	if errors.Is(err, journal.ErrBusy) {
		return nil, types.WithCode(types.CodeTryAgainLater, err)
	}
	if err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	defer unlock()
	dead, err := s.heldByOthers()
	if err != nil || len(dead) > 0 {
		return dead, err
	}
	return nil, s.createRecord()
}

func (s *session) createRecord() error {
	return types.WithCode(types.CodeIOFailure, s.lock.Create(s.key, s.record.Intent))
}

// heldDevice is a device of our plan that another record has.
type heldDevice struct {
	types.Device
	key journal.Key
	pod string
}

// heldByOthers gives the devices of the plan that sandboxes have which are gone. Those of
// one that lives are the error. A record that cannot be read is passed over: the kubelet
// gives a device to one pod at a time, and this is the second look.
func (s *session) heldByOthers() (dead []heldDevice, err error) {
	keys, err := s.Journal().List()
	if err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	var faults []error
	for _, key := range keys {
		if key == s.key {
			continue
		}
		record, err := s.Journal().Read(key)
		if err != nil {
			if !errors.Is(err, fs.ErrNotExist) {
				s.log.Warn("a record cannot be read: its devices are not known", "error", err)
			}
			continue
		}
		held, network := s.sharedWith(record)
		switch {
		case held == nil:
		case isGone(record, s.BootID):
			dead = append(dead, *held)
		default:
			faults = append(faults, fmt.Errorf("network %s: %s is in use: pod %s has it, in sandbox %s", network, held, held.pod, key.ContainerID))
		}
	}
	return dead, types.WithCode(types.CodeTryAgainLater, types.Join(faults...))
}

// sharedWith finds a device that a record has, unless it was given back, and that our plan
// has too, for the network that is given beside it.
func (s *session) sharedWith(record *types.Record) (held *heldDevice, network string) {
	for i := range record.Plan.Attachments {
		theirs, some := record.Plan.Attachments[i].Device()
		if !some || record.Progress[i].Released {
			continue
		}
		for j := range s.record.Plan.Attachments {
			a := &s.record.Plan.Attachments[j]
			if ours, some := a.Device(); some && ours.Is(theirs) {
				return &heldDevice{ours, journal.KeyOf(record), record.Plan.Pod.String()}, a.Network
			}
		}
	}
	return nil, ""
}

// releaseHolder releases a record whose sandbox is gone. If that fails, nobody knows what
// state the device is in, and a later DEL would take it from us: then it is not used.
func (s *session) releaseHolder(ctx context.Context, holder heldDevice) error {
	lock := s.lock
	if holder.key.ContainerID != s.key.ContainerID {
		var err error
		if lock, err = s.lockFor(ctx, holder.key.ContainerID); err != nil {
			return err
		}
		defer lock.Release()
	}
	record, err := s.Journal().Read(holder.key)
	if err != nil || !isGone(record, s.BootID) {
		return nil // gone, or replaced: the next look finds out
	}
	theirs := s.newSession(lock, record)
	if err := theirs.releaseAsDead(ctx); err != nil {
		theirs.noteFailure(err)
		return types.Errorf(types.CodeTryAgainLater, "%s is not given back yet: sandbox %s of pod %s is gone, and releasing it failed: %w",
			holder.Device, holder.key.ContainerID, holder.pod, err)
	}
	theirs.log.Info("released a sandbox that was gone, for its device", "device", holder.ID)
	return nil
}
