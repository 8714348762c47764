package scenarios

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/cluster"
)

// twoNodes makes a pod on each of two nodes with a network that both share, and waits for them.
func twoNodes(s *cluster.Scenario, form func(network string) string) (a, b *cluster.Pod) {
	s.Network("mv1", cluster.Macvlan(50, 10, 99))
	s.Network("mv2", cluster.Macvlan(50, 100, 199))
	s.Network("local", cluster.LocalBridge("br-local", "192.168.60.0/24"))
	a = s.Pod("a", cluster.On(s.Node(1)), cluster.Networks(form("mv1")))
	b = s.Pod("b", cluster.On(s.Node(2)), cluster.Networks(form("mv2")))
	return a.AwaitReady(), b.AwaitReady()
}

func TestE2EShortForm(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	a, b := twoNodes(s, func(network string) string { return network + ", local" })
	a.MustHave("eth0", "net0", "net1")
	b.MustHave("eth0", "net0", "net1")
	a.MustPing(b.IP("eth0"))
	a.MustPing(b.IP("net0"))
	b.MustPing(a.IP("net0"))
}

func TestE2EJSONForm(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	a, b := twoNodes(s, func(network string) string {
		return `[{"name": "` + network + `", "interface": "storage"}, {"name": "local"}]`
	})
	a.MustHave("eth0", "storage", "net1")
	b.MustHave("eth0", "storage", "net1")
	a.MustPing(b.IP("eth0"))
	a.MustPing(b.IP("storage"))
}

// A pod asks for its address and its MAC.
func TestE2EAddresses(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	s.Network("mv", cluster.Macvlan(51, 0, 0))
	a := s.Pod("a", cluster.On(s.Node(1)), cluster.Networks(`[{"name": "mv", "ips": ["192.168.51.7/24"], "mac": "02:00:00:00:51:07"}]`))
	b := s.Pod("b", cluster.On(s.Node(2)), cluster.Networks(`[{"name": "mv", "ips": ["192.168.51.8/24"], "mac": "02:00:00:00:51:08"}]`))
	a.AwaitReady().MustHave("eth0", "net0")
	b.AwaitReady().MustHave("eth0", "net0")
	if got := a.Interfaces()[1]; got.MAC != "02:00:00:00:51:07" || got.Addrs[0] != netip.MustParsePrefix("192.168.51.7/24") {
		t.Errorf("net0 of a has %v, %v, not what it asked for", got.MAC, got.Addrs)
	}
	a.MustPing(netip.MustParseAddr("192.168.51.8"))
}

// The default route is moved to net0, and eth0 has none left.
func TestE2EDefaultRoute(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	s.Network("local", cluster.LocalBridge("br-route", "192.168.61.0/24"))
	p := s.Pod("p", cluster.On(s.Node(1)), cluster.Networks(`[{"name": "local", "default-route": ["192.168.61.1"]}]`)).AwaitReady()
	p.MustHave("eth0", "net0")
	if got := p.DefaultRoutes(); len(got) != 1 || got[0] != "192.168.61.1 dev net0" {
		t.Errorf("the default routes are %q, want that over net0 alone", got)
	}
	other := s.Pod("other", cluster.On(s.Node(2))).AwaitReady()
	if err := p.Ping(other.IP("eth0")); err == nil {
		t.Error("a pod of another node answers, though its network is reached over the default route of eth0 alone")
	}
}

// A port of the node leads to the pod's eth0, also when it has more networks.
func TestE2EHostPort(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	s.Network("mv", cluster.Macvlan(52, 10, 99))
	s.Pod("web", cluster.On(s.Node(1)), cluster.Networks("mv"), cluster.HostPort(18080, 80), cluster.Serve(80)).AwaitReady()
	client := s.Pod("client", cluster.On(s.Node(2))).AwaitReady()
	s.Await("the page over the node's port", func() error {
		page, err := client.Fetch(netip.AddrPortFrom(s.Node(1).IP(), 18080))
		if err == nil && !strings.Contains(page, "web") {
			err = fmt.Errorf("the page is %q", page)
		}
		return err
	})
}

// A static pod's networks are in its manifest; its mirror has the status.
func TestE2EStaticPod(t *testing.T) {
	s := cluster.Shared(t).Scenario(t)
	s.Network("mv", cluster.Macvlan(53, 10, 99))
	p := s.StaticPod(s.Node(1), "static", cluster.Networks("mv")).AwaitReady()
	p.MustHave("eth0", "net0")
	p.RemoveStatic()
	s.MustBeClean()
}
