package types

import (
	"encoding/json"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestIsStatic(t *testing.T) {
	for _, tc := range []struct {
		name        string
		annotations map[string]string
		want        bool
	}{
		{"no annotations", nil, false},
		{"from the API", map[string]string{AnnotationConfigSource: "api"}, false},
		{"from a file", map[string]string{AnnotationConfigSource: "file"}, true},
		{"from a URL", map[string]string{AnnotationConfigSource: "http"}, true},
		{"a mirror", map[string]string{AnnotationConfigMirror: "hash", AnnotationConfigSource: "api"}, true},
		{"a hash alone says nothing", map[string]string{AnnotationConfigHash: "hash"}, false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			if got := IsStatic(tc.annotations); got != tc.want {
				t.Errorf("got %v", got)
			}
		})
	}
}

func TestKeepAnnotations(t *testing.T) {
	got := KeepAnnotations(map[string]string{AnnotationNetworks: "a", AnnotationDefaultNetwork: "", "secret": "s", AnnotationNetworkStatus: "[]"})
	wantEqual(t, map[string]string{AnnotationNetworks: "a", AnnotationDefaultNetwork: ""}, got)
	if got := KeepAnnotations(nil); got == nil || len(got) != 0 {
		t.Errorf("of no annotations it keeps %#v, want an empty map", got)
	}
}

func TestFactsNetwork(t *testing.T) {
	facts := Facts{Networks: []Network{
		{Ref: Ref{"a", "net"}, Config: "1"},
		{Ref: Ref{"b", "net"}, Missing: true},
	}}
	got, err := facts.Network(Ref{"b", "net"})
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, &Network{Ref: Ref{"b", "net"}, Missing: true}, got)
	_, err = facts.Network(Ref{"c", "net"})
	check.Error(t, err, "network c/net", "said nothing")
}

