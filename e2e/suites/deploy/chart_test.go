package deploy

import (
	"context"
	"maps"
	"net/http"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/util/wait"
	"k8s.io/client-go/kubernetes"
	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// readmeRow is a line of the README's table: values, and their default.
var readmeRow = regexp.MustCompile("(?m)^\\| (`.*?`) \\| (.*?) \\| .* ?\\|$")

// TestKubeDeployReadme compares the table of the chart's README with values.yaml: every value and its
// default, and nothing else.
func TestKubeDeployReadme(t *testing.T) {
	readme, err := os.ReadFile(filepath.Join(chart, "README.md"))
	if err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(filepath.Join(chart, "values.yaml"))
	if err != nil {
		t.Fatal(err)
	}
	values := map[string]any{}
	if err := yaml.UnmarshalStrict(data, &values); err != nil {
		t.Fatal(err)
	}
	described := map[string]bool{}
	for _, row := range readmeRow.FindAllStringSubmatch(string(readme), -1) {
		for name := range strings.SplitSeq(row[1], ", ") {
			name = strings.Trim(name, "`")
			described[name] = true
			checkDefault(t, values, name, row[2])
		}
	}
	for _, name := range undescribed(values, described, "") {
		t.Errorf("README.md does not have %s", name)
	}
}

// checkDefault demands that a value is there, and that its default is the text, if that is code.
func checkDefault(t *testing.T, values map[string]any, name, text string) {
	t.Helper()
	got, found, err := unstructured.NestedFieldNoCopy(values, strings.Split(name, ".")...)
	if err != nil || !found {
		t.Errorf("README.md has %s, which is no value (%v)", name, err)
		return
	}
	code := strings.Trim(text, "`")
	if len(code) != len(text)-2 || strings.Contains(code, "`") {
		return // a summary
	}
	var want any
	if err := yaml.Unmarshal([]byte(code), &want); err != nil {
		t.Errorf("%s: default %s: %v", name, text, err)
	}
	if diff := gocmp.Diff(want, got); diff != "" {
		t.Errorf("%s: default of README.md (-) and of values.yaml (+):\n%s", name, diff)
	}
}

// undescribed gives the values that are not described, neither by their name nor by that of a group.
func undescribed(values map[string]any, described map[string]bool, prefix string) []string {
	var names []string
	for key, value := range values {
		inner, _ := value.(map[string]any)
		switch name := prefix + key; {
		case described[name]:
		case len(inner) > 0:
			names = append(names, undescribed(inner, described, name+".")...)
		default:
			names = append(names, name)
		}
	}
	slices.Sort(names)
	return names
}

// parentChart makes a chart that has this one as a subchart, and gives its folder.
func parentChart(t *testing.T, alias string) string {
	t.Helper()
	dir := filepath.Join(t.TempDir(), "umbrella")
	if err := os.CopyFS(filepath.Join(dir, "charts", "plexus"), os.DirFS(chart)); err != nil {
		t.Fatal(err)
	}
	about := "apiVersion: v2\nname: umbrella\nversion: 1.0.0\ndependencies:\n- {name: plexus, version: '*-0', condition: " + alias + ".enabled, alias: " + alias + "}\n"
	if err := os.WriteFile(filepath.Join(dir, "Chart.yaml"), []byte(about), 0o600); err != nil {
		t.Fatal(err)
	}
	return dir
}

// TestKubeDeploySubchart installs the chart as a part of another, on a condition.
func TestKubeDeploySubchart(t *testing.T) {
	for _, alias := range []string{"plexus", "network"} {
		t.Run(alias, func(t *testing.T) {
			dir := parentChart(t, alias)
			render := func(values map[string]any) []*unstructured.Unstructured {
				t.Helper()
				return objects(t, output(t, tool(t, binVar, "helm"), "template", "all", dir, "--skip-tests", "--namespace", namespace, "--values", valuesFile(t, values)))
			}
			if got := render(map[string]any{alias: map[string]any{"enabled": false}}); len(got) != 0 {
				t.Errorf("disabled, it makes %d objects, the first a %s", len(got), got[0].GetKind())
			}
			for name, values := range map[string]map[string]any{
				"by default": {},
				"enabled":    {alias: map[string]any{"enabled": true}, "global": map[string]any{"imageRegistry": "images.example"}},
			} {
				// The same objects as by itself, under the same names.
				compare(t, normal(helm(t, nil)), normal(render(values)))
				if t.Failed() {
					t.Fatalf("%s: see above", name)
				}
			}
			set := daemonSet(t, render(map[string]any{alias: map[string]any{"agent": map[string]any{"eventsForAllPods": true}}}))
			if !slices.ContainsFunc(set.Spec.Template.Spec.Containers[0].Env, func(e corev1.EnvVar) bool { return e.Name == "PLEXUS_AGENT_EVENTS_FOR_ALL_PODS" }) {
				t.Error("a value of the parent does not reach the agent")
			}
		})
	}
}

// TestKubeDeployNames gives other names and labels, and looks for them in every object.
func TestKubeDeployNames(t *testing.T) {
	values := maps.Clone(everyValue)
	delete(values, "serviceAccount")
	all := helm(t, values)
	for _, object := range all {
		if object.GetLabels()["team"] != "net" || object.GetLabels()["app.kubernetes.io/name"] != "cni" {
			t.Errorf("%s %s has the labels %v", object.GetKind(), object.GetName(), object.GetLabels())
		}
		if name := object.GetName(); !strings.HasPrefix(name, "cni-") && object.GetKind() != "CustomResourceDefinition" {
			t.Errorf("%s has the name %s", object.GetKind(), name)
		}
		// An object that is referred to by the name of before is one that is not there.
		if data, err := object.MarshalJSON(); err != nil || strings.Contains(strings.ReplaceAll(string(data), "\"replacement\":\"plexus-agent\"", ""), `"plexus-agent"`) {
			t.Errorf("%s %s refers to plexus-agent (%v)", object.GetKind(), object.GetName(), err)
		}
	}
	set := daemonSet(t, all)
	pod := set.Spec.Template
	if pod.Labels["team"] != "net" || pod.Spec.ServiceAccountName != "cni-agent" || set.Annotations["e"] != "f" || set.Spec.MinReadySeconds != 10 {
		t.Errorf("pod labels %v, account %s, annotations %v, minReadySeconds %d", pod.Labels, pod.Spec.ServiceAccountName, set.Annotations, set.Spec.MinReadySeconds)
	}
	if diff := gocmp.Diff(map[string]string{"app.kubernetes.io/name": "cni", "app.kubernetes.io/component": "agent"}, set.Spec.Selector.MatchLabels); diff != "" {
		t.Errorf("the selector must not have what may change: %s", diff)
	}
}

// TestKubeDeployRBACOff leaves rights and account to others.
func TestKubeDeployRBACOff(t *testing.T) {
	all := helm(t, map[string]any{
		"rbac": map[string]any{"create": false}, "serviceAccount": map[string]any{"create": false, "name": "theirs"},
		"selinux": true, "openshift": map[string]any{"enabled": true},
	})
	for _, object := range all {
		if kind := object.GetKind(); kind == "ServiceAccount" || strings.Contains(kind, "Role") {
			t.Errorf("there is a %s %s", kind, object.GetName())
		}
	}
	if got := daemonSet(t, all).Spec.Template.Spec.ServiceAccountName; got != "theirs" {
		t.Errorf("the account is %s", got)
	}
}

// TestKubeDeployMonitors compares the ports that monitors ask with those of the containers and of the Service.
func TestKubeDeployMonitors(t *testing.T) {
	want := map[string]int64{"metrics": 9729, "follow": 9730}
	for name, values := range map[string]map[string]any{
		"ServiceMonitor": {"enabled": true},
		"PodMonitor":     {"enabled": true, "serviceMonitor": map[string]any{"enabled": false}, "podMonitor": map[string]any{"enabled": true}},
	} {
		all := helm(t, map[string]any{"monitoring": values})
		ports := map[string]int64{}
		for _, c := range daemonSet(t, all).Spec.Template.Spec.Containers {
			for _, port := range c.Ports {
				ports[port.Name] = int64(port.ContainerPort)
			}
		}
		if diff := gocmp.Diff(want, ports); diff != "" {
			t.Errorf("%s: ports of the containers: %s", name, diff)
		}
		endpoints, _, err := unstructured.NestedSlice(find(t, all, name).Object, "spec", map[string]string{"ServiceMonitor": "endpoints", "PodMonitor": "podMetricsEndpoints"}[name])
		if err != nil || len(endpoints) != len(want) {
			t.Fatalf("%s: endpoints %v, %v", name, endpoints, err)
		}
		for _, endpoint := range endpoints {
			if port := endpoint.(map[string]any)["port"].(string); want[port] == 0 {
				t.Errorf("%s asks port %q, which no container has", name, port)
			}
		}
	}
	for _, c := range daemonSet(t, helm(t, nil)).Spec.Template.Spec.Containers {
		if len(c.Ports) > 0 {
			t.Errorf("container %s names ports that nobody reaches: %v", c.Name, c.Ports)
		}
	}
}

// TestKubeDeploySCC holds the constraints for OpenShift to what the agent's pod uses: all of it, and
// nothing else.
func TestKubeDeploySCC(t *testing.T) {
	all := kustomize(t, overlays["openshift"].dir)
	pod := daemonSet(t, all).Spec.Template.Spec
	volumes := map[string]bool{}
	for _, volume := range pod.Volumes {
		if volume.HostPath != nil {
			volumes["hostPath"] = true
		} else if volume.Projected != nil {
			volumes["projected"] = true
		} else {
			t.Errorf("volume %s is of a kind that the constraints do not have", volume.Name)
		}
	}
	want := map[string]any{
		"allowPrivilegedContainer": false, "allowPrivilegeEscalation": false, "defaultAllowPrivilegeEscalation": false, "readOnlyRootFilesystem": true,
		"allowedCapabilities": []any{}, "defaultAddCapabilities": []any{}, "requiredDropCapabilities": []any{"ALL"},
		"allowHostNetwork": pod.HostNetwork, "allowHostPorts": true, "allowHostPID": pod.HostPID, "allowHostIPC": pod.HostIPC,
		"allowHostDirVolumePlugin": volumes["hostPath"], "volumes": []any{"hostPath", "projected"}, "seccompProfiles": []any{"runtime/default"},
		"runAsUser": map[string]any{"type": "MustRunAs", "uid": int64(0)}, "seLinuxContext": map[string]any{"type": "RunAsAny"},
		"fsGroup": map[string]any{"type": "RunAsAny"}, "supplementalGroups": map[string]any{"type": "RunAsAny"}, "users": []any{}, "groups": []any{},
	}
	got := maps.Clone(find(t, all, "SecurityContextConstraints").Object)
	for _, key := range []string{"apiVersion", "kind", "metadata"} {
		delete(got, key)
	}
	if diff := gocmp.Diff(want, got); diff != "" || len(volumes) != 2 {
		t.Errorf("what the constraints must (-) and do (+) allow, volumes %v: %s", volumes, diff)
	}
}

// TestKubeDeployFlowSchema asks the API server by which schema it answers an agent.
func TestKubeDeployFlowSchema(t *testing.T) {
	s := newSite(t)
	to := newServer(t, s.Cluster)
	wanted := find(t, helm(t, map[string]any{"flowSchema": map[string]any{"enabled": true}}), "FlowSchema")
	if err := to.apply(t, wanted, false); err != nil {
		t.Fatal(err)
	}
	made, err := s.Client().FlowcontrolV1().FlowSchemas().Get(t.Context(), agent, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	theirs, others := answersTo(t, s, agent), answersTo(t, s, "somebody")
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		return theirs(t) == string(made.UID), nil
	})
	if err != nil {
		t.Errorf("the agent is answered by schema %q, want that of the chart, %s: %v", theirs(t), made.UID, err)
	}
	if got := others(t); got == "" || got == string(made.UID) {
		t.Errorf("another account is answered by schema %q", got)
	}
}

