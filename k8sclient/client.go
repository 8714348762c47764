package k8sclient

import (
	"fmt"
	"net/http"
	"net/url"
	"os"

	"k8s.io/client-go/rest"
)

// Options say how to reach the API server, and under which name.
type Options struct {
	// Kubeconfig is a file; without one, the environment of a pod is used.
	Kubeconfig string
	// NodeName is the host that events come from; the host name if empty.
	NodeName string
	// UserAgent is our name in the API server's log.
	UserAgent string
}

// Client reads pods and networks from an API server and writes status and events. Its
// methods are safe for concurrent use.
type Client struct {
	http     *http.Client
	server   *url.URL
	header   http.Header // of every request
	nodeName string
	guessed  bool // nodeName is the host's
}

// New makes a client for one call: it reads the credentials once, and has one connection,
// which it begins without waiting for it.
func New(opts Options) (*Client, error) {
	a, err := loadAccess(opts.Kubeconfig)
	if err != nil {
		return nil, err
	}
	c := &Client{server: a.server, header: http.Header{"User-Agent": {opts.UserAgent}}, nodeName: opts.NodeName}
	if c.http, err = newHTTPClient(a); err != nil {
		return nil, fmt.Errorf("reach the API server %s: %w", a.server.Redacted(), err)
	}
	if c.nodeName == "" {
		c.nodeName, _ = os.Hostname()
		c.guessed = true
	}
	return c, nil
}

// NewResident makes a client for a long-running program, over client-go's connection, which
// it shares with others. client-go reads renewed credential files again.
func NewResident(config *rest.Config, shared *http.Client, opts Options) (*Client, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	client := *shared
	client.CheckRedirect = func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }
	return &Client{
		http: &client, server: server.JoinPath(),
		header: http.Header{"User-Agent": {opts.UserAgent}}, nodeName: opts.NodeName,
	}, nil
}
