package window

import (
	"encoding/json"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// nodeSnapshot is of a node that has some plugins and Plexus's configuration, changed by a function.
func nodeSnapshot(t *testing.T, change func(*inspect.Snapshot)) string {
	t.Helper()
	s := inspect.New()
	s.Machine = inspect.Machine{Node: "node1", Hostname: "node1", Taken: time.Date(2026, 11, 28, 3, 0, 0, 0, time.UTC)}
	s.Namespaces = []inspect.Namespace{{Inode: 1, Host: true, Links: []inspect.Link{{Name: "eth1", Index: 2, MTU: 1500}}}}
	s.CNI = &inspect.CNI{
		ConfDir: "/etc/cni/net.d", BinDir: "/opt/shop/bin",
		Files: []inspect.ConfFile{
			{Name: "00-plexus.conflist", Owner: "plexus", Network: "outer", Config: json.RawMessage(strings.ReplaceAll(plexusList, `"BIN"`, `"/opt/shop/bin", "confDir": "/etc/cni/net.d"`))},
			{Name: "10-lan.conf", Network: "lan", Config: json.RawMessage(`{"cniVersion": "1.0.0", "name": "lan", "type": "bridge", "psk": "***"}`)},
		},
	}
	for _, name := range []string{"bridge", "host-local", "plexus", "ptp"} {
		s.CNI.Executables = append(s.CNI.Executables, inspect.Executable{Name: name, Mode: "-rwxr-xr-x"})
	}
	if change != nil {
		change(s)
	}
	data, err := s.Bytes()
	check.Must(t, err)
	return write(t, t.TempDir(), "node1.json", string(data))
}

// The node is that of the snapshot: its configuration, files and plugins count, not those of this machine.
func TestExplainFromSnapshot(t *testing.T) {
	got := runWith(t, webPod+lanNetwork, "explain", "-f", "-", "--from", nodeSnapshot(t, nil), "-o", "json")
	document := explained(t, got)
	check.Equal(t, "node", document.Node.Name+" "+document.Node.Configuration, "node1 /etc/cni/net.d/00-plexus.conflist")
	check.Equal(t, "refused", document.Pods[0].Refused.Message, `pod shop/web: network shop/lan: plugins[1].type: plugin "tuning" is not in "/opt/shop/bin"`)
	check.Equal(t, "assumed", document.Node.Assumed, []string{elsewhereToo})

	inFile := webPod + strings.Split(lanNetwork, "spec:")[0]
	got = runWith(t, inFile, "explain", "-f", "-", "--from", nodeSnapshot(t, nil))
	check.Equal(t, "exit code", got.code, exitFine)
	check.Contains(t, "text", got.stdout, "node node1, as the snapshot has it that was taken at 2026-11-28T03:00:00Z\n", "/etc/cni/net.d/10-lan.conf", "plugin 1  bridge")
}

// What a snapshot lacks is assumed, and said; nothing is called wrong by it.
func TestExplainFromPoorSnapshots(t *testing.T) {
	for name, tc := range map[string]struct {
		change func(*inspect.Snapshot)
		want   string
	}{
		"nothing of CNI":     {func(s *inspect.Snapshot) { s.CNI = nil }, "the snapshot has no list of them"},
		"redacted":           {func(s *inspect.Snapshot) { s.Redacted, s.CNI.Executables[0].Name = true, "if-1234" }, "the snapshot is redacted"},
		"no configurations":  {func(s *inspect.Snapshot) { s.CNI.Files[0].Config = nil }, "the snapshot has no configurations"},
		"of another folder":  {func(s *inspect.Snapshot) { s.CNI.BinDir = "/opt/cni/bin" }, "the snapshot has none of the folder /opt/shop/bin"},
		"none of the folder": {func(s *inspect.Snapshot) { s.CNI.Executables = nil }, "the snapshot has none of the folder /opt/shop/bin"},
	} {
		t.Run(name, func(t *testing.T) {
			network := strings.ReplaceAll(lanNetwork, "tuning", "bridge")
			got := runWith(t, webPod+network, "explain", "-f", "-", "--from", nodeSnapshot(t, tc.change))
			check.Equal(t, "exit code", got.code, exitFine)
			check.Contains(t, "text", got.stdout, tc.want)
		})
	}
}

func TestExplainFromRefuses(t *testing.T) {
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"secrets":   {[]string{"-f", "-", "--show-secrets"}, exitUsage, "masked secrets"},
		"two nodes": {[]string{"-f", "-", "--node", "n1"}, exitUsage, "--from says something else"},
		"not JSON":  {[]string{"-f", "-", "--config", "none"}, exitBlind, "--config none"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, webPod, append([]string{"explain", "--from", nodeSnapshot(t, nil)}, tc.args...)...)
			check.Equal(t, "exit code", got.code, tc.code)
			check.Contains(t, "stderr", got.stderr, tc.want)
		})
	}
	got := runWith(t, "", "explain", "-f", "-", "--from", "-")
	check.Equal(t, "exit code of one input for two", got.code, exitUsage)
}

