package plugin

import (
	"encoding/json"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// spoken are the versions of each plugin, spelt out here alone: one that is dropped is a promise
// broken.
var spoken = map[string][]string{
	"plexus":           {"0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"},
	"plexus-sriov":     {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"},
	"plexus-vhostuser": {"0.1.0", "0.2.0", "0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"},
}

// built are our plugins. What a configuration needs besides version and name is with
// each; DIR stands for a folder of the test.
var built = map[string]map[string]any{
	"plexus":           {"cniDir": "DIR/cni", "binDir": "DIR", "delegates": []any{map[string]any{"cniVersion": "1.1.0", "name": "d", "type": "recorder"}}},
	"plexus-sriov":     {"stateDir": "DIR/state", "ipam": map[string]any{"type": "recorder"}},
	"plexus-vhostuser": {"stateDir": "DIR/state", "ovsdb": "unix:DIR/db.sock", "bridge": "br0", "ipam": map[string]any{"type": "recorder"}},
}

// recorder is a plugin that writes down the namespace that it gets.
const recorder = `#!/bin/sh
printf '%s namespace "%s"\n' "$CNI_COMMAND" "$CNI_NETNS" >>"${0%/*}/calls"
`

// TestBuiltPlugins runs the executables of this tree in every version of CNI. The
// host's own namespace is what an ADD refuses, after it has read the call and before it
// does anything.
func TestBuiltPlugins(t *testing.T) {
	bin := t.TempDir()
	if out, err := exec.Command("go", "build", "-buildvcs=false", "-o", bin, "../../cmd/plexus", "../../cmd/plexus-sriov", "../../cmd/plexus-vhostuser").CombinedOutput(); err != nil {
		t.Fatalf("%v\n%s", err, out)
	}
	for name, extra := range built {
		path := filepath.Join(bin, name)
		o := run(t, command(t, path, "VERSION", ""))
		var answer struct{ SupportedVersions []string }
		if err := json.Unmarshal([]byte(o.stdout), &answer); err != nil {
			t.Fatal(err, o)
		}
		check.Equal(t, name+": VERSION", answer.SupportedVersions, spoken[name])
		for _, version := range spoken[name] {
			t.Run(name+" "+version, func(t *testing.T) { testBuilt(t, path, version, extra) })
		}
		other := "0.2.0"
		if name != "plexus" {
			other = "0.2.1"
			t.Run(name+" without a version", func(t *testing.T) { testBuilt(t, path, "", extra) })
		}
		t.Run(name+" "+other, func(t *testing.T) {
			dir := t.TempDir()
			for _, verb := range []string{"ADD", "DEL"} {
				o := run(t, command(t, path, verb, extended(other, dir, extra), "CNI_PATH="+dir))
				check.Equal(t, verb+": code", o.failure.Code, cnitypes.ErrIncompatibleCNIVersion)
			}
		})
	}
}

func testBuilt(t *testing.T, path, version string, extra map[string]any) {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "recorder"), []byte(recorder), 0o700); err != nil {
		t.Fatal(err)
	}
	config := extended(version, dir, extra)
	env := []string{"CNI_PATH=" + dir, "CNI_NETNS=/proc/self/ns/net", "PATH=" + os.Getenv("PATH")}
	o := run(t, command(t, path, "ADD", config, env...))
	check.Equal(t, "ADD: code", o.failure.Code, types.CodeInvalidEnv)
	if _, err := os.Stat(filepath.Join(dir, "calls")); !os.IsNotExist(err) {
		t.Errorf("ADD called the plugin: %v", err)
	}
	o = run(t, command(t, path, "DEL", config, env...))
	check.Equal(t, "DEL: standard output", o.stdout, "")
	check.Equal(t, "DEL: exit code", o.code, 0)
	calls, err := os.ReadFile(filepath.Join(dir, "calls"))
	if err != nil {
		t.Fatal(err)
	}
	check.Equal(t, "calls", string(calls), "DEL namespace \"\"\n")
}

// extended gives a configuration of a plugin.
func extended(version, dir string, extra map[string]any) string {
	conf := map[string]any{"cniVersion": version, "name": "n", "type": "x"}
	if version == "" {
		delete(conf, "cniVersion")
	}
	for key, value := range extra {
		conf[key] = value
	}
	data, err := json.Marshal(conf)
	if err != nil {
		panic(err)
	}
	return strings.ReplaceAll(string(data), "DIR", dir)
}
