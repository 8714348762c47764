package agent

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

const (
	thisBoot = "boot-2"
	lastBoot = "boot-1"
)

var web = types.Ref{Namespace: "d", Name: "web"}

// anyUID takes every sandbox for one of the pod.
func anyUID(string) bool { return true }

// node is a journal, and the records that an agent makes of it.
type node struct {
	t       *testing.T
	dir     string
	records *records
}

func newNode(t *testing.T) *node {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "plexus")
	return &node{t: t, dir: dir, records: newRecords(dir, thisBoot, noLog())}
}

// attachment is one of pod d/web; what is empty has an ordinary value.
type attachment struct {
	id, uid, boot string
	age           time.Duration
	sinceBoot     int64
	pod           string
	torn          bool                 // its ADD did not come to its end
	released      int                  // attachments
	claimed       *types.ClaimedDevice // the device of the second one
}

func keyOf(id string) journal.Key {
	return journal.Key{ContainerID: id, Network: "plexus", IfName: "eth0"}
}

// write puts a record with two attachments into the journal, as plexus does.
func (n *node) write(r attachment) {
	n.t.Helper()
	if r.boot == "" {
		r.boot = thisBoot
	}
	if r.pod == "" {
		r.pod = web.Name
	}
	lock, err := journal.New(n.dir).Lock(n.t.Context(), r.id)
	check.Must(n.t, err)
	defer lock.Release()
	key := keyOf(r.id)
	check.Must(n.t, lock.Create(key, types.Intent{
		Format: types.RecordFormat, BootID: r.boot, Network: "plexus", Created: time.Unix(10_000, 0).Add(-r.age), SinceBoot: r.sinceBoot,
		Plan: types.Plan{
			Pod:         types.Pod{Namespace: web.Namespace, Name: r.pod, UID: r.uid},
			Sandbox:     types.Sandbox{ContainerID: r.id, IfName: "eth0"},
			Attachments: []types.Attachment{{Network: "m", Name: "m", Interface: "eth0", Config: "{}"}, {Network: "a", Name: "a", Interface: "net0", Config: "{}", Claimed: r.claimed}},
		},
	}))
	entries := []types.Entry{
		{Event: types.EventTrying},
		{Event: types.EventAttached, Result: []byte(`{}`)},
		{Event: types.EventTrying, Attachment: 1},
		{Event: types.EventAttached, Attachment: 1, Result: []byte(`{}`)},
	}
	if !r.torn {
		entries = append(entries, types.Entry{Event: types.EventComplete, Status: statusFor(r.id)})
	}
	for i := range r.released {
		entries = append(entries, types.Entry{Event: types.EventReleased, Attachment: 1 - i})
	}
	n.append(r.id, lock, entries...)
}

func (n *node) append(id string, lock *journal.Lock, entries ...types.Entry) {
	n.t.Helper()
	for _, entry := range entries {
		check.Must(n.t, lock.Append(keyOf(id), entry))
	}
}

// edit does something to the record of a container.
func (n *node) edit(id string, edit func(*journal.Lock) error) {
	n.t.Helper()
	lock, err := journal.New(n.dir).Lock(n.t.Context(), id)
	check.Must(n.t, err)
	defer lock.Release()
	check.Must(n.t, edit(lock))
}

// statusFor is the status in the record of a container. That of "long" is of many kilobytes.
func statusFor(id string) []types.NetworkStatus {
	if id == "long" {
		id = strings.Repeat("l", 20<<10)
	}
	return []types.NetworkStatus{{Name: "of-" + id, Interface: "eth0", Default: true}}
}

func annotationFor(t testing.TB, id string) string {
	t.Helper()
	text, err := types.FormatStatus(statusFor(id))
	check.Must(t, err)
	return text
}

// scan demands that a scan of the journal finds these pods changed.
func (n *node) scan(want ...string) {
	n.t.Helper()
	changed, err := n.records.scan()
	check.Must(n.t, err)
	n.wantPods(changed, want)
}

func (n *node) of(id string, want ...string) {
	n.t.Helper()
	changed, err := n.records.of(id)
	check.Must(n.t, err)
	n.wantPods(changed, want)
}

