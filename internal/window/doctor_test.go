package window

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"testing/synctest"

	"k8s.io/cli-runtime/pkg/genericclioptions"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// someNodes is a cluster whose nodes are snapshots. It counts how many are open, and reads none before it may.
type someNodes struct {
	snapshots map[string]*inspect.Snapshot
	open      atomic.Int32
	mayRead   chan struct{} // closed when they may; nil is always
}

func (n *someNodes) Names(context.Context) (names []string, err error) {
	for name := range n.snapshots {
		names = append(names, name)
	}
	return names, nil
}

func (n *someNodes) Open(_ context.Context, name string) (inspect.Node, error) {
	if n.snapshots[name] == nil {
		return nil, errors.New("pods is forbidden")
	}
	n.open.Add(1)
	return openSnapshot{savedNode{n.snapshots[name]}, n}, nil
}

// openSnapshot is one of them that is open.
type openSnapshot struct {
	savedNode
	nodes *someNodes
}

func (o openSnapshot) Snapshot(ctx context.Context, request inspect.Request) (*inspect.Snapshot, error) {
	if o.nodes.mayRead != nil {
		<-o.nodes.mayRead
	}
	return o.savedNode.Snapshot(ctx, request)
}

func (o openSnapshot) Close() error {
	o.nodes.open.Add(-1)
	return nil
}

func snapshotOf(name string, cni *inspect.CNI) *inspect.Snapshot {
	s := inspect.New()
	s.Machine.Node, s.CNI = name, cni
	return s
}

// Every node of a cluster is read, and no more than five at once.
func TestDoctorOfAllNodes(t *testing.T) {
	healthy := &inspect.CNI{Plexus: &inspect.PlexusConf{File: "a.conf"}, Files: []inspect.ConfFile{{Name: "a.conf", Owner: "plexus"}}}
	synctest.Test(t, func(t *testing.T) {
		nodes := &someNodes{snapshots: map[string]*inspect.Snapshot{}, mayRead: make(chan struct{})}
		for i := range 9 {
			name := fmt.Sprint("n", i)
			nodes.snapshots[name] = snapshotOf(name, healthy)
		}
		names, err := nodes.Names(t.Context())
		check.Must(t, err)
		d := &doctor{remote: nodes, beside: beside{cluster: withoutCluster()}, all: true}
		done := make(chan *inspect.DoctorList, 1)
		go func() { done <- inspect.NewDoctorList(d.pages(t.Context(), names)) }()
		synctest.Wait() // until all that may be open are
		check.Equal(t, "open at once", int(nodes.open.Load()), maxNodes)
		close(nodes.mayRead)
		list := <-done
		check.Equal(t, "nodes", len(list.Items), 9)
		check.Equal(t, "still open", int(nodes.open.Load()), 0)
		wrong, unread := list.Wrong()
		check.Equal(t, "wrong, unread", []bool{wrong, unread}, []bool{false, false})
	})
}

// The exit code says the worst: a fault, or else a node that could not be read.
func TestDoctorOfSomeNodes(t *testing.T) {
	healthy := &inspect.CNI{Plexus: &inspect.PlexusConf{File: "a.conf"}, Files: []inspect.ConfFile{{Name: "a.conf", Owner: "plexus"}}}
	for name, tc := range map[string]struct {
		nodes map[string]*inspect.Snapshot
		args  []string
		code  int
		want  []string
	}{
		"a broken one":      {map[string]*inspect.Snapshot{"n1": snapshotOf("n1", healthy), "n2": snapshotOf("n2", &inspect.CNI{}), "n3": nil}, []string{"-A"}, exitWrong, []string{"n1    nothing is wrong", "n2    1 error", "cni-no-configuration", "n3    could not look", "forbidden"}},
		"one not seen":      {map[string]*inspect.Snapshot{"n1": snapshotOf("n1", healthy), "n3": nil}, []string{"-A"}, exitBlind, []string{"n3    could not look"}},
		"all are well":      {map[string]*inspect.Snapshot{"n1": snapshotOf("n1", healthy)}, []string{"-A"}, exitFine, []string{"n1    nothing is wrong"}},
		"one node":          {map[string]*inspect.Snapshot{"n1": snapshotOf("n1", healthy)}, []string{"--node", "n1"}, exitFine, []string{"n1: nothing is wrong"}},
		"an older window":   {map[string]*inspect.Snapshot{"n1": snapshotOf("n1", nil)}, []string{"--node", "n1"}, exitBlind, nil},
		"both ways at once": {nil, []string{"--node", "n1", "-A"}, exitUsage, nil},
		"JSON":              {map[string]*inspect.Snapshot{"n1": snapshotOf("n1", healthy)}, []string{"-A", "-o", "json"}, exitFine, []string{`"kind": "DoctorList"`}},
	} {
		t.Run(name, func(t *testing.T) {
			code, out := runDoctor(t, &someNodes{snapshots: tc.nodes}, tc.args...)
			check.Equal(t, "exit code", code, tc.code)
			check.Contains(t, "output", out, tc.want...)
		})
	}
}

