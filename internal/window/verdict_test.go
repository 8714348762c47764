package window

import (
	"context"
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/delegate"
	"github.com/plexus-cni/plexus/internal/explain"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/worlds"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// refusedWorlds are those that the tests of delegate/plan have written down.
const refusedWorlds = "../../delegate/plan/testdata/refused"

// factsSource is a delegate.Source that knows the facts already.
type factsSource struct{ facts *types.Facts }

func (s factsSource) Facts(context.Context, *types.FactsRequest) (*types.Facts, error) {
	return s.facts, nil
}

func (factsSource) Publish(context.Context, *types.PublishRequest) (bool, error) { return true, nil }

func (s factsSource) Local(context.Context, *types.FactsRequest) (*types.Facts, error) {
	return s.facts, nil
}

// addError gives the error of an ADD of the world's pod.
func addError(t testing.TB, w *worlds.World, dir string) error {
	t.Helper()
	config, _, err := types.ParseConfig([]byte(w.Config))
	if err != nil {
		return types.WithCode(types.CodeInvalidConfig, err)
	}
	config.CNIDir = filepath.Join(dir, "state")
	engine := &delegate.Engine{
		Config: config, Path: []string{filepath.Join(dir, "bin")},
		Source:      factsSource{&types.Facts{Pod: w.Pod, Networks: w.Facts, Devices: w.Devices, Claimed: w.Claimed}},
		DeviceInfos: sriov.InfoFiles{DeviceInfoDir: sriov.DefaultDeviceInfoDir}, Log: slog.New(slog.DiscardHandler),
	}
	// Nothing is attached, whatever is planned: there is no such namespace.
	sandbox := sandboxOf(&w.Pod)
	sandbox.NetNS = filepath.Join(dir, "no-namespace")
	_, err = engine.Add(t.Context(), &delegate.Call{Sandbox: sandbox, Pod: types.Pod{Namespace: w.Pod.Namespace, Name: w.Pod.Name}})
	return err
}

// onNode gives a node of this machine.
func onNode(t testing.TB, config string) *node {
	t.Helper()
	t.Setenv("CNI_PATH", "")
	n := &node{file: "00-plexus.conf"}
	n.parse([]byte(config))
	return n
}

// madeIn makes the node of a world, whose configuration then names its folder of plugins.
func madeIn(t testing.TB, world *worlds.World, dir string) worlds.World {
	t.Helper()
	w := world.Make(t, dir)
	w.Config = strings.Replace(w.Config, "{", `{"binDir": "`+filepath.Join(dir, "bin")+`", `, 1)
	return w
}

// Whatever planning refuses, explain answers with the error of ADD and its code.
func TestExplainAnswersWithErrorOfADD(t *testing.T) {
	all := worlds.Read(t, refusedWorlds)
	if len(all) < 80 {
		t.Fatalf("only %d worlds", len(all))
	}
	for name, world := range all {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			w := madeIn(t, &world, dir)
			pod, err := onNode(t, w.Config).explain(t.Context(), &types.Facts{Pod: w.Pod, Networks: w.Facts, Devices: w.Devices, Claimed: w.Claimed}, false)
			check.Must(t, err)
			add := addError(t, &w, dir)
			if add == nil {
				t.Fatal("ADD does not fail")
			}
			check.Equal(t, "verdict", pod.Refused, &explain.Refusal{Code: types.CodeOf(add, 0), Message: add.Error()})
			if !dependsOnContainerID(name) {
				check.Equal(t, "verdict", pod.Refused, &explain.Refusal{Code: w.Code, Message: w.Error})
			}
		})
	}
}

// So it does for files, through the command line.
func TestExplainFilesAnswersWithErrorOfADD(t *testing.T) {
	ran := 0
	for name, world := range worlds.Read(t, refusedWorlds) {
		forgets := strings.Contains(world.Error, "the source of facts said nothing")
		if !world.Pod.Known() || world.Devices != nil || world.Claimed != nil || forgets || !areInManifests(world.Facts) || dependsOnContainerID(name) {
			continue // no file can say that
		}
		ran++
		t.Run(name, func(t *testing.T) {
			t.Setenv("CNI_PATH", "")
			dir := t.TempDir()
			w := madeIn(t, &world, dir)
			config, manifests := filepath.Join(dir, "plexus.conf"), filepath.Join(dir, "manifests.json")
			check.Must(t, os.WriteFile(config, []byte(w.Config), 0o600))
			check.Must(t, os.WriteFile(manifests, manifestsOf(t, &w), 0o600))
			got := runWith(t, "", "explain", "-f", manifests, "--config", config, "-o", "json")
			check.Equal(t, "exit code", got.code, exitWrong)
			check.Equal(t, "stderr", got.stderr, "")
			var document explain.Document
			check.Must(t, json.Unmarshal([]byte(got.stdout), &document))
			check.Equal(t, "verdict", document.Pods[0].Refused, &explain.Refusal{Code: w.Code, Message: w.Error})
		})
	}
	if ran < 50 {
		t.Errorf("only %d worlds were made files", ran)
	}
}

// dependsOnContainerID reports whether an error has the length of the container ID in it.
func dependsOnContainerID(world string) bool { return strings.Contains(world, "NameTooLong") }

// areInManifests reports whether manifests can say all that the facts say. What takes a device is
// refused there only if the pod requests none.
func areInManifests(networks []types.Network) bool {
	for i := range networks {
		if n := &networks[i]; n.Problem != "" || n.ResourceName != "" {
			return false
		}
	}
	return true
}

// manifestsOf writes the objects of a world as a list.
func manifestsOf(t *testing.T, w *worlds.World) []byte {
	t.Helper()
	meta := func(namespace, name string, annotations map[string]string) map[string]any {
		return map[string]any{"namespace": namespace, "name": name, "annotations": annotations}
	}
	items := []any{map[string]any{"apiVersion": "v1", "kind": "Pod", "metadata": meta(w.Pod.Namespace, w.Pod.Name, w.Pod.Annotations)}}
	for i := range w.Facts {
		if n := &w.Facts[i]; !n.Missing {
			items = append(items, map[string]any{
				"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition",
				"metadata": meta(n.Namespace, n.Name, nil), "spec": map[string]any{"config": n.Config},
			})
		}
	}
	data, err := json.Marshal(map[string]any{"apiVersion": "v1", "kind": "List", "items": items})
	check.Must(t, err)
	return data
}
