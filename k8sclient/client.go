package k8sclient

import (
	"fmt"
	"net/http"
	"net/url"
	"os"

	"k8s.io/client-go/rest"
)

// Options say how to reach the API server, and as whom.
type Options struct {
	// Kubeconfig is a file; without one, the environment of a pod is used.
	Kubeconfig string
	// NodeName is the host that events come from; the host name if empty.
	NodeName string
	// UserAgent is how the API server's log knows us.
	UserAgent string
}

// Client reads pods and networks from an API server and writes status and events. Its
// methods are safe for concurrent use.
type Client struct {
	http     *http.Client
	server   *url.URL
	header   http.Header // of every request
	nodeName string
}

// New makes a client for one call and begins to connect, without waiting for it: it
// reads the credentials once, and has one connection.
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
	}
	return c, nil
}

// NewResident makes a client for a program that stays, over a connection of client-go's
// that it shares with others: credentials in files are read anew when they are renewed.
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
