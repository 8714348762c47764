package main

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// fourNetworks are threeNetworks and a third of the annotation, all noting their calls.
func fourNetworks(t *testing.T) (*node.Node, *node.Sandbox) {
	t.Helper()
	n, pod := threeNetworks(t)
	n.Wrap("bridge", "macvlan")
	n.Network("third", node.Bridge("br3", "10.4.0.0/16"))
	n.PodWith("c1", "mac, second, third")
	return n, pod
}

const failOnNet1 = `[ "$CNI_IFNAME" != net1 ] || fail 123 'out of luck' 'and more'`

func TestNetnsFailureInTheMiddleIsUndoneInReverse(t *testing.T) {
	n, pod := fourNetworks(t)
	n.Hook("bridge", "ADD", failOnNet1)
	failure := call(n, "ADD", pod, n.Conf(nil)).Fails(123)
	check.Equal(t, "error", failure.Msg, "pod default/c1: attach network default/second as net1: plugin bridge (ADD): out of luck")
	check.Equal(t, "details", failure.Details, "bridge: and more")
	check.Equal(t, "calls", n.CallNames(), []string{
		"ADD bridge eth0", "ADD macvlan net0", "ADD bridge net1",
		"DEL bridge net1", "DEL macvlan net0", "DEL bridge eth0",
	})
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	check.Equal(t, "default routes", pod.DefaultRoutes(), []string{})
	n.MustBeClean()
}

func TestNetnsFailureInTheUndo(t *testing.T) {
	n, pod := fourNetworks(t)
	n.Hook("bridge", "ADD", failOnNet1)
	n.Hook("macvlan", "DEL", "fail 77 'not now'")
	failure := call(n, "ADD", pod, n.Conf(nil)).Fails(123)
	check.Contains(t, "error", failure.Msg, "default/c1",
		"attach network default/second as net1: plugin bridge (ADD): out of luck",
		"detach network default/mac from net0: plugin macvlan (DEL): not now")
	check.Equal(t, "calls", n.CallNames(), []string{
		"ADD bridge eth0", "ADD macvlan net0", "ADD bridge net1",
		"DEL bridge net1", "DEL macvlan net0", "DEL bridge eth0",
	})
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"net0"})
	record := n.Record(pod)
	check.Equal(t, "what the record has still to release", record.Pending(record.BootID), []int{1})

	call(n, "DEL", pod, n.Conf(nil)).Fails(77)
	check.Equal(t, "calls", n.CallNames(), []string{"DEL macvlan net0"})
	n.Hook("macvlan", "DEL", "")
	n.Del(pod, n.Conf(nil))
	check.Equal(t, "calls", n.CallNames(), []string{"DEL macvlan net0"})
	n.MustBeClean()
}

func TestNetnsAddReleasesWhatAFailedUndoLeft(t *testing.T) {
	n, pod := fourNetworks(t)
	n.Hook("bridge", "ADD", failOnNet1)
	n.Hook("macvlan", "DEL", "fail 77 'not now'")
	call(n, "ADD", pod, n.Conf(nil)).Fails(123)
	n.Hook("bridge", "ADD", "")
	failure := call(n, "ADD", pod, n.Conf(nil)).Fails(77)
	check.Contains(t, "error", failure.Msg, "release what an earlier call left unfinished", "default/mac")
	n.Hook("macvlan", "DEL", "")
	n.Add(pod, n.Conf(nil))
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "net0", "net1", "net2"})
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

func TestNetnsDelGoesOnAfterAFailure(t *testing.T) {
	n, pod := fourNetworks(t)
	n.Add(pod, n.Conf(nil))
	n.Calls()
	n.Hook("bridge", "DEL", `[ "$CNI_IFNAME" = net2 ] || fail 88 "never $CNI_IFNAME"`)
	failure := call(n, "DEL", pod, n.Conf(nil)).Fails(88)
	check.Contains(t, "error", failure.Msg, "never net1", "never eth0", "default/second", "cbr0")
	check.Equal(t, "calls", n.CallNames(), []string{"DEL bridge net2", "DEL bridge net1", "DEL macvlan net0", "DEL bridge eth0"})
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "net1"})
	n.Hook("bridge", "DEL", "")
	n.Del(pod, n.Conf(nil))
	check.Equal(t, "calls", n.CallNames(), []string{"DEL bridge net1", "DEL bridge eth0"})
	n.MustBeClean()
}

