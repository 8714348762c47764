package plan

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/types"
)

func TestPlanIsolation(t *testing.T) {
	isolated := podnet + `, "namespaceIsolation": true, "defaultNetworks": ["ops"]`
	networks := map[string]string{
		"tenant/own": single("bridge"), "default/global": single("macvlan"), "shared/global": single("macvlan"),
		"other/secret": single("ipvlan"), "kube-system/ops": single("ipvlan"),
	}
	tenant := types.Pod{Namespace: "tenant", Name: "app"}
	// What the node's configuration names is exempt: ops is in kube-system.
	runGolden(t, map[string]planWorld{
		"isolated-own-and-global":   {config: isolated, pod: tenant, networks: networks, annotations: annotated("own, default/global")},
		"isolated-other-globals":    {config: isolated + `, "globalNamespaces": "shared"`, pod: tenant, networks: networks, annotations: annotated("shared/global")},
		"not-isolated":              {config: podnet, pod: tenant, networks: networks, annotations: annotated("other/secret, kube-system/ops")},
		"isolated-clusternetwork":   {config: `"clusterNetwork": "ops", "namespaceIsolation": true`, pod: tenant, networks: networks},
		"isolated-without-networks": {config: isolated, pod: tenant, networks: networks},
	})
	runRefused(t, map[string]refusal{
		"another's": {
			planWorld{config: isolated, pod: tenant, networks: networks, annotations: annotated("own, other/secret")},
			[]string{"network other/secret: namespace isolation is on", `namespace "tenant"`, `"default"`},
			0,
		},
		"a list without default": {
			planWorld{config: isolated + `, "globalNamespaces": "shared"`, pod: tenant, networks: networks, annotations: annotated("default/global")},
			[]string{"network default/global: namespace isolation is on", `"shared"`},
			0,
		},
		"what the configuration may name, a pod may not": {
			planWorld{config: isolated, pod: tenant, networks: networks, annotations: annotated("kube-system/ops")},
			[]string{"network kube-system/ops: namespace isolation is on"},
			0,
		},
		// Isolation tells nothing of what is in another namespace, not even that it is not there.
		"another's that is missing": {
			planWorld{config: isolated, pod: tenant, networks: networks, facts: missing("other/gone"), annotations: annotated("other/gone")},
			[]string{"network other/gone: namespace isolation is on"},
			0,
		},
	})
}

func TestPlanDefaultNetworkNamespacesRefused(t *testing.T) {
	networks := map[string]string{"kube-system/ops": single("bridge"), "tenant/own": single("macvlan"), "default/global": single("macvlan")}
	tenant := types.Pod{Namespace: "tenant", Name: "app"}
	chosen := func(value string) map[string]string {
		return map[string]string{types.AnnotationDefaultNetwork: value}
	}
	words := []string{"annotation v1.multus-cni.io/default-network: ", "defaultNetworkNamespaces"}
	runRefused(t, map[string]refusal{
		"one's own, without isolation":    {planWorld{config: podnet, pod: tenant, networks: networks, annotations: chosen("tenant/own")}, append(words, `"kube-system"`, "tenant/own"), 0},
		"a global one, without isolation": {planWorld{config: podnet, pod: tenant, networks: networks, annotations: chosen("default/global")}, words, 0},
		"not global, with isolation": {
			planWorld{config: podnet + `, "namespaceIsolation": true`, networks: networks, annotations: chosen("tenant/own")}, append(words, "tenant/own"), 0,
		},
		"multusNamespace is not in the list": {
			planWorld{config: podnet + `, "defaultNetworkNamespaces": ["ops"]`, networks: networks, annotations: chosen("ops")}, append(words, `"ops"`, "kube-system/ops"), 0,
		},
		"nobody may": {planWorld{config: podnet + `, "defaultNetworkNamespaces": []`, networks: networks, annotations: chosen("ops")}, append(words, "(none)"), 0},
	})
	moved := planWorld{config: podnet + `, "multusNamespace": "tenant"`, networks: networks, annotations: chosen("own")}
	if got := moved.make(t); got.err != nil || got.plan.Attachments[0].Network != "tenant/own" {
		t.Errorf("defaultNetworkNamespaces does not follow multusNamespace: %v", got.err)
	}
}

