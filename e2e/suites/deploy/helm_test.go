package deploy

import (
	"strings"
	"testing"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// TestKubeDeployHelm takes a release through its life: install, upgrade, rollback, uninstall.
func TestKubeDeployHelm(t *testing.T) {
	helm := tool(t, binVar, "helm")
	c, err := kube.Start(t.Context(), kube.Options{BinDir: kube.BinDir(t), Dir: t.TempDir()})
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		if err := c.Stop(); err != nil {
			t.Error(err)
		}
	}()
	run := func(args ...string) string {
		return string(output(t, helm, append(args, "--namespace", namespace, "--kubeconfig", c.AdminKubeconfig())...))
	}
	image := func() string {
		return agentSet(t, c).Spec.Template.Spec.Containers[0].Image
	}

	notes := run("install", "plexus", chart, "--create-namespace")
	for _, part := range []string{"kubectl label namespace " + namespace, "served by no registry", "rollout status"} {
		if !strings.Contains(notes, part) {
			t.Errorf("the notes do not say %q:\n%s", part, notes)
		}
	}
	before := image()
	c.MakeNAD(t, kube.NAD{Namespace: "default", Name: "net", Config: `{"type":"x"}`})
	run("upgrade", "plexus", chart, "--reuse-values", "--set", "image.tag=v9,monitoring.enabled=true,monitoring.serviceMonitor.enabled=false,monitoring.rules.enabled=false")
	if got := image(); got != "localhost/plexus:v9" {
		t.Errorf("after the upgrade, the image is %s", got)
	}
	run("rollback", "plexus", "1")
	if got := image(); got != before {
		t.Errorf("after the rollback, the image is %s, want %s", got, before)
	}
	run("uninstall", "plexus")
	_, err = c.Client().RbacV1().ClusterRoles().Get(t.Context(), agent, metav1.GetOptions{})
	if !apierrors.IsNotFound(err) {
		t.Errorf("after the uninstall, the ClusterRole: %v", err)
	}
	if _, err = c.Dynamic().Resource(kube.NADs).Namespace("default").Get(t.Context(), "net", metav1.GetOptions{}); err != nil {
		t.Errorf("after the uninstall, a network: %v", err)
	}
	// What an uninstall leaves does not stand in the way of the next install.
	run("install", "plexus", chart)
}

func agentSet(t *testing.T, c *kube.Cluster) *appsv1.DaemonSet {
	t.Helper()
	set, err := c.Client().AppsV1().DaemonSets(namespace).Get(t.Context(), agent, metav1.GetOptions{})
	if err != nil {
		t.Fatal(err)
	}
	return set
}
