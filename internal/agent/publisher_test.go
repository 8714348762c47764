package agent

import (
	"context"
	"errors"
	"fmt"
	"maps"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/k8sclient/watched"
	"github.com/plexus-cni/plexus/types"
)

// api is what the watch has of pod d/web, and what is written to it.
type api struct {
	mu      sync.Mutex
	pod     k8sclient.PodObject
	known   bool
	failing int // patches that fail first
	gone    error
	others  map[string]string // annotations beside the status
	patches []patch
}

type patch struct{ Pod, UID, Status string }

func (a *api) get(ref types.Ref) (k8sclient.PodObject, bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.pod, a.known && ref == web
}

// set is what the watch has from now on.
func (a *api) set(uid, version, annotation string) {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.known = true
	a.pod = watched.Reduce(k8sclient.PodObject{UID: uid, ResourceVersion: version, Annotations: map[string]string{types.AnnotationNetworkStatus: annotation}})
}

// patch writes version 11, 13, …, and the watch does not hear of it by itself.
func (a *api) patch(_ context.Context, pod types.Pod, status []types.NetworkStatus) (*k8sclient.PodObject, error) {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.gone != nil {
		return nil, a.gone
	}
	if a.failing > 0 {
		a.failing--
		return nil, errors.New("the API server is down")
	}
	text, err := types.FormatStatus(status)
	a.patches = append(a.patches, patch{pod.String(), pod.UID, text})
	annotations := map[string]string{types.AnnotationNetworkStatus: text}
	maps.Copy(annotations, a.others)
	return &k8sclient.PodObject{UID: pod.UID, ResourceVersion: fmt.Sprint(9 + 2*len(a.patches)), Annotations: annotations}, err
}

func (a *api) written() []patch {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.patches
}

// publishing gives a publisher that does not run yet, for a node whose journal has the
// records.
func publishing(t *testing.T, known ...attachment) (*node, *api, *publisher) {
	t.Helper()
	n, a := newNode(t), &api{}
	for _, r := range known {
		n.write(r)
	}
	_, err := n.records.scan()
	check.Must(t, err)
	p := newPublisher(n.records, newMetrics(), noLog())
	p.pod, p.patch = a.get, a.patch
	return n, a, p
}

func wantPatches(t *testing.T, a *api, want ...patch) {
	t.Helper()
	if diff := cmp.Diff(want, a.written()); diff != "" {
		t.Errorf("patches (-want +got):\n%s", diff)
	}
}

func TestSettle(t *testing.T) {
	c1, c2, long := annotationFor(t, "c1"), annotationFor(t, "c2"), annotationFor(t, "long")
	for name, test := range map[string]struct {
		records []attachment
		watch   func(*api)
		want    []patch
	}{
		"nothing is published":      {records: []attachment{{id: "c1", uid: "u1"}}, watch: func(a *api) { a.set("u1", "10", "") }, want: []patch{{"d/web", "u1", c1}}},
		"something else is":         {records: []attachment{{id: "c1", uid: "u1"}}, watch: func(a *api) { a.set("u1", "10", c2) }, want: []patch{{"d/web", "u1", c1}}},
		"nonsense is":               {records: []attachment{{id: "c1", uid: "u1"}}, watch: func(a *api) { a.set("u1", "10", "nonsense") }, want: []patch{{"d/web", "u1", c1}}},
		"it is published":           {records: []attachment{{id: "c1", uid: "u1"}}, watch: func(a *api) { a.set("u1", "10", c1) }},
		"a long one is published":   {records: []attachment{{id: "long", uid: "u1"}}, watch: func(a *api) { a.set("u1", "10", long) }},
		"another long one is":       {records: []attachment{{id: "long", uid: "u1"}}, watch: func(a *api) { a.set("u1", "10", long+" ") }, want: []patch{{"d/web", "u1", long}}},
		"no sandbox":                {watch: func(a *api) { a.set("u1", "10", "of somebody else") }},
		"no pod":                    {records: []attachment{{id: "c1", uid: "u1"}}, watch: func(*api) {}},
		"a sandbox of an older pod": {records: []attachment{{id: "c1", uid: "u0"}}, watch: func(a *api) { a.set("u1", "10", "") }},
		"of no UID":                 {records: []attachment{{id: "c1"}}, watch: func(a *api) { a.set("u1", "10", "") }, want: []patch{{"d/web", "u1", c1}}},
		"of a static pod": {
			records: []attachment{{id: "c1", uid: "hash"}},
			watch: func(a *api) {
				a.set("mirror", "10", "")
				a.pod.Annotations[types.AnnotationConfigHash] = "hash"
			},
			want: []patch{{"d/web", "mirror", c1}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			_, a, p := publishing(t, test.records...)
			test.watch(a)
			check.Must(t, p.settle(t.Context(), web))
			wantPatches(t, a, test.want...)
		})
	}
}

