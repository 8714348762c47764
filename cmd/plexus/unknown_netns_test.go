package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// A DEL of which nothing is known succeeds also where the default network cannot be asked:
// it comes a second time, or the sandbox was never attached, and a failure would be for ever.
func TestNetnsDelOfAnUnknownSandbox(t *testing.T) {
	broken := func(n *node.Node, file string) { n.WriteFile(file, "{broken") }
	for name, spoil := range map[string]func(n *node.Node, file string){
		"the file is gone":   func(n *node.Node, file string) { n.Run("rm", file) },
		"the file is broken": broken,
		"the plugin is gone": func(n *node.Node, file string) {
			n.WriteFile(file, node.List("pods", "1.0.0", node.Conf{"type": "nosuch"}).String())
		},
		"its IPAM is gone": func(n *node.Node, file string) {
			n.WriteFile(file, node.List("pods", "1.0.0", node.Conf{"type": "bridge", "bridge": "br7", "ipam": node.Conf{"type": "nosuch"}}).String())
		},
	} {
		for _, byName := range []bool{false, true} {
			t.Run(name, func(t *testing.T) {
				n := node.New(t)
				n.Pod("c1", nil)
				pod := n.Sandbox("c1")
				file := n.ConfDir + "/10-pods.conflist"
				n.WriteFile(file, node.List("pods", "1.0.0", node.ClusterBridge()).String())
				conf := n.Conf(node.Conf{"clusterNetwork": file, "delegates": nil})
				if byName {
					conf = conf.With(node.Conf{"clusterNetwork": "pods"})
				}
				n.Add(pod, conf)
				n.Del(pod, conf)
				spoil(n, file)
				n.Del(pod, conf)
				pod.Destroy()
				n.Del(pod, conf)
				n.MustBeClean()
			})
		}
	}
}

// A runtime writes null where no pod of the network is left.
func TestNetnsGCWithoutAPod(t *testing.T) {
	for _, key := range []string{"cni.dev/valid-attachments", "cni.dev/attachments"} {
		n := gcNode(t)
		pod := attached(n, gcConf(n, nil), "c1")[0]
		n.Call(node.Call{Command: "GC", Config: gcConf(n, nil).With(node.Conf{key: json.RawMessage("null")})}).OK()
		check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
		n.MustBeClean()
	}
}

// A damaged record says that the sandbox was attached: while the default network cannot be
// asked, DEL fails and keeps it.
func TestNetnsDelOfADamagedRecordWithoutThePlugin(t *testing.T) {
	n := node.New(t)
	n.Pod("c1", nil)
	pod := n.Sandbox("c1")
	file := n.ConfDir + "/10-pods.conflist"
	whole := node.List("pods", "1.0.0", node.ClusterBridge()).String()
	n.WriteFile(file, whole)
	conf := n.Conf(node.Conf{"clusterNetwork": file, "delegates": nil})
	n.Add(pod, conf)
	n.WriteFile(n.RecordPath(pod), "{torn")
	n.Run("rm", "-r", n.CNIDir+"/results")
	for name, spoilt := range map[string]string{
		"the plugin is gone": node.List("pods", "1.0.0", node.Conf{"type": "nosuch"}).String(),
		"the file is broken": "{broken",
	} {
		n.WriteFile(file, spoilt)
		check.Contains(t, name, call(n, "DEL", pod, conf).Fails(100).Msg, "default network")
		check.Equal(t, name+": records", len(n.Records()), 1)
	}
	n.WriteFile(file, whole)
	n.Del(pod, conf)
	check.Equal(t, "reservations", n.Reservations(), map[string][]string{})
}

// Where the API server alone knows the default network, no DEL could ever ask it: a damaged
// record is set aside all the same.
func TestNetnsDelOfADamagedRecordOfANamedNetwork(t *testing.T) {
	n := node.New(t)
	n.NetworkIn("kube-system", "pods", node.ClusterBridge())
	n.Pod("c1", nil)
	pod := n.Sandbox("c1")
	conf := n.Conf(node.Conf{"clusterNetwork": "pods", "delegates": nil})
	n.Add(pod, conf)
	n.WriteFile(n.RecordPath(pod), "{torn")
	n.Run("rm", "-r", n.CNIDir+"/results")
	n.Del(pod, conf)
	check.Equal(t, "records", n.Records(), []string{filepath.Base(n.RecordPath(pod)) + ".corrupt"})
}
