package cluster

import (
	"encoding/json"
	"fmt"
	"net/netip"
	"slices"
	"strconv"
	"strings"

	"github.com/plexus-cni/plexus/types"
)

// Interface is what a pod has of one interface.
type Interface struct {
	Name  string
	MAC   string
	MTU   int
	Kind  string         // "veth", "macvlan", …
	Addrs []netip.Prefix // global ones
}

// Sandbox gives the pod's running sandbox, with the path of its network namespace.
func (p *Pod) Sandbox() Sandbox {
	p.s.Helper()
	sandboxes, err := p.node.Sandboxes(p.s.Namespace)
	p.s.Must(err)
	for _, sandbox := range sandboxes {
		if sandbox.Metadata.UID == p.uid && sandbox.Ready() {
			sandbox.NetNS, err = p.node.netnsOf(sandbox.ID)
			p.s.Must(err)
			return sandbox
		}
	}
	p.s.Fatalf("pod %s (UID %s) has no running sandbox on %s", p.Name, p.uid, p.node.Name)
	return Sandbox{}
}

// Run runs a command of the machine in the pod's network.
func (p *Pod) Run(name string, args ...string) (string, error) {
	p.s.Helper()
	return p.node.Run("nsenter", append([]string{"--net=" + p.Sandbox().NetNS, "--", name}, args...)...)
}

// Interfaces gives the pod's interfaces in the order of their making, without the loopback.
func (p *Pod) Interfaces() []Interface {
	p.s.Helper()
	out, err := p.Run("ip", "-json", "-details", "address", "show")
	p.s.Must(err)
	var links []struct {
		IfName   string
		Address  string
		MTU      int
		LinkInfo struct {
			Kind string `json:"info_kind"`
		}
		AddrInfo []struct {
			Local     string
			PrefixLen int
			Scope     string
		} `json:"addr_info"`
	}
	p.s.Must(json.Unmarshal([]byte(out), &links))
	var all []Interface
	for _, link := range links {
		i := Interface{Name: link.IfName, MAC: link.Address, MTU: link.MTU, Kind: link.LinkInfo.Kind}
		for _, addr := range link.AddrInfo {
			if ip, err := netip.ParseAddr(addr.Local); err == nil && addr.Scope == "global" {
				i.Addrs = append(i.Addrs, netip.PrefixFrom(ip, addr.PrefixLen))
			}
		}
		if i.Name != "lo" {
			all = append(all, i)
		}
	}
	return all
}

// MustHave demands that the pod has these interfaces and no others, each with an address, and
// that its network status says just that: names, MACs, addresses, the first one the default.
func (p *Pod) MustHave(names ...string) {
	p.s.Helper()
	interfaces := p.Interfaces()
	var got []string
	for _, i := range interfaces {
		got = append(got, i.Name)
	}
	slices.Sort(got)
	want := slices.Sorted(slices.Values(names))
	if !slices.Equal(got, want) {
		p.s.Fatalf("pod %s has interfaces %q, want %q", p.Name, got, want)
	}
	p.statusIs(interfaces, names)
}

func (p *Pod) statusIs(interfaces []Interface, names []string) {
	p.s.Helper()
	status := p.Status()
	if len(status) != len(names) {
		p.s.Fatalf("the network status of pod %s has %d entries, want %d: %+v", p.Name, len(status), len(names), status)
	}
	for n, entry := range status {
		if entry.Interface != names[n] || entry.Default != (n == 0) {
			p.s.Errorf("entry %d of the network status of pod %s: interface %q, default %v; want %q, %v", n, p.Name, entry.Interface, entry.Default, names[n], n == 0)
		}
		i := interfaces[slices.IndexFunc(interfaces, func(i Interface) bool { return i.Name == names[n] })]
		p.entryIs(entry, i)
	}
}

func (p *Pod) entryIs(entry types.NetworkStatus, i Interface) {
	p.s.Helper()
	var addrs []string
	for _, a := range i.Addrs {
		addrs = append(addrs, a.Addr().String())
	}
	if !slices.Equal(entry.IPs, addrs) || !strings.EqualFold(entry.MAC, i.MAC) {
		p.s.Errorf("the network status of %s in pod %s: addresses %q, MAC %q; the interface has %q, %q", i.Name, p.Name, entry.IPs, entry.MAC, addrs, i.MAC)
	}
}

// IP gives the first address of one of the pod's interfaces.
func (p *Pod) IP(name string) netip.Addr {
	p.s.Helper()
	for _, i := range p.Interfaces() {
		if i.Name == name && len(i.Addrs) > 0 {
			return i.Addrs[0].Addr()
		}
	}
	p.s.Fatalf("pod %s has no interface %s with an address", p.Name, name)
	return netip.Addr{}
}

// Ping asks whether an address answers the pod.
func (p *Pod) Ping(to netip.Addr) error {
	p.s.Helper()
	_, err := p.Run("ping", "-n", "-c", "1", "-W", "2", to.String())
	return err
}

// MustPing waits until an address answers the pod: the first packets wait for neighbours to be
// found.
func (p *Pod) MustPing(to netip.Addr) {
	p.s.Helper()
	p.s.Await(fmt.Sprintf("%s to answer pod %s", to, p.Name), func() error { return p.Ping(to) })
}

// fetch asks a web server for its page, with nothing but a shell.
const fetch = `exec 3<>/dev/tcp/$0/$1 && printf 'GET / HTTP/1.0\r\n\r\n' >&3 && timeout 3 cat <&3`

// Fetch asks a web server for its page, from the pod, and gives the answer.
func (p *Pod) Fetch(server netip.AddrPort) (string, error) {
	p.s.Helper()
	return p.Run("timeout", "5", "bash", "-c", fetch, server.Addr().String(), strconv.Itoa(int(server.Port())))
}

// HostEnd gives the name of the other end, on the node, of one of the pod's veths.
func (p *Pod) HostEnd(name string) string {
	p.s.Helper()
	out, err := p.Run("ip", "-json", "link", "show", "dev", name)
	p.s.Must(err)
	var ends []struct {
		Index int    `json:"ifindex"`
		Peer  int    `json:"link_index"`
		Name  string `json:"ifname"`
	}
	p.s.Must(json.Unmarshal([]byte(out), &ends))
	index := ends[0].Peer
	out, err = p.node.Run("ip", "-json", "link", "show", "type", "veth")
	p.s.Must(err)
	p.s.Must(json.Unmarshal([]byte(out), &ends))
	for _, end := range ends {
		if end.Index == index {
			return end.Name
		}
	}
	p.s.Fatalf("%s of pod %s has no other end on %s", name, p.Name, p.node.Name)
	return ""
}

// DefaultRoutes gives the pod's default routes of IPv4, each as "GATEWAY dev INTERFACE".
func (p *Pod) DefaultRoutes() []string {
	p.s.Helper()
	out, err := p.Run("ip", "-json", "route", "show", "default")
	p.s.Must(err)
	var routes []struct{ Gateway, Dev string }
	p.s.Must(json.Unmarshal([]byte(out), &routes))
	var all []string
	for _, r := range routes {
		all = append(all, r.Gateway+" dev "+r.Dev)
	}
	return all
}

// Node gives the pod's node, once it was ready.
func (p *Pod) Node() *Node { return p.node }
