package watched

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/watch"
	"k8s.io/client-go/tools/cache"

	"github.com/plexus-cni/plexus/types"
)

// errAskLive is the error for a kind that the API server does not know: a live read gives a
// better error than waiting does.
var errAskLive = errors.New("cannot be watched")

// Size says how much of a kind is known.
type Size struct {
	Objects int
	Bytes   int // that they take
	NotKept int // objects that are read live, because they are too large
	Synced  bool
	Failing bool // the last request for it; what is known may be out of date
	Refused bool // by the API server; what is known is not used
}

// store holds the needed parts of the objects of one kind. client-go's reflector writes to
// it. It is much smaller than an informer's store.
type store[T item[T]] struct {
	kind    string
	limit   int // of the memory that objects take, in bytes
	reduce  func(object any) (T, bool)
	changed func(types.Ref)
	log     *slog.Logger

	watchTime time.Duration // the longest that a watch goes on unauthorised

	mu      sync.RWMutex // guards what follows
	items   map[types.Ref]T
	bytes   int             // that the items take
	dropped int             // objects without any room, since the last list
	listing int             // bytes of a list that is not complete yet
	fault   error           // of the last request; nil after one that succeeded
	refused error           // since all objects were last listed; nil if no request was refused
	stream  watch.Interface // brings a list that is not complete yet
	news    chan struct{}   // closed and replaced when fault changes
	synced  chan struct{}   // closed once all objects are known
}

func newStore[T item[T]](kind string, limit int, reduce func(any) (T, bool), changed func(types.Ref), log *slog.Logger) *store[T] {
	return &store[T]{
		kind: kind, limit: limit, reduce: reduce, changed: changed, log: log,
		watchTime: 2 * minWatchTime, items: map[types.Ref]T{}, news: make(chan struct{}), synced: make(chan struct{}),
	}
}

func (s *store[T]) get(ref types.Ref) (T, bool) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	item, known := s.items[ref]
	return item, known
}

// each gives all objects as they are now.
func (s *store[T]) each(do func(types.Ref, T)) {
	s.mu.RLock()
	defer s.mu.RUnlock()
	for ref, item := range s.items {
		do(ref, item)
	}
}

func (s *store[T]) size() Size {
	s.mu.RLock()
	defer s.mu.RUnlock()
	size := Size{
		Objects: len(s.items), Bytes: s.bytes, NotKept: s.dropped,
		Synced: s.isSynced(), Failing: s.fault != nil, Refused: isRefusal(s.trouble()),
	}
	for _, item := range s.items {
		if !item.whole() {
			size.NotKept++
		}
	}
	return size
}

func (s *store[T]) isSynced() bool {
	select {
	case <-s.synced:
		return true
	default:
		return false
	}
}

// trouble is the reason why questions may not be answered. An outage is none once all
// objects are known, a refusal is one until they are listed again: they may have changed.
func (s *store[T]) trouble() error {
	if s.isSynced() {
		return s.refused
	}
	return s.fault
}

// isRefusal reports whether the API server has answered, and does not say what there is:
// the right or the credentials were taken away, or the kind was.
func isRefusal(err error) bool {
	return apierrors.IsForbidden(err) || apierrors.IsUnauthorized(err) || apierrors.IsNotFound(err)
}

// ready gives the reason why questions cannot be answered.
func (s *store[T]) ready() error {
	s.mu.RLock()
	defer s.mu.RUnlock()
	switch {
	case s.isSynced() && s.refused == nil:
		return nil
	case s.isSynced():
		return fmt.Errorf("%s may have changed, and the API server refuses the agent: %w", s.kind, s.refused)
	case apierrors.IsNotFound(s.fault):
		return fmt.Errorf("%s are not known yet: the API server does not know the kind, apply deploy/crd.yaml: %w", s.kind, s.fault)
	case s.fault != nil:
		return fmt.Errorf("%s are not known yet: %w", s.kind, s.fault)
	default:
		return fmt.Errorf("%s are not known yet: the API server has not answered", s.kind)
	}
}

// wait waits until all objects are known. The error is errAskLive for a kind that was never
// known, else it has the code to try again later.
func (s *store[T]) wait(ctx context.Context) error {
	for {
		s.mu.RLock()
		trouble, synced, news := s.trouble(), s.isSynced(), s.news
		s.mu.RUnlock()
		switch {
		case synced && trouble == nil:
			return nil
		case !synced && apierrors.IsNotFound(trouble):
			return fmt.Errorf("%s: %w: %w", s.kind, errAskLive, trouble)
		case isRefusal(trouble):
			// Waiting does not help; another source with other credentials may.
			return types.WithCode(types.CodeTryAgainLater, s.ready())
		}
		select {
		case <-s.synced:
		case <-news:
		case <-ctx.Done():
			return types.WithCode(types.CodeTryAgainLater, s.ready())
		}
	}
}

