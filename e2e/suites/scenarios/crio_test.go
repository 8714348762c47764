package scenarios

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// CRI-O under a kubelet: it calls CHECK straight after ADD, and fails the pod if that fails; its
// namespaces are in a folder of its own; when it starts, it calls GC for all but the pods it knows.
func TestE2ECRIO(t *testing.T) {
	c := cluster.New(t, cluster.Options{Nodes: 1, Runtimes: []cluster.Runtime{cluster.CRIO}, Plexus: cluster.WithAgent})
	r := &crio{s: c.Scenario(t), n: c.Node(1)}
	r.s.Network("mv", cluster.Macvlan(100, 10, 200))
	r.s.Network("local", cluster.LocalBridge("br-crio", "192.168.101.0/24"))
	a, b := r.annotated("a"), r.annotated("b")
	for _, name := range []string{"eth0", "net0", "net1"} {
		a.MustPing(b.IP(name))
	}
	r.killed(a, b)
	r.reboot(a, b)
	r.delete(a, b)
	r.s.Must(c.RemoveAgents(t.Context()))
	addAndDelete(r.s, "handed-over", r.n, 0)
	r.configure(cluster.Conf{"capabilities": cluster.Conf{"io.kubernetes.cri.pod-annotations": false}})
	addAndDelete(r.s, "not-handed-over", r.n, 1)
	r.collects()
	r.chain()
}

// crio is a node with CRI-O, and the scenario on it.
type crio struct {
	s *cluster.Scenario
	n *cluster.Node
}

// annotated makes a pod with two networks. The kubelet knows one address of it, that of eth0.
func (r *crio) annotated(name string) *cluster.Pod {
	r.s.Helper()
	p := r.s.Pod(name, cluster.On(r.n), cluster.Networks("mv, local")).AwaitReady()
	p.MustHave("eth0", "net0", "net1")
	if got := p.Sandbox().NetNS; !strings.HasPrefix(got, "/run/crio/ns/netns/") && !strings.HasPrefix(got, "/var/run/crio/ns/netns/") {
		r.s.Errorf("the network namespace of pod %s is %s", name, got)
	}
	pod, err := p.Get()
	r.s.Must(err)
	var ips []string
	for _, ip := range pod.Status.PodIPs {
		ips = append(ips, ip.IP)
	}
	if diff := cmp.Diff([]string{p.IP("eth0").String()}, ips); diff != "" {
		r.s.Errorf("the addresses of pod %s, as its status has them (-want +got):\n%s", name, diff)
	}
	return p
}

// killed kills CRI-O and starts it again: it calls CHECK for the pods that run, and GC with them as valid.
func (r *crio) killed(running ...*cluster.Pod) {
	r.s.Helper()
	state := func() string {
		all := []any{r.n.Journal(), r.n.Reservations()}
		for _, p := range running {
			all = append(all, p.Interfaces())
		}
		return fmt.Sprint(all...)
	}
	before := state()
	r.n.KillRuntime()
	r.s.Must(r.n.StartRuntime(r.s.Context()))
	if diff := cmp.Diff(before, state()); diff != "" {
		r.s.Errorf("records, addresses and interfaces after CRI-O was killed (-before +after):\n%s", diff)
	}
	later := r.annotated("later")
	later.Delete()
	later.AwaitGone()
	r.s.Await("records, addresses and interfaces to be as before", func() error {
		if diff := cmp.Diff(before, state()); diff != "" {
			return fmt.Errorf("-before +now:\n%s", diff)
		}
		return nil
	})
}

// reboot cuts the power of the node: the pods come again, and what they had is released.
func (r *crio) reboot(pods ...*cluster.Pod) {
	r.s.Helper()
	before := r.n.Journal()
	r.s.Must(r.n.Reboot(r.s.Context()))
	r.s.Await("the pods to be attached again, and what they had before to be released", func() error {
		records, addresses := r.n.Journal(), r.n.Reservations()
		if len(records) != len(pods) || len(addresses) != 3*len(pods) {
			return fmt.Errorf("%d records and %d addresses of %d pods with 3 networks", len(records), len(addresses), len(pods))
		}
		if slices.ContainsFunc(records, func(record string) bool { return slices.Contains(before, record) }) {
			return fmt.Errorf("there are the records %q, before the reboot %q", records, before)
		}
		return nil
	})
	for _, p := range pods {
		p.AwaitReady().MustHave("eth0", "net0", "net1")
	}
}

