package examples_test

import (
	"encoding/json"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/delegate/plan"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/k8sclient/claims"
	"github.com/plexus-cni/plexus/types"
)

const (
	configFile = "00-plexus.conflist"
	netsFolder = "net.d"
)

// example is one folder with manifests.
type example struct {
	dir    string
	config *types.Config
	loaded map[string]bool // the files that the test has used, of all examples
	bin    string
}

func TestExamples(t *testing.T) {
	all := tree(t)
	loaded := map[string]bool{}
	bin := plugins(t, all)
	for _, dir := range foldersOf(all, ".yaml") {
		t.Run(dir, func(t *testing.T) {
			e := &example{dir: dir, loaded: loaded, bin: bin}
			e.config = e.loadConfig(t)
			e.planPods(t)
		})
	}
	for _, path := range all {
		if !loaded[path] && filepath.Ext(path) != ".md" && filepath.Ext(path) != ".go" {
			t.Errorf("%s: nothing loads it", path)
		}
	}
}

// Every folder of an example is in the table of the README, and nothing else is.
func TestReadmeNamesEveryExample(t *testing.T) {
	data, err := os.ReadFile("README.md")
	if err != nil {
		t.Fatal(err)
	}
	var named []string
	for line := range strings.SplitSeq(string(data), "\n") {
		if _, rest, ok := strings.Cut(line, "]("); ok && strings.HasPrefix(line, "| [") {
			link, _, _ := strings.Cut(rest, ")")
			named = append(named, filepath.Clean(link))
		}
	}
	slices.Sort(named)
	folders := foldersOf(tree(t), ".yaml")
	for i, dir := range folders {
		folders[i] = strings.TrimSuffix(dir, "/manifests")
	}
	slices.Sort(folders)
	if diff := cmp.Diff(folders, named); diff != "" {
		t.Errorf("examples (-) and README (+) differ:\n%s", diff)
	}
}

