package scenarios

import (
	"context"
	"fmt"
	"net/netip"
	"path/filepath"
	"slices"
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

// macs gives the MAC of each of the pod's interfaces.
func macs(p *cluster.Pod) map[string]string {
	all := map[string]string{}
	for _, i := range p.Interfaces() {
		all[i.Name] = i.MAC
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
	// What the end of every scenario looks for in vain: tuning's, of two interfaces of each pod.
	if got := n.Glob("/run/cni/tuning/*"); len(got) != 4 {
		t.Errorf("tuning has noted what to restore in %q, want 4 files", got)
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

// noted is a plugin that has a file for each attachment, and makes nothing else.
const noted = `#!/bin/sh
file=/run/noted/$CNI_CONTAINERID-$CNI_IFNAME
case $CNI_COMMAND in
ADD)
	mkdir -p /run/noted && : >"$file" && echo '{"cniVersion": "1.0.0"}' ;;
DEL)
	rm -f "$file" ;;
VERSION)
	echo '{"cniVersion": "1.0.0", "supportedVersions": ["1.0.0"]}' ;;
esac
`

// notesAre demands that plugin noted has these attachments, CONTAINER-INTERFACE.
func notesAre(n *cluster.Node, want ...string) error {
	got := []string{}
	for _, path := range n.Glob("/run/noted/*") {
		got = append(got, filepath.Base(path))
	}
	slices.Sort(want)
	if !slices.Equal(got, want) {
		return fmt.Errorf("the attachments are %q, want %q", got, want)
	}
	return nil
}

// statusIs demands that the pod's network status has these entries, NETWORK INTERFACE.
func statusIs(p *cluster.Pod, want ...string) error {
	var got []string
	for _, entry := range p.Status() {
		got = append(got, entry.Name+" "+entry.Interface)
	}
	if !slices.Equal(got, want) {
		return fmt.Errorf("the network status of pod %s has %q, want %q", p.Name, got, want)
	}
	return nil
}

// The auxiliary chain runs for every pod, after its other networks, with what is in its folder.
// Its plugins are released with the pod, also when the folder has gone.
func TestE2EAuxiliaryChain(t *testing.T) {
	c := cluster.Shared(t)
	s := c.Scenario(t)
	n := s.Node(1)
	s.Must(n.WriteFile("/opt/cni/bin/noted", noted))
	_, err := n.Run("chmod", "755", "/opt/cni/bin/noted")
	s.Must(err)
	t.Cleanup(func() { _, _ = n.Run("rm", "-rf", "/opt/cni/bin/noted", "/run/noted") })
	s.Network("mv", cluster.Macvlan(77, 10, 99))
	s.Must(c.SetExtraConfig(t.Context(), cluster.Conf{"auxiliaryCNIChainName": "vendor-chain"}))
	t.Cleanup(func() { s.Must(c.SetExtraConfig(context.Background(), nil)) })
	earlier := s.Pod("earlier", cluster.On(n)).AwaitReady()
	earlier.MustHave("eth0")

	folder := filepath.Dir(cluster.ConfFile) + "/vendor-chain"
	writeFolder(s, n, folder, map[string]cluster.Conf{
		"10-sysctl.conf": {"type": "tuning", "sysctl": cluster.Conf{"net.ipv4.conf.eth0.arp_filter": "1"}},
		"20-noted.conf":  {"type": "noted"},
	})
	a := s.Pod("a", cluster.On(n)).AwaitReady()
	b := s.Pod("b", cluster.On(n), cluster.Networks("mv")).AwaitReady()
	second := b.Sandbox().ID + "-net1"
	s.Must(notesAre(n, a.Sandbox().ID+"-net0", second))
	s.Must(statusIs(a, "cluster eth0", "vendor-chain "))
	s.Must(statusIs(b, "cluster eth0", s.Namespace+"/mv net0", "vendor-chain "))
	for p, want := range map[*cluster.Pod]string{earlier: "0", a: "1", b: "1"} {
		if got := sysctl(s, p, "net/ipv4/conf/eth0/arp_filter"); got != want {
			t.Errorf("arp_filter of eth0 in pod %s is %s, want %s", p.Name, got, want)
		}
	}
	a.MustPing(b.IP("eth0"))

	a.Delete()
	a.AwaitGone()
	s.Await("the chain of the first pod to be released", func() error { return notesAre(n, second) })
	_, err = n.Run("rm", "-rf", folder)
	s.Must(err)
	b.Delete()
	b.AwaitGone()
	s.Await("the chain of the second pod to be released", func() error { return notesAre(n) })
}

// oldNetwork is a list without a name, as Multus's users have them. Pods ask for their addresses.
func oldNetwork(version string, net int, tuning cluster.Conf) cluster.Conf {
	macvlan := cluster.Macvlan(net, 0, 0)
	macvlan["capabilities"] = cluster.Conf{"ips": true}
	tuning["type"] = "tuning"
	return cluster.Conf{"cniVersion": version, "plugins": []cluster.Conf{macvlan, tuning}}
}

// Lists of macvlan and tuning of older versions: pods of two nodes reach each other, with the MTU and
// the MAC that tuning has set.
func TestE2EOldVersions(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	versions := []string{"0.2.0", "0.3.1", "0.4.0"}
	networks, mtu, names := [2][]string{}, map[string]int{"eth0": 1500}, []string{"eth0"}
	for i, version := range versions {
		s.Network(fmt.Sprintf("plain-%d", i), oldNetwork(version, 80+i, cluster.Conf{}))
		s.Network(fmt.Sprintf("tuned-%d", i), oldNetwork(version, 90+i, cluster.Conf{"mtu": 1400, "capabilities": cluster.Conf{"mac": true}}))
		for pod := range networks {
			networks[pod] = append(
				networks[pod],
				fmt.Sprintf(`{"name": "plain-%d", "interface": "p%[1]d", "ips": ["192.168.%d.%d/24"]}`, i, 80+i, 1+pod),
				fmt.Sprintf(`{"name": "tuned-%d", "interface": "t%[1]d", "ips": ["192.168.%d.%d/24"], "mac": "02:00:00:00:%02[1]d:%02[3]d"}`, i, 90+i, 1+pod),
			)
		}
		plain, tuned := fmt.Sprintf("p%d", i), fmt.Sprintf("t%d", i)
		names, mtu[plain], mtu[tuned] = append(names, plain, tuned), 1500, 1400
	}
	a := s.Pod("a", cluster.On(s.Node(1)), cluster.Networks("["+strings.Join(networks[0], ", ")+"]"))
	b := s.Pod("b", cluster.On(s.Node(2)), cluster.Networks("["+strings.Join(networks[1], ", ")+"]"))
	for _, p := range []*cluster.Pod{a.AwaitReady(), b.AwaitReady()} {
		p.MustHave(names...)
		if diff := cmp.Diff(mtu, mtus(p)); diff != "" {
			t.Errorf("the MTUs of pod %s (-want +got):\n%s", p.Name, diff)
		}
	}
	for i, version := range versions {
		a.MustPing(netip.AddrFrom4([4]byte{192, 168, byte(80 + i), 2}))
		a.MustPing(netip.AddrFrom4([4]byte{192, 168, byte(90 + i), 2}))
		if got, want := macs(b)[fmt.Sprintf("t%d", i)], fmt.Sprintf("02:00:00:00:%02d:02", i); got != want {
			t.Errorf("in version %s, tuning was to set the MAC %s, the interface has %s", version, want, got)
		}
	}
}