func TestSelectedRefs(t *testing.T) {
	for _, tc := range []struct {
		name             string
		networks, chosen string
		want             []Ref
	}{
		{"none", "", "", nil},
		{"in order, as often as they stand there", "b,ops/a,b", "", []Ref{{"pods", "b"}, {"ops", "a"}, {"pods", "b"}}},
		{"the default network first, from multusNamespace", "b", "master", []Ref{{"kube-system", "master"}, {"pods", "b"}}},
		{"what cannot be parsed names nothing", "b,,", "master", []Ref{{"kube-system", "master"}}},
		{"nor does a bad default", "b", "[{}]", []Ref{{"pods", "b"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			pod := Pod{Namespace: "pods", Name: "p", Annotations: map[string]string{AnnotationNetworks: tc.networks, AnnotationDefaultNetwork: tc.chosen}}
			wantEqual(t, tc.want, pod.SelectedRefs("kube-system"))
		})
	}
}

func TestUniqueRefs(t *testing.T) {
	a, b := Ref{"ns", "a"}, Ref{"ns", "b"}
	wantEqual(t, []Ref{b, a}, UniqueRefs([]Ref{b, a, b, a, a}))
	wantEqual(t, []Ref(nil), UniqueRefs(nil))
}

func TestWantDevices(t *testing.T) {
	resource := []Network{{Ref: Ref{"a", "plain"}}, {Ref: Ref{"a", "net"}, ResourceName: "example.com/vf"}}
	annotations := func(networks, chosen string) map[string]string {
		return map[string]string{AnnotationNetworks: networks, AnnotationDefaultNetwork: chosen}
	}
	for _, tc := range []struct {
		name  string
		facts Facts
		want  bool
	}{
		{"nothing", Facts{Pod: Pod{Namespace: "ns", Name: "p"}}, false},
		{"plain networks", Facts{Pod: Pod{Namespace: "ns", Name: "p", Annotations: annotations("a,b", "c")}, Networks: resource[:1]}, false},
		{"a network of a resource", Facts{Pod: Pod{Namespace: "ns", Name: "p"}, Networks: resource}, true},
		{"but no pod", Facts{Networks: resource}, false},
		{"a device is named", Facts{Pod: Pod{Namespace: "ns", Name: "p", Annotations: annotations(`[{"name":"a"},{"name":"b","deviceID":"x"}]`, "")}}, true},
		{"for the default network", Facts{Pod: Pod{Namespace: "ns", Name: "p", Annotations: annotations("", `[{"name":"b","deviceID":"x"}]`)}}, true},
		{"a network of a claim", Facts{Pod: Pod{Namespace: "ns", Name: "p"}, Networks: []Network{{Claim: "vf"}}}, true},
		{"a claim is named", Facts{Pod: Pod{Namespace: "ns", Name: "p", Annotations: annotations(`[{"name":"a","plexus-cni.io/claim":"vf"}]`, "")}}, true},
		{"a claim for the default network", Facts{Pod: Pod{Namespace: "ns", Name: "p", Annotations: annotations("", `[{"name":"b","plexus-cni.io/claim":"vf/port"}]`)}}, true},
		{"in what cannot be parsed", Facts{Pod: Pod{Namespace: "ns", Name: "p", Annotations: annotations(`[{"name":"","deviceID":"x"}]`, "{")}}, false},
	} {
		t.Run(tc.name, func(t *testing.T) { wantEqual(t, tc.want, tc.facts.WantDevices()) })
	}
}

// Each network is named once for each reason.
func TestDeviceUsers(t *testing.T) {
	facts := Facts{
		Pod: Pod{Namespace: "pods", Name: "p", Annotations: map[string]string{
			AnnotationNetworks:       `[{"name":"net","namespace":"a"},{"name":"b","deviceID":"x"},{"name":"c","plexus-cni.io/claim":"vf/port"}]`,
			AnnotationDefaultNetwork: `[{"name":"d","namespace":"e","deviceID":"0000:3b:02.0"}]`,
		}},
		Networks: []Network{{Ref: Ref{"a", "net"}, ResourceName: "example.com/vf"}, {Ref: Ref{"pods", "c"}}, {Ref: Ref{"a", "claimed"}, Claim: "uplink/port"}},
	}
	wantEqual(t, []string{`network a/net (resource example.com/vf)`, `network a/claimed (claim "uplink/port")`, `network e/d (deviceID "0000:3b:02.0")`, `network pods/b (deviceID "x")`, `network pods/c (claim vf/port)`}, facts.DeviceUsers())
}

// That a pod has no devices is not the same as that nobody was asked, on the wire too.
func TestFactsSayThatThereAreNoDevices(t *testing.T) {
	for text, facts := range map[string]Facts{
		`{"pod":{}}`:              {},
		`{"pod":{},"devices":{}}`: {Devices: map[string][]string{}},
	} {
		data, err := json.Marshal(facts)
		if err != nil || string(data) != text {
			t.Errorf("encoded %s, want %s: %v", data, text, err)
		}
		var back Facts
		if err := json.Unmarshal(data, &back); err != nil {
			t.Error(err)
		}
		wantEqual(t, facts, back)
	}
}

func TestDeviceIs(t *testing.T) {
	vf := Device{Resource: "example.com/vf", ID: "1"}
	for other, want := range map[Device]bool{
		vf: true, {Resource: "", ID: "1"}: true, {Resource: "example.com/vf", ID: "2"}: false, {Resource: "example.com/pf", ID: "1"}: false, {Resource: "", ID: "2"}: false,
	} {
		if vf.Is(other) != want || other.Is(vf) != want {
			t.Errorf("%s and %s: want %v", vf, other, want)
		}
	}
}

// A device of a claim may have an ID that is no address, and an address beside it.
func TestDeviceIsByItsAddress(t *testing.T) {
	claimed := ClaimedDevice{Claim: "c", Name: "vf-1", Resource: "example.com/vf", ID: "vf-1", PCIAddress: "0000:3b:02.1"}
	device := claimed.Device()
	for other, want := range map[Device]bool{
		{Resource: "example.com/dpdk", ID: "0000:3B:02.1"}:                             true,
		{Resource: "example.com/dpdk", ID: "other", PCIAddress: "0000:3b:02.1"}:        true,
		{Resource: "example.com/vf", ID: "vf-1"}:                                       true,
		{Resource: "example.com/vf", ID: "vf-1", PCIAddress: "0000:3b:02.2"}:           true, // a partition
		{Resource: "example.com/dpdk", ID: "0000:3b:02.2", PCIAddress: "0000:3b:02.1"}: true,
		{Resource: "example.com/dpdk", ID: "00000000:3b:02.1"}:                         true,
		{Resource: "example.com/dpdk", ID: "vf-1"}:                                     false,
		{Resource: "example.com/dpdk", ID: "vf-1", PCIAddress: "0000:3b:02.2"}:         false,
		{Resource: "example.com/dpdk", ID: "10000:3b:02.1"}:                            false,
	} {
		if device.Is(other) != want || other.Is(device) != want {
			t.Errorf("%+v: want %v", other, want)
		}
	}
}

// An address on a bus is of one device of the node, whatever resource offers it.
func TestDeviceOfTwoResources(t *testing.T) {
	for id, want := range map[string]bool{
		"0000:3b:02.1": true, "10000:e1:00.0": true, "0000:AF:1f.7": true, "mlx5_core.sf.4": true,
		"dev0": false, "0": false, "3b": false, "0000:3b:02.8": false, "0000:3b:02.1-0": false, "x.sf.y": false, "2f1e7a3c-0b1d-4c55-9a0e-0123456789ab": false,
	} {
		kernel, dpdk := Device{Resource: "example.com/vf", ID: id}, Device{Resource: "example.com/dpdk", ID: id}
		if kernel.Is(dpdk) != want || dpdk.Is(kernel) != want {
			t.Errorf("%s and %s: want %v", kernel, dpdk, want)
		}
		if !kernel.Is(kernel) || kernel.Is(Device{Resource: "example.com/vf", ID: id + "0"}) {
			t.Errorf("%s is not itself, or is another", kernel)
		}
	}
	if upper := (Device{Resource: "a", ID: "0000:3B:02.1"}); !upper.Is(Device{Resource: "b", ID: "0000:3b:02.1"}) {
		t.Errorf("%s is not the same in lower case", upper)
	}
}
