package delegate

import (
	"cmp"
	"context"
	"errors"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// How much a call may do for other sandboxes: no runtime waits long for it.
const (
	deadBound   = 5 * time.Second
	deadLooked  = 32 // records read
	deadTouched = 5  // records released
	// slowFailure is how long a DEL that fails may take before its network counts as one that
	// hangs: a server that does not answer makes some plugins fail, later, by themselves.
	slowFailure = time.Second
	// deadPatience is how many attempts on one record may fail before it has to wait
	// for the next, longer each time up to deadMaxWait.
	deadPatience = 3
	deadMaxWait  = 5 * time.Minute
)

// releaseDead releases a few records whose namespace is gone. No retry of a DEL may
// ever come, so every call does a little of it; what fails is kept for the next.
func (e *Engine) releaseDead(ctx context.Context) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), deadBound)
	defer cancel()
	listing, err := e.Journal().Scan()
	if err != nil {
		e.Log.Warn("look for dead records", "error", err)
	}
	for _, key := range e.chooseDead(listing.Records) {
		if ctx.Err() != nil {
			break
		}
		e.releaseIfDead(ctx, key)
	}
	e.removeLeftovers(listing.Leftovers)
	e.removeLocks(ctx, listing.Locks)
	e.Journal().RemoveOldHangs(listing)
}

// chooseDead chooses which dead records to release: those that were tried longest ago.
func (e *Engine) chooseDead(keys []journal.Key) []journal.Key {
	type candidate struct {
		key     journal.Key
		touched time.Time
	}
	var dead []candidate
	for _, key := range sample(keys, deadLooked) {
		failures, isDead := e.isDead(key)
		if !isDead {
			continue
		}
		touched, err := e.Journal().Touched(key)
		if err == nil && journal.Elapsed(touched, deadWait(failures)) {
			dead = append(dead, candidate{key, touched})
		}
	}
	slices.SortFunc(dead, func(a, b candidate) int { return byTouch(a.touched, b.touched) })
	var chosen []journal.Key
	for _, c := range dead[:min(len(dead), deadTouched)] {
		chosen = append(chosen, c.key)
	}
	return chosen
}

// byTouch orders by when something was touched last. A time in the future is of a clock
// that was set back: that was long ago.
func byTouch(a, b time.Time) int {
	now := time.Now()
	return cmp.Or(rank(a.Before(now))-rank(b.Before(now)), a.Compare(b))
}

// isDead reports whether the sandbox of a record is gone, of which something can be
// released now, and how often that has failed. Of a damaged record libcni's cache may know
// the namespace.
func (e *Engine) isDead(key journal.Key) (failures int, dead bool) {
	where, err := e.Journal().Whereabouts(key)
	if err == nil && where.MayLive(e.BootID) {
		return 0, false // as nearly all are
	}
	record, err := e.Journal().Read(key)
	if errors.Is(err, types.ErrDamagedRecord) {
		return deadPatience, e.cacheSaysDead(key)
	}
	if err != nil || !isGone(record, e.BootID) {
		return 0, false
	}
	return record.Failures, !e.hangsWholly(record)
}

// hangsWholly reports whether every network that a record is still attached to hangs.
func (e *Engine) hangsWholly(record *types.Record) bool {
	pending := record.Pending(e.BootID)
	return len(pending) > 0 && !slices.ContainsFunc(pending, func(i int) bool {
		return !e.Journal().Hangs(record.Plan.Attachments[i].Network)
	})
}

func (e *Engine) cacheSaysDead(key journal.Key) bool {
	attachments, err := e.cni(nil, key.ContainerID, e.Config.CNIDir).GetCachedAttachments(key.ContainerID)
	if err != nil || len(attachments) == 0 {
		return false
	}
	return !slices.ContainsFunc(attachments, func(a *libcni.NetworkAttachment) bool { return host.NetNSMayLive(a.NetNS, host.NetNSID{}, 0) })
}

// sample gives n neighbours from a random place, all if there are no more.
func sample[T any](all []T, n int) []T {
	if len(all) <= n {
		return all
	}
	start := rand.IntN(len(all))
	return append(slices.Clone(all[start:]), all[:start]...)[:n]
}

// deadWait is how long a record that failed so often has to wait.
func deadWait(failures int) time.Duration {
	if failures < deadPatience {
		return 0
	}
	return min(time.Second<<min(failures-deadPatience, 20), deadMaxWait)
}

