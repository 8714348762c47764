package scenarios

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
	"github.com/plexus-cni/plexus/e2e/harness/kube"
)

// netConfDir is the folder of networks that are files, by the defaults of Plexus.
const netConfDir = "/etc/cni/multus/net.d/"

// writeFolder writes configurations into a folder of the node, which goes at the end of the scenario.
func writeFolder(s *cluster.Scenario, n *cluster.Node, folder string, files map[string]cluster.Conf) {
	s.Helper()
	s.Cleanup(func() { _, _ = n.Run("rm", "-rf", folder) })
	for name, conf := range files {
		s.Must(n.WriteFile(filepath.Join(folder, name), cluster.JSON(conf)))
	}
}

// sysctl reads a setting of the pod's network, as NET/IPV4/CONF/….
func sysctl(s *cluster.Scenario, p *cluster.Pod, key string) string {
	s.Helper()
	value, err := p.Run("cat", "/proc/sys/"+key)
	s.Must(err)
	return strings.TrimSpace(value)
}

// mtus gives the MTU of each of the pod's interfaces.
func mtus(p *cluster.Pod) map[string]int {
	all := map[string]int{}
	for _, i := range p.Interfaces() {
		all[i.Name] = i.MTU
	}
	return all
}

// A configuration in the folder of a list's name is one more plugin of the list: of the default
// network, and of a network that is a file of the node, unless that says not to. A pod that was
// attached with it is released with it, also when the folder has gone.
func TestE2ESubfolder(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	n := s.Node(1)
	earlier := s.Pod("earlier", cluster.On(n)).AwaitReady()
	subfolder := filepath.Dir(cluster.BridgeFile) + "/cluster"
	writeFolder(s, n, subfolder, map[string]cluster.Conf{
		"10-sysctl.conf": {"type": "tuning", "sysctl": cluster.Conf{"net.ipv4.conf.IFNAME.arp_filter": "1"}},
		"20-mtu.conf":    {"type": "tuning", "mtu": 1400},
	})
	for i, name := range []string{"lan", "alone"} {
		list := cluster.Conf{"cniVersion": "1.0.0", "name": name, "plugins": []cluster.Conf{cluster.Macvlan(75+i, 10, 99)}}
		if name == "alone" {
			list["loadOnlyInlinedPlugins"] = true
		}
		s.MakeNAD(t, kube.NAD{Namespace: s.Namespace, Name: name})
		writeFolder(s, n, netConfDir, map[string]cluster.Conf{name + ".conflist": list})
		writeFolder(s, n, netConfDir+name, map[string]cluster.Conf{"mtu.conf": {"type": "tuning", "mtu": 1300}})
	}

	a := s.Pod("a", cluster.On(n), cluster.Networks("lan, alone")).AwaitReady()
	b := s.Pod("b", cluster.On(n), cluster.Networks("lan, alone")).AwaitReady()
	for _, p := range []*cluster.Pod{a, b} {
		p.MustHave("eth0", "net0", "net1")
		if diff := cmp.Diff(map[string]int{"eth0": 1400, "net0": 1300, "net1": 1500}, mtus(p)); diff != "" {
			t.Errorf("the MTUs of pod %s (-want +got):\n%s", p.Name, diff)
		}
		for name, want := range map[string]string{"eth0": "1", "net0": "0"} {
			if got := sysctl(s, p, "net/ipv4/conf/"+name+"/arp_filter"); got != want {
				t.Errorf("arp_filter of %s in pod %s is %s, want %s", name, p.Name, got, want)
			}
		}
	}
	for _, name := range []string{"eth0", "net0", "net1"} {
		a.MustPing(b.IP(name))
	}
	a.Delete()
	a.AwaitGone()
	_, err := n.Run("rm", "-rf", subfolder, netConfDir)
	s.Must(err)
	b.Delete()
	b.AwaitGone()
	after := s.Pod("after", cluster.On(n)).AwaitReady()
	for _, p := range []*cluster.Pod{earlier, after} {
		p.MustHave("eth0")
		if got := sysctl(s, p, "net/ipv4/conf/eth0/arp_filter"); got != "0" || mtus(p)["eth0"] != 1500 {
			t.Errorf("pod %s, of a time without the folder, has arp_filter %s and the MTU %d", p.Name, got, mtus(p)["eth0"])
		}
	}
}
