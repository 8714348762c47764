package delegate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/types"
)

// release runs the DEL of every attachment that was tried and is not yet released,
// in reverse, each with its fair share of the time, whatever becomes of the others.
// When nothing is left the record goes; else it keeps what is left, and why the verb of
// this call did not release it.
func (s *session) release(ctx context.Context, verb, netns string) error {
	pending := s.record.Pending(s.BootID)
	if verb == "GC" || len(pending) > int(delTimeout/leastShare) { // the time may not suffice for all
		pending = turned(pending, s.record.Kept)
	}
	s.expectDel(pending, netns)
	defer s.ahead.drop()
	err := s.releaseEach(pending, func(i, toCome int) error {
		return s.detachInShare(ctx, i, netns, toCome)
	})
	if err != nil {
		s.noteKept(verb, err)
	}
	return err
}

// turned gives what is still to be released, beginning with another each time that it
// failed: one that hangs must not keep the others waiting for ever.
func turned(pending []int, failures int) []int {
	if len(pending) < 2 {
		return pending
	}
	first := failures % len(pending)
	if failures >= maxNoted { // they are not counted any more
		first = rand.IntN(len(pending))
	}
	return slices.Concat(pending[first:], pending[:first])
}

// maxNoted is how many failures of a kind a record keeps: more lines would add nothing.
const maxNoted = 12

// noteKept notes in the record why a call did not release the sandbox, which answers why
// the runtime called DEL again.
func (s *session) noteKept(verb string, failure error) {
	var err error
	if s.record.Kept < maxNoted {
		err = s.note(types.Entry{Event: types.EventKept, Command: verb, Time: time.Now().UTC(), Error: types.Shorten(failure.Error(), types.MaxEntryError)})
	} else {
		err = s.lock.Touch(s.key) // the next GC begins with another
	}
	if err != nil {
		s.log.Warn("note why a sandbox was not released", "error", err)
	}
}

// releaseEach runs a release of each of the pending attachments, in order, and removes the
// record when all of them succeed. The disk may be full: what is released and cannot be
// noted is no failure then.
func (s *session) releaseEach(pending []int, detach func(i, toCome int) error) error {
	var faults, unnoted []error
	for n, i := range pending {
		a := &s.record.Plan.Attachments[i]
		if err := detach(i, len(pending)-n); err != nil {
			faults = append(faults, fmt.Errorf("detach network %s from %s: %w", a.Network, a.Interface, err))
			continue
		}
		s.log.Debug("released", "network", a.Network, "interface", a.Interface)
		if err := s.note(types.Entry{Event: types.EventReleased, Attachment: i}); err != nil {
			unnoted = append(unnoted, types.WithCode(types.CodeIOFailure, err))
		}
	}
	if len(faults) > 0 {
		return types.Join(append(faults, unnoted...)...)
	}
	return types.WithCode(types.CodeIOFailure, s.lock.Remove(s.key))
}

// leastShare is the least time that one of several gets, as long as it is no more than half
// of what is left: with less, a plugin that takes a second would be killed, each time, for
// the sake of the others.
const leastShare = 5 * time.Second

// fairShare gives one of several that are still to come its part of the time left.
func fairShare(ctx context.Context, toCome int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	left := time.Until(deadline)
	return context.WithTimeout(ctx, max(left/time.Duration(toCome), min(leastShare, left/2)))
}

func (s *session) detachInShare(ctx context.Context, i int, netns string, toCome int) error {
	ctx, cancel := fairShare(ctx, toCome)
	defer cancel()
	return s.detach(ctx, i, netns)
}

// detach releases one attachment. The caller notes it.
func (s *session) detach(ctx context.Context, i int, netns string) error {
	a := &s.record.Plan.Attachments[i]
	list, err := s.list(i)
	if err != nil {
		return err
	}
	s.restoreCache(i)
	s.restoreSettings(i, netns)
	rt := s.releaseConf(i, netns)
	if s.record.Progress[i].Refused != nil && s.record.Progress[i].Result == nil {
		err = s.detachUnmade(ctx, i, list, rt)
	} else {
		err = describe(s.libcni.DelNetworkList(ctx, list, rt))
	}
	if err != nil {
		return err
	}
	return s.removeDeviceInfo(a)
}

// releaseConf gives libcni's arguments for the DEL of an attachment. One that gave no result
// leaves out what the pod asks for, as Multus does in every DEL: a plugin that refuses an IP= in
// ADD refuses it in DEL as well, for ever.
func (s *session) releaseConf(i int, netns string) *libcni.RuntimeConf {
	sandbox := &s.record.Plan.Sandbox
	rt := runtimeConf(&s.record.Plan.Attachments[i], sandbox, netns)
	if s.record.Progress[i].Result == nil {
		rt.Args = sandbox.Args
	}
	return rt
}

func (s *session) removeDeviceInfo(a *types.Attachment) error {
	if a.DeviceInfoFile == "" || s.DeviceInfos == nil {
		return nil
	}
	return s.DeviceInfos.Remove(a.DeviceInfoFile)
}
