package deploy

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	utilyaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

const (
	binVar    = "PLEXUS_DEPLOY_BIN"
	root      = "../../../deploy"
	chart     = root + "/chart/plexus"
	namespace = "plexus-system"
	agent     = "plexus-agent"
)

func TestMain(m *testing.M) { os.Exit(kube.Main(m)) }

// overlay is a kustomization and the values by which the chart makes the same objects.
type overlay struct {
	dir    string
	values map[string]any
}

var overlays = map[string]overlay{
	"default":    {dir: ".", values: map[string]any{}},
	"selinux":    {dir: "overlays/selinux", values: map[string]any{"selinux": true}},
	"openshift":  {dir: "overlays/openshift", values: map[string]any{"selinux": true, "openshift": map[string]any{"enabled": true}}},
	"monitoring": {dir: "overlays/monitoring", values: map[string]any{"monitoring": map[string]any{"enabled": true}}},
	"k3s":        {dir: "overlays/k3s", values: k3sValues},
	"dra":        {dir: "overlays/dra", values: map[string]any{"dra": map[string]any{"enabled": true}}},
	"taint":      {dir: "overlays/taint", values: map[string]any{"agent": map[string]any{"removeTaint": "plexus-cni.io/not-ready"}}},
}

var k3sValues = map[string]any{
	"paths": map[string]any{
		"cniBin": "/var/lib/rancher/k3s/data/cni", "cniConf": "/var/lib/rancher/k3s/agent/etc/cni/net.d",
	},
	"install": map[string]any{
		"kubeconfig":        "/var/lib/rancher/k3s/agent/kubelet.kubeconfig",
		"extraVolumeMounts": []any{map[string]any{"name": "k3s-data", "mountPath": "/var/lib/rancher/k3s/data", "readOnly": true}},
	},
	"extraVolumes": []any{map[string]any{
		"name": "k3s-data", "hostPath": map[string]any{"path": "/var/lib/rancher/k3s/data", "type": "Directory"},
	}},
}

// everyValue sets each value of the chart that adds something.
var everyValue = map[string]any{
	"image": map[string]any{
		"repository": "images.example/plexus", "digest": "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef", "pullPolicy": "Always",
	},
	"imagePullSecrets": []any{map[string]any{"name": "pull"}},
	"paths":            map[string]any{"run": "/var/run/plexus", "podResources": "/data/kubelet/pod-resources"},
	"install": map[string]any{
		"master": "10-flannel.conflist", "confName": "01-plexus.conflist", "networkName": "all", "readinessFile": "/run/flannel/subnet.env",
		"pluginLogLevel": "debug", "pluginLogFile": "/var/log/plexus.log", "timeout": "5m",
		"extraConfig": map[string]any{"namespaceIsolation": true},
		"extraEnv":    []any{map[string]any{"name": "A", "value": "b"}},
	},
	"agent": map[string]any{
		"eventsForAllPods": true, "removeTaint": "example.com/wait", "otlpEndpoint": "https://collector.observability:4318",
		"otlpCA":            map[string]any{"configMap": "bundle", "key": "bundle.pem"},
		"extraEnv":          []any{map[string]any{"name": "C", "value": "d"}},
		"extraVolumes":      []any{map[string]any{"name": "extra", "emptyDir": map[string]any{}}},
		"extraVolumeMounts": []any{map[string]any{"name": "extra", "mountPath": "/extra", "readOnly": true}},
	},
	"log":       map[string]any{"format": "json", "level": "debug"},
	"apiServer": map[string]any{"host": "192.0.2.1", "port": 6443},
	"metrics":   map[string]any{"port": 19729, "followPort": 19730, "onNodeAddress": true, "tls": map[string]any{"secret": "metrics", "clientConfig": map[string]any{"serverName": "plexus"}}},
	"monitoring": map[string]any{
		"enabled":        true,
		"serviceMonitor": map[string]any{"enabled": false},
		"podMonitor":     map[string]any{"enabled": true, "interval": "1m", "labels": map[string]any{"release": "prometheus"}},
		"rules":          map[string]any{"labels": map[string]any{"release": "prometheus"}},
	},
	"window":               map[string]any{"netnsDirs": []any{"/run/netns", "/run/docker/netns"}},
	"dra":                  map[string]any{"enabled": true, "drivers": []any{"sriov.example.com", "nic.example.com"}},
	"enabled":              true,
	"nameOverride":         "cni",
	"commonLabels":         map[string]any{"app.kubernetes.io/part-of": "network", "team": "net"},
	"serviceAccount":       map[string]any{"name": "cni", "annotations": map[string]any{"example.com/role": "x"}},
	"flowSchema":           map[string]any{"enabled": true},
	"openshift":            map[string]any{"enabled": true},
	"selinux":              true,
	"dnsPolicy":            "ClusterFirstWithHostNet",
	"nodeSelector":         map[string]any{"kubernetes.io/os": "linux", "plexus": "yes"},
	"affinity":             map[string]any{"nodeAffinity": map[string]any{}},
	"minReadySeconds":      10,
	"daemonSetAnnotations": map[string]any{"e": "f"},
	"podAnnotations":       map[string]any{"a": "b"},
	"podLabels":            map[string]any{"c": "d"},
	"updateStrategy":       map[string]any{"type": "OnDelete", "rollingUpdate": nil},
}

