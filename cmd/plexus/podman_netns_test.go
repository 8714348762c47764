package main

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// podman gives the name of a container in CNI_ARGS, and no namespace.
func podmanArgs(name string) *string {
	return ptr("IgnoreUnknown=1;K8S_POD_NAME=" + name)
}

// manifestPod writes the manifest of a pod of any namespace that selects networks.
func manifestPod(n *node.Node, namespace, name, networks string) {
	n.WriteFile(n.Manifests+"/"+namespace+"-"+name+".yaml", node.Conf{
		"apiVersion": "v1", "kind": "Pod",
		"metadata": node.Conf{"namespace": namespace, "name": name, "annotations": node.Conf{"k8s.v1.cni.cncf.io/networks": networks}},
	}.String())
}

// A pod whose name comes without a namespace gets what its manifest selects: that of namespace
// default, else the only one of the name. Otherwise nothing is attached, and the error says why.
func TestNetnsPodOfANameAlone(t *testing.T) {
	for name, test := range map[string]struct {
		namespaces []string // that have a pod of the name
		pod        string   // in the record, "" for an error
		errors     []string
	}{
		"in default":             {[]string{"default"}, "default/web", nil},
		"in default and another": {[]string{"apps", "default", "zone"}, "default/web", nil},
		"in another":             {[]string{"apps"}, "apps/web", nil},
		"in several others":      {[]string{"zone", "apps"}, "", []string{"pod web: ", "K8S_POD_NAMESPACE", "namespaces apps, zone"}},
		"in none":                {nil, "", []string{"pod web: ", "K8S_POD_NAMESPACE", "not found"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Uplink("up0")
			for _, namespace := range append(test.namespaces, "beside") {
				n.NetworkIn(namespace, "mac-"+namespace, node.Macvlan("mac", "up0", "10.2.0.0/16"))
			}
			for _, namespace := range test.namespaces {
				manifestPod(n, namespace, "web", "mac-"+namespace)
			}
			manifestPod(n, "beside", "other", "mac-beside")
			pod, conf := n.Sandbox("c1"), n.Conf(nil)
			add := n.Call(node.Call{Command: "ADD", Config: conf, Sandbox: pod, Args: podmanArgs("web")})
			if test.pod == "" {
				if add.ExitCode == 0 {
					t.Fatal("ADD succeeds")
				}
				check.Contains(t, "error", add.Err.Msg, test.errors...)
				n.MustBeClean()
				return
			}
			add.OK()
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "net0"})
			record := n.Record(pod)
			check.Equal(t, "pod", record.Plan.Pod.String(), test.pod)
			networks := []string{}
			for _, a := range record.Plan.Attachments {
				networks = append(networks, a.Network)
			}
			namespace := record.Plan.Pod.Namespace
			check.Equal(t, "networks", networks, []string{"cbr0", namespace + "/mac-" + namespace})
			n.Call(node.Call{Command: "CHECK", Config: prevResult(conf, add), Sandbox: pod, Args: podmanArgs("web")}).OK()
			n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: pod, Args: podmanArgs("web")}).OK()
			n.MustBeClean()
		})
	}
}

// Half a name is an error where pods are looked up: to go on without it would attach less than
// the pod asks for. Where they are not, there is no pod.
func TestNetnsPodKnownByHalf(t *testing.T) {
	byName, byNamespace := "K8S_POD_NAME=web", "K8S_POD_NAMESPACE=default;K8S_POD_NAME="
	for name, test := range map[string]struct {
		args   string
		conf   node.Conf
		errors []string // none for an ADD without a pod
	}{
		"an agent, a name":               {byName, node.Conf{"manifests": nil, "agentSocket": "/run/plexus/agent.sock"}, []string{"pod web: ", `K8S_POD_NAME is "web"`, "K8S_POD_NAMESPACE is missing", "agentSocket"}},
		"an agent, a namespace":          {byNamespace, node.Conf{"manifests": nil, "agentSocket": "/run/plexus/agent.sock"}, []string{`K8S_POD_NAMESPACE is "default"`, "K8S_POD_NAME is missing"}},
		"a kubeconfig, a name":           {byName, node.Conf{"manifests": nil, "kubeconfig": "/etc/kubeconfig"}, []string{"K8S_POD_NAMESPACE is missing"}},
		"a kubeconfig, a namespace":      {byNamespace, node.Conf{"manifests": nil, "kubeconfig": "/etc/kubeconfig"}, []string{"K8S_POD_NAME is missing"}},
		"manifests, a namespace":         {byNamespace, nil, []string{"K8S_POD_NAME is missing"}},
		"nobody to ask, a name":          {byName, node.Conf{"manifests": nil}, nil},
		"nobody to ask, a namespace":     {byNamespace, node.Conf{"manifests": nil}, nil},
		"an agent, and neither of both":  {"IgnoreUnknown=1", node.Conf{"manifests": nil, "agentSocket": "/run/plexus/agent.sock"}, nil},
		"manifests, and neither of both": {"K8S_POD_NAME=;K8S_POD_NAMESPACE=", nil, nil},
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Wrap("bridge")
			pod, conf, args := n.Sandbox("c1"), n.Conf(test.conf), "IgnoreUnknown=1;"+test.args
			add := n.Call(node.Call{Command: "ADD", Config: conf, Sandbox: pod, Args: &args})
			if test.errors == nil {
				add.OK()
				check.Equal(t, "pod", n.Record(pod).Plan.Pod.String(), "(no pod)")
			} else {
				check.Contains(t, "error", add.Fails(4).Msg, test.errors...)
				check.Equal(t, "calls", n.CallNames(), []string{})
			}
			n.Call(node.Call{Command: "DEL", Config: conf, Sandbox: pod, Args: &args}).OK()
			n.MustBeClean()
		})
	}
}

