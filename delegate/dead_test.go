package delegate

import (
	"context"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// deadRecord is the record of a sandbox that is gone, all of whose networks were tried.
func (n *specNode) deadRecord(t *testing.T, containerID string) journal.Key {
	t.Helper()
	return n.deadRecordOf(t, containerID, "")
}

// deadRecordOf is one whose last network has a device, unless that is "".
func (n *specNode) deadRecordOf(t *testing.T, containerID, device string) journal.Key {
	t.Helper()
	plan, err := n.engine.plan(t.Context(), n.call)
	if err != nil {
		t.Fatal(err)
	}
	plan.Sandbox.ContainerID = containerID
	plan.Attachments[len(plan.Attachments)-1].DeviceID = device
	lock, free, err := n.engine.Journal().TryLock(containerID)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	key := n.engine.key(&plan.Sandbox)
	intent := types.Intent{Format: types.RecordFormat, BootID: "another-boot", Network: n.engine.Config.Name, Created: time.Now(), Plan: *plan}
	if err := lock.Create(key, intent); err != nil {
		t.Fatal(err)
	}
	return key
}

// scan lists what is in the journal.
func (n *specNode) scan(t *testing.T) journal.Listing {
	t.Helper()
	listing, err := n.engine.Journal().Scan()
	if err != nil {
		t.Fatal(err)
	}
	return listing
}

// deadKeys gives the dead records that a call would release.
func (n *specNode) deadKeys(t *testing.T) []journal.Key {
	t.Helper()
	return n.engine.chooseDead(n.scan(t).Records)
}

// A plugin that hangs has all the time of one call, but neither that of the record's
// other networks at the next, nor that of other records.
func TestDeadRecordWithAPluginThatHangs(t *testing.T) {
	n := newSpecNode(t, "second,third")
	n.engine.Config.DelegateTimeout = types.Duration(time.Minute)
	n.hang(t, "third") // the first to be released
	stuck, other := n.deadRecord(t, "c1"), n.deadRecord(t, "c2")
	release := func() {
		ctx, cancel := context.WithTimeout(t.Context(), time.Second)
		defer cancel()
		n.engine.releaseIfDead(ctx, stuck)
	}
	release()
	if diff := cmp.Diff([]journal.Key{other, stuck}, n.deadKeys(t)); diff != "" {
		t.Errorf("the order of the next call: %s", diff)
	}
	for range 2 { // the second for a machine that is slow
		release()
	}
	record, err := n.engine.Journal().Read(stuck)
	if err != nil {
		t.Fatal(err)
	}
	if pending := record.Pending(n.engine.BootID); !slices.Equal(pending, []int{2}) {
		t.Errorf("still to be released: %v", pending)
	}
}

func TestDeadWait(t *testing.T) {
	for failures, want := range map[int]time.Duration{0: 0, deadPatience - 1: 0, deadPatience: time.Second, deadPatience + 3: 8 * time.Second, 1000: deadMaxWait} {
		if got := deadWait(failures); got != want {
			t.Errorf("after %d failures: %v, want %v", failures, got, want)
		}
	}
}

func TestSample(t *testing.T) {
	keys := []journal.Key{{ContainerID: "a"}, {ContainerID: "b"}, {ContainerID: "c"}}
	if diff := cmp.Diff(keys, sample(keys, 3)); diff != "" {
		t.Errorf("of no more: %s", diff)
	}
	begins := map[string]bool{}
	for range 200 {
		got := sample(keys, 2)
		if len(got) != 2 || got[0] == got[1] {
			t.Fatalf("got %v", got)
		}
		begins[got[0].ContainerID] = true
	}
	if len(begins) != 3 {
		t.Errorf("never begins but with %v", begins)
	}
}

// An intent whose writer was killed before it was whole is removed by a call for another
// container, unless somebody is writing it right now.
func TestUnfinishedIntentsAreRemoved(t *testing.T) {
	n := newSpecNode(t, "")
	dir := StateDir(n.engine.Config)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		t.Fatal(err)
	}
	for _, containerID := range []string{"busy", "killed"} {
		writeTestFile(t, filepath.Join(dir, containerID+"@outer@eth0.jsonl.new"), `{"for`, 0o600)
	}
	lock, free, err := n.engine.Journal().TryLock("busy")
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	if err := n.engine.Del(t.Context(), n.call); err != nil {
		t.Fatal(err)
	}
	left := n.scan(t).Leftovers
	if diff := cmp.Diff([]journal.Key{{ContainerID: "busy", Network: "outer", IfName: "eth0"}}, left); diff != "" {
		t.Error(diff)
	}
}

// A dead record whose release has failed often waits, and one that has waited is chosen.
func TestDeadRecordsThatFailWait(t *testing.T) {
	n := newSpecNode(t, "")
	key := n.deadRecord(t, "dead")
	wantChosen := func(when string, want ...journal.Key) {
		t.Helper()
		if diff := cmp.Diff(want, n.deadKeys(t)); diff != "" {
			t.Errorf("%s: %s", when, diff)
		}
	}
	wantChosen("at first", key)
	n.failed(t, key, maxNoted, time.Now())
	wantChosen("right after its failures")
	n.touch(t, key, time.Now().Add(-2*deadMaxWait))
	wantChosen("later", key)
}

// A record that was written while the clock was ahead is released all the same.
func TestDeadRecordsOfTheFuture(t *testing.T) {
	for _, failures := range []int{0, deadPatience + 2} {
		n := newSpecNode(t, "")
		key := n.deadRecord(t, "dead")
		n.failed(t, key, failures, time.Now().Add(24*time.Hour))
		n.touch(t, key, time.Now().Add(24*time.Hour))
		if diff := cmp.Diff([]journal.Key{key}, n.deadKeys(t)); diff != "" {
			t.Errorf("after %d failures: %s", failures, diff)
		}
	}
}

