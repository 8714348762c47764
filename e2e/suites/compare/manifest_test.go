package compare

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/e2e/harness/multus"
	testnode "github.com/plexus-cni/plexus/internal/test/node"
)

// powers are what a DaemonSet's pod may do to its node, and the limits that it runs in.
type powers struct {
	Privileged, AllCapabilitiesDropped, HostPID, HostNetwork, WholeDisk bool
	Memory, CPU                                                         string
}

// What both kinds of Multus run on a node has every power over it, the agent of Plexus none but over
// root's own files. All plugins of the node run within the limits of Multus's daemon.
func TestKubeCompareManifests(t *testing.T) {
	for name, c := range map[string]struct {
		file string
		want powers
	}{
		plexus: {"../../../deploy/base/daemonset.yaml", powers{AllCapabilitiesDropped: true, HostNetwork: true, Memory: "100Mi", CPU: "0"}},
		thin: {
			filepath.Join(testnode.Folder(t, multus.BinVar), multus.ThinManifest),
			powers{Privileged: true, HostNetwork: true, Memory: "50Mi", CPU: "100m"},
		},
		thick: {
			filepath.Join(testnode.Folder(t, multus.BinVar), multus.Manifest),
			powers{Privileged: true, HostPID: true, HostNetwork: true, WholeDisk: true, Memory: "50Mi", CPU: "100m"},
		},
	} {
		t.Run(name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, powersOf(daemonSet(t, c.file).Spec.Template.Spec)); diff != "" {
				t.Errorf("(-want +got):\n%s", diff)
			}
		})
	}
}

// The configuration that the daemon of Multus publishes is of a version that has neither CHECK nor
// GC nor STATUS.
func TestKubeCompareVersion(t *testing.T) {
	for _, o := range manifest(t, filepath.Join(testnode.Folder(t, multus.BinVar), multus.Manifest)) {
		if o["kind"] != "ConfigMap" {
			continue
		}
		text, _ := o["data"].(conf)["daemon-config.json"].(string)
		config := conf{}
		if err := json.Unmarshal([]byte(text), &config); err != nil {
			t.Fatal(err)
		}
		if got := config["cniVersion"]; got != "0.3.1" {
			t.Errorf("the version is %v", got)
		}
		return
	}
	t.Error("no ConfigMap")
}

// powersOf gives the most of what a pod's containers may do, and the limits of its first.
func powersOf(pod corev1.PodSpec) powers {
	limits := pod.Containers[0].Resources.Limits
	p := powers{
		AllCapabilitiesDropped: true, HostPID: pod.HostPID, HostNetwork: pod.HostNetwork,
		Memory: limits.Memory().String(), CPU: limits.Cpu().String(),
	}
	for _, c := range append(pod.InitContainers, pod.Containers...) {
		security := c.SecurityContext
		p.Privileged = p.Privileged || security.Privileged != nil && *security.Privileged
		dropped := security.Capabilities != nil && len(security.Capabilities.Drop) == 1 && security.Capabilities.Drop[0] == "ALL"
		p.AllCapabilitiesDropped = p.AllCapabilitiesDropped && dropped
	}
	for _, v := range pod.Volumes {
		p.WholeDisk = p.WholeDisk || v.HostPath != nil && v.HostPath.Path == "/"
	}
	return p
}

func daemonSet(t *testing.T, file string) (set appsv1.DaemonSet) {
	t.Helper()
	for _, o := range manifest(t, file) {
		if o["kind"] != "DaemonSet" {
			continue
		}
		if err := runtime.DefaultUnstructuredConverter.FromUnstructured(o, &set); err != nil {
			t.Fatal(err)
		}
		return set
	}
	t.Fatalf("%s has no DaemonSet", file)
	return set
}

func manifest(t *testing.T, file string) (objects []conf) {
	t.Helper()
	read, err := kube.ReadManifest(file)
	if err != nil {
		t.Fatal(err)
	}
	for _, o := range read {
		objects = append(objects, o.Object)
	}
	return objects
}