// Until the watch has our own write, it is not made again; what is written after it counts.
func TestSettleKnowsItsOwnWrite(t *testing.T) {
	n, a, p := publishing(t, attachment{id: "c1", uid: "u1", age: time.Minute})
	settle := func(want ...patch) {
		t.Helper()
		check.Must(t, p.settle(t.Context(), web))
		wantPatches(t, a, want...)
	}
	first, second := patch{"d/web", "u1", annotationFor(t, "c1")}, patch{"d/web", "u1", annotationFor(t, "c2")}
	a.set("u1", "9", "")
	settle(first) // writes version 11
	settle(first)
	a.set("u1", "10", "an older write of another program")
	settle(first)
	a.set("u1", "11", first.Status)
	settle(first)
	a.set("u1", "12", "a later write of another program")
	if err := p.settle(t.Context(), web); !errors.Is(err, errRival) {
		t.Errorf("got %v, want a pause before the same is written again", err)
	}
	wantPatches(t, a, first)
	p.now = func() time.Time { return time.Now().Add(rivalPause) }
	settle(first, first)

	// Another sandbox, before the watch shows that.
	n.write(attachment{id: "c2", uid: "u1"})
	n.scan("web")
	settle(first, first, second)
	settle(first, first, second)
}

// Of a pod as a write of ours left it, which has whatever its owner put there, only what is
// compared is remembered.
func TestWrittenPodsAreReduced(t *testing.T) {
	_, a, p := publishing(t, attachment{id: "long", uid: "u1"})
	a.set("u1", "10", "")
	a.others = map[string]string{"mine": strings.Repeat("x", 200<<10), types.AnnotationNetworks: strings.Repeat("n", 200<<10)}
	check.Must(t, p.settle(t.Context(), web))
	kept := 0
	for key, value := range p.written[web].pod.Annotations {
		kept += len(key) + len(value)
	}
	if kept == 0 || kept > 1<<10 {
		t.Errorf("%d bytes of annotations are kept", kept)
	}
	check.Must(t, p.settle(t.Context(), web)) // it knows its own write
	wantPatches(t, a, patch{"d/web", "u1", annotationFor(t, "long")})
}

func TestCurrent(t *testing.T) {
	ours := k8sclient.PodObject{UID: "u1", ResourceVersion: "11", Annotations: map[string]string{types.AnnotationNetworkStatus: "ours"}}
	for name, test := range map[string]struct {
		uid, version string
		want         string
	}{
		"an older version":           {"u1", "10", "ours"},
		"an older one of less width": {"u1", "9", "ours"},
		"our own":                    {"u1", "11", "seen"},
		"a later version":            {"u1", "12", "seen"},
		"a later one of more width":  {"u1", "100", "seen"},
		"another pod of that name":   {"u2", "10", "seen"},
		"a version of another kind":  {"u1", "v10", "seen"},
		"no version":                 {"u1", "", "seen"},
	} {
		t.Run(name, func(t *testing.T) {
			_, a, p := publishing(t)
			p.remember(web, ours)
			a.set(test.uid, test.version, "seen")
			pod, known := p.current(web)
			if got := pod.Annotations[types.AnnotationNetworkStatus]; !known || got != test.want {
				t.Errorf("got %q, known %v, want %q", got, known, test.want)
			}
			if kept := len(p.written); kept != 0 && test.uid != "u1" {
				t.Errorf("%d writes are kept of a pod that is gone", kept)
			}
		})
	}
	t.Run("a write that the watch never shows", func(t *testing.T) {
		_, a, p := publishing(t)
		p.remember(web, ours)
		a.set("u1", "10", "seen")
		p.now = func() time.Time { return time.Now().Add(trustWrites + time.Second) }
		if pod, _ := p.current(web); pod.Annotations[types.AnnotationNetworkStatus] != "seen" || len(p.written) > 0 {
			t.Errorf("got %+v, %d writes are kept", pod, len(p.written))
		}
	})
	t.Run("the pod has gone", func(t *testing.T) {
		_, _, p := publishing(t)
		p.remember(web, ours)
		if _, known := p.current(web); known || len(p.written) > 0 {
			t.Errorf("known %v, %d writes are kept", known, len(p.written))
		}
	})
}

