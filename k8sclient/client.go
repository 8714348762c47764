package k8sclient

import (
	"fmt"
	"net/http"
	"net/url"
	"os"
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

// Client reads pods and networks from an API server and writes status and events. It
// is made for one call: it reads the credentials once, and has one connection. Its
// methods are safe for concurrent use.
type Client struct {
	http     *http.Client
	server   *url.URL
	header   http.Header // of every request
	nodeName string
}

// New makes a client and begins to connect, without waiting for it.
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