func (n *node) wantPods(changed []types.Ref, want []string) {
	n.t.Helper()
	var got []string
	for _, ref := range changed {
		got = append(got, ref.Name)
	}
	slices.Sort(got) // a scan has no order
	slices.Sort(want)
	if diff := cmp.Diff(want, got); diff != "" {
		n.t.Errorf("pods that changed (-want +got):\n%s", diff)
	}
}

// newest demands that the status of d/web is that of a container; "" for none.
func (n *node) newest(id string, is func(string) bool) {
	n.t.Helper()
	_, status, ok := n.records.newest(web, is)
	if id == "" {
		if ok {
			n.t.Errorf("a status: %s", status)
		}
		return
	}
	if want := annotationFor(n.t, id); !ok || status != want {
		n.t.Errorf("there is one: %v; it is %s, want %s", ok, status, want)
	}
}

// A folder that does not exist has no records, and is read when it does.
func TestRecordsOfNoFolder(t *testing.T) {
	n := newNode(t)
	n.scan()
	n.of("c1")
	n.write(attachment{id: "c1"})
	n.scan("web")
	n.newest("c1", anyUID)
}

// A scan reports records that changed, and no others.
func TestRecordsTellChanges(t *testing.T) {
	n := newNode(t)
	n.write(attachment{id: "c1"})
	n.write(attachment{id: "c2", pod: "db"})
	n.scan("web", "db")
	n.scan()
	n.of("c1")
	n.of("nobody")
	n.edit("c1", func(lock *journal.Lock) error {
		return lock.Append(keyOf("c1"), types.Entry{Event: types.EventReleased, Attachment: 1})
	})
	n.of("c2")
	n.of("c1", "web")
	n.scan()
	n.newest("", anyUID)
	n.edit("c1", func(lock *journal.Lock) error { return lock.Remove(keyOf("c1")) })
	n.of("c1", "web") // whose other sandbox may be the newest now
	n.of("c1")
	if got := n.records.tally(); got.complete != 1 {
		t.Errorf("a record that is removed counts: %+v", got)
	}
	n.edit("c2", func(lock *journal.Lock) error { return lock.Remove(keyOf("c2")) })
	n.scan("db")
	n.scan()
	if got := n.records.tally(); got != (tally{}) {
		t.Errorf("records that are removed count: %+v", got)
	}
}

func TestRecordsNewest(t *testing.T) {
	mine := func(uid string) bool { return uid == "u1" }
	for name, test := range map[string]struct {
		records []attachment
		want    string
		is      func(string) bool
	}{
		"complete":                            {records: []attachment{{id: "c1"}}, want: "c1"},
		"not complete":                        {records: []attachment{{id: "c1", torn: true}}},
		"of the last boot":                    {records: []attachment{{id: "c1", boot: lastBoot}}},
		"partly released":                     {records: []attachment{{id: "c1", released: 1}}},
		"all released":                        {records: []attachment{{id: "c1", released: 2}}},
		"of another pod":                      {records: []attachment{{id: "c1", pod: "db"}}},
		"of its UID":                          {records: []attachment{{id: "c1", uid: "u1"}}, is: mine, want: "c1"},
		"of an older pod":                     {records: []attachment{{id: "c1", uid: "u0"}}, is: mine},
		"of no UID":                           {records: []attachment{{id: "c1"}}, is: mine, want: "c1"},
		"the newest of two":                   {records: []attachment{{id: "c1", age: time.Minute}, {id: "c2"}}, want: "c2"},
		"whatever their names":                {records: []attachment{{id: "c1"}, {id: "c2", age: time.Minute}}, want: "c1"},
		"the newest, whatever the clock said": {records: []attachment{{id: "c1", sinceBoot: 1}, {id: "c2", age: time.Minute, sinceBoot: 2}}, want: "c2"},
		"the newest complete":                 {records: []attachment{{id: "c1", age: time.Minute}, {id: "c2", torn: true}}, want: "c1"},
		"the newest that lives":               {records: []attachment{{id: "c1", age: time.Minute}, {id: "c2", boot: lastBoot}}, want: "c1"},
		"the newest of its UID":               {records: []attachment{{id: "c1", age: time.Minute, uid: "u1"}, {id: "c2", uid: "u2"}}, is: mine, want: "c1"},
		"the newest not released":             {records: []attachment{{id: "c1", age: time.Minute}, {id: "c2", released: 1}}, want: "c1"},
		"nothing without any record":          {},
	} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			for _, r := range test.records {
				n.write(r)
			}
			_, err := n.records.scan()
			check.Must(t, err)
			if test.is == nil {
				test.is = anyUID
			}
			n.newest(test.want, test.is)
		})
	}
}

