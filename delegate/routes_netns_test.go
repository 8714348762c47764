package delegate

import (
	"errors"
	"net"
	"strings"
	"testing"

	"github.com/vishvananda/netlink"
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
	if err := sandbox.setDefaultRoutes("net0", []string{"10.2.0.1"}); err != nil {
		t.Error(err)
	}
	sandbox.routes = &disturbed{Handle: sandbox.handle, interruptions: 1000}
	if err := sandbox.setDefaultRoutes("eth0", []string{"10.1.0.1"}); !errors.Is(err, netlink.ErrDumpInterrupted) {
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
	if err := sandbox.setDefaultRoutes("eth0", []string{"10.1.0.1", "fd00:1::1"}); err != nil {
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
		"it is gone again":                {"10.2.0.1", (*netlink.Handle).RouteDel, []string{"IPv4", "the namespace has: none"}},
		"it is gone again, IPv6":          {"fd00:2::1", (*netlink.Handle).RouteDel, []string{"IPv6", "the namespace has: none"}},
		"it leads to another gateway now": {"10.2.0.1", changeTo("10.2.0.9"), []string{"IPv4", "10.2.0.9"}},
	} {
		t.Run(name, func(t *testing.T) {
			sandbox := twoLinks(t)
			sandbox.routes = rival{sandbox.handle, c.then}
			err := sandbox.setDefaultRoutes("net0", []string{c.gateway})
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
