package k8sclient

import (
	"encoding/json"
	"errors"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

var nicsOf = types.ClaimPart{Namespace: "ns", Claim: "nics", Driver: "sriov.example.com", Pool: "a", Device: "vf-1"}

func TestApplyClaimStatus(t *testing.T) {
	share := nicsOf
	share.ShareID = "s"
	whole := types.ClaimStatus{
		Part: share, Pod: "ns/web", Interface: "net0", IPs: []string{"10.0.0.1/24"}, MAC: "02:00:00:00:00:01", Attached: time.Unix(1000, 5),
	}
	bare := types.ClaimStatus{Part: nicsOf, Pod: "ns/web", Interface: "net1", Attached: time.Unix(2000, 0)}
	const head = `"apiVersion":"resource.k8s.io/v1","kind":"ResourceClaim","metadata":{"name":"nics","namespace":"ns"}`
	for name, test := range map[string]struct {
		part    types.ClaimPart
		status  *types.ClaimStatus
		manager string
		want    string
	}{
		"nothing": {nicsOf, nil, "plexus/sriov.example.com/a/vf-1/", `{` + head + `}`},
		"everything": {share, &whole, "plexus/sriov.example.com/a/vf-1/s", `{` + head + `,"status":{"devices":[
			{"driver":"sriov.example.com","pool":"a","device":"vf-1","shareID":"s",
			"networkData":{"interfaceName":"net0","ips":["10.0.0.1/24"],"hardwareAddress":"02:00:00:00:00:01"},
			"conditions":[{"type":"plexus-cni.io/Attached","status":"True","reason":"Attached","message":"pod ns/web has it as interface net0","lastTransitionTime":"1970-01-01T00:16:40Z"}]}]}}`},
		"the interface alone": {nicsOf, &bare, "plexus/sriov.example.com/a/vf-1/", `{` + head + `,"status":{"devices":[
			{"driver":"sriov.example.com","pool":"a","device":"vf-1","networkData":{"interfaceName":"net1"},
			"conditions":[{"type":"plexus-cni.io/Attached","status":"True","reason":"Attached","message":"pod ns/web has it as interface net1","lastTransitionTime":"1970-01-01T00:33:20Z"}]}]}}`},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(ok(`{}`))
			if err := c.ApplyClaimStatus(t.Context(), test.part, test.status); err != nil {
				t.Fatal(err)
			}
			var got, want any
			if err := errors.Join(json.Unmarshal([]byte(s.bodies[0]), &got), json.Unmarshal([]byte(test.want), &want)); err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
			r := s.requests[0]
			const path = "/base/apis/resource.k8s.io/v1/namespaces/ns/resourceclaims/nics/status"
			if r.Method != http.MethodPatch || r.URL.Path != path || r.Header.Get("Content-Type") != "application/apply-patch+yaml" {
				t.Errorf("%s %s of %s", r.Method, r.URL.Path, r.Header.Get("Content-Type"))
			}
			if q := r.URL.Query(); q.Get("fieldManager") != test.manager || q.Get("force") != "false" {
				t.Errorf("query %v", q)
			}
		})
	}
}

// because is a refusal with one cause.
func because(code int, cause, field string) answer {
	reason := strings.ReplaceAll(http.StatusText(code), " ", "")
	if code == http.StatusUnprocessableEntity {
		reason = "Invalid"
	}
	return answer{code: code, body: `{"kind":"Status","message":"m","reason":"` + reason + `","details":{"causes":[{"reason":"` + cause + `","message":"m","field":"` + field + `"}]}}`}
}

// TestApplyClaimStatusErrors makes sure that what no later attempt mends is tried once.
func TestApplyClaimStatusErrors(t *testing.T) {
	for name, test := range map[string]struct {
		answer answer
		want   error
	}{
		"no claim":            {refusal(404, "not found"), ErrClaimGone},
		"no such API":         {answer{code: 404, body: "404 page not found"}, ErrClaimGone},
		"deallocated":         {because(422, "FieldValueInvalid", "status.devices[3]"), ErrClaimGone},
		"no right to status":  {refusal(403, "forbidden"), ErrClaimRefused},
		"no right to driver":  {because(422, "FieldValueForbidden", "status.devices"), ErrClaimRefused},
		"too many conditions": {because(422, "FieldValueTooMany", "status.devices[0].conditions"), ErrClaimRefused},
		"of the driver":       {because(409, "FieldManagerConflict", ".status.devices[0].networkData.ips"), ErrClaimOwned},
	} {
		t.Run(name, func(t *testing.T) {
			c, s := scripted(test.answer)
			if err := c.ApplyClaimStatus(t.Context(), nicsOf, nil); !errors.Is(err, test.want) || len(s.requests) != 1 {
				t.Errorf("%d requests, got %v, want %v", len(s.requests), err, test.want)
			}
		})
	}
}

func TestApplyClaimStatusIsRetried(t *testing.T) {
	c, s := scripted(refusal(409, "the object has been modified"), answer{code: 503, body: "down"}, ok(`{}`))
	if err := c.ApplyClaimStatus(t.Context(), nicsOf, nil); err != nil || len(s.requests) != 3 {
		t.Errorf("%d requests: %v", len(s.requests), err)
	}
}

// Each device has a name of its own to write under, which is no longer than the API takes.
func TestClaimManager(t *testing.T) {
	long := strings.Repeat("n", 253)
	names := map[string]bool{}
	for _, pool := range []string{"a", "b", long, long[1:]} {
		for _, device := range []string{"vf-1", "vf-2"} {
			for _, share := range []string{"", "s"} {
				name := claimManager(types.ClaimPart{Driver: "d.example.com", Pool: pool, Device: device, ShareID: share})
				if len(name) > 128 || names[name] {
					t.Errorf("%q is too long, or given twice", name)
				}
				names[name] = true
			}
		}
	}
}
