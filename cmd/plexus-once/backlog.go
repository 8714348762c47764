package main

import (
	"context"
	"math/rand/v2"
	"slices"
	"time"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

const (
	maxLooked      = 64              // records that one call reads
	maxPublished   = 5               // pods that one call publishes
	backlogTimeout = 5 * time.Second // of the status of one of them
)

// backlog publishes the status of records that earlier calls could not.
type backlog struct {
	journal *journal.Journal
	source  source
	except  types.Pod // its own call sees to it
	bootID  string    // of this boot: the sandboxes of others are gone
}

// entry is a complete record.
type entry struct {
	key    journal.Key
	record *types.Record
}

// pod identifies the records of one pod.
func (e entry) pod() string { return podKey(&e.record.Plan.Pod, e.key.ContainerID) }

func podKey(pod *types.Pod, containerID string) string {
	switch {
	case !pod.Known():
		return containerID
	case pod.UID != "":
		return pod.UID
	}
	return pod.String()
}

// run reads some records, from a random place on, and publishes what is unpublished.
func (b *backlog) run(ctx context.Context) {
	keys, _ := b.journal.List()
	if len(keys) == 0 {
		return
	}
	seen := map[string]bool{podKey(&b.except, ""): true}
	first := rand.N(len(keys))
	for i := range min(len(keys), maxLooked) {
		e, ok := b.read(keys[(first+i)%len(keys)])
		if !ok || e.record.Published || seen[e.pod()] {
			continue
		}
		if len(seen) > maxPublished || ctx.Err() != nil {
			return
		}
		seen[e.pod()] = true
		b.settle(ctx, e.pod())
	}
}

// settle publishes the newest record of a pod, even if it is published: the status of
// an older one, whose call was killed, may have landed on top of it. If the pod got a newer sandbox in the
// meantime, ours has overwritten its status: then that one is published once more.
func (b *backlog) settle(ctx context.Context, pod string) {
	var published journal.Key
	for {
		all := b.of(pod)
		if len(all) == 0 {
			return
		}
		newest := all[len(all)-1]
		if newest.key == published {
			b.mark(all)
			return
		}
		if !b.publish(ctx, newest) {
			return
		}
		published = newest.key
	}
}

func (b *backlog) publish(ctx context.Context, e entry) bool {
	ctx, cancel := context.WithTimeout(ctx, backlogTimeout)
	defer cancel()
	settled, _ := b.source.PublishStatus(ctx, e.record.Plan.Pod, e.record.Status)
	return settled
}

// mark notes in the records of a pod that nothing of them is left to publish.
func (b *backlog) mark(entries []entry) {
	for _, e := range entries {
		if !e.record.Published {
			b.markOne(e)
		}
	}
}

// markOne leaves a record alone that another call is at work on, or has replaced.
func (b *backlog) markOne(e entry) {
	lock, free, err := b.journal.TryLock(e.key.ContainerID)
	if err != nil || !free {
		return
	}
	defer lock.Release()
	if now, ok := b.read(e.key); ok && now.record.Age().Compare(e.record.Age()) == 0 {
		_ = lock.Append(e.key, types.Entry{Event: types.EventPublished})
	}
}

// of gives the complete records of a pod, oldest first. The names of the files do not
// tell whose they are.
func (b *backlog) of(pod string) []entry {
	keys, _ := b.journal.List()
	var entries []entry
	for _, key := range keys {
		if e, ok := b.read(key); ok && e.pod() == pod {
			entries = append(entries, e)
		}
	}
	slices.SortStableFunc(entries, func(a, z entry) int { return a.record.Age().Compare(z.record.Age()) })
	return entries
}

func (b *backlog) read(key journal.Key) (entry, bool) {
	record, err := b.journal.Read(key)
	if err != nil || !record.Complete || record.BootID != b.bootID || partlyReleased(record) {
		return entry{}, false
	}
	return entry{key, record}, true
}

// partlyReleased reports whether the end of a sandbox has begun: its status is no longer true.
func partlyReleased(record *types.Record) bool {
	return slices.ContainsFunc(record.Progress, func(p types.Progress) bool { return p.Released })
}
