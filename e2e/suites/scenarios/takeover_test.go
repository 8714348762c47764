package scenarios

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// files gives the node's CNI folders: every file with the hash of its content.
func files(s *cluster.Scenario, n *cluster.Node) []string {
	s.Helper()
	out, err := n.Run("sh", "-c", "cd / && find etc/cni opt/cni -type f -exec sha256sum {} + | sort -k2")
	s.Must(err)
	return strings.Split(strings.TrimSpace(out), "\n")
}

// Plexus is installed by its manifests on a node where pods of the bare default network run, and
// taken off while pods of its own run: the first are released by it, the second must go before.
// Afterwards the node is what it was, byte for byte.
func TestE2EInstallUninstall(t *testing.T) {
	c := cluster.New(t, cluster.Options{Nodes: 1})
	s, n := c.Scenario(t), c.Node(1)
	old := s.Pod("old").AwaitReady()
	kept := s.Pod("kept").AwaitReady()
	before := files(s, n)

	s.Must(c.Install(t.Context(), cluster.WithAgent))
	s.Network("mv", cluster.Macvlan(70, 10, 99))
	p := s.Pod("p", cluster.Networks("mv")).AwaitReady()
	p.MustHave("eth0", "net0")
	address := "cluster/" + old.IP("eth0").String()
	old.Delete()
	old.AwaitGone()
	s.Await("the address of a pod of the bare default network to be free", func() error { return without(n.Reservations(), address) })

	if out, err := n.UninstallPlexus(); err == nil || !strings.Contains(err.Error(), "delete plexus's DaemonSet first") {
		t.Errorf("uninstall beside the DaemonSet: %v\n%s", err, out)
	}
	_, err := c.Kubectl("delete", "daemonset", "-n", "plexus-system", "plexus-agent")
	s.Must(err)
	s.Await("the agents to end", func() error {
		left, err := n.Sandboxes("plexus-system")
		if err == nil && len(left) > 0 {
			err = errStill
		}
		return err
	})
	if out, err := n.UninstallPlexus(); err == nil || !strings.Contains(err.Error(), s.Namespace+"/p") {
		t.Errorf("uninstall with a pod of Plexus: %v\n%s", err, out)
	}
	p.MustPing(kept.IP("eth0"))
	p.Delete()
	p.AwaitGone()
	_, err = n.UninstallPlexus()
	s.Must(err)
	if diff := cmp.Diff(before, files(s, n)); diff != "" {
		t.Errorf("uninstall has not restored the node (-before +after):\n%s", diff)
	}
	s.Must(n.AwaitNetwork(t.Context(), "cluster"))
	s.Pod("after").AwaitReady().MustPing(kept.IP("eth0"))
}

// A node changes from Multus, the real one, to Plexus with pods running. Plexus releases them.
func TestE2EFromMultus(t *testing.T) {
	c := cluster.New(t, cluster.Options{Nodes: 1, Needs: []string{cluster.MultusVar}})
	s, n := c.Scenario(t), c.Node(1)
	s.Must(c.InstallMultus(t.Context()))
	s.Network("mv", cluster.Macvlan(71, 10, 99))
	s.Network("local", cluster.LocalBridge("br-multus", "192.168.72.0/24"))
	var pods []*cluster.Pod
	for _, name := range []string{"m1", "m2"} {
		pods = append(pods, s.Pod(name, cluster.Networks("mv, local")))
	}
	for _, p := range pods {
		if got := len(p.AwaitReady().Interfaces()); got != 3 {
			t.Fatalf("pod %s has %d interfaces under Multus", p.Name, got)
		}
	}
	if got := len(n.Glob("/var/lib/cni/multus/*")); got == 0 {
		t.Fatal("Multus has no records: it did not attach the pods")
	}

	_, err := n.Run("rm", cluster.MultusFile)
	s.Must(err)
	s.Must(c.Install(t.Context(), cluster.Alone))
	under := s.Pod("p", cluster.Networks("mv, local")).AwaitReady()
	under.MustHave("eth0", "net0", "net1")
	for _, p := range pods {
		p.MustPing(under.IP("eth0"))
		p.Delete()
		p.AwaitGone()
	}
	s.Await("Plexus to release what Multus had attached", func() error {
		if got := len(n.Reservations()); got != 3 {
			return errStill
		}
		return nil
	})
	if left := n.Glob("/var/lib/cni/multus/[0-9a-f]*"); len(left) > 0 {
		t.Errorf("Multus's records are left: %q", left)
	}
}