func tree(t *testing.T) []string {
	t.Helper()
	var files []string
	err := filepath.WalkDir(".", func(path string, entry fs.DirEntry, err error) error {
		if err == nil && !entry.IsDir() {
			files = append(files, path)
		}
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return files
}

// foldersOf gives the folders that have a file of the extension.
func foldersOf(files []string, extension string) []string {
	folders := map[string]bool{}
	for _, path := range files {
		if filepath.Ext(path) == extension {
			folders[filepath.Dir(path)] = true
		}
	}
	return slices.Sorted(maps.Keys(folders))
}

// plugins makes a folder with an executable for every plugin that a file names.
func plugins(t *testing.T, files []string) string {
	t.Helper()
	bin := t.TempDir()
	for _, path := range files {
		for _, name := range pluginsIn(t, path) {
			if err := os.WriteFile(filepath.Join(bin, name), nil, 0o700); err != nil {
				t.Fatal(err)
			}
		}
	}
	return bin
}

func pluginsIn(t *testing.T, path string) []string {
	t.Helper()
	switch filepath.Ext(path) {
	case ".conflist", ".conf":
		var value any
		if err := json.Unmarshal(contentOf(t, path), &value); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		return typesIn(value)
	case ".yaml":
		var names []string
		for _, document := range strings.Split(string(contentOf(t, path)), "\n---\n") {
			var object struct {
				Spec struct {
					Config string `json:"config"`
				} `json:"spec"`
			}
			if err := yaml.Unmarshal([]byte(document), &object); err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			var value any
			if err := json.Unmarshal([]byte(object.Spec.Config), &value); object.Spec.Config != "" && err != nil {
				t.Fatalf("%s: %v", path, err)
			}
			names = append(names, typesIn(value)...)
		}
		return names
	}
	return nil
}

// typesIn gives every string under a key "type", and what flannel runs unasked.
// Plexus is not among them: it is never its own delegate.
func typesIn(value any) []string {
	var names []string
	switch v := value.(type) {
	case []any:
		for _, element := range v {
			names = append(names, typesIn(element)...)
		}
	case map[string]any:
		if name, ok := v["type"].(string); ok && name != "plexus" {
			names = append(names, name)
		}
		if v["type"] == "flannel" {
			names = append(names, "bridge", "host-local")
		}
		for _, inner := range v {
			names = append(names, typesIn(inner)...)
		}
	}
	return names
}

func contentOf(t *testing.T, path string) []byte {
	t.Helper()
	data, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	return data
}

// loadConfig gives the configuration of an example as libcni would hand it to plexus:
// the one plugin of the list, with the list's name and version.
func (e *example) loadConfig(t *testing.T) *types.Config {
	t.Helper()
	path := e.configPath()
	e.loaded[path] = true
	var list struct {
		CNIVersion string                       `json:"cniVersion"`
		Name       string                       `json:"name"`
		Plugins    []map[string]json.RawMessage `json:"plugins"`
	}
	if err := json.Unmarshal(contentOf(t, path), &list); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	if len(list.Plugins) != 1 || string(list.Plugins[0]["type"]) != `"plexus"` {
		t.Fatalf("%s: must have one plugin, plexus", path)
	}
	call := list.Plugins[0]
	call["name"], _ = json.Marshal(list.Name)
	call["cniVersion"], _ = json.Marshal(list.CNIVersion)
	data, err := json.Marshal(call)
	if err != nil {
		t.Fatal(err)
	}
	config, unknown, err := types.ParseConfig(data)
	if err != nil || len(unknown) > 0 {
		t.Fatalf("%s: %v, unknown keys %q", path, err, unknown)
	}
	e.checkCapabilities(t, config)
	config.ConfDir = filepath.Join(e.dir, netsFolder)
	return config
}

func (e *example) configPath() string {
	for _, dir := range []string{e.dir, filepath.Dir(e.dir)} {
		path := filepath.Join(dir, configFile)
		if _, err := os.Stat(path); err == nil {
			return path
		}
	}
	return filepath.Join("networks", configFile)
}

// checkCapabilities holds what the README says: the capabilities are the union of
// those of the delegates, and the pod's annotations.
func (e *example) checkCapabilities(t *testing.T, config *types.Config) {
	t.Helper()
	want := map[string]bool{}
	if config.AgentSocket != "" {
		want[types.CapabilityPodAnnotations] = true
	}
	for _, delegate := range config.Delegates {
		conf, err := types.ParseNetConf(delegate, "")
		if err != nil {
			t.Fatal(err)
		}
		for _, plugin := range conf.Plugins {
			maps.Copy(want, plugin.Capabilities)
		}
	}
	got := config.Capabilities
	if got == nil {
		got = map[string]bool{}
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("%s: capabilities (-delegates +plexus):\n%s", e.configPath(), diff)
	}
}

// planPods plans the pod of every file that has one.
func (e *example) planPods(t *testing.T) {
	t.Helper()
	files, err := filepath.Glob(filepath.Join(e.dir, "*.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	planned := 0
	for _, path := range files {
		e.loaded[path] = true
		for _, pod := range podsIn(t, path) {
			planned++
			t.Run(filepath.Base(path), func(t *testing.T) { e.planPod(t, path, pod) })
		}
	}
	if planned == 0 {
		t.Errorf("%s: has no pod", e.dir)
	}
	nets, err := filepath.Glob(filepath.Join(e.dir, netsFolder, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for _, path := range nets {
		e.loaded[path] = e.isUsed(t, path)
	}
}

func podsIn(t *testing.T, path string) []types.Pod {
	t.Helper()
	var pods []types.Pod
	for _, document := range strings.Split(string(contentOf(t, path)), "\n---\n") {
		var object struct {
			Kind     string    `json:"kind"`
			Metadata types.Pod `json:"metadata"`
		}
		if err := yaml.Unmarshal([]byte(document), &object); err != nil {
			t.Fatalf("%s: %v", path, err)
		}
		if object.Kind == "Pod" {
			pods = append(pods, types.Pod{Namespace: object.Metadata.Namespace, Name: object.Metadata.Name})
		}
	}
	return pods
}

// isUsed tells whether a NetworkAttachmentDefinition of the example stands for a file
// of net.d, by its name.
func (e *example) isUsed(t *testing.T, path string) bool {
	t.Helper()
	var conf struct {
		Name string `json:"name"`
	}
	if err := json.Unmarshal(contentOf(t, path), &conf); err != nil {
		t.Fatalf("%s: %v", path, err)
	}
	return strings.Contains(string(contentOf(t, filepath.Join(e.dir, "nad.yaml"))), "\n  name: "+conf.Name+"\n")
}

// expectation is what the first lines of a pod's file say.
type expectation struct {
	plan    string
	refused string
	devices map[string][]string // nil where no kubelet is asked
	claimed string              // the device of each attachment that has one by a claim
}

func expect(t *testing.T, path string) expectation {
	t.Helper()
	var want expectation
	for n, line := range strings.Split(string(contentOf(t, path)), "\n") {
		key, value, _ := strings.Cut(strings.TrimPrefix(line, "# "), ": ")
		switch {
		case !strings.HasPrefix(line, "#"):
			want.check(t, path)
			return want
		case key == "plan" && n == 0:
			want.plan = value
		case key == "refused" && n == 0:
			want.refused = value
		case key == "claimed":
			want.claimed = value
		case key == "devices":
			resource, ids, _ := strings.Cut(value, "=")
			if want.devices == nil {
				want.devices = map[string][]string{}
			}
			want.devices[resource] = strings.Split(ids, ", ")
		}
	}
	t.Fatalf("%s: has nothing but comments", path)
	return want
}

func (x *expectation) check(t *testing.T, path string) {
	t.Helper()
	if isRefused := strings.HasPrefix(filepath.Base(path), "refused-"); isRefused != (x.refused != "") || isRefused == (x.plan != "") {
		t.Fatalf("%s: its first line must be `# refused: …` if it is a refused-*.yaml, else `# plan: …`", path)
	}
}

func (e *example) planPod(t *testing.T, path string, pod types.Pod) {
	want := expect(t, path)
	manifests := k8sclient.Manifests{Dir: e.dir}
	request := &types.FactsRequest{Pod: pod, Networks: plan.ConfiguredRefs(e.config), MultusNamespace: e.config.MultusNamespace}
	facts, err := manifests.Facts(t.Context(), request)
	if err != nil {
		t.Fatal(err)
	}
	facts.Devices = want.devices
	if err := claims.Complete(t.Context(), manifests, request, facts); err != nil {
		t.Fatal(err)
	}
	planner := &plan.Planner{Config: e.config, Node: &plan.LocalNode{Path: []string{e.bin}}, Warn: func(format string, args ...any) {
		t.Errorf("warning: "+format, args...)
	}}
	plan, err := planner.Plan(t.Context(), facts, types.Sandbox{ContainerID: "c1", NetNS: "/run/netns/c1", IfName: "eth0"})
	if want.refused != "" {
		if err == nil || !strings.Contains(err.Error(), want.refused) {
			t.Errorf("got %v, want an error with %q", err, want.refused)
		}
		return
	}
	if err != nil {
		t.Fatal(err)
	}
	var got, claimed []string
	for _, a := range plan.Attachments {
		got = append(got, fmt.Sprintf("%s=%s", a.Interface, a.Network))
		if a.Claimed != nil {
			claimed = append(claimed, fmt.Sprintf("%s=%s", a.Interface, a.DeviceID))
		}
	}
	if claimed := strings.Join(claimed, ", "); claimed != want.claimed {
		t.Errorf("devices of claims: got  %s\nwant %s", claimed, want.claimed)
	}
	if got := strings.Join(got, ", "); got != want.plan {
		t.Errorf("got  %s\nwant %s", got, want.plan)
	}
}
