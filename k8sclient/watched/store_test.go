package watched

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	nadv1 "github.com/k8snetworkplumbingwg/network-attachment-definition-client/pkg/apis/k8s.cni.cncf.io/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// patience is how long a test waits for what must come.
const patience = 20 * time.Second

func noLog() *slog.Logger { return slog.New(slog.DiscardHandler) }

func nad(name, config string) *nadv1.NetworkAttachmentDefinition {
	return &nadv1.NetworkAttachmentDefinition{
		ObjectMeta: metav1.ObjectMeta{Namespace: "d", Name: name},
		Spec:       nadv1.NetworkAttachmentDefinitionSpec{Config: config},
	}
}

func ref(name string) types.Ref { return types.Ref{Namespace: "d", Name: name} }

// changes notes the objects that a store reports as changed.
type changes struct {
	mu    sync.Mutex
	names []string
}

func (t *changes) of(ref types.Ref) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.names = append(t.names, ref.Name)
}

// take gives the names since the last time, sorted.
func (t *changes) take() []string {
	t.mu.Lock()
	defer t.mu.Unlock()
	names := t.names
	t.names = nil
	slices.Sort(names)
	return names
}

func newTestStore() (*store[network], *changes) {
	changed := &changes{}
	return newStore(KindNetworks, maxNetworks, networkOf, changed.of, noLog()), changed
}

func TestStoreFollowsAReflector(t *testing.T) {
	s, changed := newTestStore()
	for _, step := range []struct {
		name    string
		do      func() error
		changed []string
		has     map[string]string
	}{
		{"all there are", func() error { return s.Replace([]any{nad("a", "1"), nad("b", "1")}, "1") }, []string{"a", "b"}, map[string]string{"a": "1", "b": "1"}},
		{"one more", func() error { return s.Add(nad("c", "1")) }, []string{"c"}, map[string]string{"a": "1", "b": "1", "c": "1"}},
		{"one changes", func() error { return s.Update(nad("a", "2")) }, []string{"a"}, map[string]string{"a": "2", "b": "1", "c": "1"}},
		{"one goes", func() error { return s.Delete(nad("b", "")) }, []string{"b"}, map[string]string{"a": "2", "c": "1"}},
		{"one goes that was not there", func() error { return s.Delete(nad("x", "")) }, []string{"x"}, map[string]string{"a": "2", "c": "1"}},
		{
			"one has gone unseen", func() error { return s.Delete(cache.DeletedFinalStateUnknown{Key: "d/c", Obj: nad("c", "")}) },
			[]string{"c"},
			map[string]string{"a": "2"},
		},
		{"all there are, again", func() error { return s.Replace([]any{nad("b", "3"), nad("e", "3")}, "9") }, []string{"a", "b", "e"}, map[string]string{"b": "3", "e": "3"}},
		{"nothing", func() error { return errors.Join(s.Replace(nil, "10"), s.Resync()) }, []string{"b", "e"}, map[string]string{}},
	} {
		check.Must(t, step.do())
		got := map[string]string{}
		for ref, item := range s.items {
			got[ref.Name] = item.config.text()
		}
		if diff := cmp.Diff(step.has, got); diff != "" {
			t.Errorf("%s: has (-want +got):\n%s", step.name, diff)
		}
		if diff := cmp.Diff(step.changed, changed.take()); diff != "" {
			t.Errorf("%s: changed (-want +got):\n%s", step.name, diff)
		}
	}
}

func TestStoreRefusesOtherKinds(t *testing.T) {
	s, changed := newTestStore()
	for name, do := range map[string]func(any) error{
		"add": s.Add, "update": s.Update, "replace": func(object any) error { return s.Replace([]any{nad("a", "1"), object}, "1") },
	} {
		for _, object := range []any{"a string", &metav1.PartialObjectMetadata{}, nil} {
			if err := do(object); err == nil {
				t.Errorf("%s of %T is taken", name, object)
			}
		}
	}
	if err := s.Delete("a string"); err == nil {
		t.Error("delete of a string is taken")
	}
	if s.isSynced() || len(s.items) > 0 || len(changed.take()) > 0 {
		t.Errorf("it has %v, all of them: %v", s.items, s.isSynced())
	}
}

// status is an error as the API server answers it.
func status(code int) error {
	return apierrors.NewGenericServerResponse(code, "list", schema.GroupResource{Resource: "networks"}, "", "said the server", 0, true)
}

func TestStoreReady(t *testing.T) {
	s, _ := newTestStore()
	for _, step := range []struct {
		do   func()
		want string
	}{
		{func() {}, "networks are not known yet: the API server has not answered"},
		{func() { s.note(errors.New("connection refused")) }, "networks are not known yet: connection refused"},
		{func() { s.note(nil) }, "networks are not known yet: the API server has not answered"},
		{func() { s.note(status(http.StatusNotFound)) }, "networks are not known yet: the API server does not know the kind, apply deploy/crd.yaml: "},
		{func() { check.Must(t, s.Replace(nil, "1")) }, ""},
		{func() { s.note(errors.New("a watch that ends later")) }, ""},
		{func() { s.note(status(http.StatusForbidden)) }, "networks may have changed, and the API server refuses the agent: said the server"},
		{func() { s.note(errors.New("connection refused")) }, "networks may have changed, and the API server refuses the agent: said the server"},
		{func() { s.note(nil); check.Must(t, s.Replace(nil, "2")) }, ""},
		{func() { s.note(status(http.StatusNotFound)) }, "networks may have changed, and the API server refuses the agent: the server could not find"},
	} {
		step.do()
		err := s.ready()
		if (err == nil) != (step.want == "") || err != nil && !strings.Contains(err.Error(), step.want) {
			t.Errorf("got %v, want %q", err, step.want)
		}
	}
}

