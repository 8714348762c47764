package stream

import "sync/atomic"

// watch finds, heartbeat by heartbeat, that nothing moves any more.
type watch struct {
	count *atomic.Uint64
	last  uint64
	quiet int
}

// silent reports whether the count has stood still for too many heartbeats.
func (w *watch) silent() bool {
	if now := w.count.Load(); now != w.last {
		w.last, w.quiet = now, 0
		return false
	}
	w.quiet++
	return w.quiet >= patience
}

// rest begins anew.
func (w *watch) rest() { w.last, w.quiet = w.count.Load(), 0 }
