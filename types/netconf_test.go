package types

import (
	"encoding/json"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func mustNetConf(t *testing.T, data string) *NetConf {
	t.Helper()
	c, err := ParseNetConf([]byte(data), "net-a")
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// wantBytes asserts the exact encoding of a list, which then reads back as itself.
func wantBytes(t *testing.T, want string, c *NetConf) {
	t.Helper()
	data, err := c.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	if string(data) != want {
		t.Errorf("encoded as\n%s\nwant\n%s", data, want)
	}
	again := mustNetConf(t, string(data))
	if back, err := again.Bytes(); err != nil || string(back) != want {
		t.Errorf("read back as\n%s\n(%v)", back, err)
	}
}

func TestNetConfBytes(t *testing.T) {
	for _, tc := range []struct{ name, data, want string }{
		{
			"a single configuration becomes a list", `{"cniVersion":"0.4.0","name":"x","type":"bridge","bridge":"br0"}`,
			`{"cniVersion":"0.4.0","name":"x","plugins":[{"bridge":"br0","cniVersion":"0.4.0","name":"x","type":"bridge"}]}`,
		},
		{
			"its keys stay in the plugin", `{"name":"x","type":"t","disableCheck":true,"dns":{}}`,
			`{"name":"x","plugins":[{"disableCheck":true,"dns":{},"name":"x","type":"t"}]}`,
		},
		{"a name is injected", `{"type":"t"}`, `{"name":"net-a","plugins":[{"type":"t"}]}`},
		{"for an empty one too", `{"name":"","type":"t"}`, `{"name":"net-a","plugins":[{"name":"","type":"t"}]}`},
		{"and a null one", `{"name":null,"plugins":[{"type":"t"}]}`, `{"name":"net-a","plugins":[{"type":"t"}]}`},
		{
			"a list keeps its keys and its order", `{"plugins":[{"type":"b"},{"type":"a"}],"disableCheck":true,"cniVersion":"1.1.0","name":"x","cniVersions":["1.0.0","1.1.0"]}`,
			`{"cniVersion":"1.1.0","cniVersions":["1.0.0","1.1.0"],"disableCheck":true,"name":"x","plugins":[{"type":"b"},{"type":"a"}]}`,
		},
		{"keys written otherwise are one", `{"NAME":"x","Plugins":[{"Type":"t"}]}`, `{"name":"x","plugins":[{"Type":"t"}]}`},
		{
			"numbers stay as they are", `{"type":"t","a":12345678901234567890123,"b":1.10,"c":1e400,"d":-0}`,
			`{"name":"net-a","plugins":[{"a":12345678901234567890123,"b":1.10,"c":1e400,"d":-0,"type":"t"}]}`,
		},
		{"so does what is nested, in its order", `{"type":"t","k":{"z":[1, 2],"a":null}}`, `{"name":"net-a","plugins":[{"k":{"z":[1,2],"a":null},"type":"t"}]}`},
		{"null plugins are none", `{"plugins":null,"type":"t"}`, `{"name":"net-a","plugins":[{"plugins":null,"type":"t"}]}`},
	} {
		t.Run(tc.name, func(t *testing.T) { wantBytes(t, tc.want, mustNetConf(t, tc.data)) })
	}
}

func TestNetConfRefused(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		words      []string
	}{
		{"nothing", ``, []string{"must be a JSON object, got nothing"}},
		{"an array", `[]`, []string{"must be a JSON object, got an array"}},
		{"half an object", `{"type":"t"`, []string{"is not valid JSON"}},
		{"no text", "{\"type\":\"t\",\"k\":\"\xff\"}", []string{"is not valid UTF-8"}},
		{"neither type nor plugins", `{"name":"x"}`, []string{"type: is missing"}},
		{"an empty type", `{"type":""}`, []string{"type: is missing or not a string"}},
		{"a type of a wrong type", `{"type":["t"]}`, []string{"type: must be a string, got a JSON array"}},
		{"a name of a wrong type", `{"name":1,"type":"t"}`, []string{"name: must be a string, got a number"}},
		{"a version of a wrong type", `{"cniVersion":1.0,"type":"t"}`, []string{"cniVersion: must be a string, got a number"}},
		{"a list's version of a wrong type", `{"cniVersion":1,"plugins":[{"type":"t"}]}`, []string{"cniVersion: must be a string, got a number"}},
		{"twins", `{"type":"bridge","Type":"evil"}`, []string{`Type: stands beside "type"`}},
		{"twins by the long s", `{"plugins":[],"pluginſ":[{"type":"evil"}]}`, []string{`plugins: stands beside "pluginſ"`}},
		{"twins in a plugin", `{"plugins":[{"type":"t"},{"type":"bridge","TYPE":"evil"}]}`, []string{`plugins[1].TYPE: stands beside "type"`}},
		{"twins in IPAM", `{"type":"t","ipam":{"type":"a","TYPE":"b"}}`, []string{`ipam.TYPE: stands beside "type"`}},
		{"twins in flannel's delegate", `{"type":"flannel","delegate":{"type":"a","TYPE":"b"}}`, []string{`delegate.TYPE: stands beside "type"`}},
		{"twins in its IPAM", `{"type":"flannel","delegate":{"ipam":{"type":"a","TYPE":"b"}}}`, []string{`delegate.ipam.TYPE: stands beside "type"`}},
		{"no plugins", `{"plugins":[]}`, []string{"plugins: must have at least one plugin"}},
		{"plugins of a wrong type", `{"plugins":{"type":"t"}}`, []string{"plugins: must be an array, got a JSON object"}},
		{"a plugin of a wrong type", `{"plugins":[{"type":"t"},"u",null]}`, []string{"plugins[1]: must be a JSON object, got a string", "plugins[2]: must be a JSON object, got null"}},
		{"a plugin without type", `{"plugins":[{"name":"t"}]}`, []string{"plugins[0].type: is missing"}},
		{"capabilities of a wrong type", `{"type":"t","capabilities":["mac"]}`, []string{"capabilities: must be an object, got a JSON array"}},
		{"a capability of a wrong type", `{"plugins":[{"type":"t","capabilities":{"mac":"true"}}]}`, []string{"plugins[0].capabilities: must be true or false, got a JSON string"}},
		{"IPAM of a wrong type", `{"type":"t","ipam":"host-local"}`, []string{"ipam: must be a JSON object, got a string"}},
		{"IPAM's type of a wrong type", `{"plugins":[{"type":"t","ipam":{"type":1}}]}`, []string{"plugins[0].ipam.type: must be a string, got a number"}},
		{"flannel's delegate of a wrong type", `{"type":"flannel","delegate":"bridge"}`, []string{"delegate: must be a JSON object, got a string"}},
		{"a path", `{"type":"../bridge"}`, []string{`type: plugin "../bridge" must be a plain name, not a path`}},
		{"a path in a list", `{"plugins":[{"type":"t"},{"type":"u","ipam":{"type":"/bin/sh"}}]}`, []string{`plugins[1].ipam.type: plugin "/bin/sh" must be a plain name`}},
		{"a backslash", `{"type":"a\\b"}`, []string{`type: plugin "a\\b" must be a plain name`}},
		{"a zero byte", `{"type":"a\u0000b"}`, []string{`type: plugin "a\x00b" must be a plain name`}},
		{"a folder", `{"type":".."}`, []string{`type: plugin ".." is not the name of an executable`}},
		{"this folder", `{"type":"."}`, []string{`type: plugin "." is not the name of an executable`}},
		{"a path as IPAM", `{"type":"t","ipam":{"type":"/bin/sh"}}`, []string{`ipam.type: plugin "/bin/sh" must be a plain name`}},
		{"a path as flannel's delegate", `{"type":"flannel","delegate":{"type":"a/b"}}`, []string{`delegate.type: plugin "a/b" must be a plain name`}},
		{"a path as its IPAM", `{"type":"flannel","delegate":{"ipam":{"type":"a/b"}}}`, []string{`delegate.ipam.type: plugin "a/b" must be a plain name`}},
		{"all faults", `{"name":1,"plugins":[{"type":"a/b"},{"type":1},7]}`, []string{"name:", `plugin "a/b"`, "plugins[1].type:", "plugins[2]:"}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := ParseNetConf([]byte(tc.data), "net-a")
			check.Error(t, err, tc.words...)
		})
	}
}

