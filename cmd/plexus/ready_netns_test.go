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
		"no agent":   {node.Conf{"manifests": nil, "agentSocket": nobody}, nil},
		"no file":    {node.Conf{"delegates": nil, "clusterNetwork": n.Path("nofile")}, []string{"clusterNetwork", n.Path("nofile")}},
		"the API alone may know the default network": {node.Conf{"delegates": nil, "manifests": nil, "agentSocket": nobody, "clusterNetwork": "somewhere"}, nil},
		"nobody has the default network":             {node.Conf{"delegates": nil, "clusterNetwork": "somewhere"}, []string{"clusterNetwork", "kube-system/somewhere", n.ConfDir}},
		"nobody can have the default network":        {node.Conf{"delegates": nil, "manifests": nil, "clusterNetwork": "somewhere"}, []string{"clusterNetwork", "kube-system/somewhere", n.ConfDir}},
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

// STATUS never speaks of the agent, whose restart must not make the node NotReady, nor of what
// an agent can do without.
func TestNetnsStatusIsNotAboutTheAgent(t *testing.T) {
	for name, more := range map[string]node.Conf{
		"no kubeconfig":                  {},
		"a kubeconfig that is not there": {"kubeconfig": "/nofile"},
	} {
		t.Run(name, func(t *testing.T) {
			n := gcNode(t)
			agent := n.Agent(nil)
			conf := gcConf(n, more).With(node.Conf{"manifests": nil, "agentSocket": n.AgentSocket()})
			status(n, conf).OK()
			check.Equal(t, "number of requests", len(agent.Requests()), 0)
			status(n, conf).OK() // it is gone now
		})
	}
}

// Of a default network that only the API server knows, the record of another pod speaks.
func TestNetnsStatusOfARecordedDefaultNetwork(t *testing.T) {
	n := gcNode(t)
	n.NetworkIn("kube-system", "defined", in110(node.ClusterBridge()))
	n.Pod("c1", nil)
	conf := gcConf(n, node.Conf{"delegates": nil, "clusterNetwork": "defined"})
	n.Add(n.Sandbox("c1"), conf)
	n.Calls()
	conf = conf.With(node.Conf{"manifests": nil, "agentSocket": n.Path("nobody.sock")})
	status(n, conf).OK()
	check.Equal(t, "calls", n.CallNames(), []string{"STATUS bridge "})
	n.Hook("bridge", "STATUS", "fail 50 'not now'")
	check.Contains(t, "error", status(n, conf).Fails(50).Msg, "default network kube-system/defined", "plugin bridge (STATUS)", "not now")
	n.Run("chmod", "0644", n.PluginDir+"/bridge")
	check.Contains(t, "error", status(n, conf).Fails(50).Msg, "network kube-system/defined", "plugins[0].type", "is not executable")
	check.Equal(t, "calls", n.CallNames(), []string{"STATUS bridge "})
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

// The answer comes, of all networks together, though no plugin ends and their children hold
// the pipes.
func TestNetnsStatusWhereEveryDelegateHangs(t *testing.T) {
	n := gcNode(t)
	n.Run("mkfifo", n.Path("never"))
	for _, plugin := range []string{"bridge", "macvlan"} {
		n.Hook(plugin, "STATUS", "read x <"+n.Path("never")+" & read x <"+n.Path("never"))
	}
	delegates := []node.Conf{in110(node.ClusterBridge()), in110(node.Macvlan("mac", "up0", "10.2.0.0/16"))}
	failure := status(n, gcConf(n, node.Conf{"delegates": delegates})).Fails(50)
	check.Contains(t, "error", failure.Msg, "default network cbr0", "plugin bridge (STATUS)", "network mac", "plugin macvlan (STATUS", "was killed with everything it started")
}

// A plugin that is ready and slow to say so is ready. Networks are asked side by side: one
// after another, these would not fit.
func TestNetnsStatusOfSlowDelegates(t *testing.T) {
	n := gcNode(t)
	n.Run("mkfifo", n.Path("meet"))
	n.Hook("bridge", "STATUS", "sleep 2; echo x >"+n.Path("meet"))
	n.Hook("macvlan", "STATUS", "read x <"+n.Path("meet"))
	delegates := []node.Conf{in110(node.ClusterBridge()), in110(node.Macvlan("mac", "up0", "10.2.0.0/16"))}
	status(n, gcConf(n, node.Conf{"delegates": delegates})).OK()
}
