package types

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// The tests in the files spec_test.go hold the requirements of the multi-network
// specification 1.3, each under the number of its section; docs/conformance.md lists
// them. Where the specification has an implementation ignore an invalid annotation,
// Plexus refuses it: the words below are those of the refusal.

// specCase is a case of an annotation, and what is said if it is refused.
type specCase struct {
	name, value string
	refusal     string // "" if it is accepted
}

func runSpec(t *testing.T, cases []specCase) {
	t.Helper()
	for _, tc := range cases {
		t.Run(tc.name, func(t *testing.T) {
			_, _, err := ParseSelections(tc.value, "pods")
			if tc.refusal != "" {
				check.Error(t, err, AnnotationNetworks, tc.refusal)
			} else if err != nil {
				t.Error(err)
			}
		})
	}
}

// oneElement is an annotation of one network with further keys.
func oneElement(keys string) string { return `[{"name":"net-b",` + keys + `}]` }

func TestSpec_3_3_NamesAreDNS1123Labels(t *testing.T) {
	runSpec(t, []specCase{
		{"as in 3.3.1, with namespace", "example-namespace/attachment-name", ""},
		{"as in 3.3.1, without", "attachment-name", ""},
		{"63 characters", strings.Repeat("a", 63), ""},
		{"64 characters", strings.Repeat("a", 64), "at most 63"},
		{"upper case", "Attachment", "DNS-1123 label"},
		{"another character", "attachment_name", "DNS-1123 label"},
		{"a dash first", "-attachment", "DNS-1123 label"},
		{"a dash last", "attachment-", "DNS-1123 label"},
		{"a namespace that is none", "Example/attachment", `namespace "Example" is not a DNS-1123 label`},
		{"in JSON", `[{"name":"Attachment"}]`, "name: network name"},
		{"a namespace in JSON", `[{"name":"a","namespace":"Example"}]`, "namespace: namespace"},
	})
}

func TestSpec_4_1_AnnotationName(t *testing.T) {
	pod := Pod{Namespace: "my-namespace", Name: "my-pod", Annotations: map[string]string{"k8s.v1.cni.cncf.io/networks": "net-a"}}
	wantEqual(t, []Ref{{"my-namespace", "net-a"}}, pod.SelectedRefs(""))
	if !slices.Contains(ReadAnnotations, "k8s.v1.cni.cncf.io/networks") {
		t.Error("it is not among the annotations that are read")
	}
}

func TestSpec_4_1_1_CommaDelimitedFormat(t *testing.T) {
	got, _, err := ParseSelections("net-a,net-b,other-ns/net-c", "my-namespace")
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []Selection{{Namespace: "my-namespace", Name: "net-a"}, {Namespace: "my-namespace", Name: "net-b"}, {Namespace: "other-ns", Name: "net-c"}}, got)
}

func TestSpec_4_1_2_JSONListFormat(t *testing.T) {
	got, _, err := ParseSelections(`[
         {"name":"net-a"},
         {
           "name":"net-b",
           "ips": ["1.2.3.4"],
           "mac": "aa:bb:cc:dd:ee:ff"
         },
         {
           "name":"net-c",
           "namespace":"other-ns"
         }
       ]
`, "my-namespace")
	if err != nil {
		t.Fatal(err)
	}
	wantEqual(t, []Selection{
		{Namespace: "my-namespace", Name: "net-a"},
		{Namespace: "my-namespace", Name: "net-b", IPs: []string{"1.2.3.4"}, MAC: "aa:bb:cc:dd:ee:ff"},
		{Namespace: "other-ns", Name: "net-c"},
	}, got)
}

// TestSpec_4_1_2_1_KeysThatAreWritten: what Plexus writes of a selection has no key
// but those of the specification, and deviceID, which only its own record carries.
func TestSpec_4_1_2_1_KeysThatAreWritten(t *testing.T) {
	allowed := []string{
		"name", "namespace", "ips", "mac", "interface", "cni-args", "portMappings", "bandwidth",
		"default-route", "infiniband-guid", "ipam-claim-reference", "deviceID",
	}
	full := Selection{
		Name: "n", Namespace: "n", IPs: []string{"i"}, MAC: "m", InfinibandGUID: "g", Interface: "i", PortMappings: []PortMapping{{}},
		Bandwidth: &Bandwidth{}, DeviceID: "d", CNIArgs: map[string]json.RawMessage{"k": json.RawMessage(`1`)}, DefaultRoute: []string{"r"}, IPAMClaim: "c",
	}
	var written map[string]json.RawMessage
	if err := json.Unmarshal(mustMarshal(t, full), &written); err != nil {
		t.Fatal(err)
	}
	if len(written) != len(allowed) {
		t.Errorf("%d keys are written, want %d", len(written), len(allowed))
	}
	for key := range written {
		if !slices.Contains(allowed, key) {
			t.Errorf("key %q is none of the specification's", key)
		}
	}
}

