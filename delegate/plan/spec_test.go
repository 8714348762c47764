package plan

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// The tests in the files spec_*test.go hold the requirements of the multi-network
// specification 1.3, each under the number of its section; docs/conformance.md lists
// them. This one is about what can be seen of a plan: sections 3, 4, 6 and 7.

// specPlan plans the pod default/web with an annotation and networks, by namespace/name.
func specPlan(t *testing.T, annotation string, networks map[string]string) *plannedWorld {
	t.Helper()
	world := planWorld{config: podnet, annotations: annotated(annotation), networks: networks}
	return world.make(t)
}

// specAttachments gives the attachments of a plan that must have been made, beside the
// default network's.
func specAttachments(t *testing.T, got *plannedWorld) []types.Attachment {
	t.Helper()
	if got.err != nil {
		t.Fatalf("refused: %v", got.err)
	}
	return got.plan.Attachments[1:]
}

// specRefused asserts that nothing is planned, and what is said.
func specRefused(t *testing.T, got *plannedWorld, words ...string) {
	t.Helper()
	if got.err == nil {
		t.Fatalf("planned:\n%s", got.render(t))
	}
	if got.plan != nil {
		t.Error("there is a plan beside the error")
	}
	for _, word := range words {
		if !strings.Contains(got.err.Error(), word) {
			t.Errorf("does not say %q: %v", word, got.err)
		}
	}
}

// specPlugin gives the configuration of one plugin of an attachment.
func specPlugin(t *testing.T, a *types.Attachment, i int) map[string]json.RawMessage {
	t.Helper()
	var list struct {
		Plugins []map[string]json.RawMessage `json:"plugins"`
	}
	if err := json.Unmarshal([]byte(a.Config), &list); err != nil {
		t.Fatal(err)
	}
	return list.Plugins[i]
}

func specText(t *testing.T, what, got, want string) {
	t.Helper()
	if got != want {
		t.Errorf("%s is\n%s\nwant\n%s", what, got, want)
	}
}

func TestSpec_3_2_NetworkOfTheObjectsName(t *testing.T) {
	world := planWorld{
		config: podnet, annotations: annotated("a-bridge-network"), networks: map[string]string{"default/a-bridge-network": ""},
		files: map[string]string{"net.d/10.conflist": `{"cniVersion": "1.0.0", "name": "a-bridge-network", "plugins": [{"type": "bridge", "bridge": "br7"}]}`},
	}
	a := specAttachments(t, world.make(t))[0]
	specText(t, "its configuration", a.Config, `{"cniVersion":"1.0.0","name":"a-bridge-network","plugins":[{"bridge":"br7","type":"bridge"}]}`)
	specText(t, "its name in the status", a.Network, "default/a-bridge-network")
}

// TestSpec_3_2_ConfigIsASingleOrAList: both forms of 3.2.1 and 3.2.2.
func TestSpec_3_2_ConfigIsASingleOrAList(t *testing.T) {
	got := specAttachments(t, specPlan(t, "single,list", map[string]string{
		"default/single": `{"cniVersion": "0.3.0", "name": "a-bridge-network", "type": "bridge", "bridge": "br0", "ipam": {"type": "host-local", "subnet": "192.168.5.0/24"}}`,
		"default/list":   `{"cniVersion": "0.3.0", "name": "another-bridge-network", "plugins": [{"type": "bridge"}, {"type": "portmap"}, {"type": "tuning"}]}`,
	}))
	if len(got) != 2 {
		t.Fatalf("%d attachments", len(got))
	}
	specText(t, "the list", got[1].Config, `{"cniVersion":"0.3.0","name":"another-bridge-network","plugins":[{"type":"bridge"},{"type":"portmap"},{"type":"tuning"}]}`)
	specText(t, "the single one", string(specPlugin(t, &got[0], 0)["bridge"]), `"br0"`)
}

