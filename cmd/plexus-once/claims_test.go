package main

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// claimSource is a source that takes claims too.
type claimSource struct {
	fake
	fail error
}

func (c *claimSource) ApplyClaimStatus(_ context.Context, part types.ClaimPart, status *types.ClaimStatus) error {
	c.note(fmt.Sprint("claim ", part.Claim, " ", part.Driver, " ", part.Device, " ", status.Pod))
	return c.fail
}

// claimedRec writes a record of a sandbox that has these devices, as CLAIM/DRIVER/DEVICE.
func claimedRec(t *testing.T, j *journal.Journal, r rec, devices ...string) {
	t.Helper()
	lock, free, err := j.TryLock(r.container)
	if err != nil || !free {
		t.Fatal(free, err)
	}
	defer lock.Release()
	intent := types.Intent{Format: types.RecordFormat, BootID: r.boot, Network: "plexus", Created: time.Now().Add(-r.age), Plan: types.Plan{
		Pod: types.Pod{Namespace: "ns", Name: r.pod}, Sandbox: types.Sandbox{ContainerID: r.container, IfName: "eth0"},
	}}
	for _, text := range devices {
		part := strings.Split(text, "/")
		intent.Plan.Attachments = append(intent.Plan.Attachments, types.Attachment{Name: "n", Claimed: &types.ClaimedDevice{Claim: part[0], Driver: part[1], Pool: "p", Name: part[2]}})
	}
	if err := lock.Create(r.key(), intent); err != nil {
		t.Fatal(err)
	}
	if !r.incomplete {
		if err := lock.Append(r.key(), types.Entry{Event: types.EventComplete, Status: []types.NetworkStatus{{Name: r.container}}}); err != nil {
			t.Fatal(err)
		}
	}
}

// TestClaims writes the devices of one container, and no other's; a refusal keeps none from the rest.
func TestClaims(t *testing.T) {
	j, c := journal.New(t.TempDir()), &claimSource{fail: errors.New("refused")}
	claimedRec(t, j, rec{container: "own", pod: "one", boot: "b"}, "nics/d/vf-1", "nics/e/vf-1")
	claimedRec(t, j, rec{container: "two", pod: "two", boot: "b"}, "nics/d/vf-2", "vfs/d/vf-9")
	claimedRec(t, j, rec{container: "old", pod: "old", boot: "earlier"}, "nics/d/vf-3")
	claimedRec(t, j, rec{container: "torn", pod: "torn", boot: "b", incomplete: true}, "nics/d/vf-4")
	write(t, j, rec{container: "plain", pod: "plain", boot: "b"})
	all := &claimBacklog{journal: j, to: c, bootID: "b"}
	for _, id := range []string{"own", "plain", "old", "torn", "unknown"} {
		all.run(t.Context(), id)
	}
	if diff := cmp.Diff([]string{"claim nics d vf-1 ns/one", "claim nics e vf-1 ns/one"}, c.written); diff != "" {
		t.Error(diff)
	}
}

// TestClaimsComeAfterTheAnswer refuses the claims: the ADD has its answer before, and hears nothing.
func TestClaimsComeAfterTheAnswer(t *testing.T) {
	bootID, err := host.BootID()
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	claimedRec(t, journal.New(dir), rec{container: "c", pod: "p", boot: bootID}, "nics/d/vf-1")
	c := &claimSource{fail: errors.New("refused")}
	s := serving(&c.fake)
	s.source = func() (source, error) { return c, nil }
	s.opts.stateDir = dir
	got := dialogue(t, s, strings.Replace(askPublish, `"publish":{`, `"publish":{"report":{"containerID":"c"},`, 1))
	if diff := cmp.Diff([]string{`{"version":1,"published":true}`}, got); diff != "" {
		t.Error(diff)
	}
	quiet, claim := slices.Index(c.written, "quiet"), slices.Index(c.written, "claim nics d vf-1 ns/p")
	if quiet < 0 || claim < quiet {
		t.Errorf("done in this order: %q", c.written)
	}
}