func TestSpec_4_1_2_1_1_NameIsRequired(t *testing.T) {
	runSpec(t, []specCase{
		{"a name", `[{"name":"a"}]`, ""},
		{"none", `[{}]`, "element 1: name: is missing"},
		{"none among others", `[{"name":"a"},{"namespace":"ops"}]`, "element 2: name: is missing"},
		{"empty", `[{"name":""}]`, "element 1: name: network name must not be empty"},
		{"no string", `[{"name":7}]`, "element 1: name: must be a string"},
	})
}

func TestSpec_4_1_2_1_2_Namespace(t *testing.T) {
	got := mustSelect(t, `[{"name":"a"},{"name":"b","namespace":""},{"name":"c","namespace":"ops"}]`)
	wantEqual(t, []Ref{{"pods", "a"}, {"pods", "b"}, {"ops", "c"}}, []Ref{got[0].Ref(), got[1].Ref(), got[2].Ref()})
}

func TestSpec_4_1_2_1_3_IPs(t *testing.T) {
	runSpec(t, []specCase{
		{"as in 4.1.2.1.3.1", oneElement(`"ips": ["10.2.2.42/24", "2001:db8::5/64"]`), ""},
		{"no prefix", oneElement(`"ips": ["10.2.2.42", "2001:db8::5"]`), ""},
		{"no element", oneElement(`"ips": []`), "ips: must have at least one address"},
		{"no address", oneElement(`"ips": ["10.2.2.42/24", "x"]`), `ips[1]: "x" is not an IPv4 or IPv6 address`},
		{"no prefix length", oneElement(`"ips": ["10.2.2.42/240"]`), "ips[0]:"},
		{"no array", oneElement(`"ips": "10.2.2.42"`), "ips: must be an array"},
	})
}

func TestSpec_4_1_2_1_4_MAC(t *testing.T) {
	runSpec(t, []specCase{
		{"as in 4.1.2.1.4.1", oneElement(`"mac": "02:23:45:67:89:01"`), ""},
		{"5 bytes", oneElement(`"mac": "02:23:45:67:89"`), "mac:"},
		{"8 bytes", oneElement(`"mac": "02:23:45:67:89:01:02:03"`), "mac:"},
		{"no address", oneElement(`"mac": "random"`), `mac: "random" is not a 6-byte Ethernet address`},
		{"no string", oneElement(`"mac": 2`), "mac: must be a string"},
	})
}

func TestSpec_4_1_2_1_5_Interface(t *testing.T) {
	runSpec(t, []specCase{
		{"15 bytes", oneElement(`"interface": "fifteen-letters"`), ""},
		{"16 bytes", oneElement(`"interface": "sixteen-letters-"`), "interface:"},
		{"a slash", oneElement(`"interface": "a/b"`), "interface:"},
		{"a space", oneElement(`"interface": "a b"`), "interface:"},
		{"a dot", oneElement(`"interface": "."`), "interface:"},
		{"no string", oneElement(`"interface": 1`), "interface: must be a string"},
		{"used by an element before", `[{"name":"a","interface":"x"},{"name":"b","interface":"x"}]`, `element 2 (pods/b): interface: "x" is taken`},
	})
}

func TestSpec_4_1_2_1_6_CNIArgs(t *testing.T) {
	runSpec(t, []specCase{
		{"as in 4.1.2.1.6.1", oneElement(`"cni-args": {"spoofchk": "on"}`), ""},
		{"no dict", oneElement(`"cni-args": ["spoofchk"]`), "cni-args: must be an object"},
	})
}