// wait, where what is noted says whether waiting will help.
func TestStoreWait(t *testing.T) {
	synced := func(later ...error) func(*store[network]) {
		return func(s *store[network]) {
			check.Must(t, s.Replace(nil, "1"))
			for _, err := range later {
				s.note(err)
			}
		}
	}
	for name, test := range map[string]struct {
		before, during func(*store[network])
		live           bool // a live read is better than to wait
		code           uint
		atOnce         bool // waiting would not help
	}{
		"it knows all":                      {before: func(s *store[network]) { check.Must(t, s.Replace(nil, "1")) }},
		"it comes to know":                  {during: func(s *store[network]) { check.Must(t, s.Replace(nil, "1")) }},
		"it comes to know after a failure":  {before: func(s *store[network]) { s.note(status(500)) }, during: func(s *store[network]) { s.note(nil); check.Must(t, s.Replace(nil, "1")) }},
		"it may not":                        {before: func(s *store[network]) { s.note(status(http.StatusForbidden)) }, code: types.CodeTryAgainLater, atOnce: true},
		"it may not, as it turns out":       {during: func(s *store[network]) { s.note(status(http.StatusForbidden)) }, code: types.CodeTryAgainLater, atOnce: true},
		"there is no such kind":             {during: func(s *store[network]) { s.note(status(http.StatusNotFound)) }, live: true},
		"its credentials are no good":       {during: func(s *store[network]) { s.note(status(http.StatusUnauthorized)) }, code: types.CodeTryAgainLater, atOnce: true},
		"its right was taken away":          {before: synced(status(http.StatusForbidden)), code: types.CodeTryAgainLater, atOnce: true},
		"its token has expired":             {before: synced(status(http.StatusUnauthorized)), code: types.CodeTryAgainLater, atOnce: true},
		"the kind was taken away":           {before: synced(status(http.StatusNotFound)), code: types.CodeTryAgainLater, atOnce: true},
		"refused, then an outage":           {before: synced(status(http.StatusForbidden), errors.New("reset")), code: types.CodeTryAgainLater, atOnce: true},
		"allowed, and not listed yet":       {before: synced(status(http.StatusForbidden), nil), code: types.CodeTryAgainLater, atOnce: true},
		"it knows all, then an outage":      {before: synced(errors.New("connection refused"))},
		"it knows all, then 500":            {before: synced(status(http.StatusInternalServerError))},
		"it knows all, then 429":            {before: synced(status(http.StatusTooManyRequests))},
		"it was refused before it knew all": {before: func(s *store[network]) { s.note(status(http.StatusForbidden)); check.Must(t, s.Replace(nil, "1")) }},
		"it was refused, and lists again": {before: func(s *store[network]) {
			synced(status(http.StatusUnauthorized), nil)(s)
			check.Must(t, s.Replace(nil, "2"))
		}},
		"nobody answers":           {code: types.CodeTryAgainLater},
		"the server is in trouble": {during: func(s *store[network]) { s.note(status(500)); s.note(errors.New("reset")) }, code: types.CodeTryAgainLater},
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			s, _ := newTestStore()
			if test.before != nil {
				test.before(s)
			}
			patience := patience
			if test.code != 0 && !test.atOnce {
				patience = 50 * time.Millisecond
			}
			ctx, cancel := context.WithTimeout(t.Context(), patience)
			defer cancel()
			waited := make(chan error)
			go func() { waited <- s.wait(ctx) }()
			if test.during != nil {
				test.during(s)
			}
			err := <-waited
			if test.atOnce && ctx.Err() != nil {
				t.Error("it has waited in vain")
			}
			if errors.Is(err, errAskLive) != test.live || types.CodeOf(err, 0) != test.code || (err == nil) != (!test.live && test.code == 0) {
				t.Errorf("got %v (live %v, code %d), want live %v, code %d", err, errors.Is(err, errAskLive), types.CodeOf(err, 0), test.live, test.code)
			}
		})
	}
}

// A watch that brings the list first may take its time for that, and then goes on for no
// longer than others.
func TestStreamedListIsBounded(t *testing.T) {
	s, _ := newTestStore()
	s.watchTime = time.Millisecond
	w := watch.NewFake()
	var asked []int64
	lw := noting(&cache.ListWatch{WatchFuncWithContext: func(_ context.Context, options metav1.ListOptions) (watch.Interface, error) {
		asked = append(asked, *options.TimeoutSeconds)
		return w, nil
	}}, s)
	_, err := lw.WatchWithContext(t.Context(), metav1.ListOptions{SendInitialEvents: new(true), TimeoutSeconds: new(int64(599))})
	check.Must(t, err)
	if w.IsStopped() {
		t.Error("it is stopped before it has brought the list")
	}
	check.Must(t, s.Replace(nil, "1"))
	check.Eventually(t, "the watch to be stopped", patience, func() error {
		if !w.IsStopped() {
			return errors.New("it goes on")
		}
		return nil
	})
	_, err = lw.WatchWithContext(t.Context(), metav1.ListOptions{TimeoutSeconds: new(int64(599))})
	check.Must(t, err)
	if asked[0] != 599 || asked[1] < 30 || asked[1] > 60 {
		t.Errorf("seconds that the watches may take: %v, want 599 and 30 to 60", asked)
	}
}

// Everybody who waits is woken.
func TestStoreWakesAll(t *testing.T) {
	s, _ := newTestStore()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	var waiting sync.WaitGroup
	for range 50 {
		waiting.Go(func() {
			if err := s.wait(ctx); err != nil {
				t.Error(err)
			}
		})
	}
	for i := range 10 {
		s.note(fmt.Errorf("failure %d", i))
	}
	check.Must(t, s.Replace(nil, "1"))
	waiting.Wait()
}
