package main

import (
	"encoding/json"
	"path/filepath"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

func TestNetnsAddressesAndMACAsked(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	asks := node.Conf{"capabilities": node.Conf{"ips": true, "mac": true}}
	n.Network("mac", node.Macvlan("mac", "up0").With(asks).With(node.Conf{"ipam": node.Conf{"type": "static"}}))
	n.Network("second", node.Bridge("br2", "10.3.0.0/16").With(asks))
	n.PodWith("c1", `[
		{"name": "mac", "ips": ["10.2.0.77/24", "fd00:2::77/64"], "mac": "0a:58:00:00:00:77"},
		{"name": "second", "interface": "data", "ips": ["10.3.0.88/16"], "mac": "0a:58:00:00:00:88"}]`)
	pod := n.Sandbox("c1")
	added := n.Add(pod, n.Conf(nil))
	interfaces := pod.Interfaces()
	check.Equal(t, "net0", interfaces["net0"], node.Interface{
		Kind: "macvlan", MAC: "0a:58:00:00:00:77", MTU: 1500, Addrs: []string{"10.2.0.77/24", "fd00:2::77/64"},
	})
	check.Equal(t, "data", interfaces["data"], node.Interface{
		Kind: "veth", MAC: "0a:58:00:00:00:88", MTU: 1500, Addrs: []string{"10.3.0.88/16"},
	})
	status := statusOf(n, pod)
	check.Equal(t, "status of net0", status["net0"].IPs, []string{"10.2.0.77", "fd00:2::77"})
	check.Equal(t, "status of data", status["data"].MAC, "0a:58:00:00:00:88")
	n.Check(pod, prevResult(n.Conf(nil), added))
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

// No plugin of these networks declares a capability. They take the addresses from CNI_ARGS, as
// they do of Multus; CHECK and DEL get the same.
func TestNetnsAddressesAndMACAskedWithoutCapability(t *testing.T) {
	static := node.Conf{"ipam": node.Conf{"type": "static"}}
	ptp := node.Conf{"cniVersion": "1.0.0", "name": "net", "type": "ptp", "ipam": node.HostLocal("10.5.0.0/16")}
	bare := node.Conf{"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br2"}
	for name, c := range map[string]struct {
		network node.Conf
		asks    string
		args    string
		want    node.Interface
	}{
		"static": {
			node.Macvlan("net", "up0").With(static), `"ips": ["10.2.0.77/24", "fd00:2::77/64"], "mac": "0a:58:00:00:00:77"`,
			";MAC=0a:58:00:00:00:77;IP=10.2.0.77/24,fd00:2::77/64",
			node.Interface{Kind: "macvlan", MAC: "0a:58:00:00:00:77", MTU: 1500, Addrs: []string{"10.2.0.77/24", "fd00:2::77/64"}},
		},
		"beside one of the configuration": {
			bare.With(node.Conf{"ipam": node.Conf{"type": "static", "addresses": []node.Conf{{"address": "10.3.0.1/24"}}}}),
			`"ips": ["10.3.0.2/24"], "mac": "0a58.0000.0002"`, ";MAC=0a58.0000.0002;IP=10.3.0.2/24",
			node.Interface{Kind: "veth", MAC: "0a:58:00:00:00:02", MTU: 1500, Addrs: []string{"10.3.0.1/24", "10.3.0.2/24"}},
		},
		"host-local, without prefix": {
			bare.With(node.Conf{"ipam": node.HostLocal("10.3.0.0/16")}), `"ips": ["10.3.0.88"], "mac": "0a-58-00-00-00-88"`,
			";MAC=0a-58-00-00-00-88;IP=10.3.0.88",
			node.Interface{Kind: "veth", MAC: "0a:58:00:00:00:88", MTU: 1500, Addrs: []string{"10.3.0.88/16"}},
		},
		"host-local, with another prefix than the subnet's": {
			bare.With(node.Conf{"ipam": node.HostLocal("fd00:3::/64", "10.3.0.0/16")}), `"ips": ["fd00:3:0::88/80"], "mac": "0a:58:00:00:00:89"`,
			";MAC=0a:58:00:00:00:89;IP=fd00:3:0::88/80",
			node.Interface{Kind: "veth", MAC: "0a:58:00:00:00:89", MTU: 1500, Addrs: []string{"10.3.0.2/16", "fd00:3::88/64"}},
		},
		"tuning": {
			node.List("net", "0.4.0", ptp, node.Conf{"type": "tuning"}), `"ips": ["10.5.0.7/16"], "mac": "0a:58:00:00:00:99"`,
			";MAC=0a:58:00:00:00:99;IP=10.5.0.7/16",
			node.Interface{Kind: "veth", MAC: "0a:58:00:00:00:99", MTU: 1500, Addrs: []string{"10.5.0.7/16"}},
		},
		"an address of the link": {
			node.Macvlan("net", "up0").With(static), `"ips": ["fe80::77/64", "fd00:2::78/64"]`, ";IP=fe80::77/64,fd00:2::78/64",
			node.Interface{Kind: "macvlan", MTU: 1500, Addrs: []string{"fd00:2::78/64"}},
		},
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Uplink("up0")
			n.Wrap("bridge", "macvlan", "ptp", "tuning")
			n.Network("net", c.network)
			n.PodWith("c1", `[{"name": "net", `+c.asks+`}]`)
			pod := n.Sandbox("c1")
			added := n.Add(pod, n.Conf(nil))
			got := pod.Interfaces()["net0"]
			if c.want.MAC == "" {
				got.MAC = ""
			}
			check.Equal(t, "net0", got, c.want)
			n.Check(pod, prevResult(n.Conf(nil), added))
			n.Del(pod, n.Conf(nil))
			verbs := map[string]bool{}
			for _, call := range n.Calls() {
				want := pod.Args()
				if call.IfName == "net0" {
					want += c.args
					verbs[call.Command] = true
				}
				check.Equal(t, "CNI_ARGS of "+call.String(), call.Args, want)
			}
			check.Equal(t, "verbs", verbs, map[string]bool{"ADD": true, "CHECK": true, "DEL": true})
			n.MustBeClean()
		})
	}
}