// goneError is the error of a real patch of a pod that is not there any more.
func goneError(t *testing.T, status int, body string) error {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		w.WriteHeader(status)
		fmt.Fprint(w, body)
	}))
	defer server.Close()
	client, err := k8sclient.NewResident(&rest.Config{Host: server.URL}, server.Client(), k8sclient.Options{})
	check.Must(t, err)
	_, err = client.PatchStatus(t.Context(), types.Pod{Namespace: "d", Name: "web", UID: "u1"}, statusFor("c1"))
	if err == nil {
		t.Fatal("the patch succeeded")
	}
	return err
}

// A pod that has gone, or has another of its name in its place, is forgotten.
func TestSettleGone(t *testing.T) {
	for name, err := range map[string]error{
		"no such pod": goneError(t, http.StatusNotFound, `{"kind":"Status","reason":"NotFound","message":"pods \"web\" not found"}`),
		"another pod": goneError(t, http.StatusUnprocessableEntity, `{"kind":"Status","reason":"Invalid","message":"m","details":{"causes":[{"field":"metadata.uid"}]}}`),
	} {
		t.Run(name, func(t *testing.T) {
			_, a, p := publishing(t, attachment{id: "c1", uid: "u1"})
			a.set("u1", "10", "")
			a.gone = err
			check.Must(t, p.settle(t.Context(), web))
			if err := wantValue(t, p.metrics, 1, "plexus_publications_total", "outcome", "gone"); err != nil {
				t.Error(err)
			}
		})
	}
	t.Run("an answer of something else", func(t *testing.T) {
		_, a, p := publishing(t, attachment{id: "c1", uid: "u1"})
		a.set("u1", "10", "")
		a.gone = goneError(t, http.StatusNotFound, "404 page not found")
		if err := p.settle(t.Context(), web); err == nil {
			t.Error("it is taken for the end of the pod")
		}
	})
}

// starts runs a publisher until the end of the test.
func (p *publisher) start(t *testing.T) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() {
		defer close(done)
		p.run(ctx)
	}()
	t.Cleanup(func() {
		cancel()
		select {
		case <-done:
		case <-time.After(patience):
			t.Error("the publisher does not end")
		}
	})
}

// What is attached when it starts is published, and what fails is tried again.
func TestPublisherTriesAgain(t *testing.T) {
	n, a, p := publishing(t)
	n.write(attachment{id: "c1", uid: "u1"})
	a.set("u1", "10", "")
	a.failing = 3
	p.start(t)
	check.Eventually(t, "the status", patience, func() error {
		if got := a.written(); len(got) != 1 {
			return fmt.Errorf("patches: %v", got)
		}
		return nil
	})
	for outcome, want := range map[string]float64{"ok": 1, "error": 3} {
		check.Eventually(t, outcome, patience, func() error { return wantValue(t, p.metrics, want, "plexus_publications_total", "outcome", outcome) })
	}
	check.Eventually(t, "the backoff to be forgotten", patience, func() error {
		if again := p.queue.NumRequeues(web); again != 0 {
			return fmt.Errorf("%d", again)
		}
		return nil
	})
}

// It publishes when a record is reported to have changed, and when the watch brings the pod.
func TestPublisherLooks(t *testing.T) {
	n, a, p := publishing(t)
	p.start(t)
	awaitWritten := func(count int) {
		t.Helper()
		check.Eventually(t, "a patch", patience, func() error {
			if got := a.written(); len(got) != count {
				return fmt.Errorf("patches: %v", got)
			}
			return nil
		})
	}
	n.write(attachment{id: "c1", uid: "u1"})
	p.recordChanged("c1") // the watch has not brought the pod yet
	a.set("u1", "10", "")
	p.enqueue(web)
	awaitWritten(1)
	a.set("u1", "12", "another program has overwritten it")
	p.enqueue(web)
	awaitWritten(2)
	n.write(attachment{id: "c2", uid: "u1", age: -time.Minute})
	p.recordChanged("c2")
	awaitWritten(3)
	p.recordChanged("nobody")
	p.recordChanged("../../etc/passwd")
	check.Eventually(t, "an empty queue", patience, func() error {
		if length := p.queue.Len(); length > 0 {
			return fmt.Errorf("%d pods", length)
		}
		return nil
	})
	c1, c2 := annotationFor(t, "c1"), annotationFor(t, "c2")
	wantPatches(t, a, patch{"d/web", "u1", c1}, patch{"d/web", "u1", c1}, patch{"d/web", "u1", c2})
}
