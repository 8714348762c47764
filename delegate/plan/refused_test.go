package plan

import (
	"fmt"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/types"
)

func TestPlanRequestsRefused(t *testing.T) {
	asks := func(request string) planWorld {
		return planWorld{config: podnet, networks: map[string]string{"default/n": able("")}, annotations: annotated(`[{"name": "n", ` + request + `}]`)}
	}
	runRefused(t, map[string]refusal{
		"infiniband-guid": {asks(`"infiniband-guid": "24:8a:07:03:00:8d:ae:2f"`), []string{"network default/n: infiniband-guid: ", `capability "infinibandGUID"`}, 0},
		"portMappings":    {asks(`"portMappings": [{"hostPort": 1, "containerPort": 2}]`), []string{"network default/n: portMappings: ", `capability "portMappings"`}, 0},
		"bandwidth":       {asks(`"bandwidth": {"egressRate": 1}`), []string{"network default/n: bandwidth: ", `capability "bandwidth"`}, 0},
		"declared false": {
			planWorld{config: podnet, networks: map[string]string{"default/n": able(`"bandwidth": false`)}, annotations: annotated(`[{"name": "n", "bandwidth": {"egressRate": 1}}]`)},
			[]string{`capability "bandwidth"`},
			0,
		},
		"several at once": {asks(`"bandwidth": {"egressRate": 1}, "portMappings": [{"hostPort": 1, "containerPort": 2}]`), []string{"bandwidth: ", "portMappings: "}, 0},
		"args that is no object": {
			planWorld{config: podnet, networks: map[string]string{"default/n": `{"type": "bridge", "args": "x=y"}`}, annotations: annotated(`[{"name": "n", "cni-args": {"a": 1}}]`)},
			[]string{"network default/n: plugins[0] (bridge): args: must be a JSON object, got a string"},
			0,
		},
		"args.cni that is no object": {
			planWorld{config: podnet, networks: map[string]string{"default/n": `{"plugins": [{"type": "bridge"}, {"type": "tuning", "args": {"cni": [1]}}]}`}, annotations: annotated(`[{"name": "n", "cni-args": {"a": 1}}]`)},
			[]string{"network default/n: plugins[1] (tuning): args.cni: must be a JSON object, got an array"},
			0,
		},
	})
}

func TestPlanAnnotationRefused(t *testing.T) {
	defaults := func(value string) planWorld {
		return planWorld{config: podnet, annotations: map[string]string{types.AnnotationDefaultNetwork: value}}
	}
	runRefused(t, map[string]refusal{
		"a comma too many":             {planWorld{config: podnet, annotations: annotated("a,")}, []string{"annotation k8s.v1.cni.cncf.io/networks: element 2: is empty"}, 0},
		"not JSON":                     {planWorld{config: podnet, annotations: annotated("[{")}, []string{"annotation k8s.v1.cni.cncf.io/networks", "not valid JSON"}, 0},
		"two defaults":                 {defaults("a,b"), []string{"annotation v1.multus-cni.io/default-network", "exactly one network, got 2"}, 0},
		"a default is renamed":         {defaults("a@net7"), []string{"annotation v1.multus-cni.io/default-network", `network kube-system/a: asks for interface "net7", but the runtime names the pod's first interface "eth0"`}, 0},
		"a default is renamed in JSON": {defaults(`[{"name":"a","interface":"eth1"}]`), []string{"annotation v1.multus-cni.io/default-network", `asks for interface "eth1"`}, 0},
		"a default is renamed by the deprecated key": {defaults(`[{"name":"a","interfaceRequest":"eth00"}]`), []string{"annotation v1.multus-cni.io/default-network", `asks for interface "eth00"`}, 0},
		"a missing default": {
			planWorld{config: podnet, annotations: map[string]string{types.AnnotationDefaultNetwork: "gone"}, facts: missing("kube-system/gone")},
			[]string{`network kube-system/gone: there is no NetworkAttachmentDefinition "gone" in namespace "kube-system"`},
			0,
		},
		"too many": {
			planWorld{config: podnet, networks: map[string]string{"default/n": single("bridge")}, annotations: annotated(strings.Repeat("n,", types.MaxNetworks) + "n")},
			[]string{"129 networks", "at most 128"},
			0,
		},
	})
}

