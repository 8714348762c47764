package kube

import (
	"fmt"
	"os"
	"path/filepath"
	"testing"

	"k8s.io/client-go/kubernetes"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/clientcmd"
	clientcmdapi "k8s.io/client-go/tools/clientcmd/api"

	"github.com/plexus-cni/plexus/internal/test/check"
)

const (
	adminUser  = "plexus-e2e-admin"
	adminGroup = "system:masters"
	nodeGroup  = "system:nodes"
	nodePrefix = "system:node:"
)

// Access hands out kubeconfig files for one address of the API server: its own ([Cluster]) or
// that of a proxy before it ([Proxy]). Every call makes new files, in a folder of their own,
// which live until the cluster stops; the test may change them.
type Access struct {
	ca     *authority
	server string
	dir    string
	admin  string
}

func newAccess(ca *authority, server, dir string) (*Access, error) {
	a := &Access{ca: ca, server: server, dir: dir}
	var err error
	a.admin, err = a.Kubeconfig(adminUser, adminGroup)
	return a, err
}

// Server is the URL of the address.
func (a *Access) Server() string { return a.server }

// CA is the certificate of the cluster's authority, in PEM.
func (a *Access) CA() []byte { return a.ca.pem }

// AdminKubeconfig is the kubeconfig file of a cluster administrator.
func (a *Access) AdminKubeconfig() string { return a.admin }

// NodeKubeconfig makes a kubeconfig file with the identity, and so the rights, of a node's kubelet.
func (a *Access) NodeKubeconfig(node string) (string, error) {
	return a.Kubeconfig(nodePrefix+node, nodeGroup)
}

// Kubeconfig makes a kubeconfig file for a user with a client certificate. As in a kubelet's, the
// certificate and its key are one file, client.pem, beside it.
func (a *Access) Kubeconfig(user string, groups ...string) (string, error) {
	cert, err := a.ca.client(user, groups)
	if err != nil {
		return "", err
	}
	path, _, err := a.kubeconfig("client.pem", cert, func(file string) *clientcmdapi.AuthInfo {
		return &clientcmdapi.AuthInfo{ClientCertificate: file, ClientKey: file}
	})
	return path, err
}

// TokenKubeconfig makes a kubeconfig file that authenticates with the content of a token file,
// which the test may replace. See [Cluster.ServiceAccountToken] for tokens.
func (a *Access) TokenKubeconfig(token string) (kubeconfig, tokenFile string, err error) {
	return a.kubeconfig("token", []byte(token), func(file string) *clientcmdapi.AuthInfo {
		return &clientcmdapi.AuthInfo{TokenFile: file}
	})
}

// kubeconfig writes a credential to a file called name and a kubeconfig beside it that uses it.
func (a *Access) kubeconfig(name string, credential []byte, auth func(file string) *clientcmdapi.AuthInfo) (path, file string, err error) {
	dir, err := os.MkdirTemp(a.dir, "kubeconfig-")
	if err != nil {
		return "", "", fmt.Errorf("make a folder for a kubeconfig: %w", err)
	}
	file, path = filepath.Join(dir, name), filepath.Join(dir, "kubeconfig")
	if err := os.WriteFile(file, credential, 0o600); err != nil {
		return "", "", fmt.Errorf("write a credential: %w", err)
	}
	config := clientcmdapi.NewConfig()
	config.Clusters["e2e"] = &clientcmdapi.Cluster{Server: a.server, CertificateAuthorityData: a.ca.pem}
	config.AuthInfos["e2e"] = auth(file)
	config.Contexts["e2e"] = &clientcmdapi.Context{Cluster: "e2e", AuthInfo: "e2e"}
	config.CurrentContext = "e2e"
	if err := clientcmd.WriteToFile(*config, path); err != nil {
		return "", "", fmt.Errorf("write a kubeconfig: %w", err)
	}
	return path, file, nil
}

// RESTConfig loads a kubeconfig file, for a client that is not held back by a rate limit.
func RESTConfig(kubeconfig string) (*rest.Config, error) {
	config, err := clientcmd.BuildConfigFromFlags("", kubeconfig)
	if err != nil {
		return nil, fmt.Errorf("load kubeconfig %s: %w", kubeconfig, err)
	}
	config.QPS = -1
	return config, nil
}

// ClientOf makes a client from a kubeconfig file that a method of [Access] has made.
func ClientOf(t testing.TB, kubeconfig string, err error) kubernetes.Interface {
	t.Helper()
	check.Must(t, err)
	config, err := RESTConfig(kubeconfig)
	check.Must(t, err)
	client, err := kubernetes.NewForConfig(config)
	check.Must(t, err)
	return client
}
