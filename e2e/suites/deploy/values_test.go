package deploy

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	gocmp "github.com/google/go-cmp/cmp"

	plexus "github.com/plexus-cni/plexus/types"
)

// refusal renders the chart with settings of --set-json, and gives why Helm refuses them, or "".
func refusal(t *testing.T, settings ...string) string {
	t.Helper()
	args := []string{"template", "plexus", chart, "--namespace", namespace}
	for _, setting := range settings {
		args = append(args, "--set-json", setting)
	}
	var stderr bytes.Buffer
	cmd := exec.CommandContext(t.Context(), tool(t, binVar, "helm"), args...)
	cmd.Stderr = &stderr
	err := cmd.Run()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	if err == nil {
		return ""
	}
	return stderr.String()
}

// misused reports whether plexus-agent install refuses its flags on a node that has all it needs.
func misused(t *testing.T, args ...string) (bool, string) {
	t.Helper()
	bin := os.Getenv("PLEXUS_BIN")
	if bin == "" {
		t.Skip("PLEXUS_BIN is not set: it names the folder of plexus-agent, which make build fills")
	}
	dir := t.TempDir()
	for name, content := range map[string]string{
		"net.d/10-cbr0.conf": `{"cniVersion":"1.0.0","name":"cbr0","type":"bridge"}`, "bin/bridge": "#!", "from/plexus": "#!", "from/plexus-once": "#!",
	} {
		path := filepath.Join(dir, name)
		if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, []byte(content), 0o755)); err != nil {
			t.Fatal(err)
		}
	}
	out, err := exec.CommandContext(t.Context(), filepath.Join(bin, "plexus-agent"), append([]string{
		"install", "--dry-run", "--from", dir + "/from", "--bin-dir", dir + "/bin", "--conf-dir", dir + "/net.d",
	}, args...)...).CombinedOutput()
	var exit *exec.ExitError
	if err != nil && !errors.As(err, &exit) {
		t.Fatal(err)
	}
	return exit != nil && exit.ExitCode() == 2, string(out)
}

var (
	badPaths  = []string{"relative", "./x", "x/y"}
	goodPaths = []string{"/opt/cni/bin", "/a", "/with space/x"}
)

// TestKubeDeploySameChecks gives values to the chart, and to the flag that they become: what the
// program refuses, the chart must refuse before anything is installed.
func TestKubeDeploySameChecks(t *testing.T) {
	for _, test := range []struct {
		value, flag string
		good, bad   []string
	}{
		{"paths.cniBin", "host-bin-dir", goodPaths, badPaths},
		{"paths.cniConf", "host-conf-dir", []string{"/etc/cni/net.d", "/a"}, badPaths},
		{"paths.cniState", "cni-dir", goodPaths, badPaths},
		{"paths.run", "socket", goodPaths, badPaths},
		{"paths.podResources", "pod-resources-socket", append([]string{""}, goodPaths...), badPaths},
		{"install.kubeconfig", "host-kubeconfig", []string{"", "/etc/kubernetes/kubelet.conf"}, badPaths},
		{"install.readinessFile", "readiness-file", []string{"", "/run/flannel/subnet.env"}, badPaths},
		{"install.pluginLogFile", "plugin-log-file", append([]string{""}, goodPaths...), badPaths},
		{"install.pluginLogLevel", "plugin-log-level", append([]string{""}, plexus.LogLevels...), []string{"loud", "trace", "debug "}},
		{"install.master", "master", []string{"", "10-flannel.conflist", "cbr0"}, []string{"/etc/cni/net.d/10-flannel.conflist", "a/b", "00-plexus.conflist"}},
		{"install.confName", "conf-name", []string{"01-plexus.conflist", "a b.conflist"}, []string{
			"01-plexus.conf", "conflist", ".conflist", ".a.conflist", "a/b.conflist", "../b.conflist", "x.conflist.bak",
		}},
		{"install.networkName", "network-name", []string{"all", "A_b.c-d", "0"}, []string{"-a", ".a", "a b", "a/b", "ä", "a:b"}},
		{"install.timeout", "timeout", []string{"0", "5m", "1.5h", "1h30m", "90s", "500ms"}, []string{
			"5", "-5m", "5 m", "m", "five", "1d", "99999999999999h", ".", "5m5",
		}},
		{"log.level", "log-level", []string{"debug", "info", "warn", "error"}, []string{"loud", "warning", "1"}},
		{"log.format", "log-format", []string{"text", "json"}, []string{"xml", "JSON", "logfmt"}},
	} {
		t.Run(test.value, func(t *testing.T) {
			t.Parallel()
			for _, text := range slices.Concat(test.good, test.bad) {
				quoted, err := json.Marshal(text)
				if err != nil {
					t.Fatal(err)
				}
				checkBoth(t, test.value+"="+string(quoted), "--"+test.flag+"="+text, slices.Contains(test.bad, text))
			}
		})
	}
}