func (e *Engine) releaseIfDead(ctx context.Context, key journal.Key) {
	lock, free, err := e.Journal().TryLockOverOrphans(key.ContainerID, lockPatience)
	if err != nil || !free {
		return
	}
	defer lock.Release()
	record, err := e.Journal().Read(key)
	if errors.Is(err, types.ErrDamagedRecord) && e.cacheSaysDead(key) {
		e.releaseDamagedDead(ctx, lock, key, err)
		return
	}
	if err != nil || !isGone(record, e.BootID) {
		return
	}
	s := e.newSession(lock, record)
	switch err := s.releaseAsDead(ctx); {
	case err == nil:
		s.log.Info("released a sandbox that was gone")
	case s.mayGiveUp():
		s.giveUp(err)
	default:
		s.log.Warn("release a sandbox that is gone; a later call will try again", "error", err)
		s.noteFailure(err)
	}
}

// errHangs is the error of a network that is left alone for a while.
var errHangs = errors.New("its DEL failed not long ago, and took long; it is tried again later")

// releaseAsDead releases a dead record, in little time: not shared out, so that one
// attachment that needs much of it can have it. A network that took much of it, in vain,
// is left alone for a while by all records: one that hangs must not cost every call its
// time.
func (s *session) releaseAsDead(ctx context.Context) error {
	return s.releaseEach(turned(s.record.Pending(s.BootID), s.record.Failures), func(i, _ int) error {
		network := s.record.Plan.Attachments[i].Network
		if !s.Journal().TryHanging(network) {
			return errHangs
		}
		began := time.Now()
		err := s.detach(ctx, i, "")
		switch {
		case err == nil:
			s.Journal().ForgetHang(network)
		case tookLong(ctx, time.Since(began)):
			if noteErr := s.Journal().NoteHang(network, err); noteErr != nil {
				s.log.Warn("a network that hangs will be tried by the next call", "error", noteErr)
			}
		}
		return err
	})
}

// tookLong reports whether a DEL that failed counts as one that hangs. What the end of the
// call cut short may only have come late to its turn.
func tookLong(ctx context.Context, took time.Duration) bool {
	if ctx.Err() != nil {
		return took > deadBound/2
	}
	return took >= slowFailure
}

func (e *Engine) releaseDamagedDead(ctx context.Context, lock *journal.Lock, key journal.Key, damage error) {
	sandbox := types.Sandbox{ContainerID: key.ContainerID, IfName: key.IfName}
	if err := e.releaseDamaged(ctx, &unrecorded{lock: lock, key: key, sandbox: sandbox}, damage); err != nil {
		e.Log.Warn("release a sandbox that is gone; a later call will try again", "sandbox", key.ContainerID, "error", err)
		_ = lock.Touch(key)
	}
}

// noteFailure notes that a dead record could not be released, at first each time, then once
// an hour. In between, only the time of the attempt is kept.
func (s *session) noteFailure(failure error) {
	var err error
	if s.record.Failures < maxNoted || journal.Elapsed(s.record.Failed, giveUpInterval) {
		err = s.note(types.Entry{Event: types.EventFailed, Time: time.Now().UTC(), Error: types.Shorten(failure.Error(), maxFailedError)})
	} else {
		err = s.lock.Touch(s.key)
	}
	if err != nil {
		s.log.Warn("note that a sandbox that is gone could not be released", "error", err)
	}
}

// maxFailedError bounds the message of one failure, in bytes: a record keeps dozens of them.
const maxFailedError = 1 << 10

// removeLeftovers removes intents whose writer ended before they were whole.
func (e *Engine) removeLeftovers(keys []journal.Key) {
	for _, key := range keys {
		if lock, free, err := e.Journal().TryLock(key.ContainerID); err == nil && free {
			_ = lock.RemoveLeftover(key)
			lock.Release()
		}
	}
}

// removeLocks removes the locks of calls that were killed while their containers had no
// record.
func (e *Engine) removeLocks(ctx context.Context, containers []string) {
	for _, container := range sample(containers, deadLooked) {
		if ctx.Err() != nil {
			return
		}
		if lock, free, err := e.Journal().TryLockOverOrphans(container, lockPatience); err == nil && free {
			lock.Discard()
		}
	}
}
