package guest

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"
)

// outcome is how a guest ended.
type outcome struct {
	status      int           // of its tests' process; noStatus if it said none
	killedAfter time.Duration // 0 if it ended by itself
	console     string
	results     []*result // its top-level tests
	output      string    // of no test
}

// result is one test of the guest.
type result struct {
	name   string
	action string // "pass", "fail" or "skip"; "" if it did not end
	output strings.Builder
	tests  []*result // its subtests
}

// event is what `go tool test2json` makes of a line of the tests' output.
type event struct{ Action, Test, Output string }

// readEvents reads what the tests have printed into a file.
func (o *outcome) readEvents(path string) error {
	file, err := os.Open(path)
	if errors.Is(err, os.ErrNotExist) {
		return nil // the machine did not even start
	}
	if err != nil {
		return err
	}
	defer file.Close()
	convert := exec.Command("go", "tool", "test2json")
	convert.Stdin = file
	events, err := convert.Output()
	if err != nil {
		return fmt.Errorf("go tool test2json: %w", err)
	}
	return o.take(events)
}

// take makes results of events.
func (o *outcome) take(events []byte) error {
	known := map[string]*result{}
	var rest strings.Builder
	for decoder := json.NewDecoder(bytes.NewReader(events)); ; {
		var e event
		if err := decoder.Decode(&e); errors.Is(err, io.EOF) {
			o.output = rest.String()
			return nil
		} else if err != nil {
			return fmt.Errorf("read the tests' events: %w", err)
		}
		if e.Test == "" {
			rest.WriteString(e.Output)
			continue
		}
		r := known[e.Test]
		if r == nil {
			r = &result{name: e.Test}
			known[e.Test] = r
			o.insert(known, r)
		}
		r.apply(e)
	}
}

// insert puts a test under the nearest one that it is a subtest of: a subtest's own name
// may have a slash in it.
func (o *outcome) insert(known map[string]*result, r *result) {
	for name := r.name; name != ""; {
		name = name[:max(0, strings.LastIndex(name, "/"))]
		if parent := known[name]; parent != nil {
			parent.tests = append(parent.tests, r)
			return
		}
	}
	o.results = append(o.results, r)
}

func (r *result) apply(e event) {
	switch e.Action {
	case "output":
		if !strings.HasPrefix(e.Output, "=== ") {
			r.output.WriteString(e.Output)
		}
	case "pass", "fail", "skip":
		r.action = e.Action
	}
}

// report makes a subtest of the test, and of each of its own.
func (r *result) report(t *testing.T, parent string) {
	t.Helper()
	t.Run(strings.TrimPrefix(r.name, parent), func(t *testing.T) {
		for _, sub := range r.tests {
			sub.report(t, r.name+"/")
		}
		t.Log(strings.TrimSpace(r.output.String()))
		switch r.action {
		case "pass":
		case "skip":
			t.SkipNow()
		case "fail":
			t.Fail()
		default:
			t.Error("this test did not end in the guest")
		}
	})
}

// anyOf tells whether something is true of one of the tests or of their subtests.
func anyOf(results []*result, is func(*result) bool) bool {
	for _, r := range results {
		if is(r) || anyOf(r.tests, is) {
			return true
		}
	}
	return false
}

// fault gives what is wrong with the guest itself, and is no single test's failure.
func (o *outcome) fault() error {
	notEnded := anyOf(o.results, func(r *result) bool { return r.action == "" })
	failed := anyOf(o.results, func(r *result) bool { return r.action == "fail" })
	switch {
	case o.killedAfter > 0:
		return fmt.Errorf("the guest did not end within %v and was killed", o.killedAfter)
	case o.status == noStatus:
		return errors.New("the guest died, or never ran: it said no status")
	case len(o.results) == 0:
		return fmt.Errorf("the guest ran no test: it ended with status %d", o.status)
	case (o.status != 0) != (notEnded || failed):
		return fmt.Errorf("the guest's tests ended with status %d, which is not what they report", o.status)
	}
	return nil
}
