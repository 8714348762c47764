// Package faultproxy puts a proxy before a kube-apiserver that records every request and answers
// some of them with a fault.
//
// The proxy ends TLS, so it authenticates the callers itself: for one with a client certificate
// it asks the API server as an administrator who impersonates the certificate's user and groups,
// and a bearer token is passed on as it is. Authorization and admission see the caller.
package faultproxy

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/http/httputil"
	"net/netip"
	"net/url"
	"sync"
	"time"
)

// Config says what a proxy stands before, and who it is.
type Config struct {
	Upstream string          // the API server's URL
	Address  netip.Addr      // to listen on, at a free port
	CA       *x509.CertPool  // issuer of the API server's certificate and of the callers'
	Serving  tls.Certificate // the proxy's own
	Admin    tls.Certificate // of a user who may impersonate everybody
}

// Proxy is a running proxy.
type Proxy struct {
	server    *http.Server
	url       string
	asAdmin   *httputil.ReverseProxy // impersonates
	asCaller  *httputil.ReverseProxy // has no credentials of its own
	transport []*http.Transport
	served    chan struct{} // closed once the server has ended

	mu         sync.Mutex
	requests   []*Request
	injections []*Injection
}

// Start starts a proxy.
func Start(config Config) (*Proxy, error) {
	upstream, err := url.Parse(config.Upstream)
	if err != nil {
		return nil, fmt.Errorf("start a fault proxy: %w", err)
	}
	listener, err := net.Listen("tcp", netip.AddrPortFrom(config.Address, 0).String())
	if err != nil {
		return nil, fmt.Errorf("start a fault proxy: %w", err)
	}
	p := &Proxy{url: "https://" + listener.Addr().String(), served: make(chan struct{})}
	p.asAdmin = p.reverse(upstream, config.CA, config.Admin)
	p.asCaller = p.reverse(upstream, config.CA)
	p.server = &http.Server{
		Handler:           p,
		ReadHeaderTimeout: time.Minute,
		ConnContext:       withConn,
		ErrorLog:          log.New(io.Discard, "", 0), // connections that we broke ourselves
		TLSConfig: &tls.Config{
			Certificates: []tls.Certificate{config.Serving},
			ClientAuth:   tls.VerifyClientCertIfGiven,
			ClientCAs:    config.CA,
		},
	}
	go func() {
		defer close(p.served)
		_ = p.server.ServeTLS(listener, "", "") // always ErrServerClosed, after Close
	}()
	return p, nil
}

// URL is where the proxy listens.
func (p *Proxy) URL() string { return p.url }

// Close ends the proxy and breaks the connections through it.
func (p *Proxy) Close() error {
	err := p.server.Close()
	<-p.served
	for _, t := range p.transport {
		t.CloseIdleConnections()
	}
	if err != nil && !errors.Is(err, net.ErrClosed) {
		return fmt.Errorf("close the fault proxy: %w", err)
	}
	return nil
}

// reverse makes a way to the API server, with a client certificate or without.
func (p *Proxy) reverse(upstream *url.URL, ca *x509.CertPool, certs ...tls.Certificate) *httputil.ReverseProxy {
	transport := &http.Transport{
		TLSClientConfig:   &tls.Config{RootCAs: ca, Certificates: certs},
		ForceAttemptHTTP2: true,
	}
	p.transport = append(p.transport, transport)
	return &httputil.ReverseProxy{
		Transport: transport,
		ErrorLog:  log.New(io.Discard, "", 0), // the caller sees the error
		Rewrite: func(r *httputil.ProxyRequest) {
			r.SetURL(upstream)
			if len(certs) > 0 {
				impersonate(r.Out.Header, r.In.TLS.PeerCertificates[0])
			}
		},
		ModifyResponse: func(r *http.Response) error {
			p.answered(r.Request.Context(), r.StatusCode)
			return nil
		},
		ErrorHandler: func(_ http.ResponseWriter, r *http.Request, _ error) {
			reset(r.Context()) // as if the API server had been asked directly, and had gone
		},
	}
}

// ServeHTTP records a request and forwards it, unless a fault comes first.
func (p *Proxy) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	if r.Header.Get(headerUser) != "" {
		http.Error(w, "faultproxy: a caller who impersonates is not supported", http.StatusNotImplemented)
		return
	}
	record, fault := p.arrived(r)
	r = r.WithContext(context.WithValue(r.Context(), requestKey{}, record))
	if fault == nil {
		p.forward(w, r)
		return
	}
	p.inject(*fault, w, r)
}

func (p *Proxy) forward(w http.ResponseWriter, r *http.Request) {
	if len(r.TLS.PeerCertificates) > 0 {
		p.asAdmin.ServeHTTP(w, r)
		return
	}
	p.asCaller.ServeHTTP(w, r)
}

const (
	headerUser  = "Impersonate-User"
	headerGroup = "Impersonate-Group"
)

func impersonate(header http.Header, caller *x509.Certificate) {
	header.Set(headerUser, caller.Subject.CommonName)
	header.Del(headerGroup)
	for _, group := range caller.Subject.Organization {
		header.Add(headerGroup, group)
	}
}

type (
	connKey    struct{}
	requestKey struct{}
)

func withConn(ctx context.Context, conn net.Conn) context.Context {
	return context.WithValue(ctx, connKey{}, conn)
}

// reset breaks the connection of a request with a TCP reset.
func reset(ctx context.Context) {
	conn := ctx.Value(connKey{}).(net.Conn)
	if t, ok := conn.(*tls.Conn); ok {
		conn = t.NetConn()
	}
	if t, ok := conn.(*net.TCPConn); ok {
		_ = t.SetLinger(0) // closing resets instead of ending in order
	}
	_ = conn.Close()
	panic(http.ErrAbortHandler)
}