func TestPlanAllowedPlugins(t *testing.T) {
	allowed := func(list string) string { return podnet + `, "allowedPlugins": ` + list }
	withIPAM := map[string]string{"tenant/n": `{"plugins": [{"type": "bridge", "ipam": {"type": "host-local"}}, {"type": "tuning"}]}`}
	runGolden(t, map[string]planWorld{
		// The node's own networks are as trusted as the list itself; they are not on it.
		"allowed-by-namespace": {config: allowed(`{"tenant": ["bridge", "host-local", "tuning"]}`), networks: withIPAM, annotations: annotated("tenant/n")},
		"allowed-by-both":      {config: allowed(`{"*": ["bridge", "tuning"], "tenant": ["host-local"]}`), networks: withIPAM, annotations: annotated("tenant/n")},
		"allowed-to-node-only": {config: `"clusterNetwork": "$DIR/m.conf", "allowedPlugins": {}`, files: map[string]string{"m.conf": single("macvlan")}},
	})
	runRefused(t, map[string]refusal{
		"ipam": {
			planWorld{config: allowed(`{"tenant": ["bridge", "tuning"], "other": ["host-local"]}`), networks: withIPAM, annotations: annotated("tenant/n")},
			[]string{"network tenant/n: plugins[0].ipam.type: ", `"host-local" is not allowed`, `"tenant"`, "allowedPlugins", `"bridge", "tuning"`},
			0,
		},
		"chained": {
			planWorld{config: allowed(`{"*": ["bridge", "host-local"]}`), networks: withIPAM, annotations: annotated("tenant/n")},
			[]string{"network tenant/n: plugins[1].type: ", `"tuning" is not allowed`},
			0,
		},
		"nothing": {
			planWorld{config: allowed(`{}`), networks: withIPAM, annotations: annotated("tenant/n")},
			[]string{"plugins[0].type: ", "plugins[0].ipam.type: ", "plugins[1].type: ", "(none)"},
			0,
		},
		"flannel's delegate": {
			planWorld{
				config: allowed(`{"*": ["flannel", "host-local"]}`), annotations: annotated("tenant/n"),
				networks: map[string]string{"tenant/n": `{"type": "flannel", "delegate": {"type": "ipvlan"}}`},
			},
			[]string{"network tenant/n: plugins[0].delegate.type: ", `"ipvlan" is not allowed`},
			0,
		},
		"a NAD of the node's configuration": {
			planWorld{config: `"clusterNetwork": "main", "allowedPlugins": {"*": ["bridge"]}`, networks: map[string]string{"kube-system/main": single("macvlan")}},
			[]string{"network kube-system/main: plugins[0].type: ", `"macvlan" is not allowed`},
			0,
		},
		"a file that a NAD stands for": {
			planWorld{
				config: allowed(`{"*": ["bridge"]}`), annotations: annotated("tenant/n"),
				networks: map[string]string{"tenant/n": ""}, files: map[string]string{"net.d/n.conf": `{"name": "n", "type": "macvlan"}`},
			},
			[]string{`"macvlan" is not allowed`},
			0,
		},
	})
}

func TestPlanExecutablesRefused(t *testing.T) {
	named := func(config string) planWorld {
		return planWorld{config: podnet, networks: map[string]string{"default/n": config}, annotations: annotated("n")}
	}
	runRefused(t, map[string]refusal{
		"type":                        {named(`{"type": "ghost"}`), []string{`network default/n: plugins[0].type: plugin "ghost" is not in "$DIR/bin"`}, 0},
		"ipam":                        {named(`{"type": "bridge", "ipam": {"type": "ghost"}}`), []string{`plugins[0].ipam.type: plugin "ghost" is not in`}, 0},
		"chained":                     {named(`{"plugins": [{"type": "bridge"}, {"type": "ghost"}]}`), []string{`plugins[1].type: plugin "ghost" is not in`}, 0},
		"chained ipam":                {named(`{"plugins": [{"type": "bridge"}, {"type": "tuning", "IPAM": {"Type": "ghost"}}]}`), []string{`plugins[1].ipam.type: plugin "ghost" is not in`}, 0},
		"flannel's delegate":          {named(`{"type": "flannel", "delegate": {"type": "ghost"}}`), []string{`plugins[0].delegate.type: plugin "ghost" is not in`}, 0},
		"flannel's delegate's ipam":   {named(`{"type": "flannel", "delegate": {"ipam": {"type": "ghost"}}}`), []string{`plugins[0].delegate.ipam.type: plugin "ghost" is not in`}, 0},
		"a path":                      {named(`{"type": "../bin/bridge"}`), []string{"network default/n: spec.config: ", `type: plugin "../bin/bridge" must be a plain name, not a path`}, 0},
		"a path in a list":            {named(`{"plugins": [{"type": "bridge"}, {"type": "sub/tuning"}]}`), []string{`type: plugin "sub/tuning" must be a plain name`}, 0},
		"a path for the ipam":         {named(`{"type": "bridge", "ipam": {"type": "/bin/sh"}}`), []string{`ipam.type: plugin "/bin/sh" must be a plain name`}, 0},
		"a path for flannel's":        {named(`{"type": "flannel", "delegate": {"type": "x/y"}}`), []string{`delegate.type: plugin "x/y" must be a plain name`}, 0},
		"the folder above":            {named(`{"type": ".."}`), []string{`type: plugin ".." is not the name of an executable`}, 0},
		"two spellings":               {named(`{"type": "bridge", "Type": "ghost"}`), []string{"network default/n: spec.config: Type: ", `stands beside "type"`}, 0},
		"a folder":                    {planWorld{config: podnet, networks: map[string]string{"default/n": `{"type": "sub"}`}, annotations: annotated("n"), files: map[string]string{"bin/sub/x": ""}}, []string{`plugin "sub" is not in`}, 0},
		"the node's own is looked at": {planWorld{config: `"delegates": [{"type": "ghost"}]`}, []string{`network outer: plugins[0].type: plugin "ghost" is not in`}, 0},
		"a subfolder's plugin": {
			planWorld{config: `"clusterNetwork": "$DIR/m.conflist"`, files: map[string]string{"m.conflist": master("m", ""), "m/1.conf": `{"type": "ghost"}`}},
			[]string{`network m: plugins[1].type: plugin "ghost" is not in`},
			0,
		},
	})
}

