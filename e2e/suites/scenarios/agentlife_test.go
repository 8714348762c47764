package scenarios

import (
	"errors"
	"fmt"
	"strings"
	"sync"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// churn makes and deletes pods with networks on a node until it is stopped, one after the other.
type churn struct {
	s    *cluster.Scenario
	stop chan struct{}
	done sync.WaitGroup
	made int
}

// startChurn starts two streams of pods, one on each node.
func startChurn(s *cluster.Scenario) *churn {
	c := &churn{s: s, stop: make(chan struct{})}
	var mu sync.Mutex
	for i := 1; i <= 2; i++ {
		c.done.Go(func() {
			for n := 0; ; n++ {
				select {
				case <-c.stop:
					return
				default:
				}
				p := s.Pod(fmt.Sprintf("churn-%d-%d", i, n), cluster.On(s.Node(i)), cluster.Networks("local, mv"))
				p.AwaitReady()
				p.Delete()
				p.AwaitGone()
				mu.Lock()
				c.made++
				mu.Unlock()
			}
		})
	}
	return c
}

func (c *churn) end() int {
	close(c.stop)
	c.done.Wait()
	return c.made
}

// failedADDs counts what the runtimes have logged.
func failedADDs(s *cluster.Scenario) (failed int) {
	s.Helper()
	for _, n := range s.Nodes() {
		one, err := n.FailedSandboxes()
		s.Must(err)
		failed += one
	}
	return failed
}

// Agents are killed, replaced by another build, rolled back and removed while pods come and go:
// no ADD fails, no DEL is lost.
func TestE2EAgentLife(t *testing.T) {
	c := cluster.Shared(t)
	s := c.Scenario(t)
	s.Network("local", cluster.LocalBridge("br-life", "192.168.62.0/24"))
	s.Network("mv", cluster.Macvlan(58, 10, 250))
	const newer = "localhost/plexus:v0.0.1-newer"
	s.Must(c.ImportPlexus(newer, "v0.0.1-newer"))
	before := failedADDs(s)
	pods := startChurn(s)
	for range 3 {
		for _, n := range c.Nodes() {
			// As the kernel does when memory is short. The kubelet may be about to start it again.
			s.Await("an agent to kill on "+n.Name, func() error { return n.KillProcess("/opt/plexus/bin/plexus-agent serve") })
		}
		s.Must(c.AwaitAgents(t.Context()))
	}
	s.Must(c.SetAgentImage(t.Context(), newer))
	s.Must(c.AwaitAgents(t.Context()))
	for _, n := range c.Nodes() {
		out, err := n.Run("/opt/cni/bin/plexus", "--version")
		s.Must(err)
		if !strings.Contains(out, "v0.0.1-newer") {
			t.Errorf("after the upgrade, the plugin of %s is %s", n.Name, out)
		}
	}
	s.Must(c.SetAgentImage(t.Context(), cluster.PlexusImage))
	s.Must(c.AwaitAgents(t.Context()))
	s.Must(c.RemoveAgents(t.Context()))
	s.Must(c.RestoreAgents(t.Context()))
	made := pods.end()
	if failed := failedADDs(s) - before; failed > 0 {
		t.Errorf("%d of the ADDs failed", failed)
	}
	if made < 4 {
		t.Errorf("only %d pods came and went", made)
	}
	t.Logf("%d pods came and went", made)
}

// The API server is gone for a minute. Pods that end meanwhile give their addresses back at once, a pod
// that starts gets its networks from what the agent knows, and its status comes afterwards.
func TestE2EOutage(t *testing.T) {
	c := cluster.Shared(t)
	s := c.Scenario(t)
	s.Network("mv", cluster.Macvlan(59, 10, 99))
	stay := s.StaticPod(s.Node(1), "stay", cluster.Networks("mv")).AwaitReady()
	leave := s.StaticPod(s.Node(1), "leave", cluster.Networks("mv")).AwaitReady()
	n, address := s.Node(1), "mv/"+leave.IP("net0").String()
	outage := startOutage(s)
	_, err := n.Run("rm", "/etc/kubernetes/manifests/leave.yaml")
	s.Must(err)
	s.Await("address "+address+" to be free, without an API server", func() error {
		return without(n.Reservations(), address)
	})
	came := s.StaticPod(n, "came", cluster.Networks("mv"))
	s.Await("a pod to be attached, without an API server", func() error {
		if got := len(n.Journal()); got != 2 {
			return fmt.Errorf("there are %d records: %q", got, n.Journal())
		}
		return nil
	})
	outage.end()
	came.AwaitReady().MustHave("eth0", "net0")
	stay.MustHave("eth0", "net0")
}

func without(all []string, one string) error {
	for _, a := range all {
		if a == one {
			return errors.New("it is there")
		}
	}
	return nil
}
