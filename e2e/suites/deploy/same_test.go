package deploy

import (
	"bytes"
	"cmp"
	"maps"
	"os/exec"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
)

// TestKubeDeploySame compares what the chart makes with what kustomize makes, for each overlay.
func TestKubeDeploySame(t *testing.T) {
	for name, o := range overlays {
		t.Run(name, func(t *testing.T) {
			want := normal(kustomize(t, o.dir))
			if len(want) < 9 {
				t.Fatalf("only %d objects", len(want))
			}
			values := maps.Clone(o.values)
			values["namespace"] = map[string]any{"create": true}
			compare(t, want, normal(helm(t, values)))
			// By itself, the chart leaves the release's namespace to Helm.
			delete(want, "Namespace /"+namespace)
			compare(t, want, normal(helm(t, o.values)))
		})
	}
}

func compare(t *testing.T, want, got map[string]any) {
	t.Helper()
	names := gocmp.Diff(slices.Sorted(maps.Keys(want)), slices.Sorted(maps.Keys(got)))
	if names != "" {
		t.Errorf("kustomize (-) and the chart (+) make different objects:\n%s", names)
	}
	for name := range want {
		if diff := gocmp.Diff(want[name], got[name]); diff != "" {
			t.Errorf("%s of kustomize (-) and of the chart (+):\n%s", name, diff)
		}
	}
}

// normal gives the objects by kind and name, without what Helm adds, and lists of named things in
// the order of their names.
func normal(all []*unstructured.Unstructured) map[string]any {
	byName := map[string]any{}
	for _, object := range all {
		labels, annotations := object.GetLabels(), object.GetAnnotations()
		maps.DeleteFunc(labels, func(key, _ string) bool {
			return key == "helm.sh/chart" || slices.Contains([]string{"instance", "version", "managed-by"}, strings.TrimPrefix(key, "app.kubernetes.io/"))
		})
		if object.GetKind() == "CustomResourceDefinition" { // Multus's has no labels either
			delete(labels, "app.kubernetes.io/name")
		}
		delete(annotations, "helm.sh/resource-policy")
		object.SetLabels(nilIfEmpty(labels))
		object.SetAnnotations(nilIfEmpty(annotations))
		byName[object.GetKind()+" "+object.GetNamespace()+"/"+object.GetName()] = sorted(object.Object)
	}
	return byName
}

func nilIfEmpty(m map[string]string) map[string]string {
	if len(m) == 0 {
		return nil
	}
	return m
}

func sorted(value any) any {
	switch value := value.(type) {
	case map[string]any:
		maps.DeleteFunc(value, func(_ string, v any) bool { return v == nil })
		for key := range value {
			value[key] = sorted(value[key])
		}
	case []any:
		for i := range value {
			value[i] = sorted(value[i])
		}
		slices.SortStableFunc(value, func(a, b any) int { return cmp.Compare(nameOf(a), nameOf(b)) })
	}
	return value
}

func nameOf(value any) string {
	object, _ := value.(map[string]any)
	name, _ := object["name"].(string)
	return name
}

// TestKubeDeployValues tells the chart values that it must refuse.
func TestKubeDeployValues(t *testing.T) {
	for _, bad := range []struct{ set, want string }{
		{"unknown=1", "unknown"},
		{"paths.unknown=/x", "unknown"},
		{"paths.cniBin=opt/cni/bin", "/paths/cniBin"},
		{"metrics.port=0", "/metrics/port"},
		{"dra.drivers={Not_a_driver}", "/dra/drivers/0"},
		{"selinux=yes", "/selinux"},
		{"image.digest=sha256:1", "/image/digest"},
		{"log.format=xml", "/log/format"},
		{"agent.otlpEndpoint=collector:4317", "/agent/otlpEndpoint"},
		{"install.timeout=5", "/install/timeout"},
		{"monitoring.rules.runbookBase=docs/troubleshooting.md", "/monitoring/rules/runbookBase"},
		{"monitoring.rules.runbookBase=https://x#y", "/monitoring/rules/runbookBase"},
	} {
		var stderr bytes.Buffer
		cmd := exec.CommandContext(t.Context(), tool(t, binVar, "helm"), "template", "plexus", chart, "--set", bad.set)
		cmd.Stderr = &stderr
		if err := cmd.Run(); err == nil || !strings.Contains(stderr.String(), bad.want) {
			t.Errorf("%s: got %v: %s", bad.set, err, stderr.Bytes())
		}
	}
	output(t, tool(t, binVar, "helm"), "lint", "--strict", chart)
}
