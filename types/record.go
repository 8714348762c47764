package types

import (
	"bytes"
	"cmp"
	"encoding/json"
	"errors"
	"fmt"
	"time"
)

// RecordFormat is the format of the records that this build writes and reads.
const RecordFormat = 1

// ErrNewerRecord is the error for a record that a newer Plexus wrote. It is left alone.
var ErrNewerRecord = errors.New("the record was written by a newer version of plexus")

// ErrDamagedRecord is the error for a record whose intent cannot be read.
var ErrDamagedRecord = errors.New("the record is damaged")

// Intent is the first line of a record: what an ADD is about to do. It is on disk
// before the first delegate runs and is never rewritten.
type Intent struct {
	Format int    `json:"format"`
	BootID string `json:"bootID"`
	// Network is the name of Plexus's own configuration, which with the container ID
	// and the interface identifies the record.
	Network string `json:"network"`
	// NetNSInode identifies the namespace itself behind the path in Plan.Sandbox, among
	// those of one time. NetNSChanged, the change time of the inode, and NetNSCookie, which
	// no other namespace of the boot has, tell it from a later one. What is 0 is not known.
	NetNSInode   uint64 `json:"netnsInode,omitempty"`
	NetNSChanged int64  `json:"netnsChanged,omitempty"` // in nanoseconds
	NetNSCookie  uint64 `json:"netnsCookie,omitempty"`
	// MountNSInode identifies the mount namespace in which the path was seen.
	MountNSInode uint64    `json:"mountnsInode,omitempty"`
	Created      time.Time `json:"created"`
	// SinceBoot is the nanoseconds since the boot at which it was created: the order of
	// records, which no change of the clock moves. It is 0 in older records.
	SinceBoot int64 `json:"sinceBoot,omitempty"`
	Plan      Plan  `json:"plan"`
}

// Age is when a record was created: the order of the sandboxes of a pod.
type Age struct {
	bootID    string
	sinceBoot int64
	created   time.Time
}

// Age gives when the record was created.
func (i *Intent) Age() Age { return Age{i.BootID, i.SinceBoot, i.Created} }

// Compare is negative if a is the older one. Within one boot the clock does not matter:
// somebody may have set it.
func (a Age) Compare(b Age) int {
	if a.bootID == b.bootID && a.sinceBoot != b.sinceBoot {
		return cmp.Compare(a.sinceBoot, b.sinceBoot)
	}
	return a.created.Compare(b.created)
}

// Events of a record's lines after the first.
const (
	EventTrying    = "trying"    // the plugins of an attachment are about to run
	EventRefused   = "refused"   // one of them answered with an error: no other was run after it
	EventAttached  = "attached"  // they made it; a later line replaces the result
	EventSetting   = "setting"   // a setting of an interface is about to change
	EventComplete  = "complete"  // the ADD has done everything
	EventReleased  = "released"  // an attachment is undone
	EventKept      = "kept"      // a call that was to release all of it failed; what is left is kept
	EventFailed    = "failed"    // releasing a dead sandbox failed, once more
	EventGivenUp   = "given-up"  // it failed for so long that no call tries again; the record is set aside
	EventPublished = "published" // the API has the status, or wants none of it
)

// Entry is one of the lines after the first: what happened.
type Entry struct {
	Event      string          `json:"event"`
	Attachment int             `json:"attachment,omitempty"`
	Result     json.RawMessage `json:"result,omitempty"`
	Status     []NetworkStatus `json:"status,omitempty"`
	Error      string          `json:"error,omitempty"`   // at most MaxEntryError bytes
	Command    string          `json:"command,omitempty"` // the CNI verb of the call that failed
	Plugin     string          `json:"plugin,omitempty"`  // that refused
	Code       uint            `json:"code,omitempty"`    // of the refusal; 0 if the plugin gave none
	Time       time.Time       `json:"time,omitzero"`     // when it failed
	Setting    *Setting        `json:"setting,omitempty"`
}

// Setting is a setting of the kernel for IPv6 on one interface, as it was.
type Setting struct {
	Interface string `json:"interface"`
	Name      string `json:"name"`
	Value     string `json:"value"`
}

// MaxEntryError bounds the message of an entry, in bytes.
const MaxEntryError = 4 << 10

// Progress is what has happened to one attachment.
type Progress struct {
	Tried    bool
	Released bool
	Result   json.RawMessage // the CNI result, in its plugin's version; nil if there is none
	Refused  *Refusal        // why there is no result, if a plugin answered with an error
	Settings []Setting       // to put back, as they were
}

// Refusal is the error that a plugin answered to an ADD.
type Refusal struct {
	Plugin string // the plain name of the executable
	Code   uint   // of its CNI error; 0 if it gave none
	Msg    string
}

// Record is a plan in the journal, with what has happened to it.
type Record struct {
	Intent
	Progress  []Progress // one for each attachment
	Complete  bool
	Published bool
	Status    []NetworkStatus // of a complete record
	Kept      int             // calls that were to release it, and failed
	Failures  int             // noted attempts to release it as a dead one that failed
	Failed    time.Time       // the last of them
}

