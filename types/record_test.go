package types

import (
	"encoding/json"
	"errors"
	"math"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
)

const thisBoot, otherBoot = "boot-1", "boot-0"

func testIntent() Intent {
	return Intent{
		Format:       RecordFormat,
		BootID:       thisBoot,
		Network:      "outer",
		NetNSInode:   4026532000,
		NetNSChanged: 1795853838648029750,
		NetNSCookie:  47477,
		MountNSInode: 4026531841,
		SinceBoot:    77,
		Created:      time.Date(2026, 8, 1, 12, 0, 0, 5, time.UTC),
		Plan: Plan{
			Pod:     Pod{Namespace: "ns", Name: "pod", UID: "u", Static: true, Annotations: map[string]string{AnnotationNetworks: "a"}},
			Sandbox: Sandbox{ContainerID: "c", NetNS: "/run/netns/x", IfName: "eth0", Args: [][2]string{{"K", "v"}}},
			Attachments: []Attachment{
				{Network: "master", Name: "master", Interface: "eth0", Default: true, Config: `{"name":"master"}`},
				{
					Network: "ns/a", Name: "a", Interface: "net0", Config: `{"name":"a","big":12345678901234567890123}`, Gateways: []string{"10.0.0.1"},
					CapabilityArgs: map[string]json.RawMessage{"mac": json.RawMessage(`"x"`)}, DeviceID: "0000:03:02.1", DeviceInfoFile: "/f", ResourceName: "r",
				},
				{Network: "ns/b", Name: "b", Interface: "net1", Config: `{"name":"b"}`},
			},
		},
	}
}

// recordOf encodes an intent and entries as a record.
func recordOf(t *testing.T, intent Intent, entries ...Entry) []byte {
	t.Helper()
	data, err := AppendLine(nil, intent)
	if err != nil {
		t.Fatal(err)
	}
	for _, entry := range entries {
		if data, err = AppendLine(data, entry); err != nil {
			t.Fatal(err)
		}
	}
	return data
}

func mustRecord(t *testing.T, data []byte) *Record {
	t.Helper()
	record, err := ParseRecord(data)
	if err != nil {
		t.Fatal(err)
	}
	return record
}

func TestRecordRoundTrip(t *testing.T) {
	status := []NetworkStatus{{Name: "master", Interface: "eth0", Default: true}}
	result := json.RawMessage(`{"cniVersion":"1.1.0"}`)
	got := mustRecord(t, recordOf(t, testIntent(),
		Entry{Event: EventTrying},
		Entry{Event: EventAttached, Result: json.RawMessage(`{}`)},
		Entry{Event: EventAttached, Result: result},
		Entry{Event: EventTrying, Attachment: 1},
		Entry{Event: EventComplete, Status: status},
		Entry{Event: EventPublished},
		Entry{Event: EventReleased, Attachment: 1},
		Entry{Event: EventFailed, Error: "no"},
		Entry{Event: EventFailed, Error: "still no"},
	))
	want := &Record{
		Intent:   testIntent(),
		Progress: []Progress{{Tried: true, Result: result}, {Tried: true, Released: true}, {}},
		Complete: true, Published: true, Status: status, Failures: 2,
	}
	wantEqual(t, want, got)
}

func TestRecordNew(t *testing.T) {
	wantEqual(t, mustRecord(t, recordOf(t, testIntent())), NewRecord(testIntent()))
}

func TestRecordApplyOne(t *testing.T) {
	untouched := []Progress{{}, {}, {}}
	for _, tc := range []struct {
		name  string
		entry Entry
		want  Record
	}{
		{"trying", Entry{Event: EventTrying, Attachment: 2}, Record{Progress: []Progress{{}, {}, {Tried: true}}}},
		{"attached was tried", Entry{Event: EventAttached, Attachment: 1}, Record{Progress: []Progress{{}, {Tried: true}, {}}}},
		{"released", Entry{Event: EventReleased}, Record{Progress: []Progress{{Released: true}, {}, {}}}},
		{"complete", Entry{Event: EventComplete}, Record{Progress: untouched, Complete: true}},
		{"published", Entry{Event: EventPublished}, Record{Progress: untouched, Published: true}},
		{"kept", Entry{Event: EventKept}, Record{Progress: untouched, Kept: 1}},
		{"failed", Entry{Event: EventFailed}, Record{Progress: untouched, Failures: 1}},
		{"an event of a later build", Entry{Event: "painted", Attachment: 1}, Record{Progress: untouched}},
		{"no event", Entry{}, Record{Progress: untouched}},
		{"an attachment beyond the plan", Entry{Event: EventReleased, Attachment: 3}, Record{Progress: untouched}},
		{"one before it", Entry{Event: EventTrying, Attachment: -1}, Record{Progress: untouched}},
		{"complete with such an attachment", Entry{Event: EventComplete, Attachment: 9}, Record{Progress: untouched, Complete: true}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			tc.want.Intent = testIntent()
			applied := NewRecord(testIntent())
			applied.Apply(tc.entry)
			wantEqual(t, &tc.want, applied)
			wantEqual(t, &tc.want, mustRecord(t, recordOf(t, testIntent(), tc.entry)))
		})
	}
}

