package delegate

import (
	"encoding/json"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// Section 5, as far as the entries follow from results alone.

// specResult reads a result, which may be of any version.
func specResult(t *testing.T, text string) *current.Result {
	t.Helper()
	result, _, err := parseResult([]byte(text))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

func specEntries(t *testing.T, want, got []types.NetworkStatus) {
	t.Helper()
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("(-want +got):\n%s", diff)
	}
}

// specVeth is what bridge gives: two interfaces of the host before that of the pod.
const specVeth = `"interfaces": [
	{"name": "br0", "mac": "02:00:00:00:00:01"}, {"name": "veth1", "mac": "02:00:00:00:00:02"}, {"name": "net0", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/x"}]`

// seenNet0 is a namespace that has net0.
var seenNet0 = map[string]*seenInterface{"net0": {mac: "02:00:00:00:00:99", mtu: 1500, ips: []string{"192.0.2.99"}}}

func TestSpec_5_3_1_Name(t *testing.T) {
	entries := networkStatus(&types.Attachment{Network: "default/net-a", Name: "other", Interface: "net0"}, nil, nil)
	specEntries(t, []types.NetworkStatus{{Name: "default/net-a"}}, entries)
}

// TestSpec_5_3_2_1_Interface and the two after it, for the first interface with a
// sandbox.
func TestSpec_5_3_2_1_Interface(t *testing.T) {
	a := &types.Attachment{Network: "n", Interface: "net0"}
	for _, version := range types.CNIVersions {
		result := specResult(t, `{"cniVersion": "`+version+`", `+specVeth+`}`)
		specEntries(t, []types.NetworkStatus{{Name: "n", Interface: "net0", MAC: "02:00:00:00:00:03"}}, networkStatus(a, result, nil))
	}
	// Before 0.3.0 a result names none; that of CNI_IFNAME is taken if it is there.
	old := specResult(t, `{"cniVersion": "0.2.0", "ip4": {"ip": "192.0.2.5/24"}}`)
	specEntries(t, []types.NetworkStatus{{Name: "n", Interface: "net0", MAC: "02:00:00:00:00:99", MTU: 1500, IPs: []string{"192.0.2.5"}}}, networkStatus(a, old, seenNet0))
	specEntries(t, []types.NetworkStatus{{Name: "n", IPs: []string{"192.0.2.5"}}}, networkStatus(a, old, nil))
}

func TestSpec_5_3_3_1_IPs(t *testing.T) {
	for _, tc := range []struct {
		name, result string
		want         []string
	}{
		{"rule 1: those of the first sandbox interface", `{"cniVersion": "1.0.0", ` + specVeth + `, "ips": [
			{"address": "192.0.2.1/24", "interface": 0}, {"address": "192.0.2.5/24", "interface": 2}, {"address": "2001:db8::5/64", "interface": 2}]}`, []string{"192.0.2.5", "2001:db8::5"}},
		{"rule 1, in the version before", `{"cniVersion": "0.4.0", ` + specVeth + `, "ips": [{"version": "4", "address": "192.0.2.5/24", "interface": 2}]}`, []string{"192.0.2.5"}},
		{"rule 2: no interfaces", `{"cniVersion": "1.0.0", "ips": [{"address": "192.0.2.5/24"}]}`, []string{"192.0.2.5"}},
		{"rule 2: none with a sandbox", `{"cniVersion": "1.0.0", "interfaces": [{"name": "br0"}], "ips": [{"address": "192.0.2.1/24", "interface": 0}, {"address": "192.0.2.5/24", "interface": -1}]}`, []string{"192.0.2.5"}},
		{"neither: those of the host alone", `{"cniVersion": "1.0.0", ` + specVeth + `, "ips": [{"address": "192.0.2.1/24", "interface": 0}, {"address": "192.0.2.2/24", "interface": 1}]}`, nil},
		{"an index that is none", `{"cniVersion": "1.0.0", ` + specVeth + `, "ips": [{"address": "192.0.2.1/24", "interface": 7}]}`, nil},
		{"before 0.3.0: ip4 and ip6", `{"cniVersion": "0.2.0", "ip4": {"ip": "192.0.2.5/24"}, "ip6": {"ip": "2001:db8::5/64"}}`, []string{"192.0.2.5", "2001:db8::5"}},
		{"no addresses", `{"cniVersion": "1.0.0", ` + specVeth + `}`, nil},
	} {
		t.Run(tc.name, func(t *testing.T) {
			entries := networkStatus(&types.Attachment{Network: "n", Interface: "net0"}, specResult(t, tc.result), nil)
			if diff := cmp.Diff(tc.want, entries[0].IPs); diff != "" || len(entries) != 1 {
				t.Errorf("%d entries, (-want +got):\n%s", len(entries), diff)
			}
		})
	}
}

// TestSpec_5_3_4_MACNeedsInterface: there is no "mac" without an "interface".
func TestSpec_5_3_4_MACNeedsInterface(t *testing.T) {
	a := &types.Attachment{Network: "n", Interface: "net0"}
	nameless := specResult(t, `{"cniVersion": "1.0.0", "interfaces": [{"name": "", "mac": "02:00:00:00:00:03", "sandbox": "/run/netns/x"}]}`)
	specEntries(t, []types.NetworkStatus{{Name: "n"}}, networkStatus(a, nameless, nil))
	specEntries(t, []types.NetworkStatus{{Name: "n", Interface: "net0", MAC: "02:00:00:00:00:03", MTU: 1500, IPs: []string{"192.0.2.99"}}}, networkStatus(a, nameless, seenNet0))
}

// TestSpec_5_3_5_Default: one entry alone, even of a default network with two
// interfaces.
func TestSpec_5_3_5_Default(t *testing.T) {
	result := specResult(t, `{"cniVersion": "1.0.0", "interfaces": [{"name": "eth0", "sandbox": "/x"}, {"name": "eth1", "sandbox": "/x"}]}`)
	specEntries(t,
		[]types.NetworkStatus{{Name: "master", Interface: "eth0", Default: true}, {Name: "master", Interface: "eth1"}},
		networkStatus(&types.Attachment{Network: "master", Interface: "eth0", Default: true}, result, nil))
	specEntries(t,
		[]types.NetworkStatus{{Name: "n", Interface: "eth0"}, {Name: "n", Interface: "eth1"}},
		networkStatus(&types.Attachment{Network: "n", Interface: "eth0"}, result, nil))
}

func TestSpec_5_3_6_DNS(t *testing.T) {
	result := specResult(t, `{"cniVersion": "1.0.0", "dns": {"nameservers": ["192.0.2.1", "2001:db8:4860::8888"], "domain": "example.com", "search": ["eng.example.com", "example.com"]}}`)
	entries := networkStatus(&types.Attachment{Network: "n", Interface: "net0"}, result, nil)
	data, err := json.Marshal(entries)
	if err != nil {
		t.Fatal(err)
	}
	want := `[{"name":"n","default":false,"dns":{"nameservers":["192.0.2.1","2001:db8:4860::8888"],"domain":"example.com","search":["eng.example.com","example.com"]}}]`
	if string(data) != want {
		t.Errorf("the status is\n%s\nwant\n%s", data, want)
	}
}

// TestSpec_5_3_6_4_DefaultRoute: of the attachment that asked for it, and of no other.
func TestSpec_5_3_6_4_DefaultRoute(t *testing.T) {
	for name, want := range map[string][]string{"one": {"192.0.2.1"}, "several": {"192.0.2.1", "2001:db8::1", "2001:db8::2"}, "none asked for": nil} {
		t.Run(name, func(t *testing.T) {
			result := specResult(t, `{"cniVersion": "1.0.0", "routes": [{"dst": "0.0.0.0/0", "gw": "192.0.2.77"}]}`)
			entries := networkStatus(&types.Attachment{Network: "n", Interface: "net0", Gateways: want}, result, nil)
			if diff := cmp.Diff(want, entries[0].DefaultRoute); diff != "" {
				t.Error(diff)
			}
		})
	}
}
