package window

import (
	"context"
	"errors"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/k8sclient/claims"
	"github.com/plexus-cni/plexus/types"
)

const claimTemplates = `---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplate
metadata: {name: ports, namespace: shop}
spec: {spec: {devices: {requests: [{name: one, exactly: {deviceClassName: vf}}, {name: two, exactly: {deviceClassName: vf, count: 2}}]}}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaimTemplateList
items:
- kind: ResourceClaimTemplate
  metadata: {name: any, namespace: shop}
  spec: {spec: {devices: {requests: [{name: nic, firstAvailable: [{name: fast, deviceClassName: vf}, {name: slow, deviceClassName: vf}]}]}}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: shared, namespace: shop}
spec: {devices: {requests: [{name: port, exactly: {deviceClassName: vf}}]}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceClaim
metadata: {name: allocated, namespace: shop}
spec: {devices: {requests: [{name: port, exactly: {deviceClassName: vf}}]}}
status: {allocation: {devices: {results: [{request: port, driver: drv, pool: n1, device: vf-1}]}}}
---
apiVersion: resource.k8s.io/v1
kind: ResourceSlice
metadata: {name: s}
spec:
  driver: drv
  pool: {name: n1, generation: 1, resourceSliceCount: 1}
  devices: [{name: vf-1, attributes: {resource.kubernetes.io/pciBusID: {string: "0000:3b:02.1"}}}]
`

// claimingPod is a pod of the namespace shop with claims, which runs in a container with limits.
func claimingPod(annotation, claims, limits string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata: {name: web, namespace: shop, annotations: {k8s.v1.cni.cncf.io/networks: '" + annotation + "'}}\n" +
		"spec: {resourceClaims: " + claims + ", containers: [{name: c, image: x, resources: {limits: " + limits + "}}]}\n"
}

// devicesOf gives the device of each attachment with its claim, or the refusal.
func devicesOf(t *testing.T, got ran) []string {
	t.Helper()
	pod := explained(t, got).Pods[0]
	if pod.Refused != nil {
		return []string{pod.Refused.Message}
	}
	var devices []string
	for _, a := range pod.Attachments {
		if a.Device != nil {
			devices = append(devices, a.Network+" "+a.Device.ID+" "+a.Device.PodClaim+"/"+a.Device.Request)
		}
	}
	return devices
}