func TestPlanInterfacesRefused(t *testing.T) {
	networks := map[string]string{"default/a": single("bridge"), "default/b": single("macvlan")}
	runRefused(t, map[string]refusal{
		"taken twice": {planWorld{config: podnet, networks: networks, annotations: annotated("a@x,b@x")}, []string{"default/b", "interface", `"x" is taken by`, "default/a"}, 0},
		"taken by a number": {
			planWorld{config: podnet, networks: networks, annotations: annotated("a,b@net0")}, []string{`network default/b: interface: "net0" is taken by network default/a`}, 0,
		},
		"a number is taken": {
			planWorld{config: podnet, networks: networks, annotations: annotated("a@net1,b")}, []string{`network default/b: interface: "net1" is taken by network default/a`}, 0,
		},
		"the runtime's own": {
			planWorld{config: podnet, networks: networks, annotations: annotated("a@eth0")}, []string{`network default/a: interface: "eth0" is taken by network podnet`}, 0,
		},
		"the loopback": {planWorld{config: podnet, networks: networks, annotations: annotated("a@lo")}, []string{"a@lo", `"lo" is the loopback's`}, 0},
		"two default routes": {
			planWorld{config: podnet, networks: networks, annotations: annotated(`[{"name": "a", "default-route": ["192.0.2.1"]}, {"name": "b", "default-route": ["192.0.2.2"]}]`)},
			[]string{"default/b", "default-route", "default/a", "asks for it already"},
			0,
		},
		"two default routes over both annotations": {
			planWorld{config: podnet, networks: map[string]string{"default/a": single("bridge"), "kube-system/d": single("macvlan")}, annotations: map[string]string{
				types.AnnotationDefaultNetwork: `[{"name": "d", "default-route": ["192.0.2.1"]}]`,
				types.AnnotationNetworks:       `[{"name": "a", "default-route": ["192.0.2.2"]}]`,
			}},
			[]string{"network default/a: default-route: ", "kube-system/d"},
			0,
		},
	})
}

func TestPlanOneOfAKindRefused(t *testing.T) {
	second := func(plugin, delegates string) planWorld {
		return planWorld{config: `"delegates": [` + delegates + `]`, networks: map[string]string{"default/again": single(plugin)}, annotations: annotated("again")}
	}
	chained := `{"name": "chain", "plugins": [{"type": "bridge"}, {"type": "calico"}]}`
	runRefused(t, map[string]refusal{
		"calico":            {second("calico", single("calico")), []string{"network default/again: type: ", "second calico attachment", "calico-net"}, 0},
		"flannel":           {second("flannel", single("flannel")), []string{"network default/again: type: ", "second flannel attachment", "flannel-net"}, 0},
		"chained":           {second("calico", chained), []string{"network default/again: ", "second calico attachment", "chain"}, 0},
		"the node's own":    {planWorld{config: `"delegates": [` + single("calico") + `, ` + chained + `]`}, []string{"network chain: ", "calico-net"}, 0},
		"a third":           {planWorld{config: `"delegates": [` + chained + `, {"name": "b", "type": "calico"}, {"name": "c", "type": "calico"}]`}, []string{"network b: ", "network c: type: a second calico attachment in one pod would break that of network chain"}, 0},
		"both of each kind": {planWorld{config: `"delegates": [` + single("flannel") + `, ` + single("calico") + `, ` + chained + `]`}, []string{"network chain: "}, 0},
	})
	// One of each is a network beside the other.
	world := planWorld{config: `"delegates": [` + single("flannel") + `, ` + single("calico") + `]`}
	if got := world.make(t); got.err != nil {
		t.Errorf("one calico and one flannel: %v", got.err)
	}
}

