// Package ui is the page of kubectl plexus ui: what get, inspect, doctor and path say of nodes, for who would
// rather look. It is served on loopback, to whoever has its token, and changes nothing.
package ui

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"sync"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
)

// Source is where the page has everything from.
type Source interface {
	// Nodes gives the names of the nodes.
	Nodes() []string
	// Live says whether the nodes can be read again. A saved one does not change.
	Live() bool
	// Read reads a node, by its number among them.
	Read(ctx context.Context, node int) (*Reading, error)
	// Trace follows a packet. It is given what was read of each node, nil for one that could not be read.
	Trace(ctx context.Context, query Query, readings []*Reading) (*path.Document, error)
}

// Reading is what was read of a node.
type Reading struct {
	Snapshot *inspect.Snapshot // must not be changed
	Attached *inspect.AttachedList
	Way      string // how it was read; "" for a saved one
}

// Query is the path that somebody asked for, as the command path takes it.
type Query struct{ From, To, Interface string }

// How old what was read may be before it is read again, how long a page waits for that, and how long a reading
// may take: a window pod may have to be started.
const (
	fresh    = 4 * time.Second
	patience = 3 * time.Second
	limit    = 2 * time.Minute
)

// Server serves the page.
type Server struct {
	source Source
	token  string
	nodes  []*node
}

// New reads the nodes. The error is that of all of them: one that can be read is worth a page, which says
// what is wrong with the others. The nodes are read again until the context ends.
func New(ctx context.Context, source Source) (*Server, error) {
	s := &Server{source: source, token: rand.Text()}
	for i, name := range source.Nodes() {
		s.nodes = append(s.nodes, &node{name: name, isSaved: !source.Live(), fresh: fresh, patience: patience, read: func() (*Reading, error) {
			ctx, cancel := context.WithTimeout(ctx, limit)
			defer cancel()
			return source.Read(ctx, i)
		}})
	}
	var work sync.WaitGroup
	for _, node := range s.nodes {
		work.Go(func() { node.wait(ctx) })
	}
	work.Wait()
	var faults []error
	for _, node := range s.nodes {
		known := node.known()
		if known.Reading != nil {
			return s, nil
		}
		faults = append(faults, known.Err)
	}
	return nil, errors.Join(append(faults, ctx.Err())...)
}

// URL gives the address of the page, with its token.
func (s *Server) URL(address net.Addr) string {
	return (&url.URL{Scheme: "http", Host: address.String(), Path: "/", RawQuery: url.Values{tokenKey: {s.token}}.Encode()}).String()
}

// ending is how long answers that are under way may take after the end.
const ending = 2 * time.Second

// Serve serves the page until the context ends, which is no error.
func (s *Server) Serve(ctx context.Context, listener net.Listener) error {
	server := &http.Server{
		Handler:     s.Handler(listener.Addr()),
		ReadTimeout: 10 * time.Second, WriteTimeout: limit + patience, IdleTimeout: time.Minute,
		MaxHeaderBytes: 1 << 14,
		BaseContext:    func(net.Listener) context.Context { return ctx },
	}
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		<-ctx.Done()
		late, cancel := context.WithTimeout(context.WithoutCancel(ctx), ending)
		defer cancel()
		if server.Shutdown(late) != nil {
			_ = server.Close() // who still waits gets no answer
		}
	}()
	if err := server.Serve(listener); !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serve the page: %w", err)
	}
	<-ended
	return nil
}

// Handler gives the page for an address that is listened at.
func (s *Server) Handler(address net.Addr) http.Handler {
	pages := http.NewServeMux()
	pages.HandleFunc("/{$}", s.overview)
	pages.HandleFunc("/node", s.nodePage)
	pages.HandleFunc("/pod", s.pod)
	pages.HandleFunc("/path", s.path)
	pages.Handle("/assets/", assets())
	pages.HandleFunc("/", func(w http.ResponseWriter, _ *http.Request) {
		s.problem(w, http.StatusNotFound, "There is no such page.")
	})
	return newGuard(address, s.token, pages)
}
