package k8sclient

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net/http"
	"net/url"
	"os"
	"path/filepath"

	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/types"
)

// kubeconfig is the file by which clients of Kubernetes find an API server and
// authenticate to it. A context names one of its clusters and one of its users.
type kubeconfig struct {
	CurrentContext string `json:"current-context"`
	Contexts       []struct {
		Name    string `json:"name"`
		Context struct {
			Cluster string `json:"cluster"`
			User    string `json:"user"`
		} `json:"context"`
	} `json:"contexts"`
	Clusters []struct {
		Name    string      `json:"name"`
		Cluster kubeCluster `json:"cluster"`
	} `json:"clusters"`
	Users []struct {
		Name string   `json:"name"`
		User kubeUser `json:"user"`
	} `json:"users"`
}

type kubeCluster struct {
	Server      string `json:"server"`
	ServerName  string `json:"tls-server-name"`
	Insecure    bool   `json:"insecure-skip-tls-verify"`
	Authority   string `json:"certificate-authority"`
	AuthorityIn []byte `json:"certificate-authority-data"`
	ProxyURL    string `json:"proxy-url"`
}

type kubeUser struct {
	Certificate   string              `json:"client-certificate"`
	CertificateIn []byte              `json:"client-certificate-data"`
	Key           string              `json:"client-key"`
	KeyIn         []byte              `json:"client-key-data"`
	Token         string              `json:"token"`
	TokenFile     string              `json:"tokenFile"`
	As            string              `json:"as"`
	AsUID         string              `json:"as-uid"`
	AsGroups      []string            `json:"as-groups"`
	AsExtra       map[string][]string `json:"as-user-extra"`
	Username      string              `json:"username"`
	Password      string              `json:"password"`
	AuthProvider  *struct{}           `json:"auth-provider"`
	Exec          *execPlugin         `json:"exec"`
}

// loadKubeconfig reads a kubeconfig and every file that it names.
func loadKubeconfig(ctx context.Context, path string) (*access, error) {
	a, err := readKubeconfig(ctx, path)
	switch {
	case errors.Is(err, fs.ErrNotExist), errors.Is(err, errPlugin):
		// It may come: a kubelet writes its own once it has joined the cluster.
		err = types.WithCode(types.CodeTryAgainLater, err)
	case err != nil:
		err = types.WithCode(types.CodeInvalidConfig, err)
	}
	if err != nil {
		return nil, types.WithCode(types.CodeOf(err, 0), fmt.Errorf("kubeconfig %s: %w", path, err))
	}
	return a, nil
}

func readKubeconfig(ctx context.Context, path string) (*access, error) {
	data, err := os.ReadFile(path)
	if err != nil {
		return nil, errors.Unwrap(err) // without the path, which the caller names
	}
	var config kubeconfig
	if data, err = yaml.YAMLToJSON(data); err == nil {
		err = json.Unmarshal(data, &config)
	}
	if err != nil {
		return nil, malformed(err)
	}
	cluster, user, err := config.current()
	if err != nil {
		return nil, err
	}
	a, err := cluster.access(filepath.Dir(path))
	if err != nil {
		return nil, err
	}
	if a.server.Scheme != "https" {
		return a, nil // credentials do not go over an open line
	}
	return a, user.authenticate(ctx, a, &userFiles{dir: filepath.Dir(path), cluster: cluster})
}

// current gives the cluster and the user of the current context.
func (k *kubeconfig) current() (*kubeCluster, *kubeUser, error) {
	for _, c := range k.Contexts {
		if c.Name != k.CurrentContext {
			continue
		}
		cluster, err := k.cluster(c.Context.Cluster)
		if err != nil {
			return nil, nil, fmt.Errorf("context %q: %w", c.Name, err)
		}
		user, err := k.user(c.Context.User)
		if err != nil {
			return nil, nil, fmt.Errorf("context %q: %w", c.Name, err)
		}
		return cluster, user, nil
	}
	if k.CurrentContext == "" {
		return nil, nil, errors.New("current-context is missing")
	}
	return nil, nil, fmt.Errorf("current-context: there is no context %q", k.CurrentContext)
}

func (k *kubeconfig) cluster(name string) (*kubeCluster, error) {
	for i := range k.Clusters {
		if k.Clusters[i].Name == name {
			return &k.Clusters[i].Cluster, nil
		}
	}
	return nil, fmt.Errorf("there is no cluster %q", name)
}

func (k *kubeconfig) user(name string) (*kubeUser, error) {
	for i := range k.Users {
		if k.Users[i].Name == name {
			return &k.Users[i].User, nil
		}
	}
	if name == "" {
		return &kubeUser{}, nil // anonymous
	}
	return nil, fmt.Errorf("there is no user %q", name)
}

// access begins the way to the cluster. Paths are relative to dir.
func (c *kubeCluster) access(dir string) (*access, error) {
	a, err := newAccess(c.Server)
	if err != nil {
		return nil, err
	}
	a.tls.ServerName, a.tls.InsecureSkipVerify = c.ServerName, c.Insecure
	if c.ProxyURL != "" {
		proxy, err := url.Parse(c.ProxyURL)
		if err != nil {
			return nil, fmt.Errorf("proxy-url: %w", err)
		}
		a.proxy = http.ProxyURL(proxy)
	}
	authorities, err := inlineOrFile(c.AuthorityIn, c.Authority, dir)
	if err != nil {
		return nil, fmt.Errorf("certificate-authority: %w", err)
	}
	if len(authorities) == 0 {
		return a, nil
	}
	if c.Insecure {
		return nil, errors.New("certificate-authority and insecure-skip-tls-verify exclude each other")
	}
	if err := a.trust(authorities); err != nil {
		return nil, fmt.Errorf("certificate-authority: %s %w", absolute(c.Authority, dir), err)
	}
	return a, nil
}

// inlineOrFile gives what the kubeconfig holds itself, or else the content of the
// file that it names, if any.
func inlineOrFile(inline []byte, file, dir string) ([]byte, error) {
	if len(inline) > 0 || file == "" {
		return inline, nil
	}
	return os.ReadFile(absolute(file, dir))
}

func absolute(file, dir string) string {
	if file == "" || filepath.IsAbs(file) {
		return file
	}
	return filepath.Join(dir, file)
}