// However many networks are files of a node that is not known, it is said once.
func TestExplainSaysOnceWhatIsNotKnown(t *testing.T) {
	dir := t.TempDir()
	network := strings.Split(lanNetwork, "spec:")[0]
	pod := strings.ReplaceAll(webPod, `"lan@data"`, `"lan,wan,lan"`)
	got := runWith(t, pod+network+strings.ReplaceAll(network, "name: lan", "name: wan"), "explain", "-f", "-", "--config", elsewhereConfig(t, dir))
	check.Equal(t, "exit code", got.code, exitBlind)
	check.Equal(t, "times", strings.Count(got.stderr, "run explain on the node"), 1)
	check.Equal(t, "times of the folder", strings.Count(got.stderr, "/etc/cni/"), 1)
}

// The plugins and the configuration of the node count, unless another configuration is given.
func TestValidateFromNode(t *testing.T) {
	file := nodeSnapshot(t, func(s *inspect.Snapshot) {
		s.CNI.Files[0].Config = json.RawMessage(strings.ReplaceAll(strings.ReplaceAll(plexusList, "BIN", "/opt/shop/bin"), `"binDir"`, `"namespaceIsolation": true, "binDir"`))
		s.CNI.Executables[0].CNI = "v0.8.1"
	})
	manifests := write(t, t.TempDir(), "all.yaml", strings.ReplaceAll(webPod, `"lan@data"`, `"lan,other/lan"`)+lanNetwork)
	got := runWith(t, "", "validate", "--from", file, manifests)
	check.Equal(t, "exit code", got.code, exitWrong)
	check.Equal(t, "stderr", got.stderr, "")
	check.Contains(t, "text", got.stdout, `node node1: plugin "tuning" is not in "/opt/shop/bin" [plugin-missing]`, "namespace isolation is on",
		`cniVersion is 1.0.0, and plugin "bridge" of node node1 knows 0.4.0 at most [plugin-version]`)

	config := write(t, t.TempDir(), "plexus.conf", strings.ReplaceAll(plexusList, "BIN", "/opt/shop/bin"))
	got = runWith(t, "", "validate", "--from", file, "--config", config, manifests)
	check.Equal(t, "isolation", strings.Contains(got.stdout, "namespace isolation is on"), false)
	check.Contains(t, "text", got.stdout, "[plugin-missing]")
}

// The library that is built into a plugin says what it may know.
func TestSpeaks(t *testing.T) {
	for library, want := range map[string]string{"": "", "v0.8.1": "0.4.0", "v1.0.1": "1.0.0", "v1.1.2": "1.0.0", "v1.2.0": "", "v1.3.0": "", "v1.2.0-rc1": "", "v2.0.0": ""} {
		check.Equal(t, library, speaks(library), want)
	}
}
