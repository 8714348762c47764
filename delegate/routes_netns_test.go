package delegate

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// rival is the pod's real route table, which somebody else writes right after each default
// route that is added.
type rival struct {
	*netlink.Handle
	then func(h *netlink.Handle, added *netlink.Route) error
}

func (r rival) RouteAdd(route *netlink.Route) error {
	if err := r.Handle.RouteAdd(route); err != nil {
		return err
	}
	return r.then(r.Handle, route)
}

// disturbed is the pod's real route table, whose lists are interrupted by a change now and
// then, as the kernel says it.
type disturbed struct {
	*netlink.Handle
	lists, interruptions int
}

func (d *disturbed) RouteListFiltered(family int, filter *netlink.Route, mask uint64) ([]netlink.Route, error) {
	d.lists++
	if d.lists <= d.interruptions {
		return nil, netlink.ErrDumpInterrupted
	}
	return d.Handle.RouteListFiltered(family, filter, mask)
}

// A change of routes while they are listed fails no ADD.
func TestNetnsDefaultRoutesInARestlessNamespace(t *testing.T) {
	sandbox := twoLinks(t)
	sandbox.routes = &disturbed{Handle: sandbox.handle, interruptions: 3}
	if _, err := sandbox.setDefaultRoutes("net0", []string{"10.2.0.1"}); err != nil {
		t.Error(err)
	}
	sandbox.routes = &disturbed{Handle: sandbox.handle, interruptions: 1000}
	if _, err := sandbox.setDefaultRoutes("eth0", []string{"10.1.0.1"}); !errors.Is(err, netlink.ErrDumpInterrupted) {
		t.Errorf("a list that never comes whole: %v", err)
	}
}

