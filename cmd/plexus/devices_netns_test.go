package main

import (
	"cmp"
	"fmt"
	"net"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// deviceNode is a node with devices, which are links that the reference plugin
// host-device moves, and an agent that knows which of them each pod has been given.
type deviceNode struct {
	*node.Node
	t         *testing.T
	conf      node.Conf
	mu        sync.Mutex
	allocated map[string][]string // by pod
	networks  map[string]string   // the annotation, by pod
	resources map[string]string   // of the devices, by pod; resource if there is none
}

const resource = "example.com/nic"

// asDevice gives host-device the link that has the name of the device.
const asDevice = `printf %%s "$stdin" | sed 's/"deviceID":"\([^"]*\)"/"device":"\1"/;s/"pciBusID":"[^"]*",//' >"$hooks/$$.stdin"
exec <"$hooks/$$.stdin"
rm "$hooks/$$.stdin"
exec '%s'
`

func newDeviceNode(t *testing.T, devices ...string) *deviceNode {
	t.Helper()
	n := &deviceNode{Node: node.New(t), t: t, allocated: map[string][]string{}, networks: map[string]string{}, resources: map[string]string{}}
	n.Plugin("nic", fmt.Sprintf(asDevice, n.CNIBin+"/host-device"))
	for _, device := range devices {
		n.Uplink(device)
	}
	n.conf = n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket()})
	n.Agent(n.answer)
	return n
}

func (n *deviceNode) answer(conn net.Conn, request *types.Request) {
	if request.Facts == nil {
		return
	}
	pod := request.Facts.Pod
	n.mu.Lock()
	defer n.mu.Unlock()
	pod.Annotations = map[string]string{types.AnnotationNetworks: n.networks[pod.Name]}
	resource := cmp.Or(n.resources[pod.Name], resource)
	nic := types.Network{Ref: types.Ref{Namespace: "default", Name: "nic"}, Config: `{"cniVersion": "1.0.0", "name": "nic", "type": "nic"}`, ResourceName: resource}
	facts := &types.Facts{Pod: pod, Networks: []types.Network{nic}, Devices: map[string][]string{}}
	if ids := n.allocated[pod.Name]; len(ids) > 0 {
		facts.Devices[resource] = ids
	}
	if err := rpc.NewConn(conn).Send(&types.Response{Version: types.WireVersion, Facts: facts}); err != nil {
		n.t.Errorf("answer: %v", err)
	}
}

// pod makes a sandbox of a pod that selects one network for each device that it was given.
func (n *deviceNode) pod(sandbox, name string, devices ...string) *node.Sandbox {
	n.t.Helper()
	n.mu.Lock()
	defer n.mu.Unlock()
	n.allocated[name] = devices
	n.networks[name] = strings.TrimSuffix(strings.Repeat("nic,", len(devices)), ",")
	s := n.Sandbox(sandbox)
	s.PodName = name
	return s
}

// given gives the devices of a sandbox's record, in the order of its interfaces.
func (n *deviceNode) given(s *node.Sandbox) []string {
	n.t.Helper()
	var given []string
	for _, a := range n.Record(s).Plan.Attachments {
		if a.DeviceID != "" {
			given = append(given, a.Interface+"="+a.DeviceID+" of "+a.ResourceName)
		}
	}
	return given
}

// A pod gets the devices that it was allocated, one for each attachment, and gives them
// back; a second pod that was given one of them waits meanwhile.
func TestNetnsDevices(t *testing.T) {
	n := newDeviceNode(t, "dev0", "dev1")
	first := n.pod("c1", "first", "dev1", "dev0")
	n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: first}).OK()
	check.Equal(t, "devices", n.given(first), []string{"net0=dev1 of " + resource, "net1=dev0 of " + resource})
	second := n.pod("c2", "second", "dev0")
	n.Calls()
	files := n.Leftovers()
	failure := n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: second}).Fails(11)
	check.Contains(t, "error", failure.Msg, "pod default/second", "network default/nic", `device "dev0" of resource `+resource, "pod default/first has it, in sandbox c1")
	check.Equal(t, "calls of plugins", n.CallNames(), []string{})
	check.Equal(t, "files", n.Leftovers(), files)
	n.Call(node.Call{Command: "DEL", Config: n.conf, Sandbox: second}).OK()
	n.Check(first, n.conf)
	for range 2 { // again and again: the record says what there was
		n.Del(first, n.conf)
	}
	check.Equal(t, "the second's ADD", n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: second}).OK().ExitCode, 0)
	check.Equal(t, "devices", n.given(second), []string{"net0=dev0 of " + resource})
	n.Del(second, n.conf)
	n.MustBeClean()
}