// checkBoth holds the chart and the program to one judgement of a setting.
func checkBoth(t *testing.T, setting, flag string, bad bool) {
	t.Helper()
	refused, said := misused(t, flag)
	if refused != bad {
		t.Errorf("plexus-agent %s: refused: %v, want %v: %s", flag, refused, bad, said)
	}
	value, _, _ := strings.Cut(setting, "=")
	why := refusal(t, setting)
	if (why != "") != bad || bad && !strings.Contains(why, value) && !strings.Contains(why, "/"+strings.ReplaceAll(value, ".", "/")) {
		t.Errorf("--set-json %s: Helm says %q, refused must be %v, by the name of the value", setting, why, bad)
	}
}

func TestKubeDeployExtraConfigChecks(t *testing.T) {
	for _, object := range []string{
		`{"namespaceIsolation": true}`, `{"addTimeout": "2m", "result": "all"}`, `{"allowedPlugins": {"*": ["bridge"]}}`, `{"startAhead": ["bridge"]}`, `{"startAhead": []}`,
		`{"capabilities": {"portMappings": true}}`, `{"logOptions": {"maxAge": 5, "compress": false}}`, `{"firstInterfaceIndex": 1}`,
		`{"defaultNetworks": ["a"], "globalNamespaces": "a,b", "systemNamespaces": ["kube-system"]}`,
	} {
		checkBoth(t, "install.extraConfig="+object, "--extra-config="+object, false)
	}
	for _, key := range []string{"confDir", "cniDir", "binDir", "readinessindicatorfile", "agentSocket", "manifests", "podResourcesSocket", "deviceCheckpoint", "logFile"} {
		checkBoth(t, `install.extraConfig={"`+key+`": "relative"}`, `--extra-config={"`+key+`": "relative"}`, true)
	}
	for _, object := range []string{
		`{"type": "x"}`, `{"name": "x"}`, `{"cniVersion": "1.0.0"}`, `{"cniVersions": []}`, `{"clusterNetwork": "x"}`, `{"delegates": []}`,
		`{"Type": "x"}`, `{"namespaceIsolaton": true}`, `{"namespaceIsolation": "yes"}`, `{"result": "some"}`, `{"addTimeout": "5"}`,
		`{"addTimeout": 5}`, `{"kubeconfig": "relative"}`, `{"allowedPlugins": {"*": ["a/b"]}}`, `{"startAhead": ["a/b"]}`, `{"startAhead": "a"}`, `{"firstInterfaceIndex": -1}`,
		`{"defaultNetworks": [""]}`, `{"logOptions": {"maxAge": -1}}`, `{"logOptions": {"maxSize": -1}}`, `{"logOptions": {"maxBackups": -1}}`,
		`{"delegateTimeout": "5"}`, `{"auxiliaryCNIChainName": "a/b"}`, `{"logLevel": "loud"}`,
	} {
		checkBoth(t, "install.extraConfig="+object, "--extra-config="+object, true)
	}
}

// TestKubeDeployExtraConfigKeys compares the keys that the schema knows with those of a configuration.
func TestKubeDeployExtraConfigKeys(t *testing.T) {
	taken := []string{"type", "name", "cniVersion", "clusterNetwork", "delegates", "runtimeConfig", "prevResult", "cni.dev/valid-attachments"}
	var want []string
	for field := range reflect.TypeFor[plexus.Config]().Fields() {
		key, _, _ := strings.Cut(field.Tag.Get("json"), ",")
		if key != "" && key != "-" && !slices.Contains(taken, key) {
			want = append(want, key)
		}
	}
	schema := struct {
		Properties struct {
			Install struct {
				Properties struct {
					ExtraConfig struct{ Properties map[string]any }
				}
			}
		}
	}{}
	data, err := os.ReadFile(filepath.Join(chart, "values.schema.json"))
	if err == nil {
		err = json.Unmarshal(data, &schema)
	}
	if err != nil {
		t.Fatal(err)
	}
	var got []string
	for key := range schema.Properties.Install.Properties.ExtraConfig.Properties {
		got = append(got, key)
	}
	slices.Sort(want)
	slices.Sort(got)
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("keys of a configuration (-) and of the schema (+):\n%s", diff)
	}
}

