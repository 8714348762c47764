package plan

import (
	"fmt"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// vfOf is a VF of a claim and a request; n numbers it.
func vfOf(claim, request string, n int) types.ClaimedDevice {
	address := fmt.Sprintf("0000:3b:02.%d", n)
	return types.ClaimedDevice{
		Claim: "p-" + claim + "-x7k2p", PodClaim: claim, Request: request, Driver: "sriov.example.com", Pool: "n1", Name: fmt.Sprint("vf-", n),
		Resource: "example.com/vf", ID: address, PCIAddress: address,
	}
}

// objectOf gives the device of a claim whose object has a name of its own.
func objectOf(name string, c types.ClaimedDevice) types.ClaimedDevice {
	c.Claim = name
	return c
}

// claimWorld has a network of resource example.com/vf, one that names a claim, and one without
// a resource.
func claimWorld(annotation string, claimed ...types.ClaimedDevice) planWorld {
	network := func(name, resource, claim string) types.Network {
		return types.Network{Ref: types.Ref{Namespace: "default", Name: name}, Config: able(`"deviceID": true`), ResourceName: resource, Claim: claim}
	}
	return planWorld{
		config: podnet, annotations: annotated(annotation), devices: map[string][]string{}, claimed: claimed,
		facts: []types.Network{network("fast", "example.com/vf", ""), network("named", "", "uplink/port"), network("plain", "", ""), network("dpdk", "example.com/dpdk", "")},
	}
}

func TestPlanDevicesOfClaims(t *testing.T) {
	gpu := types.ClaimedDevice{Claim: "gpu", Driver: "gpu.example.com", Pool: "n1", Name: "gpu-0"}
	odd := vfOf("odd", "port", 7)
	odd.ID = "vf-of-another-driver"
	nameless := vfOf("uplink", "port", 6)
	nameless.Resource = ""
	share := vfOf("uplink", "port", 1)
	share.ShareID = "s2"
	other := vfOf("a", "r", 3)
	other.Resource = "example.com/other"
	for name, test := range map[string]struct {
		annotation string
		claimed    []types.ClaimedDevice
		devices    map[string][]string
		want       []string
	}{
		"in order": {
			annotation: "fast,fast", claimed: []types.ClaimedDevice{vfOf("b", "second", 2), gpu, vfOf("a", "first", 1)},
			want: []string{"net0 0000:3b:02.2 b/second", "net1 0000:3b:02.1 a/first"},
		},
		"those of device plugins first": {
			annotation: "fast,fast", claimed: []types.ClaimedDevice{vfOf("a", "r", 1)}, devices: map[string][]string{"example.com/vf": {"0000:3b:02.5"}},
			want: []string{"net0 0000:3b:02.5 -", "net1 0000:3b:02.1 a/r"},
		},
		"named by claim and request, whatever the order": {
			annotation: `[{"name": "fast"}, {"name": "fast", "plexus-cni.io/claim": "a/two"}, {"name": "fast", "plexus-cni.io/claim": "a/one"}]`,
			claimed:    []types.ClaimedDevice{vfOf("a", "one", 1), vfOf("a", "two", 2), vfOf("a", "three", 3)},
			want:       []string{"net0 0000:3b:02.3 a/three", "net1 0000:3b:02.2 a/two", "net2 0000:3b:02.1 a/one"},
		},
		"a request is more particular than a claim": {
			annotation: `[{"name": "plain", "plexus-cni.io/claim": "a"}, {"name": "plain", "plexus-cni.io/claim": "a/one"}]`,
			claimed:    []types.ClaimedDevice{vfOf("a", "one", 1), vfOf("a", "two", 2)},
			want:       []string{"net0 0000:3b:02.2 a/two", "net1 0000:3b:02.1 a/one"},
		},
		"by the object's name": {
			annotation: `[{"name": "plain", "plexus-cni.io/claim": "p-a-x7k2p"}]`, claimed: []types.ClaimedDevice{vfOf("a", "one", 1)},
			want: []string{"net0 0000:3b:02.1 a/one"},
		},
		"an alternative of a request": {
			annotation: `[{"name": "plain", "plexus-cni.io/claim": "a/nic"}]`, claimed: []types.ClaimedDevice{vfOf("a", "nic/fast", 1)},
			want: []string{"net0 0000:3b:02.1 a/nic/fast"},
		},
		"the definition names the claim": {
			annotation: "named", claimed: []types.ClaimedDevice{vfOf("other", "port", 1), nameless},
			want: []string{"net0 0000:3b:02.6 uplink/port"},
		},
		"an empty claim is none": {
			annotation: `[{"name": "named", "plexus-cni.io/claim": ""}, {"name": "fast", "plexus-cni.io/claim": ""}]`, claimed: []types.ClaimedDevice{nameless, vfOf("other", "port", 1)},
			want: []string{"net0 0000:3b:02.6 uplink/port", "net1 0000:3b:02.1 other/port"},
		},
		"the element's claim comes before the definition's": {
			annotation: `[{"name": "named", "plexus-cni.io/claim": "other"}]`, claimed: []types.ClaimedDevice{nameless, vfOf("other", "port", 1)},
			want: []string{"net0 0000:3b:02.1 other/port"},
		},
		"the pod's name for a claim before another's object": {
			annotation: `[{"name": "plain", "plexus-cni.io/claim": "b"}, {"name": "plain", "plexus-cni.io/claim": "a"}]`,
			claimed:    []types.ClaimedDevice{objectOf("b", vfOf("a", "r", 1)), objectOf("a", vfOf("b", "r", 2))},
			want:       []string{"net0 0000:3b:02.2 b/r", "net1 0000:3b:02.1 a/r"},
		},
		"a resource is more particular than none": {
			annotation: `[{"name": "plain", "plexus-cni.io/claim": "a"}, {"name": "fast", "plexus-cni.io/claim": "a"}]`,
			claimed:    []types.ClaimedDevice{vfOf("a", "r", 1), other},
			want:       []string{"net0 0000:3b:02.3 a/r", "net1 0000:3b:02.1 a/r"},
		},
		"named by an address in capitals": {
			annotation: `[{"name": "plain", "deviceID": "0000:3B:02.7"}]`, claimed: []types.ClaimedDevice{odd},
			want: []string{"net0 vf-of-another-driver odd/port"},
		},
		"named by ID": {
			annotation: `[{"name": "plain", "deviceID": "vf-of-another-driver"}]`, claimed: []types.ClaimedDevice{odd},
			want: []string{"net0 vf-of-another-driver odd/port"},
		},
		"two shares are one device": {
			annotation: "fast,fast", claimed: []types.ClaimedDevice{vfOf("uplink", "port", 1), share, vfOf("a", "r", 2)},
			want: []string{"net0 0000:3b:02.1 uplink/port", "net1 0000:3b:02.2 a/r"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			world := claimWorld(test.annotation, test.claimed...)
			if test.devices != nil {
				world.devices = test.devices
			}
			var got []string
			for _, a := range world.make(t).plan.Attachments[1:] {
				of := "-"
				if a.Claimed != nil {
					of = a.Claimed.PodClaim + "/" + a.Claimed.Request
				}
				got = append(got, fmt.Sprintf("%s %s %s", a.Interface, a.DeviceID, of))
			}
			if diff := cmp.Diff(test.want, got); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

func TestPlanDevicesOfClaimsRefused(t *testing.T) {
	gpu := types.ClaimedDevice{Claim: "gpu", Driver: "gpu.example.com", Pool: "n1", Name: "gpu-0"}
	nobody := claimWorld(`[{"name": "plain", "plexus-cni.io/claim": "a"}]`)
	nobody.devices = nil
	noKubelet := claimWorld("fast", gpu)
	noKubelet.devices = nil
	plugin := claimWorld(`[{"name": "plain", "plexus-cni.io/claim": "a/r"}]`, vfOf("a", "r", 1))
	plugin.devices = map[string][]string{"example.com/dpdk": {"0000:3b:02.1"}}
	runRefused(t, map[string]refusal{
		"too few, beside a GPU": {
			claimWorld("fast,fast", vfOf("a", "r", 1), gpu),
			[]string{
				`network default/fast: resource example.com/vf: no device is left for this attachment; allocated to the pod: device "0000:3b:02.1" of resource example.com/vf (for network default/fast)`,
				`device gpu-0 of pool n1 (driver gpu.example.com, claim gpu) is not for networks: its driver publishes neither k8s.cni.cncf.io/deviceID nor resource.kubernetes.io/pciBusID`,
			},
			0,
		},
		"a GPU alone": {claimWorld("fast", gpu), []string{"allocated to the pod: none; by claims: device gpu-0"}, 0},
		"two shares of one device": {
			claimWorld(`[{"name": "plain", "plexus-cni.io/claim": "a/one"}, {"name": "plain", "plexus-cni.io/claim": "a/two"}]`, vfOf("a", "one", 1), vfOf("a", "two", 1)),
			[]string{"network default/plain: plexus-cni.io/claim a/two: no device of that claim is left for this attachment", "claim p-a-x7k2p, request one"},
			0,
		},
		"a claim that the pod has not": {
			claimWorld(`[{"name": "plain", "plexus-cni.io/claim": "b/r"}]`, vfOf("a", "r", 1)),
			[]string{"network default/plain: plexus-cni.io/claim b/r: no device of that claim is left", "by claims the pod has: device vf-1 of pool n1 (driver sriov.example.com, claim p-a-x7k2p, request r)"},
			0,
		},
		"of another resource than the network's": {
			claimWorld(`[{"name": "dpdk", "plexus-cni.io/claim": "a/r"}]`, vfOf("a", "r", 1)),
			[]string{"network default/dpdk: plexus-cni.io/claim a/r: no device of that claim is left for this attachment, whose network takes resource example.com/dpdk; by claims"},
			0,
		},
		"a device plugin has it too": {plugin, []string{"plexus-cni.io/claim a/r: no device of that claim is left"}, 0},
		"nobody was asked":           {nobody, []string{"plexus-cni.io/claim a: the devices of the pod's claims are not known"}, 0},
		"no kubelet, and a GPU alone": {
			noKubelet, []string{"resource example.com/vf: its devices are not known: there is no kubelet to ask", "by claims the pod has: device gpu-0"}, 0,
		},
		"no claim and no request": {
			claimWorld(`[{"name": "plain", "plexus-cni.io/claim": "a/"}]`), []string{`plexus-cni.io/claim: "a/" is not CLAIM, CLAIM/REQUEST or CLAIM/REQUEST/SUBREQUEST`}, 7,
		},
		"a claim and a device": {
			claimWorld(`[{"name": "plain", "plexus-cni.io/claim": "a", "deviceID": "x"}]`), []string{"plexus-cni.io/claim: cannot be combined with deviceID"}, 7,
		},
	})
}