// Plexus is told by its file, under whatever name it is called.
func TestPlanNeverRunsItself(t *testing.T) {
	for name, link := range map[string]func(oldname, newname string) error{
		"itself":    func(string, string) error { return nil },
		"hard link": os.Link,
		"link":      os.Symlink,
	} {
		for _, config := range []string{`{"name": "n", "type": "PLUGIN"}`, `{"name": "n", "type": "bridge", "ipam": {"type": "PLUGIN"}}`} {
			t.Run(name, func(t *testing.T) {
				plugin := "multus"
				if name == "itself" {
					plugin = "plexus"
				}
				world := planWorld{config: podnet, files: map[string]string{"bin/plexus": "plexus"}}
				dir := world.make(t).dir
				if err := link(filepath.Join(dir, "bin", "plexus"), filepath.Join(dir, "bin", "multus")); err != nil {
					t.Fatal(err)
				}
				world.annotations = annotated("n")
				world.networks = map[string]string{"default/n": strings.ReplaceAll(config, "PLUGIN", plugin)}
				got := world.planIn(t, dir)
				if got.err == nil {
					t.Fatal("planned")
				}
				checkRefusal(t, got, &refusal{want: []string{"network default/n: plugins[0].", `"` + plugin + `"`, "is plexus itself"}})
			})
		}
	}
}

// A copy is another file, and so is another build: the guard in its environment stops
// those when they run (cmd/plexus).
func TestPlanTakesACopyForAnotherPlugin(t *testing.T) {
	world := planWorld{
		config: podnet, files: map[string]string{"bin/plexus": "plexus", "bin/copy": "plexus"},
		networks: map[string]string{"default/n": single("copy")}, annotations: annotated("n"),
	}
	if got := world.make(t); got.err != nil {
		t.Error(got.err)
	}
}

func TestPlanRefusesWhatIsNotExecutable(t *testing.T) {
	world := planWorld{config: podnet, networks: map[string]string{"default/n": single("plain")}, files: map[string]string{"bin/plain": ""}}
	dir := world.make(t).dir
	plain := filepath.Join(dir, "bin", "plain")
	world.annotations = annotated("n")
	if got := world.planIn(t, dir); got.err != nil {
		t.Errorf("a file that may be just being copied is refused: %v", got.err)
	}
	old := time.Now().Add(-time.Hour)
	for _, test := range []struct {
		change func() error
		want   string
	}{
		{func() error { return os.Chtimes(plain, old, old) }, "is an empty file"},
		{func() error { return os.WriteFile(plain, []byte("x"), 0o755) }, ""},
		{func() error { return os.Chmod(plain, 0o644) }, "is not executable"},
	} {
		if err := test.change(); err != nil {
			t.Fatal(err)
		}
		if got := world.planIn(t, dir); test.want != "" {
			checkRefusal(t, got, &refusal{want: []string{"network default/n: plugins[0].type: plugin \"plain\"", test.want}})
		} else if got.err != nil {
			t.Error(got.err)
		}
	}
}
