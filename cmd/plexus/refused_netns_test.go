package main

import (
	"path/filepath"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// What a plugin refuses in ADD it refuses in DEL, for ever. Nothing was made, so the
// failed ADD leaves nothing, and every DEL succeeds.
func TestNetnsRefusedConfigurationIsReleased(t *testing.T) {
	hostLocal := node.Conf{"type": "host-local", "subnet": "10.7.0.0/24"}
	for name, network := range map[string]node.Conf{
		"bridge: mtu is no number":      {"cniVersion": "0.3.1", "name": "n", "type": "bridge", "bridge": "x", "mtu": "1400"},
		"bridge: a subnet of /99":       {"cniVersion": "1.0.0", "name": "n", "type": "bridge", "bridge": "x", "ipam": node.Conf{"type": "host-local", "subnet": "10.7.0.0/99"}},
		"host-device: no device":        {"cniVersion": "1.0.0", "name": "n", "type": "host-device"},
		"macvlan: mode is no string":    {"cniVersion": "1.0.0", "name": "n", "type": "macvlan", "mode": 5, "ipam": hostLocal},
		"bridge: a VLAN of 9999":        {"cniVersion": "1.0.0", "name": "n", "type": "bridge", "bridge": "x", "vlan": 9999},
		"bridge: a start elsewhere":     {"cniVersion": "1.0.0", "name": "n", "type": "bridge", "bridge": "x", "ipam": node.Conf{"type": "host-local", "subnet": "10.7.0.0/24", "rangeStart": "10.8.0.1"}},
		"ptp: no IPAM":                  {"cniVersion": "1.0.0", "name": "n", "type": "ptp", "ipam": node.Conf{}},
		"dummy: refused in other words": {"cniVersion": "1.0.0", "name": "n", "type": "dummy", "ipam": node.Conf{}},
		"a rate without a burst":        node.List("n", "1.0.0", node.Conf{"type": "bridge", "bridge": "x", "ipam": hostLocal}, node.Conf{"type": "bandwidth", "ingressRate": 5}),
		"a VRF without a name":          node.List("n", "1.0.0", node.Conf{"type": "bridge", "bridge": "x", "ipam": hostLocal}, node.Conf{"type": "vrf"}),
		"an ingress policy of no kind":  node.List("n", "1.0.0", node.Conf{"type": "bridge", "bridge": "x", "ipam": hostLocal}, node.Conf{"type": "firewall", "ingressPolicy": "z"}),
		"a mark of 99":                  node.List("n", "1.0.0", node.Conf{"type": "bridge", "bridge": "x", "ipam": hostLocal}, node.Conf{"type": "portmap", "markMasqBit": 99}),
		"a version that is not spoken":  {"cniVersion": "1.0.0", "name": "n", "type": "old"},
		"a list whose second refuses":   node.List("n", "1.0.0", node.Conf{"type": "bridge", "bridge": "x", "ipam": hostLocal}, node.Conf{"type": "tuning", "sysctl": "no object"}),
		"a list whose second refuses, and third was not run": node.List("n", "1.0.0", node.Conf{"type": "bridge", "bridge": "x", "ipam": hostLocal},
			node.Conf{"type": "tuning", "sysctl": "no object"}, node.Conf{"type": "portmap", "capabilities": node.Conf{}, "snat": 7}),
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Plugin("old", `fail 1 "incompatible CNI versions: config is 1.0.0, plugin supports 0.3.1"`)
			n.Network("n", network)
			n.PodWith("c1", "n")
			pod := n.Sandbox("c1")
			failure := failing(call(n, "ADD", pod, n.Conf(nil)))
			check.Contains(t, "error", failure.Msg, "default/n")
			if strings.Contains(failure.Msg, "undo") {
				t.Errorf("the undo failed: %s", failure.Msg)
			}
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			n.MustBeClean()
			n.Del(pod, n.Conf(nil))
			pod.Destroy()
			n.Del(pod, n.Conf(nil))
			n.MustBeClean()
		})
	}
}

// What passes is no refusal: the attachment is kept until its DEL succeeds.
func TestNetnsFailureThatPassesIsKept(t *testing.T) {
	for name, said := range map[string]string{
		"an error of the system":      `fail 999 "stat /etc/x/kubeconfig: no such file or directory"`,
		"a server that is gone":       `fail 999 "dial unix /run/x.sock: connection refused"`,
		"a code to try again":         `fail 11 "not now"`,
		"its IPAM plugin died":        `fail 999 "netplugin failed with no error message: signal: killed"`,
		"a server in trouble":         `fail 999 "etcdserver: leader changed"`,
		"a proxy's answer":            `fail 999 "invalid character '<' looking for beginning of value"`,
		"no words":                    `fail 999 ""`,
		"code 7 of another":           `fail 7 "failed to find plugin x in path"`,
		"no CNI error":                `echo broken; exit 1`,
		"another failure than in ADD": `fail 999 "$CNI_COMMAND does not work"`,
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Plugin("x", said)
			n.Network("n", node.Conf{"cniVersion": "1.0.0", "name": "n", "type": "x"})
			n.PodWith("c1", "n")
			pod := n.Sandbox("c1")
			check.Contains(t, "error", failing(call(n, "ADD", pod, n.Conf(nil))).Msg, "undo")
			check.Equal(t, "records", len(n.Records()), 1)
			n.Plugin("x", "true")
			n.Del(pod, n.Conf(nil))
			n.MustBeClean()
		})
	}
}