// Two resources offer one VF, and the kubelet gives it to a pod for each: the address on the bus is of
// one device. An ID of any other kind is its resource's.
func TestNetnsDeviceOfTwoResources(t *testing.T) {
	for id, one := range map[string]bool{"0000:3b:02.0": true, "mlx5_core.sf.4": true, "dev1": false} {
		t.Run(id, func(t *testing.T) {
			n := newDeviceNode(t)
			n.Plugin("nic", `[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.0.0","interfaces":[],"ips":[]}'`)
			first, second := n.pod("c1", "first", id), n.pod("c2", "second", id)
			n.resources["second"] = "example.com/dpdk"
			n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: first}).OK()
			add := node.Call{Command: "ADD", Config: n.conf, Sandbox: second}
			if one {
				failure := n.Call(add).Fails(11)
				check.Contains(t, "error", failure.Msg, fmt.Sprintf("device %q of resource example.com/dpdk", id), "pod default/first has it, in sandbox c1")
			} else {
				n.Call(add).OK()
			}
			n.Del(first, n.conf)
			n.Del(second, n.conf)
			n.MustBeClean()
		})
	}
}

// Too few devices: refused before anything is touched.
func TestNetnsTooFewDevices(t *testing.T) {
	n := newDeviceNode(t, "dev0")
	pod := n.pod("c1", "few", "dev0")
	n.networks["few"] = "nic,nic"
	failure := n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: pod}).Fails(7)
	check.Contains(t, "error", failure.Msg, "pod default/few", "network default/nic", "resource "+resource, `device "dev0"`, "for network default/nic")
	check.Equal(t, "calls of plugins", n.CallNames(), []string{})
	n.MustBeClean()
}

// A sandbox that is gone and was not released is released before another gets its device:
// of the same pod, or of another to which the kubelet has given the device since.
func TestNetnsDeviceOfADeadSandbox(t *testing.T) {
	for name, next := range map[string]string{"of the same pod": "pod", "of another pod": "other"} {
		t.Run(name, func(t *testing.T) {
			n := newDeviceNode(t, "dev0")
			first := n.pod("c1", "pod", "dev0")
			n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: first}).OK()
			first.Destroy()
			_, _ = n.Try("ip", "link", "del", "dev0-peer") // unless the kernel has come to it
			n.Uplink("dev0")                               // a VF would come back by itself
			n.Calls()
			second := n.pod("c2", next, "dev0")
			n.Hook("nic", "DEL", "fail 100 not-now")
			failure := n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: second}).Fails(11)
			check.Contains(t, "error", failure.Msg, `device "dev0"`, "not given back yet", "sandbox c1 of pod default/pod is gone", "not-now")
			if slices.Contains(n.CallNames(), "ADD nic net0") {
				t.Error("the device was used before it was given back")
			}
			n.Hook("nic", "DEL", "")
			n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: second}).OK()
			calls := n.Calls()
			released := slices.IndexFunc(calls, func(c node.PluginCall) bool { return c.Command == "DEL" && c.ContainerID == "c1" })
			used := slices.IndexFunc(calls, func(c node.PluginCall) bool { return c.Command == "ADD" && c.ContainerID == "c2" })
			if released < 0 || used < released {
				t.Errorf("the DEL of c1 is call %d, the ADD of c2 call %d", released, used)
			}
			check.Equal(t, "records", n.Records(), []string{"c2@cluster@eth0.jsonl"})
			n.Del(second, n.conf)
			n.MustBeClean()
		})
	}
}

// A sandbox that lives and has given its device back, though not all of its networks.
func TestNetnsDeviceGivenBackInPart(t *testing.T) {
	n := newDeviceNode(t, "dev0")
	n.Wrap("bridge")
	first, second := n.pod("c1", "first", "dev0"), n.pod("c2", "second", "dev0")
	n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: first}).OK()
	n.Hook("bridge", "DEL", "fail 100 not-now")
	n.Call(node.Call{Command: "DEL", Config: n.conf, Sandbox: first}).Fails(100)
	n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: second}).OK()
	check.Equal(t, "devices", n.given(second), []string{"net0=dev0 of " + resource})
	n.Hook("bridge", "DEL", "")
	n.Del(first, n.conf)
	n.Check(second, n.conf)
	n.Del(second, n.conf)
	n.MustBeClean()
}

