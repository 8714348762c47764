package delegate

import (
	"encoding/json"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/containernetworking/cni/pkg/invoke"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// bridgeResults is one attachment in the words of every version: two addresses, a
// gateway each, a default route and another one.
var bridgeResults = map[string]string{
	"0.1.0": oldResult,
	"0.2.0": oldResult,
	"0.3.0": middleResult,
	"0.3.1": middleResult,
	"0.4.0": middleResult,
	"1.0.0": newResult,
	"1.1.0": newResult,
}

const (
	oldResult = `{"cniVersion":"VERSION",
		"ip4":{"ip":"192.0.2.7/24","gateway":"192.0.2.1","routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"},{"dst":"198.51.100.0/24","gw":"192.0.2.2"}]},
		"ip6":{"ip":"2001:db8::7/64","gateway":"2001:db8::1","routes":[{"dst":"::/0","gw":"2001:db8::1"}]},
		"dns":{"nameservers":["192.0.2.53"],"domain":"example.com"}}`
	middleResult = `{"cniVersion":"VERSION","interfaces":[{"name":"vethab","mac":"02:00:00:00:00:01"},{"name":"eth0","mac":"02:00:00:00:00:07","sandbox":"/run/netns/c1"}],
		"ips":[{"version":"4","interface":1,"address":"192.0.2.7/24","gateway":"192.0.2.1"},{"version":"6","interface":1,"address":"2001:db8::7/64","gateway":"2001:db8::1"}],
		"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"},{"dst":"198.51.100.0/24","gw":"192.0.2.2"},{"dst":"::/0","gw":"2001:db8::1"}],
		"dns":{"nameservers":["192.0.2.53"],"domain":"example.com"}}`
	newResult = `{"cniVersion":"VERSION","interfaces":[{"name":"vethab","mac":"02:00:00:00:00:01"},{"name":"eth0","mac":"02:00:00:00:00:07","sandbox":"/run/netns/c1"}],
		"ips":[{"interface":1,"address":"192.0.2.7/24","gateway":"192.0.2.1"},{"interface":1,"address":"2001:db8::7/64","gateway":"2001:db8::1"}],
		"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"},{"dst":"198.51.100.0/24","gw":"192.0.2.2"},{"dst":"::/0","gw":"2001:db8::1"}],
		"dns":{"nameservers":["192.0.2.53"],"domain":"example.com"}}`
)

// normal is JSON with sorted keys and no space, for comparing.
func normal(t *testing.T, data []byte) string {
	t.Helper()
	var value any
	if err := json.Unmarshal(data, &value); err != nil {
		t.Fatalf("%v in %s", err, data)
	}
	sorted, err := json.Marshal(value)
	if err != nil {
		t.Fatal(err)
	}
	return string(sorted)
}

// resultOf parses a result of the version it says, or else of the newest.
func resultOf(t *testing.T, data string) *current.Result {
	t.Helper()
	if !strings.Contains(data, "cniVersion") {
		data = strings.Replace(strings.Replace(data, "{", `{"cniVersion":"1.1.0",`, 1), ",}", "}", 1)
	}
	result, _, err := parseResult([]byte(data))
	if err != nil {
		t.Fatal(err)
	}
	return result
}

// textOf writes a result in the newest version.
func textOf(t *testing.T, result *current.Result) string {
	t.Helper()
	data, err := encodeResult(result, "1.1.0")
	if err != nil {
		t.Fatal(err)
	}
	return normal(t, data)
}

func TestResultInEveryVersion(t *testing.T) {
	for version, text := range bridgeResults {
		t.Run(version, func(t *testing.T) {
			text = strings.ReplaceAll(text, "VERSION", version)
			result, said, err := parseResult([]byte(text))
			if err != nil || said != version {
				t.Fatalf("version %q, %v", said, err)
			}
			if len(result.IPs) != 2 || result.IPs[0].Address.String() != "192.0.2.7/24" || result.IPs[1].Address.String() != "2001:db8::7/64" || len(result.Routes) != 3 {
				t.Errorf("read as %v", result)
			}
			encoded, err := encodeResult(result, version)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(normal(t, []byte(text)), normal(t, encoded)); diff != "" {
				t.Errorf("written anew it differs:\n%s", diff)
			}
		})
	}
}

// What the runtime asks for has nothing to do with what a delegate speaks.
func TestResultFromEveryVersionToEvery(t *testing.T) {
	for from, text := range bridgeResults {
		for to := range bridgeResults {
			result := resultOf(t, strings.ReplaceAll(text, "VERSION", from))
			encoded, err := encodeResult(result, to)
			if err != nil {
				t.Errorf("from %s to %s: %v", from, to, err)
				continue
			}
			again := resultOf(t, string(encoded))
			for i, want := range []string{"192.0.2.7/24", "2001:db8::7/64"} {
				if len(again.IPs) != 2 || again.IPs[i].Address.String() != want {
					t.Errorf("from %s to %s: addresses %v", from, to, again.IPs)
				}
			}
		}
	}
}

// Weave says neither a version nor an interface: libcni takes it for what the
// configuration says.
func TestResultWithoutAVersion(t *testing.T) {
	for version, text := range map[string]string{
		"0.2.0": `{"ip4":{"ip":"10.32.0.7/12","gateway":"10.32.0.1","routes":[{"dst":"0.0.0.0/0","gw":"10.32.0.1"}]},"dns":{}}`,
		"0.3.0": `{"ips":[{"version":"4","address":"10.32.0.7/12","gateway":"10.32.0.1"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.32.0.1"}],"dns":{}}`,
		"1.0.0": `{"cniVersion":"","ips":[{"address":"10.32.0.7/12","gateway":"10.32.0.1"}],"routes":[{"dst":"0.0.0.0/0","gw":"10.32.0.1"}],"dns":{}}`,
	} {
		t.Run(version, func(t *testing.T) {
			path := script(t, "weave-net", `echo '`+text+`'`)
			raw, err := invoke.ExecPluginWithResult(t.Context(), path, []byte(`{"cniVersion":"`+version+`"}`), &invoke.Args{Command: "ADD", Path: "/bin"}, testExecutor())
			if err != nil {
				t.Fatal(err)
			}
			encoded, err := json.Marshal(raw)
			if err != nil {
				t.Fatal(err)
			}
			result, said, err := parseResult(encoded)
			if err != nil || said != version {
				t.Fatalf("%s: version %q, %v", encoded, said, err)
			}
			want := []types.NetworkStatus{{
				Name: "weave", Interface: "eth0", IPs: []string{"10.32.0.7"}, MAC: "02:00:00:00:00:07", MTU: 1450, Default: true, Gateway: []string{"10.32.0.1"},
			}}
			if diff := cmp.Diff(want, networkStatus(&types.Attachment{Network: "weave", Interface: "eth0", Default: true}, result, there)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestResultRefused(t *testing.T) {
	for name, test := range map[string]struct{ text, want string }{
		"not JSON":           {"hello", "invalid character"},
		"an unknown version": {`{"cniVersion": "7.0.0"}`, "7.0.0"},
		"a bad address":      {`{"cniVersion": "1.0.0", "ips": [{"address": "nonsense"}]}`, "nonsense"},
	} {
		t.Run(name, func(t *testing.T) {
			result, _, err := parseResult([]byte(test.text))
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Errorf("got %v and %v", result, err)
			}
		})
	}
	if _, err := encodeResult(resultOf(t, `{}`), "7.0.0"); err == nil || !strings.Contains(err.Error(), "result as version 7.0.0") {
		t.Errorf("an unknown version to write: %v", err)
	}
}

// routesTo gives default routes of the main table.
func routesTo(gateways ...string) []*defaultRoute {
	var routes []*defaultRoute
	for _, text := range gateways {
		gateway := net.ParseIP(text)
		routes = append(routes, &defaultRoute{family: familyOf(gateway), gateway: gateway, tables: []routingTable{{id: unix.RT_TABLE_MAIN}}})
	}
	return routes
}

func TestMoveDefaultRoutes(t *testing.T) {
	const (
		both   = `{"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"},{"dst":"10.0.0.0/8"},{"dst":"::/0","gw":"2001:db8::1"}]}`
		none   = `{"ips":[{"address":"198.51.100.7/24"}]}`
		direct = `{"routes":[{"dst":"0.0.0.0/0"},{"dst":"128.0.0.0/1","gw":"192.0.2.1"},null]}`
	)
	for name, test := range map[string]struct {
		results  []string
		chosen   int
		gateways []string
		want     []string
		changed  []bool
	}{
		"IPv4 alone": {
			[]string{both, none},
			1,
			[]string{"198.51.100.1"},
			[]string{`{"routes":[{"dst":"10.0.0.0/8"},{"dst":"::/0","gw":"2001:db8::1"}]}`, `{"ips":[{"address":"198.51.100.7/24"}],"routes":[{"dst":"0.0.0.0/0","gw":"198.51.100.1"}]}`},
			[]bool{true, true},
		},
		"IPv6 alone": {
			[]string{both, none},
			1,
			[]string{"2001:db8:2::1"},
			[]string{`{"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"},{"dst":"10.0.0.0/8"}]}`, `{"ips":[{"address":"198.51.100.7/24"}],"routes":[{"dst":"::/0","gw":"2001:db8:2::1"}]}`},
			[]bool{true, true},
		},
		"both families, in order": {
			[]string{both, none},
			1,
			[]string{"198.51.100.1", "2001:db8:2::1"},
			[]string{`{"routes":[{"dst":"10.0.0.0/8"}]}`, `{"ips":[{"address":"198.51.100.7/24"}],"routes":[{"dst":"0.0.0.0/0","gw":"198.51.100.1"},{"dst":"::/0","gw":"2001:db8:2::1"}]}`},
			[]bool{true, true},
		},
		"to the one that has it": {
			[]string{both, none},
			0,
			[]string{"192.0.2.9"},
			[]string{`{"routes":[{"dst":"10.0.0.0/8"},{"dst":"::/0","gw":"2001:db8::1"},{"dst":"0.0.0.0/0","gw":"192.0.2.9"}]}`, none},
			[]bool{true, false},
		},
		"a default route without a gateway, half of everything, and nothing": {
			[]string{direct, none},
			1,
			[]string{"198.51.100.1"},
			[]string{`{"routes":[{"dst":"128.0.0.0/1","gw":"192.0.2.1"}]}`, `{"ips":[{"address":"198.51.100.7/24"}],"routes":[{"dst":"0.0.0.0/0","gw":"198.51.100.1"}]}`},
			[]bool{true, true},
		},
	} {
		t.Run(name, func(t *testing.T) {
			var results []*current.Result
			for _, text := range test.results {
				results = append(results, resultOf(t, text))
			}
			changed := moveDefaultRoutes(append(results, nil), test.chosen, routesTo(test.gateways...))
			if diff := cmp.Diff(append(test.changed, false), changed); diff != "" {
				t.Errorf("changed: %s", diff)
			}
			for i, want := range test.want {
				if diff := cmp.Diff(textOf(t, resultOf(t, want)), textOf(t, results[i])); diff != "" {
					t.Errorf("result %d: %s", i, diff)
				}
			}
		})
	}
}

// A table that the pod's rules use for the attachment has the new gateway too; its result
// says so where it named that table before.
func TestMoveDefaultRoutesOfOwnTables(t *testing.T) {
	routes := routesTo("198.51.100.9", "2001:db8::9")
	routes[0].tables = append(routes[0].tables, routingTable{id: 100})
	results := []*current.Result{
		resultOf(t, `{"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","table":200}]}`),
		resultOf(t, `{"routes":[{"dst":"0.0.0.0/0","gw":"198.51.100.1","table":100},{"dst":"::/0","gw":"2001:db8::1","table":100},{"dst":"10.0.0.0/8","table":100}]}`),
		resultOf(t, `{"routes":[{"dst":"0.0.0.0/0","gw":"203.0.113.1","table":100}]}`),
	}
	if diff := cmp.Diff([]bool{false, true, true}, moveDefaultRoutes(results, 1, routes)); diff != "" {
		t.Errorf("changed: %s", diff)
	}
	for i, want := range []string{
		`[{"dst":"0.0.0.0/0","gw":"192.0.2.1","table":200}]`,
		`[{"dst":"0.0.0.0/0","gw":"198.51.100.9","table":100},{"dst":"::/0","gw":"2001:db8::1","table":100},{"dst":"10.0.0.0/8","table":100},{"dst":"0.0.0.0/0","gw":"198.51.100.9"},{"dst":"::/0","gw":"2001:db8::9"}]`,
		`[]`,
	} {
		got, err := json.Marshal(results[i].Routes)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, string(got)); diff != "" {
			t.Errorf("result %d: %s", i, diff)
		}
	}
}

// Only the main table's default route is moved in the namespace.
func TestMoveDefaultRoutesOfTheMainTable(t *testing.T) {
	first := resultOf(t, `{"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1","table":100},{"dst":"0.0.0.0/0","gw":"192.0.2.1","table":254},{"dst":"0.0.0.0/0","gw":"192.0.2.1"}]}`)
	results := []*current.Result{first, resultOf(t, `{}`)}
	moveDefaultRoutes(results, 1, routesTo("198.51.100.1"))
	tables := func(routes []*cnitypes.Route) (all []int) {
		for _, route := range routes {
			table := 0
			if route.Table != nil {
				table = *route.Table
			}
			all = append(all, table)
		}
		return all
	}
	if diff := cmp.Diff([][]int{{100}, {0}}, [][]int{tables(results[0].Routes), tables(results[1].Routes)}); diff != "" {
		t.Error(diff)
	}
}

func TestMergeResults(t *testing.T) {
	first := resultOf(t, strings.ReplaceAll(newResult, "VERSION", "1.1.0"))
	second := resultOf(t, `{"interfaces":[{"name":"net0","sandbox":"/run/netns/c1"}],"ips":[{"interface":0,"address":"198.51.100.7/24"},{"address":"198.51.100.8/24"},null],
		"routes":[{"dst":"203.0.113.0/24"}],"dns":{"nameservers":["198.51.100.53"]}}`)
	before := textOf(t, second)
	merged := mergeResults([]*current.Result{first, nil, second})
	want := `{"cniVersion":"1.1.0","interfaces":[{"name":"vethab","mac":"02:00:00:00:00:01"},{"name":"eth0","mac":"02:00:00:00:00:07","sandbox":"/run/netns/c1"},{"name":"net0","sandbox":"/run/netns/c1"}],
		"ips":[{"interface":1,"address":"192.0.2.7/24","gateway":"192.0.2.1"},{"interface":1,"address":"2001:db8::7/64","gateway":"2001:db8::1"},
			{"interface":2,"address":"198.51.100.7/24"},{"address":"198.51.100.8/24"}],
		"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"},{"dst":"198.51.100.0/24","gw":"192.0.2.2"},{"dst":"::/0","gw":"2001:db8::1"},{"dst":"203.0.113.0/24"}],
		"dns":{"nameservers":["192.0.2.53"],"domain":"example.com"}}`
	if diff := cmp.Diff(normal(t, []byte(want)), textOf(t, merged)); diff != "" {
		t.Error(diff)
	}
	if after := textOf(t, second); after != before {
		t.Errorf("merging changed a result: %s", after)
	}
	if empty := mergeResults(nil); textOf(t, empty) != textOf(t, &current.Result{CNIVersion: "1.1.0"}) {
		t.Errorf("of nothing: %v", empty)
	}
}

// The index -1 names no interface, wherever the result comes to stand.
func TestMergeKeepsAnAddressUnbound(t *testing.T) {
	first := resultOf(t, `{"interfaces":[{"name":"eth0","sandbox":"/s"}],"ips":[{"address":"192.0.2.7/24","interface":0}]}`)
	second := resultOf(t, `{"interfaces":[{"name":"net0","sandbox":"/s"}],"ips":[{"address":"198.51.100.7/24","interface":-1},{"address":"198.51.100.8/24","interface":0},{"address":"198.51.100.9/24"}]}`)
	var got []int
	for _, ip := range mergeResults([]*current.Result{first, second}).IPs {
		index := -9
		if ip.Interface != nil {
			index = *ip.Interface
		}
		got = append(got, index)
	}
	if diff := cmp.Diff([]int{0, -9, 1, -9}, got); diff != "" {
		t.Error(diff)
	}
}

// there is what the pod's namespace has, for statuses.
var there = map[string]*seenInterface{
	"eth0": {mac: "02:00:00:00:00:07", mtu: 1450, ips: []string{"192.0.2.7", "2001:db8::7"}},
	"net0": {mac: "02:00:00:00:01:07", mtu: 9000, ips: []string{"198.51.100.7"}},
	"gone": nil,
}

func TestNetworkStatus(t *testing.T) {
	master := types.Attachment{Network: "podnet", Name: "podnet", Interface: "eth0", Default: true}
	secondary := types.Attachment{Network: "default/n", Name: "n", Interface: "net0"}
	for name, test := range map[string]struct {
		attachment types.Attachment
		result     string // "" for none
		want       []types.NetworkStatus
	}{
		"bridge, dual stack": {master, strings.ReplaceAll(newResult, "VERSION", "1.1.0"), []types.NetworkStatus{{
			Name: "podnet", Interface: "eth0", IPs: []string{"192.0.2.7", "2001:db8::7"}, MAC: "02:00:00:00:00:07", MTU: 1450, Default: true,
			DNS: types.DNS{Nameservers: []string{"192.0.2.53"}, Domain: "example.com"}, Gateway: []string{"192.0.2.1", "2001:db8::1"},
		}}},
		"what the result says is not read anew": {secondary, `{"interfaces":[{"name":"net0","mac":"02:00:00:00:ff:ff","mtu":1400,"sandbox":"s"}],"ips":[{"interface":0,"address":"203.0.113.7/24"}]}`, []types.NetworkStatus{{
			Name: "default/n", Interface: "net0", IPs: []string{"203.0.113.7"}, MAC: "02:00:00:00:ff:ff", MTU: 1400,
		}}},
		// Calico 3.28 names the host's end alone, and addresses of no interface.
		"Calico 3.28": {master, `{"cniVersion":"0.3.1","interfaces":[{"name":"cali0ab"}],"ips":[{"version":"4","address":"192.0.2.7/32"},{"version":"6","address":"2001:db8::7/128"}],"dns":{}}`, []types.NetworkStatus{{
			Name: "podnet", Interface: "eth0", IPs: []string{"192.0.2.7", "2001:db8::7"}, MAC: "02:00:00:00:00:07", MTU: 1450, Default: true,
		}}},
		"Calico 3.31": {master, `{"cniVersion":"0.3.1","interfaces":[{"name":"cali0ab"},{"name":"eth0","mac":"ee:ee:ee:ee:ee:ee","sandbox":"/run/netns/c1"}],
			"ips":[{"version":"4","interface":1,"address":"192.0.2.7/32"}],"dns":{}}`, []types.NetworkStatus{{
			Name: "podnet", Interface: "eth0", IPs: []string{"192.0.2.7"}, MAC: "ee:ee:ee:ee:ee:ee", MTU: 1450, Default: true,
		}}},
		"addresses of the host's end": {master, `{"interfaces":[{"name":"cali0ab"}],"ips":[{"interface":0,"address":"203.0.113.1/24"}]}`, []types.NetworkStatus{{
			Name: "podnet", Interface: "eth0", IPs: []string{"192.0.2.7", "2001:db8::7"}, MAC: "02:00:00:00:00:07", MTU: 1450, Default: true,
		}}},
		"no result": {secondary, "", []types.NetworkStatus{{
			Name: "default/n", Interface: "net0", IPs: []string{"198.51.100.7"}, MAC: "02:00:00:00:01:07", MTU: 9000,
		}}},
		"an empty result": {secondary, `{}`, []types.NetworkStatus{{
			Name: "default/n", Interface: "net0", IPs: []string{"198.51.100.7"}, MAC: "02:00:00:00:01:07", MTU: 9000,
		}}},
		"no result and no interface": {types.Attachment{Network: "default/n", Interface: "gone"}, "", []types.NetworkStatus{{Name: "default/n"}}},
		// vhost-user names an interface that the kernel does not have.
		"vhost-user": {types.Attachment{Network: "default/n", Interface: "net1"}, `{"interfaces":[{"name":"net1","sandbox":"/run/netns/c1"}],"ips":[{"interface":0,"address":"203.0.113.7/24"}]}`, []types.NetworkStatus{{
			Name: "default/n", Interface: "net1", IPs: []string{"203.0.113.7"},
		}}},
		// One entry for each; what belongs to no interface stands at the first.
		"several interfaces": {types.Attachment{Network: "default/n", Interface: "net0", Gateways: []string{"198.51.100.1"}}, `{"interfaces":[{"name":"host0"},{"name":"net0","sandbox":"s"},null,{"name":"net0.5","mac":"02:00:00:00:01:05","mtu":1300,"sandbox":"s"}],
			"ips":[{"interface":3,"address":"203.0.113.5/24"},{"interface":1,"address":"203.0.113.1/24"},{"interface":-1,"address":"203.0.113.9/24"},{"address":"203.0.113.8/24"},{"interface":77,"address":"203.0.113.77/24"},null],
			"routes":[null,{"dst":"0.0.0.0/0","gw":"198.51.100.1"},{"dst":"0.0.0.0/0"},{"dst":"203.0.113.0/24","gw":"198.51.100.2"}]}`, []types.NetworkStatus{
			{Name: "default/n", Interface: "net0", IPs: []string{"203.0.113.1", "203.0.113.9", "203.0.113.8"}, MAC: "02:00:00:00:01:07", MTU: 9000, DefaultRoute: []string{"198.51.100.1"}, Gateway: []string{"198.51.100.1"}},
			{Name: "default/n", Interface: "net0.5", IPs: []string{"203.0.113.5"}, MAC: "02:00:00:00:01:05", MTU: 1300},
		}},
	} {
		t.Run(name, func(t *testing.T) {
			var result *current.Result
			if test.result != "" {
				result = resultOf(t, test.result)
			}
			if diff := cmp.Diff(test.want, networkStatus(&test.attachment, result, there)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// The order of the fields in the annotation is part of what people compare.
func TestNetworkStatusOrder(t *testing.T) {
	attachment := &types.Attachment{Network: "default/n", Interface: "net0", Gateways: []string{"198.51.100.1"}}
	result := resultOf(t, `{"interfaces":[{"name":"net0","sandbox":"s"},{"name":"bare","sandbox":"s"}],"ips":[{"interface":0,"address":"198.51.100.7/24"}],
		"routes":[{"dst":"0.0.0.0/0","gw":"198.51.100.1"}],"dns":{"nameservers":["192.0.2.53"],"domain":"d","search":["s"],"options":["o"]}}`)
	status := networkStatus(attachment, result, there)
	status[0].DeviceInfo = &types.DeviceInfo{Type: "pci", Version: "1.1.0", PCI: &types.PCIDevice{PCIAddress: "0000:3b:02.0", PFPCIAddress: "0000:3b:00.0"}}
	text, err := types.FormatStatus(status)
	if err != nil {
		t.Fatal(err)
	}
	check.Golden(t, filepath.Join("testdata", "status.json"), []byte(text+"\n"))
	again, err := types.ParseStatus(text)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(status, again); diff != "" {
		t.Errorf("read again it differs:\n%s", diff)
	}
}

func TestNetworkStatusOfAnAddressThatIsNone(t *testing.T) {
	for name, text := range map[string]string{
		"an empty address": `{"interfaces":[{"name":"net0","sandbox":"/s"}],"ips":[{}]}`,
		"a gateway alone":  `{"interfaces":[{"name":"net0","sandbox":"/s"}],"ips":[{"gateway":"192.0.2.1","interface":0}]}`,
		"no interface":     `{"ips":[{"gateway":"192.0.2.1"}]}`,
		"no destination":   `{"routes":[{"gw":"192.0.2.1"}],"ips":[{}]}`,
	} {
		t.Run(name, func(t *testing.T) {
			status := networkStatus(&types.Attachment{Network: "default/n", Interface: "net0", Gateways: []string{"192.0.2.1"}}, resultOf(t, text), nil)
			if said, err := types.FormatStatus(status); err != nil || strings.Contains(said, "nil") {
				t.Errorf("%v: %s", err, said)
			}
		})
	}
}

// The specification: a route without gw has the gateway of the addresses.
func TestNetworkStatusGatewayOfARouteWithoutOne(t *testing.T) {
	for name, test := range map[string]struct {
		text string
		want []string
	}{
		"of its family":       {`{"ips":[{"address":"2001:db8::7/64","gateway":"2001:db8::1"},{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"0.0.0.0/0"},{"dst":"::/0"}]}`, []string{"192.0.2.1", "2001:db8::1"}},
		"its own before that": {`{"ips":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.2"}]}`, []string{"192.0.2.2"}},
		"none of its family":  {`{"ips":[{"address":"2001:db8::7/64","gateway":"2001:db8::1"}],"routes":[{"dst":"0.0.0.0/0"}]}`, nil},
		"of another table":    {`{"ips":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"0.0.0.0/0","table":100}]}`, nil},
		"no default route":    {`{"ips":[{"address":"192.0.2.7/24","gateway":"192.0.2.1"}],"routes":[{"dst":"198.51.100.0/24"}]}`, nil},
	} {
		t.Run(name, func(t *testing.T) {
			status := networkStatus(&types.Attachment{Network: "podnet", Interface: "eth0", Default: true}, resultOf(t, test.text), nil)
			if len(status) != 1 {
				t.Fatalf("%d entries", len(status))
			}
			if diff := cmp.Diff(test.want, status[0].Gateway); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMissingInterfaces(t *testing.T) {
	attachments := []types.Attachment{{Network: "podnet"}, {Network: "default/n"}}
	results := []*current.Result{
		resultOf(t, `{"interfaces":[{"name":"host0"},{"name":"eth0","sandbox":"s"},null]}`),
		resultOf(t, `{"interfaces":[{"name":"net7","sandbox":"s"},{"name":"vhu0","sandbox":"s","socketPath":"/run/s"},{"name":"vf0","sandbox":"s","pciID":"0000:3b:02.0"}]}`),
	}
	got := missingInterfaces(attachments, results, there)
	if len(got) != 1 || !strings.Contains(got[0], "network default/n: ") || !strings.Contains(got[0], "net7") {
		t.Errorf("got %q", got)
	}
}

// The cache that libcni reads is rewritten when routes move; both must say the same.
func TestWriteCacheIsReadByLibcni(t *testing.T) {
	config := &types.Config{CNIDir: t.TempDir()}
	e := &Engine{Config: config}
	record := types.NewRecord(types.Intent{Network: "outer", Plan: types.Plan{
		Sandbox: types.Sandbox{ContainerID: "c1", NetNS: "/run/netns/c1", IfName: "eth0", Args: [][2]string{{"K8S_POD_NAME", "web"}}},
		Attachments: []types.Attachment{{
			Network: "default/n", Name: "n", Interface: "net0", Config: `{"cniVersion":"1.0.0","name":"n","plugins":[{"type":"bridge"}]}`,
			CapabilityArgs: map[string]json.RawMessage{"ips": json.RawMessage(`["192.0.2.7/24"]`)},
		}},
	}})
	record.Progress[0].Result = json.RawMessage(`{"cniVersion":"1.0.0","routes":[{"dst":"0.0.0.0/0","gw":"192.0.2.1"}]}`)
	s := &session{Engine: e, record: record}
	s.key.ContainerID = "c1"
	s.restoreCache(0)
	a := &record.Plan.Attachments[0]
	list, err := listOf(a)
	if err != nil {
		t.Fatal(err)
	}
	rt := runtimeConf(a, &record.Plan.Sandbox, "/run/netns/c1")
	cni := e.cni(nil, "c1", config.CNIDir)
	cached, err := cni.GetNetworkListCachedResult(list, rt)
	if err != nil || cached == nil {
		t.Fatal(cached, err)
	}
	result, err := current.NewResultFromResult(cached)
	if err != nil {
		t.Fatal(err)
	}
	want := &cnitypes.Route{Dst: *ipv4.any, GW: net.ParseIP("192.0.2.1")}
	if len(result.Routes) != 1 || result.Routes[0].String() != want.String() {
		t.Errorf("routes %v, want %v", result.Routes, want)
	}
	bytes, again, err := cni.GetNetworkListCachedConfig(list, rt)
	if err != nil || string(bytes) != a.Config {
		t.Errorf("configuration %s, %v", bytes, err)
	}
	if diff := cmp.Diff([]any{"192.0.2.7/24"}, again.CapabilityArgs["ips"]); diff != "" {
		t.Errorf("capability arguments: %s", diff)
	}
	if diff := cmp.Diff(record.Plan.Sandbox.Args, again.Args); diff != "" {
		t.Errorf("CNI_ARGS: %s", diff)
	}
	// What is there is not overwritten: libcni's own entry is at least as good.
	writeTestFile(t, s.cachePath(a), `"kept"`, 0o600)
	s.restoreCache(0)
	if data, err := os.ReadFile(s.cachePath(a)); err != nil || string(data) != `"kept"` {
		t.Errorf("a cache entry was overwritten: %q, %v", data, err)
	}
}
