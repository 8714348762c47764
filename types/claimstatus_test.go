package types

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

const claimBoot = "boot"

var claimMade = time.Unix(1000, 0)

// claimRecord is a record of two devices by claims, and of a network that has none.
func claimRecord(results ...string) *Record {
	r := NewRecord(Intent{BootID: claimBoot, Created: claimMade, Plan: Plan{
		Pod: Pod{Namespace: "ns", Name: "web"},
		Attachments: []Attachment{
			{Interface: "eth0"},
			{Interface: "net0", Claimed: &ClaimedDevice{Claim: "nics", Driver: "sriov.example.com", Pool: "a", Name: "vf-1", ShareID: "s"}},
			{Interface: "net1", Claimed: &ClaimedDevice{Claim: "nics", Driver: "other.example.com", Pool: "b", Name: "vf-2"}},
		},
	}})
	for i, result := range results {
		r.Apply(Entry{Event: EventAttached, Attachment: i + 1, Result: json.RawMessage(result)})
	}
	r.Apply(Entry{Event: EventComplete})
	return r
}

func TestClaimStatuses(t *testing.T) {
	r := claimRecord(
		`{"interfaces":[{"name":"pf","mac":"02:00:00:00:00:09"},{"name":"net0","mac":"02:00:00:00:00:01","sandbox":"/n"}],
			"ips":[{"address":"10.0.0.9/24","interface":0},{"address":"10.0.0.1/24","interface":1},{"address":"10.0.0.1/24","interface":1},
				{"address":"2001:DB8:0::1/64","interface":1},{"address":"::ffff:10.0.0.2/120"},{"address":"nonsense"}]}`,
		`{"cniVersion":"0.2.0","ip4":{"ip":"10.1.0.1/16"},"ip6":{"ip":"fd00::1/64"}}`)
	sriov, other := ClaimPart{"ns", "nics", "sriov.example.com", "a", "vf-1", "s"}, ClaimPart{"ns", "nics", "other.example.com", "b", "vf-2", ""}
	want := []ClaimStatus{
		{Part: sriov, Pod: "ns/web", Interface: "net0", MAC: "02:00:00:00:00:01", IPs: []string{"10.0.0.1/24", "2001:db8::1/64", "10.0.0.2/24"}, Attached: claimMade},
		{Part: other, Pod: "ns/web", Interface: "net1", IPs: []string{"10.1.0.1/16", "fd00::1/64"}, Attached: claimMade},
	}
	if diff := cmp.Diff(want, r.ClaimStatuses(claimBoot)); diff != "" {
		t.Error(diff)
	}
	if diff := cmp.Diff([]ClaimPart{sriov, other}, r.ClaimParts()); diff != "" {
		t.Error(diff)
	}
}

func TestClaimStatusesOfNoLiveSandbox(t *testing.T) {
	for name, change := range map[string]func(*Record){
		"incomplete":      func(r *Record) { r.Complete = false },
		"another boot":    func(r *Record) { r.BootID = "earlier" },
		"partly released": func(r *Record) { r.Apply(Entry{Event: EventReleased}) },
		"no pod":          func(r *Record) { r.Plan.Pod = Pod{} },
	} {
		r := claimRecord(`{}`, `{}`)
		if len(r.ClaimStatuses(claimBoot)) != 2 {
			t.Fatal("a live sandbox has no status")
		}
		if change(r); len(r.ClaimStatuses(claimBoot)) != 0 {
			t.Errorf("%s: got %v", name, r.ClaimStatuses(claimBoot))
		}
	}
}

func TestClaimStatusKeepsToTheLimitOfAddresses(t *testing.T) {
	var texts []string
	for i := range 40 {
		texts = append(texts, "10.0.0."+string(rune('0'+i%10))+"/"+[]string{"24", "25", "26", "27"}[i/10])
	}
	if got := interfaceAddresses(texts); len(got) != MaxClaimIPs {
		t.Errorf("%d addresses, want %d", len(got), MaxClaimIPs)
	}
}
