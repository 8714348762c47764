package explain

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

func planOf(attachments ...types.Attachment) *types.Plan {
	return &types.Plan{
		Pod: types.Pod{Namespace: "shop", Name: "web"}, Attachments: attachments,
		Sandbox: types.Sandbox{ContainerID: "c1", IfName: "eth0", Args: [][2]string{{"K8S_POD_NAME", "web"}}},
	}
}

func lan() types.Attachment {
	return types.Attachment{
		Network: "shop/lan", Name: "lan", Interface: "net0", DeviceID: "0000:3b:02.1", ResourceName: "example.com/vf",
		Config: `{"cniVersion":"1.0.0","name":"lan","plugins":[{"type":"bridge","capabilities":{"ips":true},"ipam":{"type":"static"},"password":"x"},` +
			`{"type":"tuning","capabilities":{"mac":true},"args":{"cni":{"b":1,"a":2}}}]}`,
		CapabilityArgs: map[string]json.RawMessage{"ips": json.RawMessage(`["192.0.2.1/24"]`), "mac": json.RawMessage(`"02:00:00:00:00:01"`)},
		Args:           [][2]string{{"MAC", "02:00:00:00:00:01"}}, MAC: "02:00:00:00:00:01", IPs: []string{"192.0.2.1/24"},
		Origin: types.Origin{Field: types.AnnotationNetworks, Element: 1, Definition: &types.Ref{Namespace: "shop", Name: "lan"}},
	}
}

// Each plugin gets what libcni gives it: the name and version of the list, and of the runtime
// configuration what it declares.
func TestOfPlan(t *testing.T) {
	pod, err := OfPlan(t.Context(), planOf(lan()), Options{})
	check.Must(t, err)
	want := Pod{Namespace: "shop", Name: "web", Attachments: []Attachment{{
		Network: "shop/lan", Interface: "net0",
		From:   Origin{Field: types.AnnotationNetworks, Element: 1, Definition: "shop/lan"},
		Device: &Device{Resource: "example.com/vf", ID: "0000:3b:02.1"},
		IPs:    []string{"192.0.2.1/24"}, MAC: "02:00:00:00:00:01", CNIArgs: "IgnoreUnknown=1;MAC=02:00:00:00:00:01",
		Plugins: []Plugin{
			{
				Type: "bridge", Runs: []Run{{"ipam.type", "static"}}, RuntimeConfig: []string{"ips"},
				Stdin: `{"capabilities":{"ips":true},"cniVersion":"1.0.0","ipam":{"type":"static"},"name":"lan","password":"***","runtimeConfig":{"ips":["192.0.2.1/24"]},"type":"bridge"}`,
			},
			{
				Type: "tuning", RuntimeConfig: []string{"mac"}, Args: []string{"a", "b"}, Follows: true,
				Stdin: `{"args":{"cni":{"a":2,"b":1}},"capabilities":{"mac":true},"cniVersion":"1.0.0","name":"lan","runtimeConfig":{"mac":"02:00:00:00:00:01"},"type":"tuning"}`,
			},
		},
	}}}
	check.Equal(t, "pod", pod, want)
	shown, err := OfPlan(t.Context(), planOf(lan()), Options{ShowSecrets: true})
	check.Must(t, err)
	check.Contains(t, "stdin", shown.Attachments[0].Plugins[0].Stdin, `"password":"x"`)
}

