package window

import (
	"errors"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/spf13/cobra"
	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// kubeconfig is of a cluster that does not answer: nobody listens at port 1.
const kubeconfig = `apiVersion: v1
kind: Config
clusters: [{name: c, cluster: {server: "https://127.0.0.1:1"}}]
contexts: [{name: c, context: {cluster: c}}]
current-context: c
`

// withCluster makes a cluster known, or none.
func withCluster(t *testing.T, known bool) {
	t.Helper()
	file := filepath.Join(t.TempDir(), "config")
	text := "apiVersion: v1\nkind: Config\n"
	if known {
		text = kubeconfig
	}
	check.Must(t, os.WriteFile(file, []byte(text), 0o600))
	t.Setenv("KUBECONFIG", file)
	for _, name := range []string{"KUBERNETES_SERVICE_HOST", "KUBERNETES_SERVICE_PORT"} { // of a pod
		t.Setenv(name, "")
	}
}

// Each way of naming a node leads there and nowhere else. What is not reached says where it was looked for.
func TestWhichNode(t *testing.T) {
	dir := t.TempDir()
	for name, tc := range map[string]struct {
		args    []string
		cluster bool
		code    int
		says    string
	}{
		"a saved one":               {[]string{"get", "--from", saved}, true, exitFine, ""},
		"a node":                    {[]string{"get", "--node", "n1"}, true, exitBlind, "node n1: Get \"https://127.0.0.1:1/api/v1/namespaces/plexus-system/"},
		"another namespace":         {[]string{"get", "--node", "n1", "--plexus-namespace", "x"}, true, exitBlind, "/api/v1/namespaces/x/"},
		"a node, and no cluster":    {[]string{"snapshot", "--node", "n1"}, false, exitBlind, "no cluster is known: there is no kubeconfig"},
		"a pod":                     {[]string{"inspect", "shop/web"}, true, exitBlind, "pod shop/web: ask the cluster for its node"},
		"a pod, for get":            {[]string{"get", "shop/web"}, true, exitBlind, "pod shop/web: ask the cluster for its node"},
		"a pod, for snapshot":       {[]string{"snapshot", "web", "-n", "shop"}, true, exitBlind, "pod shop/web: ask the cluster for its node"},
		"nothing":                   {[]string{"get"}, true, exitBlind, "name a node of the cluster with --node"},
		"nothing, for snapshot":     {[]string{"snapshot"}, true, exitBlind, "name a node of the cluster with --node"},
		"all nodes, and no cluster": {[]string{"get", "-A"}, false, exitBlind, "no cluster is known"},
		"a server by a flag":        {[]string{"inspect", "a/b", "--server", "https://127.0.0.1:1"}, false, exitBlind, "pod a/b: ask the cluster"},
		"all nodes":                 {[]string{"get", "-A"}, true, exitBlind, "ask the cluster for its nodes"},
		"all nodes and one":         {[]string{"get", "-A", "--node", "n1"}, true, exitUsage, "--all-nodes is every node"},
		"all nodes and a saved one": {[]string{"get", "-A", "--from", saved}, true, exitUsage, "--all-nodes is every node"},
		"a node and a saved one":    {[]string{"get", "--node", "n1", "--from", saved}, true, exitUsage, "--from says something else"},
		"a node and a folder":       {[]string{"inspect", "a/b", "--node", "n1", "--state-dir", dir}, true, exitUsage, "--state-dir says something else"},
		"too short a time":          {[]string{"get", "--node", "n1", "--keep", "5s"}, true, exitUsage, "--keep: a window pod may be kept for 10s to 1h0m0s"},
		"too short a time for all":  {[]string{"get", "-A", "--keep", "5s"}, true, exitUsage, "--keep: "},
	} {
		t.Run(name, func(t *testing.T) {
			withCluster(t, tc.cluster)
			got := runWith(t, "", tc.args...)
			check.Equal(t, "exit code", got.code, tc.code)
			check.Contains(t, "error", got.stderr, tc.says)
		})
	}
}

// command makes a command line of a command that reads a node.
func command(t *testing.T, args ...string) (*nodeFlags, *cobra.Command) {
	t.Helper()
	f, cmd := &nodeFlags{}, &cobra.Command{Use: "x"}
	f.add(cmd, genericclioptions.NewConfigFlags(true))
	f.addAfar(cmd)
	cmd.SetErr(io.Discard)
	check.Must(t, cmd.ParseFlags(args))
	return f, cmd
}

// This machine is read if a flag is about it, or by root where Plexus keeps its journal.
func TestIsHere(t *testing.T) {
	dir, root := t.TempDir(), os.Geteuid() == 0
	f, cmd := command(t, "--netns-dir", dir)
	check.Equal(t, "--netns-dir", f.isHere(cmd), true)
	f, cmd = command(t, "--state-dir", filepath.Join(dir, "none"))
	check.Equal(t, "--state-dir", f.isHere(cmd), true)
	f, cmd = command(t)
	f.stateDir = filepath.Join(dir, "none")
	check.Equal(t, "without a journal", f.isHere(cmd), false)
	f.stateDir = dir
	check.Equal(t, "with one", f.isHere(cmd), root)
	f.stateDir, f.here = filepath.Join(dir, "none"), true
	check.Equal(t, "a path of this machine", f.isHere(cmd), true)
}

// Without a cluster, a pod is looked for on this machine.
func TestPodsNodeWithoutCluster(t *testing.T) {
	withCluster(t, false)
	f, _ := command(t)
	f.pod = "shop/web"
	node, err := f.openPodsNode(t.Context())
	if os.Geteuid() != 0 {
		check.Error(t, err, "by root alone")
		return
	}
	check.Must(t, err)
	check.Contains(t, "the way", wayOf(node), "which is this machine")
}

// The text begins with what was read; documents do not.
func TestWithWay(t *testing.T) {
	var text strings.Builder
	f := &nodeFlags{afar: afar{way: "node n1, through the window pod x"}}
	body := func(w io.Writer) error { _, err := io.WriteString(w, "body\n"); return err }
	check.Must(t, f.withWay(body)(&text))
	check.Equal(t, "text", text.String(), "node n1, through the window pod x\n\nbody\n")
	text.Reset()
	check.Must(t, (&nodeFlags{}).withWay(body)(&text))
	check.Equal(t, "text of a saved one", text.String(), "body\n")
	check.Equal(t, "where it was looked", f.where(), "--state-dir ")
	f.away = true
	check.Equal(t, "where it was looked from afar", f.where(), "node n1, through the window pod x")
}

// Each node that cannot be opened is named, and keeps no other.
func TestEachNodeGivesAllErrors(t *testing.T) {
	withCluster(t, true)
	f, _ := command(t)
	err := f.eachNode(t.Context(), []string{"n1", "n2", "n3", "n4", "n5", "n6", "n7"}, func(string, inspect.Node) error { return errors.New("it was opened") })
	check.Error(t, err, "node n1: ", "node n4: ", "node n7: ")
	check.Equal(t, "lines", strings.Count(err.Error(), "\n"), 6)
}

func TestListOfNodes(t *testing.T) {
	lists := []*inspect.AttachedList{
		{Items: []inspect.Attached{{Node: "n1", Pod: "shop/web", Interface: "net0", Network: "shop/lan", State: inspect.StateOK}}},
		nil, // could not be read
		{Items: []inspect.Attached{{Node: "n3", Pod: "shop/db", Interface: "net0", Network: "shop/lan", State: inspect.StateGone}}},
	}
	merged := inspect.MergeAttached(lists...)
	check.Equal(t, "something is wrong", merged.Wrong(), true)
	var text strings.Builder
	check.Must(t, (&inspect.AttachedTable{Nodes: true}).Write(&text, merged))
	check.Equal(t, "text", text.String(), `NODE  POD       INTERFACE  NETWORK   ADDRESSES  HOST SIDE  STATE
n1    shop/web  net0       shop/lan  -          -          ok
n3    shop/db   net0       shop/lan  -          -          gone
`)
	text.Reset()
	check.Must(t, (&inspect.AttachedTable{Nodes: true}).Write(&text, inspect.MergeAttached()))
	check.Equal(t, "text of nothing", text.String(), "No journal of a node has such an attachment.\n")
}

// If no node could be read, nothing is known, and nothing is said to be so.
func TestNoNodeWasRead(t *testing.T) {
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		if r.URL.Path == "/api/v1/nodes" {
			_, _ = io.WriteString(w, `{"kind": "NodeList", "apiVersion": "v1", "items": [{"metadata": {"name": "n1"}}, {"metadata": {"name": "n2"}}]}`)
			return
		}
		w.WriteHeader(http.StatusNotFound)
		_, _ = io.WriteString(w, `{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "NotFound", "code": 404}`)
	}))
	defer server.Close()
	withCluster(t, false)
	got := runWith(t, "", "get", "-A", "--server", server.URL)
	check.Equal(t, "exit code", got.code, exitBlind)
	check.Equal(t, "output", got.stdout, "")
	check.Contains(t, "error", got.stderr, "not every node could be read", "node n1: ", "node n2: ")
}

// The commands of the pod are in no list, and have a help of their own.
func TestNodeIsHidden(t *testing.T) {
	if help := runWith(t, "").stdout; strings.Contains(help, "\n  node ") {
		t.Errorf("the list has it: %s", help)
	}
	for args, want := range map[string]string{
		"node --help": "serve", "node serve --help": "--root", "node wait --help": "--keep", "node": "Available Commands",
	} {
		got := runWith(t, "", strings.Fields(args)...)
		check.Equal(t, "exit code of "+args, got.code, exitFine)
		check.Contains(t, args, got.stdout, want)
	}
	check.Equal(t, "exit code of a wrong time", runWith(t, "", "node", "wait", "--keep", "0s").code, exitUsage)
	check.Equal(t, "exit code of another command", runWith(t, "", "node", "x").code, exitUsage)
}