// What the pod asks and no plugin gives is not lost in silence, declared or not.
func TestNetnsAddressAskedAndNotGivenIsUndone(t *testing.T) {
	ptp := node.Conf{"cniVersion": "1.0.0", "name": "net", "type": "ptp", "ipam": node.HostLocal("10.5.0.0/16")}
	bare := node.Conf{"cniVersion": "1.0.0", "name": "net", "type": "bridge", "bridge": "br2"}
	declares := func(capability string) node.Conf { return node.Conf{"capabilities": node.Conf{capability: true}} }
	const undeclared = `no plugin of the network declares the capability "`
	for name, c := range map[string]struct {
		network node.Conf
		asks    string
		want    []string
	}{
		"a MAC of ptp":                {ptp, `"mac": "0a:58:00:00:00:77"`, []string{"mac: the pod asks for 0a:58:00:00:00:77, but the attachment has ", undeclared + `mac"`}},
		"an address of no IPAM":       {bare, `"ips": ["10.3.0.2/24"]`, []string{"ips: the pod asks for 10.3.0.2/24, but the attachment has none", undeclared + `ips"`}},
		"two of host-local":           {node.Bridge("br2", "10.3.0.0/16", "fd00:3::/64"), `"ips": ["10.3.0.9", "fd00:3::9"]`, []string{"ips: the pod asks for 10.3.0.9, fd00:3::9, but the attachment has 10.3.0.2, fd00:3::2", undeclared + `ips"`}},
		"an address, declared by one": {bare.With(declares("ips")), `"ips": ["10.3.0.2/24"]`, []string{"but the attachment has none", `the plugin that declares the capability "ips" does not do it`}},
		"a MAC, declared by one":      {ptp.With(declares("mac")), `"mac": "0a:58:00:00:00:77"`, []string{`the plugin that declares the capability "mac" does not do it`}},
		"both":                        {node.List("net", "1.0.0", ptp.With(node.Conf{"ipam": node.HostLocal("10.3.0.0/16", "10.4.0.0/16")})), `"ips": ["10.3.0.9", "10.4.0.9"], "mac": "0a:58:00:00:00:77"`, []string{"ips: ", "; mac: "}},
	} {
		t.Run(name, func(t *testing.T) {
			n := node.New(t)
			n.Uplink("up0")
			n.Network("first", node.Macvlan("first", "up0", "10.9.0.0/16"))
			n.Network("net", c.network)
			n.PodWith("c1", `[{"name": "first"}, {"name": "net", `+c.asks+`}]`)
			pod := n.Sandbox("c1")
			failure := call(n, "ADD", pod, n.Conf(nil)).Fails(7)
			check.Contains(t, "error", failure.Msg, append(c.want, "pod default/c1: attach network default/net as net1: ")...)
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			check.Equal(t, "reservations", n.Reservations(), map[string][]string{})
			n.Del(pod, n.Conf(nil))
			n.MustBeClean()
		})
	}
}

