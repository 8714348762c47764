package delegate

import (
	"context"
	"encoding/binary"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// slow makes the DELs of a plugin take a second, which is too long for any of many that
// share a GC's time to the last.
func (n *specNode) slow(t *testing.T, plugin string) {
	t.Helper()
	text := strings.Replace(specScript, "note begin\n", "note begin\nsleep 1\n", 1)
	writeTestFile(t, filepath.Join(n.dir, "bin", plugin), text, 0o755)
}

// A GC whose time does not suffice releases some, and says so; the next go on.
func TestGCGoesOnNextTime(t *testing.T) {
	n := newSpecNode(t, "")
	n.slow(t, "first")
	n.engine.Config.HasValidAttachments = true
	for i := range 9 {
		n.deadRecord(t, fmt.Sprint("c", i))
	}
	left := 9
	for calls := 0; left > 0; calls++ {
		before := left
		err := n.gc(t, 8*time.Second)
		if left = len(n.scan(t).Records); left == before || calls > 8 {
			t.Fatalf("%d of %d are left after GC %d: %v", left, before, calls, err)
		}
		if left > 0 && (err == nil || !strings.Contains(err.Error(), fmt.Sprintf("of %d sandboxes that the runtime does not list", before))) {
			t.Errorf("with %d left of %d: %v", left, before, err)
		}
		if left == 0 && err != nil {
			t.Errorf("at the end: %v", err)
		}
	}
}

// Without any time nothing is begun.
func TestGCWithoutTime(t *testing.T) {
	n := newSpecNode(t, "")
	n.engine.Config.HasValidAttachments = true
	n.deadRecord(t, "c1")
	err := n.gc(t, time.Second)
	if types.CodeOf(err, 0) != types.CodeTryAgainLater || !strings.Contains(err.Error(), "no time for 1 of 1") || len(n.calls(t)) > 0 {
		t.Errorf("it gives %v, and runs %v", err, n.calls(t))
	}
}

func (n *specNode) gc(t *testing.T, bound time.Duration) error {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), bound)
	defer cancel()
	return n.engine.newCollection().releaseInvalid(ctx)
}

// What failed last time is last: it cannot keep the others waiting for ever. A file time in
// the future is of a clock that was set back.
func TestGCBeginsWithTheOldest(t *testing.T) {
	n := newSpecNode(t, "")
	g := n.engine.newCollection()
	now := time.Now()
	keys := map[time.Duration]journal.Key{}
	for _, ago := range []time.Duration{time.Second, time.Hour, -time.Hour, time.Minute} {
		key := n.deadRecord(t, fmt.Sprint("c", int(ago.Seconds())+10000))
		keys[ago] = key
		n.touch(t, key, now.Add(-ago))
	}
	want := []journal.Key{keys[-time.Hour], keys[time.Hour], keys[time.Minute], keys[time.Second]}
	if diff := cmp.Diff(want, g.oldestFirst(n.scan(t).Records)); diff != "" {
		t.Error(diff)
	}
}

// touch sets the time of a record's file.
func (n *specNode) touch(t *testing.T, key journal.Key, to time.Time) {
	t.Helper()
	path := filepath.Join(StateDir(n.engine.Config), fmt.Sprintf("%s@%s@%s.jsonl", key.ContainerID, key.Network, key.IfName))
	if err := os.Chtimes(path, to, to); err != nil {
		t.Fatal(err)
	}
}

// Of many that share the time, each gets enough for a plugin that takes a second or two.
func TestFairShare(t *testing.T) {
	share, cancel := fairShare(t.Context(), 3)
	defer cancel()
	if _, bounded := share.Deadline(); bounded {
		t.Error("a part of no deadline has one")
	}
	for name, c := range map[string]struct {
		left   time.Duration
		toCome int
		want   time.Duration
	}{
		"alone":                {50 * time.Second, 1, 50 * time.Second},
		"one of few":           {50 * time.Second, 5, 10 * time.Second},
		"one of many":          {50 * time.Second, 10000, leastShare},
		"never all, of little": {4 * time.Second, 3, 2 * time.Second},
	} {
		ctx, cancel := context.WithTimeout(t.Context(), c.left)
		share, cancelShare := fairShare(ctx, c.toCome)
		deadline, _ := share.Deadline()
		whole, _ := ctx.Deadline()
		if got := c.left - whole.Sub(deadline); got < c.want-time.Second/2 || got > c.want+time.Second/2 {
			t.Errorf("%s: %v, want %v", name, got, c.want)
		}
		cancelShare()
		cancel()
	}
}