func TestNetConfExecutables(t *testing.T) {
	for _, tc := range []struct {
		name, data string
		want       []Executable
	}{
		{"none", `{"type":"macvlan"}`, nil},
		{"IPAM", `{"type":"macvlan","ipam":{"type":"host-local"}}`, []Executable{{"ipam.type", "host-local"}}},
		{"IPAM in any case", `{"type":"macvlan","IPAM":{"Type":"host-local"}}`, []Executable{{"ipam.type", "host-local"}}},
		{"no IPAM", `{"type":"macvlan","ipam":{}}`, nil},
		{"an empty IPAM", `{"type":"macvlan","ipam":{"type":""}}`, nil},
		{"a null IPAM", `{"type":"macvlan","ipam":null}`, nil},
		{"a delegate of anything but flannel", `{"type":"macvlan","delegate":{"type":"x"}}`, nil},
		{"flannel", `{"type":"flannel"}`, []Executable{{"delegate.type", "bridge"}, {"delegate.ipam.type", "host-local"}}},
		{"flannel with a delegate", `{"type":"flannel","delegate":{"type":"ipvlan"}}`, []Executable{{"delegate.type", "ipvlan"}, {"delegate.ipam.type", "host-local"}}},
		{"without its type", `{"type":"flannel","delegate":{"hairpinMode":true}}`, []Executable{{"delegate.type", "bridge"}, {"delegate.ipam.type", "host-local"}}},
		{"with an empty one", `{"type":"flannel","delegate":{"type":""}}`, []Executable{{"delegate.type", "bridge"}, {"delegate.ipam.type", "host-local"}}},
		{"and its IPAM", `{"type":"flannel","delegate":{"ipam":{"type":"dhcp"}}}`, []Executable{{"delegate.type", "bridge"}, {"delegate.ipam.type", "dhcp"}}},
		{"without its type, too", `{"type":"flannel","delegate":{"ipam":{}}}`, []Executable{{"delegate.type", "bridge"}, {"delegate.ipam.type", "host-local"}}},
		{"flannel's own IPAM", `{"type":"flannel","ipam":{"type":"static"}}`, []Executable{{"ipam.type", "static"}, {"delegate.type", "bridge"}, {"delegate.ipam.type", "host-local"}}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			wantEqual(t, tc.want, mustNetConf(t, tc.data).Plugins[0].Executables)
			list := mustNetConf(t, `{"plugins":[{"type":"first"},`+tc.data+`]}`)
			wantEqual(t, tc.want, list.Plugins[1].Executables)
		})
	}
}

