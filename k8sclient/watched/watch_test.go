package watched

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"net/http/httptest"
	"net/url"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// apiServer answers lists and watches of two kinds, as old servers do: without the
// initial list in the watch.
type apiServer struct {
	t       *testing.T
	mu      sync.Mutex
	refuses int // the status of everything, 0 for none
	lists   map[string]string
	queries map[string][]string        // by kind
	watches map[string]chan watchEvent // what the watch of a kind says next
	accepts map[string]map[string]bool // media types, by kind
}

// watchEvent ends the watch if it has no type.
type watchEvent struct {
	Type   string `json:"type"`
	Object any    `json:"object"`
}

func newAPIServer(t *testing.T) *apiServer {
	return &apiServer{
		t: t, lists: map[string]string{}, queries: map[string][]string{}, accepts: map[string]map[string]bool{KindPods: {}, KindNetworks: {}},
		watches: map[string]chan watchEvent{KindPods: make(chan watchEvent), KindNetworks: make(chan watchEvent)},
	}
}

func (s *apiServer) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	kind := map[string]string{
		"/api/v1/pods": KindPods, "/apis/k8s.cni.cncf.io/v1/network-attachment-definitions": KindNetworks,
	}[r.URL.Path]
	if r.URL.Path == "/apis/resource.k8s.io/v1/resourceslices" {
		kind = KindSlices + " " + r.URL.Query().Get("fieldSelector")
	}
	if kind == "" || r.Method != http.MethodGet {
		s.t.Errorf("%s %s", r.Method, r.URL)
	}
	s.mu.Lock()
	refuses, list := s.refuses, s.lists[kind]
	s.queries[kind] = append(s.queries[kind], r.URL.RawQuery)
	if s.accepts[kind] == nil {
		s.accepts[kind] = map[string]bool{}
	}
	s.accepts[kind][r.Header.Get("Accept")] = true
	s.mu.Unlock()
	w.Header().Set("Content-Type", "application/json")
	switch watching := r.URL.Query().Get("watch") != ""; {
	case refuses != 0:
		w.WriteHeader(refuses)
		fmt.Fprintf(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":%q,"message":"may not","code":%d}`, http.StatusText(refuses), refuses)
	case watching && r.URL.Query().Get("sendInitialEvents") != "":
		w.WriteHeader(http.StatusUnprocessableEntity)
		fmt.Fprint(w, `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Invalid","message":"sendInitialEvents: Forbidden","code":422}`)
	case watching:
		s.stream(w, r, kind)
	default:
		fmt.Fprint(w, list)
	}
}

func (s *apiServer) stream(w http.ResponseWriter, r *http.Request, kind string) {
	flush := w.(http.Flusher)
	w.WriteHeader(http.StatusOK)
	flush.Flush()
	for {
		select {
		case <-r.Context().Done():
			return
		case event := <-s.watchOf(kind):
			if event.Type == "" {
				return
			}
			if err := json.NewEncoder(w).Encode(event); err != nil {
				return
			}
			flush.Flush()
		}
	}
}

// watchOf gives what the watch of a kind says next.
func (s *apiServer) watchOf(kind string) chan watchEvent {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.watches[kind] == nil {
		s.watches[kind] = make(chan watchEvent)
	}
	return s.watches[kind]
}

func (s *apiServer) set(kind, list string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.lists[kind] = list
}

const (
	podList = `{"kind":"PartialObjectMetadataList","apiVersion":"meta.k8s.io/v1","metadata":{"resourceVersion":"5"},"items":[%s]}`
	nadList = `{"kind":"NetworkAttachmentDefinitionList","apiVersion":"k8s.cni.cncf.io/v1","metadata":{"resourceVersion":"5"},"items":[%s]}`
	aNAD    = `{"kind":"NetworkAttachmentDefinition","apiVersion":"k8s.cni.cncf.io/v1","metadata":{"namespace":"d","name":%q,"resourceVersion":"3"},"spec":{"config":%q}}`
	aPod    = `{"kind":"PartialObjectMetadata","apiVersion":"meta.k8s.io/v1","metadata":{"namespace":"d","name":%q,"uid":%q,"resourceVersion":"4","annotations":{"k8s.v1.cni.cncf.io/networks":"a","other":"x"}}}`
)