// NewRecord gives a record to which nothing has happened yet.
func NewRecord(intent Intent) *Record {
	return &Record{Intent: intent, Progress: make([]Progress, len(intent.Plan.Attachments))}
}

// ParseRecord reads a record. A torn last line, and any other line after the first
// that cannot be read, is passed over: what it would have recorded is assumed not to
// have been done. The error is ErrNewerRecord or ErrDamagedRecord.
func ParseRecord(data []byte) (*Record, error) {
	first, rest, _ := bytes.Cut(data, []byte("\n"))
	var format struct {
		Format int `json:"format"`
	}
	if err := json.Unmarshal(first, &format); err != nil {
		return nil, fmt.Errorf("%w: first line: %w", ErrDamagedRecord, err)
	}
	if format.Format > RecordFormat {
		return nil, fmt.Errorf("%w: format %d, this one reads up to %d", ErrNewerRecord, format.Format, RecordFormat)
	}
	var intent Intent
	if err := json.Unmarshal(first, &intent); err != nil {
		return nil, fmt.Errorf("%w: first line: %w", ErrDamagedRecord, err)
	}
	if err := intent.check(); err != nil {
		return nil, fmt.Errorf("%w: first line: %w", ErrDamagedRecord, err)
	}
	record := NewRecord(intent)
	for line := range bytes.SplitSeq(rest, []byte("\n")) {
		var entry Entry
		if json.Unmarshal(line, &entry) == nil {
			record.Apply(entry)
		}
	}
	return record, nil
}

// IntentHead is the part of an intent that locates its sandbox.
type IntentHead struct {
	Format       int    `json:"format"`
	BootID       string `json:"bootID"`
	NetNSInode   uint64 `json:"netnsInode"`
	NetNSChanged int64  `json:"netnsChanged"`
	NetNSCookie  uint64 `json:"netnsCookie"`
	MountNSInode uint64 `json:"mountnsInode"`
	Plan         struct {
		Sandbox struct {
			ContainerID string `json:"containerID"`
			NetNS       string `json:"netns"`
		} `json:"sandbox"`
	} `json:"plan"`
}

// ParseIntentHead reads that part of a record's first line. The errors are those of
// ParseRecord, of which it finds fewer.
func ParseIntentHead(line []byte) (*IntentHead, error) {
	var head IntentHead
	err := json.Unmarshal(line, &head)
	switch {
	case err == nil && head.Format > RecordFormat:
		return nil, fmt.Errorf("%w: format %d, this one reads up to %d", ErrNewerRecord, head.Format, RecordFormat)
	case err == nil && (head.Format < 1 || head.Plan.Sandbox.ContainerID == ""):
		return nil, fmt.Errorf("%w: first line: no format, or no container ID", ErrDamagedRecord)
	case err != nil:
		return nil, fmt.Errorf("%w: first line: %w", ErrDamagedRecord, err)
	}
	return &head, nil
}

func (i *Intent) check() error {
	switch {
	case i.Format < 1:
		return errors.New("no format")
	case i.Plan.Sandbox.ContainerID == "":
		return errors.New("no container ID")
	case len(i.Plan.Attachments) == 0:
		return errors.New("no attachments")
	}
	return nil
}

// Apply brings the record to where it is after the entry. An entry for an attachment
// that the plan does not have, or of an event that this build does not know, changes
// nothing.
func (r *Record) Apply(e Entry) {
	switch e.Event {
	case EventComplete:
		r.Complete, r.Status = true, e.Status
	case EventPublished:
		r.Published = true
	case EventKept:
		r.Kept++
	case EventFailed:
		r.Failures++
		r.Failed = e.Time
	}
	if e.Attachment < 0 || e.Attachment >= len(r.Progress) {
		return
	}
	progress := &r.Progress[e.Attachment]
	switch e.Event {
	case EventTrying:
		progress.Tried = true
	case EventRefused:
		progress.Tried, progress.Refused = true, &Refusal{e.Plugin, e.Code, e.Error}
	case EventAttached:
		progress.Tried, progress.Result = true, e.Result
	case EventSetting:
		if e.Setting != nil {
			progress.Settings = append(progress.Settings, *e.Setting)
		}
	case EventReleased:
		progress.Released = true
	}
}

// Pending gives the attachments that are still to be released, in the order of
// releasing. Only the intent is sure to be on disk after a power cut, so that for a
// record of another boot every attachment counts as tried.
func (r *Record) Pending(bootID string) []int {
	var pending []int
	for i := len(r.Progress) - 1; i >= 0; i-- {
		tried := r.Progress[i].Tried || r.BootID != bootID
		if tried && !r.Progress[i].Released {
			pending = append(pending, i)
		}
	}
	return pending
}

// AppendLine encodes an intent or an entry as one line of a record, at the end of buf.
func AppendLine(buf []byte, line any) ([]byte, error) {
	data, err := json.Marshal(line)
	if err != nil {
		return nil, err
	}
	return append(append(buf, data...), '\n'), nil
}