// twoLinks makes eth0 and net0 with addresses of both families, and default routes on eth0.
func twoLinks(t *testing.T) *sandboxNet {
	t.Helper()
	n := newSpecSandbox(t, "second")
	sandbox, err := openSandbox(n.call.Sandbox.NetNS)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(sandbox.close)
	specLink(t, sandbox, "eth0", "10.1.0.5/24")
	specLink(t, sandbox, "net0", "10.2.0.5/24")
	for name, address := range map[string]string{"eth0": "fd00:1::5/64", "net0": "fd00:2::5/64"} {
		addr, err := netlink.ParseAddr(address)
		if err != nil {
			t.Fatal(err)
		}
		addr.Flags = 0x02 // IFA_F_NODAD: usable at once
		if err := sandbox.handle.AddrAdd(linkOf(t, sandbox, name), addr); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := sandbox.setDefaultRoutes("eth0", []string{"10.1.0.1", "fd00:1::1"}); err != nil {
		t.Fatal(err)
	}
	return sandbox
}

func linkOf(t *testing.T, sandbox *sandboxNet, name string) netlink.Link {
	t.Helper()
	link, err := sandbox.handle.LinkByName(name)
	if err != nil {
		t.Fatal(err)
	}
	return link
}

// A default route that does not become what was asked for is never a success, whoever
// changed it: it is read back.
func TestNetnsDefaultRoutesAreReadBack(t *testing.T) {
	addOn := func(name, gateway string) func(*netlink.Handle, *netlink.Route) error {
		return func(h *netlink.Handle, added *netlink.Route) error {
			link, err := h.LinkByName(name)
			if err != nil {
				return err
			}
			return h.RouteAdd(&netlink.Route{LinkIndex: link.Attrs().Index, Dst: added.Dst, Gw: net.ParseIP(gateway), Priority: 77})
		}
	}
	addRefusing := func(kind int) func(*netlink.Handle, *netlink.Route) error {
		return func(h *netlink.Handle, added *netlink.Route) error {
			return h.RouteAdd(&netlink.Route{Dst: added.Dst, Type: kind, Priority: 77})
		}
	}
	for name, c := range map[string]struct {
		gateway string
		then    func(*netlink.Handle, *netlink.Route) error
		want    []string
	}{
		"nobody else":                     {"10.2.0.1", func(*netlink.Handle, *netlink.Route) error { return nil }, nil},
		"nobody else, IPv6":               {"fd00:2::1", func(*netlink.Handle, *netlink.Route) error { return nil }, nil},
		"another on eth0":                 {"10.2.0.1", addOn("eth0", "10.1.0.1"), []string{"IPv4", "10.1.0.1", "10.2.0.1"}},
		"another on eth0, IPv6":           {"fd00:2::1", addOn("eth0", "fd00:1::1"), []string{"IPv6", "fd00:1::1", "fd00:2::1"}},
		"another gateway on net0":         {"10.2.0.1", addOn("net0", "10.2.0.9"), []string{"IPv4", "10.2.0.9"}},
		"another that refuses":            {"10.2.0.1", addRefusing(unix.RTN_UNREACHABLE), []string{"IPv4", "unreachable default metric 77", "via 10.2.0.1 dev net0"}},
		"another that refuses, IPv6":      {"fd00:2::1", addRefusing(unix.RTN_BLACKHOLE), []string{"IPv6", "blackhole default"}},
		"it is gone again":                {"10.2.0.1", (*netlink.Handle).RouteDel, []string{"IPv4", "the namespace has: none"}},
		"it is gone again, IPv6":          {"fd00:2::1", (*netlink.Handle).RouteDel, []string{"IPv6", "the namespace has: none"}},
		"it leads to another gateway now": {"10.2.0.1", changeTo("10.2.0.9"), []string{"IPv4", "10.2.0.9"}},
	} {
		t.Run(name, func(t *testing.T) {
			sandbox := twoLinks(t)
			sandbox.routes = rival{sandbox.handle, c.then}
			_, err := sandbox.setDefaultRoutes("net0", []string{c.gateway})
			if len(c.want) == 0 {
				if err != nil {
					t.Error(err)
				}
				return
			}
			if err == nil {
				t.Fatal("success, although the routes are not those that were asked for")
			}
			for _, words := range append(c.want, "default-route", "set, but") {
				if !strings.Contains(err.Error(), words) {
					t.Errorf("does not say %q: %v", words, err)
				}
			}
		})
	}
}

func changeTo(gateway string) func(*netlink.Handle, *netlink.Route) error {
	return func(h *netlink.Handle, added *netlink.Route) error {
		changed := *added
		changed.Gw = net.ParseIP(gateway)
		return h.RouteReplace(&changed)
	}
}

// addressOn gives an interface an address that is usable at once.
func addressOn(t *testing.T, sandbox *sandboxNet, name, address string) {
	t.Helper()
	addr, err := netlink.ParseAddr(address)
	if err != nil {
		t.Fatal(err)
	}
	addr.Flags = unix.IFA_F_NODAD
	if err := sandbox.handle.AddrAdd(linkOf(t, sandbox, name), addr); err != nil {
		t.Fatal(err)
	}
}

func TestNetnsDefaultRouteOverTheNetworkItself(t *testing.T) {
	const refused = "is the address of the network on net0 itself"
	for name, c := range map[string]struct{ address, gateway, problem string }{
		"of the first address":        {"10.9.8.5/22", "10.2.0.0", refused},
		"of the second address":       {"10.9.10.5/22", "10.9.8.0", refused},
		"as IPv6":                     {"10.9.10.5/22", "::ffff:10.9.8.0", refused},
		"a host within the network":   {"10.9.8.5/22", "10.9.9.0", ""},
		"one of two addresses":        {"10.9.8.1/31", "10.9.8.0", ""},
		"any router of a subnet":      {"fd00:9::5/64", "fd00:9::", ""},
		"the only address of a route": {"10.9.8.5/32", "10.9.8.0", "no address of the interface is in its subnet"},
	} {
		t.Run(name, func(t *testing.T) {
			sandbox := twoLinks(t)
			addressOn(t, sandbox, "net0", c.address)
			_, err := sandbox.setDefaultRoutes("net0", []string{c.gateway})
			if c.problem == "" {
				check.Must(t, err)
				return
			}
			check.Error(t, err, "default-route: gateway ", c.problem)
		})
	}
}

// inVRF is the pod's real network namespace, but for a VRF in place of a bridge: not every
// kernel has VRFs. The real one is tested in the virtual machine.
type inVRF struct{ *netlink.Handle }

func (v inVRF) LinkByIndex(index int) (netlink.Link, error) {
	link, err := v.Handle.LinkByIndex(index)
	if err != nil || link.Type() != "bridge" {
		return link, err
	}
	return &netlink.Vrf{LinkAttrs: *link.Attrs(), Table: 1001}, nil
}

// The routes of a VRF are for what is bound to it. Another master is no such thing.
func TestNetnsDefaultRouteInAVRF(t *testing.T) {
	sandbox := twoLinks(t)
	veth := &netlink.Veth{LinkAttrs: netlink.LinkAttrs{Name: "net1", MasterIndex: linkOf(t, sandbox, "eth0").Attrs().Index}, PeerName: "peer"}
	if err := sandbox.handle.LinkAdd(veth); err != nil {
		t.Fatal(err)
	}
	if err := sandbox.handle.LinkSetUp(veth); err != nil {
		t.Fatal(err)
	}
	addressOn(t, sandbox, "net1", "10.9.8.5/24")
	before, err := sandbox.defaults(ipv4, unix.RT_TABLE_MAIN)
	if err != nil {
		t.Fatal(err)
	}
	sandbox.routes = inVRF{sandbox.handle}
	_, err = sandbox.setDefaultRoutes("net1", []string{"10.9.8.1"})
	check.Error(t, err, "default-route: interface net1 is in VRF eth0", "table 1001")
	after, err := sandbox.defaults(ipv4, unix.RT_TABLE_MAIN)
	if diff := cmp.Diff(len(before), len(after)); err != nil || diff != "" {
		t.Errorf("the default routes changed: %v %v", diff, err)
	}
	sandbox.routes = sandbox.handle
	if _, err := sandbox.setDefaultRoutes("net1", []string{"10.9.8.1"}); err != nil {
		t.Errorf("on an interface of a bridge: %v", err)
	}
}
