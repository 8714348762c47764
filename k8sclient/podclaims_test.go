package k8sclient

import (
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

const claimURL = "/apis/resource.k8s.io/v1/namespaces/ns/resourceclaims/"

// claimedPod has a claim of a template, one named directly, one of a template that is not made,
// and one for extended resources.
const claimedPod = `{"metadata": {"uid": "u1"},
	"spec": {"resourceClaims": [
		{"name": "uplink", "resourceClaimTemplateName": "t"}, {"name": "shared", "resourceClaimName": "of-all"}, {"name": "later", "resourceClaimTemplateName": "t"}]},
	"status": {"resourceClaimStatuses": [{"name": "later"}, {"name": "uplink", "resourceClaimName": "p-uplink-x"}],
		"extendedResourceClaimStatus": {"resourceClaimName": "p-extended-y", "requestMappings": [
			{"containerName": "c", "resourceName": "e/nic", "requestName": "container-0-request-0"}]}}}`

var claimBodies = map[string]answer{
	podURL: {code: 200, body: claimedPod},
	claimURL + "p-uplink-x": {code: 200, body: `{"spec": {"devices": {"requests": [{"name": "port"}, {"name": "backup"}]}},
		"status": {"allocation": {"devices": {"results": [
			{"request": "backup", "driver": "d", "pool": "n1", "device": "vf-0"}, {"request": "port/fast", "driver": "d", "pool": "n1", "device": "vf-9"},
			{"request": "port/fast", "driver": "d", "pool": "n1", "device": "vf-2", "shareID": "s1"},
			{"request": "port/fast", "driver": "d", "pool": "n1", "device": "vf-1", "adminAccess": true}]}}}}`},
	claimURL + "of-all": {code: 200, body: `{"spec": {"devices": {"requests": [{"name": "r"}]}},
		"status": {"allocation": {"devices": {"results": [{"request": "r", "driver": "e", "pool": "all", "device": "x"}]}}}}`},
	claimURL + "p-extended-y": {code: 200, body: `{"status": {"allocation": {"devices": {"results": [
		{"request": "container-0-request-0", "driver": "d", "pool": "n1", "device": "vf-5"}]}}}}`},
}

var wantClaimed = []types.ClaimedDevice{
	{Claim: "p-uplink-x", PodClaim: "uplink", Request: "port/fast", Driver: "d", Pool: "n1", Name: "vf-2", ShareID: "s1"},
	{Claim: "p-uplink-x", PodClaim: "uplink", Request: "port/fast", Driver: "d", Pool: "n1", Name: "vf-9"},
	{Claim: "p-uplink-x", PodClaim: "uplink", Request: "backup", Driver: "d", Pool: "n1", Name: "vf-0"},
	{Claim: "of-all", PodClaim: "shared", Request: "r", Driver: "e", Pool: "all", Name: "x"},
	{Claim: "p-extended-y", Request: "container-0-request-0", Driver: "d", Pool: "n1", Name: "vf-5", Resource: "e/nic"},
}

// Every claim of the pod counts, in the pod's order, with its requests in order and their
// devices by name. A device that is only watched is nobody's.
func TestReadPodClaims(t *testing.T) {
	a := &api{answers: claimBodies}
	got, err := a.client(t).ReadPodClaims(t.Context(), &types.Pod{Namespace: "ns", Name: "p", UID: "u1"})
	check.Must(t, err)
	if diff := cmp.Diff(wantClaimed, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	slices.Sort(a.paths[1:])
	want := []string{"GET " + podURL, "GET " + claimURL + "of-all", "GET " + claimURL + "p-extended-y", "GET " + claimURL + "p-uplink-x"}
	if diff := cmp.Diff(want, a.paths); diff != "" {
		t.Errorf("requests (-want +got):\n%s", diff)
	}
}

func TestReadPodClaimsFails(t *testing.T) {
	with := func(path string, a answer) map[string]answer {
		all := map[string]answer{path: a}
		for p, body := range claimBodies {
			if p != path {
				all[p] = body
			}
		}
		return all
	}
	forbidden := answer{code: 403, body: `{"kind":"Status","reason":"Forbidden","message":"may not","code":403}`}
	for name, test := range map[string]struct {
		answers map[string]answer
		uid     string
		want    []string
	}{
		"the pod is gone":         {answers: map[string]answer{}, want: []string{"pod ns/p: not found"}},
		"another pod":             {answers: claimBodies, uid: "older", want: []string{"the sandbox is of an older pod"}},
		"a pod that is no JSON":   {answers: with(podURL, answer{code: 200, body: `{`}), want: []string{"read pod ns/p at"}},
		"may not read claims":     {answers: with(claimURL+"of-all", forbidden), want: []string{"read claim ns/of-all", "these credentials may not read ResourceClaims", "dra.enabled"}},
		"a claim that is gone":    {answers: with(claimURL+"of-all", answer{code: 404, body: `{"kind":"Status","reason":"NotFound","message":"gone","code":404}`}), want: []string{"read claim ns/of-all", "gone"}},
		"an old API server":       {answers: with(claimURL+"of-all", answer{code: 404, body: `404 page not found`}), want: []string{"does not serve resource.k8s.io/v1"}},
		"a claim of another form": {answers: with(claimURL+"of-all", answer{code: 200, body: `{"status": []}`}), want: []string{"read claim ns/of-all at"}},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := (&api{answers: test.answers}).client(t).ReadPodClaims(t.Context(), &types.Pod{Namespace: "ns", Name: "p", UID: test.uid})
			check.Error(t, err, test.want...)
		})
	}
}

