package journal

import (
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

var testKey = Key{ContainerID: "c1", Network: "outer", IfName: "eth0"}

// intentOf is the intent of a record with one attachment.
func intentOf(key Key) types.Intent {
	return types.Intent{
		Format: types.RecordFormat, BootID: "b1", Network: key.Network, Created: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
		Plan: types.Plan{
			Sandbox:     types.Sandbox{ContainerID: key.ContainerID, IfName: key.IfName},
			Attachments: []types.Attachment{{Network: "podnet", Name: "podnet", Interface: key.IfName, Config: "{}"}},
		},
	}
}

// locked gives a journal in a folder that does not exist yet, and the lock of c1.
func locked(t *testing.T) (*Journal, *Lock) {
	t.Helper()
	j := New(filepath.Join(t.TempDir(), "plexus"))
	return j, take(t, j, "c1")
}

func take(t *testing.T, j *Journal, containerID string) *Lock {
	t.Helper()
	lock, free, err := j.TryLock(containerID)
	if err != nil || !free {
		t.Fatalf("lock of %s: free %v, %v", containerID, free, err)
	}
	t.Cleanup(func() { _ = lock.file.Close() })
	return lock
}

func create(t *testing.T, lock *Lock, key Key) {
	t.Helper()
	if err := lock.Create(key, intentOf(key)); err != nil {
		t.Fatal(err)
	}
}

// files gives the names in the journal's folder.
func files(t *testing.T, j *Journal) []string {
	t.Helper()
	names, err := j.names()
	if err != nil {
		t.Fatal(err)
	}
	slices.Sort(names)
	return names
}

func write(t *testing.T, path, content string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(content), 0o600); err != nil {
		t.Fatal(err)
	}
}

func read(t *testing.T, j *Journal, key Key) *types.Record {
	t.Helper()
	record, err := j.Read(key)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func TestRecordFromBirthToEnd(t *testing.T) {
	j, lock := locked(t)
	if _, err := j.Read(testKey); !errors.Is(err, fs.ErrNotExist) {
		t.Fatalf("before: %v, want %v", err, fs.ErrNotExist)
	}
	create(t, lock, testKey)
	if diff := cmp.Diff(types.NewRecord(intentOf(testKey)), read(t, j, testKey)); diff != "" {
		t.Errorf("the intent: %s", diff)
	}
	for _, entry := range []types.Entry{
		{Event: types.EventTrying},
		{Event: types.EventAttached, Result: []byte(`{"ips":[]}`)},
		{Event: types.EventComplete, Status: []types.NetworkStatus{{Name: "podnet", Default: true}}},
	} {
		if err := lock.Append(testKey, entry); err != nil {
			t.Fatal(err)
		}
	}
	want := types.NewRecord(intentOf(testKey))
	want.Complete, want.Status = true, []types.NetworkStatus{{Name: "podnet", Default: true}}
	want.Progress[0] = types.Progress{Tried: true, Result: []byte(`{"ips":[]}`)}
	if diff := cmp.Diff(want, read(t, j, testKey)); diff != "" {
		t.Errorf("after its lines: %s", diff)
	}
	if diff := cmp.Diff([]string{"c1.lock", "c1@outer@eth0.jsonl"}, files(t, j)); diff != "" {
		t.Errorf("files: %s", diff)
	}
	for range 2 { // what is gone is removed already
		if err := lock.Remove(testKey); err != nil {
			t.Fatal(err)
		}
	}
	lock.Release()
	if left := files(t, j); len(left) != 0 {
		t.Errorf("left: %v", left)
	}
}

// Only root reads what is in a record: plans have the configurations in them.
func TestRecordIsPrivate(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	for path, want := range map[string]fs.FileMode{j.dir: 0o700, j.path(testKey): 0o600, j.lockPath("c1"): 0o600} {
		info, err := os.Stat(path)
		if err != nil || info.Mode().Perm() != want {
			t.Errorf("%s: %v, %v, want %v", path, info.Mode().Perm(), err, want)
		}
	}
}

func TestCreateReplacesWhatIsThere(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	if err := lock.Append(testKey, types.Entry{Event: types.EventTrying}); err != nil {
		t.Fatal(err)
	}
	write(t, j.path(testKey)+newSuffix, "torn")
	create(t, lock, testKey)
	if diff := cmp.Diff(types.NewRecord(intentOf(testKey)), read(t, j, testKey)); diff != "" {
		t.Error(diff)
	}
}

func TestAppendNeedsARecord(t *testing.T) {
	j, lock := locked(t)
	err := lock.Append(testKey, types.Entry{Event: types.EventTrying})
	if !errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), "record of container c1, network outer, interface eth0") {
		t.Errorf("got %v", err)
	}
	if left := files(t, j); len(left) != 1 {
		t.Errorf("a record was made without an intent: %v", left)
	}
}

