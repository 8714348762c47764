package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// claimAPI is an API server that takes the status of claims.
type claimAPI struct {
	mu    sync.Mutex
	fail  func(part types.ClaimPart) error
	calls []string
}

func (a *claimAPI) apply(_ context.Context, part types.ClaimPart, status *types.ClaimStatus) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	pod := "nobody"
	if status != nil {
		pod = status.Pod
	}
	a.calls = append(a.calls, fmt.Sprint(part.Claim, " ", part.Driver, " ", part.Device, " ", pod))
	if a.fail != nil {
		return a.fail(part)
	}
	return nil
}

func (a *claimAPI) set(fail func(types.ClaimPart) error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.fail = fail
}

func (a *claimAPI) made() []string {
	a.mu.Lock()
	defer a.mu.Unlock()
	return slices.Clone(a.calls)
}

func device(claim, driver, name string) *types.ClaimedDevice {
	return &types.ClaimedDevice{Claim: claim, Driver: driver, Pool: "p", Name: name}
}

func claiming(t *testing.T) (*node, *claimAPI, *claimPublisher) {
	t.Helper()
	n, a := newNode(t), &claimAPI{}
	p := newClaimPublisher(n.records, newMetrics(), noLog())
	p.apply = a.apply
	return n, a, p
}

// settleClaims scans the journal, and settles the parts that the scan names, in order.
func settleClaims(t *testing.T, n *node, p *claimPublisher) {
	t.Helper()
	changed := map[types.ClaimPart]bool{}
	n.records.claimChanged = func(part types.ClaimPart) { changed[part] = true }
	_, err := n.records.scan()
	check.Must(t, err)
	var parts []types.ClaimPart
	for part := range changed {
		parts = append(parts, part)
	}
	slices.SortFunc(parts, func(a, b types.ClaimPart) int { return strings.Compare(a.String(), b.String()) })
	for _, part := range parts {
		p.process(t.Context(), part)
	}
}

func (n *node) remove(id string) {
	n.t.Helper()
	n.edit(id, func(lock *journal.Lock) error { return lock.Remove(keyOf(id)) })
}

func wantApplied(t *testing.T, a *claimAPI, want ...string) {
	t.Helper()
	if diff := cmp.Diff(want, a.made()); diff != "" {
		t.Errorf("applied (-want +got):\n%s", diff)
	}
}

func TestClaimsFollowTheJournal(t *testing.T) {
	n, a, p := claiming(t)
	n.write(attachment{id: "c1", pod: "one", claimed: device("nics", "d", "vf-1")})
	n.write(attachment{id: "c2", pod: "two", claimed: device("nics", "d", "vf-2")})
	n.write(attachment{id: "c3", pod: "three", claimed: device("nics", "e", "vf-1")})
	n.write(attachment{id: "c4", pod: "plain"})
	settleClaims(t, n, p)
	settleClaims(t, n, p) // nothing changed
	n.edit("c1", func(l *journal.Lock) error { return l.Append(keyOf("c1"), types.Entry{Event: types.EventPublished}) })
	settleClaims(t, n, p) // what it says did not
	n.remove("c1")
	settleClaims(t, n, p)
	n.edit("c2", func(l *journal.Lock) error {
		return l.Append(keyOf("c2"), types.Entry{Event: types.EventReleased, Attachment: 1})
	})
	settleClaims(t, n, p)
	n.remove("c2") // it is empty already
	settleClaims(t, n, p)
	wantApplied(t, a, "nics d vf-1 d/one", "nics e vf-1 d/three", "nics d vf-2 d/two", "nics d vf-1 nobody", "nics d vf-2 nobody")
	if len(p.applied) != 1 {
		t.Errorf("it remembers claims that no record names: %v", p.applied)
	}
}

// TestClaimsOfAnEarlierAgent empties what records of dead sandboxes name.
func TestClaimsOfAnEarlierAgent(t *testing.T) {
	n, a, p := claiming(t)
	n.write(attachment{id: "c1", boot: "earlier", claimed: device("nics", "d", "vf-1")})
	n.write(attachment{id: "c2", released: 1, claimed: device("vfs", "d", "vf-2")})
	n.write(attachment{id: "c3", claimed: device("live", "d", "vf-3")})
	settleClaims(t, n, p)
	wantApplied(t, a, "live d vf-3 d/web", "nics d vf-1 nobody", "vfs d vf-2 nobody")
}

func TestClaimsTakeTheNewestSandbox(t *testing.T) {
	n, a, p := claiming(t)
	n.write(attachment{id: "c1", pod: "old", age: time.Hour, claimed: device("nics", "d", "vf-1")})
	n.write(attachment{id: "c2", pod: "new", claimed: device("nics", "d", "vf-1")})
	settleClaims(t, n, p)
	wantApplied(t, a, "nics d vf-1 d/new")
}