func TestPlanDevicesRefused(t *testing.T) {
	vf := []types.Network{{Ref: types.Ref{Namespace: "default", Name: "fast"}, Config: single("sriov"), ResourceName: "example.com/vf"}}
	plain := map[string]string{"default/plain": single("sriov")}
	one := map[string][]string{"example.com/vf": {"0000:3b:02.0"}}
	dpdk := types.Network{Ref: types.Ref{Namespace: "default", Name: "dpdk"}, Config: single("sriov"), ResourceName: "example.com/dpdk"}
	runRefused(t, map[string]refusal{
		"nobody was asked": {
			planWorld{config: podnet, facts: vf, annotations: annotated("fast")},
			[]string{"network default/fast: resource example.com/vf: its devices are not known", "podResourcesSocket"},
			0,
		},
		"none": {
			planWorld{config: podnet, facts: vf, annotations: annotated("fast"), devices: map[string][]string{}},
			[]string{"network default/fast: resource example.com/vf: no device is left for this attachment", "none, since no container of it requests one"},
			0,
		},
		"too few": {
			planWorld{config: podnet, facts: vf, annotations: annotated("fast,fast"), devices: one},
			[]string{`network default/fast: resource example.com/vf: no device is left for this attachment; allocated to the pod: device "0000:3b:02.0" of resource example.com/vf (for network default/fast)`},
			0,
		},
		"of another resource": {
			planWorld{config: podnet, facts: vf, annotations: annotated("fast"), devices: map[string][]string{"example.com/pf": {"0000:3b:00.0"}}},
			[]string{"network default/fast: ", `resource example.com/vf: no device is left for this attachment; allocated to the pod: none of resource example.com/vf, but device "0000:3b:00.0" of resource example.com/pf`},
			0,
		},
		"too few, beside other resources": {
			planWorld{config: podnet, facts: vf, annotations: annotated("fast,fast"), devices: map[string][]string{"example.com/vf": {"a"}, "example.com/gpu": {"g0", "g1"}, "example.com/zero": {}}},
			[]string{`network default/fast: resource example.com/vf: no device is left for this attachment; allocated to the pod: device "a" of resource example.com/vf (for network default/fast), device "g0" of resource example.com/gpu, device "g1" of resource example.com/gpu`},
			0,
		},
		"another's, with devices of two resources": {
			planWorld{config: podnet, networks: plain, annotations: annotated(`[{"name": "plain", "deviceID": "x"}]`), devices: map[string][]string{"example.com/vf": {"a"}, "example.com/gpu": {"g0"}}},
			[]string{`network default/plain: deviceID: device "x" is not the pod's; allocated to the pod: device "g0" of resource example.com/gpu, device "a" of resource example.com/vf`},
			0,
		},
		// Naming a device in the annotation does not get round the allocation.
		"named in the annotation, and nobody was asked": {
			planWorld{config: podnet, facts: vf, annotations: annotated(`[{"name": "fast", "deviceID": "0000:3b:02.0"}]`)},
			[]string{"network default/fast: resource example.com/vf: its devices are not known"},
			0,
		},
		"another's": {
			planWorld{config: podnet, facts: vf, annotations: annotated(`[{"name": "fast", "deviceID": "0000:3b:02.7"}]`), devices: one},
			[]string{`network default/fast: deviceID: device "0000:3b:02.7" of resource example.com/vf is not the pod's; allocated to the pod: device "0000:3b:02.0"`},
			0,
		},
		"another's, for a network without a resource": {
			planWorld{config: podnet, networks: plain, annotations: annotated(`[{"name": "plain", "deviceID": "0000:3b:02.7"}]`), devices: one},
			[]string{`network default/plain: deviceID: device "0000:3b:02.7" is not the pod's; allocated to the pod: device "0000:3b:02.0"`},
			0,
		},
		"named, of another resource than the network's": {
			planWorld{config: podnet, facts: vf, annotations: annotated(`[{"name": "fast", "deviceID": "x"}]`), devices: map[string][]string{"example.com/pf": {"x"}}},
			[]string{`network default/fast: deviceID: device "x" of resource example.com/vf is not the pod's; allocated to the pod: none of resource example.com/vf, but device "x" of resource example.com/pf`},
			0,
		},
		"named twice": {
			planWorld{config: podnet, facts: vf, networks: plain, annotations: annotated(`[{"name": "fast", "deviceID": "0000:3b:02.0"}, {"name": "plain", "deviceID": "0000:3b:02.0"}]`), devices: one},
			[]string{`network default/plain: deviceID: device "0000:3b:02.0" of resource example.com/vf is taken by network default/fast; allocated to the pod: device "0000:3b:02.0" of resource example.com/vf (for network default/fast)`},
			0,
		},
		"named by a later attachment": {
			planWorld{config: podnet, facts: vf, annotations: annotated(`[{"name": "fast"}, {"name": "fast", "deviceID": "0000:3b:02.0"}]`), devices: one},
			[]string{`no device is left for this attachment; allocated to the pod: device "0000:3b:02.0" of resource example.com/vf (named by another attachment)`},
			0,
		},
		"of another resource too, for an attachment before": {
			planWorld{config: podnet, facts: vf, networks: plain, annotations: annotated(`[{"name": "plain", "deviceID": "0000:3b:02.0"}, {"name": "fast"}]`), devices: map[string][]string{"example.com/vf": {"0000:3b:02.0"}, "example.com/dpdk": {"0000:3b:02.0"}}},
			[]string{`network default/fast: resource example.com/vf: no device is left for this attachment`, `device "0000:3b:02.0" of resource example.com/dpdk (for network default/plain)`},
			0,
		},
		"of another resource too, and nobody names it": {
			planWorld{config: podnet, facts: append(vf, dpdk), annotations: annotated("dpdk,fast"), devices: map[string][]string{"example.com/vf": {"0000:3b:02.0"}, "example.com/dpdk": {"0000:3b:02.0"}}},
			[]string{`network default/fast: resource example.com/vf: no device is left for this attachment`, `device "0000:3b:02.0" of resource example.com/vf (for network default/dpdk)`},
			0,
		},
		"of another resource too, for an attachment after": {
			planWorld{config: podnet, facts: vf, networks: plain, annotations: annotated(`[{"name": "fast"}, {"name": "plain", "deviceID": "0000:3b:02.0"}]`), devices: map[string][]string{"example.com/vf": {"0000:3b:02.0"}, "example.com/dpdk": {"0000:3b:02.0"}}},
			[]string{`network default/fast: resource example.com/vf: no device is left for this attachment`, `(named by another attachment)`},
			0,
		},
		"named twice, and nobody was asked": {
			planWorld{config: podnet, networks: plain, annotations: annotated(`[{"name": "plain", "deviceID": "x"}, {"name": "plain", "deviceID": "x"}]`)},
			[]string{`network default/plain: deviceID: device "x" is taken by network default/plain`},
			0,
		},
	})
}

