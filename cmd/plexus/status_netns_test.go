package main

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// Plugins like those of Calico and Weave: what they make is real, what they say of it
// is poor. Their argument is their answer.
const makesInterface = `
case $CNI_COMMAND in
ADD)
	ip link add "h$$" type veth peer name "p$$" &&
	ip link set "h$$" up &&
	ip link set "p$$" netns "$CNI_NETNS" &&
	nsenter --net="$CNI_NETNS" sh -c "ip link set p$$ name $CNI_IFNAME address 0a:58:00:00:00:0$SUFFIX mtu 1450 up &&
		ip addr add 10.7.0.$SUFFIX/24 dev $CNI_IFNAME && ip addr add fd00:7::$SUFFIX/64 dev $CNI_IFNAME" ||
		fail 100 'cannot make the interface'
	;;
DEL)
	[ -z "$CNI_NETNS" ] || nsenter --net="$CNI_NETNS" ip link del "$CNI_IFNAME"
	exit 0
	;;
*)
	exit 0
	;;
esac
`

// poor writes a plugin that makes an interface and answers as it is told.
func poor(n *node.Node, name, suffix, answer string) {
	n.Plugin(name, "SUFFIX="+suffix+"\n"+makesInterface+"cat <<END\n"+answer+"\nEND\n")
}

func TestNetnsStatusOfPoorResults(t *testing.T) {
	n := node.New(t)
	poor(n, "calicolike", "1", `{"cniVersion": "0.3.1", "interfaces": [{"name": "cali123"}], "ips": [{"version": "4", "address": "10.7.0.1/32"}], "dns": {}}`)
	poor(n, "weavelike", "2", `{"cniVersion": "0.3.0", "ips": [{"version": "4", "address": "10.7.0.2/24", "gateway": "10.7.0.99"}]}`)
	poor(n, "silent", "3", `{}`)
	poor(n, "bare", "4", `{"cniVersion": "1.0.0"}`)
	for _, name := range []string{"weavelike", "silent", "bare"} {
		n.Network(name, node.Conf{"cniVersion": "0.3.1", "type": name})
	}
	n.PodWith("c1", "weavelike, silent, bare")
	pod := n.Sandbox("c1")
	conf := n.Conf(node.Conf{"delegates": []node.Conf{{"cniVersion": "0.3.1", "name": "k8s-pod-network", "type": "calicolike"}}})
	added := n.Add(pod, conf)
	check.Equal(t, "addresses of the answer", addresses(added.Result), []string{"10.7.0.1/32"})
	want := []types.NetworkStatus{
		{Name: "k8s-pod-network", Interface: "eth0", IPs: []string{"10.7.0.1"}, MAC: "0a:58:00:00:00:01", MTU: 1450, Default: true},
		{Name: "default/weavelike", Interface: "net0", IPs: []string{"10.7.0.2"}, MAC: "0a:58:00:00:00:02", MTU: 1450},
		{Name: "default/silent", Interface: "net1", IPs: []string{"10.7.0.3", "fd00:7::3"}, MAC: "0a:58:00:00:00:03", MTU: 1450},
		{Name: "default/bare", Interface: "net2", IPs: []string{"10.7.0.4", "fd00:7::4"}, MAC: "0a:58:00:00:00:04", MTU: 1450},
	}
	check.Equal(t, "status", n.Record(pod).Status, want)
	n.Del(pod, conf)
	n.MustBeClean()
}

func TestNetnsStatusOfFullResults(t *testing.T) {
	n, pod := threeNetworks(t)
	n.Add(pod, n.Conf(nil))
	there := pod.Interfaces()
	want := []types.NetworkStatus{
		{Name: "cbr0", Interface: "eth0", IPs: []string{"10.1.0.2"}, MAC: there["eth0"].MAC, MTU: 1500, Default: true, Gateway: []string{"10.1.0.1"}},
		{Name: "default/mac", Interface: "net0", IPs: []string{"10.2.0.2"}, MAC: there["net0"].MAC, MTU: 1500},
		{Name: "default/second", Interface: "net1", IPs: []string{"10.3.0.2"}, MAC: there["net1"].MAC, MTU: 1500},
	}
	check.Equal(t, "status", n.Record(pod).Status, want)
}

