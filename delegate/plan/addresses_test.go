package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// listWith is a list whose first plugin has an IPAM plugin, and declares the capabilities.
func listWith(ipam, capabilities string) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "plugins": [{"type": "bridge", "capabilities": {%s}, "ipam": {"type": %q}}, {"type": "tuning"}]}`, capabilities, ipam)
}

// What the pod asks goes into CNI_ARGS, declared or not: some plugins look nowhere else. Of
// several addresses it goes where a plugin may read a list.
func TestPlanAddressArgs(t *testing.T) {
	const one, two = `"ips": ["192.0.2.7/24"]`, `"ips": ["192.0.2.7/24", "2001:db8::7/64"]`
	oneArg, twoArgs := [2]string{"IP", "192.0.2.7/24"}, [2]string{"IP", "192.0.2.7/24,2001:db8::7/64"}
	for name, c := range map[string]struct {
		config, request string
		want            [][2]string
	}{
		"one":                           {listWith("static", ""), one, [][2]string{oneArg}},
		"one, declared":                 {listWith("static", `"ips": true`), one, [][2]string{oneArg}},
		"one, of host-local":            {listWith("host-local", `"ips": true`), one, [][2]string{oneArg}},
		"two":                           {listWith("static", ""), two, [][2]string{twoArgs}},
		"two, declared":                 {listWith("static", `"ips": true`), two, nil},
		"two, of host-local":            {listWith("host-local", ""), two, nil},
		"two, of whereabouts":           {listWith("whereabouts", ""), two, [][2]string{twoArgs}},
		"two, of whereabouts, declared": {listWith("whereabouts", `"ips": true`), two, [][2]string{twoArgs}},
		"two, of flannel's host-local":  {`{"type": "flannel"}`, two, nil},
		"MAC":                           {listWith("static", `"mac": true`), `"mac": "02-00-00-00-00-07"`, [][2]string{{"MAC", "02-00-00-00-00-07"}}},
		"MAC and IP":                    {listWith("static", ""), one + `, "mac": "02:00:00:00:00:07"`, [][2]string{{"MAC", "02:00:00:00:00:07"}, oneArg}},
		"neither":                       {listWith("static", ""), `"default-route": ["192.0.2.1"]`, nil},
		"cni-args are no CNI_ARGS":      {listWith("static", ""), `"cni-args": {"IP": "192.0.2.9", "K8S_POD_NAME": "another"}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			world := planWorld{
				config: podnet, files: map[string]string{"bin/whereabouts": ""}, networks: map[string]string{"default/n": c.config},
				annotations: annotated(`[{"name": "n", ` + c.request + `}]`),
			}
			a := specAttachments(t, world.make(t))[0]
			if diff := cmp.Diff(c.want, a.Args); diff != "" {
				t.Errorf("CNI_ARGS (-want +got):\n%s", diff)
			}
		})
	}
}

// The default network that the pod chooses gets what the pod asks of it, as in Multus.
func TestPlanAddressArgsOfTheDefaultNetwork(t *testing.T) {
	world := planWorld{
		config: podnet, networks: map[string]string{"kube-system/n": listWith("static", "")},
		annotations: map[string]string{types.AnnotationDefaultNetwork: `[{"name": "n", "ips": ["192.0.2.7/24"], "mac": "02:00:00:00:00:07"}]`},
	}
	got := world.make(t)
	if got.err != nil {
		t.Fatal(got.err)
	}
	if diff := cmp.Diff([][2]string{{"MAC", "02:00:00:00:00:07"}, {"IP", "192.0.2.7/24"}}, got.plan.Attachments[0].Args); diff != "" {
		t.Errorf("CNI_ARGS (-want +got):\n%s", diff)
	}
}

// A pod cannot hide another argument in an address.
func TestPlanNoArgumentHidesInAnAddress(t *testing.T) {
	for _, hidden := range []string{";K8S_POD_NAME=another", ";IgnoreUnknown=0", ",192.0.2.8/24", " ", "\n", "%eth0;GATEWAY=192.0.2.1", "=", "\x00"} {
		for _, request := range []string{
			fmt.Sprintf(`"ips": [%q]`, "192.0.2.7/24"+hidden), fmt.Sprintf(`"ips": [%q]`, "fe80::7"+hidden), fmt.Sprintf(`"ips": ["192.0.2.7", %q]`, hidden+"2001:db8::7"),
			fmt.Sprintf(`"mac": %q`, "02:00:00:00:00:07"+hidden), fmt.Sprintf(`"mac": %q`, hidden+"0200.0000.0007"),
		} {
			request = strings.ReplaceAll(request, `\x00`, `\u0000`)
			world := planWorld{config: podnet, networks: map[string]string{"default/n": listWith("static", "")}, annotations: annotated(`[{"name": "n", ` + request + `}]`)}
			if got := world.make(t); got.err == nil {
				t.Errorf("%s is planned as %q", request, got.plan.Attachments[1].Args)
			} else if !strings.Contains(got.err.Error(), "is not a") {
				t.Errorf("%s is refused for another reason: %v", request, got.err)
			}
		}
	}
}
