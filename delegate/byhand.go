package delegate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// ErrLives is the error for releasing by hand what a sandbox that may still be there has.
var ErrLives = errors.New("the sandbox may still be there")

// Stale is a record whose sandbox is gone for sure.
type Stale struct {
	Key    journal.Key
	Record *types.Record // nil if it cannot be read
	Why    string        // it is known that the sandbox is gone
}

func (s *Stale) refused(force bool) bool { return s.Why == "" && !force }

// Stale gives the records whose sandboxes are gone for sure, in the order of their files. It changes nothing.
func (e *Engine) Stale() ([]Stale, error) {
	keys, err := e.Journal().List()
	if err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	var all []Stale
	for _, key := range keys {
		if stale, err := e.Inspect(key); err == nil && stale.Why != "" {
			all = append(all, stale)
		}
	}
	return all, nil
}

// Inspect says why the sandbox of a record is gone; Why is "" if it may be there.
func (e *Engine) Inspect(key journal.Key) (Stale, error) {
	stale := Stale{Key: key}
	record, err := e.Journal().Read(key)
	switch {
	case errors.Is(err, types.ErrDamagedRecord):
		if e.cacheSaysDead(key) {
			stale.Why = "its record is damaged, and the namespaces that libcni's cache has of it are gone"
		}
		return stale, nil
	case err != nil:
		return stale, err
	}
	stale.Record = record
	if isGone(record, e.BootID) {
		stale.Why = whyGone(record, e.BootID)
	}
	return stale, nil
}

func whyGone(record *types.Record, bootID string) string {
	path := record.Plan.Sandbox.NetNS
	_, exists := host.NetNS(path)
	switch {
	case record.BootID != bootID:
		return "the node has booted since"
	case exists:
		return "its network namespace is gone; another one is at " + path
	}
	return "its network namespace " + path + " is gone"
}

// Released says what a release by hand made of one attachment.
type Released struct {
	Network, Interface string
	Done               bool
}

// ReleaseRecord releases a record as DEL does, for a person who asks for it, and says of each attachment
// that was still to be released whether it was. The error is ErrLives unless the sandbox is gone for sure,
// or the release is forced.
func (e *Engine) ReleaseRecord(ctx context.Context, key journal.Key, force bool) ([]Released, error) {
	ctx, cancel := context.WithTimeout(ctx, delTimeout)
	defer cancel()
	stale, err := e.Inspect(key)
	if err == nil && stale.refused(force) {
		return nil, ErrLives // at once: its ADD may have the lock for long
	}
	lock, err := e.lockOnAnyDisk(ctx, key.ContainerID)
	if err != nil {
		return nil, err
	}
	defer lock.Release()
	stale, err = e.Inspect(key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil, nil // released meanwhile
	case err != nil:
		return nil, err
	case stale.refused(force):
		return nil, ErrLives
	case stale.Record == nil:
		_, damage := e.Journal().Read(key)
		sandbox := types.Sandbox{ContainerID: key.ContainerID, IfName: key.IfName}
		return nil, e.releaseDamaged(ctx, &unrecorded{lock: lock, key: key, sandbox: sandbox}, damage)
	}
	return e.newSession(lock, stale.Record).releaseByHand(ctx)
}

func (s *session) releaseByHand(ctx context.Context) ([]Released, error) {
	pending := s.record.Pending(s.BootID)
	err := nameSignal(ctx, s.release(ctx, "DEL", aliveNetNS(s.record, s.BootID)))
	if err != nil {
		err = fmt.Errorf("pod %s: %w", &s.record.Plan.Pod, err)
	}
	var all []Released
	for _, i := range pending {
		a := &s.record.Plan.Attachments[i]
		all = append(all, Released{Network: a.Network, Interface: a.Interface, Done: s.record.Progress[i].Released})
	}
	return all, err
}
