package agent

import (
	"bytes"
	"context"
	"fmt"
	"log/slog"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// reporting is a node of which the records are checked against reports, at a time that the
// test sets.
type reporting struct {
	*node
	at  time.Time
	log bytes.Buffer
}

func newReporting(t *testing.T) *reporting {
	t.Helper()
	r := &reporting{node: newNode(t), at: time.Unix(10_000, 0)}
	r.records.log = slog.New(slog.NewTextHandler(&r.log, nil))
	r.records.reported.now = func() time.Time { return r.at }
	return r
}

// report is what a call at this time reports.
func (r *reporting) report(command, id string, code uint) { r.reportAt(command, id, code, r.at) }

func (r *reporting) reportAt(command, id string, code uint, started time.Time) {
	r.records.report(&types.CallReport{Command: command, ContainerID: id, Code: code, Started: started})
}

// later checks the records after the grace.
func (r *reporting) later() int {
	r.at = r.at.Add(reportGrace)
	return r.records.missingRecords()
}

// want demands that the records are found, or that the fault says these words.
func (r *reporting) want(words ...string) {
	r.t.Helper()
	err := r.records.reported.ready()
	if len(words) == 0 {
		check.Must(r.t, err)
		return
	}
	check.Error(r.t, err, append(words, "--state-dir", r.dir)...)
}

func TestReportedRecords(t *testing.T) {
	for name, test := range map[string]struct {
		calls   func(*reporting)
		missing int
		words   []string
	}{
		"nothing is reported":             {calls: func(*reporting) {}},
		"a record":                        {calls: func(r *reporting) { r.write(attachment{id: "c1"}); r.report("ADD", "c1", 0) }},
		"a record that cannot be read":    {calls: func(r *reporting) { r.write(attachment{id: "c1"}); r.damage("c1"); r.report("ADD", "c1", 0) }},
		"a record that comes":             {calls: func(r *reporting) { r.report("ADD", "c1", 0); r.write(attachment{id: "c1"}) }},
		"no folder":                       {calls: func(r *reporting) { r.report("ADD", "c1", 0) }, missing: 1, words: []string{"c1", "is missing"}},
		"another folder":                  {calls: func(r *reporting) { r.write(attachment{id: "other"}); r.report("ADD", "c1", 0) }, missing: 1, words: []string{"c1", "lacks"}},
		"another folder, of a CHECK":      {calls: func(r *reporting) { r.write(attachment{id: "other"}); r.report("CHECK", "c1", 0) }, missing: 1, words: []string{"c1"}},
		"a file in place of the folder":   {calls: func(r *reporting) { check.Must(r.t, os.WriteFile(r.dir, nil, 0o600)); r.report("ADD", "c1", 0) }, missing: 1, words: []string{"c1"}},
		"two of them":                     {calls: func(r *reporting) { r.report("ADD", "c1", 0); r.report("ADD", "c2", 0) }, missing: 2, words: []string{"c"}},
		"an ADD that failed":              {calls: func(r *reporting) { r.report("ADD", "c1", 7) }},
		"a DEL":                           {calls: func(r *reporting) { r.report("DEL", "c1", 0) }},
		"released meanwhile":              {calls: func(r *reporting) { r.report("ADD", "c1", 0); r.at = r.at.Add(time.Second); r.report("DEL", "c1", 0) }},
		"released meanwhile, with errors": {calls: func(r *reporting) { r.report("ADD", "c1", 0); r.at = r.at.Add(time.Second); r.report("DEL", "c1", 999) }},
		"released, and reported before":   {calls: func(r *reporting) { r.report("DEL", "c1", 0); r.reportAt("ADD", "c1", 0, r.at.Add(-time.Second)) }},
		"released, and attached again": {
			calls:   func(r *reporting) { r.reportAt("DEL", "c1", 0, r.at.Add(-time.Second)); r.report("ADD", "c1", 0) },
			missing: 1, words: []string{"c1"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			r := newReporting(t)
			test.calls(r)
			r.want() // the report of a DEL may be on its way
			if got := r.records.missingRecords(); got != 0 {
				t.Errorf("%d records are missing before the grace is over", got)
			}
			if got := r.later(); got != test.missing {
				t.Errorf("%d records are missing, want %d", got, test.missing)
			}
			r.want(test.words...)
			if got := r.later(); got != 0 {
				t.Errorf("%d records are counted again", got)
			}
			r.want(test.words...)
			if lines := strings.Count(r.log.String(), "\n"); lines != min(test.missing, 1) {
				t.Errorf("it logs:\n%s", &r.log)
			}
			_ = os.Remove(r.dir) // if it is a file
			r.write(attachment{id: "next"})
			r.report("ADD", "next", 0)
			r.want()
			if test.missing > 0 && !strings.Contains(r.log.String(), "found again") {
				t.Errorf("it logs:\n%s", &r.log)
			}
		})
	}
}

func (n *node) damage(id string) {
	n.t.Helper()
	check.Must(n.t, os.WriteFile(n.dir+"/"+id+"@plexus@eth0.jsonl", []byte("garbage\n"), 0o600))
}

// A folder that is removed and made anew while the agent runs is found by its path; what was
// lost with it was reported before.
func TestReportedFolderMadeAnew(t *testing.T) {
	r := newReporting(t)
	r.write(attachment{id: "c1"})
	r.report("ADD", "c1", 0)
	check.Must(t, os.RemoveAll(r.dir))
	r.report("CHECK", "c1", 0)
	r.later()
	r.want("c1", "is missing")
	r.write(attachment{id: "c2"})
	r.later()
	r.want("c1", "is missing") // no call has reported that one
	r.report("ADD", "c2", 0)
	r.want()
	r.scan("web")
	r.newest("c2", anyUID)
}

// A folder that is moved away and comes back is found without a further call.
func TestReportedFolderComesBack(t *testing.T) {
	r := newReporting(t)
	r.write(attachment{id: "c1"})
	check.Must(t, os.Rename(r.dir, r.dir+".moved"))
	r.report("ADD", "c1", 0)
	r.later()
	r.want("c1")
	check.Must(t, os.Rename(r.dir+".moved", r.dir))
	r.later()
	r.want()
}

// An agent in a container keeps a mount of the folder that was removed on the host: it
// cannot see the new one, and says what to do.
func TestReportedFolderRemovedUnderIt(t *testing.T) {
	r := newReporting(t)
	check.Must(t, os.Mkdir(r.dir, 0o700))
	folder, err := os.Open(r.dir)
	check.Must(t, err)
	defer folder.Close()
	check.Must(t, os.Remove(r.dir))
	mounted := newRecords(fmt.Sprintf("/proc/self/fd/%d", folder.Fd()), thisBoot, noLog())
	mounted.reported.now = r.records.reported.now
	mounted.report(&types.CallReport{Command: "ADD", ContainerID: "c1", Started: r.at})
	r.at = r.at.Add(reportGrace)
	if got := mounted.missingRecords(); got != 1 {
		t.Errorf("%d records are missing, want 1", got)
	}
	check.Error(t, mounted.reported.ready(), "the folder was removed", "restart the agent")
}

// What a call reports is compared with the journal.
func TestReportsReachTheRecords(t *testing.T) {
	a := newReporter(t, nil, noLog())
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		a.processReports(ctx)
	}()
	a.accept(&types.PublishRequest{Report: &types.CallReport{Command: "ADD", ContainerID: "c1"}})
	reported := a.publisher.records.reported
	check.Eventually(t, "the report", patience, func() error {
		reported.mu.Lock()
		defer reported.mu.Unlock()
		if !reported.last["c1"].leavesRecord {
			return fmt.Errorf("it has %v", reported.last)
		}
		return nil
	})
	cancel()
	<-done
}