// answersTo gives a function that makes a request of an account and gives the UID of the schema by which
// it was answered.
func answersTo(t *testing.T, s *site, account string) func(*testing.T) string {
	t.Helper()
	token, err := s.ServiceAccountToken(t.Context(), namespace, account, nil)
	if err != nil {
		t.Fatal(err)
	}
	file, _, err := s.TokenKubeconfig(token)
	if err != nil {
		t.Fatal(err)
	}
	config, err := kube.RESTConfig(file)
	if err != nil {
		t.Fatal(err)
	}
	seen := &headers{}
	config.Wrap(func(next http.RoundTripper) http.RoundTripper { seen.next = next; return seen })
	client, err := kubernetes.NewForConfig(config)
	if err != nil {
		t.Fatal(err)
	}
	return func(t *testing.T) string {
		_, _ = client.CoreV1().Pods("").List(t.Context(), metav1.ListOptions{Limit: 1}) // forbidden is an answer too
		return seen.last.Get("X-Kubernetes-Pf-Flowschema-Uid")
	}
}

// headers keeps those of the last answer.
type headers struct {
	next http.RoundTripper
	last http.Header
}

func (h *headers) RoundTrip(request *http.Request) (*http.Response, error) {
	response, err := h.next.RoundTrip(request)
	if err == nil {
		h.last = response.Header
	}
	return response, err
}

