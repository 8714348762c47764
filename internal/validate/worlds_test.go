package validate

import (
	"encoding/json"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/worlds"
	"github.com/plexus-cni/plexus/types"
)

// ofTheNode are the worlds that are refused for what no manifest shows: executables, files and
// devices of the node, and networks that are not there.
var ofTheNode = map[string][]string{
	"TestPlanAllowedPlugins":         {"a file that a NAD stands for"},
	"TestPlanAnnotationRefused":      {"a missing default"},
	"TestPlanDevicesOfClaimsRefused": {"nobody was asked"},
	"TestPlanExecutablesRefused": {
		"a folder", "a subfolder's plugin", "chained", "chained ipam", "flannel's delegate", "flannel's delegate's ipam", "ipam",
		"the node's own is looked at", "type",
	},
	"TestPlanNameTooLongForTheCache": {"of a delegate", "of the configuration", "of the object"}, // the length of a container ID is in the text
	"TestPlanNetworksRefused": {
		"a broken auxiliary chain", "a broken file by path", "a broken file of a subfolder", "a definition that could not be read",
		"a file without a name", "a list whose name is no folder's", "a list without any plugin", "a problem that passes beside one that does not",
		"a problem without a code", "a source that forgot one", "an empty folder", "clusterNetwork is nowhere",
		"clusterNetwork that the source forgot", "confDir is a file", "defaultNetworks are nowhere", "no spec.config and a broken file",
		"no spec.config and no file", "no such definition",
	},
}

// shows reports whether the manifests of a world show why it is refused. Devices are the kubelet's.
func shows(name string, w *worlds.World) bool {
	test, world, _ := strings.Cut(name, "/")
	return w.Pod.Known() && w.Claimed == nil && test != "TestPlanDevicesRefused" && !slices.Contains(ofTheNode[test], world)
}

// manifestOf writes the pod and the networks of a world as one list.
func manifestOf(t *testing.T, w *worlds.World) []byte {
	t.Helper()
	type object = map[string]any
	items := []object{{"apiVersion": "v1", "kind": "Pod", "metadata": object{"name": w.Pod.Name, "namespace": w.Pod.Namespace, "annotations": w.Pod.Annotations}}}
	for _, n := range w.Facts {
		if !n.Missing && n.Problem == "" {
			metadata := object{"name": n.Name, "namespace": n.Namespace}
			if n.Claim != "" {
				metadata["annotations"] = object{types.AnnotationClaim: n.Claim}
			}
			items = append(items, object{
				"apiVersion": "k8s.cni.cncf.io/v1", "kind": "NetworkAttachmentDefinition", "metadata": metadata, "spec": object{"config": n.Config},
			})
		}
	}
	data, err := json.MarshalIndent(object{"apiVersion": "v1", "kind": "List", "items": items}, "", "  ")
	check.Must(t, err)
	return data
}

// What an ADD refuses for what is in the manifests is an error here, in the words of the ADD.
func TestErrorsAreThoseOfADD(t *testing.T) {
	all := worlds.Read(t, "../../delegate/plan/testdata/refused")
	if len(all) < 80 {
		t.Fatalf("only %d worlds", len(all))
	}
	shown := 0
	for name, w := range all {
		if !shows(name, &w) {
			continue
		}
		shown++
		t.Run(name, func(t *testing.T) {
			config, _, err := types.ParseConfig([]byte(strings.ReplaceAll(w.Config, worlds.Dir, "/node")))
			check.Must(t, err)
			r, err := Run(t.Context(), []File{{Name: "all.json", Data: manifestOf(t, &w)}}, Options{Config: config, ConfigFile: "plexus.conf"})
			check.Must(t, err)
			told := slices.ContainsFunc(r.Findings, func(f Finding) bool { return f.Severity == Error && strings.Contains(w.Error, f.Message) })
			if !told {
				t.Errorf("ADD: %s\nhere: %+v", w.Error, r.Findings)
			}
		})
	}
	if shown < 40 {
		t.Errorf("only %d worlds are examined", shown)
	}
}
