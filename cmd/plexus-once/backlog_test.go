package main

import (
	"slices"
	"strconv"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// rec is a record to be.
type rec struct {
	container, pod, uid string
	age                 time.Duration
	sinceBoot           int64
	incomplete          bool
	published, released bool
	boot                string
}

func (r rec) key() journal.Key {
	return journal.Key{ContainerID: r.container, Network: "plexus", IfName: "eth0"}
}

func write(t *testing.T, j *journal.Journal, r rec) {
	t.Helper()
	lock, free, err := j.TryLock(r.container)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	intent := types.Intent{Format: types.RecordFormat, BootID: r.boot, Network: "plexus", Created: time.Now().Add(-r.age), SinceBoot: r.sinceBoot, Plan: types.Plan{
		Pod:         types.Pod{Namespace: "ns", Name: r.pod, UID: r.uid},
		Sandbox:     types.Sandbox{ContainerID: r.container, IfName: "eth0"},
		Attachments: []types.Attachment{{Name: "n"}},
	}}
	if r.pod == "" {
		intent.Plan.Pod = types.Pod{}
	}
	entries := []types.Entry{}
	if !r.incomplete {
		entries = append(entries, types.Entry{Event: types.EventComplete, Status: []types.NetworkStatus{{Name: r.container}}})
	}
	if r.released {
		entries = append(entries, types.Entry{Event: types.EventReleased})
	}
	if r.published {
		entries = append(entries, types.Entry{Event: types.EventPublished})
	}
	if err := lock.Create(r.key(), intent); err != nil {
		t.Fatal(err)
	}
	for _, e := range entries {
		if err := lock.Append(r.key(), e); err != nil {
			t.Fatal(err)
		}
	}
}

func unpublished(t *testing.T, j *journal.Journal) []string {
	t.Helper()
	keys, err := j.List()
	if err != nil {
		t.Fatal(err)
	}
	var left []string
	for _, key := range keys {
		record, err := j.Read(key)
		if err != nil {
			t.Fatal(err)
		}
		if !record.Published {
			left = append(left, key.ContainerID)
		}
	}
	return left
}

func TestBacklog(t *testing.T) {
	for name, test := range map[string]struct {
		records []rec
		fails   map[string]bool
		written []string
		left    []string
	}{
		"nothing":            {},
		"two pods":           {records: []rec{{container: "a", pod: "p"}, {container: "b", pod: "q"}}, written: []string{"status p=a", "status q=b"}},
		"no pod known":       {records: []rec{{container: "a"}, {container: "b"}}, written: []string{"status =a", "status =b"}},
		"published already":  {records: []rec{{container: "a", pod: "p", published: true}}},
		"not complete":       {records: []rec{{container: "a", pod: "p", incomplete: true}}, left: []string{"a"}},
		"newest of one pod":  {records: []rec{{container: "a", pod: "p", uid: "u"}, {container: "b", pod: "p", uid: "u", age: time.Hour}}, written: []string{"status p=a"}},
		"newest is complete": {records: []rec{{container: "a", pod: "p", uid: "u", incomplete: true}, {container: "b", pod: "p", uid: "u", age: time.Hour}}, written: []string{"status p=b"}, left: []string{"a"}},
		"newest is there":    {records: []rec{{container: "a", pod: "p", uid: "u", published: true}, {container: "b", pod: "p", uid: "u", age: time.Hour}}, written: []string{"status p=a"}},
		"released in part":   {records: []rec{{container: "a", pod: "p", released: true}}, left: []string{"a"}},
		"of another boot":    {records: []rec{{container: "a", pod: "p", boot: "another"}}, left: []string{"a"}},
		"two UIDs":           {records: []rec{{container: "a", pod: "p", uid: "u"}, {container: "b", pod: "p", uid: "v"}}, written: []string{"status p=a", "status p=b"}},
		"the call's own pod": {records: []rec{{container: "a", pod: "own", uid: "own"}}, left: []string{"a"}},
		"one fails":          {records: []rec{{container: "a", pod: "p"}, {container: "b", pod: "q"}}, fails: map[string]bool{"p": true}, written: []string{"status q=b"}, left: []string{"a"}},
	} {
		t.Run(name, func(t *testing.T) {
			j, f := journal.New(t.TempDir()), &fake{fails: test.fails}
			for _, r := range test.records {
				write(t, j, r)
			}
			(&backlog{journal: j, source: f, except: types.Pod{Namespace: "ns", Name: "own", UID: "own"}}).run(t.Context())
			slices.Sort(f.written)
			if diff := cmp.Diff(test.written, f.written); diff != "" {
				t.Error(diff)
			}
			if diff := cmp.Diff(test.left, unpublished(t, j)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestBacklogIsBounded(t *testing.T) {
	j, f := journal.New(t.TempDir()), &fake{}
	for i := range 8 {
		write(t, j, rec{container: "c" + strconv.Itoa(i), pod: "p" + strconv.Itoa(i)})
	}
	(&backlog{journal: j, source: f}).run(t.Context())
	if len(f.written) != maxPublished {
		t.Errorf("published %d, want %d", len(f.written), maxPublished)
	}
}

// TestBacklogAndANewerSandbox gives the pod a newer sandbox, with a published status,
// while the older one's is being written: the last word is the newer one's, also where
// somebody has set the clock back in between.
func TestBacklogAndANewerSandbox(t *testing.T) {
	for name, older := range map[string]rec{
		"by the clock":      {age: time.Hour},
		"a clock set back":  {age: -time.Hour, sinceBoot: 1},
		"an older Plexus's": {age: -time.Hour},
	} {
		t.Run(name, func(t *testing.T) { testNewerSandbox(t, older) })
	}
}

func testNewerSandbox(t *testing.T, older rec) {
	t.Helper()
	j, f := journal.New(t.TempDir()), &fake{}
	older.container, older.pod, older.uid = "old", "p", "u"
	write(t, j, older)
	first := true
	f.hook = func(types.Pod) {
		if first {
			write(t, j, rec{container: "new", pod: "p", uid: "u", published: true, sinceBoot: 2})
		}
		first = false
	}
	(&backlog{journal: j, source: f}).run(t.Context())
	if diff := cmp.Diff([]string{"status p=old", "status p=new"}, f.written); diff != "" {
		t.Error(diff)
	}
	if left := unpublished(t, j); left != nil {
		t.Errorf("%v are unpublished", left)
	}
}

func TestBacklogLeavesALockedRecord(t *testing.T) {
	j, f := journal.New(t.TempDir()), &fake{}
	write(t, j, rec{container: "a", pod: "p"})
	lock, free, err := j.TryLock("a")
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	(&backlog{journal: j, source: f}).run(t.Context())
	if diff := cmp.Diff([]string{"a"}, unpublished(t, j)); diff != "" {
		t.Error(diff)
	}
}