// A pod that is not there yet gets as many devices as its claims ask for.
func TestExplainAssumesClaims(t *testing.T) {
	const ports, unknown = `[{name: up, resourceClaimTemplateName: ports}]`, `[{name: up, resourceClaimTemplateName: gone}]`
	lan := strings.ReplaceAll(lanNetwork, "name: lan,", `name: lan, annotations: {k8s.v1.cni.cncf.io/resourceName: example.com/vf},`)
	plain := strings.ReplaceAll(lanNetwork, "name: lan,", "name: plain,")
	for name, tc := range map[string]struct {
		pod     string
		want    []string
		assumed string
	}{
		"by resource": {
			claimingPod("lan,lan,lan", ports, "{}"),
			[]string{"shop/lan DEVICE-1-OF-up up/one", "shop/lan DEVICE-2-OF-up up/two", "shop/lan DEVICE-3-OF-up up/two"},
			"stands: up",
		},
		"named": {
			claimingPod(`[{"name": "lan"}, {"name": "plain", "plexus-cni.io/claim": "up"}, {"name": "plain", "plexus-cni.io/claim": "up/one"}]`, ports, "{}"),
			[]string{"shop/lan DEVICE-3-OF-up up/two", "shop/plain DEVICE-2-OF-up up/two", "shop/plain DEVICE-1-OF-up up/one"},
			"stands: up",
		},
		"an alternative, and a direct one": {
			claimingPod("lan,lan", "[{name: a, resourceClaimTemplateName: any}, {name: b, resourceClaimName: shared}]", "{}"),
			[]string{"shop/lan DEVICE-1-OF-a a/nic/fast", "shop/lan DEVICE-1-OF-b b/port"},
			"stands: a, b",
		},
		"after those of a device plugin": {
			claimingPod("lan,lan", ports, "{example.com/vf: 1}"),
			[]string{"shop/lan DEVICE-1-OF-example.com/vf /", "shop/lan DEVICE-1-OF-up up/one"},
			"stands: up",
		},
		"a template that is not there": {
			claimingPod("lan", unknown, "{}"),
			[]string{"shop/lan DEVICE-1-OF-up up/"},
			"claim up asks for what the networks name of it, or else for one device: ResourceClaimTemplate shop/gone is in none of the files",
		},
		"requests of a template that is not there": {
			claimingPod(`[{"name": "plain", "plexus-cni.io/claim": "up/b"}, {"name": "plain", "plexus-cni.io/claim": "up/a"}]`, unknown, "{}"),
			[]string{"shop/plain DEVICE-1-OF-up up/b", "shop/plain DEVICE-2-OF-up up/a"},
			"stands: up",
		},
		"allocated in the files": {
			claimingPod(`[{"name": "lan"}, {"name": "plain", "plexus-cni.io/claim": "allocated/port"}]`, "[{name: a, resourceClaimTemplateName: any}, {name: up, resourceClaimName: allocated}]", "{}"),
			[]string{"shop/lan DEVICE-1-OF-a a/nic/fast", "shop/plain 0000:3b:02.1 up/port"},
			"stands: a",
		},
		"too few": {
			claimingPod("lan,lan", unknown, "{}"),
			[]string{"pod shop/web: network shop/lan: resource example.com/vf: no device is left for this attachment; " +
				`allocated to the pod: device "DEVICE-1-OF-up" of resource example.com/vf (for network shop/lan); ` +
				`by claims: device DEVICE-1-OF-up of pool POOL (driver DRIVER, claim up) is device "DEVICE-1-OF-up" of resource example.com/vf (for network shop/lan)`},
			"stands: up",
		},
		"a claim that the pod has not": {
			claimingPod(`[{"name": "plain", "plexus-cni.io/claim": "down"}]`, `[]`, "{}"),
			[]string{"pod shop/web: network shop/plain: plexus-cni.io/claim down: no device of that claim is left for this attachment; by claims the pod has: none"},
			"",
		},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			noKubelet := strings.ReplaceAll(plexusList, `"binDir"`, `"podResourcesSocket": "`+dir+`/no.sock", "binDir"`)
			config := write(t, dir, "plexus.conflist", strings.ReplaceAll(noKubelet, "BIN", dir+"/no-bin"))
			got := runWith(t, tc.pod+lan+plain+claimTemplates, "explain", "-f", "-", "--config", config, "-o", "json")
			check.Equal(t, "devices", devicesOf(t, got), tc.want)
			check.Contains(t, "assumed", strings.Join(explained(t, got).Pods[0].Assumed, "\n"), tc.assumed)
		})
	}
}

// allocations is a podSource whose pod runs: it knows what the claims allocate.
type allocations struct {
	spec      corev1.PodSpec
	allocated []types.ClaimedDevice
	err       error
}

func (a *allocations) Facts(context.Context, *types.FactsRequest) (*types.Facts, error) {
	return nil, errors.ErrUnsupported
}

func (a *allocations) Spec(context.Context, types.Ref) (*corev1.PodSpec, error) { return &a.spec, nil }
func (a *allocations) Claims(string) (claims.Reader, error)                     { return a, nil }
func (a *allocations) ClaimSpec(context.Context, claimKind, types.Ref) (*claimSpec, error) {
	return nil, errors.New("it is not there")
}

func (a *allocations) ReadPodClaims(context.Context, *types.Pod) ([]types.ClaimedDevice, error) {
	return a.allocated, a.err
}

func (a *allocations) Describe(_ context.Context, devices []types.ClaimedDevice) error {
	for i := range devices {
		devices[i].ID, devices[i].Resource = "0000:3b:02."+strings.TrimPrefix(devices[i].Name, "vf-"), "example.com/vf"
	}
	return nil
}

