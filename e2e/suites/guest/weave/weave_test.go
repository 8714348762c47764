// Package weave has Weave Net, the real one, as the default network under Plexus.
package weave

import (
	"fmt"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/node"
	"github.com/plexus-cni/plexus/types"
)

// weaver makes a dummy link, which a cloud's kernel may lack: hence the guest.
func TestE2EWeave(t *testing.T) {
	guest.Run(t, guest.Options{Folders: []string{"PLEXUS_BIN", "PLEXUS_CNI_BIN", "PLEXUS_WEAVE_BIN"}, Writes: []string{window.SnapshotsVar}, Memory: 768})
}

// lan is the network of examples/masters/weave, of which each host hands out its part.
func (h *host) lan() {
	h.Network("lan", node.Conf{
		"cniVersion": "1.0.0", "name": "lan", "type": "macvlan", "master": "eth1", "mode": "bridge",
		"ipam": node.Conf{
			"type": "host-local", "subnet": "172.30.4.0/24",
			"rangeStart": fmt.Sprintf("172.30.4.%d", 50*h.number), "rangeEnd": fmt.Sprintf("172.30.4.%d", 50*h.number+49),
		},
	})
}

func TestGuestWeave(t *testing.T) {
	guest.Inside(t)
	hosts := newHosts(t)
	var pods [2]*pod
	for i, h := range hosts {
		h.lan()
		pods[i] = h.pod(fmt.Sprintf("p%d", h.number), "lan")
		result := pods[i].mustAdd()
		if len(result.IPs) != 1 || !weaveRange.Contains(result.IPs[0].Address.IP) {
			t.Fatalf("addresses of the answer: %v", result.IPs)
		}
		pods[i].verifyStatus(result.IPs[0].Address.IP)
		check.Must(t, pods[i].check())
	}
	for i, other := range []*pod{pods[1], pods[0]} {
		for _, ifName := range []string{"eth0", "net0"} {
			pods[i].ping(other.addressOf(ifName))
		}
	}
	verifyHostPort(t, pods[1], hosts[0])
	verifyWays(t, pods)
	for _, p := range pods {
		check.Must(t, p.del())
		check.Must(t, p.del())
		p.mustBeClean()
	}
}

var weaveRange = net.IPNet{IP: net.IPv4(10, 32, 0, 0), Mask: net.CIDRMask(12, 32)}

// addressOf gives the address of an interface without its prefix.
func (p *pod) addressOf(ifName string) string {
	p.host.t.Helper()
	addrs := p.Interfaces()[ifName].Addrs
	if len(addrs) != 1 {
		p.host.t.Fatalf("addresses of %s: %v", ifName, addrs)
	}
	address, _, _ := strings.Cut(addrs[0], "/")
	return address
}

// verifyStatus demands a status that says what is in the namespace: Weave's own answer
// has neither an interface nor a MAC, nor a version.
func (p *pod) verifyStatus(address net.IP) {
	t := p.host.t
	t.Helper()
	there := p.Interfaces()
	check.Equal(t, "interfaces", p.InterfaceNames(), []string{"eth0", "net0"})
	check.Equal(t, "address of eth0", p.addressOf("eth0"), address.String())
	check.Equal(t, "status", p.record().Status, []types.NetworkStatus{
		{Name: "weave", Interface: "eth0", IPs: []string{address.String()}, MAC: there["eth0"].MAC, MTU: 1376, Default: true},
		{Name: "default/lan", Interface: "net0", IPs: []string{p.addressOf("net0")}, MAC: there["net0"].MAC, MTU: 1500},
	})
	check.Equal(t, "Weave's own account", p.host.owned(), map[string][]string{p.ID: {address.String() + "/12"}})
}

// verifyHostPort asks a server in the pod, by a port of its host, from another host.
func verifyHostPort(t *testing.T, server *pod, client *host) {
	t.Helper()
	var listener net.Listener
	server.Do(func() (err error) {
		listener, err = net.Listen("tcp4", fmt.Sprintf(":%d", containerPort))
		return err
	})
	defer listener.Close()
	go func() {
		_ = http.Serve(listener, http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { fmt.Fprint(w, "hello from the pod") }))
	}()
	address := fmt.Sprintf("%s:%d", server.host.address(), hostPort)
	if body, err := client.get(address, "/"); err != nil || body != "hello from the pod" {
		t.Errorf("%s: %v: %q", address, err, body)
	}
}

// mustBeClean demands that nothing of the pod is left, on the host or in Weave.
func (p *pod) mustBeClean() {
	h := p.host
	h.t.Helper()
	check.Equal(h.t, "interfaces", p.InterfaceNames(), []string{})
	check.Equal(h.t, "files", h.Leftovers(), []string{})
	check.Equal(h.t, "Weave's own account", h.owned(), map[string][]string{})
	if rules := h.Run("iptables-save", "-t", "nat"); strings.Contains(rules, fmt.Sprintf("--dport %d ", hostPort)) {
		h.t.Errorf("the port of the host still leads somewhere:\n%s", rules)
	}
	for _, link := range h.Links("veth") {
		if strings.HasPrefix(link, "vethwepl") {
			h.t.Errorf("Weave's interface %s is left", link)
		}
	}
}

// With its daemon down, Weave's plugin can neither attach a pod nor release it. The one
// is a clear error, and nothing of the pod stays; the other is kept, and done by later
// calls, whoever's they are: no runtime need repeat it.
func TestGuestWeaveWithoutItsDaemon(t *testing.T) {
	guest.Inside(t)
	h := newHosts(t)[0]
	h.lan()
	attached, late, next := h.pod("attached", "lan"), h.pod("late", "lan"), h.pod("next", "lan")
	attached.mustAdd()
	owned := h.owned()
	h.stopWeaver()

	_, err := late.add()
	check.Error(t, err, "default/late", "weave", "eth0", "plugin weave-net (ADD)")
	check.Equal(t, "interfaces", late.InterfaceNames(), []string{})

	check.Error(t, attached.del(), "default/attached", "weave", "eth0", "plugin weave-net (DEL)")
	check.Equal(t, "interfaces", attached.InterfaceNames(), []string{})
	check.Equal(t, "reservations of the other network", h.Reservations(), map[string][]string{})
	kept := attached.record()
	check.Equal(t, "what is still to be released", kept.Pending(kept.BootID), []int{0})
	attached.Destroy()
	late.Destroy()

	h.startWeaver()
	h.awaitPeer()
	check.Equal(t, "Weave's own account after its restart", h.owned(), owned)
	next.mustAdd()
	check.Must(t, next.del())
	check.Eventually(h.t, "the release of dead sandboxes", 2*time.Minute, func() error {
		if left := h.Records(); len(left) > 0 {
			check.Must(t, next.del()) // each call takes a few seconds for it, and this kernel is emulated
			return fmt.Errorf("records are left: %v", left)
		}
		return nil
	})
	next.mustBeClean()
}