// TestKubeDeployNotes reads what an install on a real API server says is missing.
func TestKubeDeployNotes(t *testing.T) {
	c := kube.Shared(t)
	c.MakeNamespace(t, "noted")
	for name, test := range map[string]noteTest{
		"by default": {nil, []string{"helm test plexus", "plexus-once uses /etc/kubernetes/kubelet.conf"}, []string{"MISSING"}},
		"no kubeconfig": {
			map[string]any{"install": map[string]any{"kubeconfig": ""}}, []string{"MISSING: without install.kubeconfig"}, []string{"plexus-once uses"},
		},
		"no operator": {
			map[string]any{"monitoring": map[string]any{"enabled": true}}, []string{"MISSING: the cluster does not have the kinds of the Prometheus Operator (ServiceMonitor, PrometheusRule)"}, nil,
		},
		"no operator for a PodMonitor": {
			map[string]any{"monitoring": map[string]any{
				"enabled": true, "serviceMonitor": map[string]any{"enabled": false}, "podMonitor": map[string]any{"enabled": true}, "rules": map[string]any{"enabled": false},
			}},
			[]string{"Prometheus Operator (PodMonitor)"},
			nil,
		},
		"no policy": {map[string]any{"admissionPolicy": false}, []string{"MISSING: without admissionPolicy"}, []string{"change every node"}},
		"no policy for nodes": {
			map[string]any{"admissionPolicy": false, "agent": map[string]any{"removeTaint": "a"}}, []string{"pod of the cluster, and change every node."}, nil,
		},
		"no rights": {map[string]any{"rbac": map[string]any{"create": false}}, []string{"MISSING, if nobody has made them: a ClusterRole for the account\nnoted/plexus-agent, one for the group system:nodes"}, nil},
		"no account": {
			map[string]any{"serviceAccount": map[string]any{"create": false, "name": "theirs"}}, []string{"MISSING: the account noted/theirs"}, nil,
		},
		"no devices": {map[string]any{"paths": map[string]any{"podResources": ""}}, []string{"networks with a resourceName are refused"}, []string{"MISSING"}},
		"another image": {
			map[string]any{"image": map[string]any{"repository": "images.example/plexus", "tag": "v9"}}, []string{"images.example/plexus:v9 is being installed"}, []string{"v0.0.0-dev"},
		},
		"another name": {map[string]any{"nameOverride": "cni"}, []string{"noted/cni-agent selects", "name=cni,"}, []string{"plexus-agent"}},
	} {
		t.Run(name, func(t *testing.T) { test.check(t, c) })
	}
	for _, kind := range []string{"ServiceMonitor", "PrometheusRule", "SecurityContextConstraints"} {
		serve(t, c, kind)
	}
	for name, test := range map[string]noteTest{
		"operator": {map[string]any{"monitoring": map[string]any{"enabled": true}}, nil, []string{"MISSING"}},
		"OpenShift": {
			map[string]any{"selinux": true, "openshift": map[string]any{"enabled": true}}, []string{"openshift.enabled was not tested on OpenShift"}, []string{"MISSING"},
		},
	} {
		t.Run(name, func(t *testing.T) { test.check(t, c) })
	}
}