// What the API server knows of the claims of a pod that runs is exact, and only the rest made up.
func TestAddDevicesOfClaims(t *testing.T) {
	ofClaim := func(claim, name string) types.ClaimedDevice {
		return types.ClaimedDevice{Claim: "web-" + claim, PodClaim: claim, Request: "port", Driver: "d", Pool: "n1", Name: name}
	}
	claim := func(name string) corev1.PodResourceClaim { return corev1.PodResourceClaim{Name: name} }
	source := &allocations{spec: corev1.PodSpec{ResourceClaims: []corev1.PodResourceClaim{claim("up"), claim("down")}}}
	facts := func() *types.Facts {
		return &types.Facts{
			Pod:      types.Pod{Namespace: "shop", Name: "web", Annotations: map[string]string{types.AnnotationNetworks: "lan,lan"}},
			Networks: []types.Network{{Ref: types.Ref{Namespace: "shop", Name: "lan"}, ResourceName: "example.com/vf"}},
		}
	}
	for name, tc := range map[string]struct {
		allocated []types.ClaimedDevice
		want      []string
		assumed   int
	}{
		"all":  {[]types.ClaimedDevice{ofClaim("up", "vf-1"), ofClaim("down", "vf-2")}, []string{"0000:3b:02.1", "0000:3b:02.2"}, 0},
		"some": {[]types.ClaimedDevice{ofClaim("up", "vf-3")}, []string{"0000:3b:02.3", "DEVICE-1-OF-down"}, 2},
		"none": {[]types.ClaimedDevice{}, []string{"DEVICE-1-OF-up", "DEVICE-1-OF-down"}, 3},
	} {
		t.Run(name, func(t *testing.T) {
			source.allocated = tc.allocated
			got := facts()
			assumed, err := addDevices(t.Context(), &node{config: &types.Config{}}, source, got)
			check.Must(t, err)
			var ids []string
			for _, d := range got.Claimed {
				check.Equal(t, "resource", d.Resource, "example.com/vf")
				ids = append(ids, d.ID)
			}
			check.Equal(t, "devices", ids, tc.want)
			check.Equal(t, "lines of what is assumed", len(assumed), tc.assumed)
		})
	}
	source.err = errors.New("no right")
	_, err := addDevices(t.Context(), &node{config: &types.Config{}}, source, facts())
	check.Equal(t, "error", errors.Is(err, source.err), true)
}

// The claim for an extended resource is what the pod requests of it, not one more.
func TestAddDevicesOfExtendedResource(t *testing.T) {
	source := &allocations{allocated: []types.ClaimedDevice{{Claim: "web-extended", Request: "r0", Driver: "d", Pool: "n1", Name: "vf-1", Resource: "example.com/vf"}}}
	source.spec.Containers = []corev1.Container{{Resources: corev1.ResourceRequirements{
		Limits: corev1.ResourceList{"example.com/vf": resource.MustParse("2")},
	}}}
	facts := &types.Facts{
		Pod:      types.Pod{Namespace: "shop", Name: "web", Annotations: map[string]string{types.AnnotationNetworks: "lan"}},
		Networks: []types.Network{{Ref: types.Ref{Namespace: "shop", Name: "lan"}, ResourceName: "example.com/vf"}},
	}
	_, err := addDevices(t.Context(), &node{config: &types.Config{}}, source, facts)
	check.Must(t, err)
	check.Equal(t, "of device plugins", facts.Devices, map[string][]string{"example.com/vf": {"DEVICE-1-OF-example.com/vf"}})
	check.Equal(t, "of claims", len(facts.Claimed), 1)
}

