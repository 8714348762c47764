package plan

import (
	"bytes"
	"cmp"
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/worlds"
	"github.com/plexus-cni/plexus/types"
)

// planWorld is what one planning starts from: a node, its configuration and the facts
// of one pod. "$DIR" in it stands for the node's folder.
type planWorld struct {
	config      string            // further keys of Plexus's configuration, as in `"a": 1, "b": 2`
	files       map[string]string // of the node, by path below $DIR
	pod         types.Pod         // default/web if its name is empty and noPod is not set
	noPod       bool
	annotations map[string]string
	networks    map[string]string // spec.config by namespace/name
	facts       []types.Network   // networks that are more than a spec.config
	devices     map[string][]string
	claimed     []types.ClaimedDevice
	noDevInfo   bool
	taken       []string // interfaces that the container has by another ADD
	ifName      string   // the runtime's name for the first interface; eth0 if it is empty
}

// planPlugins are the executables of the node.
var planPlugins = []string{
	"bandwidth", "bridge", "calico", "calico-ipam", "flannel", "host-local", "ipvlan", "macvlan", "portmap", "sriov", "static", "tuning",
}

// podnet is a default network, for worlds that are about something else.
const podnet = `"delegates": [{"cniVersion": "1.0.0", "name": "podnet", "type": "bridge", "ipam": {"type": "host-local"}}]`

// annotated are the annotations of a pod that selects networks.
func annotated(networks string) map[string]string {
	return map[string]string{types.AnnotationNetworks: networks}
}

// plannedWorld is what planning gave.
type plannedWorld struct {
	dir      string
	planner  *Planner
	plan     *types.Plan
	err      error
	warnings []string
}

// make builds the world's node in a folder and plans the pod.
func (w *planWorld) make(t *testing.T) *plannedWorld {
	t.Helper()
	dir := t.TempDir()
	for _, plugin := range planPlugins {
		writeTestFile(t, filepath.Join(dir, "bin", plugin), "", 0o755)
	}
	for path, content := range w.files {
		writeTestFile(t, filepath.Join(dir, path), strings.ReplaceAll(content, "$DIR", dir), 0o755)
	}
	return w.planIn(t, dir)
}

// planIn plans the pod on the node that is in dir.
func (w *planWorld) planIn(t *testing.T, dir string) *plannedWorld {
	t.Helper()
	got := &plannedWorld{dir: dir}
	node := &LocalNode{Path: []string{filepath.Join(dir, "bin")}}
	planner := &Planner{Config: w.parseConfig(t, dir), Node: node, Warn: func(format string, args ...any) {
		got.warnings = append(got.warnings, strings.ReplaceAll(fmt.Sprintf(format, args...), dir, "$DIR"))
	}}
	if self, err := os.Stat(filepath.Join(dir, "bin", "plexus")); err == nil {
		node.Self = self
	}
	if !w.noDevInfo {
		planner.DeviceInfoPath = func(network, containerID, ifName string) string {
			return "/devinfo/" + network + "-" + containerID + "-" + ifName
		}
	}
	if w.taken != nil {
		planner.Taken = func(ifName string) bool { return slices.Contains(w.taken, ifName) }
	}
	got.planner = planner
	sandbox := types.Sandbox{ContainerID: "c1", NetNS: "/run/netns/c1", IfName: cmp.Or(w.ifName, "eth0"), Args: [][2]string{{"IgnoreUnknown", "1"}}}
	got.plan, got.err = planner.Plan(t.Context(), w.makeFacts(t), sandbox)
	return got
}

func (w *planWorld) parseConfig(t *testing.T, dir string) *types.Config {
	t.Helper()
	config, unknown, err := types.ParseConfig([]byte(strings.ReplaceAll(w.configText(), "$DIR", dir)))
	if err != nil || len(unknown) > 0 {
		t.Fatalf("configuration: %v, unknown keys %q", err, unknown)
	}
	return config
}

func (w *planWorld) configText() string {
	return `{"cniVersion": "1.1.0", "name": "outer", "type": "plexus", "confDir": "$DIR/net.d", ` + w.config + `}`
}

func (w *planWorld) makeFacts(t *testing.T) *types.Facts {
	t.Helper()
	facts := &types.Facts{Pod: w.pod, Networks: slices.Clone(w.facts), Devices: w.devices, Claimed: w.claimed}
	if !w.noPod && facts.Pod.Name == "" {
		facts.Pod = types.Pod{Namespace: "default", Name: "web"}
	}
	facts.Pod.Annotations = w.annotations
	for name, config := range w.networks {
		ref, err := types.ParseRef(name, "")
		if err != nil {
			t.Fatal(err)
		}
		facts.Networks = append(facts.Networks, types.Network{Ref: ref, Config: config})
	}
	return facts
}

// missing are networks that the source has looked for in vain.
func missing(names ...string) []types.Network {
	var networks []types.Network
	for _, name := range names {
		namespace, name, _ := strings.Cut(name, "/")
		networks = append(networks, types.Network{Ref: types.Ref{Namespace: namespace, Name: name}, Missing: true})
	}
	return networks
}

