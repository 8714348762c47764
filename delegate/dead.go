package delegate

import (
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
	for _, key := range e.deadKeys() {
		if ctx.Err() != nil {
			return
		}
		e.releaseIfDead(ctx, key)
	}
	e.removeLeftovers()
}

// deadKeys chooses which dead records to release: those that were tried longest ago.
func (e *Engine) deadKeys() []journal.Key {
	keys, err := e.Journal().List()
	if err != nil {
		e.Log.Warn("look for dead records", "error", err)
	}
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
		if err == nil && time.Since(touched) >= deadWait(failures) {
			dead = append(dead, candidate{key, touched})
		}
	}
	slices.SortFunc(dead, func(a, b candidate) int { return a.touched.Compare(b.touched) })
	var chosen []journal.Key
	for _, c := range dead[:min(len(dead), deadTouched)] {
		chosen = append(chosen, c.key)
	}
	return chosen
}

// isDead reports whether the sandbox of a record is gone, and how often releasing it has
// failed. Of a damaged record libcni's cache may know the namespace.
func (e *Engine) isDead(key journal.Key) (failures int, dead bool) {
	where, err := e.Journal().Whereabouts(key)
	if err == nil && where.Lives(e.BootID) {
		return 0, false // as nearly all are
	}
	record, err := e.Journal().Read(key)
	if errors.Is(err, types.ErrDamagedRecord) {
		return deadPatience, e.cacheSaysDead(key)
	}
	if err != nil || aliveNetNS(record, e.BootID) != "" {
		return 0, false
	}
	return record.Failures, true
}

func (e *Engine) cacheSaysDead(key journal.Key) bool {
	attachments, err := e.cni(nil, key.ContainerID, e.Config.CNIDir).GetCachedAttachments(key.ContainerID)
	if err != nil || len(attachments) == 0 {
		return false
	}
	return !slices.ContainsFunc(attachments, func(a *libcni.NetworkAttachment) bool { return host.NetNSLives(a.NetNS, 0) })
}

// sample gives n neighbours from a random place, all if there are no more.
func sample(keys []journal.Key, n int) []journal.Key {
	if len(keys) <= n {
		return keys
	}
	start := rand.IntN(len(keys))
	return append(slices.Clone(keys[start:]), keys[:start]...)[:n]
}

// deadWait is how long a record that failed so often has to wait.
func deadWait(failures int) time.Duration {
	if failures < deadPatience {
		return 0
	}
	return min(time.Second<<min(failures-deadPatience, 20), deadMaxWait)
}

func (e *Engine) releaseIfDead(ctx context.Context, key journal.Key) {
	lock, free, err := e.Journal().TryLock(key.ContainerID)
	if err != nil || !free {
		return
	}
	defer lock.Release()
	record, err := e.Journal().Read(key)
	if errors.Is(err, types.ErrDamagedRecord) && e.cacheSaysDead(key) {
		e.releaseDamagedDead(ctx, lock, key, err)
		return
	}
	if err != nil || aliveNetNS(record, e.BootID) != "" {
		return
	}
	s := e.newSession(lock, record)
	if err := s.releaseAsDead(ctx); err != nil {
		s.log.Warn("release a sandbox that is gone; a later call will try again", "error", err)
		s.noteFailure(err)
		return
	}
	s.log.Info("released a sandbox that was gone")
}

func (e *Engine) releaseDamagedDead(ctx context.Context, lock *journal.Lock, key journal.Key, damage error) {
	sandbox := types.Sandbox{ContainerID: key.ContainerID, IfName: key.IfName}
	if err := e.releaseDamaged(ctx, &unrecorded{lock: lock, key: key, sandbox: sandbox}, damage); err != nil {
		e.Log.Warn("release a sandbox that is gone; a later call will try again", "sandbox", key.ContainerID, "error", err)
		_ = lock.Touch(key)
	}
}

// noteFailure notes that a dead record could not be released. After a number of lines
// they add nothing, and only the time of the attempt is kept.
func (s *session) noteFailure(failure error) {
	var err error
	if s.record.Failures < maxNoted {
		err = s.note(types.Entry{Event: types.EventFailed, Time: time.Now().UTC(), Error: types.Shorten(failure.Error(), types.MaxEntryError)})
	} else {
		err = s.lock.Touch(s.key)
	}
	if err != nil {
		s.log.Warn("note that a sandbox that is gone could not be released", "error", err)
	}
}

// removeLeftovers removes intents whose writer ended before they were whole.
func (e *Engine) removeLeftovers() {
	keys, err := e.Journal().Leftovers()
	if err != nil {
		return
	}
	for _, key := range keys {
		if lock, free, err := e.Journal().TryLock(key.ContainerID); err == nil && free {
			_ = lock.RemoveLeftover(key)
			lock.Release()
		}
	}
}
