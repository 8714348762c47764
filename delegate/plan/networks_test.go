package plan

import (
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/types"
)

// master is a file with a configuration list, as a default network has one.
func master(name, more string) string {
	return `{"cniVersion": "1.0.0", "name": "` + name + `"` + more + `, "plugins": [{"type": "bridge"}]}`
}

const (
	oneTuning  = `{"type": "tuning", "mtu": 1400}`
	onePortmap = `{"type": "portmap", "capabilities": {"portMappings": true}}`
)

func TestPlanClusterNetwork(t *testing.T) {
	definition := map[string]string{"kube-system/main": single("macvlan")}
	runGolden(t, map[string]planWorld{
		"cluster-by-nad":              {config: `"clusterNetwork": "main"`, networks: definition},
		"cluster-by-nad-without-name": {config: `"clusterNetwork": "main"`, networks: map[string]string{"kube-system/main": `{"type": "macvlan"}`}},
		"cluster-by-nad-before-file": {
			config: `"clusterNetwork": "main"`, networks: definition, files: map[string]string{"net.d/main.conflist": master("main", "")},
		},
		"cluster-by-nad-of-multusnamespace": {
			config: `"clusterNetwork": "main", "multusNamespace": "ops"`, networks: map[string]string{"ops/main": single("ipvlan"), "kube-system/main": single("macvlan")},
		},
		"cluster-by-json-name": {
			config: `"clusterNetwork": "main", "defaultNetworks": ["More_Of_It"]`, facts: missing("kube-system/main"),
			files: map[string]string{
				"net.d/10-a.conflist": master("other", ""), "net.d/20-b.conflist": master("main", ""),
				"net.d/30-more.conf": `{"name": "More_Of_It", "type": "ipvlan"}`,
			},
		},
		// The folder's first file, whatever its kind; what lies deeper is not looked at.
		"cluster-by-folder": {config: `"clusterNetwork": "$DIR/cni.d"`, files: map[string]string{
			"cni.d/10-first.conf": single("ipvlan"), "cni.d/20-second.conflist": master("second", ""), "cni.d/00-readme.txt": "no network", "cni.d/05-deep/x.conflist": "broken",
		}},
		"cluster-by-path": {config: `"clusterNetwork": "$DIR/cni.d/20-b.conflist"`, files: map[string]string{
			"cni.d/10-a.conflist": "broken", "cni.d/20-b.conflist": master("main", ""),
		}},
		"cluster-by-path-single":  {config: `"clusterNetwork": "$DIR/cni.d/a.conf"`, files: map[string]string{"cni.d/a.conf": single("macvlan")}},
		"defaultnetworks-by-path": {config: podnet + `, "defaultNetworks": ["$DIR/x.conf", "$DIR/cni.d"]`, files: map[string]string{"x.conf": single("macvlan"), "cni.d/a.conf": single("ipvlan")}},
	})
}

func TestPlanSubfolder(t *testing.T) {
	subfolder := func(list string) map[string]string {
		return map[string]string{"cni.d/m.conflist": list, "cni.d/main/20.conf": onePortmap, "cni.d/main/10.conf": oneTuning, "cni.d/main/30.json": "ignored"}
	}
	runGolden(t, map[string]planWorld{
		"subfolder-is-appended": {config: `"clusterNetwork": "$DIR/cni.d/m.conflist"`, files: subfolder(master("main", ""))},
		"subfolder-not-loaded":  {config: `"clusterNetwork": "$DIR/cni.d/m.conflist"`, files: subfolder(master("main", `, "loadOnlyInlinedPlugins": true`))},
		"subfolder-loaded-explicitly": {
			config: `"clusterNetwork": "$DIR/cni.d"`, files: subfolder(master("main", `, "loadOnlyInlinedPlugins": false`)),
		},
		"subfolder-alone": {config: `"clusterNetwork": "$DIR/cni.d/m.conflist"`, files: subfolder(`{"cniVersion": "1.0.0", "name": "main"}`)},
		"subfolder-of-a-file-in-confdir": {
			config: podnet, annotations: annotated("main"), networks: map[string]string{"default/main": ""},
			files: map[string]string{"net.d/m.conflist": master("main", ""), "net.d/main/10.conf": oneTuning},
		},
		"subfolder-not-of-a-single": {config: `"clusterNetwork": "$DIR/cni.d/s.conf"`, files: map[string]string{"cni.d/s.conf": single("bridge"), "cni.d/bridge-net/10.conf": oneTuning}},
	})
}

