package delegate

import (
	"errors"
	"io/fs"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// multusConf is what a DEL of a Multus sandbox will run.
type multusConf struct{ Interface, Config string }

func confsOf(t *testing.T, delegates []multusDelegate) []multusConf {
	t.Helper()
	var confs []multusConf
	for i := range delegates {
		conf, err := delegates[i].conf("1.1.0")
		if err != nil {
			t.Fatal(err)
		}
		data, err := conf.Bytes()
		if err != nil {
			t.Fatal(err)
		}
		confs = append(confs, multusConf{delegates[i].ifName(i, "eth0"), string(data)})
	}
	return confs
}

func TestMultusState(t *testing.T) {
	for file, want := range map[string][]multusConf{
		"files.json": {
			// The file's own plugins, with the keys that Multus has lost in its own form of them.
			{"eth0", `{"cniVersion":"1.0.0","name":"podnet","plugins":[{"bridge":"cni0","ipam":{"subnet":"10.1.0.0/16","type":"host-local"},"type":"bridge"},` +
				`{"capabilities":{"portMappings":true},"snat":true,"type":"portmap"},{"mtu":1400,"type":"tuning"}]}`},
			{"fast0", `{"cniVersion":"0.3.1","name":"mv","plugins":[{"cniVersion":"0.3.1","ipam":{"type":"host-local","subnet":"10.2.0.0/16"},"master":"eth1","name":"mv","type":"macvlan"}]}`},
			{"net2", `{"cniVersion":"1.0.0","name":"vf","plugins":[{"deviceID":"0000:3b:02.0","pciBusID":"0000:3b:02.0","type":"sriov","vlan":300},` +
				`{"deviceID":"0000:3b:02.0","pciBusID":"0000:3b:02.0","type":"tuning"}]}`},
		},
		"inline.json": {
			{"eth0", `{"cniVersion":"0.3.1","name":"cbr0","plugins":[{"delegate":{"isDefaultGateway":true},"type":"flannel"},{"capabilities":{"portMappings":true},"type":"portmap"}]}`},
			{"net1", `{"cniVersion":"1.1.0","name":"bare","plugins":[{"master":"eth1","type":"macvlan"}]}`},
		},
	} {
		t.Run(file, func(t *testing.T) {
			delegates, err := readMultus(filepath.Join("testdata", "multus", file))
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(want, confsOf(t, delegates)); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestMultusInterfaceNames(t *testing.T) {
	for name, test := range map[string]struct {
		request  string
		position int
		want     string
	}{
		"the first has the runtime's": {"", 0, "eth7"},
		"the position counts":         {"", 3, "net3"},
		"asked for":                   {"fast0", 3, "fast0"},
		"asked for by the first":      {"fast0", 0, "fast0"},
	} {
		d := &multusDelegate{IfnameRequest: test.request}
		if got := d.ifName(test.position, "eth7"); got != test.want {
			t.Errorf("%s: %s, want %s", name, got, test.want)
		}
	}
}

func TestMultusStateThatCannotBeRead(t *testing.T) {
	dir := t.TempDir()
	if _, err := readMultus(filepath.Join(dir, "gone")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("no file: %v", err)
	}
	if _, err := readMultus(dir); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("a folder of that name, as `results`: %v", err)
	}
	for name, content := range map[string]string{"empty": "", "torn": `[{"Conf":`, "an object": `{}`, "bytes that are none": `[{"Bytes":"%"}]`} {
		path := filepath.Join(dir, "state")
		writeTestFile(t, path, content, 0o600)
		if got, err := readMultus(path); err == nil || errors.Is(err, fs.ErrNotExist) || !strings.Contains(err.Error(), path) {
			t.Errorf("%s: %v and %v", name, got, err)
		}
	}
	for name, d := range map[string]multusDelegate{"nothing": {Name: "default/n"}, "no type": {Name: "default/n", Bytes: []byte(`{"name":"n"}`)}} {
		if _, err := d.conf("1.0.0"); err == nil || !strings.Contains(err.Error(), "network default/n") {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// recorder is a folder of plugins that write down how they are called, one line each,
// and fail as long as there is a file `fail-<interface>`.
type recorder struct{ dir string }

func newRecorder(t *testing.T, plugins ...string) *recorder {
	t.Helper()
	r := &recorder{t.TempDir()}
	for _, plugin := range plugins {
		writeTestFile(t, filepath.Join(r.dir, plugin), `#!/bin/sh
echo "$CNI_COMMAND ${0##*/} $CNI_CONTAINERID $CNI_IFNAME netns=$CNI_NETNS $(cat)" >>'`+r.dir+`/calls'
[ ! -e '`+r.dir+`'/"fail-$CNI_IFNAME" ] || { echo '{"code": 11, "msg": "not now"}'; exit 1; }
`, 0o755)
	}
	return r
}

// calls gives the calls so far, without their configuration, and forgets them.
func (r *recorder) calls(t *testing.T) []string {
	t.Helper()
	data, err := os.ReadFile(filepath.Join(r.dir, "calls"))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		t.Fatal(err)
	}
	if err := os.RemoveAll(filepath.Join(r.dir, "calls")); err != nil {
		t.Fatal(err)
	}
	var calls []string
	for line := range strings.SplitSeq(strings.TrimSpace(string(data)), "\n") {
		call, _, _ := strings.Cut(line, " {")
		calls = append(calls, call)
	}
	return calls
}

func (r *recorder) engine(t *testing.T, config string) *Engine {
	t.Helper()
	state := t.TempDir()
	parsed, _, err := types.ParseConfig([]byte(`{"cniVersion":"1.0.0","name":"outer","type":"plexus","cniDir":"` + state + `",` + config + `}`))
	if err != nil {
		t.Fatal(err)
	}
	return &Engine{Config: parsed, Path: []string{r.dir}, Source: &specSource{}, BootID: "b1", Log: slog.New(slog.DiscardHandler)}
}

// A node changes over with pods running: their DEL comes to us.
func TestDelOfASandboxOfMultus(t *testing.T) {
	r := newRecorder(t, "bridge", "portmap", "tuning", "macvlan", "sriov")
	engine := r.engine(t, `"delegates":[{"type":"bridge"}]`)
	multus := t.TempDir()
	engine.MultusDirs = []string{multus}
	state, err := os.ReadFile("testdata/multus/files.json")
	if err != nil {
		t.Fatal(err)
	}
	writeTestFile(t, filepath.Join(multus, "c1"), string(state), 0o600)
	call := &Call{Sandbox: types.Sandbox{ContainerID: "c1", IfName: "eth0", NetNS: "/gone"}}

	writeTestFile(t, filepath.Join(r.dir, "fail-fast0"), "", 0o600)
	err = engine.Del(t.Context(), call)
	if err == nil || !strings.Contains(err.Error(), "detach network default/mv: plugin macvlan (DEL): not now") || types.CodeOf(err, 0) != 11 {
		t.Errorf("with one that fails: %v", err)
	}
	// In reverse, each list in reverse too, and all of them whatever becomes of one.
	want := []string{
		"DEL tuning c1 net2 netns=", "DEL sriov c1 net2 netns=", "DEL macvlan c1 fast0 netns=",
		"DEL tuning c1 eth0 netns=", "DEL portmap c1 eth0 netns=", "DEL bridge c1 eth0 netns=",
	}
	if diff := cmp.Diff(want, r.calls(t)); diff != "" {
		t.Error(diff)
	}
	if _, err := os.Stat(filepath.Join(multus, "c1")); err != nil {
		t.Errorf("what is not released yet is forgotten: %v", err)
	}

	if err := os.Remove(filepath.Join(r.dir, "fail-fast0")); err != nil {
		t.Fatal(err)
	}
	if err := engine.Del(t.Context(), call); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, r.calls(t)); diff != "" {
		t.Error(diff)
	}
	if left, err := os.ReadDir(multus); err != nil || len(left) != 0 {
		t.Errorf("left: %v, %v", left, err)
	}
}

// What Multus left and nobody can read is no reason to leave the pod's address taken.
func TestDelOfADamagedStateOfMultus(t *testing.T) {
	r := newRecorder(t, "bridge")
	engine := r.engine(t, `"delegates":[{"cniVersion":"1.0.0","name":"podnet","type":"bridge"}]`)
	writeTestFile(t, filepath.Join(engine.Config.CNIDir, "c1"), `[{"torn`, 0o600)
	if err := engine.Del(t.Context(), &Call{Sandbox: types.Sandbox{ContainerID: "c1", IfName: "eth0"}}); err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff([]string{"DEL bridge c1 eth0 netns="}, r.calls(t)); diff != "" {
		t.Error(diff)
	}
}

func FuzzMultusState(f *testing.F) {
	for _, file := range []string{"files.json", "inline.json"} {
		data, err := os.ReadFile(filepath.Join("testdata", "multus", file))
		if err != nil {
			f.Fatal(err)
		}
		f.Add(data)
	}
	for _, seed := range []string{"", "null", "[null]", "[{}]", `[{"Name":"..","Bytes":"e30="}]`, `[{"CNINetworkConfigList":{"Plugins":[null,{"Bytes":"bnVsbA=="}]}}]`} {
		f.Add([]byte(seed))
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		delegates, err := parseMultus(data)
		if err != nil {
			return
		}
		for i := range delegates {
			conf, err := delegates[i].conf("1.0.0")
			if err != nil {
				continue
			}
			// Whatever is accepted has something to run, by a plain name.
			if len(conf.Plugins) == 0 || strings.ContainsRune(conf.Plugins[0].Type, '/') {
				t.Errorf("plugins %+v", conf.Plugins)
			}
			if delegates[i].ifName(i, "eth0") == "" {
				t.Error("no interface")
			}
			_, _ = toList(conf)
		}
	})
}
