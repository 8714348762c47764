package types

import (
	"encoding/json"
	"errors"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func mustSelect(t *testing.T, value string) []Selection {
	t.Helper()
	selections, unknown, err := ParseSelections(value, "pods")
	if err != nil {
		t.Fatal(err)
	}
	if len(unknown) != 0 {
		t.Fatalf("unknown keys %q", unknown)
	}
	return selections
}

func TestSelectionsShortForm(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		want        []Selection
	}{
		{"nothing", "", nil},
		{"blank", " \n\t", nil},
		{"one", "net-a", []Selection{{Namespace: "pods", Name: "net-a"}}},
		{"in order", "b,a", []Selection{{Namespace: "pods", Name: "b"}, {Namespace: "pods", Name: "a"}}},
		{"of another namespace", "ops/a", []Selection{{Namespace: "ops", Name: "a"}}},
		{"with an interface", "a@eth1,ops/b@x.1", []Selection{{Namespace: "pods", Name: "a", Interface: "eth1"}, {Namespace: "ops", Name: "b", Interface: "x.1"}}},
		{"space around the @", "a @ eth1,b@ eth2,c @eth3", []Selection{{Namespace: "pods", Name: "a", Interface: "eth1"}, {Namespace: "pods", Name: "b", Interface: "eth2"}, {Namespace: "pods", Name: "c", Interface: "eth3"}}},
		{"space around the slash", "ops / a,ops/ b\t,ops /c @ eth1", []Selection{{Namespace: "ops", Name: "a"}, {Namespace: "ops", Name: "b"}, {Namespace: "ops", Name: "c", Interface: "eth1"}}},
		{"space around elements", " a ,\n\tops/b \n", []Selection{{Namespace: "pods", Name: "a"}, {Namespace: "ops", Name: "b"}}},
		{"the same twice", "a,a", []Selection{{Namespace: "pods", Name: "a"}, {Namespace: "pods", Name: "a"}}},
		{"a name of several labels", "a.example", []Selection{{Namespace: "pods", Name: "a.example"}}},
	} {
		t.Run(tc.name, func(t *testing.T) { wantEqual(t, tc.want, mustSelect(t, tc.value)) })
	}
}

func TestSelectionsShortFormRefused(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		words       []string
	}{
		{"a comma too many", "a,,b", []string{"element 2: is empty: a comma too many"}},
		{"a comma at the end", "a,", []string{"element 2: is empty"}},
		{"a comma alone", ",", []string{"element 1: is empty", "element 2: is empty"}},
		{"a bad name", "a,Net_B", []string{`element 2: "Net_B": network name "Net_B" is not a DNS-1123 label`}},
		{"a bad namespace", "Ops/a", []string{`element 1: "Ops/a": namespace "Ops"`}},
		{"no namespace", "/a", []string{`element 1: "/a": namespace must not be empty`}},
		{"too many parts", "a/b/c", []string{`element 1: "a/b/c"`}},
		{"space within", "a b", []string{`element 1: "a b"`}},
		{"space within a namespace", "o ps/a", []string{`element 1: "o ps/a": namespace "o ps" is not`}},
		{"space within an interface", "a@e 1", []string{`element 1: "a@e 1": interface name "e 1" has a character`}},
		{"space for an interface", "a@ ", []string{`element 1: "a@": an interface name must not be empty`}},
		{"space for a namespace", " / a", []string{`element 1: "/ a": namespace must not be empty`}},
		{"two @", "x,a@b@c", []string{`element 2: "a@b@c": interface name "b@c" has a '@' in it`}},
		{"two @ in a row", "a@@b", []string{`element 1: "a@@b": interface name "@b" has a '@' in it`}},
		{"an @ at the end", "ops/a@b@", []string{`element 1: "ops/a@b@": interface name "b@" has a '@' in it`}},
		{"an empty interface", "a@", []string{`element 1: "a@": an interface name must not be empty`}},
		{"a bad interface", "a@e/1", []string{`element 1: "a@e/1": interface name "e/1"`}},
		{"a long interface", "a@sixteen-letters-", []string{`"sixteen-letters-" has 16 bytes`}},
		{"all faults", "A,b@lo,,c", []string{"element 1:", "element 2:", "element 3:"}},
		{"an interface twice", "a@x,b@y,c@x", []string{`element 3 (pods/c): interface: "x" is taken by element 1 (pods/a)`}},
		{"no text", "a\xff", []string{"is not valid UTF-8"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			selections, unknown, err := ParseSelections(tc.value, "pods")
			check.Error(t, err, append(tc.words, "annotation k8s.v1.cni.cncf.io/networks: ")...)
			if selections != nil || unknown != nil {
				t.Errorf("beside the error there is %v, %v", selections, unknown)
			}
			if code := CodeOf(err, 0); code != CodeInvalidConfig {
				t.Errorf("code %d, want %d", code, CodeInvalidConfig)
			}
		})
	}
}

