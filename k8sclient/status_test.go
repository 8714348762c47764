package k8sclient

import (
	"encoding/json"
	"net/http"
	"testing"
	"testing/synctest"

	"github.com/google/go-cmp/cmp"
	nad "github.com/k8snetworkplumbingwg/network-attachment-definition-client/pkg/apis/k8s.cni.cncf.io/v1"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

var oneStatus = []types.NetworkStatus{{Name: "ns/a", Interface: "net0", IPs: []string{"10.0.0.1"}, Default: true}}

func TestPublishStatus(t *testing.T) {
	const wrongUID = `{"reason":"Invalid","message":"m","details":{"causes":[{"field":"metadata.uid"}]}}`
	const otherField = `{"reason":"Invalid","message":"too long","details":{"causes":[{"field":"metadata.annotations"}]}}`
	mirror := answer{code: 200, body: `{"metadata":{"uid":"mirror","annotations":{"kubernetes.io/config.mirror":"u"}}}`}
	pod := types.Pod{Namespace: "ns", Name: "p", UID: "u"}
	static := pod
	static.Static = true
	for name, test := range map[string]struct {
		pod     types.Pod
		answers []answer
		settled bool
		want    []string // of the error
		uid     string   // in the last patch, if there is to be one
	}{
		"written":                  {pod: pod, answers: []answer{{code: 200}}, settled: true, uid: "u"},
		"without a UID":            {pod: types.Pod{Namespace: "ns", Name: "p"}, answers: []answer{{code: 200}}, settled: true},
		"no pod known":             {settled: true},
		"another server's 404":     {pod: pod, answers: []answer{{code: 404, body: "404 page not found"}}, want: []string{"404 page not found"}, uid: "u"},
		"the pod is gone":          {pod: pod, answers: []answer{refusal(404, "x")}, settled: true, uid: "u"},
		"the pod is another":       {pod: pod, answers: []answer{{code: 422, body: wrongUID}}, settled: true, uid: "u"},
		"invalid otherwise":        {pod: pod, answers: []answer{refusal(422, "too long")}, want: []string{"patch status of pod ns/p", "too long"}, uid: "u"},
		"invalid in another field": {pod: pod, answers: []answer{{code: 422, body: otherField}}, want: []string{"too long"}, uid: "u"},
		"forbidden":                {pod: pod, answers: []answer{refusal(403, "x")}, want: []string{"403"}, uid: "u"},
		"a conflict first":         {pod: pod, answers: []answer{refusal(409, "x"), {code: 200}}, settled: true, uid: "u"},
		"static":                   {pod: static, answers: []answer{mirror, {code: 200}}, settled: true, uid: "mirror"},
		"static, no mirror":        {pod: static, answers: []answer{refusal(404, "x")}, want: []string{"ns/p", "no mirror"}},
		"static, a node's view":    {pod: static, answers: []answer{behind}, want: []string{"no mirror"}},
		"static, another mirror":   {pod: static, answers: []answer{{code: 200, body: `{"metadata":{"uid":"m"}}`}}, want: []string{"no mirror", "another version"}},
		"static, not to be read":   {pod: static, answers: []answer{refusal(403, "x")}, want: []string{"read pod ns/p", "403"}},
		"static, mirror goes away": {pod: static, answers: []answer{mirror, refusal(404, "x")}, settled: true, uid: "mirror"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, s := scripted(test.answers...)
				settled, err := c.PublishStatus(t.Context(), test.pod, oneStatus)
				if settled != test.settled || (err == nil) != (test.want == nil) {
					t.Fatalf("got %v, %v", settled, err)
				}
				if test.want != nil {
					check.Error(t, err, test.want...)
				}
				if test.uid != "" {
					checkPatch(t, s, test.uid)
				}
			})
		})
	}
}

func checkPatch(t *testing.T, s *script, uid string) {
	t.Helper()
	r := s.requests[len(s.requests)-1]
	if r.Method != http.MethodPatch || r.URL.Path != "/base/api/v1/namespaces/ns/pods/p/status" || r.Header.Get("Content-Type") != mergePatch {
		t.Errorf("got %s %s of %s", r.Method, r.URL, r.Header.Get("Content-Type"))
	}
	value, _ := types.FormatStatus(oneStatus)
	want := map[string]any{"metadata": map[string]any{"uid": uid, "annotations": map[string]any{types.AnnotationNetworkStatus: value}}}
	var got map[string]any
	if err := json.Unmarshal([]byte(s.bodies[len(s.bodies)-1]), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestStatusDecodesAsNetworkAttachmentDefinitionClient reads our annotation with the
// types of those who read Multus's.
func TestStatusDecodesAsNetworkAttachmentDefinitionClient(t *testing.T) {
	value, err := types.FormatStatus([]types.NetworkStatus{{
		Name: "ns/a", Interface: "net0", IPs: []string{"10.0.0.1", "fd00::1"}, MAC: "02:00:00:00:00:01", MTU: 9000, Default: true,
		DNS:          types.DNS{Nameservers: []string{"10.0.0.53"}, Domain: "d", Search: []string{"s"}, Options: []string{"o"}},
		DeviceInfo:   &types.DeviceInfo{Type: "pci", Version: "1.1.0", PCI: &types.PCIDevice{PCIAddress: "0000:01:00.1", PFPCIAddress: "0000:01:00.0", RepresentorDevice: "eth1_0"}},
		DefaultRoute: []string{"10.0.0.254"}, Gateway: []string{"10.0.0.254"},
	}})
	if err != nil {
		t.Fatal(err)
	}
	want := []nad.NetworkStatus{{
		Name: "ns/a", Interface: "net0", IPs: []string{"10.0.0.1", "fd00::1"}, Mac: "02:00:00:00:00:01", Mtu: 9000, Default: true,
		DNS:        nad.DNS{Nameservers: []string{"10.0.0.53"}, Domain: "d", Search: []string{"s"}, Options: []string{"o"}},
		DeviceInfo: &nad.DeviceInfo{Type: "pci", Version: "1.1.0", Pci: &nad.PciDevice{PciAddress: "0000:01:00.1", PfPciAddress: "0000:01:00.0", RepresentorDevice: "eth1_0"}},
		Gateway:    []string{"10.0.0.254"},
	}}
	var got []nad.NetworkStatus
	if err := json.Unmarshal([]byte(value), &got); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}