func TestTornLines(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	for _, torn := range []string{`{"event":"att`, "\x00\x00\x00", `{"event":"complete"`, "garbage\n", "\n\n"} {
		file, err := os.OpenFile(j.path(testKey), os.O_APPEND|os.O_WRONLY, 0)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := file.WriteString(torn); err != nil {
			t.Fatal(err)
		}
		_ = file.Close()
		if record := read(t, j, testKey); record.Complete || record.Progress[0].Released {
			t.Errorf("%q tells something: %+v", torn, record)
		}
		if err := lock.Append(testKey, types.Entry{Event: types.EventFailed, Error: torn}); err != nil {
			t.Fatal(err)
		}
	}
	if record := read(t, j, testKey); record.Failures != 5 {
		t.Errorf("%d of 5 lines that were appended after torn ones are read", record.Failures)
	}
}

func TestReadRefuses(t *testing.T) {
	j, lock := locked(t)
	line := func(intent types.Intent) string {
		data, err := types.AppendLine(nil, intent)
		if err != nil {
			t.Fatal(err)
		}
		return string(data)
	}
	other := intentOf(testKey)
	other.Plan.Sandbox.ContainerID = "c2"
	newer := intentOf(testKey)
	newer.Format++
	for name, test := range map[string]struct {
		content string
		want    error
		words   string
	}{
		"empty":             {"", types.ErrDamagedRecord, "first line"},
		"torn":              {line(intentOf(testKey))[:40], types.ErrDamagedRecord, "first line"},
		"zeros":             {strings.Repeat("\x00", 4096), types.ErrDamagedRecord, "first line"},
		"of another":        {line(other), types.ErrDamagedRecord, "container c2"},
		"of a newer plexus": {line(newer), types.ErrNewerRecord, "format 2"},
	} {
		t.Run(name, func(t *testing.T) {
			write(t, j.path(testKey), test.content)
			record, err := j.Read(testKey)
			if !errors.Is(err, test.want) || record != nil {
				t.Fatalf("got %v and %v, want %v", record, err, test.want)
			}
			for _, words := range []string{testKey.String(), test.words} {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("does not say %q: %v", words, err)
				}
			}
		})
	}
	if err := lock.Remove(testKey); err != nil {
		t.Errorf("a record that cannot be read cannot be removed: %v", err)
	}
}

func TestSetAsideNeverOverwrites(t *testing.T) {
	j, lock := locked(t)
	for n, want := range []string{".corrupt", ".corrupt.2", ".corrupt.3"} {
		write(t, j.path(testKey), fmt.Sprint("damaged ", n))
		aside, err := lock.SetAside(testKey, host.Corrupt)
		if err != nil || aside != j.path(testKey)+want {
			t.Fatalf("set aside as %s, %v, want %s", aside, err, want)
		}
		if data, err := os.ReadFile(aside); err != nil || string(data) != fmt.Sprint("damaged ", n) {
			t.Errorf("%s: %q, %v", aside, data, err)
		}
	}
	if _, err := lock.SetAside(testKey, host.Corrupt); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("with nothing to set aside: %v", err)
	}
	keys, err := j.List()
	if err != nil || len(keys) != 0 {
		t.Errorf("what was set aside is listed: %v, %v", keys, err)
	}
	lock.Release()
	if left := files(t, j); len(left) != 3 {
		t.Errorf("after the release: %v", left)
	}
}