func TestPlanAuxiliaryChain(t *testing.T) {
	files := map[string]string{"cni.d/m.conflist": master("main", ""), "cni.d/aux/10.conf": oneTuning, "cni.d/aux/20.conf": onePortmap}
	config := `"clusterNetwork": "$DIR/cni.d/m.conflist", "auxiliaryCNIChainName": "aux"`
	runGolden(t, map[string]planWorld{
		"auxiliary-chain-comes-last": {config: config, files: files, networks: map[string]string{"default/a": single("macvlan")}, annotations: annotated("a")},
		"auxiliary-chain-empty":      {config: config, files: map[string]string{"cni.d/m.conflist": master("main", ""), "cni.d/aux/notes.txt": "no plugin"}},
	})
}

func TestPlanFiles(t *testing.T) {
	empty := map[string]string{"default/main": " \n"}
	runGolden(t, map[string]planWorld{
		"list-before-single": {config: podnet, networks: empty, annotations: annotated("main"), files: map[string]string{
			"net.d/00.conf": `{"name": "main", "type": "ipvlan"}`, "net.d/99.conflist": master("main", ""),
		}},
		"single-of-either-kind": {
			config: podnet, networks: map[string]string{"default/main": "", "default/more": ""}, annotations: annotated("main,more"),
			files: map[string]string{"net.d/a.json": `{"name": "main", "type": "ipvlan"}`, "net.d/b.conf": `{"name": "more", "type": "macvlan"}`},
		},
		"first-of-two-by-file-name": {config: podnet, networks: empty, annotations: annotated("main"), files: map[string]string{
			"net.d/20.conf": `{"name": "main", "type": "ipvlan"}`, "net.d/10.json": `{"name": "main", "type": "macvlan"}`,
		}},
		"broken-neighbours-are-skipped": {config: podnet, networks: empty, annotations: annotated("main"), files: map[string]string{
			"net.d/10-json.conflist": `{"name": `, "net.d/11-nameless.conflist": `{"plugins": [{"type": "bridge"}]}`,
			"net.d/12-empty.conflist": "", "net.d/13-pathlike.conflist": master("a/b", ""), "net.d/14-typeless.conf": `{"name": "typeless"}`,
			"net.d/15-broken-sub.conflist": master("sub", ""), "net.d/sub/10.conf": "{",
			"net.d/99.conf": `{"name": "main", "type": "ipvlan"}`,
		}},
		"spec-config-wins-over-a-file": {
			config: podnet, networks: map[string]string{"default/main": single("macvlan")}, annotations: annotated("main"),
			files: map[string]string{"net.d/a.conflist": master("main", "")},
		},
	})
}

func TestPlanUnreadableFileIsANeighbour(t *testing.T) {
	world := planWorld{config: podnet, annotations: annotated("main"), networks: map[string]string{"default/main": ""}, files: map[string]string{
		"net.d/20.conflist": master("main", ""),
	}}
	got := world.make(t)
	// A dangling link: no rights of this process can make it readable.
	if err := os.Symlink(filepath.Join(got.dir, "gone"), filepath.Join(got.dir, "net.d", "10.conflist")); err != nil {
		t.Fatal(err)
	}
	world.planIn(t, got.dir).checkGolden(t, "unreadable-neighbour")
}

func TestPlanNameAndVersion(t *testing.T) {
	runGolden(t, map[string]planWorld{
		"name-of-the-definition-is-injected": {
			config: podnet, annotations: annotated("a,b,c,d"), networks: map[string]string{
				"default/a": `{"type": "macvlan"}`, "default/b": `{"name": "", "type": "macvlan"}`,
				"default/c": `{"name": null, "plugins": [{"type": "bridge", "name": "kept"}]}`, "default/d": `{"name": "own", "type": "macvlan"}`,
			},
		},
		// A delegate without a version of its own is called in that of the call.
		"version-of-the-call-is-injected": {
			config: `"delegates": [{"type": "bridge"}]`, annotations: annotated("a,b,c"), networks: map[string]string{
				"default/a": `{"name": "a", "cniVersion": "", "plugins": [{"type": "bridge"}]}`,
				"default/b": `{"name": "b", "cniVersion": "0.2.0", "type": "bridge"}`,
				"default/c": `{"name": "c", "cniVersion": "0.3.1", "cniVersions": ["0.4.0"], "plugins": [{"type": "bridge"}]}`,
			},
		},
		"other-keys-are-kept": {config: podnet, annotations: annotated("a"), networks: map[string]string{
			"default/a": `{"cniVersion": "1.0.0", "name": "a", "disableCheck": true, "x-own": {"b": 1, "a": 2}, "plugins": [{"type": "bridge", "mtu": 1e3, "big": 12345678901234567890, "text": "<&>"}]}`,
		}},
	})
}

