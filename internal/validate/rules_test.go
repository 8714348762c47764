package validate

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// marked is a file in which ⟦rule⟧ stands before what the rule is to find. It gives the file
// without the marks, and the findings that they stand for.
func marked(name, text string) (File, []string) {
	var want []string
	var clean strings.Builder
	line, column := 1, 1
	for text != "" {
		if rest, found := strings.CutPrefix(text, "⟦"); found {
			rule, rest, _ := strings.Cut(rest, "⟧")
			want = append(want, fmt.Sprintf("%s:%d:%d %s", name, line, column, rule))
			text = rest
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		clean.WriteString(text[:size])
		text = text[size:]
		if column++; r == '\n' {
			line, column = line+1, 1
		}
	}
	return File{Name: name, Data: []byte(clean.String())}, want
}

// found gives the places and rules of findings, as marked gives those that are wanted.
func found(r *Report) []string {
	var got []string
	for i := range r.Findings {
		f := &r.Findings[i]
		got = append(got, fmt.Sprintf("%s:%d:%d %s", f.File, f.Line, f.Column, f.Rule))
	}
	return got
}

// examine runs marked files, and fails unless exactly what is marked is found.
func examine(t *testing.T, o Options, texts ...string) *Report {
	t.Helper()
	var files []File
	var want []string
	for i, text := range texts {
		file, wanted := marked(fmt.Sprintf("%d.yaml", i), text)
		files, want = append(files, file), append(want, wanted...)
	}
	r, err := Run(t.Context(), files, o)
	check.Must(t, err)
	got := found(r)
	slices.Sort(got)
	slices.Sort(want)
	check.Equal(t, "findings", got, want)
	if t.Failed() {
		var b strings.Builder
		check.Must(t, Text(&b, r))
		t.Log(b.String())
	}
	return r
}

// nad is a network whose configuration is on line 6.
func nad(name, config string) string {
	return "apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata:\n  name: " + name + "\nspec:\n  config: '" + config + "'\n---\n"
}

func bridge(keys string) string { return `{"cniVersion": "1.0.0", "type": "bridge"` + keys + `}` }

func onBridge(name, ipam string) string {
	return fmt.Sprintf(`{"cniVersion": "1.0.0", "name": %q, "type": "bridge", "bridge": "br1", "ipam": {"type": "host-local", %s}}`, name, ipam)
}

// selects is a pod with the networks annotation, in single quotes.
func selects(annotation string) string {
	return "apiVersion: v1\nkind: Pod\nmetadata:\n  name: web\n  annotations:\n    k8s.v1.cni.cncf.io/networks: '" + annotation + "'\n---\n"
}

// ruleCases are two faults of the kind of each rule, with the place of each, and what is right.
var ruleCases = map[string][]string{
	"yaml: an open bracket":            {"kind: Pod\nmetadata:\n  name: a\n⟦yaml⟧spec: [\n---\n" + nad("a", bridge(""))},
	"yaml: a second document":          {nad("a", bridge("")) + "a: b\n⟦yaml⟧c: d: e\n"},
	"yaml: an anchor in itself":        {"kind: Pod\nmetadata: &a\n  name: x\n  labels: ⟦yaml⟧*a\n"},
	"yaml: a control character":        {"kind: Pod\nmetadata: {name: ⟦yaml⟧\x01}\n---\n" + nad("a", bridge(""))},
	"yaml: an anchor of nothing":       {nad("a", bridge("")) + "kind: Pod\nmetadata: ⟦yaml⟧*ghost\n"},
	"yaml: separators alone":           {strings.Repeat("---\n", 100_000) + "⟦object⟧- 1\n"},
	"key-twice: of a manifest":         {"kind: Pod\nmetadata:\n  name: a\n  ⟦key-twice⟧name: b\n"},
	"key-twice: of a manifest in JSON": {`{"kind": "Pod", "metadata": {"name": "a"}, ⟦key-twice⟧"metadata": {"name": "b"}}`},
	"object: a list in a list":         {"kind: List\nitems:\n- kind: List\n  items:\n  - ⟦object⟧kind: Pod\n"},
	"object: a list in two lists":      {"kind: List\nitems: [{kind: PodList, items: [{kind: PodList, apiVersion: v1, items: [⟦object⟧{metadata: {}}]}]}]\n"},
	"object: a bad name hides nothing": {nad("⟦object⟧Net_A", `{"type": ⟦config⟧"../x"}`)},
	"object: no name hides nothing":    {"⟦object⟧kind: NetworkAttachmentDefinition\napiVersion: k8s.cni.cncf.io/v1\nmetadata: {}\nspec: {config: '{\"type\": ⟦config⟧1}'}\n"},
	"plugin-key":                       {nad("a", `{"type": "macvlan", ⟦plugin-key⟧"mastr": "eth1"}`)},
	"plugin-key: of IPAM, in a list":   {nad("a", `{"plugins": [{"type": "bridge", "ipam": {"type": "host-local", "subnet": "10.0.0.0/24", ⟦plugin-key⟧"range_start": "10.0.0.5"}}]}`)},
	"plugin-key: of others":            {nad("a", `{"type": "macvlan", "BrideIsThere": 1, "_comment": "", "MASTER": "eth1"}`) + nad("b", `{"type": "calico", "mastr": "eth1"}`)},
	"range: whereabouts, no network":   {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": ⟦range⟧"10.0.0.0"}}`)},
	"range: whereabouts, outside":      {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "ipRanges": [{"range": "10.0.0.0/24", "range_start": ⟦range⟧"10.0.1.1"}]}}`)},
	"range: whereabouts, itself":       {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "ipRanges": [{"range": "10.0.0.0/24"}, {"range": ⟦range⟧"10.0.0.9-10.0.0.20/24"}]}}`)},
	"range-reserved: whereabouts":      {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": ⟦range-reserved⟧"10.0.0.0/24", "gateway": "10.0.0.1"}}`)},
	"range-reserved: whereabouts, net": {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/24", "range_start": "10.0.0.0"}}`)},
	"range-reserved: excluded":         {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/24", "gateway": "10.0.0.1", "exclude": ["10.0.0.1/32"]}}`)},
	"range-overlap: whereabouts": {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/24", "enable_overlapping_ranges": false}}`) +
		nad("b", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": ⟦range-overlap⟧"10.0.0.0/25"}}`)},
	"range-overlap: whereabouts, apart": {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/24", "network_name": "blue"}}`) +
		nad("b", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": ⟦range-overlap⟧"10.0.0.0/25"}}`)},
	"range-overlap: whereabouts, named": {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/24", "network_name": "blue"}}`) +
		nad("b", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/25", "network_name": "blue"}}`)},
	"range-overlap: whereabouts looks": {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/24"}}`) +
		nad("b", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/25"}}`)},
	"object: no name":              {"⟦object⟧kind: Pod\nmetadata: {}\n"},
	"object: no map":               {"⟦object⟧- 1\n"},
	"object: config is an object":  {"kind: NetworkAttachmentDefinition\napiVersion: k8s.cni.cncf.io/v1\nmetadata: {name: a}\nspec:\n  config:\n    ⟦object⟧type: bridge\n"},
	"object: annotation is a list": {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    k8s.v1.cni.cncf.io/networks: ⟦object⟧[a, b]\n"},
	"object: name is no label":     {"kind: NetworkAttachmentDefinition\napiVersion: k8s.cni.cncf.io/v1\nmetadata: {name: ⟦object⟧Net_A}\nspec: {config: '" + bridge("") + "'}\n"},
	"object: of other kinds":       {"kind: Service\nmetadata: {}\n---\n# nothing\n---\n"},

	"object-twice":                  {nad("a", bridge("")), nad("⟦object-twice⟧a", bridge(""))},
	"object-twice: in one file":     {nad("a", bridge("")) + nad("b", bridge("")) + nad("⟦object-twice⟧a", bridge(""))},
	"object-twice: two namespaces":  {nad("a", bridge("")), nad("a\n  namespace: other", bridge(""))},
	"config-json: a comma too many": {nad("a", `{"type": "bridge",⟦config-json⟧}`)},
	"config-json: a key without":    {nad("a", `{"type": "bridge", ⟦config-json⟧mtu: 1}`)},
	"config-json: cut":              {nad("a", `{"type": "bridge⟦config-json⟧"`)},
	"config: no type":               {nad("a", `⟦config⟧{"cniVersion": "1.0.0"}`)},
	"config: a path":                {nad("a", `{"plugins": [{"type": "bridge"}, {"type": ⟦config⟧"../x"}]}`)},
	"config: of IPAM":               {nad("a", bridge(`, "ipam": {"type": ⟦config⟧1}`))},
	"config: plexus itself":         {nad("a", `{"type": ⟦config⟧"plexus"}`)},
	"config: two faults":            {nad("a", `{"name": ⟦config⟧1, "plugins": [{"type": "a"}, ⟦config⟧{"tipe": "b"}]}`)},
	"config: a name CNI refuses":    {nad("a", `{"name": ⟦config⟧"a b", "type": "bridge"}`)},
	"cni-version":                   {nad("a", `{"cniVersion": ⟦cni-version⟧"1.0", "type": "bridge"}`)},
	"cni-version: of a list":        {nad("a", `{"cniVersion": ⟦cni-version⟧"2.0.0", "plugins": [{"type": "bridge"}]}`)},
	"cni-version: the newest":       {nad("a", `{"cniVersion": "1.1.0", "type": "bridge"}`)},
	"cni-version-old":               {nad("a", `{"cniVersion": ⟦cni-version-old⟧"0.2.0", "type": "bridge"}`)},
	"cni-version-old: the oldest":   {nad("a", `{"cniVersion": ⟦cni-version-old⟧"0.1.0", "plugins": [{"type": "bridge"}]}`)},
	"key-twice":                     {nad("a", `{"type": "bridge", "mtu": 1, ⟦key-twice⟧"mtu": 2}`)},
	"key-twice: deep":               {nad("a", `{"plugins": [{"type": "bridge", "args": {"a": 1, ⟦key-twice⟧"a": 1}}]}`)},
	"key-twice: of an element":      {selects(`[{"name": "a", "interface": "x", ⟦key-twice⟧"interface": "y"}]`)},
	"key-twice: in two objects":     {nad("a", `{"plugins": [{"type": "bridge"}, {"type": "tuning"}]}`)},

	"name-twice":                  {nad("a", bridge(`, "name": "n"`)) + nad("b", bridge(`, "mtu": 1400, "name": ⟦name-twice⟧"n"`))},
	"name-twice: no name":         {nad("a", bridge("")), nad("a\n  namespace: other", `⟦name-twice⟧{"type": "bridge", "mtu": 1}`)},
	"name-twice: the same config": {nad("a", bridge(`, "name": "n", "mtu": 1`)) + nad("b", bridge(`, "mtu":1,  "name": "n"`))},
	"range: host bits":            {nad("a", onBridge("a", `"subnet": ⟦range⟧"10.0.0.1/24"`))},
	"range: start outside":        {nad("a", onBridge("a", `"ranges": [[{"subnet": "10.0.0.0/24", "rangeStart": ⟦range⟧"10.0.1.1"}]]`))},
	"range: end before start":     {nad("a", onBridge("a", `"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.9", "rangeEnd": ⟦range⟧"10.0.0.3"`))},
	"range: no subnet":            {nad("a", onBridge("a", `"ranges": [[⟦range⟧{}]]`))},
	"range: too small":            {nad("a", onBridge("a", `"subnet": ⟦range⟧"fd00::/127"`))},
	"range: overlaps itself":      {nad("a", onBridge("a", `"ranges": [[{"subnet": "10.0.0.0/24"}, ⟦range⟧{"subnet": "10.0.0.0/24", "rangeEnd": "10.0.0.9"}]]`))},
	"range: both families":        {nad("a", onBridge("a", `"ranges": [[{"subnet": "10.0.0.0/24"}], [{"subnet": "fd00::/64"}]]`))},

	"range-reserved: gateway":   {nad("a", onBridge("a", `"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.5", "gateway": ⟦range-reserved⟧"10.0.0.9"`))},
	"range-reserved: network":   {nad("a", onBridge("a", `"subnet": "10.0.0.0/24", "rangeStart": ⟦range-reserved⟧"10.0.0.0"`))},
	"range-reserved: broadcast": {nad("a", onBridge("a", `"ranges": [[{"subnet": "10.0.0.0/24", "rangeEnd": ⟦range-reserved⟧"10.0.0.255"}]]`))},
	"range-reserved: of another": {nad("a", onBridge("a", `"subnet": "10.0.0.0/24", "rangeEnd": "10.0.0.99", "rangeStart": "10.0.0.9", "gateway": "10.0.0.100"`)) +
		nad("b", onBridge("b", `"ranges": [[⟦range-reserved⟧{"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.100"}]]`))},
	"range-reserved: outside": {nad("a", onBridge("a", `"subnet": "10.0.0.0/24", "rangeStart": "10.0.0.5", "gateway": "10.0.0.1"`))},
	"range-overlap":           {nad("a", onBridge("a", `"subnet": "10.0.0.0/24"`)), nad("b", onBridge("b", `"ranges": [[⟦range-overlap⟧{"subnet": "10.0.0.0/25"}]]`))},
	"range-overlap: IPv6":     {nad("a", onBridge("a", `"subnet": "fd00::/64"`)) + nad("b", onBridge("b", `"ranges": [[⟦range-overlap⟧{"subnet": "fd00::/112", "rangeStart": "fd00::5"}]]`))},
	"range-overlap: apart":    {nad("a", onBridge("a", `"subnet": "10.0.0.0/25"`)) + nad("b", onBridge("b", `"subnet": "10.0.0.128/25"`))},
	"range-overlap: two bridges": {nad("a", onBridge("a", `"subnet": "10.0.0.0/24"`)) +
		nad("b", strings.Replace(onBridge("b", `"subnet": "10.0.0.0/24"`), "br1", "br2", 1))},
	"range-per-node":              {nad("a", `{"type": "macvlan", "ipam": ⟦range-per-node⟧{"type": "host-local", "subnet": "10.0.0.0/24"}}`)},
	"range-per-node: a VLAN":      {nad("a", `{"plugins": [{"type": "vlan", "master": "eth1", "vlanId": 5, "ipam": {"type": "host-local", "ranges": [[⟦range-per-node⟧{"subnet": "fd00::/64"}]]}}]}`)},
	"range-per-node: whereabouts": {nad("a", `{"type": "macvlan", "ipam": {"type": "whereabouts", "range": "10.0.0.0/24"}}`)},

	"master-shared":              {nad("a", `{"type": "macvlan", "master": "eth1"}`), nad("b", `{"type": "ipvlan", "master": ⟦master-shared⟧"eth1"}`)},
	"master-shared: of lists":    {nad("a", `{"plugins": [{"type": "ipvlan", "master": "eth1"}]}`) + nad("b", `{"plugins": [{"master": ⟦master-shared⟧"eth1", "type": "macvlan"}]}`)},
	"master-shared: two masters": {nad("a", `{"type": "macvlan", "master": "eth1"}`) + nad("b", `{"type": "ipvlan", "master": "eth1.5"}`)},
	"deprecated":                 {selects(`[{"name": "a", ⟦deprecated⟧"interfaceRequest": "x"}]`)},
	"deprecated: annotation":     {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    ⟦deprecated⟧kubernetes.v1.cni.cncf.io/networks: a\n"},

	"annotation: a comma too many":          {selects(`a, ⟦annotation⟧,b`)},
	"annotation: an address":                {selects(`[{"name": "a"}, {"name": "b", "ips": ["10.0.0.1", ⟦annotation⟧"10.0.0"]}]`)},
	"annotation: not JSON":                  {selects(`[{"name": "a"}, {"name": "b"⟦annotation⟧]`)},
	"annotation: interface twice":           {selects(`a@x,⟦annotation⟧b@x`)},
	"annotation: of a short form":           {selects(`a,⟦annotation⟧B@x`)},
	"annotation: route twice":               {selects(`[{"name": "a", "default-route": ["10.0.0.1"]}, {"name": "b", "default-route": ⟦annotation⟧["10.0.0.1"]}]`)},
	"annotation: the default":               {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    v1.multus-cni.io/default-network: ⟦annotation⟧a,b\n"},
	"annotation-key":                        {selects(`[{"name": "a", ⟦annotation-key⟧"intf": "x"}]`)},
	"annotation-key: the second":            {selects(`[{"name": "a"}, {"name": "b", "ips": ["10.0.0.1"], ⟦annotation-key⟧"macs": "x"}]`)},
	"annotation-key: a misspelt annotation": {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    ⟦annotation-key⟧k8s.v1.cni.cncf.io/network: a\n"},
	"annotation-key: of Multus":             {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    ⟦annotation-key⟧v1.multus-cni.io/default-networks: a\n    example.org/networks: b\n"},
	"annotation-key: a status":              {"kind: Pod\nmetadata:\n  name: a\n  annotations:\n    k8s.v1.cni.cncf.io/network-status: '[]'\n"},
	"annotation-key: another case":          {selects(`[{"name": "a", "Interface": "x"}]`)},
	"pod: a made-up name is taken":          {nad("a", bridge("")) + nad("b", bridge("")) + selects(`a,⟦pod⟧b@net0`)},
	"pod: calico twice":                     {nad("a", `{"type": "calico"}`) + nad("b", `{"type": "calico"}`) + selects(`a,⟦pod⟧b`)},
	"pod: two names":                        {nad("a", bridge("")) + nad("b", bridge("")) + selects(`a,b@net5`)},

	"capability: ports":                 {nad("a", bridge("")) + selects(`[{"name": "a", "portMappings": ⟦capability⟧[{"hostPort": 1, "containerPort": 1}]}]`)},
	"capability: rates":                 {nad("a", bridge("")) + selects(`[{"name": "a", "bandwidth": ⟦capability⟧{"ingressRate": 1}}]`)},
	"capability: a MAC":                 {nad("a", `{"type": "ipvlan"}`) + selects(`[{"name": "a", "mac": ⟦capability⟧"02:00:00:00:00:01"}]`)},
	"capability: addresses":             {nad("a", bridge(`, "ipam": {"type": "dhcp"}`)) + selects(`[{"name": "a", "ips": ⟦capability⟧["10.0.0.1"]}]`)},
	"capability: declared":              {nad("a", bridge(`, "capabilities": {"portMappings": true, "ips": true}`)) + selects(`[{"name": "a", "ips": ["10.0.0.1"], "portMappings": [{"hostPort": 1, "containerPort": 1}]}]`)},
	"capability: by CNI_ARGS":           {nad("a", bridge(`, "ipam": {"type": "static"}`)) + selects(`[{"name": "a", "ips": ["10.0.0.1/24"], "mac": "02:00:00:00:00:01"}]`)},
	"network-not-given":                 {nad("a", bridge("")) + selects(`a,⟦network-not-given⟧b`)},
	"network-not-given: JSON":           {nad("a", bridge("")) + selects(`[{"namespace": "x", "name": ⟦network-not-given⟧"a"}]`)},
	"network-not-given: none are":       {selects(`a,b`)},
	"config-on-node":                    {"⟦config-on-node⟧apiVersion: k8s.cni.cncf.io/v1\nkind: NetworkAttachmentDefinition\nmetadata: {name: a}\n"},
	"config-on-node: an empty one":      {"⟦config-on-node⟧" + nad("a", " ")},
	"a broken network is reported once": {nad("a", `{"type": ⟦config⟧1}`) + selects(`a`) + selects(`a`)},
}

// Each rule finds what is of its kind, at its place, and lets pass what is right.
func TestRules(t *testing.T) {
	for name, texts := range ruleCases {
		t.Run(name, func(t *testing.T) { examine(t, Options{}, texts...) })
	}
}

// The configuration of Plexus brings its isolation, its allow-list and its networks.
func TestConfig(t *testing.T) {
	const podnet = `"delegates": [{"cniVersion": "1.0.0", "name": "podnet", "type": "bridge"}]`
	for name, tc := range map[string]struct {
		config, text string
	}{
		"isolation":          {podnet + `, "namespaceIsolation": true`, selects(`⟦pod⟧other/a`)},
		"isolation: JSON":    {podnet + `, "namespaceIsolation": true`, selects(`[{"name": "b"}, ⟦pod⟧{"name": "a", "namespace": "x"}]`)},
		"isolation: global":  {podnet + `, "namespaceIsolation": true, "globalNamespaces": "other"`, selects(`other/a`)},
		"not allowed":        {podnet + `, "allowedPlugins": {"*": ["bridge"]}`, nad("a", `{"type": ⟦config⟧"macvlan"}`)},
		"IPAM not allowed":   {podnet + `, "allowedPlugins": {"*": ["bridge"]}`, nad("a", `{"type": "bridge", "ipam": {"type": ⟦config⟧"dhcp"}}`)},
		"allowed":            {podnet + `, "allowedPlugins": {"default": ["bridge"]}`, nad("a", `{"type": "bridge"}`)},
		"no default network": {podnet, "kind: Pod\nmetadata:\n  name: a\n  annotations:\n    v1.multus-cni.io/default-network: ⟦pod⟧other/a\n"},
		"a default network":  {podnet + `, "defaultNetworks": ["x", "/etc/y"]`, selects(`a@eth5,⟦pod⟧b@net1`) + "---\n" + nad("a", bridge("")) + nad("b", bridge(""))},
		"of the node's own":  {`"clusterNetwork": "a", "multusNamespace": "default", "allowedPlugins": {"*": ["bridge"]}`, nad("a", `{"type": ⟦config⟧"macvlan"}`) + selects(`⟦network-not-given⟧b`)},
		"flannel beside":     {`"delegates": [{"name": "podnet", "type": "flannel"}]`, nad("a", `⟦config⟧{"type": "flannel"}`) + selects(`a`)},
		"files of the node":  {`"clusterNetwork": "/etc/cni/x.conf", "defaultNetworks": ["/etc/y"]`, selects(`a`)},
	} {
		t.Run(name, func(t *testing.T) { examine(t, Options{Config: configOf(t, tc.config)}, tc.text) })
	}
}

func configOf(t *testing.T, keys string) *types.Config {
	t.Helper()
	config, _, err := types.ParseConfig([]byte(`{"cniVersion": "1.0.0", "name": "outer", "type": "plexus", ` + keys + `}`))
	check.Must(t, err)
	return config
}

// A fault of the node's own is reported once, in its own file.
func TestNodeConfig(t *testing.T) {
	for name, keys := range map[string]string{
		"the default network": `"delegates": [{"name": "podnet", "type": "plexus"}]`,
		"a chain of no file":  `"clusterNetwork": "a", "auxiliaryCNIChainName": "aux"`,
		"a bad delegate":      `"delegates": [{"name": "podnet", "plugins": 1}]`,
	} {
		t.Run(name, func(t *testing.T) {
			file, _ := marked("a.yaml", nad("a", bridge(""))+selects("a")+selects("a"))
			r, err := Run(t.Context(), []File{file}, Options{Config: configOf(t, keys), ConfigFile: "00-plexus.conflist"})
			check.Must(t, err)
			check.Equal(t, "findings", found(r), []string{"00-plexus.conflist:1:1 " + ruleNodeConfig})
		})
	}
}

// onNode are the cases of the rules that need a node, which has eth0 and eth1.5.
var onNode = map[string]string{
	"master-missing":            nad("a", `{"type": "macvlan", "master": ⟦master-missing⟧"eth9"}`),
	"master-missing: of a list": nad("a", `{"plugins": [{"type": "bridge"}, {"type": "vlan", "master": ⟦master-missing⟧"bond0", "vlanId": 5}]}`),
	"master of the pod":         nad("a", `{"type": "ipvlan", "master": "net1", "linkInContainer": true}`),
	"the default master":        nad("a", `{"type": "macvlan", "mtu": 9000}`),
	"mtu":                       nad("a", `{"type": "macvlan", "master": "eth0", "mtu": ⟦mtu⟧1501}`),
	"mtu: of a VLAN":            nad("a", `{"plugins": [{"type": "ipvlan", "mtu": ⟦mtu⟧1450, "master": "eth1.5"}]}`),
	"plugin-missing":            nad("a", `{"type": ⟦plugin-missing⟧"macvlann"}`),
	"plugin-missing: of IPAM":   nad("a", `{"plugins": [{"type": "bridge", "ipam": {"type": ⟦plugin-missing⟧"dhcp"}}, {"type": "vlan"}]}`),
	"plugin-version":            nad("a", `{"cniVersion": "1.1.0", "plugins": [{"type": "macvlan"}, {"type": ⟦plugin-version⟧"ipvlan"}]}`),
	"plugin-version: single":    nad("a", `{"cniVersion": "1.0.0", "type": "bridge", "ipam": {"type": ⟦plugin-version⟧"static"}}`),
	"plugin-version: a choice":  nad("a", `{"cniVersion": "1.1.0", "cniVersions": ["0.4.0", "1.1.0"], "plugins": [{"type": "ipvlan"}]}`),
	"plugin-version: the same":  nad("a", `{"cniVersion": "1.0.0", "type": "ipvlan"}`),
	"mtu: the same":             nad("a", `{"type": "macvlan", "master": "eth0", "mtu": 1500}`),
}

// pluginsOnly is a node of which the plugins are known.
type pluginsOnly struct {
	assumedNode
	Plugins []string
}

func (p pluginsOnly) CheckPlugin(name string) error {
	if slices.Contains(p.Plugins, name) {
		return nil
	}
	return plan.MissingPlugin(name, []string{"/opt/cni/bin"})
}

func TestOnNode(t *testing.T) {
	plugins := []string{"bridge", "macvlan", "ipvlan", "vlan", "static", "host-local"}
	node := &Node{
		Name: "n1", MTUs: map[string]int{"eth0": 1500, "eth1.5": 1400},
		Files: pluginsOnly{Plugins: plugins}, Plugins: plugins, Newest: map[string]string{"ipvlan": "1.0.0", "static": "0.4.0"},
	}
	for name, text := range onNode {
		t.Run(name, func(t *testing.T) { examine(t, Options{Node: node}, text) })
	}
}

// Every rule is explained, and has two cases in which it finds something.
func TestEveryRule(t *testing.T) {
	var cases strings.Builder
	for _, texts := range ruleCases {
		cases.WriteString(strings.Join(texts, ""))
	}
	for _, text := range onNode {
		cases.WriteString(text)
	}
	for _, rule := range Rules() {
		if n := strings.Count(cases.String(), "⟦"+rule.ID+"⟧"); n < 2 && rule.ID != ruleNodeConfig { // TestNodeConfig
			t.Errorf("rule %s has %d cases", rule.ID, n)
		}
		if rule.Finds == "" || rule.Why == "" || rule.Do == "" || !slices.Contains([]Severity{Error, Warning, Note}, rule.Severity) {
			t.Errorf("rule %s is not complete: %+v", rule.ID, rule)
		}
		check.Contains(t, "explanation", rule.Explain(), rule.ID, rule.Finds, rule.Why, rule.Do)
	}
	if _, known := RuleOf("no-such-rule"); known {
		t.Error("a rule that is not there is found")
	}
}