// A result that names an interface which is not there, as vhost-user's, is a warning.
func TestNetnsResultOfAnInterfaceThatIsNotThere(t *testing.T) {
	n := node.New(t)
	n.Plugin("vhost", `[ "$CNI_COMMAND" != ADD ] || cat <<END
{"cniVersion": "1.0.0", "interfaces": [{"name": "$CNI_IFNAME", "mac": "0a:58:00:00:00:09", "sandbox": "$CNI_NETNS"}], "ips": [{"address": "10.7.0.9/24", "interface": 0}]}
END
`)
	config := node.Conf{"cniVersion": "1.0.0", "name": "vhost", "type": "vhost"}
	pod := n.Sandbox("c1")
	agent := n.Agent(node.Facts(t, types.Facts{
		Pod:      podWith("vhost"),
		Networks: []types.Network{{Ref: types.Ref{Namespace: "default", Name: "vhost"}, Config: config.String()}},
	}))
	conf := n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket()})
	n.Add(pod, conf)
	check.Equal(t, "status", statusOf(n, pod)["net0"],
		types.NetworkStatus{Name: "default/vhost", Interface: "net0", IPs: []string{"10.7.0.9"}, MAC: "0a:58:00:00:00:09"})
	check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0"})
	published := publishedBy(t, agent)
	check.Equal(t, "published status", published.Status, nil) // the agent reads the journal
	check.Equal(t, "events", published.Events, []types.PodEvent{
		{Type: "Normal", Reason: "AddedInterface", Message: "Add eth0 [10.1.0.2] from cbr0"},
		{Type: "Normal", Reason: "AddedInterface", Message: "Add net0 [10.7.0.9] from default/vhost"},
		{
			Type: "Warning", Reason: "InterfaceNotFound",
			Message: "network default/vhost: its plugins say that they made interface net0, but the pod has none of that name",
		},
	})
	n.Del(pod, conf)
	n.MustBeClean()
}

// podWith is pod default/c1 with a networks annotation.
func podWith(networks string) types.Pod {
	return types.Pod{Namespace: "default", Name: "c1", Annotations: map[string]string{types.AnnotationNetworks: networks}}
}

// publishedBy gives the one request to publish that an agent got.
func publishedBy(t *testing.T, agent *node.Agent) *types.PublishRequest {
	t.Helper()
	var found []*types.PublishRequest
	for _, request := range agent.Requests() {
		if request.Publish != nil {
			found = append(found, request.Publish)
		}
	}
	if len(found) != 1 {
		t.Fatalf("%d requests to publish", len(found))
	}
	return found[0]
}

func TestNetnsFailureIsAnEventWithoutStderr(t *testing.T) {
	n := node.New(t)
	n.Wrap("bridge")
	n.Hook("bridge", "ADD", "echo a secret of stderr >&2; fail 123 'out of luck' 'and more'")
	pod := n.Sandbox("c1")
	agent := n.Agent(node.Facts(t, types.Facts{Pod: podWith("")}))
	conf := n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket()})
	failure := call(n, "ADD", pod, conf).Fails(123)
	check.Contains(t, "details", failure.Details, "and more", "a secret of stderr")
	published := publishedBy(t, agent)
	check.Equal(t, "published status", published.Status, nil)
	check.Equal(t, "events", published.Events, []types.PodEvent{{
		Type: "Warning", Reason: "NetworkAttachFailed",
		Message: "pod default/c1: attach network cbr0 as eth0: plugin bridge (ADD): out of luck (CNI code 123)",
		Plain:   true,
	}})
	n.MustBeClean()
}

// An event of a plain pod is marked: whether it is written is for the agent to say.
func TestNetnsPlainPodGetsAStatusAndAMarkedEvent(t *testing.T) {
	n := node.New(t)
	pod := n.Sandbox("c1")
	agent := n.Agent(node.Facts(t, types.Facts{Pod: podWith("")}))
	conf := n.Conf(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket()})
	n.Add(pod, conf)
	published := publishedBy(t, agent)
	check.Equal(t, "status", len(n.Record(pod).Status), 1)
	check.Equal(t, "events", published.Events, []types.PodEvent{{
		Type: "Normal", Reason: "AddedInterface", Message: "Add eth0 [10.1.0.2] from cbr0", Plain: true,
	}})
	if n.Record(pod).Published {
		t.Error("the record says that the status is published; the agent has not said so")
	}
	n.Del(pod, conf)
	n.MustBeClean()
}

// garbage are answers of ADD that are no result.
var garbage = map[string]string{
	"nothing":       ``,
	"garbage":       `this is no JSON`,
	"an array":      `[]`,
	"null":          `null`,
	"a version":     `{"cniVersion": "7.0.0"}`,
	"a wrong shape": `{"cniVersion": "1.0.0", "ips": "none"}`,
}

func TestNetnsAnswerThatIsNoResultIsUndone(t *testing.T) {
	for name, answer := range garbage {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			poor(n, "broken", "5", answer)
			n.Network("broken", node.Conf{"cniVersion": "1.0.0", "type": "broken"})
			n.PodWith("c1", "broken")
			pod := n.Sandbox("c1")
			o := call(n, "ADD", pod, n.Conf(nil))
			if o.ExitCode != 1 {
				t.Fatalf("it was taken for a result: %s", o.Stdout)
			}
			check.Contains(t, "error", o.Err.Msg, "default/c1", "default/broken")
			if strings.Contains(o.Err.Msg, "<nil>") {
				t.Error(o.Err.Msg)
			}
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			n.MustBeClean()
		})
	}
}