// What a plugin that failed says of it keeps the attachment, and never the plugins before it:
// they did attach, and what they hold is released at once.
func TestNetnsFailureDoesNotKeepThePluginsBefore(t *testing.T) {
	for name, said := range map[string]string{
		"words that nobody knows": `fail 999 "a setting of mine is wrong"`,
		"other words in DEL":      `fail 999 "$CNI_COMMAND does not work"`,
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Plugin("x", said)
			hostLocal := node.Conf{"type": "host-local", "subnet": "10.7.0.0/24", "dataDir": n.Path("ipam")}
			n.Network("n", node.List("n", "1.0.0", node.Conf{"type": "bridge", "bridge": "x", "ipam": hostLocal}, node.Conf{"type": "x"}))
			n.PodWith("c1", "n")
			pod := n.Sandbox("c1")
			check.Contains(t, "error", failing(call(n, "ADD", pod, n.Conf(nil))).Msg, "undo")
			check.Equal(t, "records", len(n.Records()), 1)
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			if held, _ := filepath.Glob(n.Path("ipam", "n", "10.*")); len(held) > 0 {
				t.Errorf("addresses are held: %v", held)
			}
			n.Plugin("x", "true")
			n.Del(pod, n.Conf(nil))
			n.MustBeClean()
		})
	}
}

// failing gives the error of a call that must fail, with whatever code.
func failing(o *node.Outcome) *node.Failure {
	if o.Err == nil {
		return &node.Failure{}
	}
	return o.Err
}

// A plugin that refuses its configuration once it has made the interface did attach: the
// attachment is kept while the interface is there, and released when the sandbox is gone.
func TestNetnsRefusalBehindAnInterface(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Network("n", node.Conf{"cniVersion": "1.0.0", "name": "n", "type": "macvlan", "master": "up0", "ipam": node.Conf{"type": "host-local", "subnet": "banana"}})
	n.PodWith("c1", "n")
	n.Pod("c2", nil)
	pod, other := n.Sandbox("c1"), n.Sandbox("c2")
	failure := failing(call(n, "ADD", pod, n.Conf(nil)))
	check.Contains(t, "error", failure.Msg, "invalid CIDR address: banana", "interface net0 is there all the same")
	check.Equal(t, "records", len(n.Records()), 1)
	pod.Destroy()
	n.Add(other, n.Conf(nil))
	n.Del(other, n.Conf(nil))
	n.MustBeClean()
}

// Of a plugin that stands in the list twice nobody can tell which of the two refused: the
// first one attached.
func TestNetnsRefusalOfAPluginThatStandsTwice(t *testing.T) {
	n := node.New(t)
	n.Plugin("picky", `case $CNI_COMMAND$stdin in
ADD*prevResult*|DEL*) fail 999 "json: cannot unmarshal string into Go value of type int" ;;
ADD*) echo '{"cniVersion":"1.0.0"}' ;;
esac`)
	n.Network("n", node.List("n", "1.0.0", node.Conf{"type": "picky"}, node.Conf{"type": "picky"}))
	n.PodWith("c1", "n")
	pod := n.Sandbox("c1")
	check.Contains(t, "error", failing(call(n, "ADD", pod, n.Conf(nil))).Msg, "undo")
	check.Equal(t, "records", len(n.Records()), 1)
	n.Plugin("picky", "true")
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

// A DEL after a call that was killed before it noted its result: every plugin of the list
// gets the result that libcni has cached, as some free by it what they made.
func TestNetnsDelWithoutANotedResult(t *testing.T) {
	n := node.New(t)
	for _, name := range []string{"first", "middle", "last"} {
		n.Plugin(name, `[ $CNI_COMMAND != ADD ] || echo '{"cniVersion":"1.0.0","ips":[{"address":"10.9.0.2/24"}]}'`)
	}
	n.Network("n", node.List("n", "1.0.0", node.Conf{"type": "first"}, node.Conf{"type": "middle"}, node.Conf{"type": "last"}))
	n.PodWith("c1", "n")
	pod := n.Sandbox("c1")
	n.Add(pod, n.Conf(nil))
	var kept strings.Builder
	for line := range strings.Lines(n.ReadFile(n.RecordPath(pod))) {
		noted := strings.Contains(line, `"event":"attached"`) && strings.Contains(line, "10.9.0.2")
		if !noted && !strings.Contains(line, `"event":"complete"`) {
			kept.WriteString(line)
		}
	}
	n.WriteFile(n.RecordPath(pod), kept.String())
	n.Calls()
	n.Del(pod, n.Conf(nil))
	got := []string{}
	for _, c := range n.Calls() {
		if strings.Contains(string(c.Config["prevResult"]), "10.9.0.2") {
			got = append(got, c.String())
		}
	}
	check.Equal(t, "plugins that got the result", got, []string{"DEL last net0", "DEL middle net0", "DEL first net0"})
	n.MustBeClean()
}