// The agent counts a missing record, and says that plexus does not use its folder.
func TestMissingRecordIsCounted(t *testing.T) {
	n, _, p := publishing(t)
	p.metrics.registry.MustRegister(inUse{&nodeUse{now: time.Now, own: map[string]func() error{types.UseJournal: p.records.reported.ready}}})
	inUse := func() float64 { return value(t, p.metrics, "plexus_node_in_use", "reason", "journal") }
	if got := inUse(); got != 1 {
		t.Errorf("at first: %v, want 1", got)
	}
	p.records.reported.now = func() time.Time { return time.Unix(10_000, 0).Add(reportGrace) }
	p.records.reported.last["c1"] = lastCall{heard: time.Unix(10_000, 0), leavesRecord: true}
	p.start(t)
	check.Eventually(t, "the record to be counted", patience, func() error {
		return wantValue(t, p.metrics, 1, "plexus_journal_missing_records_total")
	})
	check.Error(t, p.records.reported.ready(), n.dir)
	if got := inUse(); got != 0 {
		t.Errorf("with a record missing: %v, want 0", got)
	}
}

// However many containers a peer makes up, what is kept of them has a bound.
func TestReportedIsBounded(t *testing.T) {
	r := newReporting(t)
	for id := range 3 * maxReports {
		r.report("ADD", strings.Repeat("x", id+1), 0)
	}
	if got := len(r.records.reported.last); got != maxReports {
		t.Errorf("%d calls are kept, want %d", got, maxReports)
	}
}
