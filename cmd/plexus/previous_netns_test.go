package main

import (
	"encoding/json"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// Plexus after another plugin in the runtime's list: its default network works on the
// interface that the plugin before made, with real plugins.
func TestNetnsPlexusAfterAnotherPlugin(t *testing.T) {
	for _, version := range []string{"0.4.0", "1.0.0", "1.1.0"} {
		t.Run(version, func(t *testing.T) {
			n := node.New(t)
			n.Wrap("tuning", "bridge")
			n.Network("second", node.Bridge("br2", "10.3.0.0/16"))
			n.PodWith("c1", "second")
			pod := n.Sandbox("c1")
			before := node.Bridge("br0", "10.2.0.0/16").With(node.Conf{"cniVersion": version, "name": "cluster"})
			made := n.Call(node.Call{Plugin: "bridge", Command: "ADD", Config: before, Sandbox: pod}).OK()
			tuning := node.Conf{"cniVersion": "1.0.0", "name": "tuned", "type": "tuning", "mac": "02:00:00:00:00:77"}
			conf := n.Conf(node.Conf{"cniVersion": version, "delegates": []node.Conf{tuning}})
			added := n.Add(pod, prevResult(conf, made))
			check.Equal(t, "addresses", addresses(added.Result), addresses(made.Result))
			check.Equal(t, "calls", n.CallNames(), []string{"ADD tuning eth0", "ADD bridge net0"})
			check.Equal(t, "interfaces", pod.InterfaceNames(), []string{"eth0", "net0"})
			n.Check(pod, prevResult(conf, added))
			n.Del(pod, prevResult(conf, added))
			check.Equal(t, "interfaces after DEL", pod.InterfaceNames(), []string{"eth0"})
			n.Call(node.Call{Plugin: "bridge", Command: "DEL", Config: before, Sandbox: pod}).OK()
			n.MustBeClean()
		})
	}
}

// The result of the plugins before is the first plugin's of the default network and nobody
// else's, in the version of that network.
func TestNetnsPrevResultIsHandedOver(t *testing.T) {
	const given = `{"interfaces":[{"name":"br-before"},{"name":"eth9","sandbox":"/run/netns/c1"}],"ips":[{"address":"10.99.0.9/24","interface":1}]}`
	for call, networks := range map[string][]string{"0.3.1": {"1.0.0"}, "1.0.0": {"0.3.0", "0.4.0", "1.1.0"}, "1.1.0": {"0.2.0", "0.3.1", "1.0.0"}} {
		for _, version := range networks {
			t.Run(call+" to "+version, func(t *testing.T) {
				n := node.New(t)
				n.Plugin("plain", `[ "$CNI_COMMAND" != ADD ] || echo '{}'`)
				plain := node.Conf{"type": "plain"}
				n.Network("second", node.List("second", version, plain, plain))
				n.PodWith("c1", "second")
				pod := n.Sandbox("c1")
				conf := n.Conf(node.Conf{"cniVersion": call, "delegates": []node.Conf{node.List("first", version, plain, plain)}})
				n.Add(pod, conf.With(node.Conf{"prevResult": json.RawMessage(given)}))
				var got []string
				for _, c := range n.Calls() {
					var said struct{ CNIVersion string }
					if c.Config["prevResult"] != nil {
						check.Must(t, json.Unmarshal(c.Config["prevResult"], &said))
						said.CNIVersion += " " + strings.Join(addresses(node.ParseResult(t, c.Config["prevResult"])), ",")
					}
					got = append(got, c.IfName+" "+said.CNIVersion)
				}
				first := "eth0 " + version + " 10.99.0.9/24"
				if version == "0.2.0" {
					first = "eth0 " // which knew no prevResult
				}
				check.Equal(t, "prevResult", got, []string{first, "eth0 " + version + " ", "net0 ", "net0 " + version + " "})
				n.Del(pod, conf)
				n.MustBeClean()
			})
		}
	}
}

// One that nobody can read is refused before anything runs, but never stops a DEL.
func TestNetnsPrevResultThatNobodyCanRead(t *testing.T) {
	for field, broken := range map[string]string{
		"ips[0].address": `{"cniVersion":"1.0.0","ips":[{}]}`,
		"routes[0].dst":  `{"routes":[{"dst":"<nil>"}]}`,
		"cniVersion":     `{"cniVersion":"3.0.0"}`,
		"interfaces[0]":  `{"cniVersion":"0.4.0","interfaces":[null]}`,
	} {
		t.Run(field, func(t *testing.T) {
			n := node.New(t)
			n.Wrap("bridge")
			n.Pod("c1", nil)
			pod, conf := n.Sandbox("c1"), n.Conf(nil)
			strange := conf.With(node.Conf{"prevResult": json.RawMessage(broken)})
			failure := call(n, "ADD", pod, strange).Fails(7)
			check.Contains(t, "error", failure.Msg, "pod default/c1: prevResult: "+field+": ")
			check.Equal(t, "calls", n.CallNames(), []string{})
			n.Add(pod, conf)
			check.Contains(t, "error", call(n, "CHECK", pod, strange).Fails(7).Msg, "pod default/c1: prevResult: "+field+": ")
			n.Del(pod, strange)
			n.MustBeClean()
		})
	}
}

// A prevResult of a CHECK that is another sandbox's is an error; what a plugin after plexus
// may have made of ours is none.
func TestNetnsCheckComparesPrevResult(t *testing.T) {
	for name, test := range map[string]struct {
		change func(*current.Result)
		want   []string // in the error; nil for none
	}{
		"as it was": {func(*current.Result) {}, nil},
		"in another order": {func(r *current.Result) {
			for i, j := 0, len(r.Interfaces)-1; i < j; i, j = i+1, j-1 {
				r.Interfaces[i], r.Interfaces[j] = r.Interfaces[j], r.Interfaces[i]
			}
			r.IPs = append([]*current.IPConfig{addressOf(t, "192.0.2.1/24")}, r.IPs...)
			r.IPs[1].Interface = nil
		}, nil},
		"with more": {func(r *current.Result) {
			r.Interfaces = append(r.Interfaces, &current.Interface{Name: "tap0", Sandbox: "a machine"})
			r.IPs = append(r.IPs, addressOf(t, "2001:db8::7/64"))
		}, nil},
		"with other properties": {func(r *current.Result) {
			for _, i := range r.Interfaces {
				i.Mac, i.Mtu = "02:00:00:00:00:99", 1300
			}
			r.Routes, r.DNS.Nameservers = nil, []string{"192.0.2.53"}
		}, nil},
		"with another path to the sandbox": {func(r *current.Result) {
			for _, i := range r.Interfaces {
				if i.Sandbox != "" {
					i.Sandbox = "/proc/1/root" + i.Sandbox
				}
			}
		}, nil},
		"nothing":             {func(r *current.Result) { *r = current.Result{CNIVersion: r.CNIVersion} }, nil},
		"without an address":  {func(r *current.Result) { r.IPs = nil }, []string{"it has no address 10.1.0."}},
		"with another one":    {func(r *current.Result) { r.IPs = []*current.IPConfig{addressOf(t, "10.99.0.9/24")} }, []string{"it has no address 10.1.0."}},
		"with another prefix": {func(r *current.Result) { r.IPs[0].Address.Mask[1] = 0 }, []string{"it has no address 10.1.0."}},
		"without an interface": {func(r *current.Result) {
			r.Interfaces, r.IPs[0].Interface = r.Interfaces[:1], nil
		}, []string{"it has no interface ", "no interface eth0 of the pod"}},
		"with the interface on the host": {func(r *current.Result) {
			for _, i := range r.Interfaces {
				i.Sandbox = ""
			}
		}, []string{"it has no interface eth0 of the pod"}},
		"of something else": {func(r *current.Result) {
			*r = current.Result{CNIVersion: r.CNIVersion, Interfaces: []*current.Interface{{Name: "br-before"}, {Name: "eth9", Sandbox: "/x"}}}
		}, []string{"it has no interface cbr0 of the host", "no interface eth0 of the pod", "no address 10.1.0."}},
	} {
		t.Run(name, func(t *testing.T) {
			n, pod := threeNetworks(t)
			conf := n.Conf(nil)
			added := n.Add(pod, conf)
			test.change(added.Result)
			for _, version := range []string{"0.4.0", "1.0.0", "1.1.0"} {
				said, err := added.Result.GetAsVersion(version)
				check.Must(t, err)
				conf := conf.With(node.Conf{"cniVersion": version, "prevResult": said})
				if test.want == nil {
					n.Check(pod, conf)
					continue
				}
				failure := call(n, "CHECK", pod, conf).Fails(7)
				check.Contains(t, "error", failure.Msg, append(test.want, "pod default/c1: prevResult: is not the result of this sandbox's ADD")...)
			}
			n.Del(pod, conf)
			n.MustBeClean()
		})
	}
}

func addressOf(t *testing.T, text string) *current.IPConfig {
	t.Helper()
	return node.ParseResult(t, []byte(`{"cniVersion":"1.0.0","ips":[{"address":"`+text+`"}]}`)).IPs[0]
}

// Which results plexus answers may change while pods live.
func TestNetnsCheckAfterAChangeOfTheAnswer(t *testing.T) {
	n, pod := threeNetworks(t)
	all := n.Conf(node.Conf{"result": "all"})
	added := n.Add(pod, n.Conf(nil))
	n.Check(pod, prevResult(all, added))
	n.Del(pod, all)
	added = n.Add(pod, all)
	n.Check(pod, prevResult(all, added))
	n.Check(pod, prevResult(n.Conf(nil), added))
	n.Del(pod, all)
	n.MustBeClean()
}

// The runtime's prevResult makes an interface the plugins' before plexus only if it names the
// pod's namespace: any other that is there already is refused, as ever.
func TestNetnsPrevResultOfAnotherSandbox(t *testing.T) {
	for sandbox, own := range map[string]bool{"POD": true, "0": false, "OTHER": false} {
		t.Run(sandbox, func(t *testing.T) {
			n := node.New(t)
			n.Plugin("plain", `[ "$CNI_COMMAND" != ADD ] || echo '{}'`)
			n.Pod("c1", nil)
			pod, other := n.Sandbox("c1"), n.Sandbox("c2")
			if out, err := pod.Run("ip", "link", "add", "eth0", "type", "veth", "peer", "name", "other"); err != nil {
				t.Fatal(err, out)
			}
			path := strings.NewReplacer("POD", pod.Path, "OTHER", other.Path).Replace(sandbox)
			conf := n.Conf(node.Conf{
				"delegates":  []node.Conf{{"cniVersion": "1.0.0", "name": "plain", "type": "plain"}},
				"prevResult": node.Conf{"cniVersion": "1.0.0", "interfaces": []node.Conf{{"name": "eth0", "sandbox": path}}},
			})
			if own {
				n.Add(pod, conf)
				return
			}
			check.Contains(t, "error", call(n, "ADD", pod, conf).Fails(4).Msg, `has an interface "eth0" already`)
		})
	}
}