// TestKubeDeployOtherChecks has values that Kubernetes, the container runtime, Prometheus or the SDK of
// OpenTelemetry would refuse, and some that it takes.
func TestKubeDeployOtherChecks(t *testing.T) {
	long := strings.Repeat("a", 300)
	for value, test := range map[string]struct{ good, bad []string }{
		"image.repository":     {[]string{`"localhost/plexus"`, `"a.example:5000/b/c-d"`, `"plexus"`}, []string{`""`, `"a b"`, `"A/B C"`, `"x/Plexus"`, `"x/plexus:v1"`, `"` + long + `"`}},
		"image.tag":            {[]string{`""`, `"v1.2.3-4-gabc"`}, []string{`"v1/2"`, `"-v1"`, `"v1:2"`, `1`}},
		"imagePullSecrets":     {[]string{`[{"name":"a"}]`}, []string{`[{}]`, `["a"]`, `[{"name":"A_b"}]`, `[{"name":"` + long + `"}]`}},
		"namespace.name":       {[]string{`"a-b"`}, []string{`"a.b"`, `"A"`, `"-a"`, `"` + long + `"`}},
		"nameOverride":         {[]string{`""`, `"cni"`}, []string{`"Cni"`, `"a_b"`, `"a.b"`, `"-a"`, `"` + long + `"`}},
		"commonLabels":         {[]string{`{"a/b":"c"}`, `{"a":""}`}, []string{`{"a b":"c"}`, `{"a":"c d"}`, `{"a":1}`, `{"app.kubernetes.io/name":"x"}`}},
		"podLabels":            {[]string{`{"a/b":"c"}`}, []string{`{"a":"-"}`, `{"app.kubernetes.io/component":"x"}`}},
		"podAnnotations":       {[]string{`{"a/b":"c d"}`}, []string{`{"a b":"c"}`, `{"kubectl.kubernetes.io/default-container":"x"}`}},
		"daemonSetAnnotations": {[]string{`{"a/b":"c d"}`}, []string{`{"a":1}`}},
		"minReadySeconds":      {[]string{`0`, `30`}, []string{`-1`, `"30"`, `1.5`, `86401`}},
		"serviceAccount.name":  {[]string{`"a.b-c"`}, []string{`"A"`, `"a/b"`, `"` + long + `"`}},
		"serviceAccount":       {[]string{`{"create":false,"name":"x"}`}, []string{`{"create":false}`}},
		"paths.cniState":       {[]string{`"/data/cni"`}, []string{`"/data/../cni"`, `"/data/cni/"`, `"/a:b"`, `"/"`}},
		"paths.cniBin":         {nil, []string{`"/etc/cni/net.d"`}},
		"paths.podResources":   {[]string{`"/data/pod-resources"`}, []string{`"/data/../pod-resources"`}},
		// Their folder is mounted: it must not be the node's root.
		"install.kubeconfig":    {[]string{`"/a/b"`}, []string{`"/kubelet.conf"`, `"/a/../b"`}},
		"install.readinessFile": {[]string{`"/a/b"`}, []string{`"/ready"`, `"/a/../b"`}},
		"agent.otlpEndpoint": {
			[]string{`""`, `"http://collector:4318"`, `"https://[2001:db8::1]:4318/v1"`},
			[]string{`"collector:4318"`, `"http://"`, `"http:///x"`, `"ftp://a"`, `"http://a b"`, `"http://a:port"`},
		},
		"agent": {
			[]string{
				`{"otlpEndpoint":"https://c:4318","otlpCA":{"configMap":"ca"}}`, `{"otlpEndpoint":"https://c:4318","otlpCA":{"secret":"a.b","key":"x.pem"}}`,
			},
			[]string{
				`{"otlpEndpoint":"http://c:4318","otlpCA":{"configMap":"ca"}}`, `{"otlpCA":{"secret":"ca"}}`,
				`{"otlpEndpoint":"https://c:4318","otlpCA":{"configMap":"ca","secret":"ca"}}`,
				`{"otlpEndpoint":"https://c:4318","otlpCA":{"configMap":"A/b"}}`, `{"otlpEndpoint":"https://c:4318","otlpCA":{"secret":"ca","key":"../x"}}`,
				`{"otlpEndpoint":"https://c:4318","otlpCA":{"secret":"ca","key":".."}}`, `{"otlpEndpoint":"https://c:4318","otlpCA":{"secret":"ca","key":""}}`,
			},
		},
		"agent.extraEnv": {
			[]string{`[{"name":"A","value":"b"}]`, `[{"name":"A","valueFrom":{"fieldRef":{"fieldPath":"spec.nodeName"}}}]`},
			[]string{
				`[{"name":"1"}]`, `[{"name":"A=B"}]`, `[{"value":"b"}]`, `[{"name":"A","value":"b","valueFrom":{"fieldRef":{}}}]`,
				`[{"name":"A","valueFrom":{}}]`, `[{"name":"A","valueFrom":{"fieldRef":{},"secretKeyRef":{}}}]`,
			},
		},
		"agent.extraVolumeMounts": {[]string{`[{"name":"ca","mountPath":"/ca","readOnly":true,"mountPropagation":"None","recursiveReadOnly":"Disabled"}]`}, []string{
			`[{"name":"ca"}]`, `[{"mountPath":"/ca"}]`, `[{"name":"C_a","mountPath":"/ca"}]`, `[{"name":"` + long + `","mountPath":"/ca"}]`,
			`[{"name":"ca","mountPath":"ca"}]`, `[{"name":"ca","mountPath":"/ca","readonly":true}]`,
			`[{"name":"ca","mountPath":"/ca","mountPropagation":"Both"}]`, `[{"name":"ca","mountPath":"/ca","recursiveReadOnly":"Yes"}]`,
		}},
		"extraVolumes": {[]string{`[{"name":"ca","configMap":{"name":"x"}}]`}, []string{
			`[{"emptyDir":{},"x":{}}]`, `[{"name":"ca"}]`, `[{"name":"ca","emptyDir":{},"hostPath":{"path":"/x"}}]`, `[{"name":"C_a","emptyDir":{}}]`,
			`[{"name":"` + long + `","emptyDir":{}}]`,
		}},
		"agent.resources": {[]string{`{"limits":{"memory":"100Mi"}}`, `{"requests":{"cpu":0.5}}`}, []string{`{"limits":{"memory":"lots"}}`, `{"limits":{"memory":"100 Mi"}}`, `{"limits":{"memory":-1}}`}},
		"apiServer.host":  {[]string{`"192.0.2.1"`, `"2001:db8::1"`, `"api.example"`}, []string{`"https://api.example"`, `"api.example:6443"`, `"a/b"`, `"[2001:db8::1]"`}},
		"apiServer.port":  {[]string{`""`, `6443`, `"65535"`}, []string{`0`, `"0"`, `65536`, `"65536"`, `"x"`}},
		"metrics.port":    {[]string{`19729`}, []string{`0`, `65536`, `"9729"`, `9730`}},
		"metrics.authentication": {
			[]string{`{"enabled":false}`, `{"tokenSecret":"a.b"}`},
			[]string{`{"enabled":true}`, `{"enabled":"yes"}`, `{"tokenSecret":"A/b"}`, `{"token":"x"}`},
		},
		"metrics":                            {[]string{`{"tls":{"secret":"c"},"authentication":{"enabled":true}}`}, nil},
		"monitoring.serviceMonitor.interval": {[]string{`""`, `"30s"`, `"1m30s"`}, []string{`"1.5s"`, `"30"`, `"s"`, `"1s1m"`}},
		"monitoring.dashboard.labels":        {[]string{`{"x":"y"}`}, []string{`{"app.kubernetes.io/name":"x"}`}},
		"priorityClassName":                  {[]string{`""`, `"system-node-critical"`}, []string{`"Critical"`, `"` + long + `"`}},
		"nodeSelector":                       {[]string{`{"a":"b"}`}, []string{`{"a b":"c"}`}},
		"tolerations":                        {[]string{`[{"key":"a","operator":"Exists","effect":"NoSchedule"}]`}, []string{`[{"effect":"Never"}]`, `[{"operater":"Exists"}]`, `[{"operator":"In"}]`, `[{"key":"a b"}]`}},
		"updateStrategy.rollingUpdate":       {[]string{`{"maxUnavailable":"10%"}`, `{"maxUnavailable":1}`}, []string{`{"maxUnavailable":"ten"}`, `{"maxUnavailabel":1}`, `{"maxUnavailable":-1}`}},
		"openshift.enabled":                  {[]string{`false`}, []string{`true`}},
		"flowSchema.priorityLevel":           {[]string{`"exempt"`}, []string{`"A"`, `""`}},
		"dnsPolicy":                          {[]string{`"ClusterFirst"`}, []string{`"None"`}},
		"image.pullPolicy":                   {[]string{`"Always"`}, []string{`"always"`}},
		"updateStrategy.type":                {[]string{`"OnDelete"`}, []string{`"Recreate"`}},
		"agent.removeTaint":                  {[]string{`""`, `"a.b/c"`, `"c"`}, []string{`"a b"`, `"a/b/c"`, `"/a"`}},
		"install.extraEnv":                   {[]string{`[{"name":"A","value":"b"}]`}, []string{`[{"name":"A B"}]`}},
		"flowSchema.matchingPrecedence":      {[]string{`1`}, []string{`0`, `10001`}},
		"window.netnsDirs":                   {[]string{`["/run/netns"]`, `["/run/netns","/run/docker/netns"]`}, []string{`[]`, `"/run/netns"`, `["run/netns"]`, `["/"]`, `["/run/../etc"]`, `["/a,/b"]`, `["/a","/a"]`}},
		"window.enabled":                     {[]string{`false`}, []string{`"no"`}},
		"test.timeoutSeconds":                {[]string{`60`}, []string{`9`, `3601`, `"60"`}},
	} {
		t.Run(value, func(t *testing.T) {
			t.Parallel()
			for _, good := range test.good {
				if why := refusal(t, value+"="+good); why != "" {
					t.Errorf("%s is refused: %s", good, why)
				}
			}
			for _, bad := range test.bad {
				why := refusal(t, value+"="+bad)
				if !strings.Contains(why, value) && !strings.Contains(why, "/"+strings.ReplaceAll(value, ".", "/")) {
					t.Errorf("%s must be refused by the name of the value, Helm says %q", bad, why)
				}
			}
		})
	}
}

