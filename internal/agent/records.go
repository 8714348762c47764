package agent

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"slices"
	"sync"
	"time"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// sandbox is the part of a journal record that is kept.
type sandbox struct {
	stamp    journal.Stamp
	pod      types.Pod
	age      types.Age
	alive    bool                // complete, of this boot, and nothing of it released
	complete bool                // its ADD succeeded
	damaged  bool                // it cannot be read
	status   string              // the value of the network-status annotation
	attached int                 // attachments
	parts    []types.ClaimPart   // of claims that it names
	claimed  []types.ClaimStatus // what they are to say of its devices
}

func (s *sandbox) ref() types.Ref { return types.Ref{Namespace: s.pod.Namespace, Name: s.pod.Name} }

// records are those of the journal, read again where they change. The agent writes none.
type records struct {
	dir     string
	journal *journal.Journal
	bootID  string
	log     *slog.Logger

	// claimChanged hears of the claims of every record that changed. It must not wait.
	claimChanged func(types.ClaimPart)

	missing  bool // the folder, at the last scan
	reported *reported

	mu      sync.Mutex
	known   map[journal.Key]*sandbox
	whole   bool // known has all records, as the last scan found them
	givenUp int  // records that were set aside because nothing could release them
}

func newRecords(stateDir, bootID string, log *slog.Logger) *records {
	return &records{
		dir: stateDir, journal: journal.New(stateDir), bootID: bootID, log: log, known: map[journal.Key]*sandbox{},
		reported: &reported{dir: stateDir, now: time.Now, last: map[string]lastCall{}},
	}
}

// scan reads the records that changed, and gives the pods of all that were added, changed
// or removed.
func (r *records) scan() ([]types.Ref, error) {
	r.checkFolder()
	listing, err := r.journal.Scan()
	r.mu.Lock()
	defer r.mu.Unlock()
	r.whole = err == nil
	if err != nil {
		return nil, err
	}
	r.givenUp = len(listing.GivenUp)
	listed := make(map[journal.Key]bool, len(listing.Records))
	var changed []types.Ref
	for _, key := range listing.Records {
		listed[key] = true
		changed = r.refresh(key, changed)
	}
	for key := range r.known {
		if !listed[key] {
			changed = r.forget(key, changed)
		}
	}
	return changed, nil
}

// areWhole reports whether a pod that has no record here has none in the journal: it was
// scanned, and could be read then.
func (r *records) areWhole() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.whole
}

// checkFolder logs when the folder is missing: on a new node it is for a while, with a
// wrong --state-dir for ever.
func (r *records) checkFolder() {
	_, err := os.Stat(r.dir)
	there := err == nil
	if !there && !r.missing {
		r.log.Warn("the folder of the journal is missing; no status is published until it exists", "folder", r.dir)
	}
	if there && r.missing {
		r.log.Info("the folder of the journal exists", "folder", r.dir)
	}
	r.missing = !there
}

// recorded reports whether a container has a record, which may be unreadable.
func (r *records) recorded(containerID string) bool {
	keys, err := r.journal.OfContainer(containerID)
	return err == nil && len(keys) > 0
}

// report compares the journal with what a call reports.
func (r *records) report(call *types.CallReport) {
	before := r.reported.ready()
	r.reported.add(call, r.recorded)
	r.logFault(before)
}

// logFault logs once that records are missing, and that they are found again.
func (r *records) logFault(before error) {
	switch now := r.reported.ready(); {
	case before == nil && now != nil:
		r.log.Error("a record that a call reported is missing", "error", now)
	case before != nil && now == nil:
		r.log.Info("the records that calls report are found again", "folder", r.dir)
	}
}

// missingRecords gives how many records are newly found to be missing although calls
// reported them.
func (r *records) missingRecords() int {
	before := r.reported.ready()
	missing := r.reported.check(r.recorded)
	r.logFault(before)
	return len(missing)
}

// of reads the records of one container.
func (r *records) of(containerID string) ([]types.Ref, error) {
	keys, err := r.journal.OfContainer(containerID)
	if err != nil {
		return nil, err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	var changed []types.Ref
	for key := range r.known {
		if key.ContainerID == containerID && !slices.Contains(keys, key) {
			changed = r.forget(key, changed)
		}
	}
	for _, key := range keys {
		changed = r.refresh(key, changed)
	}
	return changed, nil
}

// refresh reads one record if it has changed, and adds its pod to changed.
func (r *records) refresh(key journal.Key, changed []types.Ref) []types.Ref {
	stamp, err := r.journal.Stamp(key)
	if err != nil {
		return r.forget(key, changed)
	}
	if before := r.known[key]; before != nil && before.stamp == stamp {
		return changed
	}
	record, err := r.journal.Read(key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return r.forget(key, changed)
	case err != nil:
		if before := r.known[key]; before == nil || !before.damaged {
			r.log.Warn("read a record of the journal", "sandbox", key.ContainerID, "error", err)
		}
		if !errors.Is(err, types.ErrDamagedRecord) && !errors.Is(err, types.ErrNewerRecord) {
			stamp = journal.Stamp{} // the failure may end without a change of the file
		}
		r.known[key] = &sandbox{stamp: stamp, damaged: true}
		return changed
	}
	now := r.reduce(record)
	now.stamp = stamp
	r.known[key] = now
	r.reportClaims(now)
	if !now.pod.Known() {
		return changed
	}
	return append(changed, now.ref())
}

// forget drops a record that is gone, and adds its pod to changed: an older sandbox of the
// pod may be the newest now.
func (r *records) forget(key journal.Key, changed []types.Ref) []types.Ref {
	gone := r.known[key]
	delete(r.known, key)
	r.reportClaims(gone)
	if gone == nil || !gone.pod.Known() {
		return changed
	}
	return append(changed, gone.ref())
}

func (r *records) reduce(record *types.Record) *sandbox {
	s := &sandbox{
		pod: record.Plan.Pod, age: record.Age(), complete: record.Complete,
		parts: record.ClaimParts(), claimed: record.ClaimStatuses(r.bootID),
	}
	s.pod.Annotations = nil
	released := 0
	for _, progress := range record.Progress {
		if progress.Released {
			released++
		}
		if progress.Result != nil && !progress.Released {
			s.attached++
		}
	}
	s.alive = record.Complete && record.BootID == r.bootID && released == 0
	if s.alive {
		// A status that came out of a record can be written again.
		s.status, _ = types.FormatStatus(record.Status)
	}
	return s
}

// newest gives the status of the newest sandbox of a pod, by the UID under which the
// runtime knows it; false if no sandbox of it is attached.
func (r *records) newest(ref types.Ref, is func(uid string) bool) (pod types.Pod, status string, ok bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	var newest *sandbox
	for _, s := range r.known {
		if !s.alive || s.ref() != ref || s.pod.UID != "" && !is(s.pod.UID) {
			continue
		}
		if newest == nil || s.age.Compare(newest.age) > 0 {
			newest = s
		}
	}
	if newest == nil {
		return types.Pod{}, "", false
	}
	return newest.pod, newest.status, true
}

// tally is the size of the journal.
type tally struct {
	complete, incomplete, damaged, givenUp int
	attachments                            int
	bytes                                  int64
}

func (r *records) tally() (t tally) {
	r.mu.Lock()
	defer r.mu.Unlock()
	t.givenUp = r.givenUp
	for _, s := range r.known {
		t.bytes += s.stamp.Size
		t.attachments += s.attached
		switch {
		case s.damaged:
			t.damaged++
		case s.complete:
			t.complete++
		default:
			t.incomplete++
		}
	}
	return t
}