// A container that was started anew under its ID: what it has of another network of
// plexus is under the same lock.
func TestNetnsDeviceOfTheSameContainer(t *testing.T) {
	n := newDeviceNode(t, "dev0")
	first := n.pod("c1", "pod", "dev0")
	n.Call(node.Call{Command: "ADD", Config: n.conf.With(node.Conf{"name": "other"}), Sandbox: first}).OK()
	first.Destroy()
	_, _ = n.Try("ip", "link", "del", "dev0-peer") // unless the kernel has come to it
	n.Uplink("dev0")
	again := n.pod("c1", "pod", "dev0")
	n.networks["pod"] = "nic@nic7" // two records of a container must not have one interface
	n.Call(node.Call{Command: "ADD", Config: n.conf, Sandbox: again, IfName: "eth1"}).OK()
	check.Equal(t, "records", n.Records(), []string{"c1@cluster@eth1.jsonl"})
	n.Call(node.Call{Command: "DEL", Config: n.conf, Sandbox: again, IfName: "eth1"}).OK()
	n.MustBeClean()
}

// Of several sandboxes that want one device at the same time one gets it, and the others
// hear who.
func TestNetnsDeviceIsClaimedOnce(t *testing.T) {
	n := newDeviceNode(t, "dev0")
	const contenders = 4
	for round := range 3 {
		var pods []*node.Sandbox
		var adds []*node.Running
		for i := range contenders {
			pods = append(pods, n.pod(fmt.Sprintf("r%dc%d", round, i), fmt.Sprintf("pod%d", i), "dev0"))
		}
		for _, pod := range pods {
			adds = append(adds, n.Start(node.Call{Command: "ADD", Config: n.conf, Sandbox: pod}))
		}
		winner := -1
		var losers []*node.Failure
		for i, running := range adds {
			if outcome := running.Wait(); outcome.ExitCode != 0 {
				losers = append(losers, outcome.Fails(11))
			} else if winner >= 0 {
				t.Errorf("pod%d and pod%d have the device", winner, i)
			} else {
				winner = i
			}
		}
		if winner < 0 {
			t.Fatalf("nobody got the device: %v", losers)
		}
		for _, loser := range losers {
			check.Contains(t, "error", loser.Msg, fmt.Sprintf("pod default/pod%d has it, in sandbox r%dc%d", winner, round, winner))
		}
		for _, pod := range pods {
			n.Del(pod, n.conf)
		}
	}
	n.MustBeClean()
}

// A name of a file has at most 255 bytes, those of the network and of the container
// together may have more.
func TestNetnsDeviceInformationOfLongNames(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Wrap("macvlan")
	n.Hook("macvlan", "ADD", `file=$(printf %s "$stdin" | sed -n 's/.*"CNIDeviceInfoFile":"\([^"]*\)".*/\1/p')
mkdir -p "$(dirname "$file")" && printf '{"type":"pci","version":"1.1.0","pci":{"pci-address":"0000:3b:02.%s"}}' "${CNI_IFNAME#net}" >"$file" || fail 100 "no $file"`)
	name := strings.TrimSuffix(strings.Repeat(strings.Repeat("n", 46)+".", 5), ".")
	n.Network(name, node.Macvlan("mac", "up0", "10.2.0.0/16").With(node.Conf{"capabilities": node.Conf{"CNIDeviceInfoFile": true}}))
	n.PodWith("c1", name+", "+name)
	pod := n.Sandbox("c1")
	pod.ID = strings.Repeat("c", 64)
	n.Add(pod, n.Conf(nil))
	status := statusOf(n, pod)
	for ifName, want := range map[string]string{"net0": "0000:3b:02.0", "net1": "0000:3b:02.1"} {
		if info := status[ifName].DeviceInfo; info == nil || info.PCI == nil || info.PCI.PCIAddress != want {
			t.Errorf("device information of %s: %+v", ifName, info)
		}
	}
	n.Check(pod, n.Conf(nil))
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}
