package window

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"testing"
	"testing/synctest"
	"time"

	"k8s.io/cli-runtime/pkg/genericclioptions"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// changingNode is a node that says when something changed.
type changingNode struct {
	savedNode
	changes chan struct{}
}

func (n changingNode) Changes(context.Context) (<-chan struct{}, error) { return n.changes, nil }

// A node is read when it says so, and now and then; never in a loop without a pause.
func TestWatch(t *testing.T) {
	for name, tc := range map[string]struct {
		says  bool          // the node does
		tell  time.Duration // until the node says that something changed
		until time.Duration
		reads int
	}{
		"from afar":         {false, 0, 10*(pollEvery+settle) - settle, 10},
		"on the node":       {true, 0, 3*(checkEvery+settle) - settle, 3},
		"a change":          {true, time.Second, 2 * time.Second, 2},
		"one in the pause":  {true, settle / 2, time.Second, 2},
		"a node that fails": {false, 0, time.Minute, -1},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				ctx, cancel := context.WithTimeout(t.Context(), tc.until)
				defer cancel()
				changes := make(chan struct{}, 1) // in the test's own time
				var node inspect.Node = savedNode{}
				if tc.says {
					node = changingNode{changes: changes}
				}
				if tc.tell > 0 {
					time.AfterFunc(tc.tell, func() { changes <- struct{}{} })
				}
				reads := 0
				err := watch(ctx, node, func() error {
					if reads++; tc.reads < 0 && reads == 3 {
						return errors.New("the node is gone")
					}
					return nil
				})
				if tc.reads < 0 {
					check.Error(t, err, "the node is gone")
					return
				}
				check.Must(t, err)
				check.Equal(t, "reads", reads, tc.reads)
			})
		})
	}
}

func TestWatchOfFile(t *testing.T) {
	got := runWith(t, "", "get", "--from", saved, "--watch")
	check.Equal(t, "exit code", got.code, exitUsage)
	check.Equal(t, "error", got.stderr, "kubectl-plexus: --watch: a saved snapshot does not change\n")
}

// Only what changes is written, below the columns of the list.
func TestFollow(t *testing.T) {
	for format, want := range map[string]string{
		formatText: "POD          INTERFACE  NETWORK          ADDRESSES    HOST SIDE     STATE\n" +
			"default/web  eth0       cbr0             10.1.0.2/16  vethcb40dac6  ok\n" +
			"default/web  net0       default/storage  10.2.0.2/16  up0           ok\n" +
			"default/web  net0       default/storage  -            up0           changed (net0 lacks 10.2.0.2/16)\n" +
			"default/web  eth0       cbr0             10.1.0.2/16  vethcb40dac6  released\n" +
			"default/web  net0       default/storage  -            up0           released\n",
	} {
		synctest.Test(t, func(t *testing.T) {
			var stdout bytes.Buffer
			cmd := newVersion()
			cmd.SetOut(&stdout)
			ctx, cancel := context.WithTimeout(t.Context(), 4*(pollEvery+settle)-settle)
			defer cancel()
			cmd.SetContext(ctx)
			o := &getOptions{pod: "default/web", output: &output{format: format}}
			check.Must(t, o.follow(cmd, &agingNode{t: t}))
			check.Equal(t, "output", stdout.String(), want)
		})
	}
}

// agingNode is as it was saved, then an address goes away, and then the pod.
type agingNode struct {
	savedNode
	t    *testing.T
	read int
}

func (n *agingNode) Snapshot(context.Context, inspect.Request) (*inspect.Snapshot, error) {
	data, err := os.ReadFile(saved)
	check.Must(n.t, err)
	s, err := inspect.Parse(data)
	check.Must(n.t, err)
	n.read++
	if inode, err := s.FindPod("default/web"); n.read > 1 && err == nil {
		inspect.NewGraph(s).Namespace(inode).LinkNamed("net0").Addresses = nil
	}
	if n.read > 2 {
		s.Records = nil
	}
	return s, nil
}

// With a cluster the status of the pod is compared; without an answer the journal counts, and get says so.
func TestGetComparesStatus(t *testing.T) {
	t.Setenv("KUBECONFIG", filepath.Join(t.TempDir(), "none"))
	t.Setenv("KUBERNETES_SERVICE_HOST", "")
	var asked []string
	status := ""
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		asked = append(asked, r.URL.Path+"?"+r.URL.Query().Get("fieldSelector"))
		w.Header().Set("Content-Type", "application/json")
		if status == "" {
			w.WriteHeader(http.StatusForbidden)
			_, _ = w.Write([]byte(`{"kind": "Status", "apiVersion": "v1", "status": "Failure", "reason": "Forbidden", "code": 403, "message": "no"}`))
			return
		}
		pod := map[string]any{"metadata": map[string]any{"name": "web", "namespace": "default", "annotations": map[string]string{"k8s.v1.cni.cncf.io/network-status": status}}}
		check.Must(t, json.NewEncoder(w).Encode(map[string]any{"kind": "PodList", "apiVersion": "v1", "items": []any{pod}}))
	}))
	defer server.Close()
	flags := genericclioptions.NewConfigFlags(false)
	list := func(pod string) *inspect.AttachedList {
		o := &getOptions{pod: pod, node: nodeFlags{afar: afar{cluster: flags}}}
		list, err := o.list(t.Context(), &agingNode{t: t})
		check.Must(t, err)
		return list
	}
	check.Equal(t, "state without a cluster", list("default/web").Items[0].State, inspect.StateOK)
	check.Equal(t, "questions without a cluster", len(asked), 0)

	flags.APIServer = &server.URL
	forbidden := list("default/web")
	check.Equal(t, "state without an answer", forbidden.Items[0].State, inspect.StateOK)
	check.Contains(t, "what is said of it", forbidden.Notes[0].Text, "the journal counts: no")

	status = `[{"name": "cbr0", "interface": "eth0", "ips": ["10.1.0.2"]}, {"name": "default/storage", "interface": "net0", "ips": ["10.2.0.3"]}]`
	answered := list("")
	check.Equal(t, "state of another pod", answered.Items[0].State, inspect.StateOK)
	check.Equal(t, "state of what is published", answered.Items[2].State, inspect.StateOK)
	check.Equal(t, "state of what is not", answered.Items[3].State, inspect.StateUnpublished)

	status = "["
	check.Contains(t, "a status that cannot be read", list("default/web").Notes[0].About, "pod default/web")
	check.Equal(t, "questions", asked, []string{
		"/api/v1/namespaces/default/pods?metadata.name=web", "/api/v1/pods?spec.nodeName=" + nameOf(t), "/api/v1/namespaces/default/pods?metadata.name=web",
	})
}