// TestSpec_3_4_1_ConfigByRule: spec.config, then a list, then a single configuration
// whose JSON name is that of the object, else a failure.
func TestSpec_3_4_1_ConfigByRule(t *testing.T) {
	const (
		list   = `{"cniVersion": "1.0.0", "name": "net-a", "plugins": [{"type": "macvlan", "rule": 2}]}`
		single = `{"cniVersion": "1.0.0", "name": "net-a", "type": "macvlan", "rule": 3}`
		other  = `{"cniVersion": "1.0.0", "name": "net-b", "type": "macvlan", "rule": 0}`
		inline = `{"cniVersion": "1.0.0", "name": "net-a", "type": "macvlan", "rule": 1}`
	)
	for _, tc := range []struct {
		name, config string
		files        map[string]string
		rule         string // "" for a failure
	}{
		{"spec.config before all", inline, map[string]string{"net.d/10.conflist": list, "net.d/00.conf": single}, "1"},
		{"then a list, wherever it stands", "", map[string]string{"net.d/00.conf": single, "net.d/10.conflist": list}, "2"},
		{"by its JSON name, not by that of its file", "", map[string]string{"net.d/net-a.conflist": strings.Replace(list, "net-a", "net-b", 1), "net.d/x.conflist": list}, "2"},
		{"then a single configuration", "", map[string]string{"net.d/00.conf": other, "net.d/10.conf": single}, "3"},
		{"else a failure", "", map[string]string{"net.d/00.conf": other}, ""},
		{"also without files", "", nil, ""},
		{"a bad spec.config is not passed over", `{"cniVersion": 1}`, map[string]string{"net.d/10.conflist": list}, ""},
	} {
		t.Run(tc.name, func(t *testing.T) {
			world := planWorld{config: podnet, annotations: annotated("net-a"), networks: map[string]string{"default/net-a": tc.config}, files: tc.files}
			got := world.make(t)
			if tc.rule == "" {
				specRefused(t, got, "network default/net-a: ", "spec.config")
				return
			}
			specText(t, "the rule", string(specPlugin(t, &specAttachments(t, got)[0], 0)["rule"]), tc.rule)
		})
	}
}

func TestSpec_3_4_1_NoSuchNetworkFails(t *testing.T) {
	world := planWorld{config: podnet, annotations: annotated("net-a"), facts: missing("default/net-a")}
	specRefused(t, world.make(t), "network default/net-a: ")
}

