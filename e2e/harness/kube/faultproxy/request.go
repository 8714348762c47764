package faultproxy

import (
	"context"
	"net/http"
	"strings"
	"time"
)

// Request is a request that the proxy received.
type Request struct {
	Method      string
	Path        string // of the URL
	Query       string
	User        string // of the caller's certificate; empty for one with a token
	ContentType string
	Verb        string // as Kubernetes authorizes it, see [Match]; empty if Path names no resource
	Resource    string // with its subresource
	Namespace   string
	Name        string
	Received    time.Time
	Status      int  // of the answer; 0 while there is none, or if there never was one
	Injected    bool // a fault has met it
}

// Requests returns the requests received so far that match, in order.
func (p *Proxy) Requests(match Match) []Request {
	p.mu.Lock()
	defer p.mu.Unlock()
	var matching []Request
	for _, r := range p.requests {
		if match.matches(r) {
			matching = append(matching, *r)
		}
	}
	return matching
}

// Count is how many requests received so far match.
func (p *Proxy) Count(match Match) int { return len(p.Requests(match)) }

// Forget forgets all requests received so far and ends all faults.
func (p *Proxy) Forget() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.requests, p.injections = nil, nil
}

// arrived records a request, and finds the fault that meets it.
func (p *Proxy) arrived(r *http.Request) (*Request, *Fault) {
	record := parseRequest(r)
	record.Received = time.Now()
	p.mu.Lock()
	defer p.mu.Unlock()
	fault := p.faultFor(record)
	record.Injected = fault != nil
	p.requests = append(p.requests, record)
	return record, fault
}

// answered records the answer to the request of ctx.
func (p *Proxy) answered(ctx context.Context, status int) {
	p.mu.Lock()
	defer p.mu.Unlock()
	ctx.Value(requestKey{}).(*Request).Status = status
}

func parseRequest(r *http.Request) *Request {
	record := &Request{
		Method:      r.Method,
		Path:        r.URL.Path,
		Query:       r.URL.RawQuery,
		ContentType: r.Header.Get("Content-Type"),
	}
	if r.TLS != nil && len(r.TLS.PeerCertificates) > 0 {
		record.User = r.TLS.PeerCertificates[0].Subject.CommonName
	}
	record.parsePath()
	if record.Resource != "" {
		record.Verb = verb(r, record.Name != "")
	}
	return record
}

// parsePath reads /api/v1/… and /apis/<group>/<version>/…, as the API server's RequestInfo does.
func (r *Request) parsePath() {
	parts := strings.Split(strings.Trim(r.Path, "/"), "/")
	switch {
	case parts[0] == "api" && len(parts) > 2:
		parts = parts[2:]
	case parts[0] == "apis" && len(parts) > 3:
		parts = parts[3:]
	default:
		return
	}
	// A namespace's own subresources are status and finalize.
	if parts[0] == "namespaces" && len(parts) > 1 {
		r.Namespace = parts[1]
		if len(parts) > 2 && parts[2] != "status" && parts[2] != "finalize" {
			parts = parts[2:]
		}
	}
	r.Resource = parts[0]
	if len(parts) > 1 {
		r.Name = parts[1]
	}
	if len(parts) > 2 {
		r.Resource += "/" + parts[2]
	}
}

func verb(r *http.Request, named bool) string {
	switch r.Method {
	case http.MethodGet, http.MethodHead:
		return readVerb(r, named)
	case http.MethodPost:
		return "create"
	case http.MethodPut:
		return "update"
	case http.MethodDelete:
		if !named {
			return "deletecollection"
		}
	}
	return strings.ToLower(r.Method)
}

func readVerb(r *http.Request, named bool) string {
	watch := r.URL.Query().Get("watch")
	switch {
	case named:
		return "get"
	case watch == "true" || watch == "1":
		return "watch"
	}
	return "list"
}
