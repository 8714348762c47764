package window

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"

	"github.com/plexus-cni/plexus/internal/explain"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

const (
	webPod = `apiVersion: v1
kind: Pod
metadata: {name: web, namespace: shop, annotations: {k8s.v1.cni.cncf.io/networks: "lan@data"}}
spec: {containers: [{name: c, image: x}]}
`
	lanNetwork = `---
apiVersion: k8s.cni.cncf.io/v1
kind: NetworkAttachmentDefinition
metadata: {name: lan, namespace: shop}
spec: {config: '{"cniVersion": "1.0.0", "name": "lan", "plugins": [{"type": "bridge", "ipam": {"type": "host-local"}, "apiToken": "s3cret"}, {"type": "tuning"}]}'}
`
	plexusList = `{"cniVersion": "1.0.0", "name": "outer", "plugins": [{"type": "other"}, {"type": "plexus", "binDir": "BIN",
	"delegates": [{"cniVersion": "1.0.0", "name": "podnet", "type": "ptp"}]}]}`
)

// write writes a file into a folder of the test, and gives its path.
func write(t *testing.T, dir, name, content string) string {
	t.Helper()
	path := filepath.Join(dir, name)
	check.Must(t, os.MkdirAll(filepath.Dir(path), 0o755))
	check.Must(t, os.WriteFile(path, []byte(content), 0o600))
	return path
}

// elsewhereConfig writes a configuration whose folder of plugins this machine has not.
func elsewhereConfig(t *testing.T, dir string) string {
	t.Helper()
	return write(t, dir, "00-plexus.conflist", strings.ReplaceAll(plexusList, "BIN", filepath.Join(dir, "no-bin")))
}

func explained(t *testing.T, got ran) *explain.Document {
	t.Helper()
	if got.code != exitFine && got.code != exitWrong {
		t.Fatalf("exit code %d: %s", got.code, got.stderr)
	}
	var document explain.Document
	check.Must(t, json.Unmarshal([]byte(got.stdout), &document))
	return &document
}

func TestExplainFiles(t *testing.T) {
	dir := t.TempDir()
	config := elsewhereConfig(t, dir)
	write(t, dir, "all/pod.yaml", webPod)
	write(t, dir, "all/net.yml", lanNetwork)
	write(t, dir, "all/notes.txt", "kind: [")
	for name, tc := range map[string]struct {
		stdin string
		args  []string
	}{
		"a folder":           {"", []string{"-f", dir + "/all"}},
		"files":              {"", []string{"-f", dir + "/all/pod.yaml", "-f", dir + "/all/net.yml"}},
		"a list of files":    {"", []string{"-f", dir + "/all/pod.yaml," + dir + "/all/net.yml"}},
		"standard input":     {webPod + lanNetwork, []string{"-f", "-"}},
		"one of them":        {"", []string{"pod", "shop/web", "-f", dir + "/all"}},
		"one of a namespace": {"", []string{"pod", "web", "-n", "shop", "-f", dir + "/all"}},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, tc.stdin, append([]string{"explain", "--config", config, "-o", "json"}, tc.args...)...)
			check.Equal(t, "exit code", got.code, exitFine)
			document := explained(t, got)
			check.Equal(t, "configuration", document.Node.Configuration, config)
			check.Equal(t, "assumed", document.Node.Assumed, []string{"every plugin is there: this machine has no " + filepath.Join(dir, "no-bin")})
			var interfaces []string
			for _, a := range document.Pods[0].Attachments {
				interfaces = append(interfaces, a.Interface+"="+a.Network)
			}
			check.Equal(t, "interfaces", interfaces, []string{"eth0=podnet", "data=shop/lan"})
		})
	}
}

