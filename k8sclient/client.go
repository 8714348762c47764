package k8sclient

import (
	"context"
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

// New makes a client and begins to connect, without waiting for it. ctx bounds a
// credential plugin, if the kubeconfig has one.
func New(ctx context.Context, opts Options) (*Client, error) {
	load := inCluster
	if opts.Kubeconfig != "" {
		load = func(ctx context.Context) (*access, error) { return loadKubeconfig(ctx, opts.Kubeconfig) }
	}
	a, err := load(ctx)
	if err != nil {
		return nil, err
	}
	a.header.Set("User-Agent", opts.UserAgent)
	c := &Client{http: newHTTPClient(a), server: a.server, header: a.header, nodeName: opts.NodeName}
	if c.nodeName == "" {
		c.nodeName, _ = os.Hostname()
	}
	return c, nil
}
