package paths

import (
	"encoding/json"
	"fmt"
	"os"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
)

// pod is the pod of one of the two nodes.
type pod struct {
	*node.Node
	t       *testing.T
	number  string
	sandbox *node.Sandbox
	title   string // for kubectl-plexus
	view    *window.Node
	situation
}

// newPods makes two nodes, joined by up0, up1 and up2, with a pod each, which reach each other and are fine.
func newPods(t *testing.T, s situation) (a, b *pod) {
	t.Helper()
	a, b = newPod(t, "1", "web", s), newPod(t, "2", "db", s)
	for _, name := range []string{"up0", "up1", "up2"} {
		a.Run("ip", "link", "add", name, "type", "veth", "peer", "name", name, "netns", b.netns())
	}
	for _, p := range []*pod{a, b} {
		p.wire()
		p.add()
	}
	for _, p := range []*pod{a, b} {
		p.pings(map[*pod]*pod{a: b, b: a}[p])
		p.view.MustBeFine(t, false, p.title)
	}
	return a, b
}

func newPod(t *testing.T, number, name string, s situation) *pod {
	t.Helper()
	n := node.New(t)
	return &pod{Node: n, t: t, number: number, title: "default/" + name, view: window.Of("node"+number, n), situation: s, sandbox: n.Sandbox(name)}
}

// netns gives a path of the node's network namespace.
func (p *pod) netns() (path string) {
	p.t.Helper()
	p.Do(func() error {
		path = fmt.Sprintf("/proc/%d/task/%d/ns/net", os.Getpid(), unix.Gettid())
		return nil
	})
	return path
}

// wire gives the node its address, its way to the other node's pods, and what the situation has.
func (p *pod) wire() {
	p.t.Helper()
	script := `ip link set up0 up
ip link set up1 up
ip link set up2 up
ip addr add 10.77.0.I/24 dev up0
ip route add 10.1.O.0/24 via 10.77.0.O dev up0
sysctl -qw net.ipv4.ip_forward=1
` + p.setup
	for line := range strings.Lines(strings.NewReplacer(".I", "."+p.number, ".O", "."+other(p.number)).Replace(script)) {
		words := strings.Fields(line)
		if words[0] == "sysctl" {
			p.WriteFile("/proc/sys/net/ipv4/ip_forward", "1")
			continue
		}
		p.Run(words[0], words[1:]...)
	}
}

// add attaches the pod's networks.
func (p *pod) add() {
	p.t.Helper()
	var names []string
	for i, conf := range p.networks {
		names = append(names, fmt.Sprintf("lan%d", i))
		p.Network(names[i], ofNode(conf, p.number))
	}
	p.PodWith(p.sandbox.PodName, strings.Join(names, ", "))
	cluster := node.Bridge("cbr0", "10.1."+p.number+".0/24").With(node.Conf{"isDefaultGateway": true})
	p.Call(node.Call{Command: "ADD", Config: p.Conf(node.Conf{"delegates": []node.Conf{cluster}}), Sandbox: p.sandbox}).OK()
}

// pings asks the other pod, by every interface whose way is known.
func (p *pod) pings(other *pod) {
	p.t.Helper()
	for name := range p.ways {
		args := append(strings.Fields(p.ping), "-n", "-c", "1", "-w", "60", other.address(name))
		if name == "eth0" {
			args = args[len(strings.Fields(p.ping)):]
		}
		p.sandbox.MustRun("ping", args...)
	}
}

func (p *pod) address(name string) string {
	p.t.Helper()
	addresses := p.sandbox.Interfaces()[name].Addrs
	if len(addresses) != 1 {
		p.t.Fatalf("%s of %s has the addresses %q", name, p.title, addresses)
	}
	address, _, _ := strings.Cut(addresses[0], "/")
	return address
}

// wayTo gives the way to the other pod by an interface.
func (p *pod) wayTo(other *pod, name string) string {
	p.t.Helper()
	return strings.NewReplacer("FROM", p.hostEnd(name), "TO", other.hostEnd(name)).Replace(p.ways[name])
}

// hostEnd gives the other end of a veth of the pod, "" for what is no veth.
func (p *pod) hostEnd(name string) string {
	p.t.Helper()
	if p.sandbox.Interfaces()[name].Kind != "veth" {
		return ""
	}
	out, err := p.sandbox.Run("ip", "-json", "link", "show", "dev", name)
	check.Must(p.t, err)
	type link struct {
		Index int    `json:"ifindex"`
		Peer  int    `json:"link_index"`
		Name  string `json:"ifname"`
	}
	var own, all []link
	check.Must(p.t, json.Unmarshal([]byte(out), &own))
	check.Must(p.t, json.Unmarshal([]byte(p.Run("ip", "-json", "link", "show", "type", "veth")), &all))
	for _, end := range all {
		if end.Index == own[0].Peer {
			return end.Name
		}
	}
	p.t.Fatalf("%s of %s has no other end", name, p.title)
	return ""
}