// A command line that makes no sense is 2, what cannot be looked at is 3. Both name what is wrong.
func TestExplainRefuses(t *testing.T) {
	dir := t.TempDir()
	config := elsewhereConfig(t, dir)
	pod, other := write(t, dir, "pod.yaml", webPod), write(t, dir, "other.conf", `{"type": "bridge"}`)
	fileNetwork := write(t, dir, "file.yaml", webPod+strings.Split(lanNetwork, "spec:")[0])
	for name, tc := range map[string]struct {
		args []string
		code int
		want string
	}{
		"no pod":                {nil, exitUsage, "which pod?"},
		"not a pod":             {[]string{"node", "n1"}, exitUsage, `"node" cannot be explained`},
		"no name":               {[]string{"pod"}, exitUsage, "takes one name, got 0"},
		"two names":             {[]string{"pod", "a", "b"}, exitUsage, "takes one name, got 2"},
		"no namespace":          {[]string{"pod", "/web"}, exitUsage, `"/web" is not the name of a pod`},
		"a name too many":       {[]string{"pod", "a/b/c"}, exitUsage, `"a/b/c" is not the name of a pod`},
		"no such format":        {[]string{"-f", pod, "-o", "xml"}, exitUsage, `--output: "xml" is not one of text, json, yaml`},
		"no such file":          {[]string{"-f", dir + "/gone.yaml"}, exitBlind, "-f " + dir + "/gone.yaml: stat "},
		"not a manifest":        {[]string{"-f", other}, exitBlind, "-f " + other + ": manifest " + other + ", document 1: is not a Kubernetes object"},
		"no pod in files":       {[]string{"-f", write(t, dir, "net.yaml", lanNetwork)}, exitBlind, "there is no Pod in " + dir + "/net.yaml"},
		"another pod":           {[]string{"pod", "shop/db", "-f", pod}, exitBlind, "pod shop/db: not found: no manifest has it"},
		"no configuration":      {[]string{"-f", pod, "--config", dir + "/gone"}, exitBlind, "--config " + dir + "/gone: open "},
		"another configuration": {[]string{"-f", pod, "--config", other}, exitBlind, "--config " + other + ": no plugin in it has the type plexus"},
		"a file of the node":    {[]string{"-f", fileNetwork, "--config", config}, exitBlind, "run explain on the node"},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, "", append([]string{"explain"}, tc.args...)...)
			check.Equal(t, "exit code", got.code, tc.code)
			check.Equal(t, "stdout", got.stdout, "")
			check.Contains(t, "stderr", got.stderr, "kubectl-plexus: ", tc.want)
		})
	}
}

// The configuration of plexus itself may be what ADD fails of.
func TestExplainBrokenConfig(t *testing.T) {
	dir := t.TempDir()
	pod, config := write(t, dir, "pod.yaml", webPod), write(t, dir, "plexus.conf", `{"name": "outer", "type": "plexus", "confDir": "x"}`)
	got := runWith(t, "", "explain", "-f", pod, "--config", config, "-o", "json")
	check.Equal(t, "exit code", got.code, exitWrong)
	refused := explained(t, got).Pods[0].Refused
	check.Equal(t, "code", refused.Code, types.CodeInvalidConfig)
	check.Contains(t, "message", refused.Message, `configuration of plexus, network "outer": `, "confDir: must be an absolute path")
}

// What the annotation has and nobody reads deserves a warning, as in ADD's log.
func TestExplainWarns(t *testing.T) {
	dir := t.TempDir()
	pod := strings.ReplaceAll(webPod, `"lan@data"`, `'[{"name": "lan", "color": "red"}]'`)
	got := runWith(t, pod+lanNetwork, "explain", "-f", "-", "--config", elsewhereConfig(t, dir), "-o", "json")
	check.Equal(t, "warnings", len(explained(t, got).Pods[0].Warnings), 1)
	check.Contains(t, "warning", explained(t, got).Pods[0].Warnings[0], "unknown keys, ignored", "color")
}

func TestExplainMasksSecrets(t *testing.T) {
	config := elsewhereConfig(t, t.TempDir())
	for name, tc := range map[string]struct {
		args []string
		want string
	}{
		"masked": {nil, `"apiToken":"***"`},
		"shown":  {[]string{"--show-secrets"}, `"apiToken":"s3cret"`},
	} {
		t.Run(name, func(t *testing.T) {
			got := runWith(t, webPod+lanNetwork, append([]string{"explain", "-f", "-", "--config", config, "-o", "json"}, tc.args...)...)
			check.Contains(t, "stdin", explained(t, got).Pods[0].Attachments[1].Plugins[0].Stdin, tc.want)
		})
	}
}

// Without a configuration its defaults count, and the default network is not known.
func TestExplainWithoutConfig(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "10-other.conflist", `{"name": "x", "plugins": [{"type": "bridge"}]}`)
	write(t, dir, "11-broken.conf", "{")
	n, err := openNode("", dir)
	check.Must(t, err)
	check.Equal(t, "configuration", n.file, "")
	check.Contains(t, "assumed", strings.Join(n.assumed, "\n"), "there is none in "+dir)
	facts := &types.Facts{Pod: types.Pod{Namespace: "shop", Name: "web"}}
	pod, err := n.explain(t.Context(), facts, false)
	check.Must(t, err)
	want := []explain.Attachment{{Network: unknownNetwork, Interface: "eth0", Default: true, Assumed: true, From: explain.Origin{Field: "delegates[0]"}}}
	check.Equal(t, "attachments", pod.Attachments, want)

	elsewhereConfig(t, dir)
	write(t, dir, "99-plexus.conf", `{"type": "plexus", "name": "second"}`)
	n, err = openNode("", dir)
	check.Must(t, err)
	check.Equal(t, "configuration", n.file, filepath.Join(dir, "00-plexus.conflist"))
	check.Equal(t, "name of the list", n.config.Name+" "+n.config.CNIVersion, "outer 1.0.0")
}