// note keeps how the last request for this kind ended.
func (s *store[T]) note(err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	switch {
	case isRefusal(err) && s.isSynced() && s.refused == nil:
		s.log.Warn("the API server refuses the watch; what is known is not used until everything can be listed again", "of", s.kind, "error", err)
	case err != nil && (s.fault == nil || reason(s.fault) != reason(err)):
		s.log.Warn("the watch fails; it will be tried again", "of", s.kind, "error", err)
	case err == nil && s.fault != nil:
		s.log.Info("the watch is back", "of", s.kind)
	}
	s.fault = err
	if isRefusal(err) {
		s.refused = err
	}
	close(s.news)
	s.news = make(chan struct{})
}

// streaming keeps a watch that brings all objects first. Once they are complete, it goes on
// for no longer than other watches.
func (s *store[T]) streaming(w watch.Interface) {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.stream = w
}

// listAgain notes that all objects begin to arrive anew.
func (s *store[T]) listAgain() {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.listing = 0
}

// reason is what failed, without the URL, which differs each time.
func reason(err error) string {
	var request *url.Error
	if errors.As(err, &request) {
		err = request.Err
	}
	return err.Error()
}

// Transformer reduces the objects of a list that a watch brings, before client-go keeps
// them.
func (s *store[T]) Transformer() cache.TransformFunc { return s.arriving }

// Add is called by a reflector.
func (s *store[T]) Add(object any) error { return s.Update(object) }

// Update is called by a reflector.
func (s *store[T]) Update(object any) error {
	a, err := s.arrived(object)
	if err != nil {
		return fmt.Errorf("watch of %s: %w", s.kind, err)
	}
	s.mu.Lock()
	s.remove(a.ref)
	s.put(a)
	s.mu.Unlock()
	s.changed(a.ref)
	return nil
}

// put keeps an object as far as there is room for it.
func (s *store[T]) put(a *arrival[T]) {
	size := fit(&a.item, s.limit-s.bytes)
	if s.bytes+size > s.limit+s.limit/bareShare {
		s.dropped++
		return
	}
	s.items[a.ref] = a.item
	s.bytes += size
}

func (s *store[T]) remove(ref types.Ref) {
	if item, known := s.items[ref]; known {
		delete(s.items, ref)
		s.bytes -= item.size()
	}
}

// Delete is called by a reflector.
func (s *store[T]) Delete(object any) error {
	ref, err := refOf(object)
	if err != nil {
		return fmt.Errorf("watch of %s: unexpected %T: %w", s.kind, object, err)
	}
	s.mu.Lock()
	s.remove(ref)
	s.mu.Unlock()
	s.changed(ref)
	return nil
}

// Replace is called by a reflector with all objects that there are.
func (s *store[T]) Replace(objects []any, _ string) error {
	arrivals := make([]*arrival[T], len(objects))
	for i, object := range objects {
		a, err := s.arrived(object)
		if err != nil {
			return fmt.Errorf("list of %s: %w", s.kind, err)
		}
		arrivals[i] = a
	}
	for ref := range s.replaced(arrivals) {
		s.changed(ref)
	}
	return nil
}

// replaced keeps these objects and no others, and gives all that may have changed.
func (s *store[T]) replaced(arrivals []*arrival[T]) map[types.Ref]bool {
	s.mu.Lock()
	defer s.mu.Unlock()
	touched := make(map[types.Ref]bool, len(arrivals))
	for ref := range s.items {
		touched[ref] = true
	}
	s.items, s.bytes, s.dropped = make(map[types.Ref]T, len(arrivals)), 0, 0
	for _, a := range arrivals {
		s.put(a)
		touched[a.ref] = true
	}
	s.refused = nil
	if s.stream != nil {
		time.AfterFunc(s.watchTime, s.stream.Stop)
		s.stream = nil
	}
	if !s.isSynced() {
		close(s.synced)
	}
	return touched
}

// Resync is called by a reflector; there is nothing to do.
func (*store[T]) Resync() error { return nil }

func refOf(object any) (types.Ref, error) {
	if gone, ok := object.(cache.DeletedFinalStateUnknown); ok {
		object = gone.Obj
	}
	meta, ok := object.(metav1.Object)
	if !ok {
		return types.Ref{}, errors.New("it is not a Kubernetes object")
	}
	return types.Ref{Namespace: meta.GetNamespace(), Name: meta.GetName()}, nil
}