// noteTest has values, and what the notes must and must not say.
type noteTest struct {
	values    map[string]any
	want, not []string
}

func (n noteTest) check(t *testing.T, c *kube.Cluster) {
	// A dry run that asks the server renders the notes with what the cluster has.
	notes := string(output(t, tool(t, binVar, "helm"), "install", "plexus", chart, "--dry-run=server", "--take-ownership",
		"--kubeconfig", c.AdminKubeconfig(), "--namespace", "noted", "--values", valuesFile(t, n.values)))
	_, notes, _ = strings.Cut(notes, "NOTES:")
	for _, words := range n.want {
		if !strings.Contains(notes, words) {
			t.Errorf("the notes do not say %q:\n%s", words, notes)
		}
	}
	for _, words := range n.not {
		if strings.Contains(notes, words) {
			t.Errorf("the notes say %q:\n%s", words, notes)
		}
	}
}

// serve has the API server serve a kind that belongs to an operator, without its fields.
func serve(t *testing.T, c *kube.Cluster, kind string) {
	t.Helper()
	group, version, _ := strings.Cut(unserved[kind], "/")
	plural := strings.TrimSuffix(strings.ToLower(kind), "s") + "s"
	scope := "Namespaced"
	if kind == "SecurityContextConstraints" {
		scope = "Cluster"
	}
	crds := c.Dynamic().Resource(schema.GroupVersionResource{Group: "apiextensions.k8s.io", Version: "v1", Resource: "customresourcedefinitions"})
	name := plural + "." + group
	_, err := crds.Create(t.Context(), &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "apiextensions.k8s.io/v1", "kind": "CustomResourceDefinition", "metadata": map[string]any{"name": name},
		"spec": map[string]any{
			"group": group, "scope": scope, "names": map[string]any{"plural": plural, "kind": kind},
			"versions": []any{map[string]any{
				"name": version, "served": true, "storage": true,
				"schema": map[string]any{"openAPIV3Schema": map[string]any{"type": "object", "x-kubernetes-preserve-unknown-fields": true}},
			}},
		},
	}}, metav1.CreateOptions{})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = crds.Delete(context.Background(), name, metav1.DeleteOptions{}) })
	err = wait.PollUntilContextTimeout(t.Context(), 50*time.Millisecond, time.Minute, true, func(context.Context) (bool, error) {
		kinds, err := c.Client().Discovery().ServerResourcesForGroupVersion(unserved[kind])
		if err != nil {
			return false, nil
		}
		return slices.ContainsFunc(kinds.APIResources, func(r metav1.APIResource) bool { return r.Kind == kind }), nil
	})
	if err != nil {
		t.Fatalf("%s is not served: %v", kind, err)
	}
}
