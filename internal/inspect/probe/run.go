package probe

import (
	"context"
	"fmt"
	"sync"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Run sends the packets while the nodes watch, and says in the document what became of them. It waits for the
// answers as long as patience says. why adds the kernels' reasons. The error says why nothing could be sent, or
// not be watched where it is sent; a far node that cannot be watched is a note.
func (p *Probe) Run(ctx context.Context, nodes map[string]inspect.Watcher, patience time.Duration, why bool) error {
	origin := nodes[p.document.From.Node]
	if origin == nil {
		return fmt.Errorf("no packet can be sent from %s: its node is not there, only what was saved of it", p.document.From.Subject)
	}
	r := &run{Probe: p, changed: make(chan struct{}, 1)}
	watching, cancel := context.WithCancel(ctx)
	wait := r.watch(watching, nodes, why)
	defer func() {
		cancel() // before it waits: they watch until then
		wait()
	}()
	if err := r.onNode(p.document.From.Node).fault; err != nil {
		return err
	}
	sent, err := origin.Send(ctx, p.Send())
	if err != nil {
		return err
	}
	r.mu.Lock()
	p.Sent(sent)
	r.mu.Unlock()
	err = r.await(ctx, patience, why)
	cancel()
	wait()
	if err == nil {
		p.Finish()
	}
	return err
}

// run is a probe under way: several nodes speak at once.
type run struct {
	*Probe
	mu      sync.Mutex
	changed chan struct{} // something was seen
}

// watch begins to watch each node, and returns when all do, or cannot. The function that it gives waits for their end.
func (r *run) watch(ctx context.Context, nodes map[string]inspect.Watcher, why bool) (wait func()) {
	var ready, ended sync.WaitGroup
	for name, node := range nodes {
		watch := r.Watch(name)
		if len(watch.Points) == 0 {
			continue
		}
		watch.Drops = why
		ready.Add(1)
		once := sync.OnceFunc(ready.Done)
		ended.Go(func() {
			defer once()
			err := node.Watch(ctx, watch, func(s inspect.Sighting) error {
				r.saw(name, s)
				if s.Ready {
					once()
				}
				return nil
			})
			if err != nil {
				r.failed(name, err)
			}
		})
	}
	ready.Wait()
	return ended.Wait
}

func (r *run) saw(node string, s inspect.Sighting) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Saw(node, s)
	select {
	case r.changed <- struct{}{}:
	default:
	}
}

func (r *run) failed(node string, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.Failed(node, err)
}

func (r *run) onNode(name string) observed {
	r.mu.Lock()
	defer r.mu.Unlock()
	return *r.on(name)
}

// lastWords is how much longer it waits where all may not be said: a kernel's reason may come after the rejection,
// and what was dropped may have been a copy, whose original is answered.
const lastWords = time.Second

// await waits until it is known of each packet what became of it, or for as long as it may take.
func (r *run) await(ctx context.Context, patience time.Duration, why bool) error {
	late, shortened := time.NewTimer(patience), false
	defer late.Stop()
	for {
		known, sure := r.progress(why)
		switch {
		case known && sure:
			return nil
		case known && !shortened:
			shortened = true
			late.Reset(min(lastWords, patience))
		}
		select {
		case <-r.changed:
		case <-late.C:
			return nil
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// progress reports whether it is known of each packet what became of it, and whether nothing can change that.
func (r *run) progress(why bool) (known, sure bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	sure = true
	for i, shot := range r.shots {
		answer, explained := r.answer(shot.Size), why && r.explained(shot.Size)
		switch {
		case r.refused(i) != "", answer != nil && !answer.reset && (answer.rejects == "" || r.arrivedAtClosedPort(answer, shot.Size)):
		case answer != nil:
			sure = sure && (explained || !why)
		case explained:
			sure = false
		default:
			return false, false
		}
	}
	return true, sure
}