// A pod may have hundreds of devices, of which an error lists some.
func TestPlanDevicesRefusedOfMany(t *testing.T) {
	many := make([]string, 300)
	for i := range many {
		many[i] = fmt.Sprintf("d%03d", i)
	}
	world := planWorld{
		config: podnet, annotations: annotated(`[{"name": "plain", "deviceID": "x"}]`),
		networks: map[string]string{"default/plain": single("sriov")}, devices: map[string][]string{"example.com/vf": many},
	}
	got := world.make(t)
	checkRefusal(t, got, &refusal{want: []string{`device "d015" of resource example.com/vf, and 284 more of resource example.com/vf`}})
	if strings.Contains(got.err.Error(), "d016") {
		t.Errorf("too many are listed: %v", got.err)
	}
}

// One error tells everything that is wrong, so that it is mended in one go.
func TestPlanRefusesEverythingAtOnce(t *testing.T) {
	runRefused(t, map[string]refusal{"all": {
		planWorld{
			config: `"delegates": [{"name": "podnet", "type": "ghost", "ipam": {"type": "ghost-ipam"}}], "namespaceIsolation": true`,
			pod:    types.Pod{Namespace: "tenant", Name: "app"},
			networks: map[string]string{
				"tenant/args": `{"type": "bridge", "args": 1}`, "tenant/plain": able(""), "default/global": `{"type": "bridge", "cniVersion": "9.9.9"}`,
			},
			facts: missing("tenant/gone"),
			annotations: map[string]string{types.AnnotationNetworks: `[{"name": "gone"}, {"name": "secret", "namespace": "other"},
				{"name": "args", "cni-args": {"a": 1}}, {"name": "plain", "bandwidth": {"egressRate": 1}}, {"name": "global", "namespace": "default"}]`},
		},
		[]string{
			`network podnet: plugins[0].type: plugin "ghost" is not in`, `plugins[0].ipam.type: plugin "ghost-ipam" is not in`,
			"network tenant/gone: there is no NetworkAttachmentDefinition",
			"network other/secret: namespace isolation is on",
			"network tenant/args: plugins[0] (bridge): args: ",
			"network tenant/plain: bandwidth: ",
			`network default/global: cniVersion: "9.9.9"`,
		},
		0,
	}})
}