// A plugin that refuses an IP= refuses it in every verb, as whereabouts does one without prefix.
// Multus says none in DEL. An attachment that was not made is released all the same.
func TestNetnsAddressThatAPluginRefusesIsReleased(t *testing.T) {
	const strict = `case "$CNI_ARGS" in *IP=10.2.0.7) fail 999 'no prefix' ;; esac`
	ipam := node.Conf{"ipam": node.Conf{"type": "host-local", "subnet": "10.2.0.0/16"}}
	for _, plugin := range []string{"host-local", "tuning"} {
		t.Run(plugin, func(t *testing.T) {
			n := node.New(t)
			n.Uplink("up0")
			n.Wrap(plugin)
			n.Hook(plugin, "ADD", strict)
			n.Hook(plugin, "DEL", strict)
			n.Network("net", node.List("net", "1.0.0", node.Macvlan("net", "up0").With(ipam), node.Conf{"type": "tuning"}))
			n.PodWith("c1", `[{"name": "net", "ips": ["10.2.0.7"]}]`)
			pod := n.Sandbox("c1")
			failure := call(n, "ADD", pod, n.Conf(nil)).Fails(999)
			check.Contains(t, "error", failure.Msg, "default/net", "no prefix")
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
			n.MustBeClean()
		})
	}
}

// A result may say less than the interface shows.
func TestNetnsAddressesAskedOfAPluginWhoseResultIsSilent(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Plugin("silent", `out=$(printf %s "$stdin" | '`+filepath.Join(n.CNIBin, "macvlan")+`') || { printf %s "$out"; exit 1; }
[ "$CNI_COMMAND" != ADD ] || echo '{"cniVersion":"1.0.0"}'
`)
	n.Network("net", node.Macvlan("net", "up0").With(node.Conf{"type": "silent", "ipam": node.Conf{"type": "static"}}))
	for name, asks := range map[string]string{
		"c1": `"ips": ["10.2.0.77/24"], "mac": "0a:58:00:00:00:77"`,
		"c2": `"ips": ["fe80::78/64", "fd00:2::78/64"]`,
	} {
		n.PodWith(name, `[{"name": "net", `+asks+`}]`)
		pod := n.Sandbox(name)
		n.Add(pod, n.Conf(nil))
		n.Del(pod, n.Conf(nil))
	}
	n.MustBeClean()
}

// Where Plexus writes libcni's cache itself, it has all of the attachment's CNI_ARGS.
func TestNetnsAddressesAskedAreInTheCache(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Network("net", node.Macvlan("net", "up0").With(node.Conf{"ipam": node.Conf{"type": "static"}}))
	for name, c := range map[string]struct{ asks, ip string }{
		"c1": {`"ips": ["10.2.0.77/24"]`, "10.2.0.77/24"},
		"c2": {`"ips": ["10.2.0.78/24"], "default-route": ["10.2.0.1"]`, "10.2.0.78/24"},
	} {
		n.PodWith(name, `[{"name": "net", `+c.asks+`}]`)
		pod := n.Sandbox(name)
		n.Add(pod, n.Conf(nil))
		var cached struct {
			CNIArgs [][2]string `json:"cniArgs"`
		}
		data := n.ReadFile(filepath.Join(n.CNIDir, "results", "net-"+pod.ID+"-net0"))
		check.Must(t, json.Unmarshal([]byte(data), &cached))
		args, err := types.ParseArgs(pod.Args() + ";IP=" + c.ip)
		check.Must(t, err)
		check.Equal(t, "CNI_ARGS of "+name, cached.CNIArgs, args)
		n.Del(pod, n.Conf(nil))
	}
	n.MustBeClean()
}