// TestKubeDeployTwice names things that the chart has already, or twice.
func TestKubeDeployTwice(t *testing.T) {
	for name, test := range map[string]struct {
		settings []string
		want     string
	}{
		"a variable of the agent":     {[]string{`agent.extraEnv=[{"name":"PLEXUS_AGENT_SOCKET","value":"/x"}]`}, "agent.extraEnv: the variable PLEXUS_AGENT_SOCKET is set twice"},
		"a variable of the installer": {[]string{`install.extraEnv=[{"name":"PLEXUS_AGENT_CNI_DIR","value":"/x"}]`}, "install.extraEnv: the variable PLEXUS_AGENT_CNI_DIR is set twice"},
		"a variable by another value": {
			[]string{`log.level="debug"`, `agent.extraEnv=[{"name":"PLEXUS_AGENT_LOG_LEVEL","value":"info"}]`}, "agent.extraEnv: the variable PLEXUS_AGENT_LOG_LEVEL is set twice",
		},
		"a variable twice":         {[]string{`agent.extraEnv=[{"name":"A","value":"b"},{"name":"A","value":"c"}]`}, "agent.extraEnv: the variable A is set twice"},
		"a mount of the agent":     {[]string{`agent.extraVolumeMounts=[{"name":"run","mountPath":"/run/plexus"}]`}, "agent.extraVolumeMounts: something else is mounted at /run/plexus"},
		"a mount of the installer": {[]string{`install.extraVolumeMounts=[{"name":"run","mountPath":"/host/kubeconfig"}]`}, "install.extraVolumeMounts: something else is mounted at /host/kubeconfig"},
		"a volume":                 {[]string{`extraVolumes=[{"name":"state","emptyDir":{}}]`}, "there is a volume state already"},
		"a volume in two values":   {[]string{`extraVolumes=[{"name":"x","emptyDir":{}}]`, `agent.extraVolumes=[{"name":"x","emptyDir":{}}]`}, "there is a volume x already"},
		"a label":                  {[]string{`commonLabels={"a":"b"}`, `podLabels={"a":"c"}`}, "podLabels: commonLabels sets the label a too"},
		"a label of monitoring":    {[]string{`commonLabels={"a":"b"}`, `monitoring.rules.labels={"a":"c"}`}, "monitoring.rules.labels: commonLabels sets the label a too"},
		"both monitors":            {[]string{`monitoring.podMonitor.enabled=true`}, "only one may be enabled"},
		"a PodMonitor without a token": {
			[]string{`metrics.tls.secret="c"`, `metrics.authentication.enabled=true`, `monitoring.enabled=true`, `monitoring.serviceMonitor.enabled=false`, `monitoring.podMonitor.enabled=true`},
			"metrics.authentication.tokenSecret: must be set",
		},
		"all faults, and not one of them": {[]string{`podLabels={"app.kubernetes.io/name":"x"}`, `metrics.port=9730`}, "metrics.port and metrics.followPort: must be two ports"},
	} {
		t.Run(name, func(t *testing.T) {
			if why := refusal(t, test.settings...); !strings.Contains(why, test.want) {
				t.Errorf("got %q, want %q", why, test.want)
			}
		})
	}
}