func writeTestFile(t testing.TB, path, content string, mode os.FileMode) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(content), mode); err != nil {
		t.Fatal(err)
	}
}

// checkGolden compares the whole plan, and the warnings, with the golden file of the
// case, and that the configurations are one line each, as they are stored.
func (got *plannedWorld) checkGolden(t *testing.T, name string) {
	t.Helper()
	if got.err != nil {
		t.Fatalf("refused: %v", got.err)
	}
	check.Golden(t, filepath.Join("testdata", name+".json"), got.render(t))
}

// render writes a plan for people: the configurations as JSON, not as strings of it.
func (got *plannedWorld) render(t *testing.T) []byte {
	t.Helper()
	type attachment struct {
		types.Attachment
		Config json.RawMessage `json:"config"`
	}
	shown := struct {
		Pod         types.Pod     `json:"pod"`
		Sandbox     types.Sandbox `json:"sandbox"`
		Attachments []attachment  `json:"attachments"`
		Warnings    []string      `json:"warnings,omitempty"`
	}{Pod: got.plan.Pod, Sandbox: got.plan.Sandbox, Warnings: got.warnings}
	for _, a := range got.plan.Attachments {
		var compact bytes.Buffer
		if err := json.Compact(&compact, []byte(a.Config)); err != nil || compact.String() != a.Config {
			t.Errorf("network %s: configuration is not one line of JSON: %v\n%s", a.Network, err, a.Config)
		}
		shown.Attachments = append(shown.Attachments, attachment{a, json.RawMessage(a.Config)})
	}
	var text bytes.Buffer
	encoder := json.NewEncoder(&text)
	encoder.SetEscapeHTML(false)
	encoder.SetIndent("", "  ")
	if err := encoder.Encode(shown); err != nil {
		t.Fatal(err)
	}
	return bytes.ReplaceAll(text.Bytes(), []byte(got.dir), []byte("$DIR"))
}

// runGolden plans each world and compares it with the golden file of its name.
func runGolden(t *testing.T, worlds map[string]planWorld) {
	t.Helper()
	for name, world := range worlds {
		t.Run(name, func(t *testing.T) { world.make(t).checkGolden(t, name) })
	}
}

// refusal is a world that cannot be planned, and what its error says.
type refusal struct {
	planWorld
	want []string
	code uint // 0 stands for an invalid configuration
}

// runRefused plans each world and checks that it is refused in the words wanted, once,
// for the pod.
func runRefused(t *testing.T, refusals map[string]refusal) {
	t.Helper()
	written := map[string]worlds.World{}
	for name, r := range refusals {
		t.Run(name, func(t *testing.T) {
			got := r.make(t)
			if got.err == nil {
				t.Fatalf("planned:\n%s", got.render(t))
			}
			checkRefusal(t, got, &r)
			if r.taken == nil && r.ifName == "" {
				written[name] = got.written(t, &r.planWorld)
			}
		})
	}
	// A run of a few of them writes and compares nothing.
	if len(written) == len(refusals) {
		worlds.Write(t, filepath.Join("testdata", "refused", t.Name()+".json"), written)
	}
}

// written gives a world and its verdict for the tests of other ways to a verdict.
func (got *plannedWorld) written(t *testing.T, w *planWorld) worlds.World {
	t.Helper()
	facts := w.makeFacts(t)
	slices.SortFunc(facts.Networks, func(a, b types.Network) int { return cmp.Compare(a.String(), b.String()) })
	files := map[string]string{}
	for _, plugin := range planPlugins {
		files["bin/"+plugin] = ""
	}
	maps.Copy(files, w.files)
	return worlds.World{
		Config: w.configText(), Files: files, Pod: facts.Pod, Facts: facts.Networks, Devices: facts.Devices, Claimed: facts.Claimed,
		Error: strings.ReplaceAll(got.err.Error(), got.dir, worlds.Dir), Code: types.CodeOf(got.err, 0),
	}
}

func checkRefusal(t *testing.T, got *plannedWorld, r *refusal) {
	t.Helper()
	message := strings.ReplaceAll(got.err.Error(), got.dir, "$DIR")
	t.Log(message)
	pod := "pod default/web: "
	if r.noPod {
		pod = "pod (no pod): "
	} else if r.pod.Known() {
		pod = "pod " + r.pod.String() + ": "
	}
	if !strings.HasPrefix(message, pod) || strings.Count(message, pod) != 1 {
		t.Errorf("does not begin with %q, once: %s", pod, message)
	}
	for _, words := range r.want {
		if !strings.Contains(message, words) {
			t.Errorf("does not say %q: %s", words, message)
		}
	}
	code := r.code
	if code == 0 {
		code = types.CodeInvalidConfig
	}
	if is := types.CodeOf(got.err, 0); is != code {
		t.Errorf("code %d, want %d", is, code)
	}
	if got.plan != nil {
		t.Error("there is a plan beside the error")
	}
	if strings.Contains(message, "\n") {
		t.Errorf("is not one line: %q", message)
	}
}