func TestOfAllPods(t *testing.T) {
	list := func(plugin string) string {
		return `{"cniVersion":"1.1.0","name":"n","plugins":[` + plugin + `,{"type":"tuning"}]}`
	}
	for name, c := range map[string]struct{ config, shared, same, other string }{
		"a pod's arguments": {
			config: list(`{"type":"a","args":{"cni":{"secret":"x"}}}`),
			shared: list(`{"type":"a"}`),
			same:   list(`{"type":"a"}`),
			other:  list(`{"type":"b"}`),
		},
		"others' arguments": {
			config: list(`{"type":"a","args":{"cni":{"k":"1"},"labels":[1]}}`),
			shared: list(`{"args":{"labels":[1]},"type":"a"}`),
			same:   list(`{"type":"a","args":{"cni":{"k":"2"},"labels":[1]}}`),
			other:  list(`{"type":"a","args":{"labels":[2]}}`),
		},
		"a pod's device": {
			config: list(`{"type":"a","deviceID":"0000:01:00.1","ipam":{"dataDir":"/a"}}`),
			shared: list(`{"deviceID":"0000:01:00.1","ipam":{"dataDir":"/a"},"type":"a"}`),
			same:   list(`{"type":"a","deviceID":"0000:01:00.2","pciBusID":"0000:01:00.2","ipam":{"dataDir":"/a"}}`),
			other:  list(`{"type":"a","deviceID":"0000:01:00.1","ipam":{"dataDir":"/b"}}`),
		},
	} {
		shared, id, err := ofAllPods([]byte(c.config))
		if err != nil || string(shared) != c.shared {
			t.Errorf("%s: %s, %v", name, shared, err)
		}
		if _, same, _ := ofAllPods([]byte(c.same)); same != id {
			t.Errorf("%s: another network by %s", name, c.same)
		}
		if _, other, _ := ofAllPods([]byte(c.other)); other == id {
			t.Errorf("%s: the same network as %s", name, c.other)
		}
	}
	for _, bad := range []string{``, `[]`, `{"plugins":{}}`, `{"plugins":[1]}`} {
		if _, _, err := ofAllPods([]byte(bad)); err == nil {
			t.Errorf("%q is no error", bad)
		}
	}
}

// The folder is listed as often for many records as for few: what one costs does not depend
// on how many there are.
func TestGCListsTheFolderAsOftenForMany(t *testing.T) {
	listings := func(records int) int {
		n := newSpecNode(t, "")
		n.engine.Config.HasValidAttachments = true
		for i := range records {
			n.deadRecord(t, fmt.Sprint("c", i))
		}
		opened := opensOf(t, StateDir(n.engine.Config))
		if err := n.engine.GC(t.Context()); err != nil {
			t.Fatal(err)
		}
		if left := n.scan(t).Records; len(left) > 0 {
			t.Fatalf("left: %v", left)
		}
		return opened()
	}
	if few, many := listings(2), listings(9); few != many || few > 5 {
		t.Errorf("the folder is opened %d times for 2 records, %d times for 9", few, many)
	}
}

// opensOf counts how often a folder itself is opened from now on.
func opensOf(t *testing.T, dir string) func() int {
	t.Helper()
	watch, err := unix.InotifyInit1(unix.IN_NONBLOCK | unix.IN_CLOEXEC)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = unix.Close(watch) })
	if _, err := unix.InotifyAddWatch(watch, dir, unix.IN_OPEN|unix.IN_ONLYDIR); err != nil {
		t.Fatal(err)
	}
	return func() (opens int) {
		events := make([]byte, 1<<20)
		n, err := unix.Read(watch, events)
		if err != nil {
			t.Fatal(err)
		}
		for at := 0; at < n; {
			mask, length := binary.NativeEndian.Uint32(events[at+4:]), binary.NativeEndian.Uint32(events[at+12:])
			if length == 0 && mask&unix.IN_ISDIR != 0 { // without a name it is the folder
				opens++
			}
			at += unix.SizeofInotifyEvent + int(length)
		}
		return opens
	}
}