// A container on two networks of podman gets an ADD for each. What the second one attaches
// besides gets names that the first has not made up, nor its plugins made, and all of it is
// checked and released apart.
func TestNetnsTwoNetworksOfOneContainer(t *testing.T) {
	for name, test := range map[string]struct {
		selected string
		first    []string // interfaces after the first ADD
		both     []string
	}{
		"made up":               {"mac, second", []string{"eth0", "net0", "net1"}, []string{"eth0", "eth1", "net0", "net1", "net2", "net3"}},
		"made up after others":  {"mac, twice", []string{"eth0", "net0", "net1", "net3"}, []string{"eth0", "eth1", "net0", "net1", "net2", "net3", "net4", "net6"}},
		"one of several":        {"mac", []string{"eth0", "net0"}, []string{"eth0", "eth1", "net0", "net1"}},
		"none besides the main": {"", []string{"eth0"}, []string{"eth0", "eth1"}},
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Uplink("up0")
			n.Network("mac", node.Macvlan("mac", "up0", "10.2.0.0/16"))
			n.Network("second", node.Bridge("br2", "10.3.0.0/16"))
			n.Plugin("twice", `more=net$((${CNI_IFNAME#net} + 2))
case $CNI_COMMAND in
ADD)
	for name in "$CNI_IFNAME" "$more"; do
		nsenter --net="$CNI_NETNS" ip link add "$name" type veth peer name "peer-$name" || fail 100 "no $name"
	done
	echo '{"cniVersion":"1.0.0","interfaces":[{"name":"'"$CNI_IFNAME"'","sandbox":"'"$CNI_NETNS"'"},{"name":"'"$more"'","sandbox":"'"$CNI_NETNS"'"}]}' ;;
DEL)
	for name in "$CNI_IFNAME" "$more"; do nsenter --net="$CNI_NETNS" ip link del "$name" 2>/dev/null; done
	true ;;
esac`)
			n.Network("twice", node.List("twice", "1.0.0", node.Conf{"type": "twice"}))
			manifestPod(n, "default", "web", test.selected)
			pod := n.Sandbox("c1")
			confs := []node.Conf{
				n.Conf(node.Conf{"name": "podman"}),
				n.Conf(node.Conf{"name": "podman2", "delegates": []node.Conf{node.Bridge("br9", "10.9.0.0/16")}}),
			}
			calls := func(command string, i int) *node.Outcome {
				ifName := []string{"eth0", "eth1"}[i]
				return n.Call(node.Call{Command: command, Config: confs[i], Sandbox: pod, IfName: ifName, Args: podmanArgs("web")}).OK()
			}
			names := func() []string {
				all := []string{}
				for _, name := range pod.InterfaceNames() {
					if len(name) == len("net0") {
						all = append(all, name)
					}
				}
				return all
			}
			for i, want := range [][]string{test.first, test.both} {
				confs[i] = prevResult(confs[i], calls("ADD", i))
				check.Equal(t, "interfaces", names(), want)
			}
			calls("CHECK", 0)
			calls("CHECK", 1)
			calls("DEL", 1)
			check.Equal(t, "interfaces", names(), test.first)
			calls("CHECK", 0)
			calls("DEL", 0)
			n.MustBeClean()
		})
	}
}