func TestPlanNetworksRefused(t *testing.T) {
	runRefused(t, map[string]refusal{
		"no such definition": {
			planWorld{config: podnet, annotations: annotated("gone, other/b"), facts: missing("default/gone", "other/b")},
			[]string{`network default/gone: there is no NetworkAttachmentDefinition "gone" in namespace "default"`, `"b" in namespace "other"`},
			0,
		},
		"a definition that could not be read": {
			planWorld{config: podnet, annotations: annotated("a"), facts: []types.Network{{Ref: types.Ref{Namespace: "default", Name: "a"}, Problem: "read network default/a: timed out", Code: types.CodeTryAgainLater}}},
			[]string{"network default/a", "timed out"},
			types.CodeTryAgainLater,
		},
		"a problem without a code": {
			planWorld{config: podnet, annotations: annotated("a"), facts: []types.Network{{Ref: types.Ref{Namespace: "default", Name: "a"}, Problem: "not allowed"}}},
			[]string{"network default/a", "not allowed"},
			types.CodeInvalidConfig,
		},
		// The runtime tries again if trying again may help any part of it.
		"a problem that passes beside one that does not": {
			planWorld{config: podnet, annotations: annotated("gone, a"), facts: append(missing("default/gone"),
				types.Network{Ref: types.Ref{Namespace: "default", Name: "a"}, Problem: "timed out", Code: types.CodeTryAgainLater})},
			[]string{"network default/gone", "network default/a", "timed out"},
			types.CodeTryAgainLater,
		},
		"a source that forgot one": {
			planWorld{config: podnet, annotations: annotated("a")}, []string{"network default/a", "the source of facts said nothing about it"}, 0,
		},
		"clusterNetwork is nowhere": {
			planWorld{config: `"clusterNetwork": "main"`, facts: missing("kube-system/main")},
			[]string{"main", "clusterNetwork", "neither a NetworkAttachmentDefinition kube-system/main nor a file in $DIR/net.d"},
			0,
		},
		"clusterNetwork that the source forgot": {
			planWorld{config: `"clusterNetwork": "main"`}, []string{"clusterNetwork", "kube-system/main", "the source of facts said nothing about it"}, 0,
		},
		"defaultNetworks are nowhere": {
			planWorld{config: podnet + `, "defaultNetworks": ["ops", "$DIR/gone.conf"]`, facts: missing("kube-system/ops")},
			[]string{"defaultNetworks", "kube-system/ops", "$DIR/gone.conf", "no such file"},
			0,
		},
		"an empty folder": {
			planWorld{config: `"clusterNetwork": "$DIR/cni.d"`, files: map[string]string{"cni.d/x.txt": ""}},
			[]string{"clusterNetwork", "no .conflist, .conf or .json file in $DIR/cni.d"},
			0,
		},
		"a broken file by path": {
			planWorld{config: `"clusterNetwork": "$DIR/m.conflist"`, files: map[string]string{"m.conflist": `{"name": "m", "plugins": [}`}},
			[]string{"clusterNetwork", "$DIR/m.conflist", "invalid character"},
			0,
		},
		"a file without a name": {
			planWorld{config: `"clusterNetwork": "$DIR/m.conf"`, files: map[string]string{"m.conf": `{"type": "bridge"}`}},
			[]string{"$DIR/m.conf", "name: is missing"},
			0,
		},
		"a list whose name is no folder's": {
			planWorld{config: `"clusterNetwork": "$DIR/m.conflist"`, files: map[string]string{"m.conflist": master("../etc", "")}},
			[]string{"$DIR/m.conflist", `name "../etc" cannot be the name of a folder`},
			0,
		},
		"a list without any plugin": {
			planWorld{config: `"clusterNetwork": "$DIR/m.conflist"`, files: map[string]string{"m.conflist": `{"name": "m"}`}},
			[]string{"$DIR/m.conflist", "type: is missing"},
			0,
		},
		"a broken file of a subfolder": {
			planWorld{config: `"clusterNetwork": "$DIR/m.conflist"`, files: map[string]string{"m.conflist": master("m", ""), "m/10.conf": "{}"}},
			[]string{"clusterNetwork: $DIR/m.conflist: plugins of the folder m beside it: ", "type"},
			0,
		},
		"no spec.config and no file": {
			planWorld{config: podnet, annotations: annotated("a"), networks: map[string]string{"default/a": ""}},
			[]string{"network default/a", "no spec.config", `no file in $DIR/net.d has the JSON name "a"`},
			0,
		},
		"no spec.config and a broken file": {
			planWorld{config: podnet, annotations: annotated("a"), networks: map[string]string{"default/a": ""}, files: map[string]string{"net.d/a.conf": `{"name": "a"}`}},
			[]string{"network default/a", `no file in $DIR/net.d has the JSON name "a"`, "$DIR/net.d/a.conf"},
			0,
		},
		"confDir is a file": {
			planWorld{config: podnet, annotations: annotated("a"), networks: map[string]string{"default/a": ""}, files: map[string]string{"net.d": ""}},
			[]string{"network default/a", "confDir", "not a directory"},
			0,
		},
		"a definition that is not JSON": {
			planWorld{config: podnet, annotations: annotated("a"), networks: map[string]string{"default/a": `{"type": "x", }`}},
			[]string{"network default/a", "spec.config", "not valid JSON"},
			0,
		},
		"a delegate without a type": {
			planWorld{config: `"delegates": [{"name": "x"}, {"name": "y", "plugins": []}]`}, []string{"delegates[0]", "type: is missing", "delegates[1]", "plugins: must have at least one plugin"}, 0,
		},
		"a name that libcni refuses": {
			planWorld{config: podnet, annotations: annotated("a"), networks: map[string]string{"default/a": `{"name": "-a b", "type": "bridge"}`}},
			[]string{"network default/a", "name: \"-a b\" is not a letter or digit and then"},
			0,
		},
		"a version that nobody knows": {
			planWorld{config: podnet, annotations: annotated("a"), networks: map[string]string{"default/a": `{"name": "a", "cniVersion": "2.0.0", "type": "bridge"}`}},
			[]string{"network default/a", `cniVersion: "2.0.0" is not one of 0.1.0`, "1.1.0"},
			0,
		},
		"an auxiliary chain without a path": {
			planWorld{config: `"clusterNetwork": "main", "auxiliaryCNIChainName": "aux"`, networks: map[string]string{"kube-system/main": single("bridge")}},
			[]string{"auxiliaryCNIChainName: needs a clusterNetwork that is a path"},
			0,
		},
		"a broken auxiliary chain": {
			planWorld{config: `"clusterNetwork": "$DIR/m.conflist", "auxiliaryCNIChainName": "aux"`, files: map[string]string{"m.conflist": master("m", ""), "aux/10.conf": "{}"}},
			[]string{"auxiliaryCNIChainName: plugins of the folder $DIR/aux: ", "type"},
			0,
		},
	})
}

