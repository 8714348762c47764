package install

import (
	"context"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/fsnotify/fsnotify"

	"github.com/plexus-cni/plexus/internal/host"
)

// pace is how long what goes on for ever lets pass.
type pace struct {
	recheck time.Duration // between two checks without an event
	settle  time.Duration // of quiet, before a change is read
	urgent  time.Duration // the same, once our file is gone: pods start without plexus
	remind  time.Duration // between log lines that say the same
	first   time.Duration // between the first two times that our file is put back
	longest time.Duration // between any two
}

var defaultPace = pace{
	recheck: 10 * time.Second,
	settle:  100 * time.Millisecond,
	urgent:  10 * time.Millisecond,
	remind:  time.Minute,
	first:   time.Second,
	longest: 5 * time.Minute,
}

// maxSettle is how many events in a row are waited for to end: a folder may never be quiet.
const maxSettle = 64

// maxNames bounds the names on the way to a folder, for links that lead in a circle.
const maxNames = 40

// watch reports changes in folders, and changes of what their names lead to: by inotify,
// and, because some changes are out of inotify's reach, by checking again from time to time.
type watch struct {
	dirs    []string
	onHost  []string        // their paths on the host, if those are there too
	names   map[string]bool // whose change leads to another folder
	ours    string          // our file
	pace    pace
	log     *slog.Logger
	watcher *fsnotify.Watcher // nil if there is no inotify for us
}

// newWatch watches the folders on which the default network's readiness depends.
func (i *Installer) newWatch() *watch {
	w := &watch{dirs: []string{filepath.Clean(i.ConfDir), filepath.Clean(i.BinDir)}, names: map[string]bool{}, ours: filepath.Clean(i.confPath()), pace: i.pace, log: i.log}
	for here, onHost := range map[string]string{i.ConfDir: i.HostConfDir, i.BinDir: i.HostBinDir} {
		if here != onHost && host.SameDir(here, onHost) {
			w.onHost = append(w.onHost, filepath.Clean(onHost))
		}
	}
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

// arm watches the folders that the names lead to now, and the folders that have the names:
// a folder is removed and made again, or a link is turned to another one.
func (w *watch) arm() {
	if w.watcher == nil {
		return
	}
	for _, dir := range w.dirs {
		_ = w.watcher.Add(dir) // one that is not there is checked from time to time
	}
	for _, dir := range slices.Concat(w.dirs, w.onHost) {
		for _, name := range namesOf(dir) {
			w.names[name], w.names[filepath.Dir(name)] = true, true
			_ = w.watcher.Add(filepath.Dir(name))
		}
	}
}

// namesOf gives the names that decide which folder a path leads to: its own, those of the
// links on the way, and those that the links lead to.
func namesOf(path string) []string {
	names := []string{path}
	for n := 0; n < len(names) && len(names) < maxNames; n++ {
		for at := names[n]; at != filepath.Dir(at); at = filepath.Dir(at) {
			target, err := os.Readlink(at)
			if err != nil {
				continue
			}
			if !filepath.IsAbs(target) {
				target = filepath.Join(filepath.Dir(at), target)
			}
			for _, name := range []string{at, filepath.Join(target, strings.TrimPrefix(names[n], at))} {
				if !slices.Contains(names, name) {
					names = append(names, name)
				}
			}
		}
	}
	return names
}

// concerns reports whether an event is in a watched folder, or of a name on the way to one.
func (w *watch) concerns(event fsnotify.Event) bool {
	return w.names[event.Name] || slices.Contains(w.dirs, filepath.Dir(event.Name))
}

func (w *watch) close() {
	if w.watcher != nil {
		_ = w.watcher.Close()
	}
}

// wait returns when something may have changed, at the latest after atMost. The error
// is that of ctx.
func (w *watch) wait(ctx context.Context, atMost time.Duration) error {
	timer := time.NewTimer(min(atMost, w.pace.recheck))
	defer timer.Stop()
	defer w.arm() // before the caller reads the folders, so that nothing is missed between
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-timer.C:
			return nil
		case event := <-w.events():
			if w.concerns(event) {
				w.calm(ctx, w.quiet(event))
				return ctx.Err()
			}
		case err := <-w.faults():
			w.log.Debug("changes may have gone unseen", "error", err)
			return nil
		}
	}
}

// quiet is how long no more events are to come after this one. It is never nothing: who
// removes our file may be about to remove its folder.
func (w *watch) quiet(event fsnotify.Event) time.Duration {
	if event.Name == w.ours && (event.Has(fsnotify.Remove) || event.Has(fsnotify.Rename)) {
		return w.pace.urgent
	}
	return w.pace.settle
}

// calm waits until no more events come for a while: a file may be written in pieces.
func (w *watch) calm(ctx context.Context, quiet time.Duration) {
	for range maxSettle {
		select {
		case <-ctx.Done():
			return
		case <-time.After(quiet):
			return
		case event := <-w.events():
			quiet = min(quiet, w.quiet(event))
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