// From afar, the API server says which devices the claims of a pod that runs have, and how many
// those of another ask for.
func TestExplainReadsClaims(t *testing.T) {
	const template = "/apis/resource.k8s.io/v1/namespaces/shop/resourceclaimtemplates/ports"
	answers := map[string]string{
		"/api/v1/namespaces/shop/pods/web": `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web", "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/networks": "lan,lan"}},
			"spec": {"resourceClaims": [{"name": "up", "resourceClaimTemplateName": "ports"}]}}`,
		"/apis/k8s.cni.cncf.io/v1/namespaces/shop/network-attachment-definitions/lan": `{"metadata": {"name": "lan", "annotations": {"plexus-cni.io/claim": "up"}}, "spec": {"config": "{\"cniVersion\": \"1.0.0\", \"type\": \"bridge\"}"}}`,
		template: `{"spec": {"spec": {"devices": {"requests": [{"name": "port", "exactly": {"count": 2}}]}}}}`,
	}
	forbidden := false
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		path := r.URL.Path
		if selector := r.URL.Query().Get("fieldSelector"); selector != "" {
			path += "?" + selector
		}
		switch answer, known := answers[path]; {
		case forbidden && r.URL.Path == template:
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403}`))
		case known:
			_, _ = w.Write([]byte(answer))
		default:
			http.NotFound(w, r)
		}
	}))
	defer server.Close()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	run := func() ran {
		dir := t.TempDir()
		noKubelet := strings.ReplaceAll(plexusList, `"binDir"`, `"podResourcesSocket": "`+dir+`/no.sock", "binDir"`)
		return runWith(t, "", "explain", "pod", "web", "--server", server.URL, "-n", "shop", "-o", "json",
			"--config", write(t, dir, "plexus.conflist", strings.ReplaceAll(noKubelet, "BIN", dir+"/no-bin")))
	}
	check.Equal(t, "devices", devicesOf(t, run()), []string{"shop/lan DEVICE-1-OF-up up/port", "shop/lan DEVICE-2-OF-up up/port"})
	answers["/api/v1/namespaces/shop/pods/web"] = `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web", "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/networks": "lan,lan"}},
		"spec": {"nodeName": "n1", "resourceClaims": [{"name": "up", "resourceClaimTemplateName": "ports"}]}, "status": {"resourceClaimStatuses": [{"name": "up", "resourceClaimName": "web-up"}]}}`
	answers["/apis/resource.k8s.io/v1/namespaces/shop/resourceclaims/web-up"] = `{"status": {"allocation": {"devices": {"results": [
		{"request": "port", "driver": "vf.example.com", "pool": "n1", "device": "vf-1"}, {"request": "port", "driver": "vf.example.com", "pool": "n1", "device": "vf-2"}]}}}}`
	slice := `{"items": [{"spec": {"driver": "vf.example.com", "nodeName": "n1", "pool": {"name": "n1", "generation": 1, "resourceSliceCount": 1}, "devices": [
		{"name": "vf-1", "attributes": {"resource.kubernetes.io/pciBusID": {"string": "0000:3b:02.1"}}},
		{"name": "vf-2", "attributes": {"resource.kubernetes.io/pciBusID": {"string": "0000:3b:02.2"}}}]}}]}`
	answers["/apis/resource.k8s.io/v1/resourceslices?spec.driver=vf.example.com,spec.nodeName=n1"] = slice
	got := run()
	check.Equal(t, "devices of a pod that runs", devicesOf(t, got), []string{"shop/lan 0000:3b:02.1 up/port", "shop/lan 0000:3b:02.2 up/port"})
	check.Equal(t, "assumed", explained(t, got).Pods[0].Assumed, nil)

	delete(answers, "/apis/resource.k8s.io/v1/namespaces/shop/resourceclaims/web-up")
	got = run()
	check.Equal(t, "exit code of a claim that is not there", got.code, exitBlind)
	check.Contains(t, "stderr", got.stderr, "pod shop/web: the devices of its claims are not known: ")

	answers["/api/v1/namespaces/shop/pods/web"] = strings.Replace(answers["/api/v1/namespaces/shop/pods/web"], `"nodeName": "n1", `, "", 1)
	forbidden = true
	check.Contains(t, "assumed", strings.Join(explained(t, run()).Pods[0].Assumed, "\n"), "the right to get resourceclaimtemplates is missing")
}
