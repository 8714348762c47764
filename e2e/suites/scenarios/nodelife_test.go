package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// The runtime is killed while pods run and others start. Those that run keep their networks, the
// others get theirs, and nothing is left of either.
func TestE2EContainerdKilled(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	n := s.Node(1)
	s.Network("mv", cluster.Macvlan(63, 10, 200))
	running := s.Pod("running", cluster.On(n), cluster.Networks("mv")).AwaitReady()
	before := running.Interfaces()
	var starting []*cluster.Pod
	for i := range 5 {
		starting = append(starting, s.Pod(fmt.Sprintf("starting-%d", i), cluster.On(n), cluster.Networks("mv")))
	}
	s.Await("a sandbox that is being attached", func() error {
		if len(n.Journal()) < 2 {
			return errStill
		}
		return nil
	})
	n.KillRuntime()
	s.Must(n.StartRuntime(t.Context()))
	for _, p := range starting {
		p.AwaitReady().MustHave("eth0", "net0")
	}
	if got := running.Interfaces(); fmt.Sprint(got) != fmt.Sprint(before) {
		t.Errorf("the interfaces of a running pod have changed: %v, before %v", got, before)
	}
}

// The kubelet is restarted: pods run on, and those that start meanwhile wait for it.
func TestE2EKubeletRestarted(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	n := s.Node(1)
	s.Network("mv", cluster.Macvlan(64, 10, 99))
	running := s.Pod("running", cluster.On(n), cluster.Networks("mv")).AwaitReady()
	address := running.IP("net0")
	n.StopKubelet()
	waiting := s.Pod("waiting", cluster.On(n), cluster.Networks("mv"))
	s.Must(n.StartKubelet())
	waiting.AwaitReady().MustHave("eth0", "net0")
	if got := running.IP("net0"); got != address {
		t.Errorf("the address of a running pod has become %s, it was %s", got, address)
	}
	running.MustPing(waiting.IP("net0"))
}

// A power cut: all namespaces are gone, /run is empty, the journal is there. The pods start
// again, and every address and record of before is released within the next few calls.
func TestE2EReboot(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	n := s.Node(1)
	s.Network("mv", cluster.Macvlan(65, 10, 200))
	s.Network("local", cluster.LocalBridge("br-reboot", "192.168.66.0/24"))
	var pods []*cluster.Pod
	for i := range 4 {
		pods = append(pods, s.Pod(fmt.Sprintf("p%d", i), cluster.On(n), cluster.Networks("mv, local")))
	}
	for _, p := range pods {
		p.AwaitReady()
	}
	before := n.Journal()
	if len(before) != len(pods) {
		t.Fatalf("there are %d records of %d pods: %q", len(before), len(pods), before)
	}
	s.Must(n.Reboot(t.Context()))
	s.Await("the pods to be attached again, and what they had before to be released", func() error {
		records, addresses := n.Journal(), n.Reservations()
		if len(records) != len(pods) || len(addresses) != 3*len(pods) {
			return fmt.Errorf("%d records and %d addresses of %d pods with 3 networks", len(records), len(addresses), len(pods))
		}
		for _, record := range records {
			if slices.Contains(before, record) {
				return fmt.Errorf("record %s is of before the reboot", record)
			}
		}
		return nil
	})
	for _, p := range pods {
		p.AwaitReady().MustHave("eth0", "net0", "net1")
	}
}

// flaky is a plugin that works as macvlan does, except that its DEL fails while a file is there.
const flaky = `#!/bin/sh
if [ "$CNI_COMMAND" = DEL ] && [ -e /run/flaky ]; then
	echo '{"cniVersion": "1.0.0", "code": 999, "msg": "flaky: DEL fails while /run/flaky is there"}'
	exit 1
fi
exec /opt/cni/bin/macvlan
`

// An ADD fails, and so does the DEL of what was attached before it: the runtime asks once, and
// never again. Later calls for other pods release it.
func TestE2ELostDEL(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	n := s.Node(2)
	s.Must(n.WriteFile("/opt/cni/bin/flaky", flaky))
	_, err := n.Run("chmod", "755", "/opt/cni/bin/flaky")
	s.Must(err)
	t.Cleanup(func() { _, _ = n.Run("rm", "-f", "/opt/cni/bin/flaky", "/run/flaky") })
	s.Must(n.WriteFile("/run/flaky", ""))
	first, second := cluster.Macvlan(67, 10, 99), cluster.Macvlan(68, 10, 99)
	first["type"], second["master"] = "flaky", "eth7"
	s.Network("first", first)
	s.Network("second", second)
	p := s.Pod("p", cluster.On(n), cluster.Networks("first, second"))
	p.AwaitEvent("FailedCreatePodSandBox", "eth7", "flaky")
	p.Delete()
	p.AwaitGone()
	held := func(n *cluster.Node) bool {
		return slices.ContainsFunc(n.Reservations(), func(r string) bool { return strings.HasPrefix(r, "first/") })
	}
	if !held(n) {
		t.Fatalf("nothing is left to be released: %q", n.Reservations())
	}
	_, err = n.Run("rm", "/run/flaky")
	s.Must(err)
	// A call may come within the second that a record waits after its third failure.
	for later := 1; held(n); later++ {
		if later > 10 {
			t.Fatalf("ten later calls have not released it: records %q", n.Journal())
		}
		s.Pod(fmt.Sprintf("later-%d", later), cluster.On(n)).AwaitReady()
	}
}
