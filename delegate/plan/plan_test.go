package plan

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// single is a small configuration of one plugin.
func single(plugin string) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "type": %q}`, plugin+"-net", plugin)
}

// able is a configuration list whose first plugin declares the capabilities.
func able(capabilities string) string {
	return `{"cniVersion": "1.0.0", "name": "able", "plugins": [{"type": "bridge", "capabilities": {` + capabilities + `}}, {"type": "tuning"}]}`
}

func TestPlanOrder(t *testing.T) {
	everywhere := map[string]string{
		"kube-system/ops": single("macvlan"), "kube-system/log": single("ipvlan"),
		"default/a": single("bridge"), "default/b": single("bridge"), "other/c": single("bridge"),
	}
	runGolden(t, map[string]planWorld{
		"plain-pod": {config: podnet},
		"no-pod":    {config: podnet + `, "defaultNetworks": ["ops"]`, noPod: true, networks: everywhere},
		"numbers-from-0": {
			config: podnet + `, "defaultNetworks": ["ops", "log"]`, networks: everywhere,
			annotations: annotated("a, b@custom0 ,other/c"),
		},
		"numbers-from-1": {
			config: podnet + `, "firstInterfaceIndex": 1, "defaultNetworks": ["ops", "log"]`, networks: everywhere,
			annotations: annotated("a,b@custom0,other/c"),
		},
		"more-delegates-come-first": {
			config:   `"delegates": [` + single("bridge") + `, {"type": "macvlan"}, ` + single("ipvlan") + `], "defaultNetworks": ["ops"]`,
			networks: everywhere, annotations: annotated("a"),
		},
		"clusternetwork-wins-over-delegates": {
			config: `"clusterNetwork": "ops", "delegates": [` + single("bridge") + `, ` + single("ipvlan") + `]`, networks: everywhere,
		},
		"no-defaultnetworks-in-kube-system": {
			config: podnet + `, "defaultNetworks": ["ops"]`, networks: everywhere,
			pod: types.Pod{Namespace: "kube-system", Name: "dns"}, annotations: annotated("log"),
		},
		"other-system-namespaces": {
			config: podnet + `, "defaultNetworks": ["ops"], "systemNamespaces": ["default"]`, networks: everywhere,
			pod: types.Pod{Namespace: "kube-system", Name: "dns"},
		},
		"one-network-twice": {config: podnet, networks: everywhere, annotations: annotated(`[{"name": "a", "cni-args": {"n": 1}}, {"name": "a", "cni-args": {"n": 2}}]`)},
	})
}

// The annotation may name the first interface as the runtime does.
func TestPlanDefaultNetworkOfTheRuntimesName(t *testing.T) {
	for name, world := range map[string]planWorld{
		"short form":             {annotations: map[string]string{types.AnnotationDefaultNetwork: "fast@eth0"}},
		"JSON":                   {annotations: map[string]string{types.AnnotationDefaultNetwork: `[{"name": "fast", "interface": "eth0"}]`}},
		"the deprecated key":     {annotations: map[string]string{types.AnnotationDefaultNetwork: `[{"name": "fast", "interfaceRequest": "eth0"}]`}},
		"another runtime's name": {annotations: map[string]string{types.AnnotationDefaultNetwork: "fast@pod0"}, ifName: "pod0"},
	} {
		t.Run(name, func(t *testing.T) {
			world.config, world.networks = podnet, map[string]string{"kube-system/fast": single("macvlan")}
			got := world.make(t)
			if got.err != nil {
				t.Fatal(got.err)
			}
			if a := got.plan.Attachments[0]; a.Network != "kube-system/fast" || !a.Default || a.Interface != got.plan.Sandbox.IfName {
				t.Errorf("the first attachment is %+v", a)
			}
		})
	}
	world := planWorld{config: podnet, annotations: map[string]string{types.AnnotationDefaultNetwork: "fast@eth0"}, ifName: "pod0"}
	checkRefusal(t, world.make(t), &refusal{want: []string{`asks for interface "eth0", but the runtime names the pod's first interface "pod0"`}})
}