// Manifests have claims too, with what they allocate.
func TestManifestsReadPodClaims(t *testing.T) {
	named := func(kind, version, name, rest string) string {
		return `{"kind": "` + kind + `", "apiVersion": "` + version + `", "metadata": {"namespace": "ns", "name": "` + name + `"}, ` + rest[1:]
	}
	_, ofPod, _ := strings.Cut(claimedPod, `"u1"},`)
	files := map[string]string{"p.json": named("Pod", "v1", "p", "{"+ofPod)}
	for path, claim := range claimBodies {
		if name, isClaim := strings.CutPrefix(path, claimURL); isClaim {
			files[name+".json"] = named("ResourceClaim", "resource.k8s.io/v1", name, claim.body)
		}
	}
	got, err := folder(t, files).ReadPodClaims(t.Context(), &types.Pod{Namespace: "ns", Name: "p"})
	check.Must(t, err)
	if diff := cmp.Diff(wantClaimed, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
	delete(files, "of-all.json")
	m := folder(t, files)
	_, err = m.ReadPodClaims(t.Context(), &types.Pod{Namespace: "ns", Name: "p"})
	check.Error(t, err, "claim ns/of-all: no manifest in "+m.Dir+" has it")
	got, err = m.ReadPodClaims(t.Context(), &types.Pod{Namespace: "ns", Name: "other"})
	check.Must(t, err)
	if got == nil || len(got) > 0 {
		t.Errorf("a pod without claims has %v", got)
	}
	files["p.json"] = `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "p"}, "spec": {"resourceClaims": "x"}}`
	_, err = folder(t, files).ReadPodClaims(t.Context(), &types.Pod{Namespace: "ns", Name: "p"})
	check.Error(t, err, "Pod default/p: spec:")
}

// Manifests describe devices by their slices.
func TestManifestsDescribe(t *testing.T) {
	m := folder(t, map[string]string{"s.json": `{"kind": "ResourceSlice", "apiVersion": "resource.k8s.io/v1", ` + published("drv", "p", 1, 1, "d=e/vf,id-1")[1:]})
	devices := []types.ClaimedDevice{{Claim: "c", Driver: "drv", Pool: "p", Name: "d"}}
	check.Must(t, m.Describe(t.Context(), devices))
	check.Equal(t, "ID", devices[0].ID, "id-1")
	devices[0].Name = "other"
	check.Error(t, m.Describe(t.Context(), devices), "device other of pool p (driver drv, claim c)", "manifests in "+m.Dir, "no ResourceSlice has it")
	_, err := folder(t, map[string]string{"s.json": `{"kind": "ResourceSlice", "apiVersion": "resource.k8s.io/v1", "metadata": {"name": "s"}, "spec": []}`}).load()
	check.Error(t, err, "ResourceSlice s:")
}