// TestSpec_3_4_2_NameInjected: the example of 3.4.2.1, and lists.
func TestSpec_3_4_2_NameInjected(t *testing.T) {
	const list = `{"cniVersion":"0.3.0","name":"a-bridge-network","plugins":[{"cniVersion":"0.3.0","type":"macvlan"}]}`
	for _, tc := range []struct{ name, config, want string }{
		{"a single configuration", `{"cniVersion": "0.3.0", "type": "macvlan"}`, list},
		{"an empty name", `{"cniVersion": "0.3.0", "name": "", "type": "macvlan"}`, strings.Replace(list, `"type"`, `"name":"","type"`, 1)},
		{"a list", `{"cniVersion": "0.3.0", "plugins": [{"cniVersion": "0.3.0", "type": "macvlan"}]}`, list},
		{"one of its own stays (3.4.3)", `{"cniVersion": "0.3.0", "name": "own", "plugins": [{"type": "macvlan"}]}`, `{"cniVersion":"0.3.0","name":"own","plugins":[{"type":"macvlan"}]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			a := specAttachments(t, specPlan(t, "a-bridge-network", map[string]string{"default/a-bridge-network": tc.config}))[0]
			specText(t, "the list", a.Config, tc.want)
		})
	}
}

// TestSpec_4_1_InvalidAnnotationFails: where the specification says "ignored".
func TestSpec_4_1_InvalidAnnotationFails(t *testing.T) {
	networks := map[string]string{"default/net-a": `{"cniVersion": "1.0.0", "type": "macvlan", "capabilities": {"ips": true}}`}
	for name, annotation := range map[string]string{
		"short form": "net-a,", "JSON": `[{"name":"net-a"}`, "one bad element": `[{"name":"net-a"},{"name":"net-a","ips":[]}]`,
	} {
		t.Run(name, func(t *testing.T) {
			specRefused(t, specPlan(t, annotation, networks), "pod default/web: ", "annotation k8s.v1.cni.cncf.io/networks: ")
		})
	}
}

// specCapability is a request of a pod that needs a capability: the key as the pod
// writes it, the capability, and what the plugins get in runtimeConfig.
type specCapability struct{ request, capability, want string }

// plan plans the request of a network that has these plugins.
func (c *specCapability) plan(t *testing.T, plugins ...string) *plannedWorld {
	t.Helper()
	config := `{"cniVersion": "1.0.0", "plugins": [` + strings.Join(plugins, ", ") + `]}`
	return specPlan(t, `[{"name": "net-b", `+c.request+`}]`, map[string]string{"default/net-b": config})
}

// declared is a plugin that declares the capability.
func (c *specCapability) declared() string {
	return fmt.Sprintf(`{"type": "tuning", "capabilities": {"other": true, %q: true}}`, c.capability)
}

// undeclared are lists of plugins of which none declares the capability.
func (c *specCapability) undeclared() map[string][]string {
	return map[string][]string{
		"no plugin has capabilities":  {`{"type": "macvlan"}`, `{"type": "tuning"}`},
		"no plugin has it set":        {`{"type": "macvlan", "capabilities": {"other": true}}`},
		"it is set to false":          {`{"type": "macvlan"}`, fmt.Sprintf(`{"type": "tuning", "capabilities": {%q: false}}`, c.capability)},
		"another network's takes it":  {`{"type": "bridge"}`},
		"it is written in other case": {strings.Replace(c.declared(), c.capability, strings.ToUpper(c.capability), 1)},
	}
}

// runArrives holds that a request arrives, with one plugin of the list that takes it.
func (c *specCapability) runArrives(t *testing.T) {
	t.Helper()
	a := specAttachments(t, c.plan(t, `{"type": "macvlan"}`, c.declared()))[0]
	specText(t, "runtimeConfig", string(a.CapabilityArgs[c.capability]), c.want)
	if len(a.CapabilityArgs) != 1 {
		t.Errorf("there is more in runtimeConfig: %s", a.CapabilityArgs)
	}
}

// runCapability holds the requirements that such a request has: it arrives, and it fails the
// attachment if no plugin takes it.
func runCapability(t *testing.T, c specCapability) {
	t.Helper()
	t.Run("a plugin takes it", c.runArrives)
	key, _, _ := strings.Cut(strings.TrimPrefix(c.request, `"`), `"`)
	for name, plugins := range c.undeclared() {
		t.Run(name, func(t *testing.T) {
			specRefused(t, c.plan(t, plugins...), "network default/net-b: "+key, `the capability "`+c.capability+`"`)
		})
	}
}

// runAddress holds the same of an address, but that where no plugin takes it by the capability,
// it goes into CNI_ARGS, and the attachment shows whether one took it from there.
func runAddress(t *testing.T, c specCapability, arg [2]string) {
	t.Helper()
	t.Run("a plugin takes it", c.runArrives)
	for name, plugins := range c.undeclared() {
		t.Run(name, func(t *testing.T) {
			a := specAttachments(t, c.plan(t, plugins...))[0]
			if diff := cmp.Diff([][2]string{arg}, a.Args); diff != "" || len(a.CapabilityArgs) != 0 {
				t.Errorf("CNI_ARGS (-want +got):\n%s\nruntimeConfig: %s", diff, a.CapabilityArgs)
			}
		})
	}
}

func TestSpec_4_1_2_1_3_2_IPsArrive(t *testing.T) {
	runAddress(t, specCapability{`"ips": ["10.2.2.42/24", "2001:db8::5/64"]`, "ips", `["10.2.2.42/24","2001:db8::5/64"]`},
		[2]string{"IP", "10.2.2.42/24,2001:db8::5/64"})
}

func TestSpec_4_1_2_1_4_2_MACArrives(t *testing.T) {
	runAddress(t, specCapability{`"mac": "02:23:45:67:89:01"`, "mac", `"02:23:45:67:89:01"`}, [2]string{"MAC", "02:23:45:67:89:01"})
}

func TestSpec_4_1_2_1_7_2_PortMappingsNeedCapability(t *testing.T) {
	runCapability(t, specCapability{
		`"portMappings": [{"hostPort": 8080, "containerPort": 80, "protocol": "TCP"}, {"hostPort": 53, "containerPort": 5353, "protocol": "udp", "hostIP": "192.0.2.1"}]`, "portMappings",
		`[{"hostPort":8080,"containerPort":80,"protocol":"tcp"},{"hostPort":53,"containerPort":5353,"protocol":"udp","hostIP":"192.0.2.1"}]`,
	})
}

func TestSpec_4_1_2_1_8_2_BandwidthNeedsCapability(t *testing.T) {
	runCapability(t, specCapability{
		`"bandwidth": {"ingressRate": 2048, "ingressBurst": 300, "egressRate": 8000, "egressBurst": 200}`, "bandwidth",
		`{"ingressRate":2048,"ingressBurst":300,"egressRate":8000,"egressBurst":200}`,
	})
}

func TestSpec_4_1_2_1_10_2_InfinibandGUIDNeedsCapability(t *testing.T) {
	runCapability(t, specCapability{`"infiniband-guid": "24:8a:07:03:00:8d:ae:2f"`, "infinibandGUID", `"24:8a:07:03:00:8d:ae:2f"`})
}

// TestSpec_4_1_2_1_11_ClaimIsOffered: a plugin that knows claims gets it, and that none
// does is no failure.
func TestSpec_4_1_2_1_11_ClaimIsOffered(t *testing.T) {
	const annotation = `[{"name": "net-b", "ipam-claim-reference": "vm123.tenantblue"}]`
	a := specAttachments(t, specPlan(t, annotation, map[string]string{
		"default/net-b": `{"cniVersion": "1.0.0", "type": "macvlan", "capabilities": {"ipam-claim-reference": true}}`,
	}))[0]
	specText(t, "runtimeConfig", string(a.CapabilityArgs["ipam-claim-reference"]), `"vm123.tenantblue"`)
	a = specAttachments(t, specPlan(t, annotation, map[string]string{"default/net-b": `{"cniVersion": "1.0.0", "type": "macvlan"}`}))[0]
	if len(a.CapabilityArgs) != 0 {
		t.Errorf("nobody asked for %s", a.CapabilityArgs)
	}
}

// TestSpec_4_1_2_1_5_InterfaceTaken: by whatever was attached before.
func TestSpec_4_1_2_1_5_InterfaceTaken(t *testing.T) {
	networks := map[string]string{"default/net-a": `{"cniVersion": "1.0.0", "type": "macvlan"}`, "default/net-b": `{"cniVersion": "1.0.0", "type": "macvlan"}`}
	for _, tc := range []struct{ name, annotation, ifName, by string }{
		{"by another element", "net-a@data0,net-b@data0", "data0", "default/net-b"},
		{"by the same network", "net-a@data0,net-a@data0", "data0", "default/net-a"},
		{"by the default network", "net-a@eth0", "eth0", "default/net-a"},
		{"by a name that was made up", "net-a,net-b@net0", "net0", "default/net-b"},
		{"by a name that was asked for", "net-b@net1,net-a", "net1", "default/net-a"},
	} {
		t.Run(tc.name, func(t *testing.T) {
			specRefused(t, specPlan(t, tc.annotation, networks), tc.by, "interface:", `"`+tc.ifName+`" is taken by`)
		})
	}
	a := specAttachments(t, specPlan(t, "net-a@data0", networks))[0]
	specText(t, "the interface", a.Interface, "data0")
}

// TestSpec_4_1_2_1_6_2_CNIArgsCombined: the annotation before the configuration, for
// every plugin of the list.
func TestSpec_4_1_2_1_6_2_CNIArgsCombined(t *testing.T) {
	const annotation = `[{"name": "net-b", "cni-args": {"spoofchk": "on", "vlan": 100}}]`
	a := specAttachments(t, specPlan(t, annotation, map[string]string{
		"default/net-b": `{"cniVersion": "1.0.0", "plugins": [
			{"type": "macvlan", "args": {"cni": {"vlan": 7, "trust": "off"}, "labels": ["x"]}}, {"type": "tuning"}]}`,
	}))[0]
	specText(t, "args of the first", string(specPlugin(t, &a, 0)["args"]), `{"cni":{"spoofchk":"on","trust":"off","vlan":100},"labels":["x"]}`)
	specText(t, "args of the second", string(specPlugin(t, &a, 1)["args"]), `{"cni":{"spoofchk":"on","vlan":100}}`)
	for name, args := range map[string]string{"args": `"x"`, "args.cni": `{"cni": []}`} {
		t.Run(name+" of a wrong type", func(t *testing.T) {
			config := `{"cniVersion": "1.0.0", "type": "macvlan", "args": ` + args + `}`
			specRefused(t, specPlan(t, annotation, map[string]string{"default/net-b": config}), "network default/net-b: ", name+": must be a JSON object")
		})
	}
}

// TestSpec_4_1_2_1_9_OneDefaultRouteOfAll: also where the other request stands in the
// annotation that chooses the default network.
func TestSpec_4_1_2_1_9_OneDefaultRouteOfAll(t *testing.T) {
	world := planWorld{
		config: podnet,
		annotations: map[string]string{
			types.AnnotationDefaultNetwork: `[{"name": "master", "default-route": ["10.0.0.1"]}]`,
			types.AnnotationNetworks:       `[{"name": "net-b", "default-route": ["10.1.0.1"]}]`,
		},
		networks: map[string]string{"kube-system/master": `{"cniVersion": "1.0.0", "type": "bridge"}`, "default/net-b": `{"cniVersion": "1.0.0", "type": "macvlan"}`},
	}
	specRefused(t, world.make(t), "network default/net-b: default-route: ", "kube-system/master")
	world.annotations[types.AnnotationNetworks] = "net-b"
	got := world.make(t)
	specAttachments(t, got)
	if diff := cmp.Diff([]string{"10.0.0.1"}, got.plan.Attachments[0].Gateways); diff != "" {
		t.Error(diff)
	}
}

// TestSpec_4_2_SeparateAttachments: the same network twice is two attachments, that
// differ in interface and in what is asked of them.
func TestSpec_4_2_SeparateAttachments(t *testing.T) {
	got := specAttachments(t, specPlan(t, `[{"name": "net-a", "cni-args": {"k": 1}}, {"name": "net-a", "mac": "02:23:45:67:89:01"}]`, map[string]string{
		"default/net-a": `{"cniVersion": "1.0.0", "type": "macvlan", "capabilities": {"mac": true}}`,
	}))
	if len(got) != 2 {
		t.Fatalf("%d attachments, want 2", len(got))
	}
	for i, want := range []string{"net0", "net1"} {
		specText(t, "the network", got[i].Network, "default/net-a")
		specText(t, "the interface", got[i].Interface, want)
	}
	if strings.Contains(got[1].Config, "args") || len(got[0].CapabilityArgs) != 0 {
		t.Errorf("the one's requests are in the other: %s, %s", got[0].CapabilityArgs, got[1].Config)
	}
}

// TestSpec_4_2_1_GeneratedNamesAreUnique: for any mixture of names asked for and made up.
func TestSpec_4_2_1_GeneratedNamesAreUnique(t *testing.T) {
	got := specPlan(t, "net-a,net-a@x,net-a,net-b,net-a", map[string]string{
		"default/net-a": `{"cniVersion": "1.0.0", "type": "macvlan"}`, "default/net-b": `{"cniVersion": "1.0.0", "name": "net-a", "type": "macvlan"}`,
	})
	specAttachments(t, got)
	var names []string
	for _, a := range got.plan.Attachments {
		names = append(names, a.Interface)
	}
	if diff := cmp.Diff([]string{"eth0", "net0", "x", "net2", "net3", "net4"}, names); diff != "" {
		t.Error(diff)
	}
}

// TestSpec_6_2_DefaultNetworkFirst: whatever else there is to attach.
func TestSpec_6_2_DefaultNetworkFirst(t *testing.T) {
	conf := func(name string) string {
		return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "type": "macvlan"}`, name)
	}
	world := planWorld{
		config: `"clusterNetwork": "master", "defaultNetworks": ["extra"]`, annotations: annotated("net-b,net-a"),
		networks: map[string]string{"kube-system/master": conf("master"), "kube-system/extra": conf("extra"), "default/net-a": conf("a"), "default/net-b": conf("b")},
	}
	got := world.make(t)
	specAttachments(t, got)
	var order []string
	defaults := 0
	for _, a := range got.plan.Attachments {
		order = append(order, a.Network)
		if a.Default {
			defaults++
		}
	}
	if diff := cmp.Diff([]string{"kube-system/master", "kube-system/extra", "default/net-b", "default/net-a"}, order); diff != "" {
		t.Error(diff)
	}
	if first := got.plan.Attachments[0]; !first.Default || defaults != 1 || first.Interface != "eth0" {
		t.Errorf("%d default networks, the first attachment is %+v", defaults, first)
	}
}

// TestSpec_7_4_ForbiddenNetworkFails: no network that a pod may not select is left out
// in silence.
func TestSpec_7_4_ForbiddenNetworkFails(t *testing.T) {
	world := planWorld{
		config: podnet + `, "namespaceIsolation": true`, annotations: annotated("net-a,ops/net-b"),
		networks: map[string]string{"default/net-a": `{"cniVersion": "1.0.0", "type": "macvlan"}`, "ops/net-b": `{"cniVersion": "1.0.0", "type": "macvlan"}`},
	}
	specRefused(t, world.make(t), "network ops/net-b: ", "namespace isolation")
	world.config = podnet
	if got := specAttachments(t, world.make(t)); len(got) != 2 {
		t.Errorf("without isolation there are %d attachments", len(got))
	}
	world.config = podnet + `, "allowedPlugins": {"*": ["bridge"]}`
	specRefused(t, world.make(t), "network default/net-a: ", "network ops/net-b: ", `plugin "macvlan" is not allowed`)
}

// TestSpec_7_5_RuntimeConfigIsTheDefaultNetworks: the runtime's, and no other gets it.
func TestSpec_7_5_RuntimeConfigIsTheDefaultNetworks(t *testing.T) {
	const capable = `"capabilities": {"portMappings": true, "mac": true}`
	world := planWorld{
		config: `"delegates": [{"cniVersion": "1.0.0", "name": "podnet", "type": "bridge", ` + capable + `}, {"cniVersion": "1.0.0", "name": "second", "type": "bridge", ` + capable + `}],
			"runtimeConfig": {"portMappings": [{"hostPort": 8080}], "mac": "02:23:45:67:89:01", "bandwidth": {}}`,
		annotations: annotated("net-a"),
		networks:    map[string]string{"default/net-a": `{"cniVersion": "1.0.0", "type": "macvlan", ` + capable + `}`},
	}
	got := world.make(t)
	others := specAttachments(t, got)
	first := got.plan.Attachments[0].CapabilityArgs
	specText(t, "the default network's portMappings", string(first["portMappings"]), `[{"hostPort": 8080}]`)
	specText(t, "its mac", string(first["mac"]), `"02:23:45:67:89:01"`)
	if len(first) != 2 {
		t.Errorf("it gets what none of its plugins declares: %s", first)
	}
	if i := slices.IndexFunc(others, func(a types.Attachment) bool { return len(a.CapabilityArgs) != 0 }); i >= 0 || len(others) != 2 {
		t.Errorf("of %d others number %d gets the runtime's", len(others), i)
	}
}