// Why a DEL was tried again is answered by the record alone, however often that was.
func TestNetnsFailedReleaseLeavesATrace(t *testing.T) {
	n, pod := fourNetworks(t)
	n.Hook("bridge", "ADD", failOnNet1)
	n.Hook("macvlan", "DEL", "fail 77 \"not now $(head -c 20000 /dev/zero | tr '\\0' x)\"")
	call(n, "ADD", pod, n.Conf(nil)).Fails(123)
	n.Hook("macvlan", "DEL", "fail 77 'nor later'")
	for range 14 {
		call(n, "DEL", pod, n.Conf(nil)).Fails(77)
	}
	kept := keptEntries(t, n, pod)
	check.Equal(t, "number", len(kept), 12)
	for i, want := range []struct{ command, error string }{{"ADD", "not now"}, {"DEL", "nor later"}} {
		check.Equal(t, "command", kept[i].Command, want.command)
		check.Contains(t, "error", kept[i].Error, "detach network default/mac from net0", want.error)
		if len(kept[i].Error) > types.MaxEntryError || kept[i].Time.IsZero() {
			t.Errorf("entry %d has a message of %d bytes, and its time is %v", i, len(kept[i].Error), kept[i].Time)
		}
	}
	n.Hook("macvlan", "DEL", "")
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

// keptEntries gives the entries of a record about calls that failed to release it.
func keptEntries(t *testing.T, n *node.Node, pod *node.Sandbox) []types.Entry {
	t.Helper()
	var kept []types.Entry
	for line := range strings.Lines(n.ReadFile(n.RecordPath(pod))) {
		var entry types.Entry
		if err := json.Unmarshal([]byte(line), &entry); err == nil && entry.Event == types.EventKept {
			kept = append(kept, entry)
		}
	}
	return kept
}

// A sandbox that is gone has failed no attempt yet, however often its DEL failed before.
func TestNetnsFailedDELsDoNotDelayTheReleaseOfTheDead(t *testing.T) {
	n, pod := fourNetworks(t)
	n.Pod("c2", nil)
	n.Add(pod, n.Conf(nil))
	n.Hook("macvlan", "DEL", "fail 77 'not now'")
	for range 5 {
		call(n, "DEL", pod, n.Conf(nil)).Fails(77)
	}
	n.Hook("macvlan", "DEL", "")
	pod.Destroy()
	other := n.Sandbox("c2")
	n.Add(other, n.Conf(nil))
	check.Equal(t, "records", len(n.Records()), 1)
	n.Del(other, n.Conf(nil))
	n.MustBeClean()
}

// The configuration of the ADD counts, whatever the node's is by now.
func TestNetnsDelUsesTheConfigurationOfTheAdd(t *testing.T) {
	n, pod := fourNetworks(t)
	n.Add(pod, n.Conf(nil))
	n.Network("mac", node.Conf{"cniVersion": "1.0.0", "type": "nonsense"})
	n.Run("rm", n.Manifests+"/nad-default-second.yaml", n.Manifests+"/pod-c1.yaml")
	other := n.Conf(node.Conf{"delegates": []node.Conf{node.Bridge("br9", "10.9.0.0/16")}})
	n.Del(pod, other)
	n.MustBeClean()
}

// The next call for any other pod releases a sandbox whose DEL failed and is gone.
func TestNetnsDeadSandboxIsReleasedByTheNextCall(t *testing.T) {
	for _, command := range []string{"ADD", "DEL", "GC"} {
		t.Run(command, func(t *testing.T) {
			n, pod := fourNetworks(t)
			n.Pod("c2", nil)
			n.Add(pod, n.Conf(nil))
			n.Hook("macvlan", "DEL", "fail 77 'not now'")
			call(n, "DEL", pod, n.Conf(nil)).Fails(77)
			n.Hook("macvlan", "DEL", "")
			n.Calls()
			pod.Destroy()
			conf := n.Conf(node.Conf{
				"cniVersion": "1.1.0", "name": "another",
				"cni.dev/valid-attachments": []node.Conf{},
			})
			other := n.Sandbox("c2")
			call(n, command, other, conf).OK()
			call(n, "DEL", other, conf).OK()
			released := []string{}
			for _, c := range n.Calls() {
				if c.ContainerID == "c1" && c.Command == "DEL" {
					released = append(released, c.String())
				}
			}
			// Below version 1.1.0 libcni's GC is a DEL too.
			check.Equal(t, "released", slices.Compact(released), []string{"DEL macvlan net0"})
			n.MustBeClean()
		})
	}
}

// No DEL of this sandbox may be given up for the time that the others' would have.
func TestNetnsDeadSandboxOfSlowPlugins(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Wrap("macvlan")
	for i := range 3 {
		name := fmt.Sprintf("m%d", i)
		n.Network(name, node.Macvlan(name, "up0", fmt.Sprintf("10.%d.0.0/16", i+2)))
	}
	n.PodWith("c1", "m0, m1, m2")
	conf := n.Conf(nil)
	pod, other := n.Sandbox("c1"), n.Sandbox("c2")
	n.Add(pod, conf)
	pod.Destroy()
	n.Hook("macvlan", "DEL", "sleep 1.8") // slow, not stuck: the last has more than a second of the call, and less than it needs
	for range 3 {
		if n.Del(other, conf); len(n.Records()) == 0 {
			break
		}
	}
	n.MustBeClean()
}

func TestNetnsReadinessIndicatorFile(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge")
	ready := n.Path("ready")
	n.Hook("bridge", "ADD", "[ -e "+ready+" ] || fail 1 'ran before the node was ready'")
	conf := n.Conf(node.Conf{"cniVersion": "1.1.0", "readinessindicatorfile": ready})
	failure := n.Call(node.Call{Command: "STATUS", Config: conf}).Fails(50)
	check.Contains(t, "error", failure.Msg, "readinessindicatorfile", ready)
	running := n.Start(node.Call{Command: "ADD", Config: conf, Sandbox: pod})
	n.WriteFile(ready, "")
	running.Wait().OK()
	n.Call(node.Call{Command: "STATUS", Config: conf}).OK()
	n.Run("rm", ready)
	n.Del(pod, conf)
	n.MustBeClean()
}

// An ADD that waits for the node is ended by its deadline, and nothing was touched.
func TestNetnsReadinessIndicatorFileThatNeverComes(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Wrap("bridge")
	conf := n.Conf(node.Conf{"readinessindicatorfile": n.Path("never"), "addTimeout": "1s"})
	check.Contains(t, "error", call(n, "ADD", pod, conf).Fails(50).Msg, "default/c1", n.Path("never"))
	check.Equal(t, "calls", n.CallNames(), []string{})
	n.MustBeClean()
}