func TestClaimsThatAreNotWritten(t *testing.T) {
	for outcome, test := range map[string]struct {
		err   error
		again bool // it is tried again while nothing changes
	}{
		"gone":    {k8sclient.ErrClaimGone, false},
		"owned":   {k8sclient.ErrClaimOwned, false},
		"refused": {k8sclient.ErrClaimRefused, true},
		"error":   {errors.New("the API server is down"), true},
	} {
		t.Run(outcome, func(t *testing.T) {
			n, a, p := claiming(t)
			a.set(func(part types.ClaimPart) error {
				if part.Device == "vf-1" {
					return fmt.Errorf("apply: %w", test.err)
				}
				return nil
			})
			n.write(attachment{id: "c1", pod: "one", claimed: device("nics", "d", "vf-1")})
			n.write(attachment{id: "c2", pod: "two", claimed: device("nics", "d", "vf-2")})
			settleClaims(t, n, p)
			wantApplied(t, a, "nics d vf-1 d/one", "nics d vf-2 d/two")
			if err := wantValue(t, p.metrics, 1, "plexus_claim_publications_total", "outcome", outcome); err != nil {
				t.Error(err)
			}
			p.process(t.Context(), types.ClaimPart{Namespace: "d", Claim: "nics", Driver: "d", Pool: "p", Device: "vf-1"})
			if again := len(a.made()) == 3; again != test.again {
				t.Errorf("tried again: %v, want %v", again, test.again)
			}
		})
	}
}

// What no later attempt mends is logged once for each driver, however many claims it has.
func TestClaimsAreLoggedOnce(t *testing.T) {
	for _, fault := range []error{k8sclient.ErrClaimRefused, k8sclient.ErrClaimOwned} {
		n, a, p := claiming(t)
		var log strings.Builder
		p.log = slog.New(slog.NewTextHandler(&log, nil))
		a.set(func(types.ClaimPart) error { return fault })
		for i, driver := range []string{"d", "d", "e"} {
			n.write(attachment{id: fmt.Sprint("c", i), pod: fmt.Sprint("p", i), claimed: device(fmt.Sprint("nics", i), driver, "vf-1")})
		}
		settleClaims(t, n, p)
		if got := strings.Count(log.String(), "the status of claims is not written"); got != 2 || !strings.Contains(log.String(), "driver=e") {
			t.Errorf("%v is logged %d times, want once for each of two drivers:\n%s", fault, got, log.String())
		}
	}
}

// What another program writes of one device keeps nothing from the others, and does not keep what
// was written of them.
func TestClaimsBesideADeviceOfTheDriver(t *testing.T) {
	n, a, p := claiming(t)
	a.set(func(part types.ClaimPart) error {
		if part.Device == "vf-2" {
			return k8sclient.ErrClaimOwned
		}
		return nil
	})
	n.write(attachment{id: "c1", pod: "one", claimed: device("nics", "d", "vf-1")})
	n.write(attachment{id: "c2", pod: "two", claimed: device("nics", "d", "vf-2")})
	settleClaims(t, n, p)
	n.remove("c1")
	settleClaims(t, n, p)
	wantApplied(t, a, "nics d vf-1 d/one", "nics d vf-2 d/two", "nics d vf-1 nobody")
}

// TestClaimsAreTakenOutOnceTheRightIsBack keeps what it wrote in mind while it may not write.
func TestClaimsAreTakenOutOnceTheRightIsBack(t *testing.T) {
	n, a, p := claiming(t)
	n.write(attachment{id: "c1", claimed: device("nics", "d", "vf-1")})
	settleClaims(t, n, p)
	n.remove("c1")
	a.set(func(types.ClaimPart) error { return k8sclient.ErrClaimRefused })
	settleClaims(t, n, p)
	a.set(nil)
	part := types.ClaimPart{Namespace: "d", Claim: "nics", Driver: "d", Pool: "p", Device: "vf-1"}
	if !p.wrote(part) {
		t.Fatal("it forgot what it wrote")
	}
	p.process(t.Context(), part)
	wantApplied(t, a, "nics d vf-1 d/web", "nics d vf-1 nobody", "nics d vf-1 nobody")
}

// TestClaimsAreRetried runs the publisher, which hears of records by their changes alone.
func TestClaimsAreRetried(t *testing.T) {
	n, a, p := claiming(t)
	left := 2
	a.set(func(types.ClaimPart) error {
		if left--; left >= 0 {
			return errors.New("the API server is down")
		}
		return nil
	})
	ctx, stop := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() { defer close(ended); p.run(ctx) }()
	t.Cleanup(func() { stop(); <-ended })
	n.write(attachment{id: "c1", claimed: device("nics", "d", "vf-1")})
	_, err := n.records.of("c1")
	check.Must(t, err)
	const one = "nics d vf-1 d/web"
	check.Eventually(t, "the third attempt", patience, func() error {
		if got := a.made(); !slices.Equal(got, []string{one, one, one}) {
			return fmt.Errorf("got %v", got)
		}
		return nil
	})
}
