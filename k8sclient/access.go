package k8sclient

import (
	"crypto/tls"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"

	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	"k8s.io/client-go/transport"

	"github.com/plexus-cni/plexus/types"
)

// access is the way to an API server: where it is, what it must prove, and what shows
// it who we are. client-go makes it of a kubeconfig or of a pod's environment.
type access struct {
	server *url.URL
	tls    *tls.Config // nil if the server speaks no TLS
	proxy  func(*http.Request) (*url.URL, error)
	// wrap adds the credentials that are not certificates.
	wrap func(http.RoundTripper) (http.RoundTripper, error)
}

// LoadConfig reads the way to the API server from a kubeconfig, or, without one, from a
// pod's environment.
func LoadConfig(kubeconfig string) (*rest.Config, error) {
	load := rest.InClusterConfig
	if kubeconfig != "" {
		load = func() (*rest.Config, error) { return clientcmd.BuildConfigFromFlags("", kubeconfig) }
	}
	config, err := load()
	if err != nil {
		return nil, types.WithCode(codeOf(err), fmt.Errorf("%s: %w", credentials(kubeconfig), err))
	}
	return config, nil
}

// loadAccess reads the credentials anew: files that are renewed are seen as they are.
func loadAccess(kubeconfig string) (*access, error) {
	config, err := LoadConfig(kubeconfig)
	if err != nil {
		return nil, err
	}
	a, err := accessOf(config)
	if err != nil {
		return nil, types.WithCode(codeOf(err), fmt.Errorf("%s: %w", credentials(kubeconfig), err))
	}
	return a, nil
}

// credentials names where they come from.
func credentials(kubeconfig string) string {
	if kubeconfig == "" {
		return "reach the API server as a pod does, since no kubeconfig is configured"
	}
	return "kubeconfig " + kubeconfig
}

// codeOf says to try again later where a file is missing: it may be just being renewed.
func codeOf(err error) uint {
	if errors.Is(err, fs.ErrNotExist) {
		return types.CodeTryAgainLater
	}
	return types.CodeInvalidConfig
}

func accessOf(config *rest.Config) (*access, error) {
	server, _, err := rest.DefaultServerUrlFor(config)
	if err != nil {
		return nil, err
	}
	how, err := config.TransportConfig()
	if err != nil {
		return nil, err
	}
	a := &access{server: server.JoinPath(), proxy: http.ProxyFromEnvironment}
	if config.Proxy != nil {
		a.proxy = config.Proxy
	}
	if a.tls, err = transport.TLSConfigFor(how); err != nil {
		return nil, err
	}
	a.wrap = func(base http.RoundTripper) (http.RoundTripper, error) {
		return transport.HTTPWrappersForConfig(how, base)
	}
	return a, nil
}
