// Package masters has the cluster networks that are most used, as the real things: the servers
// on every node, the plugins, and the manifests that their projects publish, from which all
// settings are taken. suites/masters proves Plexus on each of them.
package masters

import (
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/yaml"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// The variables that name the folders of executables, as make sets them.
const (
	FlannelVar    = "PLEXUS_FLANNEL_BIN"    // flanneld
	FlannelCNIVar = "PLEXUS_FLANNELCNI_BIN" // its CNI plugin
	CalicoVar     = "PLEXUS_CALICO_BIN"
)

// executable is one that a variable's folder has.
func executable(variable, name string) string { return filepath.Join(os.Getenv(variable), name) }

// manifest is what a project publishes for kubectl apply.
type manifest []*unstructured.Unstructured

func readManifest(variable, name string) (manifest, error) {
	return kube.ReadManifest(executable(variable, name))
}

// apply applies all that needs no image: the harness runs the servers, with the settings of the
// workloads that are left out.
func (m manifest) apply(c *cluster.Cluster) error {
	var documents []string
	for _, object := range m {
		if slices.Contains([]string{"DaemonSet", "Deployment", "PodDisruptionBudget"}, object.GetKind()) {
			continue
		}
		text, err := yaml.Marshal(object.Object)
		if err != nil {
			return err
		}
		documents = append(documents, string(text))
	}
	if err := c.Apply(strings.Join(documents, "---\n")); err != nil {
		return err
	}
	if !slices.ContainsFunc(m, func(o *unstructured.Unstructured) bool { return o.GetKind() == "CustomResourceDefinition" }) {
		return nil
	}
	_, err := c.Kubectl("wait", "--for=condition=Established", "--timeout=2m", "crd", "--all")
	return err
}

// find decodes the manifest's object of a kind, and of a name if one is given.
func (m manifest) find(kind, name string, into any) error {
	for _, object := range m {
		if object.GetKind() == kind && (name == "" || object.GetName() == name) {
			return runtime.DefaultUnstructuredConverter.FromUnstructured(object.Object, into)
		}
	}
	return fmt.Errorf("the manifest has no %s %s", kind, name)
}

// data gives a value of a ConfigMap.
func (m manifest) data(name, key string) (string, error) {
	var config corev1.ConfigMap
	if err := m.find("ConfigMap", name, &config); err != nil {
		return "", err
	}
	value, there := config.Data[key]
	if !there {
		return "", fmt.Errorf("ConfigMap %s of the manifest has no %s", name, key)
	}
	return value, nil
}

// server is a container of the manifest's DaemonSet, which the harness runs without one.
type server struct {
	corev1.Container
	account string // whose rights it has, as NAMESPACE:NAME
	manifest
}

func (m manifest) server(name string) (*server, error) {
	var set appsv1.DaemonSet
	if err := m.find("DaemonSet", "", &set); err != nil {
		return nil, err
	}
	pod := &set.Spec.Template.Spec
	i := slices.IndexFunc(pod.Containers, func(c corev1.Container) bool { return c.Name == name })
	if i < 0 {
		return nil, fmt.Errorf("the manifest's DaemonSet has no container %s", name)
	}
	return &server{pod.Containers[i], set.Namespace + ":" + pod.ServiceAccountName, m}, nil
}

// environment gives what the manifest puts into the container's environment on a node. What
// names the pod is left out: there is none.
func (s *server) environment(n *cluster.Node) ([]string, error) {
	var all []string
	for _, v := range s.Env {
		value, from := v.Value, v.ValueFrom
		var err error
		switch {
		case from == nil:
		case from.ConfigMapKeyRef != nil:
			value, err = s.data(from.ConfigMapKeyRef.Name, from.ConfigMapKeyRef.Key)
		case from.FieldRef != nil && from.FieldRef.FieldPath == "spec.nodeName":
			value = n.Name
		default:
			continue
		}
		if err != nil {
			return nil, err
		}
		all = append(all, v.Name+"="+value)
	}
	return all, nil
}

// writeKubeconfig writes a kubeconfig with the rights of the container's service account.
func (s *server) writeKubeconfig(n *cluster.Node, path string) error {
	kubeconfig, err := n.Cluster().Kubeconfig("system:serviceaccount:" + s.account)
	if err != nil {
		return err
	}
	text, err := os.ReadFile(kubeconfig)
	if err != nil {
		return err
	}
	return n.WriteFile(path, string(text))
}
