package kube

import (
	"fmt"

	"github.com/plexus-cni/plexus/e2e/harness/kube/faultproxy"
)

// Proxy is a fault proxy before a cluster's API server. Its kubeconfigs lead through it, and what
// they are allowed is what they are allowed without it.
type Proxy struct {
	*faultproxy.Proxy
	*Access
}

// Proxy starts a proxy before the API server. It ends with the cluster, or when closed.
func (c *Cluster) Proxy() (*Proxy, error) {
	config := faultproxy.Config{Upstream: c.Server(), Address: c.opts.Address, CA: c.ca.pool()}
	serving, err := c.ca.server("faultproxy", c.opts.Address)
	if err != nil {
		return nil, err
	}
	admin, err := c.ca.client("plexus-e2e-proxy", []string{adminGroup})
	if err != nil {
		return nil, err
	}
	if config.Serving, err = serving.tls(); err != nil {
		return nil, fmt.Errorf("load the proxy's certificate: %w", err)
	}
	if config.Admin, err = admin.tls(); err != nil {
		return nil, fmt.Errorf("load the proxy's client certificate: %w", err)
	}
	p, err := faultproxy.Start(config)
	if err != nil {
		return nil, err
	}
	return c.adopt(p)
}

func (c *Cluster) adopt(p *faultproxy.Proxy) (*Proxy, error) {
	access, err := newAccess(c.ca, p.URL(), c.dir)
	if err != nil {
		_ = p.Close()
		return nil, err
	}
	proxy := &Proxy{p, access}
	c.mu.Lock()
	defer c.mu.Unlock()
	c.proxies = append(c.proxies, proxy)
	return proxy, nil
}
