package delegate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// Del releases a sandbox from all its networks. It asks no agent and no API server: it
// works from the record, else from what Multus left, else from libcni's cache, else by the
// default network of the present configuration. What cannot be released stays recorded.
func (e *Engine) Del(ctx context.Context, call *Call) error {
	ctx, cancel := context.WithTimeout(ctx, delTimeout)
	defer cancel()
	e.meter = newMeter()
	err := nameSignal(ctx, e.del(ctx, call))
	e.publishReport(ctx, "DEL", call, err)
	e.unmeasured().releaseDead(ctx)
	if err != nil {
		return fmt.Errorf("pod %s: %w", &call.Pod, err)
	}
	return nil
}

func (e *Engine) del(ctx context.Context, call *Call) error {
	sandbox := call.Sandbox
	if _, exists := host.NetNS(sandbox.NetNS); !exists {
		sandbox.NetNS = ""
	}
	lock, err := e.lockOnAnyDisk(ctx, sandbox.ContainerID)
	if err != nil {
		return err
	}
	defer lock.Release()
	key := e.key(&sandbox)
	record, err := e.Journal().Read(key)
	switch {
	case err == nil:
		return e.newSession(lock, record).release(ctx, "DEL", recordedNetNS(record, e.BootID, sandbox.NetNS))
	case errors.Is(err, fs.ErrNotExist) && e.Journal().WasGivenUp(key):
		e.Log.Warn("the sandbox was given up: releasing it had failed for a day; what it held has to be released by hand", "sandbox", key.ContainerID)
		return nil
	case errors.Is(err, fs.ErrNotExist):
		return types.Join(lock.RemoveLeftover(key), e.releaseWithoutRecord(ctx, e.unrecorded(lock, key, sandbox)))
	case errors.Is(err, types.ErrDamagedRecord):
		return e.releaseDamaged(ctx, e.unrecorded(lock, key, sandbox), err)
	default:
		return err
	}
}

// unrecorded is a sandbox that has no readable record, under its container's lock.
type unrecorded struct {
	lock    *journal.Lock
	key     journal.Key
	sandbox types.Sandbox
	damaged bool // it has a record that cannot be read: it was attached
}

// unrecorded gives a sandbox without the path of its namespace if that leads to another
// container's by now.
func (e *Engine) unrecorded(lock *journal.Lock, key journal.Key, sandbox types.Sandbox) *unrecorded {
	if e.isOfAnother(&sandbox) {
		sandbox.NetNS = ""
	}
	return &unrecorded{lock: lock, key: key, sandbox: sandbox}
}

func (e *Engine) isOfAnother(sandbox *types.Sandbox) bool {
	id, exists := host.IdentifyNetNS(sandbox.NetNS)
	if !exists || id.Inode == 0 {
		return false
	}
	listing, err := e.Journal().Scan()
	return err == nil && slices.ContainsFunc(listing.Records, func(key journal.Key) bool {
		if key.ContainerID == sandbox.ContainerID {
			return false
		}
		where, err := e.Journal().Whereabouts(key)
		return err == nil && where.BootID == e.BootID && where.ID.Inode == id.Inode && where.ID.MayBe(id)
	})
}

// releaseDamaged releases a sandbox without its record, which cannot be read, and then
// sets the record aside: as long as that fails, it is there for a later call.
func (e *Engine) releaseDamaged(ctx context.Context, u *unrecorded, damage error) error {
	u.damaged = true
	e.Log.Error("a record cannot be read; its sandbox is released from what else is known of it", "error", damage)
	if err := e.releaseWithoutRecord(ctx, u); err != nil {
		return err
	}
	aside, err := u.lock.SetAside(u.key, host.Corrupt)
	if err != nil {
		return types.Join(damage, err)
	}
	e.Log.Error("the record that cannot be read was set aside", "file", aside)
	return nil
}
