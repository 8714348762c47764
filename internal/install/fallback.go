package install

import (
	"errors"
	"fmt"

	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/internal/confdir"
)

// checkFallback gives an error if the kubeconfig by which plexus-once reaches the API server
// is not there, or is none. What it names, certificates and plugins, only the host has.
func (i *Installer) checkFallback() error {
	if i.Kubeconfig == "" {
		return nil
	}
	data, err := confdir.ReadSmall(i.Kubeconfig)
	if link := confdir.DanglingLink(i.Kubeconfig); link != "" {
		err = fmt.Errorf("it is %s", link)
	}
	if err == nil {
		err = checkKubeconfig(data)
	}
	if err != nil {
		return fmt.Errorf("%s of the host (here %s): %w", i.HostKubeconfig, i.Kubeconfig, err)
	}
	return nil
}

// checkKubeconfig refuses what has no server and no user: no client could use it.
func checkKubeconfig(data []byte) error {
	var conf struct {
		Clusters []struct {
			Cluster struct {
				Server string `json:"server"`
			} `json:"cluster"`
		} `json:"clusters"`
		Users []struct{} `json:"users"`
	}
	if err := yaml.Unmarshal(data, &conf); err != nil {
		return errors.New("is no kubeconfig: it is not YAML") // without the content: it has secrets
	}
	if len(conf.Clusters) == 0 || conf.Clusters[0].Cluster.Server == "" || len(conf.Users) == 0 {
		return errors.New("is no kubeconfig: it names no server or no user")
	}
	return nil
}

// warnOfFallback says loudly that the fallback does not work.
func (i *Installer) warnOfFallback() {
	if err := i.checkFallback(); err != nil {
		i.news.warn("fallback", "plexus-once has no kubeconfig, so that no pod that selects networks starts while no agent answers: "+
			"name the one of the kubelet (docs/install.md has the paths of distributions)", "error", err)
		return
	}
	i.news.over("fallback")
}