func podJSON(name, uid string) string        { return fmt.Sprintf(aPod, name, uid) }
func networkJSON(name, config string) string { return fmt.Sprintf(aNAD, name, config) }

// watching makes a cache that follows the server until the test ends.
func watching(t *testing.T, s *apiServer) (*Cache, *changes) {
	t.Helper()
	server := httptest.NewServer(s)
	changed := &changes{}
	c, err := New(Options{
		Config: &rest.Config{Host: server.URL, QPS: -1}, HTTP: server.Client(), Node: "node-1", Live: &live{},
		PodChanged: changed.of, Count: func(string, bool) {}, Log: noLog(),
	})
	check.Must(t, err)
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		c.Run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		<-done
		server.Close()
	})
	return c, changed
}

// config demands that the cache comes to know a network so; "" for not at all.
func awaitConfig(t *testing.T, c *Cache, name, config string) {
	t.Helper()
	check.Eventually(t, "network "+name, patience, func() error {
		if got, known := c.networks.get(ref(name)); got.config.text() != config || known != (config != "") {
			return fmt.Errorf("it is %q, known %v", got.config.text(), known)
		}
		return nil
	})
}

func TestWatch(t *testing.T) {
	s := newAPIServer(t)
	s.set(KindPods, fmt.Sprintf(podList, podJSON("web", "u1")))
	s.set(KindNetworks, fmt.Sprintf(nadList, networkJSON("a", "A")+","+networkJSON("b", "B")))
	c, changed := watching(t, s)
	check.Must(t, c.Synced(t.Context()))
	pod, known := c.Pod(ref("web"))
	if diff := cmp.Diff(map[string]string{types.AnnotationNetworks: "a"}, pod.Annotations); !known || pod.UID != "u1" || diff != "" {
		t.Errorf("pod %+v, known %v: %s", pod, known, diff)
	}
	awaitConfig(t, c, "a", "A")

	say := func(kind, what, object string) { s.watches[kind] <- watchEvent{what, json.RawMessage(object)} }
	say(KindNetworks, "MODIFIED", networkJSON("a", "A2"))
	awaitConfig(t, c, "a", "A2")
	say(KindNetworks, "DELETED", networkJSON("b", "B"))
	awaitConfig(t, c, "b", "")
	say(KindNetworks, "ADDED", networkJSON("c", "C"))
	awaitConfig(t, c, "c", "C")
	changed.take()
	say(KindPods, "ADDED", podJSON("db", "u2"))
	say(KindPods, "DELETED", podJSON("web", "u1"))
	check.Eventually(t, "the pods", patience, func() error {
		_, old := c.Pod(ref("web"))
		if _, come := c.Pod(ref("db")); old || !come {
			return fmt.Errorf("the old one is known: %v, the new one: %v", old, come)
		}
		return nil
	})
	var news []string
	check.Eventually(t, "the news of them", patience, func() error {
		news = append(news, changed.take()...)
		slices.Sort(news)
		if diff := cmp.Diff([]string{"db", "web"}, news); diff != "" {
			return fmt.Errorf("changed (-want +got):\n%s", diff)
		}
		return nil
	})

	// The watch breaks, and the server has forgotten the changes since: everything is listed again.
	s.set(KindNetworks, fmt.Sprintf(nadList, networkJSON("e", "E")))
	say(KindNetworks, "ERROR", `{"kind":"Status","apiVersion":"v1","status":"Failure","reason":"Expired","message":"too old resource version","code":410}`)
	awaitConfig(t, c, "e", "E")
	awaitConfig(t, c, "a", "")
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, query := range s.queries[KindPods] {
		if !strings.Contains(query, "fieldSelector=spec.nodeName%3Dnode-1") {
			t.Errorf("pods of all nodes are asked for: %s", query)
		}
	}
	for kind, queries := range s.queries {
		for _, query := range queries {
			values, err := url.ParseQuery(query)
			check.Must(t, err)
			if values.Get("watch") == "" || values.Get("sendInitialEvents") != "" {
				continue
			}
			if seconds, err := strconv.Atoi(values.Get("timeoutSeconds")); err != nil || seconds < 30 || seconds > 60 {
				t.Errorf("the watch of %s is not asked for again within a minute: %s", kind, query)
			}
		}
	}
	for accept := range s.accepts[KindPods] {
		if !strings.Contains(accept, "PartialObjectMetadata") {
			t.Errorf("whole pods are asked for: %s", accept)
		}
	}
}

