package ui

import (
	"context"
	"sync"
	"time"
)

// node is a node as the page has it: what was read of it last, and what became of the last attempt.
type node struct {
	name     string
	isSaved  bool
	fresh    time.Duration
	patience time.Duration
	read     func() (*Reading, error)

	mu   sync.Mutex
	busy chan struct{} // closed when the reading that is under way ends; nil if none is
	last Known
}

// Known is what is known of a node.
type Known struct {
	Name string
	*Reading
	At time.Time // when it was read; of a saved one, when it was taken
	// Err and Tried are of the last attempt, if it failed: Reading is older then, or nil.
	Err   error
	Tried time.Time
}

// known gives what is known now.
func (n *node) known() Known {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.last.Name = n.name
	return n.last
}

// look gives what is known of the node. It is read first if that was not done of late; if that takes too
// long, it goes on without the one who asked.
func (n *node) look(ctx context.Context) Known {
	ctx, cancel := context.WithTimeout(ctx, n.patience)
	defer cancel()
	n.wait(ctx)
	return n.known()
}

// wait waits until what is known is fresh, or the context ends.
func (n *node) wait(ctx context.Context) {
	if busy := n.refresh(); busy != nil {
		select {
		case <-busy:
		case <-ctx.Done():
		}
	}
}

// refresh begins to read, unless somebody does or it was done of late. It gives nil if there is nothing to
// wait for.
func (n *node) refresh() <-chan struct{} {
	n.mu.Lock()
	defer n.mu.Unlock()
	latest := n.last.At
	if n.last.Tried.After(latest) {
		latest = n.last.Tried
	}
	if n.isSaved && n.last.Reading != nil || n.busy == nil && time.Since(latest) < n.fresh {
		return nil
	}
	if n.busy == nil {
		n.busy = make(chan struct{})
		go n.attempt()
	}
	return n.busy
}

// attempt reads the node. What fails does not take away what was known.
func (n *node) attempt() {
	reading, err := n.read()
	n.mu.Lock()
	defer n.mu.Unlock()
	now := time.Now()
	switch {
	case err != nil:
		n.last.Err, n.last.Tried = err, now
	case n.isSaved:
		n.last = Known{Reading: reading, At: reading.Snapshot.Machine.Taken}
	default:
		n.last = Known{Reading: reading, At: now}
	}
	close(n.busy)
	n.busy = nil
}

// look looks at all nodes at once.
func (s *Server) look(ctx context.Context) []Known {
	all := make([]Known, len(s.nodes))
	var work sync.WaitGroup
	for i, node := range s.nodes {
		work.Go(func() { all[i] = node.look(ctx) })
	}
	work.Wait()
	return all
}
