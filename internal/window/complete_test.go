package window

import (
	"net/http"
	"net/http/httptest"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// completed gives the words that TAB offers, and whether a space follows.
func completed(t *testing.T, args ...string) string {
	t.Helper()
	got := runWith(t, "", append([]string{cobra.ShellCompRequestCmd}, args...)...)
	check.Equal(t, "exit code", got.code, exitFine)
	return strings.Join(strings.Fields(got.stdout), " ")
}

const (
	noFiles = ":4" // and nothing else: no names of files
	noSpace = ":6"
)

func TestCompleteFromSnapshot(t *testing.T) {
	for line, want := range map[string]string{
		"get --from FILE ":                          "default/db default/web " + noFiles,
		"get --from FILE default/w":                 "default/web " + noFiles,
		"get --from FILE default/web ":              noFiles,
		"get --from FILE --network d":               "default/storage " + noFiles,
		"inspect --from FILE x":                     noFiles,
		"inspect --from /nonexistent ":              noFiles,
		"snapshot --from FILE default/db ":          "default/db default/web " + noFiles,
		"path --from FILE --from FILE default/w":    "default/web " + noFiles,
		"path --from FILE default/web ":             "to " + noFiles,
		"path --from FILE default/web to default/d": "default/db " + noFiles,
		"path --from FILE default/web -i n":         "net0 " + noFiles,
		"path --from FILE default/none -i ":         noFiles,
		"path --from FILE -i ":                      noFiles,
		"explain ":                                  "pod " + noFiles,
	} {
		args := strings.Split(strings.ReplaceAll(line, "FILE", saved), " ")
		check.Equal(t, line, completed(t, args...), want)
	}
}

// Names come from the cluster, if it answers; else there are none, and no error.
func TestCompleteFromCluster(t *testing.T) {
	answers := map[string]string{
		"/api/v1/namespaces":           `{"kind": "NamespaceList", "apiVersion": "v1", "items": [{"metadata": {"name": "shop"}}, {"metadata": {"name": "web"}}]}`,
		"/api/v1/namespaces/shop/pods": `{"kind": "PodList", "apiVersion": "v1", "items": [{"metadata": {"name": "db"}}, {"metadata": {"name": "cart"}}]}`,
		"/api/v1/namespaces/shop/pods/db": `{"kind": "Pod", "apiVersion": "v1", "metadata": {"name": "db", "annotations": {"k8s.v1.cni.cncf.io/network-status":
			"[{\"name\": \"cbr0\", \"interface\": \"eth0\"}, {\"name\": \"shop/lan\", \"interface\": \"net0\"}]"}}}`,
		"/apis/k8s.cni.cncf.io/v1/network-attachment-definitions": `{"items": [{"metadata": {"name": "lan", "namespace": "shop"}}]}`,
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		answer, known := answers[r.URL.Path]
		if !known {
			w.WriteHeader(http.StatusForbidden)
			answer = `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403}`
		}
		_, _ = w.Write([]byte(answer))
	}))
	defer server.Close()
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	for line, want := range map[string]string{
		"get ":                    "shop/ web/ " + noSpace,
		"get s":                   "shop/ " + noSpace,
		"get shop/":               "shop/cart shop/db " + noFiles,
		"get shop/d":              "shop/db " + noFiles,
		"get -n shop c":           "cart " + noFiles,
		"get web/":                noFiles,
		"get --network ":          "shop/lan " + noFiles,
		"get --namespace w":       "web " + noFiles,
		"explain pod shop/c":      "shop/cart " + noFiles,
		"inspect shop/":           "shop/cart shop/db " + noFiles,
		"path shop/db to sho":     "shop/ " + noSpace,
		"capture shop/db -i ":     "eth0 net0 " + noFiles,
		"capture -n shop db -i n": "net0 " + noFiles,
		"capture shop/cart -i ":   noFiles,
		"capture -i ":             noFiles,
	} {
		args := strings.Split(line, " ")
		check.Equal(t, line, completed(t, append([]string{"--server", server.URL}, args...)...), want)
	}
	check.Equal(t, "without a cluster", completed(t, "get", ""), noFiles)
}

// kubectl runs this script for kubectl plexus, and hands it the line.
func TestScriptOfKubectl(t *testing.T) {
	dir := t.TempDir()
	check.Must(t, exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", dir, "../../cmd/kubectl-plexus").Run())
	cmd := exec.CommandContext(t.Context(), "../../cmd/kubectl-plexus/kubectl_complete-plexus", "ge")
	cmd.Env = []string{"PATH=" + dir + ":/usr/bin:/bin", "HOME=" + dir}
	out, err := cmd.Output()
	check.Must(t, err)
	check.Contains(t, "words", string(out), "get\t", ":4\n")
}