// The runtime takes the first file: what is broken, or another's, and sorts before ours, is said.
func TestExplainWarnsOfTheFilesBeforeOurs(t *testing.T) {
	dir := t.TempDir()
	write(t, dir, "05-half.conflist", `{"name": "x", "plugins": [`)
	write(t, dir, "06-other.conf", `{"name": "x", "type": "bridge"}`)
	write(t, dir, "10-plexus.conf", `{"type": "plexus", "name": "p", "cniVersion": "1.0.0", "clusterNetwork": "/x.conf"}`)
	write(t, dir, "20-behind.conf", `{"name": "y", "type": "bridge"}`)
	n, err := openNode("", dir)
	check.Must(t, err)
	check.Equal(t, "configuration", n.file, filepath.Join(dir, "10-plexus.conf"))
	check.Equal(t, "warnings", len(n.warnings), 2)
	check.Contains(t, "warnings", strings.Join(n.warnings, "\n"), "05-half.conflist is broken: ", "06-other.conf sorts before 10-plexus.conf")

	write(t, dir, "10-plexus.conf", `{"type": "plexus", "name": 7}`)
	n, err = openNode("", dir)
	check.Must(t, err)
	check.Equal(t, "configuration", n.file, "")
	check.Contains(t, "warnings", strings.Join(n.warnings, "\n"), "10-plexus.conf is broken: ")
}

// A network without a version gets that of the call here; ADD asks its plugins.
func TestExplainAssumesVersions(t *testing.T) {
	network := strings.ReplaceAll(lanNetwork, `"cniVersion": "1.0.0", `, "")
	got := runWith(t, webPod+network, "explain", "-f", "-", "--config", elsewhereConfig(t, t.TempDir()), "-o", "json")
	pod := explained(t, got).Pods[0]
	check.Equal(t, "assumed", pod.Assumed, []string{
		"the plugins of a network without a cniVersion speak that of the runtime's call, 1.0.0; ADD asks them: bridge, host-local, tuning",
	})
	check.Contains(t, "stdin", pod.Attachments[1].Plugins[0].Stdin, `"cniVersion":"1.0.0"`)
}

// On a node its own executables count.
func TestExplainLooksForPlugins(t *testing.T) {
	dir := t.TempDir()
	t.Setenv("CNI_PATH", "")
	bin := filepath.Join(dir, "bin")
	config := write(t, dir, "00-plexus.conflist", strings.ReplaceAll(plexusList, "BIN", bin))
	for _, plugin := range []string{"ptp", "bridge", "host-local"} {
		check.Must(t, os.Chmod(write(t, dir, "bin/"+plugin, "#!/bin/sh\n"), 0o700))
	}
	got := runWith(t, webPod+lanNetwork, "explain", "-f", "-", "--config", config, "-o", "json")
	want := `pod shop/web: network shop/lan: plugins[1].type: plugin "tuning" is not in "` + bin + `"`
	check.Equal(t, "refused", explained(t, got).Pods[0].Refused, &explain.Refusal{Code: types.CodeInvalidConfig, Message: want})
	check.Equal(t, "assumed", explained(t, got).Node.Assumed, nil)
}

// A pod gets as many devices as it requests, and those that it names.
func TestExplainDevices(t *testing.T) {
	network := strings.ReplaceAll(lanNetwork, "name: lan,", `name: lan, annotations: {k8s.v1.cni.cncf.io/resourceName: example.com/vf},`)
	pod := func(annotation, resources string) string {
		return strings.NewReplacer(`"lan@data"`, annotation, "image: x", "image: x, resources: "+resources).Replace(webPod)
	}
	none := `{limits: {cpu: 1}}`
	for name, tc := range map[string]struct {
		pod  string
		want []string // devices, or the refusal
	}{
		"one": {pod("lan", `{limits: {example.com/vf: 1}}`), []string{"DEVICE-1-OF-example.com/vf"}},
		"two": {pod(`"lan,lan"`, `{limits: {example.com/vf: "2"}}`), []string{"DEVICE-1-OF-example.com/vf", "DEVICE-2-OF-example.com/vf"}},
		"one is named": {
			pod(`'[{"name": "lan"}, {"name": "lan", "deviceID": "0000:3b:02.1"}]'`, `{limits: {example.com/vf: 2}}`),
			[]string{"DEVICE-2-OF-example.com/vf", "0000:3b:02.1"},
		},
		"too few": {pod(`"lan,lan"`, `{limits: {example.com/vf: 1}}`), []string{
			`pod shop/web: network shop/lan: resource example.com/vf: no device is left for this attachment; ` +
				`allocated to the pod: device "DEVICE-1-OF-example.com/vf" of resource example.com/vf (for network shop/lan)`,
		}},
		"none": {pod("lan", none), []string{
			`pod shop/web: network shop/lan: resource example.com/vf: no device is left for this attachment; allocated to the pod: none, since no container of it requests one`,
		}},
	} {
		t.Run(name, func(t *testing.T) {
			dir := t.TempDir()
			noKubelet := strings.ReplaceAll(plexusList, `"binDir"`, `"podResourcesSocket": "`+dir+`/no.sock", "binDir"`)
			config := write(t, dir, "plexus.conflist", strings.ReplaceAll(noKubelet, "BIN", dir+"/no-bin"))
			got := explained(t, runWith(t, tc.pod+network, "explain", "-f", "-", "--config", config, "-o", "json")).Pods[0]
			var devices []string
			for _, a := range got.Attachments {
				if a.Device != nil {
					devices = append(devices, a.Device.ID)
				}
			}
			if got.Refused != nil {
				devices = append(devices, got.Refused.Message)
			}
			check.Equal(t, "devices", devices, tc.want)
			check.Contains(t, "assumed", strings.Join(got.Assumed, "\n"), "the kubelet allocates as many devices as the pod requests", "example.com/vf")
		})
	}
}

