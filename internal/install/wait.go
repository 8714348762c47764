package install

import (
	"context"
	"fmt"
	"log/slog"
	"path/filepath"
	"time"

	"github.com/fsnotify/fsnotify"
)

// pace is how long what goes on for ever lets pass.
type pace struct {
	recheck time.Duration // between two checks without an event
	settle  time.Duration // of quiet, before a change is read
	remind  time.Duration // between log lines that say the same
	first   time.Duration // between the first two times that our file is put back
	longest time.Duration // between any two
}

var defaultPace = pace{
	recheck: 10 * time.Second,
	settle:  100 * time.Millisecond,
	remind:  time.Minute,
	first:   time.Second,
	longest: 5 * time.Minute,
}

// maxSettle is how many events in a row are waited for to end: a folder may never be quiet.
const maxSettle = 64

// watch reports changes in folders: by inotify, and, because a folder may not exist yet,
// be replaced or be out of inotify's reach, by checking again from time to time.
type watch struct {
	dirs    []string
	pace    pace
	log     *slog.Logger
	watcher *fsnotify.Watcher // nil if there is no inotify for us
}

// newWatch watches the folders on which the default network's readiness depends.
func (i *Installer) newWatch() *watch {
	w := &watch{dirs: []string{i.ConfDir, i.BinDir}, pace: i.pace, log: i.log}
	if i.ReadinessFile != "" {
		w.dirs = append(w.dirs, filepath.Dir(i.ReadinessFile))
	}
	var err error
	if w.watcher, err = fsnotify.NewWatcher(); err != nil {
		i.log.Warn("no inotify here (see sysctl fs.inotify.max_user_instances): changes are seen late", "every", w.pace.recheck, "error", err)
		return w
	}
	w.arm()
	return w
}

// arm watches the folders that are there; one that is watched already stays so.
func (w *watch) arm() {
	for _, dir := range w.dirs {
		if w.watcher != nil {
			_ = w.watcher.Add(dir) // one that is not there is checked from time to time
		}
	}
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
}

// wait returns when something may have changed, at the latest after atMost. The error
// is that of ctx.
func (w *watch) wait(ctx context.Context, atMost time.Duration) error {
	w.arm()
	timer := time.NewTimer(min(atMost, w.pace.recheck))
	defer timer.Stop()
	select {
	case <-ctx.Done():
	case <-timer.C:
	case <-w.events():
		w.calm(ctx)
	case err := <-w.faults():
		w.log.Debug("changes may have gone unseen", "error", err)
	}
	return ctx.Err()
}

// calm waits until no more events come for a while: a file may be written in pieces.
func (w *watch) calm(ctx context.Context) {
	for range maxSettle {
		select {
		case <-ctx.Done():
			return
		case <-time.After(w.pace.settle):
			return
		case <-w.events():
		}
	}
}

func (w *watch) events() <-chan fsnotify.Event {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Events
}

func (w *watch) faults() <-chan error {
	if w.watcher == nil {
		return nil
	}
	return w.watcher.Errors
}

// reminder decides when to log a thing: when it is new, and now and then.
type reminder struct {
	every time.Duration
	text  string
	last  time.Time
}

func (r *reminder) due(text string, now time.Time) bool {
	if text == r.text && now.Sub(r.last) < r.every {
		return false
	}
	r.text, r.last = text, now
	return true
}

// news logs a thing if it is new.
type news struct {
	log  *slog.Logger
	said map[string]string
}

func newNews(log *slog.Logger) *news { return &news{log: log, said: map[string]string{}} }

func (n *news) isNew(about, message string, args []any) bool {
	text := message + fmt.Sprint(args...)
	old := n.said[about]
	n.said[about] = text
	return text != old
}

func (n *news) info(about, message string, args ...any) {
	if n.isNew(about, message, args) {
		n.log.Info(message, args...)
	}
}

func (n *news) warn(about, message string, args ...any) {
	if n.isNew(about, message, args) {
		n.log.Warn(message, args...)
	}
}

// over makes whatever is said next about a thing new.
func (n *news) over(about string) { delete(n.said, about) }

// backoff spaces out what has to be done again and again.
type backoff struct {
	first, longest time.Duration
	pause          time.Duration // after the last time
	last           time.Time
}

// remaining is how long it is too early yet.
func (b *backoff) remaining(now time.Time) time.Duration {
	return max(0, b.last.Add(b.pause).Sub(now))
}

// strike notes that it was done; the next pause is twice as long, unless the last time
// is long ago.
func (b *backoff) strike(now time.Time) {
	if b.pause == 0 || now.Sub(b.last) > b.pause+b.longest {
		b.pause = b.first
	} else {
		b.pause = min(2*b.pause, b.longest)
	}
	b.last = now
}