func TestSpec_4_1_2_1_7_PortMappings(t *testing.T) {
	runSpec(t, []specCase{
		{"as in 4.1.2.1.7.1", oneElement(`"portMappings": [{ "hostPort": 8080, "containerPort": 80, "protocol": "tcp" }]`), ""},
		{"the lowest and the highest port", oneElement(`"portMappings": [{"hostPort": 1, "containerPort": 65535}]`), ""},
		{"no element", oneElement(`"portMappings": []`), "portMappings: must have at least one element"},
		{"no array", oneElement(`"portMappings": {"hostPort": 1, "containerPort": 2}`), "portMappings: must be an array"},
		{"no dict", oneElement(`"portMappings": ["80:80"]`), "portMappings[0]: must be a JSON object"},
		{"no hostPort", oneElement(`"portMappings": [{"containerPort": 80, "protocol": "tcp"}]`), "portMappings[0].hostPort: is missing"},
		{"no containerPort", oneElement(`"portMappings": [{"hostPort": 80, "protocol": "tcp"}]`), "portMappings[0].containerPort: is missing"},
		{"hostPort 0", oneElement(`"portMappings": [{"hostPort": 0, "containerPort": 80}]`), "portMappings[0].hostPort: must be between 1 and 65535"},
		{"hostPort 65536", oneElement(`"portMappings": [{"hostPort": 65536, "containerPort": 80}]`), "portMappings[0].hostPort: must be between 1 and 65535"},
		{"containerPort 0", oneElement(`"portMappings": [{"hostPort": 80, "containerPort": 0}]`), "portMappings[0].containerPort: must be between 1 and 65535"},
		{"containerPort 65536", oneElement(`"portMappings": [{"hostPort": 80, "containerPort": 65536}]`), "portMappings[0].containerPort: must be between 1 and 65535"},
		{"another protocol", oneElement(`"portMappings": [{"hostPort": 80, "containerPort": 80, "protocol": "ICMP"}]`), "portMappings[0].protocol: must be TCP, UDP or SCTP"},
	})
	got := mustSelect(t, oneElement(`"portMappings":[{"hostPort":1,"containerPort":1},{"hostPort":2,"containerPort":2,"protocol":"uDp"},{"hostPort":3,"containerPort":3,"protocol":"SCTP"}]`))
	wantEqual(t, []PortMapping{{1, 1, "tcp", ""}, {2, 2, "udp", ""}, {3, 3, "sctp", ""}}, got[0].PortMappings)
}

func TestSpec_4_1_2_1_8_Bandwidth(t *testing.T) {
	runSpec(t, []specCase{
		{"as in 4.1.2.1.8.1", oneElement(`"bandwidth": {"ingressRate": 2048, "ingressBurst": 300, "egressRate": 8000, "egressBurst": 200}`), ""},
		{"one direction", oneElement(`"bandwidth": {"egressRate": 8000, "egressBurst": 200}`), ""},
		{"no element", oneElement(`"bandwidth": {}`), "one of ingressRate and egressRate must be given"},
		{"no dict", oneElement(`"bandwidth": 2048`), "bandwidth: must be a JSON object"},
		{"ingressRate 0", oneElement(`"bandwidth": {"ingressRate": 0}`), "bandwidth.ingressRate: must be more than 0"},
		{"egressRate 0", oneElement(`"bandwidth": {"egressRate": 0}`), "bandwidth.egressRate: must be more than 0"},
		{"ingressBurst 0", oneElement(`"bandwidth": {"ingressRate": 1, "ingressBurst": 0}`), "bandwidth.ingressBurst: must be more than 0"},
		{"egressBurst 0", oneElement(`"bandwidth": {"egressRate": 1, "egressBurst": 0}`), "bandwidth.egressBurst: must be more than 0"},
		{"ingressBurst alone", oneElement(`"bandwidth": {"egressRate": 1, "ingressBurst": 1}`), "bandwidth.ingressBurst: needs ingressRate"},
		{"egressBurst alone", oneElement(`"bandwidth": {"ingressRate": 1, "egressBurst": 1}`), "bandwidth.egressBurst: needs egressRate"},
		{"no integer", oneElement(`"bandwidth": {"ingressRate": "2k"}`), "bandwidth.ingressRate: must be a whole number"},
	})
}

func TestSpec_4_1_2_1_9_OneDefaultRoute(t *testing.T) {
	runSpec(t, []specCase{
		{"as in 4.1.2.1.9.1", `[{ "name":"net-a" }, { "name":"net-b", "default-route": ["10.0.0.1"] }]`, ""},
		{"a gateway of each family", oneElement(`"default-route": ["10.0.0.1", "fd00::1"]`), ""},
		{"several gateways of one family", oneElement(`"default-route": ["10.0.0.1", "fd00::1", "10.0.0.2"]`), "default-route[2]: \"10.0.0.2\" is a second gateway of IPv4"},
		{"an empty list", oneElement(`"default-route": []`), ""},
		{"two elements", `[{"name":"a","default-route":["10.0.0.1"]},{"name":"b","default-route":["fd00::1"]}]`, "element 2 (pods/b): default-route: element 1 (pods/a) asks for it already"},
		{"no array", oneElement(`"default-route": "10.0.0.1"`), "default-route: must be an array"},
		{"no address", oneElement(`"default-route": ["gateway"]`), "default-route[0]:"},
	})
}