func TestList(t *testing.T) {
	j, lock := locked(t)
	second := Key{ContainerID: "c1", Network: "outer", IfName: "eth@1"} // only the interface may have the separator
	third := Key{ContainerID: "c10", Network: "outer", IfName: "eth0"}
	create(t, lock, testKey)
	create(t, lock, second)
	create(t, take(t, j, "c10"), third)
	for _, name := range []string{"x@y@z.jsonl.new", "x@y.jsonl", "x@y@z.json", "x@y@z.jsonl.corrupt", "notes"} {
		write(t, filepath.Join(j.dir, name), "")
	}
	check := func(what string, want []Key, list func() ([]Key, error)) {
		t.Helper()
		got, err := list()
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Errorf("%s: %s", what, diff)
		}
	}
	check("all", []Key{third, testKey, second}, j.List)
	check("of c1", []Key{testKey, second}, func() ([]Key, error) { return j.OfContainer("c1") })
	check("of none", nil, func() ([]Key, error) { return j.OfContainer("c") })
	check("leftovers", []Key{{ContainerID: "x", Network: "y", IfName: "z"}}, func() ([]Key, error) {
		listing, err := j.Scan()
		return listing.Leftovers, err
	})
	check("of no folder", nil, New(filepath.Join(j.dir, "gone")).List)
	if _, err := New(filepath.Join(j.dir, "notes")).List(); err == nil {
		t.Error("a file can be listed")
	}
}

func TestLeftoverGoesWithTheRecord(t *testing.T) {
	j, lock := locked(t)
	create(t, lock, testKey)
	write(t, j.path(testKey)+newSuffix, "torn")
	if err := lock.RemoveLeftover(testKey); err != nil {
		t.Fatal(err)
	}
	if listing, err := j.Scan(); err != nil || len(listing.Leftovers) != 0 {
		t.Errorf("left: %v, %v", listing.Leftovers, err)
	}
	read(t, j, testKey) // which is still there
	write(t, j.path(testKey)+newSuffix, "torn")
	if err := lock.Remove(testKey); err != nil {
		t.Fatal(err)
	}
	if left := files(t, j); len(left) != 1 {
		t.Errorf("left: %v", left)
	}
}

func TestBadKeys(t *testing.T) {
	j, lock := locked(t)
	long := strings.Repeat("x", 120)
	for _, key := range []Key{
		{"", "n", "i"},
		{"c", "", "i"},
		{"c", "n", ""},
		{"../c", "n", "i"},
		{"c", "a/b", "i"},
		{"c", "n", "i/0"},
		{"c\n", "n", "i"},
		{"c\x00", "n", "i"},
		{"c@d", "n", "i"},
		{"c", "n@m", "i"},
		{long, long, "eth0"},
	} {
		if err := lock.Create(key, intentOf(key)); !errors.Is(err, ErrBadKey) {
			t.Errorf("create %q: %v, want %v", key.file(), err, ErrBadKey)
		}
	}
	for _, containerID := range []string{"", "../c", "c@d", strings.Repeat("x", 255)} {
		if _, _, err := j.TryLock(containerID); !errors.Is(err, ErrBadKey) {
			t.Errorf("lock %q: %v, want %v", containerID, err, ErrBadKey)
		}
	}
	// The longest that a runtime uses.
	create(t, lock, Key{strings.Repeat("0", 64), strings.Repeat("n", 64), "eth0"})
}

