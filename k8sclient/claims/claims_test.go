package claims

import (
	"context"
	"errors"
	"slices"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// source is the API server: what drivers publish by device name, and what the claims of the pod
// allocate.
type source struct {
	published map[string]types.ClaimedDevice
	pod       []types.ClaimedDevice
	fault     error // of reading the pod's claims
	asked     []string
}

func (s *source) Describe(_ context.Context, devices []types.ClaimedDevice) error {
	s.asked = append(s.asked, "slices")
	for i := range devices {
		d, known := s.published[devices[i].Name]
		if !known {
			return types.Errorf(types.CodeTryAgainLater, "no slice has %s", &devices[i])
		}
		devices[i].Resource, devices[i].ID, devices[i].PCIAddress = d.Resource, d.ID, d.PCIAddress
	}
	return nil
}

func (s *source) ReadPodClaims(context.Context, *types.Pod) ([]types.ClaimedDevice, error) {
	s.asked = append(s.asked, "claims")
	return slices.Clone(s.pod), s.fault
}

func claimed(claim, request, name string) types.ClaimedDevice {
	return types.ClaimedDevice{Claim: claim, Request: request, Driver: "d", Pool: "n1", Name: name}
}

func newSource(pod ...types.ClaimedDevice) *source {
	vf := func(id string) types.ClaimedDevice { return types.ClaimedDevice{Resource: "e/vf", ID: id} }
	return &source{pod: pod, published: map[string]types.ClaimedDevice{
		"vf-1": vf("id1"), "vf-2": vf("id2"), "gpu": {}, "share-1": vf("id1"), "nameless": {ID: "id9"},
	}}
}

// What is asked follows from what the networks take and from what the kubelet said: nothing where
// no network takes a device, and the API server about claims only where the kubelet does not say
// enough.
func TestComplete(t *testing.T) {
	named := types.Network{Ref: types.Ref{Namespace: "ns", Name: "named"}, Claim: "c/r"}
	for name, test := range map[string]struct {
		annotation string
		kubelet    []types.ClaimedDevice
		devices    map[string][]string
		noKubelet  bool
		static     bool
		pod        []types.ClaimedDevice
		asked      []string
		want       []string // names of the devices, in order
	}{
		"no network takes a device":                     {annotation: "plain", kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1")}, want: []string{"vf-1"}},
		"one device":                                    {annotation: "vf", kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1")}, asked: []string{"slices"}, want: []string{"vf-1"}},
		"a device and a GPU":                            {annotation: "vf", kubelet: []types.ClaimedDevice{claimed("c", "", "gpu"), claimed("c", "", "vf-1")}, asked: []string{"slices"}, want: []string{"gpu", "vf-1"}},
		"of two claims":                                 {annotation: "vf,vf", kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1"), claimed("d", "", "vf-2")}, pod: []types.ClaimedDevice{claimed("d", "r", "vf-2"), claimed("c", "r", "vf-1")}, asked: []string{"slices", "claims"}, want: []string{"vf-2", "vf-1"}},
		"of a device plugin alone":                      {annotation: "vf", devices: map[string][]string{"e/vf": {"id7"}}},
		"of a device plugin, beside the claim of a GPU": {annotation: "vf", devices: map[string][]string{"e/vf": {"id7"}}, kubelet: []types.ClaimedDevice{claimed("c", "", "gpu")}},
		"of a device plugin and a claim":                {annotation: "vf,vf", devices: map[string][]string{"e/vf": {"id7"}}, kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1")}, asked: []string{"slices"}, want: []string{"vf-1"}},
		"of a device plugin by its ID, and a claim": {
			annotation: `[{"name": "vf", "deviceID": "id7"}, {"name": "vf"}]`, devices: map[string][]string{"e/vf": {"id7"}},
			kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1")}, asked: []string{"slices"}, want: []string{"vf-1"},
		},
		"of a device plugin for another resource, and a claim": {
			annotation: `[{"name": "vf", "deviceID": "id7"}]`, devices: map[string][]string{"e/other": {"id7"}},
			kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1")}, asked: []string{"slices"}, want: []string{"vf-1"},
		},
		"named by its ID":                  {annotation: `[{"name": "plain", "deviceID": "id1"}]`, kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1")}, asked: []string{"slices"}, want: []string{"vf-1"}},
		"two of one claim, whose order":    {annotation: "vf,vf", kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1"), claimed("c", "", "vf-2")}, pod: []types.ClaimedDevice{claimed("c", "a", "vf-2"), claimed("c", "b", "vf-1")}, asked: []string{"slices", "claims"}, want: []string{"vf-2", "vf-1"}},
		"requests from the checkpoint":     {annotation: "vf,vf", kubelet: []types.ClaimedDevice{claimed("c", "a", "vf-1"), claimed("c", "b", "vf-2")}, pod: []types.ClaimedDevice{claimed("c", "b", "vf-2"), claimed("c", "a", "vf-1")}, asked: []string{"slices", "claims"}, want: []string{"vf-2", "vf-1"}},
		"two shares of one device":         {annotation: "vf", kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1"), claimed("c", "", "share-1")}, asked: []string{"slices"}, want: []string{"vf-1", "share-1"}},
		"a claim that no container uses":   {annotation: "vf", pod: []types.ClaimedDevice{claimed("c", "a", "vf-1")}, asked: []string{"claims", "slices"}, want: []string{"vf-1"}},
		"a network names a claim":          {annotation: "named", kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1")}, pod: []types.ClaimedDevice{claimed("c", "r", "vf-1")}, asked: []string{"claims", "slices"}, want: []string{"vf-1"}},
		"an element names a claim":         {annotation: `[{"name": "plain", "plexus-cni.io/claim": "c/r"}]`, kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1")}, pod: []types.ClaimedDevice{claimed("c", "r", "vf-1")}, asked: []string{"claims", "slices"}, want: []string{"vf-1"}},
		"another ID is named":              {annotation: `[{"name": "plain", "deviceID": "id3"}]`, kubelet: []types.ClaimedDevice{claimed("c", "", "vf-1")}, pod: []types.ClaimedDevice{claimed("c", "r", "vf-1")}, asked: []string{"slices", "claims"}, want: []string{"vf-1"}},
		"no kubelet":                       {annotation: "vf", noKubelet: true, pod: []types.ClaimedDevice{claimed("c", "r", "vf-1")}, asked: []string{"claims", "slices"}, want: []string{"vf-1"}},
		"no kubelet, and no claim":         {annotation: "vf", noKubelet: true, pod: []types.ClaimedDevice{}, asked: []string{"claims"}, want: []string{}},
		"a static pod, which has no claim": {annotation: "vf", static: true, devices: map[string][]string{}},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource(test.pod...)
			facts := &types.Facts{
				Pod:      types.Pod{Namespace: "ns", Name: "p", Static: test.static, Annotations: map[string]string{types.AnnotationNetworks: test.annotation}},
				Networks: []types.Network{{Ref: types.Ref{Namespace: "ns", Name: "plain"}}},
				Claimed:  test.kubelet, Devices: test.devices,
			}
			for _, ref := range facts.Pod.SelectedRefs("") {
				switch ref.Name {
				case "vf":
					facts.Networks = append(facts.Networks[:1], types.Network{Ref: ref, ResourceName: "e/vf"})
				case "named":
					facts.Networks = append(facts.Networks, named)
				}
			}
			if facts.Devices == nil && !test.noKubelet {
				facts.Devices = map[string][]string{}
			}
			check.Must(t, Complete(t.Context(), s, &types.FactsRequest{MultusNamespace: "kube-system"}, facts))
			var got []string
			if facts.Claimed != nil {
				got = []string{}
			}
			for i := range facts.Claimed {
				got = append(got, facts.Claimed[i].Name)
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("devices (-want +got):\n%s", diff)
			}
			if diff := cmp.Diff(test.asked, s.asked); diff != "" {
				t.Errorf("asked (-want +got):\n%s", diff)
			}
		})
	}
}

// The name of an extended resource stays where the driver publishes none, and gives way where it
// does.
func TestCompleteKeepsTheExtendedResource(t *testing.T) {
	a, b := claimed("c", "r", "nameless"), claimed("c", "r", "vf-1")
	a.Resource, b.Resource = "e/extended", "e/extended"
	s := newSource(a, b)
	facts := &types.Facts{
		Pod:      types.Pod{Namespace: "ns", Name: "p", Annotations: map[string]string{types.AnnotationNetworks: "vf"}},
		Networks: []types.Network{{Ref: types.Ref{Namespace: "ns", Name: "vf"}, ResourceName: "e/extended"}}, Devices: map[string][]string{},
	}
	check.Must(t, Complete(t.Context(), s, &types.FactsRequest{MultusNamespace: "kube-system"}, facts))
	check.Equal(t, "without a name of its own", facts.Claimed[0].Resource, "e/extended")
	check.Equal(t, "with one", facts.Claimed[1].Resource, "e/vf")
}

// A network that the node attaches, and that the pod selects too, takes two devices; one for the
// default network is found in the node's own namespace.
func TestCompleteCountsTheNodesOwn(t *testing.T) {
	vf := types.Ref{Namespace: "kube-system", Name: "vf"}
	for name, test := range map[string]struct {
		annotations map[string]string
		own         []types.Ref
		asked       []string
	}{
		"the node alone":           {own: []types.Ref{vf}},
		"the node and the pod":     {own: []types.Ref{vf}, annotations: map[string]string{types.AnnotationNetworks: "kube-system/vf"}, asked: []string{"slices"}},
		"the pod alone":            {annotations: map[string]string{types.AnnotationNetworks: "kube-system/vf"}},
		"as the default, and once": {annotations: map[string]string{types.AnnotationNetworks: "kube-system/vf", types.AnnotationDefaultNetwork: "vf"}, asked: []string{"slices"}},
	} {
		s := newSource()
		facts := &types.Facts{
			Pod:      types.Pod{Namespace: "ns", Name: "p", Annotations: test.annotations},
			Networks: []types.Network{{Ref: vf, ResourceName: "e/vf"}}, Devices: map[string][]string{"e/vf": {"id7"}}, Claimed: []types.ClaimedDevice{claimed("c", "", "vf-1")},
		}
		check.Must(t, Complete(t.Context(), s, &types.FactsRequest{Networks: test.own, MultusNamespace: "kube-system"}, facts))
		if diff := cmp.Diff(test.asked, s.asked); diff != "" {
			t.Errorf("%s: asked (-want +got):\n%s", name, diff)
		}
	}
}

// What is not known names the pod and the reason, and comes with its code.
func TestCompleteFails(t *testing.T) {
	for name, test := range map[string]struct {
		kubelet []types.ClaimedDevice
		fault   error
		code    uint
		want    string
	}{
		"no slice":       {kubelet: []types.ClaimedDevice{claimed("c", "", "lost")}, code: types.CodeTryAgainLater, want: "no slice has device lost of pool n1 (driver d, claim c)"},
		"may not":        {fault: types.Errorf(types.CodeNotAvailable, "may not read claims"), code: types.CodeNotAvailable, want: "may not read claims"},
		"without a code": {fault: errors.New("reset"), code: types.CodeTryAgainLater, want: "reset"},
	} {
		t.Run(name, func(t *testing.T) {
			s := newSource()
			s.fault = test.fault
			facts := &types.Facts{
				Pod:      types.Pod{Namespace: "ns", Name: "p", Annotations: map[string]string{types.AnnotationNetworks: "vf"}},
				Networks: []types.Network{{Ref: types.Ref{Namespace: "ns", Name: "vf"}, ResourceName: "e/vf"}}, Devices: map[string][]string{}, Claimed: test.kubelet,
			}
			err := Complete(t.Context(), s, &types.FactsRequest{MultusNamespace: "kube-system"}, facts)
			check.Error(t, err, "pod ns/p: the devices of its claims are not known", test.want)
			check.Equal(t, "code", types.CodeOf(err, 0), test.code)
		})
	}
}