// readingNode counts what is read of the node.
type readingNode struct {
	*LocalNode
	listed, read int
}

func (n *readingNode) ReadDir(path string) ([]fs.DirEntry, error) {
	n.listed++
	return n.LocalNode.ReadDir(path)
}

func (n *readingNode) ReadFile(path string) ([]byte, error) {
	n.read++
	return n.LocalNode.ReadFile(path)
}

// However many networks are files of confDir, each file is read once, and a broken one
// is one warning. What one attachment gets is not seen by the next.
func TestPlanReadsEachFileOnce(t *testing.T) {
	p := newAnnotatedPlan(t, `[`+repeated(100, `{"name":"a","cni-args":{"k":%d}}`)+`,{"name":"b"}]`)
	dir := t.TempDir()
	for name, content := range map[string]string{
		"1.conflist": "{", "2.conf": "[", "3.conf": `{"name":"other","type":"bridge"}`, "4.conf": `{"name":"a","type":"bridge"}`,
		"5.conf": `{"name":"a","type":"macvlan"}`, "6.json": `{"name":"b","type":"ipvlan"}`, "7.json": "{",
	} {
		writeTestFile(t, filepath.Join(dir, name), content, 0o644)
	}
	p.planner.Config.ConfDir = dir
	p.facts.Networks = []types.Network{{Ref: types.Ref{Namespace: "default", Name: "a"}}, {Ref: types.Ref{Namespace: "default", Name: "b"}}}
	node := &readingNode{LocalNode: p.planner.Node.(*LocalNode)}
	p.planner.Node = node
	planned, err := p.planner.Plan(t.Context(), p.facts, types.Sandbox{ContainerID: "c1", NetNS: "/n", IfName: "eth0"})
	if err != nil {
		t.Fatal(err)
	}
	if node.listed != 2 || node.read != 6 { // 7.json is not needed
		t.Errorf("%d folders and %d files were read", node.listed, node.read)
	}
	if got := strings.Count(p.warnings.String(), "skip a network configuration"); got != 2 {
		t.Errorf("%d warnings: %s", got, p.warnings.String())
	}
	for i, a := range planned.Attachments[1:101] {
		want := fmt.Sprintf(`{"cniVersion":"1.1.0","name":"a","plugins":[{"args":{"cni":{"k":%d}},"name":"a","type":"bridge"}]}`, i)
		if a.Config != want {
			t.Fatalf("attachment %d has %s", i, a.Config)
		}
	}
}
