package compare

import (
	"encoding/json"
	"fmt"
	"maps"
	"os"
	"os/exec"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/kube"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// example is a network as Multus publishes it, or as its users have it, and what a pod asks of it.
type example struct {
	plugins []conf
	asks    conf
	want    attached
}

// attached is what a pod has on its further interface. MAC is "" where nobody asked for one.
type attached struct {
	Addresses []string
	MAC       string
	Default   string // the gateway of the pod's default route
}

// macvlan is the plugin of most of Multus's examples.
func (n *node) macvlan(ipam conf) conf {
	return conf{"type": "macvlan", "master": n.uplink(), "mode": "bridge", "ipam": ipam}
}

// uplink names the interface of the host that stands for eth1 of the examples.
func (n *node) uplink() string { return "u" + strings.TrimPrefix(n.name, "compare-") }

// examples are networks of Multus's documents and of its own e2e tests, and of the same kinds.
func (n *node) examples() map[string]example {
	static := conf{"type": "static"}
	hostLocal := conf{
		"type": "host-local", "subnet": "192.168.2.0/24", "rangeStart": "192.168.2.200", "rangeEnd": "192.168.2.216", "dataDir": n.path("ipam"),
		"routes": []conf{{"dst": "0.0.0.0/0"}}, "gateway": "192.168.2.1",
	}
	bridge := conf{"type": "bridge", "bridge": n.uplink() + "b", "ipam": static}
	return map[string]example{
		"default route over static": {[]conf{n.macvlan(static)}, conf{"ips": []string{"10.1.1.21/24"}, "default-route": []string{"10.1.1.254"}}, attached{[]string{"10.1.1.21/24"}, "", "10.1.1.254"}},
		"static":                    {[]conf{n.macvlan(static)}, conf{"ips": []string{"10.1.1.22/24"}}, attached{Addresses: []string{"10.1.1.22/24"}}},
		"a chain with tuning": {
			[]conf{with(n.macvlan(static), "capabilities", conf{"ips": true}), {"type": "tuning"}},
			conf{"ips": []string{"10.1.1.11/24"}},
			attached{Addresses: []string{"10.1.1.11/24"}},
		},
		"capabilities in two plugins": {
			[]conf{
				with(n.macvlan(conf{"type": "static", "routes": []conf{{"dst": "0.0.0.0/0", "gw": "10.1.1.1"}}}), "capabilities", conf{"ips": true}),
				{"type": "tuning", "capabilities": conf{"mac": true}},
			},
			conf{"ips": []string{"10.1.1.101/24"}, "mac": "c2:b0:57:49:47:f1", "gateway": []string{"10.1.1.1"}},
			attached{[]string{"10.1.1.101/24"}, "c2:b0:57:49:47:f1", "10.1.1.1"},
		},
		"default route over host-local": {[]conf{n.macvlan(hostLocal)}, conf{"default-route": []string{"192.168.2.1"}}, attached{[]string{"192.168.2.200/24"}, "", "192.168.2.1"}},
		"host-local and what is asked": {
			[]conf{n.macvlan(conf{"type": "host-local", "subnet": "10.10.0.0/16", "dataDir": n.path("ipam")})},
			conf{"ips": []string{"10.10.3.3"}, "mac": "c2:b0:57:49:47:f2"},
			attached{Addresses: []string{"10.10.3.3/16"}, MAC: "c2:b0:57:49:47:f2"},
		},
		"two families": {
			[]conf{n.macvlan(static), {"type": "tuning"}},
			conf{"ips": []string{"10.1.1.31/24", "fd00:1::31/64"}, "mac": "c2-b0-57-49-47-f3"},
			attached{Addresses: []string{"10.1.1.31/24", "fd00:1::31/64"}, MAC: "c2:b0:57:49:47:f3"},
		},
		"bridge of a virtual machine": {[]conf{bridge}, conf{"ips": []string{"10.1.2.5/24"}, "mac": "02:00:00:00:00:05"}, attached{Addresses: []string{"10.1.2.5/24"}, MAC: "02:00:00:00:00:05"}},
	}
}

func with(plugin conf, key string, value any) conf {
	plugin = maps.Clone(plugin)
	plugin[key] = value
	return plugin
}

// The networks that Multus publishes as examples attach as they do there: the same addresses, the
// same MAC address, the same default route. Most declare no capability.
func TestKubeCompareExamples(t *testing.T) {
	want := map[string]attached{}
	for name, e := range (&node{T: t}).examples() {
		want[name] = e.want
	}
	compare(t, map[string]map[string]attached{plexus: want, thin: want, thick: want}, func(n *node) map[string]attached {
		check.Must(n, exec.Command("ip", "link", "add", n.uplink(), "up", "type", "veth", "peer", "name", n.uplink()+"p").Run())
		n.Cleanup(func() { _ = exec.Command("ip", "link", "delete", n.uplink()).Run() })
		got := map[string]attached{}
		for name, e := range n.examples() {
			got[name] = n.try(strings.ReplaceAll(name, " ", "-"), e)
		}
		return got
	})
}

// try attaches a pod to an example's network, and releases it.
func (n *node) try(name string, e example) attached {
	n.Helper()
	s, err := n.attach(name, e.plugins, e.asks)
	check.Must(s, err)
	s.mustHaveNetworks()
	got := s.attached(e.want.MAC != "")
	check.Must(s, s.del())
	if left := s.interfaces(); len(left) > 0 {
		s.Errorf("%s: the DEL leaves %v", name, left)
	}
	return got
}

// attach makes a network and a pod that asks something of it, and attaches the pod. A daemon of
// Multus hears of a new network by a watch; until then it says that there is none.
func (n *node) attach(name string, plugins []conf, asks conf) (*sandbox, error) {
	n.Helper()
	n.cluster.MakeNAD(n, kube.NAD{Namespace: n.name, Name: name, Config: n.json(conf{"cniVersion": "0.3.1", "name": name, "plugins": plugins})})
	s := n.pod(name, n.json([]conf{with(asks, "name", name)}))
	var err error
	check.Eventually(n, "Multus to know network "+name, 20*time.Second, func() error {
		err = s.add(n.Context())
		if err != nil && strings.Contains(err.Error(), "cannot find a network-attachment-definition ("+name+")") {
			return err
		}
		return nil
	})
	return s, err
}

// attached reads what the sandbox has on its further interface.
func (s *sandbox) attached(mac bool) (got attached) {
	s.Helper()
	names := s.interfaces()
	var links []struct {
		MAC       string `json:"address"`
		Addresses []struct {
			Local, Scope string
			Length       int `json:"prefixlen"`
		} `json:"addr_info"`
	}
	s.ip(&links, "address", "show", "dev", names[len(names)-1])
	for _, address := range links[0].Addresses {
		if address.Scope == "global" {
			got.Addresses = append(got.Addresses, fmt.Sprintf("%s/%d", address.Local, address.Length))
		}
	}
	slices.Sort(got.Addresses)
	if mac {
		got.MAC = links[0].MAC
	}
	var routes []struct{ Gateway string }
	s.ip(&routes, "route", "show", "default")
	for _, route := range routes {
		got.Default += route.Gateway
	}
	return got
}

// ip asks ip(8) about the sandbox.
func (s *sandbox) ip(answer any, args ...string) {
	s.Helper()
	out, err := exec.Command("ip", append([]string{"-n", s.id, "-json"}, args...)...).Output()
	check.Must(s, err)
	check.Must(s, json.Unmarshal(out, answer))
}

// host-local takes several addresses by the capability, and refuses them in IP=.
func TestKubeCompareTwoAddressesOfHostLocal(t *testing.T) {
	both := []string{"10.10.3.3/16", "fd00:10::3/64"}
	compare(t, map[string][]string{plexus: both, thin: nil, thick: nil}, func(n *node) []string {
		ranges := [][]conf{{{"subnet": "10.10.0.0/16"}}, {{"subnet": "fd00:10::/64"}}}
		plugin := conf{
			"type": "bridge", "bridge": n.uplink() + "b", "capabilities": conf{"ips": true},
			"ipam": conf{"type": "host-local", "ranges": ranges, "dataDir": n.path("ipam")},
		}
		return n.addressesOf("two", plugin, conf{"ips": []string{"10.10.3.3", "fd00:10::3"}})
	})
}

// An address that no plugin gives is not lost in silence.
func TestKubeCompareAddressOfNobody(t *testing.T) {
	compare(t, map[string][]string{plexus: nil, thin: {"10.10.0.2/16"}, thick: {"10.10.0.2/16"}}, func(n *node) []string {
		fixed := conf{"type": "bridge", "bridge": n.uplink() + "b", "ipam": conf{"type": "fixed"}}
		script := `#!/bin/sh
cat >/dev/null
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"0.3.1","ips":[{"version":"4","address":"10.10.0.2/16"}]}'
`
		check.Must(n, os.WriteFile(n.path("plugins/fixed"), []byte(script), 0o755)) //nolint:gosec // an executable
		return n.addressesOf("fixed", fixed, conf{"ips": []string{"10.10.3.3"}})
	})
}

// addressesOf gives the addresses of a pod that asks something of a network, nil if its ADD fails.
func (n *node) addressesOf(name string, plugin, asks conf) []string {
	n.Helper()
	s, err := n.attach(name, []conf{plugin}, asks)
	if err != nil {
		n.Log(err)
		return nil
	}
	return s.attached(false).Addresses
}