func TestPlanDefaultNetworkAnnotation(t *testing.T) {
	networks := map[string]string{"kube-system/fast": single("macvlan"), "tenant/own": single("ipvlan"), "default/a": single("bridge")}
	chosen := func(value string) map[string]string {
		return map[string]string{types.AnnotationDefaultNetwork: value, types.AnnotationNetworks: "default/a"}
	}
	tenant := types.Pod{Namespace: "tenant", Name: "app"}
	runGolden(t, map[string]planWorld{
		"chosen-in-multusnamespace": {config: podnet, networks: networks, annotations: chosen("fast")},
		"chosen-leaves-the-other-delegates": {
			config: `"delegates": [` + single("bridge") + `, ` + single("portmap") + `]`, networks: networks, annotations: chosen("kube-system/fast"),
		},
		"chosen-in-a-listed-namespace": {
			config: podnet + `, "defaultNetworkNamespaces": ["tenant"]`, networks: networks, annotations: chosen("tenant/own"),
		},
		"chosen-anywhere": {config: podnet + `, "defaultNetworkNamespaces": ["*"]`, networks: networks, annotations: chosen("tenant/own")},
		"chosen-in-ones-own-namespace-with-isolation": {
			config: podnet + `, "namespaceIsolation": true`, pod: tenant, networks: networks, annotations: chosen("tenant/own"),
		},
		"chosen-in-a-global-namespace-with-isolation": {
			config: podnet + `, "namespaceIsolation": true, "globalNamespaces": "default, tenant"`, networks: networks, annotations: chosen("tenant/own"),
		},
		"chosen-with-requests": {
			config: podnet + `, "runtimeConfig": {"ips": ["192.0.2.9/24"], "portMappings": []}`, networks: map[string]string{"kube-system/able": able(`"ips": true, "portMappings": true`)},
			annotations: map[string]string{types.AnnotationDefaultNetwork: `[{"name": "able", "ips": ["192.0.2.7/24"], "default-route": ["192.0.2.1"]}]`},
		},
	})
}

func TestPlanRequests(t *testing.T) {
	all := able(`"ips": true, "mac": true, "infinibandGUID": true, "portMappings": true, "bandwidth": true, "deviceID": true, "CNIDeviceInfoFile": true, "ipam-claim-reference": true`)
	runGolden(t, map[string]planWorld{
		"every-request": {config: podnet, networks: map[string]string{"default/n": all}, annotations: annotated(`[{"name": "n",
			"ips": ["192.0.2.7/24", "2001:db8::7"], "mac": "02:00:00:00:00:07", "infiniband-guid": "24:8a:07:03:00:8d:ae:2f",
			"portMappings": [{"hostPort": 8080, "containerPort": 80}], "bandwidth": {"ingressRate": 1000000}, "deviceID": "0000:3b:02.0",
			"cni-args": {"k": ["v"]}, "default-route": ["192.0.2.1", "2001:db8::1"]}]`)},
		"ipam-claim-where-declared": {
			config: podnet, networks: map[string]string{"default/n": all}, annotations: annotated(`[{"name": "n", "ipam-claim-reference": "claim"}]`),
		},
		// Neither a claim nor a device is ever an error: plugins know them by other ways too.
		"claim-and-device-not-declared": {
			config: podnet, networks: map[string]string{"default/n": able("")},
			annotations: annotated(`[{"name": "n", "ipam-claim-reference": "claim", "deviceID": "0000:3b:02.0"}]`),
		},
		"no-device-info-kept": {config: podnet, networks: map[string]string{"default/n": all}, annotations: annotated("n"), noDevInfo: true},
		"capability-is-false": {config: podnet, networks: map[string]string{"default/n": able(`"deviceID": false, "CNIDeviceInfoFile": false`)}, annotations: annotated("n")},
		"runtimeconfig-is-for-the-default": {
			config: `"delegates": [` + able(`"portMappings": true, "bandwidth": false`) + `],
				"runtimeConfig": {"portMappings": [{"hostPort": 1}], "bandwidth": {"ingressRate": 1}, "dns": {"servers": []}}`,
			networks: map[string]string{"default/n": all}, annotations: annotated("n"),
		},
		"cni-args-merged": {
			config: podnet, annotations: annotated(`[{"name": "n", "cni-args": {"both": "annotation", "mine": {"a": 1}}}]`),
			networks: map[string]string{"default/n": `{"name": "n", "plugins": [
				{"type": "bridge", "args": {"cni": {"both": "configuration", "theirs": true}, "other": {"x": 1}}}, {"type": "tuning"}]}`},
		},
		"devices-in-order": {
			config: podnet, annotations: annotated("a, b, a"),
			facts: []types.Network{
				{Ref: types.Ref{Namespace: "default", Name: "a"}, Config: able(`"deviceID": true`), ResourceName: "example.com/vf"},
				{Ref: types.Ref{Namespace: "default", Name: "b"}, Config: single("sriov"), ResourceName: "example.com/other"},
			},
			devices: map[string][]string{"example.com/vf": {"0000:3b:02.0", "0000:3b:02.1"}, "example.com/other": {"0000:af:00.1"}},
		},
		// A device that is named is kept from the attachments before it, and its resource is known
		// though the network does not say it.
		"named-devices": {
			config: podnet, annotations: annotated(`[{"name": "a"}, {"name": "a", "deviceID": "0000:3b:02.0"}, {"name": "n", "deviceID": "0000:af:00.1"}]`),
			facts: []types.Network{
				{Ref: types.Ref{Namespace: "default", Name: "a"}, Config: able(`"deviceID": true`), ResourceName: "example.com/vf"},
				{Ref: types.Ref{Namespace: "default", Name: "n"}, Config: single("sriov")},
			},
			devices: map[string][]string{"example.com/vf": {"0000:3b:02.0", "0000:3b:02.1"}, "example.com/other": {"0000:af:00.1"}},
		},
		"device-replaces-that-of-the-configuration": {
			config: podnet, annotations: annotated(`[{"name": "n", "deviceID": "new"}]`),
			networks: map[string]string{"default/n": `{"name": "n", "type": "sriov", "DeviceId": "old", "pciBusID": "old"}`},
		},
		"unknown-keys-are-warned-of": {
			config: podnet, networks: map[string]string{"default/n": single("bridge"), "kube-system/d": single("bridge")},
			annotations: map[string]string{
				types.AnnotationNetworks:       `[{"name": "n", "vlan": 7}]`,
				types.AnnotationDefaultNetwork: `[{"name": "d", "colour": "red"}]`,
			},
		},
	})
}

