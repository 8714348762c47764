package types

import "testing"

func TestClaimRequest(t *testing.T) {
	for text, want := range map[string]ClaimRequest{
		"uplink": {Claim: "uplink"}, "uplink/port": {"uplink", "port"}, "uplink/nic/fast": {"uplink", "nic/fast"}, "p-uplink.x-1/port": {"p-uplink.x-1", "port"},
	} {
		got, err := ParseClaimRequest(text)
		if err != nil || got != want || got.String() != text {
			t.Errorf("%s: got %+v (%s), %v", text, got, got, err)
		}
	}
	for _, text := range []string{"", "/", "/port", "uplink/", "uplink//fast", "uplink/a/b/c", "Up", "up link", "uplink/Port", "a..b", "\xff"} {
		if got, err := ParseClaimRequest(text); err == nil {
			t.Errorf("%q gives %+v", text, got)
		}
	}
}

// The pod's own name for a claim counts before the name of another claim's object.
func TestClaimRequestAmong(t *testing.T) {
	devices := []ClaimedDevice{
		{Claim: "b", PodClaim: "a", Request: "port"}, {Claim: "a", PodClaim: "b", Request: "nic/fast"}, {Claim: "nic", PodClaim: "shared"}, {Claim: "p-nic-x", PodClaim: "nic"},
	}
	for text, want := range map[string][]int{
		"a": {0}, "b": {1}, "b/nic": {1}, "b/nic/fast": {1}, "b/nic/slow": {}, "a/nic": {}, "nic": {3}, "p-nic-x": {3}, "shared": {2}, "other": {},
	} {
		request, err := ParseClaimRequest(text)
		if err != nil {
			t.Fatal(err)
		}
		is, got := request.Among(devices), []int{}
		for i := range devices {
			if is(&devices[i]) {
				got = append(got, i)
			}
		}
		wantEqual(t, want, got)
	}
	kubelet := []ClaimedDevice{{Claim: "b"}, {Claim: "a"}} // which does not say the pod's names
	if is := (ClaimRequest{Claim: "a"}).Among(kubelet); is(&kubelet[0]) || !is(&kubelet[1]) {
		t.Error("by the object's name alone")
	}
}
