package main

import (
	"encoding/json"
	"fmt"
	"io"
	"net"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"

	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

func TestNetnsResultAll(t *testing.T) {
	for _, version := range allVersions {
		t.Run(version, func(t *testing.T) {
			n, pod := threeNetworks(t)
			conf := n.Conf(node.Conf{"cniVersion": version, "result": "all"})
			added := n.Add(pod, conf)
			check.Equal(t, "version", added.Version, version)
			got := map[string][]string{}
			for _, ip := range added.Result.IPs {
				name := added.Result.Interfaces[*ip.Interface].Name
				got[name] = append(got[name], ip.Address.String())
			}
			want := map[string][]string{"eth0": {"10.1.0.2/16"}, "net0": {"10.2.0.2/16"}, "net1": {"10.3.0.2/16"}}
			check.Equal(t, "addresses of the answer", got, want)
			macsAgree(t, pod, added.Result)
			if knowsCheckIn(version) {
				n.Check(pod, prevResult(conf, added))
			}
			n.Del(pod, prevResult(conf, added))
			n.MustBeClean()
		})
	}
}

// macsAgree demands that the result's interfaces of the sandbox are those that it has.
func macsAgree(t *testing.T, pod *node.Sandbox, result *current.Result) {
	t.Helper()
	there, said := map[string]string{}, map[string]string{}
	for name, iface := range pod.Interfaces() {
		there[name] = iface.MAC
	}
	for _, iface := range result.Interfaces {
		if iface.Sandbox != "" {
			said[iface.Name] = iface.Mac
		}
	}
	check.Equal(t, "MAC addresses", said, there)
}

func TestNetnsPortMappingsOfTheRuntimeGoToTheDefaultNetwork(t *testing.T) {
	n := node.New(t)
	n.Wrap("portmap")
	portmap := node.Conf{"type": "portmap", "capabilities": node.Conf{"portMappings": true}, "snat": true}
	n.Network("second", node.List("second", "1.0.0", node.Bridge("br2", "10.3.0.0/16"), portmap))
	n.PodWith("c1", "second")
	pod := n.Sandbox("c1")
	conf := n.Conf(node.Conf{
		"capabilities":  node.Conf{"portMappings": true},
		"delegates":     []node.Conf{node.List("cbr0", "1.0.0", node.ClusterBridge(), portmap)},
		"runtimeConfig": node.Conf{"portMappings": []node.Conf{{"hostPort": 8080, "containerPort": 80, "protocol": "tcp"}}},
	})
	n.Add(pod, conf)
	check.Equal(t, "what portmap was asked for", mappingsOf(t, n.Calls()), map[string]int{"eth0": 1, "net0": 0})
	rules := n.Run("iptables-save") + n.Run("nft", "list", "ruleset")
	check.Contains(t, "rules", rules, "10.1.0.2:80")
	if strings.Contains(rules, "10.3.0.2") {
		t.Errorf("there are rules for the second network: %s", rules)
	}
	check.Equal(t, "answer on the host's port", answerFrom(t, n, pod), "from the pod")
	n.Del(pod, conf)
	n.MustBeClean()
	if rules := n.Run("iptables-save"); strings.Contains(rules, "10.1.0.2") {
		t.Errorf("rules are left: %s", rules)
	}
}

// mappingsOf gives how many port mappings each interface's portmap got in its ADD.
func mappingsOf(t *testing.T, calls []node.PluginCall) map[string]int {
	t.Helper()
	got := map[string]int{}
	for _, c := range calls {
		var runtime struct{ PortMappings []json.RawMessage }
		if raw, given := c.Config["runtimeConfig"]; given {
			if err := json.Unmarshal(raw, &runtime); err != nil {
				t.Fatal(err)
			}
		}
		got[c.IfName] = len(runtime.PortMappings)
	}
	return got
}

// answerFrom listens on port 80 of the pod and reads from port 8080 of the host.
func answerFrom(t *testing.T, n *node.Node, pod *node.Sandbox) string {
	t.Helper()
	var listener net.Listener
	pod.Do(func() (err error) {
		listener, err = net.Listen("tcp4", "0.0.0.0:80")
		return err
	})
	defer listener.Close()
	go func() {
		if conn, err := listener.Accept(); err == nil {
			_, _ = io.WriteString(conn, "from the pod")
			_ = conn.Close()
		}
	}()
	var said []byte
	n.Do(func() error {
		conn, err := net.Dial("tcp4", "10.1.0.1:8080")
		if err != nil {
			return err
		}
		defer conn.Close()
		said, err = io.ReadAll(conn)
		return err
	})
	return string(said)
}

func TestNetnsBandwidth(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	for _, probe := range []string{"ip link add probe0 type ifb", "tc qdisc add dev up0 root tbf rate 1mbit burst 10k latency 1ms", "tc qdisc add dev up0-peer ingress"} {
		if out, err := n.Try("sh", "-c", probe); err != nil {
			t.Skipf("the kernel cannot shape traffic: %s: %s", probe, out)
		}
	}
	n.Network("slow", node.List("slow", "1.0.0", node.Bridge("br2", "10.3.0.0/16"),
		node.Conf{"type": "bandwidth", "capabilities": node.Conf{"bandwidth": true}}))
	n.PodWith("c1", `[{"name": "slow", "bandwidth": {"ingressRate": 8000000, "ingressBurst": 800000, "egressRate": 4000000, "egressBurst": 800000}}]`)
	pod := n.Sandbox("c1")
	added := n.Add(pod, n.Conf(nil))
	rates := n.Run("tc", "qdisc", "show")
	check.Contains(t, "queueing disciplines", rates, "rate 8Mbit", "rate 4Mbit")
	n.Check(pod, prevResult(n.Conf(nil), added))
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
	check.Equal(t, "interfaces of kind ifb", n.Links("ifb"), []string{"probe0"})
}

func TestNetnsCNIArgsArrive(t *testing.T) {
	n := node.New(t)
	n.Uplink("up0")
	n.Wrap("macvlan", "bridge")
	n.Network("mac", node.Macvlan("mac", "up0").With(node.Conf{
		"ipam": node.Conf{"type": "static"},
		"args": node.Conf{"cni": node.Conf{"ips": []string{"10.2.0.1/24"}, "kept": "yes"}, "other": 1},
	}))
	n.PodWith("c1", `[{"name": "mac", "cni-args": {"ips": ["10.2.0.99/24"], "more": [1]}}]`)
	pod := n.Sandbox("c1")
	n.Add(pod, n.Conf(nil))
	check.Equal(t, "addresses", pod.Interfaces()["net0"].Addrs, []string{"10.2.0.99/24"})
	for _, c := range n.Calls() {
		check.Equal(t, "CNI_ARGS of "+c.String(), c.Args, pod.Args())
		want := `{"cni":{"ips":["10.2.0.99/24"],"kept":"yes","more":[1]},"other":1}`
		if c.IfName == "eth0" {
			want = ""
		}
		check.Equal(t, "args of "+c.String(), string(c.Config["args"]), want)
	}
	n.Del(pod, n.Conf(nil))
	n.MustBeClean()
}

func TestNetnsAddressAskedTwiceIsUndone(t *testing.T) {
	n := node.New(t)
	n.Network("second", node.Bridge("br2", "10.3.0.0/16").With(node.Conf{"capabilities": node.Conf{"ips": true}}))
	for i, name := range []string{"c1", "c2"} {
		n.PodWith(name, `[{"name": "second", "ips": ["10.3.0.88/16"]}]`)
		pod := n.Sandbox(name)
		if i == 0 {
			n.Add(pod, n.Conf(nil))
			continue
		}
		failure := call(n, "ADD", pod, n.Conf(nil))
		if failure.ExitCode != 1 {
			t.Fatalf("the address was given twice: %s", failure.Stdout)
		}
		check.Contains(t, "error", failure.Err.Msg, "default/c2", "default/second", "10.3.0.88")
		check.Equal(t, "interfaces", pod.InterfaceNames(), []string{})
	}
	check.Equal(t, "reservations", fmt.Sprint(n.Reservations()), "map[br2:[10.3.0.88] cbr0:[10.1.0.2]]")
}

func TestNetnsTooManyNetworksAreRefused(t *testing.T) {
	n := node.New(t)
	n.Wrap("bridge")
	n.Network("a", node.Conf{"cniVersion": "1.0.0", "type": "/no/such/plugin"})
	n.PodWith("c1", strings.Repeat("a,", 19999)+"a")
	o := call(n, "ADD", n.Sandbox("c1"), n.Conf(nil))
	check.Contains(t, "error", o.Fails(7).Msg, "default/c1", types.AnnotationNetworks, "20000 networks", "at most 128")
	if size := len(o.Stdout) + len(o.Stderr); size > 2000 {
		t.Errorf("%d bytes are printed", size)
	}
	check.Equal(t, "calls", n.CallNames(), []string{})
	n.MustBeClean()
}

// Only the plugin before it gives a plugin a result.
func TestNetnsPrevResultOfADefinitionIsDropped(t *testing.T) {
	n := node.New(t)
	n.Wrap("bridge", "macvlan", "tuning")
	n.Uplink("up0")
	forged := node.Conf{"prevResult": node.Conf{"cniVersion": "1.0.0", "ips": []node.Conf{{"address": "192.0.2.9/24"}}}}
	n.Network("single", node.Macvlan("single", "up0", "10.2.0.0/16").With(forged))
	n.Network("list", node.List("list", "1.0.0", node.Bridge("br2", "10.3.0.0/16").With(forged), node.Conf{"type": "tuning"}.With(forged)))
	n.PodWith("c1", "single, list")
	n.Add(n.Sandbox("c1"), n.Conf(nil))
	given := map[string][]string{}
	for _, c := range n.Calls() {
		if given[c.String()] = nil; c.Config["prevResult"] != nil {
			given[c.String()] = addresses(node.ParseResult(t, c.Config["prevResult"]))
		}
	}
	check.Equal(t, "results given", given, map[string][]string{
		"ADD bridge eth0": nil, "ADD macvlan net0": nil, "ADD bridge net1": nil, "ADD tuning net1": {"10.3.0.2/16"},
	})
}
