package scenarios

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/proc"
)

const (
	helmVar   = "PLEXUS_DEPLOY_BIN"
	chart     = "../../../deploy/chart/plexus"
	release   = "plexus-system"
	testedPod = "plexus-test"
)

// charted is a cluster on which Helm has installed Plexus.
type charted struct {
	*cluster.Scenario
	home string
}

func (c *charted) helm(args ...string) (string, error) {
	cmd := exec.Command(filepath.Join(os.Getenv(helmVar), "helm"), append(args, "--namespace", release, "--kubeconfig", c.AdminKubeconfig())...)
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+c.home, "HELM_CONFIG_HOME="+c.home, "HELM_DATA_HOME="+c.home)
	return proc.Lasting().RunCommand(cmd)
}

// testPod reads the pod of helm test.
func (c *charted) testPod() (*corev1.Pod, error) {
	return c.Client().CoreV1().Pods(release).Get(c.Context(), testedPod, metav1.GetOptions{})
}

// Plexus is installed by its chart, and helm test sees whether a pod gets its network: it does; the
// plugin of the network is missing; the node does not use Plexus.
func TestE2EHelmTest(t *testing.T) {
	s := cluster.New(t, cluster.Options{Nodes: 1, Needs: []string{helmVar}}).Scenario(t)
	c := &charted{s, t.TempDir()}
	s.Must(s.ImportPlexus(cluster.PlexusImage, "v0.0.0-dev"))
	s.Must(s.Apply(`{"apiVersion":"v1","kind":"Namespace","metadata":{"name":"` + release + `","labels":{"pod-security.kubernetes.io/enforce":"privileged"}}}`))
	_, err := c.helm("install", "plexus", chart, "--wait")
	s.Must(err)
	s.Must(s.Node(1).AwaitNetwork(t.Context(), "plexus"))

	out, err := c.helm("test", "plexus")
	s.Must(err)
	if !strings.Contains(out, "Succeeded") {
		t.Errorf("helm test has said:\n%s", out)
	}
	if _, err := c.testPod(); !apierrors.IsNotFound(err) {
		t.Errorf("the pod of a test that succeeded is there: %v", err)
	}
	s.MustBeClean()

	c.failsWithoutPlugin()
	c.failsWithoutPlexus()
}

// failsWithoutPlugin has a network that no node can attach: the pod does not start.
func (c *charted) failsWithoutPlugin() {
	c.Helper()
	_, err := c.helm("upgrade", "plexus", chart, "--wait", "--set-json", `test.network={"cniVersion":"1.0.0","type":"not-there"}`, "--set", "test.timeoutSeconds=20")
	c.Must(err)
	if out, err := c.helm("test", "plexus"); err == nil || !strings.Contains(err.Error(), testedPod+" failed") {
		c.Errorf("helm test with a plugin that is missing: %v\n%s", err, out)
	}
	c.Await("an event that names the plugin", func() error {
		events, err := c.Client().CoreV1().Events(release).List(c.Context(), metav1.ListOptions{FieldSelector: "involvedObject.name=" + testedPod})
		if err != nil {
			return err
		}
		for i := range events.Items {
			if e := &events.Items[i]; e.Reason == "NetworkAttachFailed" && strings.Contains(e.Message, "not-there") {
				return nil
			}
		}
		return fmt.Errorf("there are %d events", len(events.Items))
	})
	pod, err := c.testPod()
	c.Must(err)
	if pod.Status.Phase != corev1.PodFailed || pod.Status.Reason != "DeadlineExceeded" {
		c.Errorf("the pod is %s, because of %q", pod.Status.Phase, pod.Status.Reason)
	}
}

// failsWithoutPlexus has another configuration come first on the node: the pod starts without net0.
func (c *charted) failsWithoutPlexus() {
	c.Helper()
	_, err := c.helm("upgrade", "plexus", chart, "--wait")
	c.Must(err)
	conf, err := c.Node(1).ReadFile(cluster.BridgeFile)
	c.Must(err)
	c.Must(c.Node(1).WriteFile("/etc/cni/net.d/00-aaa.conflist", conf))
	c.Must(c.Node(1).AwaitNetwork(c.Context(), "cluster"))
	out, err := c.helm("test", "plexus")
	if err == nil || !strings.Contains(err.Error(), testedPod+" failed") {
		c.Errorf("helm test on a node that does not use Plexus: %v\n%s", err, out)
	}
	pod, err := c.testPod()
	c.Must(err)
	if ended := pod.Status.ContainerStatuses[0].State.Terminated; ended == nil || !strings.Contains(ended.Message, "there is no interface net0, only") ||
		!strings.Contains(ended.Message, "does not use Plexus for new pods") {
		c.Errorf("kubectl describe does not say why: %+v", pod.Status.ContainerStatuses[0].State)
	}
	// The end of the scenario sees that nothing of the pods is left.
	_, err = c.Kubectl("-n", release, "delete", "pod", testedPod)
	c.Must(err)
}
