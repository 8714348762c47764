package k8sclient

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// access is the way to an API server: where it is, what it must prove and what we
// show it.
type access struct {
	server *url.URL
	tls    *tls.Config
	proxy  func(*http.Request) (*url.URL, error)
	header http.Header
}

// newAccess begins with a server's URL and no credentials.
func newAccess(server string) (*access, error) {
	u, err := url.Parse(server)
	if err != nil {
		return nil, fmt.Errorf("server: %w", err)
	}
	if u.Scheme != "https" && u.Scheme != "http" || u.Host == "" {
		return nil, fmt.Errorf("server: %q is not the URL of an API server, as https://10.0.0.1:6443", server)
	}
	return &access{
		server: u,
		tls:    &tls.Config{MinVersion: tls.VersionTLS12},
		proxy:  http.ProxyFromEnvironment,
		header: http.Header{},
	}, nil
}

// trust makes the server prove itself by these authorities.
func (a *access) trust(authorities []byte) error {
	a.tls.RootCAs = x509.NewCertPool()
	if !a.tls.RootCAs.AppendCertsFromPEM(authorities) {
		return errors.New("holds no certificate in PEM form")
	}
	return nil
}

// present shows the server a client certificate. Both parts may be in one file, as in
// a kubelet's.
func (a *access) present(certificate, key []byte) error {
	pair, err := tls.X509KeyPair(certificate, key)
	if err != nil {
		return err
	}
	a.tls.Certificates = []tls.Certificate{pair}
	return nil
}

func (a *access) presentToken(token string) {
	a.header.Set("Authorization", "Bearer "+strings.TrimSpace(token))
}

const serviceAccountDir = "/var/run/secrets/kubernetes.io/serviceaccount"

// inCluster is the way to the API server from within a pod.
func inCluster(context.Context) (*access, error) {
	host, port := os.Getenv("KUBERNETES_SERVICE_HOST"), os.Getenv("KUBERNETES_SERVICE_PORT")
	if host == "" || port == "" {
		return nil, types.Errorf(types.CodeInvalidConfig,
			"reach the API server: no kubeconfig is configured, and KUBERNETES_SERVICE_HOST and KUBERNETES_SERVICE_PORT are not set as in a pod")
	}
	a, err := inClusterAccess(net.JoinHostPort(host, port), serviceAccountDir)
	if err != nil {
		return nil, types.WithCode(types.CodeInvalidConfig, fmt.Errorf("reach the API server as a pod does: %w", err))
	}
	return a, nil
}

func inClusterAccess(address, dir string) (*access, error) {
	a, err := newAccess("https://" + address)
	if err != nil {
		return nil, err
	}
	token, err := os.ReadFile(filepath.Join(dir, "token"))
	if err != nil {
		return nil, err
	}
	a.presentToken(string(token))
	file := filepath.Join(dir, "ca.crt")
	authorities, err := os.ReadFile(file)
	if err != nil {
		return nil, err
	}
	if err := a.trust(authorities); err != nil {
		return nil, fmt.Errorf("%s %w", file, err)
	}
	return a, nil
}