func withoutCluster() *genericclioptions.ConfigFlags {
	flags, nowhere := genericclioptions.NewConfigFlags(true), "/dev/null"
	flags.KubeConfig = &nowhere
	return flags
}

// runDoctor runs the command with a way to nodes.
func runDoctor(t *testing.T, nodes remoteNodes, args ...string) (code int, stdout string) {
	t.Helper()
	var out bytes.Buffer
	cmd := newDoctor(withoutCluster(), nodes)
	cmd.SetOut(&out)
	cmd.SetErr(&out)
	cmd.SilenceErrors, cmd.SilenceUsage = true, true
	cmd.SetArgs(args)
	return exitCode(cmd.ExecuteContext(t.Context())), out.String()
}

// What the API server answers is asked for as whoever runs the command; each answer that is none says why.
func TestDoctorAsksTheAPIServer(t *testing.T) {
	answers := map[string]string{
		"/version": `{"gitVersion": "v1.37.0"}`,
		"/apis/authorization.k8s.io/v1/selfsubjectaccessreviews": `{"kind": "SelfSubjectAccessReview", "apiVersion": "authorization.k8s.io/v1", "status": {"allowed": true}}`,
		"/api/v1/namespaces/plexus-system/pods": `{"kind": "PodList", "apiVersion": "v1", "items": [
			{"metadata": {"name": "old"}, "spec": {"containers": [{"name": "agent", "image": "plexus:v1"}]}, "status": {"conditions": [{"type": "Ready", "status": "False", "message": "it ends"}]}},
			{"metadata": {"name": "new"}, "spec": {"containers": [{"name": "follow", "image": "x"}, {"name": "agent", "image": "plexus:v2"}]}, "status": {"conditions": [{"type": "Ready", "status": "True"}]}}]}`,
	}
	var asked []string
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		answer, known := answers[r.URL.Path]
		asked = append(asked, r.URL.Query().Get("fieldSelector"))
		w.Header().Set("Content-Type", "application/json")
		if !known {
			w.WriteHeader(http.StatusNotFound)
			answer = `{"kind": "Status", "apiVersion": "v1", "reason": "NotFound", "code": 404}`
		}
		_, _ = io.WriteString(w, answer)
	}))
	defer server.Close()
	config := &rest.Config{Host: server.URL}
	api := askAPI(t.Context(), config, "n1")
	check.Equal(t, "agent", api.Agent, &inspect.AgentPod{Name: "new", Image: "plexus:v2", Ready: true})
	check.Equal(t, "version, CRD", []string{api.Version, api.CRD, api.Error, api.AgentError}, []string{"v1.37.0", "missing", "", ""})
	check.Equal(t, "rights", len(api.Rights) == len(neededRights) && api.Rights[0].Allowed, true)
	check.Equal(t, "the node's pods alone", slices.Contains(asked, "spec.nodeName=n1"), true)

	answers["/apis/k8s.cni.cncf.io/v1"] = `{"kind": "APIResourceList", "apiVersion": "v1", "groupVersion": "k8s.cni.cncf.io/v1", "resources": []}`
	delete(answers, "/apis/authorization.k8s.io/v1/selfsubjectaccessreviews")
	api = askAPI(t.Context(), config, "")
	check.Equal(t, "CRD", api.CRD, "served")
	check.Equal(t, "a right that is not known", api.Rights[0].Error != "", true)
	check.Contains(t, "no name", api.AgentError, "name is not known")
	server.Close()
	check.Contains(t, "no server", askAPI(t.Context(), config, "n1").Error, "refused")
}

// The page shows what doctor prints of a saved node. Run it with -update after a change.
func TestDoctorExample(t *testing.T) {
	const page, saved = "../../docs/doctor.md", "internal/inspect/testdata/doctor.json"
	got := runWith(t, "", "doctor", "--from", "../../"+saved)
	check.Equal(t, "exit code", got.code, exitWrong)
	text, err := os.ReadFile(page)
	check.Must(t, err)
	start := "```\n$ kubectl-plexus doctor --from " + saved + "\n"
	before, rest, found := strings.Cut(string(text), start)
	_, after, ended := strings.Cut(rest, "```\n")
	check.Equal(t, "the page has the example", found && ended, true)
	check.Golden(t, page, []byte(before+start+got.stdout+"```\n"+after))
}

// A snapshot without the part for doctor is refused, and two ways to a node are.
func TestDoctorRefuses(t *testing.T) {
	old := runWith(t, "", "doctor", "--from", "../inspect/testdata/host-end-off-bridge.json")
	check.Equal(t, "exit code", old.code, exitBlind)
	check.Contains(t, "stderr", old.stderr, "the snapshot has nothing of the node's files")
	redacted := runWith(t, "", "snapshot", "--from", "../inspect/testdata/doctor.json", "--redact").stdout
	got := runWith(t, redacted, "doctor", "--from", "-")
	check.Equal(t, "exit code", got.code, exitBlind)
	check.Contains(t, "stderr", got.stderr, "the snapshot is redacted")
}