func TestSpec_4_1_2_1_10_InfinibandGUID(t *testing.T) {
	runSpec(t, []specCase{
		{"as in 4.1.2.1.10.1", oneElement(`"infiniband-guid": "24:8a:07:03:00:8d:ae:2f"`), ""},
		{"6 bytes", oneElement(`"infiniband-guid": "24:8a:07:03:00:8d"`), "infiniband-guid:"},
		{"20 bytes", oneElement(`"infiniband-guid": "80:00:11:22:33:44:55:66:77:88:99:aa:bb:cc:dd:ee:ff:00:11:22"`), "infiniband-guid:"},
		{"no GUID", oneElement(`"infiniband-guid": "guid"`), `infiniband-guid: "guid" is not an 8-byte GUID`},
	})
}

func TestSpec_4_1_2_1_11_IPAMClaimReference(t *testing.T) {
	runSpec(t, []specCase{
		{"as in 4.1.2.1.11.1", `[{ "name":"net-a" }, { "name":"net-b", "ipam-claim-reference": "vm123.tenantblue" }]`, ""},
		{"beside ips", oneElement(`"ips": ["10.0.0.1"], "ipam-claim-reference": "vm123.tenantblue"`), "ipam-claim-reference: cannot be combined with ips"},
		{"no string", oneElement(`"ipam-claim-reference": {}`), "ipam-claim-reference: must be a string"},
	})
}

func TestSpec_4_2_SameNetworkTwice(t *testing.T) {
	got := mustSelect(t, "net-a,net-a")
	wantEqual(t, []Selection{{Namespace: "pods", Name: "net-a"}, {Namespace: "pods", Name: "net-a"}}, got)
}

func TestSpec_5_StatusAnnotation(t *testing.T) {
	if AnnotationNetworkStatus != "k8s.v1.cni.cncf.io/network-status" {
		t.Errorf("the annotation is named %q", AnnotationNetworkStatus)
	}
	text, err := FormatStatus(testStatus())
	if err != nil {
		t.Fatal(err)
	}
	var elements []map[string]json.RawMessage
	if err := json.Unmarshal([]byte(text), &elements); err != nil || len(elements) != len(testStatus()) {
		t.Errorf("it is no list of %d maps: %v", len(testStatus()), err)
	}
}

// TestSpec_5_3_KeysOfTheStatus: every key of an entry is one of the specification's,
// but for the two that the readers of Multus's status expect.
func TestSpec_5_3_KeysOfTheStatus(t *testing.T) {
	allowed := []string{"name", "interface", "ips", "mac", "default", "dns", "default-route", "device-info", "mtu", "gateway"}
	full := NetworkStatus{
		Name: "n", Interface: "i", IPs: []string{"a"}, MAC: "m", MTU: 1, Default: true, DNS: DNS{Domain: "d"},
		DeviceInfo: &DeviceInfo{}, DefaultRoute: []string{"r"}, Gateway: []string{"r"},
	}
	var written map[string]json.RawMessage
	if err := json.Unmarshal(mustMarshal(t, full), &written); err != nil {
		t.Fatal(err)
	}
	if len(written) != len(allowed) {
		t.Errorf("%d keys are written, want %d", len(written), len(allowed))
	}
	for key := range written {
		if !slices.Contains(allowed, key) {
			t.Errorf("key %q is none of the specification's", key)
		}
	}
}

func TestSpec_5_3_RequiredKeys(t *testing.T) {
	var written map[string]json.RawMessage
	if err := json.Unmarshal(mustMarshal(t, NetworkStatus{}), &written); err != nil {
		t.Fatal(err)
	}
	// Sections 5.3.1 and 5.3.5; everything else is optional, and left out.
	wantEqual(t, map[string]json.RawMessage{"name": json.RawMessage(`""`), "default": json.RawMessage(`false`)}, written)
}

func TestSpec_5_3_7_DeviceInfoKeys(t *testing.T) {
	info, err := ParseDeviceInfo([]byte(`{"type": "pci", "version": "1.0.0", "pci": {"pci-address": "0000:18:0a.2", "vhost-net": "/dev/vhost-net/", "pf-pci-address": "0000:18:00.1"}}`))
	if err != nil {
		t.Fatal(err)
	}
	const want = `{"type":"pci","version":"1.0.0","pci":{"pci-address":"0000:18:0a.2","vhost-net":"/dev/vhost-net/","pf-pci-address":"0000:18:00.1"}}`
	if got := string(mustMarshal(t, info)); got != want {
		t.Errorf("written as\n%s\nwant\n%s", got, want)
	}
	_, err = ParseDeviceInfo([]byte(`{"version": "1.0.0", "pci": {}}`))
	check.Error(t, err, "type: is missing")
}
