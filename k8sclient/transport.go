package k8sclient

import (
	"context"
	"crypto/tls"
	"net"
	"net/http"
	"net/url"
	"time"
)

// attemptTimeout bounds one request and one connection, so that a server that hangs leaves
// time for another attempt.
const attemptTimeout = 10 * time.Second

// earlyLife is how long a connection may wait for its first request. A Go server
// gives up on one of HTTP/2 after 10 s.
const earlyLife = 5 * time.Second

// newHTTPClient makes a client with one connection, and begins it at once. One is
// enough: the API server speaks HTTP/2, and without the limit requests in parallel
// would each begin a TLS handshake before the first one shows it.
func newHTTPClient(a *access) (*http.Client, error) {
	if a.tls == nil {
		a.tls = &tls.Config{MinVersion: tls.VersionTLS12}
	}
	a.tls.NextProtos = []string{"h2", "http/1.1"}
	dialer := &earlyDialer{dialer: tls.Dialer{Config: a.tls.Clone()}} // the transport writes to its own
	wrapped, err := a.wrap(&http.Transport{
		Proxy:             a.proxy,
		TLSClientConfig:   a.tls,
		DialTLSContext:    dialer.DialTLSContext,
		ForceAttemptHTTP2: true,
		MaxConnsPerHost:   1,
	})
	if err != nil {
		return nil, err
	}
	if proxy, err := a.proxy(&http.Request{URL: a.server}); err == nil && proxy == nil && a.server.Scheme == "https" {
		dialer.begin(address(a.server))
	}
	return &http.Client{
		Transport:     wrapped,
		CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
	}, nil
}

func address(server *url.URL) string {
	port := server.Port()
	if port == "" {
		port = "443"
	}
	return net.JoinHostPort(server.Hostname(), port)
}

// earlyDialer makes TLS connections, the first one before a request needs it.
type earlyDialer struct {
	dialer tls.Dialer
	first  chan dialed // nil if none was begun; closed once it is taken
}

type dialed struct {
	conn net.Conn
	err  error
	at   time.Time
}

func (d *dialed) stale() bool { return d.err == nil && time.Since(d.at) > earlyLife }

func (d *earlyDialer) begin(addr string) {
	d.first = make(chan dialed, 1)
	go func() {
		defer close(d.first)
		ctx, cancel := context.WithTimeout(context.Background(), attemptTimeout)
		defer cancel()
		conn, err := d.dialer.DialContext(ctx, "tcp", addr)
		d.first <- dialed{conn, err, time.Now()}
	}()
}

// DialTLSContext gives the first caller the connection that was begun, and dials for the
// others.
func (d *earlyDialer) DialTLSContext(ctx context.Context, network, addr string) (net.Conn, error) {
	if d.first != nil {
		select {
		case early, untaken := <-d.first:
			if untaken && !early.stale() {
				return early.conn, early.err
			}
			if untaken {
				_ = early.conn.Close()
			}
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	ctx, cancel := context.WithTimeout(ctx, attemptTimeout)
	defer cancel()
	return d.dialer.DialContext(ctx, network, addr)
}