// tool gives the path of an executable, or skips the test if its folder is not given.
func tool(t testing.TB, variable, name string) string {
	t.Helper()
	dir := os.Getenv(variable)
	if dir == "" {
		t.Skipf("%s is not set: it names the folder of %s, which e2e/tools/build prints", variable, name)
	}
	return filepath.Join(dir, name)
}

// output runs a command and gives its standard output.
func output(t testing.TB, name string, args ...string) []byte {
	t.Helper()
	var stdout, stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), name, args...)
	cmd.Stdout, cmd.Stderr = &stdout, &stderr
	home := t.TempDir()
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+home, "HELM_CONFIG_HOME="+home, "HELM_DATA_HOME="+home)
	if err := cmd.Run(); err != nil {
		t.Fatalf("%s %v: %v: %s", filepath.Base(name), args, err, stderr.Bytes())
	}
	return stdout.Bytes()
}

// kustomize renders a kustomization as kubectl apply -k does.
func kustomize(t testing.TB, dir string) []*unstructured.Unstructured {
	t.Helper()
	return objects(t, output(t, tool(t, kube.BinVar, "kubectl"), "kustomize", filepath.Join(root, dir)))
}

// helm renders the chart.
func helm(t testing.TB, values map[string]any) []*unstructured.Unstructured {
	t.Helper()
	return objects(t, output(t, tool(t, binVar, "helm"), "template", "plexus", chart, "--skip-tests", "--namespace", namespace, "--values", valuesFile(t, values)))
}

func valuesFile(t testing.TB, values map[string]any) string {
	t.Helper()
	data, err := json.Marshal(values)
	if err != nil {
		t.Fatal(err)
	}
	path := filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(path, data, 0o600); err != nil {
		t.Fatal(err)
	}
	return path
}

// objects reads a stream of YAML documents in which no key may come twice.
func objects(t testing.TB, data []byte) []*unstructured.Unstructured {
	t.Helper()
	var found []*unstructured.Unstructured
	documents := utilyaml.NewYAMLReader(bufio.NewReader(bytes.NewReader(data)))
	for {
		document, err := documents.Read()
		if errors.Is(err, io.EOF) {
			return found
		}
		if err == nil {
			document, err = yaml.YAMLToJSONStrict(document)
		}
		if err != nil {
			t.Fatal(err)
		}
		object := &unstructured.Unstructured{}
		if bytes.Equal(bytes.TrimSpace(document), []byte("null")) {
			continue
		}
		if err := object.UnmarshalJSON(document); err != nil {
			t.Fatalf("%v: %s", err, document)
		}
		found = append(found, object)
	}
}

func find(t testing.TB, all []*unstructured.Unstructured, kind string) *unstructured.Unstructured {
	t.Helper()
	i := slices.IndexFunc(all, func(o *unstructured.Unstructured) bool { return o.GetKind() == kind })
	if i < 0 {
		t.Fatalf("there is no %s", kind)
	}
	return all[i]
}

func daemonSet(t testing.TB, all []*unstructured.Unstructured) *appsv1.DaemonSet {
	t.Helper()
	data, err := find(t, all, "DaemonSet").MarshalJSON()
	if err != nil {
		t.Fatal(err)
	}
	set := &appsv1.DaemonSet{}
	if err := yaml.UnmarshalStrict(data, set); err != nil {
		t.Fatal(err)
	}
	return set
}

// renderings are all that this package looks at, by what makes them.
func renderings(t *testing.T) map[string][]*unstructured.Unstructured {
	t.Helper()
	all := map[string][]*unstructured.Unstructured{"helm, every value": helm(t, everyValue)}
	for name, o := range overlays {
		all["kustomize "+name] = kustomize(t, o.dir)
		all["helm "+name] = helm(t, o.values)
	}
	return all
}
