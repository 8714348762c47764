package delegate

import (
	"errors"
	"os"
	"time"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// A plugin that has vanished, or can never succeed, must not hold a record for ever: once
// the sandbox is gone and releasing it has failed in giveUpHours different hours, the
// record is set aside. Hours and not a span of time: a clock that is set right by ten years
// at boot is no reason to give anything up.
const (
	giveUpInterval = time.Hour
	giveUpHours    = 24
)

// mayGiveUp reports whether releasing a dead record has failed for long enough.
func (s *session) mayGiveUp() bool {
	return s.record.Failures >= maxNoted+giveUpHours && journal.Elapsed(s.record.Failed, giveUpInterval)
}

// giveUp sets the record of a dead sandbox aside, with the reason, unless one of its
// devices is not where the next pod could have it.
func (s *session) giveUp(failure error) {
	if away := s.deviceAway(); away != "" {
		s.log.Error("release a sandbox that is gone; it is not given up, because its device is not back in the host's network namespace",
			"device", away, "error", failure)
		s.noteFailure(failure)
		return
	}
	reason := types.Entry{Event: types.EventGivenUp, Time: time.Now().UTC(), Error: types.Shorten(failure.Error(), types.MaxEntryError)}
	if err := s.note(reason); err != nil {
		s.log.Warn("note why a sandbox is given up", "error", err)
	}
	s.forgetAttachments()
	aside, err := s.lock.SetAside(s.key, host.GivenUp)
	if err != nil {
		s.log.Error("give up a sandbox that is gone and cannot be released", "error", err)
		return
	}
	s.log.Error("gave up a sandbox that is gone: releasing it failed for a day; what it held has to be released by hand",
		"file", aside, "error", failure)
}

// deviceAway gives a device of the record that the kernel does not show at home.
func (s *session) deviceAway() string {
	for _, i := range s.record.Pending(s.BootID) {
		if id := s.record.Plan.Attachments[i].DeviceID; id != "" && !host.DeviceAtHome(id) {
			return id
		}
	}
	return ""
}

// forgetAttachments removes what else is kept of the sandbox, so that no DEL takes it up
// from there.
func (s *session) forgetAttachments() {
	for i := range s.record.Plan.Attachments {
		a := &s.record.Plan.Attachments[i]
		err := os.Remove(s.cachePath(a))
		if errors.Is(err, os.ErrNotExist) {
			err = nil
		}
		if err := types.Join(err, s.removeDeviceInfo(a)); err != nil {
			s.log.Warn("remove what is kept of a sandbox that is given up", "network", a.Network, "error", err)
		}
	}
}