func TestSelectionsDefaultRouteTogether(t *testing.T) {
	_, _, err := ParseSelections(`[{"name":"a","default-route":["10.0.0.1"]},{"name":"b"},{"name":"c","namespace":"ops","default-route":["fd00::1"]}]`, "pods")
	check.Error(t, err, "element 3 (ops/c): default-route: element 1 (pods/a) asks for it already")
	// An empty list is the same as no key.
	got := mustSelect(t, `[{"name":"a","default-route":["10.0.0.1"]},{"name":"b","default-route":[]}]`)
	wantEqual(t, []Selection{{Namespace: "pods", Name: "a", DefaultRoute: []string{"10.0.0.1"}}, {Namespace: "pods", Name: "b"}}, got)
}

func TestParseDefaultNetwork(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		want        *Selection
	}{
		{"none", "", nil},
		{"an empty list", "[]", nil},
		{"by name", "master", &Selection{Namespace: "kube-system", Name: "master"}},
		{"by namespace", "ops/master", &Selection{Namespace: "ops", Name: "master"}},
		{"with an interface", "master@eth1", &Selection{Namespace: "kube-system", Name: "master", Interface: "eth1"}},
		{"in JSON", `[{"name":"master","mac":"02:00:00:00:00:01"}]`, &Selection{Namespace: "kube-system", Name: "master", MAC: "02:00:00:00:00:01"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, _, err := ParseDefaultNetwork(tc.value, "kube-system")
			if err != nil {
				t.Fatal(err)
			}
			wantEqual(t, tc.want, got)
		})
	}
	for value, word := range map[string]string{
		"a,b":          "must name exactly one network, got 2",
		"A":            `element 1: "A"`,
		`{"name":"a"}`: "must be a JSON array",
	} {
		t.Run(value, func(t *testing.T) {
			_, _, err := ParseDefaultNetwork(value, "kube-system")
			check.Error(t, err, "annotation v1.multus-cni.io/default-network: ", word)
			if code := CodeOf(err, 0); code != CodeInvalidConfig {
				t.Errorf("code %d, want %d", code, CodeInvalidConfig)
			}
		})
	}
	_, unknown, err := ParseDefaultNetwork(`[{"name":"a","ipss":1}]`, "kube-system")
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []string{"element 1 (kube-system/a): ipss"}, unknown)
}

