package delegate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// release runs the DEL of every attachment that was tried and is not yet released,
// in reverse, each with its fair share of the time, whatever becomes of the others.
// When nothing is left the record goes; else it keeps what is left, and why the verb of
// this call did not release it.
func (s *session) release(ctx context.Context, verb, netns string) error {
	err := s.releaseEach(ctx, s.record.Pending(s.BootID), netns, fairShare)
	if err != nil {
		s.noteKept(verb, err)
	}
	return err
}

// maxNoted is how many failures of a kind a record keeps: more lines would add nothing.
const maxNoted = 12

// noteKept notes in the record why a call did not release the sandbox, which answers why
// the runtime called DEL again.
func (s *session) noteKept(verb string, failure error) {
	if s.record.Kept >= maxNoted {
		return
	}
	entry := types.Entry{Event: types.EventKept, Command: verb, Time: time.Now().UTC(), Error: types.Shorten(failure.Error(), types.MaxEntryError)}
	if err := s.note(entry); err != nil {
		s.log.Warn("note why a sandbox was not released", "error", err)
	}
}

// releaseAsDead releases a dead record, in little time: not shared out, so that one
// attachment that needs much of it can have it, and each time beginning with another, so
// that one that hangs does not keep the others waiting for ever.
func (s *session) releaseAsDead(ctx context.Context) error {
	pending := s.record.Pending(s.BootID)
	if len(pending) > 1 {
		first := s.record.Failures % len(pending)
		if s.record.Failures >= maxNoted { // they are not counted any more
			first = rand.IntN(len(pending))
		}
		pending = slices.Concat(pending[first:], pending[:first])
	}
	return s.releaseEach(ctx, pending, "", whatIsLeft)
}

func (s *session) releaseEach(ctx context.Context, pending []int, netns string, share sharing) error {
	var faults []error
	for n, i := range pending {
		a := &s.record.Plan.Attachments[i]
		shared, cancel := share(ctx, len(pending)-n)
		err := s.detach(shared, i, netns)
		cancel()
		if err != nil {
			faults = append(faults, fmt.Errorf("detach network %s from %s: %w", a.Network, a.Interface, err))
			continue
		}
		s.log.Debug("released", "network", a.Network, "interface", a.Interface)
	}
	if err := types.Join(faults...); err != nil {
		return err
	}
	return s.lock.Remove(s.key)
}

// sharing gives one of several that are still to come its part of the time left.
type sharing func(ctx context.Context, toCome int) (context.Context, context.CancelFunc)

// whatIsLeft gives all of it to the first.
func whatIsLeft(ctx context.Context, _ int) (context.Context, context.CancelFunc) {
	return context.WithCancel(ctx)
}

// fairShare gives one of several that are still to come its part of the time left.
func fairShare(ctx context.Context, toCome int) (context.Context, context.CancelFunc) {
	deadline, ok := ctx.Deadline()
	if !ok {
		return context.WithCancel(ctx)
	}
	return context.WithTimeout(ctx, time.Until(deadline)/time.Duration(toCome))
}

func (s *session) detach(ctx context.Context, i int, netns string) error {
	a := &s.record.Plan.Attachments[i]
	list, err := listOf(a)
	if err != nil {
		return err
	}
	s.restoreCache(i)
	s.restoreSettings(i, netns)
	rt := runtimeConf(a, &s.record.Plan.Sandbox, netns)
	if s.record.Progress[i].Refused != nil && s.record.Progress[i].Result == nil {
		err = s.detachUnmade(ctx, i, list, rt)
	} else {
		err = describe(s.libcni.DelNetworkList(ctx, list, rt))
	}
	if err != nil {
		return err
	}
	if a.DeviceInfoFile != "" && s.DeviceInfos != nil {
		if err := s.DeviceInfos.Remove(a.DeviceInfoFile); err != nil {
			return err
		}
	}
	return s.note(types.Entry{Event: types.EventReleased, Attachment: i})
}