// As long as it is refused it says so, and it recovers by itself.
func TestWatchRefused(t *testing.T) {
	s := newAPIServer(t)
	s.refuses = http.StatusForbidden
	c, _ := watching(t, s)
	for _, kind := range []string{KindPods, KindNetworks} {
		check.Eventually(t, kind+" to be refused", patience, func() error {
			if err := c.Ready(); err == nil || !strings.Contains(err.Error(), kind+" are not known yet: may not") {
				return fmt.Errorf("it says %w", err)
			}
			return nil
		})
	}
	s.set(KindPods, fmt.Sprintf(podList, ""))
	s.set(KindNetworks, fmt.Sprintf(nadList, ""))
	s.mu.Lock()
	s.refuses = 0
	s.mu.Unlock()
	check.Eventually(t, "it to know all", patience, c.Ready)
}

// setRefuses makes the server answer everything with a status; 0 for as usual.
func (s *apiServer) setRefuses(status int) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.refuses = status
}

// A right that is taken away counts from the next request of the watch on. What was known
// before is used again only as it is listed then.
func TestWatchRefusedLater(t *testing.T) {
	for _, status := range []int{http.StatusForbidden, http.StatusUnauthorized, http.StatusNotFound} {
		t.Run(http.StatusText(status), func(t *testing.T) {
			t.Parallel()
			s := newAPIServer(t)
			s.set(KindPods, fmt.Sprintf(podList, podJSON("web", "u1")))
			s.set(KindNetworks, fmt.Sprintf(nadList, networkJSON("a", "A")+","+networkJSON("b", "B")))
			c, _ := watching(t, s)
			check.Must(t, c.Synced(t.Context()))
			read := func(name string) error {
				networks, err := c.ReadNetworks(t.Context(), []types.Ref{ref(name)})
				if err == nil {
					return errors.New(networks[0].Config)
				}
				return err
			}
			s.setRefuses(status)
			for _, kind := range []string{KindPods, KindNetworks} {
				check.Eventually(t, kind+" to be refused", patience, func() error {
					select {
					case s.watches[kind] <- watchEvent{}: // it ends, as it does once a minute at least
					default:
					}
					if err := c.Ready(); err == nil || !strings.Contains(err.Error(), kind+" may have changed, and the API server refuses the agent: may not") {
						return fmt.Errorf("it says %w", err)
					}
					return nil
				})
			}
			if err := read("a"); types.CodeOf(err, 0) != types.CodeTryAgainLater {
				t.Errorf("network a: %v", err)
			}
			if _, err := c.ReadPod(t.Context(), &types.Pod{Namespace: "d", Name: "web", UID: "u1"}); types.CodeOf(err, 0) != types.CodeTryAgainLater {
				t.Errorf("pod web: %v", err)
			}
			s.set(KindNetworks, fmt.Sprintf(nadList, networkJSON("a", "A2")))
			s.setRefuses(0)
			check.Eventually(t, "it to answer again", patience, c.Ready)
			if err := read("a"); err.Error() != "A2" {
				t.Errorf("network a: %v", err)
			}
			awaitConfig(t, c, "b", "")
		})
	}
}