func TestPlanDoesNotTouchItsFacts(t *testing.T) {
	devices := map[string][]string{"example.com/vf": {"a", "b"}}
	world := planWorld{
		config: podnet, annotations: annotated("n,n"), devices: devices,
		facts: []types.Network{{Ref: types.Ref{Namespace: "default", Name: "n"}, Config: single("sriov"), ResourceName: "example.com/vf"}},
	}
	first := world.make(t)
	second := world.planIn(t, first.dir)
	if diff := cmp.Diff(first.plan, second.plan); diff != "" {
		t.Errorf("a second plan of the same facts differs:\n%s", diff)
	}
	if !slices.Equal(devices["example.com/vf"], []string{"a", "b"}) {
		t.Errorf("the allocation was changed: %v", devices)
	}
}

func TestConfiguredRefs(t *testing.T) {
	ref := func(name string) types.Ref { return types.Ref{Namespace: "ops", Name: name} }
	for name, test := range map[string]struct {
		config *types.Config
		want   []types.Ref
	}{
		"none": {&types.Config{MultusNamespace: "ops"}, nil},
		"each once": {
			&types.Config{MultusNamespace: "ops", ClusterNetwork: "a", DefaultNetworks: []string{"b", "a"}},
			[]types.Ref{ref("a"), ref("b")},
		},
		"paths and names that only a file can have": {
			&types.Config{MultusNamespace: "ops", ClusterNetwork: "/etc/cni/net.d/x.conflist", DefaultNetworks: []string{"My_Net", "b", "./c"}},
			[]types.Ref{ref("b")},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(test.want, ConfiguredRefs(test.config)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// A name that is made up is never one that another ADD of the container or the runtime has
// chosen. One that the pod asks for is no other's to take, nor does it change.
func TestPlanAvoidsNamesOfOtherAdds(t *testing.T) {
	networks := map[string]string{"default/a": `{"cniVersion": "1.0.0", "type": "macvlan"}`}
	for name, test := range map[string]struct {
		taken, networks string
		ifName          string
		first           int
		want            string
	}{
		"nothing is taken":                 {"", "a,a", "eth0", 0, "eth0 net0 net1"},
		"some are":                         {"eth0 net0 net1", "a,a", "eth1", 0, "eth1 net2 net3"},
		"one in between":                   {"net1", "a,a,a", "eth1", 0, "eth1 net0 net2 net3"},
		"before the first number":          {"net0 net1", "a", "eth1", 2, "eth1 net2"},
		"beside one that is asked for":     {"net0", "a,a@net1,a", "eth1", 0, "eth1 net2 net1 net4"},
		"one that is asked for stays":      {"net0 x", "a@x,a", "eth1", 0, "eth1 x net1"},
		"the runtime's own":                {"", "a,a", "net0", 0, "net0 net1 net2"},
		"the runtime's own, and the other": {"net1", "a,a", "net0", 0, "net0 net2 net3"},
	} {
		t.Run(name, func(t *testing.T) {
			w := planWorld{config: podnet + fmt.Sprintf(`, "firstInterfaceIndex": %d`, test.first), networks: networks, annotations: annotated(test.networks), ifName: test.ifName}
			w.taken = strings.Fields(test.taken)
			got := w.make(t)
			if got.err != nil {
				t.Fatal(got.err)
			}
			var names []string
			for _, a := range got.plan.Attachments {
				names = append(names, a.Interface)
			}
			if diff := cmp.Diff(test.want, strings.Join(names, " ")); diff != "" {
				t.Error(diff)
			}
		})
	}
}