func TestTouched(t *testing.T) {
	j, lock := locked(t)
	if _, err := j.Touched(testKey); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("without a record: %v", err)
	}
	create(t, lock, testKey)
	old := time.Date(2020, 1, 1, 0, 0, 0, 0, time.UTC)
	if err := os.Chtimes(j.path(testKey), old, old); err != nil {
		t.Fatal(err)
	}
	before, err := j.Touched(testKey)
	if err != nil || !before.Equal(old) {
		t.Errorf("touched %v, %v", before, err)
	}
	if err := lock.Append(testKey, types.Entry{Event: types.EventFailed}); err != nil {
		t.Fatal(err)
	}
	if after, err := j.Touched(testKey); err != nil || !after.After(old) {
		t.Errorf("after a line: touched %v, %v", after, err)
	}
	if err := os.Chtimes(j.path(testKey), old, old); err != nil {
		t.Fatal(err)
	}
	if err := lock.Touch(testKey); err != nil {
		t.Fatal(err)
	}
	if after, err := j.Touched(testKey); err != nil || !after.After(old) {
		t.Errorf("after a touch: touched %v, %v", after, err)
	}
	if err := lock.Touch(Key{"c1", "outer", "eth9"}); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a touch of no record: %v", err)
	}
}

// FuzzJournalRead gives the journal files as a power cut, or anybody, may leave them.
func FuzzJournalRead(f *testing.F) {
	line, err := types.AppendLine(nil, intentOf(testKey))
	if err != nil {
		f.Fatal(err)
	}
	for _, seed := range []string{
		"", string(line), string(line[:len(line)/2]), string(line) + `{"event":"attached","attachment":0,"result":{}}` + "\n" + `{"event":"comp`,
		string(line) + `{"event":"released","attachment":-1}` + "\n{}\nnull\n[]\n" + `{"event":"trying","attachment":99}`, "\x00\x00", "{}", `{"format":2}`,
	} {
		f.Add([]byte(seed))
	}
	j := New(f.TempDir())
	lock, _, err := j.TryLock(testKey.ContainerID)
	if err != nil {
		f.Fatal(err)
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		write(t, j.path(testKey), string(data))
		record, err := j.Read(testKey)
		if err != nil {
			if !errors.Is(err, types.ErrDamagedRecord) && !errors.Is(err, types.ErrNewerRecord) {
				t.Errorf("refused for no reason that callers know: %v", err)
			}
			return
		}
		// What is accepted can be gone on with: the next line is read, and nothing is lost.
		if err := lock.Append(testKey, types.Entry{Event: types.EventFailed, Attachment: -1}); err != nil {
			t.Fatal(err)
		}
		again := read(t, j, testKey)
		record.Failures++
		if diff := cmp.Diff(record, again); diff != "" {
			t.Errorf("after one more line: %s", diff)
		}
	})
}

// What reports whether a sandbox lives is found without reading its whole record.
func TestWhereaboutsAndStamp(t *testing.T) {
	j, lock := locked(t)
	key := Key{ContainerID: "c1", Network: "n", IfName: "eth0"}
	if _, err := j.Whereabouts(key); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("of none: %v", err)
	}
	intent := intentOf(key)
	intent.BootID, intent.Plan.Sandbox.NetNS = "boot", "/run/netns/x"
	intent.NetNSInode, intent.NetNSChanged, intent.NetNSCookie, intent.MountNSInode = 42, 43, 44, 45
	if err := lock.Create(key, intent); err != nil {
		t.Fatal(err)
	}
	before, err := j.Stamp(key)
	if err != nil {
		t.Fatal(err)
	}
	if err := lock.Append(key, types.Entry{Event: types.EventTrying}); err != nil {
		t.Fatal(err)
	}
	got, err := j.Whereabouts(key)
	want := Whereabouts{BootID: "boot", NetNS: "/run/netns/x", ID: host.NetNSID{Inode: 42, Changed: 43, Cookie: 44}, MountNS: 45}
	if of := WhereaboutsOf(types.NewRecord(intent)); of != want {
		t.Errorf("of the record: %+v", of)
	}
	if diff := cmp.Diff(want, got); diff != "" || err != nil {
		t.Errorf("%v (-want +got):\n%s", err, diff)
	}
	if after, err := j.Stamp(key); err != nil || after == before {
		t.Errorf("the stamp did not change with the record: %+v, %v", after, err)
	}
	write(t, j.path(key), "not a record")
	if _, err := j.Whereabouts(key); !errors.Is(err, types.ErrDamagedRecord) {
		t.Errorf("of a damaged one: %v", err)
	}
}