// What cannot be read is counted, is not published, and hides nothing else.
func TestRecordsUnreadable(t *testing.T) {
	newer := fmt.Sprintf(`{"format":%d}`, types.RecordFormat+1) + "\n"
	for name, content := range map[string]string{"damaged": "garbage\n", "empty": "", "newer": newer} {
		t.Run(name, func(t *testing.T) {
			n := newNode(t)
			n.write(attachment{id: "c1", age: time.Minute})
			n.write(attachment{id: "c2"})
			n.scan("web", "web")
			path := filepath.Join(n.dir, "c2@plexus@eth0.jsonl")
			check.Must(t, os.WriteFile(path, []byte(content), 0o600))
			n.scan()
			n.newest("c1", anyUID)
			want := tally{complete: 1, damaged: 1, attachments: 2}
			got := n.records.tally()
			got.bytes = 0
			if got != want {
				t.Errorf("tally %+v, want %+v", got, want)
			}
			if after, err := os.ReadFile(path); err != nil || string(after) != content {
				t.Errorf("the agent changed it: %q, %v", after, err)
			}
		})
	}
}

// Locks, intents that were never whole and records that were set aside are none.
func TestRecordsAmongOtherFiles(t *testing.T) {
	n := newNode(t)
	n.write(attachment{id: "c1"})
	for _, name := range []string{"c2@plexus@eth0.jsonl.new", "c3@plexus@eth0.jsonl.corrupt", "c4.lock", "readme", "c5.jsonl"} {
		check.Must(t, os.WriteFile(filepath.Join(n.dir, name), []byte("x"), 0o600))
	}
	check.Must(t, os.Mkdir(filepath.Join(n.dir, "c6@plexus@eth0.jsonl"), 0o700))
	n.scan("web")
	if got := n.records.tally(); got.complete != 1 || got.incomplete != 0 {
		t.Errorf("tally: %+v", got)
	}
}

func TestRecordsTally(t *testing.T) {
	n := newNode(t)
	n.write(attachment{id: "c1"})
	n.write(attachment{id: "c2", released: 1})
	n.write(attachment{id: "c3", torn: true})
	n.scan("web", "web", "web")
	got := n.records.tally()
	var bytes int64
	for _, id := range []string{"c1", "c2", "c3"} {
		info, err := os.Stat(filepath.Join(n.dir, id+"@plexus@eth0.jsonl"))
		check.Must(t, err)
		bytes += info.Size()
	}
	if want := (tally{complete: 2, incomplete: 1, attachments: 2 + 1 + 2, bytes: bytes}); got != want {
		t.Errorf("tally %+v, want %+v", got, want)
	}
}

// A folder that cannot be read is an error, and forgets nothing.
func TestRecordsFolderUnreadable(t *testing.T) {
	n := newNode(t)
	n.write(attachment{id: "c1"})
	whole := func(want bool) {
		t.Helper()
		check.Equal(t, "whole", n.records.areWhole(), want)
	}
	whole(false)
	n.scan("web")
	whole(true)
	moved := n.dir + ".moved"
	check.Must(t, os.Rename(n.dir, moved))
	check.Must(t, os.WriteFile(n.dir, nil, 0o600))
	if _, err := n.records.scan(); err == nil || !strings.Contains(err.Error(), "journal") {
		t.Errorf("got %v", err)
	}
	n.newest("c1", anyUID)
	whole(false)
	check.Must(t, os.Remove(n.dir))
	check.Must(t, os.Rename(moved, n.dir))
	n.scan()
	whole(true)
}

// A record that was given up is counted, and is none any more.
func TestRecordsGivenUp(t *testing.T) {
	n := newNode(t)
	n.write(attachment{id: "c1"})
	n.write(attachment{id: "c2", pod: "db"})
	n.scan("web", "db")
	n.edit("c1", func(lock *journal.Lock) error {
		_, err := lock.SetAside(keyOf("c1"), host.GivenUp)
		return err
	})
	n.scan("web")
	if got := n.records.tally(); got.givenUp != 1 || got.complete != 1 {
		t.Errorf("%+v", got)
	}
}
