//go:build linux

package window

import (
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	nodetest "github.com/plexus-cni/plexus/internal/test/node"
)

// The commands that inspect prints run as they stand, and show what is beside them.
func TestNetnsCommandsByHand(t *testing.T) {
	n := nodetest.New(t)
	n.Uplink("up0")
	n.Network("mac", nodetest.Macvlan("mac", "up0", "10.2.0.0/16"))
	n.PodWith("web", "mac")
	web := n.Sandbox("web")
	n.Add(web, n.Conf(nil)).OK()
	web.MustRun("ip", "link", "add", "br.9", "type", "bridge")
	web.MustRun("ip", "link", "set", "br.9", "up")
	web.MustRun("ip", "link", "add", "vx1", "mtu", "1450", "type", "vxlan", "id", "7", "local", "10.2.0.2", "dstport", "4789")
	web.MustRun("ip", "link", "set", "vx1", "master", "br.9", "up")
	web.MustRun("iptables-legacy", "-P", "FORWARD", "DROP")
	web.MustRun("sysctl", "-qw", "net.ipv4.conf.br/9.arp_ignore=1")
	check.Must(t, web.Ping("10.1.0.1"))
	out, err := n.Try(filepath.Join(n.Bin, program), "inspect", "web", "--commands", "--state-dir", filepath.Join(n.CNIDir, "plexus"), "--netns-dir", n.Path("netns"))
	if err != nil {
		t.Fatal(out)
	}
	shown := map[string][]string{
		"ip -d link show dev eth0": {"veth", "mtu 1500"}, "ip -d link show dev vx1": {"vxlan id 7"}, "ip address show dev eth0": {"10.1.0.2/16"},
		"ip -d link show dev cbr0": {"bridge"}, "bridge fdb show br cbr0": {"master cbr0"}, "bridge -d link show": {"cbr0", "forwarding"},
		"ethtool -k eth0": {"scatter-gather"}, "ethtool eth0": {"10000Mb/s"}, "ip neigh show dev eth0": {"10.1.0.1"}, "ip -s link show dev eth0": {"RX:"},
		"tc -s qdisc show dev eth0": {"noqueue"}, "ip route show table all": {"default via 10.1.0.1"}, "ip rule": {"lookup main"},
		`sysctl -a --pattern '^net\.ipv[46]\.conf\.br/9\.'`: {"br/9.forwarding"},
	}
	for _, command := range commandsOf(out) {
		output, err := n.Try("sh", "-c", command)
		check.Must(t, err)
		for want, words := range shown {
			if strings.Contains(command+";", want+";") {
				check.Contains(t, command, output, words...)
				delete(shown, want)
			}
		}
	}
	check.Equal(t, "what no command showed", shown, map[string][]string{})
}

// commandsOf gives the commands of a text, each once; no machine of the tests has bpftool.
func commandsOf(text string) []string {
	var commands []string
	for line := range strings.Lines(text) {
		if command, found := strings.CutPrefix(strings.TrimSpace(line), "$ "); found && !strings.Contains(command, "bpftool") && !slices.Contains(commands, command) {
			commands = append(commands, command)
		}
	}
	return commands
}