// failed notes failures to release a record, the last of them at a time.
func (n *specNode) failed(t *testing.T, key journal.Key, times int, last time.Time) {
	t.Helper()
	lock, free, err := n.engine.Journal().TryLock(key.ContainerID)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	for range times {
		if err := lock.Append(key, types.Entry{Event: types.EventFailed, Time: last}); err != nil {
			t.Fatal(err)
		}
	}
}

// A network whose DEL does not end, or fails late, costs one call its time, and not every
// call, nor once for each of its records. What else a record holds is released meanwhile.
func TestNetworkThatHangsIsLeftAlone(t *testing.T) {
	for name, timeout := range map[string]time.Duration{"to the end of the call": time.Minute, "and fails late": slowFailure} {
		t.Run(name, func(t *testing.T) { testNetworkThatHangs(t, timeout) })
	}
}

func testNetworkThatHangs(t *testing.T, timeout time.Duration) {
	t.Helper()
	n := newSpecNode(t, "second,third")
	n.engine.Config.DelegateTimeout = types.Duration(timeout)
	n.hang(t, "third") // the first to be released
	for _, id := range []string{"c1", "c2", "c3"} {
		n.deadRecord(t, id)
	}
	hung := func() (dels int) {
		n.engine.releaseDead(t.Context())
		for _, c := range n.begun(t) {
			if c.Plugin == "third" {
				dels++
			}
		}
		return dels
	}
	for range 5 { // enough for the rest
		if dels := hung(); dels != 1 {
			t.Fatalf("the network that hangs was tried %d times, want once", dels)
		}
	}
	for _, key := range n.scan(t).Records {
		record, err := n.engine.Journal().Read(key)
		if err != nil || !slices.Equal(record.Pending(n.engine.BootID), []int{2}) {
			t.Errorf("%s: to be released: %v, %v", key, record.Pending(n.engine.BootID), err)
		}
	}
	if keys := n.deadKeys(t); len(keys) > 0 {
		t.Errorf("the next call would try %v", keys)
	}
	writeTestFile(t, filepath.Join(n.dir, "bin", "third"), specScript, 0o755)
	past := time.Now().Add(-2 * journal.HangWait)
	hang := filepath.Join(StateDir(n.engine.Config), n.scan(t).Hangs[0])
	if err := os.Chtimes(hang, past, past); err != nil {
		t.Fatal(err)
	}
	n.engine.releaseDead(t.Context())
	if left := n.scan(t); len(left.Records)+len(left.Hangs) > 0 {
		t.Errorf("once it works again, left: %v", left)
	}
}

// After failures in as many different hours as the documentation says, and not before, a
// record is set aside. The runtime's DEL succeeds then.
func TestRecordThatCannotBeReleasedIsGivenUp(t *testing.T) {
	const enough = maxNoted + giveUpHours
	for name, c := range map[string]struct {
		failures int
		last     time.Duration
		device   string
		givenUp  bool
	}{
		"after a day":               {failures: enough, last: time.Hour, givenUp: true},
		"a few minutes later":       {failures: enough, last: 5 * time.Minute},
		"after less than a day":     {failures: enough - 1, last: 100 * time.Hour},
		"a device that is no more":  {failures: enough, last: time.Hour, device: "0000:ff:1f.7", givenUp: true},
		"a device of no bus at all": {failures: enough, last: time.Hour, device: "/run/vhost/net0", givenUp: true},
	} {
		t.Run(name, func(t *testing.T) {
			n := newSpecNode(t, "second")
			n.source.facts.Pod.Annotations[types.AnnotationNetworks] = "second"
			key := n.deadRecordOf(t, "c1", c.device)
			n.fail(t, "DEL", "net0")
			n.failed(t, key, c.failures, time.Now().Add(-c.last))
			n.touch(t, key, time.Now().Add(-c.last))
			n.engine.releaseDead(t.Context())
			listing := n.scan(t)
			if got := len(listing.GivenUp) == 1 && len(listing.Records) == 0; got != c.givenUp {
				t.Fatalf("given up: %v; %v", got, listing)
			}
			if !c.givenUp {
				return
			}
			called := len(n.calls(t))
			if err := n.engine.Del(t.Context(), n.call); err != nil || len(n.calls(t)) != called {
				t.Errorf("DEL gives %v, and runs %v", err, n.calls(t)[called:])
			}
			aside := filepath.Join(StateDir(n.engine.Config), "c1@outer@eth0.jsonl.given-up")
			if text, err := os.ReadFile(aside); err != nil || !strings.Contains(string(text), `"event":"given-up"`) || !strings.Contains(string(text), "says no to DEL") {
				t.Errorf("%s, %v", text, err)
			}
		})
	}
}

// Failures are noted once an hour after the first dozen: a clock that jumps ahead by days
// counts as one.
func TestFailuresAreNotedOnceAnHour(t *testing.T) {
	n := newSpecNode(t, "second")
	key := n.deadRecordOf(t, "c1", "")
	n.fail(t, "DEL", "net0")
	n.failed(t, key, maxNoted, time.Now().Add(-48*time.Hour))
	for range 3 {
		n.touch(t, key, time.Now().Add(-2*deadMaxWait))
		n.engine.releaseDead(t.Context())
	}
	record, err := n.engine.Journal().Read(key)
	if err != nil || record.Failures != maxNoted+1 {
		t.Errorf("noted: %v, %v", record.Failures, err)
	}
}
