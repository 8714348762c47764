package main

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

func status(n *node.Node, conf node.Conf) *node.Outcome {
	return n.Call(node.Call{Command: "STATUS", Config: conf})
}

func TestNetnsStatusVerb(t *testing.T) {
	n := gcNode(t)
	nobody := n.Path("nobody.sock")
	for name, c := range map[string]struct {
		conf  node.Conf
		names []string // in the error of code 50; none for success
	}{
		"ready":      {nil, nil},
		"no source":  {node.Conf{"manifests": nil}, nil},
		"no plugin":  {node.Conf{"delegates": []node.Conf{{"cniVersion": "1.1.0", "name": "x", "type": "nosuch"}}}, []string{"network x", "type", "nosuch"}},
		"no IPAM":    {node.Conf{"delegates": []node.Conf{in110(node.ClusterBridge()).With(node.Conf{"ipam": node.Conf{"type": "nosuch"}})}}, []string{"network cbr0", "ipam.type", "nosuch"}},
		"kubeconfig": {node.Conf{"manifests": nil, "kubeconfig": n.Path("nofile")}, []string{"kubeconfig", n.Path("nofile")}},
		"manifests":  {node.Conf{"manifests": n.Path("nofolder")}, []string{"manifests", n.Path("nofolder")}},
		"no agent":   {node.Conf{"manifests": nil, "agentSocket": nobody}, []string{"agentSocket", nobody}},
		"no file":    {node.Conf{"delegates": nil, "clusterNetwork": n.Path("nofile")}, []string{"default network", n.Path("nofile")}},
		"the API alone knows the default network": {node.Conf{"delegates": nil, "clusterNetwork": "somewhere"}, nil},
	} {
		t.Run(name, func(t *testing.T) {
			o := status(n, gcConf(n, c.conf))
			if c.names == nil {
				check.Equal(t, "what STATUS prints", o.OK().Stdout, "")
				return
			}
			check.Contains(t, "error", o.Fails(50).Msg, c.names...)
		})
	}
	check.Equal(t, "records", n.Records(), []string{})
}

func TestNetnsStatusWithAnAgent(t *testing.T) {
	n := gcNode(t)
	agent := n.Agent(nil)
	// An agent that listens is enough: STATUS asks it nothing.
	status(n, gcConf(n, node.Conf{"manifests": nil, "agentSocket": n.AgentSocket()})).OK()
	check.Equal(t, "number of requests", len(agent.Requests()), 0)
	failure := status(n, gcConf(n, node.Conf{"manifests": nil, "agentSocket": n.AgentSocket()})).Fails(50)
	check.Contains(t, "error", failure.Msg, "agentSocket")
}

func TestNetnsStatusOfTheDelegateIsForwarded(t *testing.T) {
	n := gcNode(t)
	conf := gcConf(n, nil)
	for _, code := range []uint{50, 51, 123} {
		n.Hook("bridge", "STATUS", `fail `+map[uint]string{50: "50", 51: "51", 123: "123"}[code]+` 'the bridge is out' 'for repair'`)
		failure := status(n, conf).Fails(code)
		check.Contains(t, "error", failure.Msg, "network cbr0", "plugin bridge", "the bridge is out")
		check.Contains(t, "details", failure.Details, "for repair")
	}
	n.Hook("bridge", "STATUS", "exit 9")
	check.Contains(t, "error", status(n, conf).Fails(50).Msg, "plugin bridge")
	n.Hook("bridge", "STATUS", "")
	n.Calls()
	status(n, conf).OK()
	check.Equal(t, "calls", n.CallNames(), []string{"STATUS bridge "})
}

func TestNetnsStatusSkipsADelegateWithoutTheVerb(t *testing.T) {
	n := gcNode(t)
	for _, version := range allVersions[:4] {
		master := node.ClusterBridge().With(node.Conf{"cniVersion": version})
		status(n, gcConf(n, node.Conf{"delegates": []node.Conf{master}})).OK()
		check.Equal(t, "calls", n.CallNames(), []string{})
	}
}

// The answer comes though the delegate never ends and its child holds the pipes.
func TestNetnsStatusOfADelegateThatHangs(t *testing.T) {
	n := gcNode(t)
	n.WriteFile(n.Path("never"), "")
	n.Run("rm", n.Path("never"))
	n.Run("mkfifo", n.Path("never"))
	n.Hook("bridge", "STATUS", "read x <"+n.Path("never")+" & read x <"+n.Path("never"))
	failure := status(n, gcConf(n, nil)).Fails(50)
	check.Contains(t, "error", failure.Msg, "network cbr0", "plugin bridge (STATUS)", "was killed with its process group")
}
