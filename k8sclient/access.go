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

// access says how to reach an API server: its address, how it proves itself, and our
// credentials. client-go makes it from a kubeconfig or a pod's environment.
type access struct {
	server *url.URL
	tls    *tls.Config // nil if the server speaks no TLS
	proxy  func(*http.Request) (*url.URL, error)
	// wrap adds the credentials that are not certificates.
	wrap func(http.RoundTripper) (http.RoundTripper, error)
}

// LoadConfig reads how to reach the API server from a kubeconfig, or, without one, from a
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

// loadAccess reads the credentials from their files, as they are now.
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

// credentials names the source of the credentials.
func credentials(kubeconfig string) string {
	if kubeconfig == "" {
		return "reach the API server as a pod does, since no kubeconfig is configured"
	}
	return "kubeconfig " + kubeconfig
}

// codeOf gives the code to try again later where a file is missing: it may be about to be
// renewed.
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
