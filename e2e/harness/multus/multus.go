// Package multus runs the real Multus, thin and thick, against a control plane of package kube:
// with the manifest that its module publishes, and as the user that this manifest makes.
package multus

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

const (
	// BinVar names the environment variable with the folder of the executables and the manifests.
	BinVar = "PLEXUS_MULTUS_BIN"
	// Manifest is the file of that folder that installs the thick Multus.
	Manifest = "multus-daemonset-thick.yml"
	// ThinManifest installs the thin one.
	ThinManifest = "multus-daemonset.yml"

	systemNamespace = "kube-system"
	account         = "multus"
	podName         = "kube-multus-ds-of-this-test"
)

// Conf is a configuration in JSON.
type Conf = map[string]any

// Options say what Multus runs on.
type Options struct {
	BinDir  string // the folder of multus, multus-shim and multus-daemon
	Plugins string // the folder of the plugins that it runs
	Dir     string // a folder for its files
	Cluster *kube.Cluster
	Access  *kube.Access // how it reaches the API server; nil is the cluster's own address
	Node    string
	Network Conf   // the cluster's network
	CNIDir  string // its state; empty is Multus's own default
}

// Multus is installed, as its manifest does it.
type Multus struct {
	Options
	kubeconfig string
	token      string
}

// Install applies the manifest and makes the credentials of a pod of its DaemonSet.
func Install(ctx context.Context, opts Options) (*Multus, error) {
	if opts.Access == nil {
		opts.Access = opts.Cluster.Access
	}
	m := &Multus{Options: opts}
	if err := m.Cluster.ApplyFile(ctx, filepath.Join(m.BinDir, Manifest)); err != nil {
		return nil, err
	}
	pod, err := m.pod(ctx)
	if err != nil {
		return nil, fmt.Errorf("make the pod of Multus: %w", err)
	}
	if m.token, err = m.Cluster.ServiceAccountToken(ctx, systemNamespace, account, pod); err != nil {
		return nil, err
	}
	m.kubeconfig, _, err = m.Access.TokenKubeconfig(m.token)
	return m, err
}

// pod gives the pod of the DaemonSet, which no controller makes here.
func (m *Multus) pod(ctx context.Context) (*corev1.Pod, error) {
	pods := m.Cluster.Client().CoreV1().Pods(systemNamespace)
	name := podName + "-" + m.Node
	if pod, err := pods.Get(ctx, name, metav1.GetOptions{}); err == nil {
		return pod, nil
	}
	no := false
	return pods.Create(ctx, &corev1.Pod{
		ObjectMeta: metav1.ObjectMeta{Name: name},
		Spec: corev1.PodSpec{
			NodeName: m.Node, ServiceAccountName: account, AutomountServiceAccountToken: &no,
			Containers: []corev1.Container{{Name: "kube-multus", Image: "localhost/none"}},
		},
	}, metav1.CreateOptions{})
}

// Thin gives the plugin's configuration of the thin Multus.
func (m *Multus) Thin() Conf {
	conf := Conf{
		"cniVersion": "1.1.0", "name": "multus-cni-network", "type": "multus",
		"kubeconfig": m.kubeconfig, "binDir": m.Plugins, "delegates": []Conf{m.Network},
	}
	if m.CNIDir != "" {
		conf["cniDir"] = m.CNIDir
	}
	return conf
}

// daemonConfig is that of the manifest, with this machine's folders in place of a node's.
func (m *Multus) daemonConfig() (Conf, error) {
	objects, err := kube.ReadManifest(filepath.Join(m.BinDir, Manifest))
	if err != nil {
		return nil, err
	}
	for _, o := range objects {
		if o.GetKind() != "ConfigMap" {
			continue
		}
		var published struct {
			Data map[string]string `json:"data"`
		}
		config := Conf{}
		if err := remarshal(o.Object, &published); err != nil {
			return nil, err
		}
		if err := json.Unmarshal([]byte(published.Data["daemon-config.json"]), &config); err != nil {
			return nil, fmt.Errorf("read the configuration in %s: %w", Manifest, err)
		}
		m.moveTo(config)
		return config, nil
	}
	return nil, fmt.Errorf("%s has no ConfigMap", Manifest)
}

// moveTo changes the folders of a configuration. The version is the newest, of which GC and STATUS are.
func (m *Multus) moveTo(config Conf) {
	config["cniVersion"] = "1.1.0"
	config["chrootDir"] = "/"
	config["cniConfigDir"], config["multusAutoconfigDir"] = m.netDir(), m.netDir()
	config["socketDir"], config["daemonSocketDir"] = m.socketDir(), m.socketDir()
	config["binDir"] = m.Plugins
	if m.CNIDir != "" {
		config["cniDir"] = m.CNIDir
	}
}

func (m *Multus) netDir() string    { return filepath.Join(m.Dir, "net.d") }
func (m *Multus) socketDir() string { return filepath.Join(m.Dir, "run") }

func remarshal(from, into any) error {
	data, err := json.Marshal(from)
	if err != nil {
		return err
	}
	return json.Unmarshal(data, into)
}

// write writes a value in JSON to a file.
func write(path string, value any) error {
	data, err := json.Marshal(value)
	return errors.Join(err, os.MkdirAll(filepath.Dir(path), 0o755), os.WriteFile(path, data, 0o600))
}