// A device of a claim is named as the claim allocates it.
func TestOfPlanClaims(t *testing.T) {
	a := lan()
	a.Claimed = &types.ClaimedDevice{
		Claim: "web-uplink-x7k2p", PodClaim: "uplink", Request: "port", Driver: "sriov.example.com", Pool: "n1", Name: "vf-1", ShareID: "s1",
		Resource: a.ResourceName, ID: a.DeviceID, PCIAddress: a.DeviceID,
	}
	for name, tc := range map[string]struct {
		change func(c *types.ClaimedDevice)
		want   string
	}{
		"as the API server has it": {func(*types.ClaimedDevice) {}, "web-uplink-x7k2p (the pod's uplink), request port: device vf-1 of pool n1, driver sriov.example.com, share s1"},
		"as the kubelet says it":   {func(c *types.ClaimedDevice) { c.PodClaim, c.Request, c.ShareID = "", "", "" }, "web-uplink-x7k2p: device vf-1 of pool n1, driver sriov.example.com"},
		"named directly":           {func(c *types.ClaimedDevice) { c.PodClaim, c.ShareID = c.Claim, "" }, "web-uplink-x7k2p, request port: device vf-1 of pool n1, driver sriov.example.com"},
	} {
		t.Run(name, func(t *testing.T) {
			claimed := *a.Claimed
			tc.change(&claimed)
			changed := a
			changed.Claimed = &claimed
			pod, err := OfPlan(t.Context(), planOf(changed), Options{})
			check.Must(t, err)
			check.Equal(t, "device", pod.Attachments[0].Device, &Device{
				Resource: "example.com/vf", ID: "0000:3b:02.1", Claim: claimed.Claim, PodClaim: claimed.PodClaim, Request: claimed.Request,
				Driver: "sriov.example.com", Pool: "n1", Name: "vf-1", ShareID: claimed.ShareID,
			})
			d := New(Node{})
			d.Pods = []Pod{pod}
			var text strings.Builder
			check.Must(t, d.Write(&text))
			check.Contains(t, "text", text.String(), "  device    0000:3b:02.1 of resource example.com/vf\n", "  claim     "+tc.want+"\n")
		})
	}
}

// args of a configuration may be anything, if the pod asks for none.
func TestOfPlanOddArgs(t *testing.T) {
	a := lan()
	a.Config = `{"cniVersion":"1.0.0","name":"lan","plugins":[{"type":"bridge","capabilities":{"ips":true},"args":"x"}]}`
	pod, err := OfPlan(t.Context(), planOf(a), Options{})
	check.Must(t, err)
	check.Equal(t, "runtimeConfig", pod.Attachments[0].Plugins[0].RuntimeConfig, []string{"ips"})
	check.Equal(t, "args", pod.Attachments[0].Plugins[0].Args, nil)
}

// Nothing is said of a default network that nobody knows.
func TestOfPlanUnknownDefault(t *testing.T) {
	a := types.Attachment{Network: "default-network", Interface: "eth0", Default: true, Config: `{"name":"default-network","plugins":[{"type":"x"}]}`}
	pod, err := OfPlan(t.Context(), planOf(a), Options{Unknown: "default-network"})
	check.Must(t, err)
	check.Equal(t, "attachment", pod.Attachments[0], Attachment{Network: "default-network", Interface: "eth0", Default: true, Assumed: true})
	a.Default = false
	pod, err = OfPlan(t.Context(), planOf(a), Options{Unknown: "default-network"})
	check.Must(t, err)
	check.Equal(t, "another of that name", len(pod.Attachments[0].Plugins), 1)
}

func TestWrite(t *testing.T) {
	d := New(Node{Configuration: "/etc/plexus.conf", Assumed: []string{"a"}, Warnings: []string{"w"}})
	pod, err := OfPlan(t.Context(), planOf(types.Attachment{
		Network: "podnet", Name: "podnet", Interface: "eth0", Default: true, Config: `{"cniVersion":"1.0.0","name":"podnet","plugins":[{"type":"ptp"}]}`,
		Origin: types.Origin{Field: "clusterNetwork", File: "/etc/cni/net.d/10-ptp.conf"},
	}, lan()), Options{})
	check.Must(t, err)
	pod.AddKnows = []string{"k"}
	d.Pods = append(d.Pods, pod, OfError(types.Ref{Namespace: "shop", Name: "db"}, types.Errorf(types.CodeInvalidConfig, "pod shop/db: no")))
	check.Equal(t, "refused", d.HasRefused(), true)
	var text strings.Builder
	check.Must(t, d.Write(&text))
	check.Golden(t, "testdata/text.txt", []byte(text.String()))
}

func TestOfErrorWithoutCode(t *testing.T) {
	pod := OfError(types.Ref{}, errNoted)
	check.Equal(t, "code", pod.Refused.Code, types.CodeFailed)
}
