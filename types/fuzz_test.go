package types

import (
	"bytes"
	"encoding/json"
	"errors"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

// Every target holds that nothing panics, and that what is accepted round-trips:
// written out and read back it is the same.

func same(t *testing.T, want, got any) {
	t.Helper()
	if diff := cmp.Diff(want, got, sameJSON); diff != "" {
		t.Fatalf("read back as another (-want +got):\n%s", diff)
	}
}

// refused holds what an error must look like, whatever the input was.
func refused(t *testing.T, err error) {
	t.Helper()
	if err.Error() == "" {
		t.Fatal("an error without words")
	}
}

func FuzzParseConfig(f *testing.F) {
	for _, k := range configKeys {
		f.Add(withKey(k.key, k.good))
		f.Add(withKey(strings.ToUpper(k.key), k.wrong))
	}
	f.Add([]byte(`{"delegates":[{"type":"bridge"}],"globalNamespaces":",","allowedPlugins":{},"cni.dev/attachments":[],"zebra":1}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		c, _, err := ParseConfig(data)
		if err != nil {
			refused(t, err)
			return
		}
		again, unknown, err := ParseConfig(mustMarshal(t, c))
		if err != nil || len(unknown) != 0 {
			t.Fatalf("read back: %v, unknown keys %q", err, unknown)
		}
		same(t, c, again)
		if (c.AllowedPlugins == nil) != (again.AllowedPlugins == nil) {
			t.Fatalf("an allow-list %#v is read back as %#v", c.AllowedPlugins, again.AllowedPlugins)
		}
	})
}

func FuzzParseSelections(f *testing.F) {
	for _, seed := range []string{
		"a,ops/b@eth1", " a , b ", "a,,b", "[]", `[{"name":"a"}]`, "a\xff",
		`[{"name":"a","namespace":"ops","ips":["10.0.0.5/24","fd00::5"],"mac":"02:23:45:67:89:01","interface":"x","deviceID":"d","cni-args":{"a":[1,"<"]},"default-route":["10.0.0.1"]}]`,
		`[{"name":"a","infiniband-guid":"24:8a:07:03:00:8d:ae:2f","interfaceRequest":"y","ipam-claim-reference":"c"}]`,
		`[{"name":"a","portMappings":[{"hostPort":8080,"containerPort":80,"protocol":"UDP","hostIP":"::1"}],"bandwidth":{"ingressRate":1,"egressRate":900000,"egressBurst":2}}]`,
	} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		selections, _, err := ParseSelections(value, "pods")
		if err != nil {
			refused(t, err)
			return
		}
		again, unknown, err := ParseSelections(string(mustMarshal(t, append([]Selection{}, selections...))), "elsewhere")
		if err != nil || len(unknown) != 0 {
			t.Fatalf("read back: %v, unknown keys %q", err, unknown)
		}
		same(t, selections, again)
		pod := Pod{Namespace: "pods", Name: "p", Annotations: map[string]string{AnnotationNetworks: value}}
		if got := len(pod.SelectedRefs("")); got != len(selections) {
			t.Fatalf("%d networks are to be looked up for %d selections", got, len(selections))
		}
	})
}

func FuzzParseDefaultNetwork(f *testing.F) {
	for _, seed := range []string{"master", "ops/master", "a,b", "a@eth0", "[]", `[{"name":"m","ips":["10.0.0.5"]}]`, `[{"name":"m","interface":"x"}]`} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, value string) {
		chosen, _, err := ParseDefaultNetwork(value, "kube-system")
		if err != nil {
			refused(t, err)
			return
		}
		if chosen == nil {
			if selections, _, err := ParseSelections(value, "kube-system"); err != nil || len(selections) != 0 {
				t.Fatalf("nothing is chosen of %v, %v", selections, err)
			}
			return
		}
		again, _, err := ParseDefaultNetwork(string(mustMarshal(t, []*Selection{chosen})), "elsewhere")
		if err != nil {
			t.Fatalf("read back: %v", err)
		}
		same(t, chosen, again)
	})
}

// conf is how plugins and libcni read a list: by encoding/json, and so without regard
// to the case of keys.
type conf struct {
	Name    string `json:"name"`
	Plugins []struct {
		Type         string          `json:"type"`
		Capabilities map[string]bool `json:"capabilities"`
		IPAM         struct {
			Type string `json:"type"`
		} `json:"ipam"`
		Delegate json.RawMessage `json:"delegate"`
		Args     struct {
			CNI map[string]json.RawMessage `json:"cni"`
		} `json:"args"`
	} `json:"plugins"`
}

// seenByPlugins holds that what was checked is what will run.
func seenByPlugins(t *testing.T, c *NetConf, data []byte) {
	t.Helper()
	var seen conf
	if err := json.Unmarshal(data, &seen); err != nil {
		if strings.Contains(err.Error(), "args") {
			return // MergeCNIArgs is the judge of that
		}
		t.Fatalf("the list cannot be read: %v", err)
	}
	if seen.Name != c.Name || len(seen.Plugins) != len(c.Plugins) {
		t.Fatalf("%q with %d plugins is seen as %q with %d", c.Name, len(c.Plugins), seen.Name, len(seen.Plugins))
	}
	for i, p := range c.Plugins {
		if seen.Plugins[i].Type != p.Type {
			t.Fatalf("plugin %q is seen as %q", p.Type, seen.Plugins[i].Type)
		}
		same(t, p.Capabilities, seen.Plugins[i].Capabilities)
		ipam := ""
		for _, e := range p.Executables {
			if e.Key == "ipam.type" {
				ipam = e.Type
			}
		}
		if seen.Plugins[i].IPAM.Type != ipam {
			t.Fatalf("IPAM %q is seen as %q", ipam, seen.Plugins[i].IPAM.Type)
		}
	}
}

func FuzzParseNetConf(f *testing.F) {
	for _, seed := range []string{
		`{"cniVersion":"0.4.0","name":"x","type":"bridge","ipam":{"type":"host-local"},"args":{"cni":{"K":1}}}`,
		`{"cniVersion":"1.1.0","Plugins":[{"Type":"flannel","delegate":{"ipam":{"type":"dhcp"}},"CAPABILITIES":{"mac":true}},{"type":"b"}]}`,
		`{"type":"t","Type":"u"}`, `{"type":"t","n":1e400,"h":"<\u2028>"}`, `{"type":"a/b"}`, `{"plugins":null,"type":"t"}`, `{"type":"flannel","delegate":null}`,
	} {
		f.Add([]byte(seed), `{"k":1,"K2":"<"}`)
	}
	f.Fuzz(func(t *testing.T, data []byte, args string) {
		c, err := ParseNetConf(data, "net-a")
		if err != nil {
			refused(t, err)
			return
		}
		first := roundTrip(t, c)
		seenByPlugins(t, c, first)
		c.SetDefaultVersion("1.1.0")
		c.SetInEveryPlugin("deviceID", json.RawMessage(`"d"`))
		seenByPlugins(t, c, roundTrip(t, c))
		selections, _, err := ParseSelections(`[{"name":"a","cni-args":`+args+`}]`, "pods")
		if err != nil || len(selections) != 1 || c.MergeCNIArgs(selections[0].CNIArgs) != nil {
			return
		}
		merged := roundTrip(t, c)
		seenByPlugins(t, c, merged)
		argsArrive(t, merged, selections[0].CNIArgs)
	})
}

// roundTrip gives the bytes of a list, which must be those of the list they read as.
func roundTrip(t *testing.T, c *NetConf) []byte {
	t.Helper()
	data, err := c.Bytes()
	if err != nil {
		t.Fatal(err)
	}
	again, err := ParseNetConf(data, "elsewhere")
	if err != nil {
		t.Fatalf("read back: %v", err)
	}
	back, err := again.Bytes()
	if err != nil || !bytes.Equal(data, back) {
		t.Fatalf("%s\nis read back as\n%s\n(%v)", data, back, err)
	}
	return data
}

// argsArrive holds that what a pod says in cni-args is what every plugin sees.
func argsArrive(t *testing.T, data []byte, args map[string]json.RawMessage) {
	t.Helper()
	var seen conf
	if err := json.Unmarshal(data, &seen); err != nil {
		t.Fatal(err)
	}
	for i := range seen.Plugins {
		for key, value := range args {
			same(t, value, seen.Plugins[i].Args.CNI[key])
		}
	}
}

func FuzzParseRecord(f *testing.F) {
	intent, err := AppendLine(nil, testIntent())
	if err != nil {
		f.Fatal(err)
	}
	for _, lines := range []string{
		"", "\n", `{"event":"trying"}`, `{"event":"attached","attachment":1,"result":{"ips":[]}}` + "\n" + `{"event":"tor`,
		`{"event":"complete","status":[{"name":"a","dns":{"domain":"d"}}]}` + "\n" + `{"event":"published"}` + "\n", `{"event":"failed","error":"e","time":"2026-01-02T03:04:05Z"}`, `{"event":"kept","command":"DEL","error":"e"}`, `{"event":"released","attachment":2}`,
	} {
		f.Add(append(bytes.Clone(intent), lines...))
	}
	f.Add([]byte(`{"format":2}`))
	f.Add([]byte(`{"format":1,"plan":{"sandbox":{"containerID":"c"},"attachments":[{}]}}`))
	f.Fuzz(func(t *testing.T, data []byte) {
		record, err := ParseRecord(data)
		if err != nil {
			if errors.Is(err, ErrDamagedRecord) == errors.Is(err, ErrNewerRecord) {
				t.Fatalf("neither damaged nor newer: %v", err)
			}
			return
		}
		again, err := ParseRecord(rewrite(t, record, data))
		if err != nil {
			t.Fatalf("read back: %v", err)
		}
		same(t, record, again)
		if got := len(record.Pending(record.BootID + "x")); got > len(record.Plan.Attachments) {
			t.Fatalf("%d of %d attachments are pending", got, len(record.Plan.Attachments))
		}
		tornIsLess(t, record, data)
	})
}

// rewrite encodes a record anew, from its intent and the entries in its lines.
func rewrite(t *testing.T, record *Record, data []byte) []byte {
	t.Helper()
	out, err := AppendLine(nil, record.Intent)
	if err != nil {
		t.Fatal(err)
	}
	for i, line := range bytes.Split(data, []byte("\n")) {
		var entry Entry
		if i == 0 || json.Unmarshal(line, &entry) != nil {
			continue
		}
		if out, err = AppendLine(out, entry); err != nil {
			t.Fatal(err)
		}
	}
	return out
}

// tornIsLess holds that without its last line a record never tells of more done.
func tornIsLess(t *testing.T, whole *Record, data []byte) {
	t.Helper()
	end := bytes.LastIndexByte(data, '\n')
	if end < 0 {
		return
	}
	torn, err := ParseRecord(data[:end])
	if err != nil {
		t.Fatalf("without its last line: %v", err)
	}
	for i, p := range torn.Progress {
		if p.Tried && !whole.Progress[i].Tried || p.Released && !whole.Progress[i].Released {
			t.Fatalf("attachment %d: torn %+v, whole %+v", i, p, whole.Progress[i])
		}
	}
}

func FuzzParseRequest(f *testing.F) {
	for _, seed := range []string{
		`{"version":1,"facts":{"pod":{"namespace":"ns","name":"p"},"networks":[{"namespace":"a","name":"b"}],"multusNamespace":"m","timeout":"90s"}}`,
		`{"version":1,"publish":{"pod":{"static":true},"status":[{"name":"a"}],"events":[{"type":"Normal"}],"timeout":"-1ns"}}`,
		`{"version":1,"facts":{},"publish":{}}`, `{"version":2,"facts":{}}`, `{}`,
		`{"version":1,"node":true}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		request, err := ParseRequest(line)
		if err != nil {
			refused(t, err)
			return
		}
		out := mustMarshal(t, request)
		if bytes.ContainsRune(out, '\n') {
			t.Fatalf("not one line: %q", out)
		}
		again, err := ParseRequest(out)
		if err != nil {
			t.Fatalf("read back: %v", err)
		}
		same(t, request, again)
	})
}

func FuzzParseNodeUse(f *testing.F) {
	for _, seed := range []string{
		`{"checked":"2026-11-28T12:00:00Z","version":"v1","file":"/etc/cni/net.d/00-plexus.conflist","faults":{"journal":"","executables":"changed"}}`,
		`{"checked":"2026-11-28T12:00:00Z","faults":{}}`, `{"faults":null}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		use, err := ParseNodeUse(data)
		if err != nil {
			refused(t, err)
			return
		}
		out, err := FormatNodeUse(use)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := ParseNodeUse(out); err != nil {
			t.Fatalf("read back: %v", err)
		}
	})
}

func FuzzParseResponse(f *testing.F) {
	for _, seed := range []string{
		`{"version":1,"facts":{"pod":{"namespace":"ns","name":"p","annotations":{"k":"v"}},"networks":[{"namespace":"a","name":"b","missing":true,"problem":"p","code":11}],"devices":{"r":["d"]}}}`,
		`{"version":1,"published":true}`, `{"version":1,"error":{"code":11,"message":"later"}}`, `{"version":1,"error":{"code":0,"message":""}}`, `{"version":0}`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, line []byte) {
		response, err := ParseResponse(line)
		var said *WireError
		if errors.As(err, &said) {
			response, err = &Response{Version: WireVersion, Error: said}, nil
		}
		if err != nil {
			refused(t, err)
			return
		}
		again, err := ParseResponse(mustMarshal(t, response))
		if said != nil {
			var back *WireError
			if !errors.As(err, &back) || *back != *said {
				t.Fatalf("error %#v is read back as %#v", said, err)
			}
			return
		}
		if err != nil {
			t.Fatalf("read back: %v", err)
		}
		same(t, response, again)
	})
}

func FuzzParseStatus(f *testing.F) {
	text, err := FormatStatus(testStatus())
	if err != nil {
		f.Fatal(err)
	}
	f.Add(text)
	f.Add(`null`)
	f.Add(`[null,{"name":"<a>","mtu":-1,"dns":{"search":[]},"device-info":{}}]`)
	f.Fuzz(func(t *testing.T, value string) {
		status, err := ParseStatus(value)
		if err != nil {
			refused(t, err)
			return
		}
		text, err := FormatStatus(status)
		if err != nil {
			t.Fatal(err)
		}
		again, err := ParseStatus(text)
		if err != nil {
			t.Fatalf("read back: %v", err)
		}
		same(t, status, again)
	})
}

func FuzzParseDeviceInfo(f *testing.F) {
	for _, seed := range []string{
		`{"type":"pci","version":"1.1.0","pci":{"pci-address":"a"}}`, `{"type":"vdpa","vdpa":{"driver":"vhost"}}`,
		`{"type":"vhost-user","vhost-user":{"mode":"client"}}`, `{"type":"memif","memif":{}}`, `{}`, `null`,
	} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		info, err := ParseDeviceInfo(data)
		if err != nil {
			refused(t, err)
			return
		}
		again, err := ParseDeviceInfo(mustMarshal(t, info))
		if err != nil {
			t.Fatalf("read back: %v", err)
		}
		same(t, info, again)
	})
}
