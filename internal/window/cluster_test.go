package window

import (
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// The second page has the network that is wrong. A pod that has ended, and one in the node's network, get no ADD.
const (
	networksPage    = `{"metadata": {"continue": "more"}, "items": [{"metadata": {"name": "a", "namespace": "shop"}, "spec": {"config": "{\"type\": \"macvlan\", \"master\": \"eth1\"}"}}]}`
	networksLast    = `{"metadata": {}, "items": [{"metadata": {"name": "lan", "namespace": "shop"}, "spec": {"config": "{\n  \"name\": \"l\",\n  \"type\": \"../x\"}"}}]}`
	clusterPodsJSON = `{"metadata": {}, "items": [
		{"metadata": {"name": "web", "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/networks": "a, ghost"}}, "spec": {}, "status": {"phase": "Running"}},
		{"metadata": {"name": "old", "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/networks": ",,"}}, "spec": {}, "status": {"phase": "Succeeded"}},
		{"metadata": {"name": "host", "namespace": "shop", "annotations": {"k8s.v1.cni.cncf.io/networks": ",,"}}, "spec": {"hostNetwork": true}}]}`
)

// serveObjects is an API server that forbids some resources, and notes every request.
func serveObjects(t *testing.T, forbidden string) (server string, asked *[]string) {
	t.Helper()
	asked = &[]string{}
	api := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		*asked = append(*asked, r.Method+" "+r.URL.Path)
		w.Header().Set("Content-Type", "application/json")
		switch {
		case forbidden != "" && strings.HasSuffix(r.URL.Path, forbidden):
			w.WriteHeader(http.StatusForbidden)
			_, _ = fmt.Fprint(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no"}`)
		case strings.HasSuffix(r.URL.Path, "/pods"):
			_, _ = io.WriteString(w, clusterPodsJSON)
		case r.URL.Query().Get("continue") == "more":
			_, _ = io.WriteString(w, networksLast)
		default:
			_, _ = io.WriteString(w, networksPage)
		}
	}))
	t.Cleanup(api.Close)
	return api.URL, asked
}

func TestValidateCluster(t *testing.T) {
	const place = "networkattachmentdefinition shop/lan .spec.config"
	for name, tc := range map[string]struct {
		args      []string
		forbidden string
		code      int
		stdout    []string
		stderr    string
	}{
		"every namespace": {[]string{"-A"}, "", exitWrong, []string{
			place + ":3:11: error: ", `pod shop/web .metadata.annotations["k8s.v1.cni.cncf.io/networks"]:1:4: error: network shop/ghost is not in the cluster`,
			"0 files, 2 networks, 1 pod: 2 errors",
		}, ""},
		"one namespace":      {[]string{"-n", "shop"}, "", exitWrong, []string{place + ":3:11", ":1:4: note: network shop/ghost"}, ""},
		"no right to pods":   {[]string{"-A"}, "/pods", exitBlind, []string{place + ":3:11"}, "the right to list pods in every namespace is missing"},
		"no right to either": {[]string{"-n", "shop"}, "s", exitBlind, nil, "the right to list network-attachment-definitions in the namespace shop is missing"},
		"JSON":               {[]string{"-A", "-o", "json"}, "", exitWrong, []string{`"file": "` + place + `"`, `"line": 3`}, ""},
		"SARIF":              {[]string{"-A", "-o", "sarif"}, "", exitWrong, []string{`"uri": "networkattachmentdefinition%20shop/lan%20.spec.config"`}, ""},
		"GitHub":             {[]string{"-A", "-o", "github"}, "", exitWrong, []string{"file=" + place + ",line=3,col=11,"}, ""},
		"files beside":       {[]string{"x.yaml"}, "", exitUsage, nil, "--cluster takes no files"},
	} {
		t.Run(name, func(t *testing.T) {
			server, asked := serveObjects(t, tc.forbidden)
			got := runWith(t, "", append([]string{"validate", "--cluster", "-s", server}, tc.args...)...)
			check.Equal(t, "exit code", got.code, tc.code)
			check.Contains(t, "output", got.stdout, tc.stdout...)
			check.Contains(t, "stderr", got.stderr, tc.stderr)
			for _, request := range *asked {
				if !strings.HasPrefix(request, "GET ") {
					t.Errorf("it asks %s", request)
				}
			}
		})
	}
}

// Nothing waits for an API server that nobody named.
func TestNoClusterIsKnown(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	t.Setenv("HOME", t.TempDir())
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for _, args := range [][]string{{"explain", "shop/web"}, {"explain", "pod", "web"}, {"validate", "--cluster"}, {"validate", "--cluster", "-A"}} {
		got := runWith(t, "", args...)
		check.Equal(t, "exit code", got.code, exitBlind)
		check.Contains(t, "stderr", got.stderr, "no cluster is known: there is no kubeconfig")
	}
}

// The interfaces of a saved snapshot count, those of its own namespace alone.
func TestValidateFrom(t *testing.T) {
	const snapshot = `{"apiVersion": "plexus-cni.io/v1alpha1", "kind": "Snapshot", "machine": {"hostname": "n1"}, "namespaces": [
		{"inode": 1, "host": true, "links": [{"index": 2, "name": "eth1", "mtu": 1500}]}, {"inode": 2, "links": [{"index": 2, "name": "eth2", "mtu": 1500}]}]}`
	for name, tc := range map[string]struct{ snapshot, master, want string }{
		"an interface of the node": {snapshot, "eth1", "0 errors"},
		"an interface of a pod":    {snapshot, "eth2", "node n1 has no interface eth2"},
		"no interface of the node": {strings.Replace(snapshot, `"host": true, `, "", 1), "eth1", "no interface of the node itself"},
		"something else":           {`{}`, "eth1", "this is not a snapshot of Plexus"},
	} {
		t.Run(name, func(t *testing.T) {
			dir := writeFiles(t, map[string]string{"n1.json": tc.snapshot})
			network := strings.Replace(rightNetwork, `"macvlan"`, `"macvlan", "master": "`+tc.master+`"`, 1)
			got := runWith(t, network, "validate", "--from", dir+"/n1.json", "-")
			check.Contains(t, "output", got.stdout+got.stderr, tc.want)
		})
	}
}
