package faultproxy

import (
	"encoding/json"
	"math"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Match selects requests: those that agree with every field that is set.
type Match struct {
	Method   string // PATCH
	Verb     string // get, list, watch, create, update, patch, delete, deletecollection
	Resource string // with its subresource: pods, pods/status, network-attachment-definitions
	Path     string // a part of the URL's path
	User     string // the certificate's user
}

// Fault is what happens to requests instead of, or before, an answer of the API server. Without
// Status, Reset and Lose a request is only delayed. A reset concerns every request that shares the
// connection, as HTTP/2 lets them; a caller that was writing meanwhile sees an unexpected EOF.
type Fault struct {
	Match
	Times      int           // how many matching requests it meets; 0: all
	Delay      time.Duration // passes first, unless the caller gives up
	Status     int           // an error of the API server: 409, 429, 500, 503, …
	RetryAfter time.Duration // with Status: the header of this name, in whole seconds; 0: none
	Reset      bool          // the connection is reset, and the API server never asked
	Lose       bool          // the API server is asked, and the connection reset in place of its answer
}

// Injection is a fault in force.
type Injection struct {
	proxy *Proxy
	fault Fault
	hits  int
}

// Inject puts a fault in force. Of several that match a request, the first injected meets it.
func (p *Proxy) Inject(fault Fault) *Injection {
	p.mu.Lock()
	defer p.mu.Unlock()
	injection := &Injection{proxy: p, fault: fault}
	p.injections = append(p.injections, injection)
	return injection
}

// Hits is how many requests the fault has met.
func (i *Injection) Hits() int {
	i.proxy.mu.Lock()
	defer i.proxy.mu.Unlock()
	return i.hits
}

// Remove ends the fault; a request that it has met already is not spared.
func (i *Injection) Remove() {
	i.proxy.mu.Lock()
	defer i.proxy.mu.Unlock()
	i.proxy.injections = slices.DeleteFunc(i.proxy.injections, func(o *Injection) bool { return o == i })
}

// faultFor finds the fault that meets a request, and counts it. The proxy is locked.
func (p *Proxy) faultFor(r *Request) *Fault {
	for _, i := range p.injections {
		if i.fault.matches(r) && (i.fault.Times == 0 || i.hits < i.fault.Times) {
			i.hits++
			return &i.fault
		}
	}
	return nil
}

// inject does to a request what the fault says.
func (p *Proxy) inject(f Fault, w http.ResponseWriter, r *http.Request) {
	if f.Delay > 0 {
		select {
		case <-time.After(f.Delay):
		case <-r.Context().Done():
			panic(http.ErrAbortHandler)
		}
	}
	switch {
	case f.Reset:
		reset(r.Context())
	case f.Lose:
		p.forward(discard{}, r)
		reset(r.Context())
	case f.Status != 0:
		p.answer(f, w, r)
	default:
		p.forward(w, r)
	}
}

// answer answers a request with an error in the API server's own form.
func (p *Proxy) answer(f Fault, w http.ResponseWriter, r *http.Request) {
	record := r.Context().Value(requestKey{}).(*Request)
	seconds := int(math.Ceil(f.RetryAfter.Seconds()))
	resource, _, _ := strings.Cut(record.Resource, "/")
	status := apierrors.NewGenericServerResponse(f.Status, record.Verb,
		schema.GroupResource{Resource: resource}, record.Name, "faultproxy: injected", seconds, false).Status()
	status.TypeMeta = metav1.TypeMeta{Kind: "Status", APIVersion: "v1"}
	body, err := json.Marshal(status)
	if err != nil {
		panic(err) // a Status has nothing that cannot be encoded
	}
	if seconds > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(seconds))
	}
	w.Header().Set("Content-Type", "application/json")
	p.answered(r.Context(), f.Status)
	w.WriteHeader(f.Status)
	_, _ = w.Write(body) // fails only if the caller has gone
}

func (m Match) matches(r *Request) bool {
	return agrees(m.Method, r.Method) && agrees(m.Verb, r.Verb) && agrees(m.Resource, r.Resource) &&
		agrees(m.User, r.User) && strings.Contains(r.Path, m.Path)
}

func agrees(want, got string) bool { return want == "" || want == got }

// discard is where an answer goes that nobody is to see.
type discard struct{}

func (discard) Header() http.Header         { return http.Header{} }
func (discard) WriteHeader(int)             {}
func (discard) Write(b []byte) (int, error) { return len(b), nil }
func (discard) Flush()                      {}