func TestRequests(t *testing.T) {
	limits := func(n int64) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{Limits: corev1.ResourceList{
			"cpu": resource.MustParse("1"), "example.com/vf": *resource.NewQuantity(n, resource.DecimalSI),
		}}
	}
	always := corev1.ContainerRestartPolicyAlways
	for name, tc := range map[string]struct {
		spec corev1.PodSpec
		want map[string]int
	}{
		"none":                        {corev1.PodSpec{}, map[string]int{}},
		"of two containers":           {corev1.PodSpec{Containers: []corev1.Container{{Resources: limits(1)}, {Resources: limits(2)}}}, map[string]int{"example.com/vf": 3}},
		"of an init container":        {corev1.PodSpec{Containers: []corev1.Container{{Resources: limits(1)}}, InitContainers: []corev1.Container{{Resources: limits(1)}}}, map[string]int{"example.com/vf": 1}},
		"of a larger init container":  {corev1.PodSpec{Containers: []corev1.Container{{Resources: limits(1)}}, InitContainers: []corev1.Container{{Resources: limits(4)}}}, map[string]int{"example.com/vf": 4}},
		"of one that keeps its count": {corev1.PodSpec{Containers: []corev1.Container{{Resources: limits(1)}}, InitContainers: []corev1.Container{{Resources: limits(1), RestartPolicy: &always}}}, map[string]int{"example.com/vf": 2}},
	} {
		t.Run(name, func(t *testing.T) { check.Equal(t, "requests", requests(&tc.spec), tc.want) })
	}
}

// The API server is asked as the flags say. What it does not let the user read is not a verdict.
func TestExplainOfCluster(t *testing.T) {
	answers := map[string]string{
		"/api/v1/namespaces/shop/pods/web":                                            `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "web", "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/networks": "lan"}}}`,
		"/apis/k8s.cni.cncf.io/v1/namespaces/shop/network-attachment-definitions/lan": `{"metadata": {"name": "lan"}, "spec": {"config": "{\"cniVersion\": \"1.0.0\", \"type\": \"bridge\"}"}}`,
	}
	forbidden := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		switch answer, known := answers[r.URL.Path]; {
		case r.URL.Path == forbidden:
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no"}`))
		case known:
			_, _ = w.Write([]byte(answer))
		default:
			w.WriteHeader(http.StatusNotFound)
			_, _ = w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404, "message": "none"}`))
		}
	}))
	defer server.Close()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	run := func(pod string) ran {
		return runWith(t, "", "explain", "pod", pod, "--server", server.URL, "-n", "shop", "--config", elsewhereConfig(t, t.TempDir()), "-o", "json")
	}
	document := explained(t, run("web"))
	check.Equal(t, "network", document.Pods[0].Attachments[1].Network, "shop/lan")

	got := run("shop/gone")
	check.Equal(t, "exit code of a pod that is not there", got.code, exitBlind)
	check.Contains(t, "stderr", got.stderr, "pod shop/gone: not found")

	forbidden = "/apis/k8s.cni.cncf.io/v1/namespaces/shop/network-attachment-definitions/lan"
	got = run("web")
	check.Equal(t, "exit code of a network that may not be read", got.code, exitBlind)
	check.Contains(t, "stderr", got.stderr, "network shop/lan: ", "may not read networks")

	forbidden = ""
	delete(answers, "/apis/k8s.cni.cncf.io/v1/namespaces/shop/network-attachment-definitions/lan")
	got = run("web")
	check.Equal(t, "exit code of a network that is not there", got.code, exitWrong)
	check.Equal(t, "refused", explained(t, got).Pods[0].Refused.Message, `pod shop/web: network shop/lan: there is no NetworkAttachmentDefinition "lan" in namespace "shop"`)
}
