package k8sclient

import (
	"context"
	"encoding/pem"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/poll"
	"github.com/plexus-cni/plexus/types"
)

// api is an API server of canned answers by path; what it does not have is not found.
type api struct {
	answers map[string]answer
	http1   bool
	block   chan struct{} // requests for networks wait for it, if it is set

	mu    sync.Mutex
	paths []string
	conns atomic.Int32
}

const (
	podURL = "/api/v1/namespaces/ns/pods/p"
	nadURL = "/apis/k8s.cni.cncf.io/v1/namespaces/ns/network-attachment-definitions/"
)

func (a *api) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	a.mu.Lock()
	a.paths = append(a.paths, r.Method+" "+r.URL.Path)
	a.mu.Unlock()
	if a.block != nil && strings.HasPrefix(r.URL.Path, nadURL) {
		<-a.block
	}
	found, ok := a.answers[r.URL.Path]
	if !ok {
		w.WriteHeader(http.StatusNotFound)
		_, _ = w.Write([]byte(`{"kind":"Status","reason":"NotFound","message":"not found"}`))
		return
	}
	w.WriteHeader(found.code)
	_, _ = w.Write([]byte(found.body))
}

// client starts the server and makes a client of it, by a kubeconfig.
func (a *api) client(t *testing.T) *Client {
	t.Helper()
	server := httptest.NewUnstartedServer(a)
	server.EnableHTTP2 = !a.http1
	server.Config.ConnState = func(_ net.Conn, state http.ConnState) {
		if state == http.StateNew {
			a.conns.Add(1)
		}
	}
	server.StartTLS()
	t.Cleanup(server.Close)
	authority := pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: server.Certificate().Raw})
	path := writeKubeconfig(t, "server: '"+server.URL+"', certificate-authority-data: "+b64(string(authority)), "token: t", nil)
	c, err := New(Options{Kubeconfig: path, UserAgent: "test"})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func TestFacts(t *testing.T) {
	podBody := `{"metadata":{"uid":"u1","annotations":{"k8s.v1.cni.cncf.io/networks":"a,b","x":"y"}}}`
	pod := types.Pod{Namespace: "ns", Name: "p", UID: "u1", Annotations: map[string]string{types.AnnotationNetworks: "a,b"}}
	answers := map[string]answer{
		podURL:       {code: 200, body: podBody},
		nadURL + "a": {code: 200, body: `{"metadata":{"annotations":{"k8s.v1.cni.cncf.io/resourceName":"r"}},"spec":{"config":"{}"}}`},
		nadURL + "f": {code: 403, body: `{"message":"no"}`},
		nadURL + "j": {code: 200, body: `[]`},
	}
	networkA := types.Network{Ref: ref("ns", "a"), Config: "{}", ResourceName: "r"}
	missingB := types.Network{Ref: ref("ns", "b"), Missing: true}
	for name, test := range map[string]struct {
		request types.FactsRequest
		want    types.Facts
		paths   []string
	}{
		"pod and networks": {
			request: types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p"}, Networks: []types.Ref{ref("ns", "a")}},
			want:    types.Facts{Pod: pod, Networks: []types.Network{networkA, missingB}},
			paths:   []string{"GET " + podURL, "GET " + nadURL + "a", "GET " + nadURL + "b"},
		},
		"annotations from the runtime": {
			request: types.FactsRequest{HasAnnotations: true, Pod: types.Pod{
				Namespace: "ns", Name: "p", UID: "u9",
				Annotations: map[string]string{types.AnnotationNetworks: "a", "kubernetes.io/config.source": "file"},
			}},
			want: types.Facts{
				Pod:      types.Pod{Namespace: "ns", Name: "p", UID: "u9", Static: true, Annotations: map[string]string{types.AnnotationNetworks: "a"}},
				Networks: []types.Network{networkA},
			},
			paths: []string{"GET " + nadURL + "a"},
		},
		"no pod": {
			request: types.FactsRequest{Networks: []types.Ref{ref("ns", "a")}},
			want:    types.Facts{Pod: types.Pod{Annotations: map[string]string{}}, Networks: []types.Network{networkA}},
			paths:   []string{"GET " + nadURL + "a"},
		},
		"networks that cannot be had": {
			request: types.FactsRequest{Networks: []types.Ref{ref("ns", "f"), ref("ns", "j")}},
			want: types.Facts{Pod: types.Pod{Annotations: map[string]string{}}, Networks: []types.Network{
				{Ref: ref("ns", "f"), Problem: "read network ns/f at URL: 403 Forbidden: no: these credentials may not read networks; " +
					"with the kubelet's, bind a ClusterRole that may to the group system:nodes (deploy/rbac-nodes.yaml)"},
				{Ref: ref("ns", "j"), Problem: "read network ns/j at URL: json: cannot unmarshal array into Go value of type struct"},
			}},
			paths: []string{"GET " + nadURL + "f", "GET " + nadURL + "j"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			a := &api{answers: answers}
			c := a.client(t)
			got, err := c.Facts(t.Context(), &test.request)
			if err != nil {
				t.Fatal(err)
			}
			for i := range got.Networks {
				problem := strings.ReplaceAll(got.Networks[i].Problem, c.server.String(), "URL")
				problem, _, _ = strings.Cut(problem, " { Metadata")
				got.Networks[i].Problem = problem
			}
			if diff := cmp.Diff(&test.want, got); diff != "" {
				t.Error(diff)
			}
			slices.Sort(a.paths)
			if diff := cmp.Diff(test.paths, a.paths); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestFactsRefuseAnOlderPodsSandbox(t *testing.T) {
	a := &api{answers: map[string]answer{podURL: {code: 200, body: `{"metadata":{"uid":"new"}}`}}}
	_, err := a.client(t).Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p", UID: "old"}})
	check.Error(t, err, "pod ns/p", "older pod", "UID old", "UID new")
}

// Who deletes pods while they start makes no node look ill.
func TestFactsOfADeletedPod(t *testing.T) {
	for name, test := range map[string]struct {
		answer answer
		want   string
	}{
		"it is gone":                {answer{code: 404, body: `{"message":"no"}`}, types.FaultUser},
		"another one has its name":  {answer{code: 200, body: `{"metadata":{"uid":"new"}}`}, types.FaultUser},
		"it may not be read":        {answer{code: 403, body: `{"message":"no"}`}, ""},
		"the answer makes no sense": {answer{code: 200, body: `[]`}, ""},
	} {
		a := &api{answers: map[string]answer{podURL: test.answer}}
		_, err := a.client(t).Facts(t.Context(), &types.FactsRequest{Pod: types.Pod{Namespace: "ns", Name: "p", UID: "old"}})
		if err == nil || types.FaultOf(types.ErrorResponse(err).Error) != test.want {
			t.Errorf("%s: got %v, the fault %q, want %q", name, err, types.FaultOf(err), test.want)
		}
	}
}

func TestNetworksAreReadInParallelOverOneConnection(t *testing.T) {
	a := &api{block: make(chan struct{}), answers: map[string]answer{}}
	var refs []types.Ref
	for _, name := range strings.Split("abcdefghij", "") {
		refs = append(refs, ref("ns", name))
	}
	c := a.client(t)
	done := make(chan error)
	go func() {
		_, err := c.Facts(t.Context(), &types.FactsRequest{Networks: refs})
		done <- err
	}()
	err := poll.Until(t.Context(), 10*time.Second, "all requests to be under way", func(context.Context) error {
		if got := a.seen(); got != len(refs) {
			return fmt.Errorf("%d requests are under way at a time, want %d", got, len(refs))
		}
		return nil
	})
	if err != nil {
		t.Error(err) // the requests have to end first
	}
	close(a.block)
	if err := <-done; err != nil {
		t.Fatal(err)
	}
	if n := a.conns.Load(); n != 1 {
		t.Errorf("%d connections, want 1", n)
	}
}

func (a *api) seen() int {
	a.mu.Lock()
	defer a.mu.Unlock()
	return len(a.paths)
}

func TestAServerOfHTTP1(t *testing.T) {
	a := &api{http1: true}
	got, err := a.client(t).Facts(t.Context(), &types.FactsRequest{Networks: []types.Ref{ref("ns", "a"), ref("ns", "b"), ref("ns", "c")}})
	if err != nil || len(got.Networks) != 3 || !got.Networks[2].Missing {
		t.Errorf("got %+v, %v", got, err)
	}
}

func TestKubeconfigIsRead(t *testing.T) {
	_, err := New(Options{Kubeconfig: filepath.Join(t.TempDir(), "gone")})
	check.Error(t, err, "kubeconfig", "gone")
}

func TestAConnectionThatHasWaitedTooLong(t *testing.T) {
	ours, theirs := net.Pipe()
	defer theirs.Close()
	d := &earlyDialer{first: make(chan dialed, 1)}
	d.first <- dialed{conn: ours, at: time.Now().Add(-time.Minute)}
	_, err := d.DialTLSContext(t.Context(), "tcp", "127.0.0.1:1")
	check.Error(t, err, "connection refused") // of another one
	if _, err := theirs.Read(make([]byte, 1)); err == nil {
		t.Error("the first is still open")
	}
}