func TestSelectionsJSONForm(t *testing.T) {
	for _, tc := range []struct {
		name, value string
		want        []Selection
	}{
		{"nothing", `[]`, nil},
		{"a name", ` [ {"name":"a"} ] `, []Selection{{Namespace: "pods", Name: "a"}}},
		{"an empty namespace is the pod's", `[{"name":"a","namespace":""}]`, []Selection{{Namespace: "pods", Name: "a"}}},
		{"keys in any case", `[{"Name":"a","IPS":["10.0.0.1"]}]`, []Selection{{Namespace: "pods", Name: "a", IPs: []string{"10.0.0.1"}}}},
		{"null is no key", `[{"name":"a","ips":null,"mac":null,"portMappings":null,"bandwidth":null,"default-route":null,"cni-args":null,"interface":null}]`, []Selection{{Namespace: "pods", Name: "a"}}},
		{
			"everything", `[{"name":"a","namespace":"ops","ips":["10.0.0.5/24","fd00::5","::ffff:10.0.0.6"],"mac":"02:23:45:67:89:01",
				"infiniband-guid":"24:8a:07:03:00:8d:ae:2f","interface":"data0","deviceID":"0000:03:02.1",
				"portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"UDP","hostIP":"192.0.2.1"},{"hostPort":1,"containerPort":65535}],
				"bandwidth":{"ingressRate":1,"ingressBurst":2,"egressRate":3,"egressBurst":4},
				"cni-args":{"b": [ 1 ],"a":{"x":1.00000000000000000001}},"default-route":["10.0.0.1","fd00::1"]}]`,
			[]Selection{{
				Namespace: "ops", Name: "a", IPs: []string{"10.0.0.5/24", "fd00::5", "::ffff:10.0.0.6"}, MAC: "02:23:45:67:89:01",
				InfinibandGUID: "24:8a:07:03:00:8d:ae:2f", Interface: "data0", DeviceID: "0000:03:02.1",
				PortMappings: []PortMapping{{8080, 80, "udp", "192.0.2.1"}, {1, 65535, "tcp", ""}},
				Bandwidth:    &Bandwidth{1, 2, 3, 4},
				CNIArgs:      map[string]json.RawMessage{"a": json.RawMessage(`{"x":1.00000000000000000001}`), "b": json.RawMessage(`[1]`)},
				DefaultRoute: []string{"10.0.0.1", "fd00::1"},
			}},
		},
		{"a claim", `[{"name":"a","ipam-claim-reference":"vm.a"}]`, []Selection{{Namespace: "pods", Name: "a", IPAMClaim: "vm.a"}}},
		{"the deprecated interfaceRequest", `[{"name":"a","interfaceRequest":"x0"}]`, []Selection{{Namespace: "pods", Name: "a", Interface: "x0"}}},
		{"interface wins over it", `[{"name":"a","interfaceRequest":"x0","interface":"y0"}]`, []Selection{{Namespace: "pods", Name: "a", Interface: "y0"}}},
		{"unless it is empty", `[{"name":"a","interfaceRequest":"x0","interface":""}]`, []Selection{{Namespace: "pods", Name: "a", Interface: "x0"}}},
		{
			"a protocol in any case, or empty", `[{"name":"a","portMappings":[{"hostPort":1,"containerPort":2,"protocol":"sCtP"},{"hostPort":3,"containerPort":4,"protocol":""}]}]`,
			[]Selection{{Namespace: "pods", Name: "a", PortMappings: []PortMapping{{1, 2, "sctp", ""}, {3, 4, "tcp", ""}}}},
		},
		{
			"a burst of one second, within what tc takes", `[{"name":"a","bandwidth":{"ingressRate":1000000,"egressRate":1}},{"name":"b","bandwidth":{"egressRate":100000000000}}]`,
			[]Selection{
				{Namespace: "pods", Name: "a", Bandwidth: &Bandwidth{1000000, 1000000, 1, 64 * 1024 * 8}},
				{Namespace: "pods", Name: "b", Bandwidth: &Bandwidth{EgressRate: 100000000000, EgressBurst: 1<<31 - 1}},
			},
		},
	} {
		t.Run(tc.name, func(t *testing.T) { wantEqual(t, tc.want, mustSelect(t, tc.value)) })
	}
}

func TestSelectionRef(t *testing.T) {
	s := Selection{Namespace: "ops", Name: "a"}
	wantEqual(t, Ref{"ops", "a"}, s.Ref())
}

func TestSelectionsUnknownKeys(t *testing.T) {
	selections, unknown, err := ParseSelections(`[{"name":"a"},{"name":"b","ipss":"c","org.example.x":1}]`, "pods")
	if err != nil || len(selections) != 2 {
		t.Fatal(selections, err)
	}
	wantEqual(t, []string{"element 2 (pods/b): ipss", "element 2 (pods/b): org.example.x"}, unknown)
}

func TestSelectionsFieldErrors(t *testing.T) {
	_, _, err := ParseSelections(`[{"name":"a","mac":"x"}]`, "pods")
	var field *FieldError
	if !errors.As(err, &field) || field.Field != "mac" {
		t.Errorf("the error is not that of field mac: %#v", field)
	}
}