// TestRecordTorn cuts a record at every byte: whatever is lost, the rest is read, and
// what the lost lines would have told is not taken for done.
func TestRecordTorn(t *testing.T) {
	entries := []Entry{{Event: EventTrying}, {Event: EventTrying, Attachment: 1}, {Event: EventReleased, Attachment: 1}}
	data := recordOf(t, testIntent())
	first := len(data) - 1 // where the intent is whole; its newline tells nothing
	ends := make([]int, len(entries))
	for i := range entries {
		data = append(data, strings.TrimPrefix(string(recordOf(t, testIntent(), entries[i])), string(data[:first+1]))...)
		ends[i] = len(data) - 1
	}
	for cut := range len(data) + 1 {
		record, err := ParseRecord(data[:cut])
		if cut < first {
			if !errors.Is(err, ErrDamagedRecord) {
				t.Fatalf("cut at byte %d, within the intent: %v", cut, err)
			}
			continue
		}
		want := NewRecord(testIntent())
		for i := range entries {
			if cut >= ends[i] {
				want.Apply(entries[i])
			}
		}
		if diff := cmp.Diff(want, record, sameJSON); diff != "" || err != nil {
			t.Fatalf("cut at byte %d of %d: %v (-want +got):\n%s", cut, len(data), err, diff)
		}
	}
}

func TestRecordBadLines(t *testing.T) {
	intent := string(recordOf(t, testIntent()))
	for _, line := range []string{"", "{", "null", "[]", `"trying"`, `{"event":1}`, `{"event":"trying","attachment":"0"}`, "\x00\x00\x00", `{"event":"tryi`} {
		t.Run(line, func(t *testing.T) {
			record := mustRecord(t, []byte(intent+line+"\n"+`{"event":"trying","attachment":1}`+"\n"))
			wantEqual(t, []Progress{{}, {Tried: true}, {}}, record.Progress)
		})
	}
}

func TestRecordRefused(t *testing.T) {
	for _, tc := range []struct {
		name, first string
		is          error
		word        string
	}{
		{"nothing", "", ErrDamagedRecord, "first line"},
		{"an empty line", "\n{}", ErrDamagedRecord, "first line"},
		{"zeros, as after a power cut", "\x00\x00\x00\n", ErrDamagedRecord, "first line"},
		{"half an intent", `{"format":1,"bootID":"b"`, ErrDamagedRecord, "first line"},
		{"null", `null`, ErrDamagedRecord, "no format"},
		{"no format", `{}`, ErrDamagedRecord, "no format"},
		{"format 0", `{"format":0}`, ErrDamagedRecord, "no format"},
		{"a negative format", `{"format":-1}`, ErrDamagedRecord, "no format"},
		{"a format of a wrong type", `{"format":"1"}`, ErrDamagedRecord, "first line"},
		{"a plan of a wrong type", `{"format":1,"plan":[]}`, ErrDamagedRecord, "first line"},
		{"no container", `{"format":1,"plan":{"attachments":[{}]}}`, ErrDamagedRecord, "no container ID"},
		{"no attachments", `{"format":1,"plan":{"sandbox":{"containerID":"c"}}}`, ErrDamagedRecord, "no attachments"},
		{"a newer format", `{"format":2,"plan":"of another shape"}`, ErrNewerRecord, "format 2, this one reads up to 1"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			record, err := ParseRecord([]byte(tc.first))
			check.Error(t, err, tc.word)
			if !errors.Is(err, tc.is) || record != nil {
				t.Errorf("got %v, %v, want %v", record, err, tc.is)
			}
		})
	}
}

func TestRecordPending(t *testing.T) {
	for _, tc := range []struct {
		name    string
		boot    string
		entries []Entry
		want    []int
	}{
		{"nothing was tried", thisBoot, nil, nil},
		{"in reverse", thisBoot, []Entry{{Event: EventTrying}, {Event: EventAttached}, {Event: EventTrying, Attachment: 1}}, []int{1, 0}},
		{"without what is released", thisBoot, []Entry{{Event: EventTrying}, {Event: EventTrying, Attachment: 1}, {Event: EventReleased, Attachment: 1}}, []int{0}},
		{"another boot: every one counts as tried", otherBoot, nil, []int{2, 1, 0}},
		{"but for what is released", otherBoot, []Entry{{Event: EventReleased, Attachment: 1}}, []int{2, 0}},
		{"all released", otherBoot, []Entry{{Event: EventReleased}, {Event: EventReleased, Attachment: 1}, {Event: EventReleased, Attachment: 2}}, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			record := mustRecord(t, recordOf(t, testIntent(), tc.entries...))
			wantEqual(t, tc.want, record.Pending(tc.boot))
		})
	}
}

func TestAppendLine(t *testing.T) {
	got, err := AppendLine([]byte("before\n"), Entry{Event: EventReleased, Attachment: 1, Error: "two\nlines"})
	if err != nil {
		t.Fatal(err)
	}
	if want := "before\n" + `{"event":"released","attachment":1,"error":"two\nlines"}` + "\n"; string(got) != want {
		t.Errorf("got %q\nwant %q", got, want)
	}
	_, err = AppendLine(nil, math.Inf(1))
	check.Error(t, err, "unsupported value")
}