func TestNetConfCapabilities(t *testing.T) {
	c := mustNetConf(t, `{"plugins":[{"type":"a"},{"type":"b","capabilities":{"mac":true,"ips":false}},{"type":"c","capabilities":null}]}`)
	wantEqual(t, []string{"a", "b", "c"}, []string{c.Plugins[0].Type, c.Plugins[1].Type, c.Plugins[2].Type})
	for capability, want := range map[string]bool{"mac": true, "ips": false, "bandwidth": false, "MAC": false} {
		if got := c.HasCapability(capability); got != want {
			t.Errorf("HasCapability(%q) is %v", capability, got)
		}
	}
}

func TestNetConfSetInEveryPlugin(t *testing.T) {
	c := mustNetConf(t, `{"name":"x","plugins":[{"type":"a","deviceid":"old","DEVICEID2":1},{"type":"b"}]}`)
	c.SetInEveryPlugin("deviceID", json.RawMessage(`"0000:03:02.1"`))
	wantBytes(t, `{"name":"x","plugins":[{"DEVICEID2":1,"deviceID":"0000:03:02.1","type":"a"},{"deviceID":"0000:03:02.1","type":"b"}]}`, c)
}

func TestNetConfMergeCNIArgs(t *testing.T) {
	args := map[string]json.RawMessage{"spoofchk": json.RawMessage(`"on"`), "vlan": json.RawMessage(`100`)}
	for _, tc := range []struct{ name, data, want string }{
		{"no args", `{"type":"t"}`, `{"cni":{"spoofchk":"on","vlan":100}}`},
		{"null args", `{"type":"t","args":null}`, `{"cni":{"spoofchk":"on","vlan":100}}`},
		{"other args stay", `{"type":"t","args":{"labels":[1]}}`, `{"cni":{"spoofchk":"on","vlan":100},"labels":[1]}`},
		{"a null args.cni", `{"type":"t","args":{"cni":null}}`, `{"cni":{"spoofchk":"on","vlan":100}}`},
		{"the annotation wins", `{"type":"t","args":{"cni":{"vlan":7,"trust":"on"}}}`, `{"cni":{"spoofchk":"on","trust":"on","vlan":100}}`},
		{"however the key is written", `{"type":"t","Args":{"CNI":{"VLAN":7}}}`, `{"cni":{"spoofchk":"on","vlan":100}}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustNetConf(t, tc.data)
			if err := c.MergeCNIArgs(args); err != nil {
				t.Fatal(err)
			}
			wantBytes(t, `{"name":"net-a","plugins":[{"args":`+tc.want+`,"type":"t"}]}`, c)
		})
	}
	both := mustNetConf(t, `{"name":"x","plugins":[{"type":"a"},{"type":"b","args":{"cni":{"vlan":7}}}]}`)
	if err := both.MergeCNIArgs(map[string]json.RawMessage{"vlan": json.RawMessage(`1`)}); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, `{"name":"x","plugins":[{"args":{"cni":{"vlan":1}},"type":"a"},{"args":{"cni":{"vlan":1}},"type":"b"}]}`, both)
}

func TestNetConfMergeCNIArgsRefused(t *testing.T) {
	for _, tc := range []struct {
		name, args string
		words      []string
	}{
		{"args is a string", `"x"`, []string{"args: must be a JSON object, got a string"}},
		{"args is an array", `[]`, []string{"args: must be a JSON object, got an array"}},
		{"args.cni is an array", `{"cni":[]}`, []string{"args.cni: must be a JSON object, got an array"}},
		{"args has twins", `{"cni":{},"CNI":{}}`, []string{`args.CNI: stands beside "cni"`}},
		{"args.cni has twins", `{"cni":{"a":1,"A":2}}`, []string{`args.cni.A: stands beside "a"`}},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustNetConf(t, `{"plugins":[{"type":"first"},{"type":"second","args":`+tc.args+`}]}`)
			err := c.MergeCNIArgs(map[string]json.RawMessage{"k": json.RawMessage(`1`)})
			check.Error(t, err, append(tc.words, "plugins[1] (second): ")...)
		})
	}
	c := mustNetConf(t, `{"type":"t"}`)
	check.Error(t, c.MergeCNIArgs(map[string]json.RawMessage{"k": json.RawMessage(`{`)}), "plugins[0] (t): ", "unexpected end")
}

func TestNetConfDefaultVersion(t *testing.T) {
	for _, tc := range []struct{ name, data, version, want string }{
		{"its own stays", `{"cniVersion":"0.3.1","plugins":[{"type":"t"}]}`, "1.1.0", `{"cniVersion":"0.3.1","name":"net-a","plugins":[{"type":"t"}]}`},
		{"none becomes the default", `{"plugins":[{"type":"t"}]}`, "1.1.0", `{"cniVersion":"1.1.0","name":"net-a","plugins":[{"type":"t"}]}`},
		{"so does an empty one", `{"CNIVersion":"","plugins":[{"type":"t"}]}`, "1.1.0", `{"cniVersion":"1.1.0","name":"net-a","plugins":[{"type":"t"}]}`},
		{"and that of a single one", `{"type":"t"}`, "1.0.0", `{"cniVersion":"1.0.0","name":"net-a","plugins":[{"type":"t"}]}`},
		{"no default", `{"type":"t"}`, "", `{"name":"net-a","plugins":[{"type":"t"}]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			c := mustNetConf(t, tc.data)
			c.SetDefaultVersion(tc.version)
			wantBytes(t, tc.want, c)
		})
	}
}

// TestNetConfSetPrevResult: the first plugin gets it, whatever was there.
func TestNetConfSetPrevResult(t *testing.T) {
	c := mustNetConf(t, `{"name":"x","plugins":[{"type":"a","PrevResult":{"ips":[]}},{"type":"b"}]}`)
	if err := c.SetPrevResult(EmptyResult{CNIVersion: "1.0.0"}); err != nil {
		t.Fatal(err)
	}
	wantBytes(t, `{"name":"x","plugins":[{"prevResult":{"cniVersion":"1.0.0"},"type":"a"},{"type":"b"}]}`, c)
}

func TestNetConfBytesOfBadValue(t *testing.T) {
	c := mustNetConf(t, `{"type":"t"}`)
	c.SetInEveryPlugin("k", json.RawMessage(`{`))
	_, err := c.Bytes()
	check.Error(t, err, "unexpected end of JSON input")
}

func TestAppendPlugins(t *testing.T) {
	more := [][]byte{[]byte(`{"type":"b"}`), []byte(`{"type":"c","n":12345678901234567890123}`)}
	for _, tc := range []struct{ name, list, want string }{
		{"after its own", `{"name":"x","plugins":[{"type":"a"}]}`, `{"name":"x","plugins":[{"type":"a"},{"type":"b"},{"type":"c","n":12345678901234567890123}]}`},
		{"alone", `{}`, `{"plugins":[{"type":"b"},{"type":"c","n":12345678901234567890123}]}`},
		{"to a key written otherwise", `{"Plugins":[{"type":"a"}]}`, `{"plugins":[{"type":"a"},{"type":"b"},{"type":"c","n":12345678901234567890123}]}`},
	} {
		t.Run(tc.name, func(t *testing.T) {
			got, err := AppendPlugins([]byte(tc.list), more)
			if err != nil {
				t.Fatal(err)
			}
			if string(got) != tc.want {
				t.Errorf("got %s\nwant %s", got, tc.want)
			}
		})
	}
	for _, tc := range []struct {
		name, list, plugin, word string
	}{
		{"no list", `[]`, `{}`, "must be a JSON object, got an array"},
		{"plugins of a wrong type", `{"plugins":{}}`, `{}`, "plugins: must be an array, got a JSON object"},
		{"twins", `{"plugins":[],"PLUGINS":[]}`, `{}`, `PLUGINS: stands beside "plugins"`},
		{"no plugin", `{}`, `{"type":`, "plugins: "},
	} {
		t.Run(tc.name, func(t *testing.T) {
			_, err := AppendPlugins([]byte(tc.list), [][]byte{[]byte(tc.plugin)})
			check.Error(t, err, tc.word)
		})
	}
}