// delete deletes pods. Nothing of them is left, and a second DEL is no error.
func (r *crio) delete(pods ...*cluster.Pod) {
	r.s.Helper()
	var calls []*cluster.Call
	for _, p := range pods {
		calls = append(calls, p.Call())
		p.Delete()
	}
	for _, p := range pods {
		p.AwaitGone()
	}
	r.s.MustBeClean()
	for i, p := range pods {
		if err := calls[i].Del(r.s.Context()); err != nil {
			r.s.Errorf("a second DEL of pod %s: %v", p.Name, err)
		}
	}
	r.s.MustBeClean()
}

// configure installs Plexus without an agent, with further keys, and has CRI-O read them.
func (r *crio) configure(more cluster.Conf) {
	r.s.Helper()
	r.s.Must(r.n.InstallPlexus("--extra-config", cluster.JSON(more)))
	r.s.Must(r.n.AwaitConf(r.s.Context()))
}

// recorder is a plugin that makes nothing, and has a file with the commands for each attachment.
const recorder = `#!/bin/sh
case $CNI_COMMAND in
ADD | CHECK | DEL)
	mkdir -p /run/recorder && echo "$CNI_COMMAND" >>"/run/recorder/$CNI_CONTAINERID" ;;
esac
case $CNI_COMMAND in
ADD)
	echo '{"cniVersion": "1.0.0"}' ;;
VERSION)
	echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}' ;;
esac
`

// recorded gives the commands that the recorder had for a sandbox.
func (r *crio) recorded(sandbox cluster.Sandbox) []string {
	r.s.Helper()
	text, err := r.n.ReadFile("/run/recorder/" + sandbox.ID)
	r.s.Must(err)
	return strings.Fields(text)
}

// chain has a chain without an interface for every pod: the CHECK after ADD asks it too.
func (r *crio) chain() {
	r.s.Helper()
	r.s.Must(r.n.WriteFile(cluster.PluginDir+"/recorder", recorder))
	_, err := r.n.Run("chmod", "755", cluster.PluginDir+"/recorder")
	r.s.Must(err)
	writeFolder(r.s, r.n, "/etc/cni/net.d/vendor-chain", map[string]cluster.Conf{
		"10-sysctl.conf":   {"type": "tuning", "sysctl": cluster.Conf{"net.ipv4.conf.eth0.arp_filter": "1"}},
		"20-recorder.conf": {"type": "recorder"},
	})
	r.configure(cluster.Conf{"auxiliaryCNIChainName": "vendor-chain"})
	p := r.s.Pod("chained", cluster.On(r.n), cluster.Networks("mv")).AwaitReady()
	r.s.Must(statusIs(p, "cluster eth0", r.s.Namespace+"/mv net0", "vendor-chain "))
	if got := sysctl(r.s, p, "net/ipv4/conf/eth0/arp_filter"); got != "1" {
		r.s.Errorf("arp_filter of eth0 is %s, the chain was to set 1", got)
	}
	sandbox := p.Sandbox()
	if diff := cmp.Diff([]string{"ADD", "CHECK"}, r.recorded(sandbox)); diff != "" {
		r.s.Errorf("what the chain was asked for (-want +got):\n%s", diff)
	}
	r.delete(p)
	if got := r.recorded(sandbox); !slices.Contains(got, "DEL") {
		r.s.Errorf("the chain was asked for %q, and not released", got)
	}
}

// removeSandboxes removes the sandboxes that have ended, which the kubelet would do within a minute, and
// gives an error unless there was none.
func (r *crio) removeSandboxes() error {
	sandboxes, err := r.n.Sandboxes("")
	if err == nil && len(sandboxes) > 0 {
		err = fmt.Errorf("there were %d", len(sandboxes))
	}
	for _, sandbox := range sandboxes {
		if _, failed := r.n.CRI("rmp", sandbox.ID); failed != nil {
			return failed
		}
	}
	return err
}

// collects attaches a sandbox that CRI-O does not know and that still lives, and starts CRI-O again
// when it has no pod: its GC has no valid attachment at all, and releases the sandbox.
func (r *crio) collects() {
	r.s.Helper()
	_, err := r.n.Run("ip", "netns", "add", "unknown")
	r.s.Must(err)
	r.s.Cleanup(func() { _, _ = r.n.Run("ip", "netns", "delete", "unknown") })
	r.s.MustBeClean()
	call := &cluster.Call{Node: r.n}
	call.Conf.ContainerID, call.Conf.NetNS, call.Conf.IfName = "unknown", "/run/netns/unknown", "eth0"
	r.s.Must(call.AddUnknown(r.s.Context()))
	if got := r.n.Journal(); len(got) != 1 {
		r.s.Fatalf("there are the records %q, want that of the sandbox that CRI-O does not know", got)
	}
	r.s.Await("CRI-O to have no sandbox", r.removeSandboxes)
	r.s.Must(r.n.RestartRuntime(r.s.Context()))
	r.s.MustBeClean()
}
