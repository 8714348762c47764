package kernel

import (
	"net"
	"os"
	"strings"
	"testing"

	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin/vf"
)

// upPair gives an interface that is up, in a namespace of its own. It does not search for
// duplicates of its IPv6 addresses, which takes a second each time.
func upPair(t *testing.T) (ns string, link *vf.Link) {
	t.Helper()
	ns = namespace(t, "pod")
	link = pair(t, ns)
	must(t, onThreadIn(ns, func() error { return os.WriteFile("/proc/sys/net/ipv6/conf/vf0/accept_dad", []byte("0"), 0o600) }))
	must(t, Links{}.SetUp(ns, link.Index, true))
	return ns, link
}

func number(n int) *int { return &n }

// routed is a result with routes of every kind.
func routed() *current.Result {
	result := given("10.9.0.2/24", "fd09::2/64")
	result.IPs[0].Gateway = net.ParseIP("10.9.0.1")
	result.Routes = []*cnitypes.Route{
		{Dst: cidr("0.0.0.0/0")},
		{Dst: cidr("10.8.0.0/16"), GW: net.ParseIP("10.9.0.9")},
		{Dst: cidr("10.7.0.0/16"), Table: number(100), Priority: 7, MTU: 1400, AdvMSS: 1300},
		{Dst: cidr("fd08::/64"), GW: net.ParseIP("fd09::1"), Priority: 9},
	}
	return result
}

// An ADD that comes after one that was killed finds part of its work done, and does the
// rest.
func TestNetnsConfigureAgain(t *testing.T) {
	addresses := given("10.9.0.2/24", "fd09::2/64")
	for name, steps := range map[string][]*current.Result{
		"addresses of IPv4":    {given("10.9.0.2/24"), given("10.9.0.2/24")},
		"addresses of IPv6":    {given("fd09::2/64"), given("fd09::2/64")},
		"one address of two":   {given("fd09::2/64"), addresses},
		"addresses, no routes": {addresses, routed()},
		"addresses and routes": {routed(), routed()},
		"some of the routes":   {firstRoutes(2), routed()},
	} {
		t.Run(name, func(t *testing.T) {
			ns, link := upPair(t)
			for _, result := range steps {
				must(t, Links{}.Configure(t.Context(), ns, link, result))
			}
			must(t, Links{}.Verify(ns, link, steps[len(steps)-1]))
		})
	}
}

func firstRoutes(n int) *current.Result {
	result := routed()
	result.Routes = result.Routes[:n]
	return result
}

// Everything that a result says of a route is in the kernel's.
func TestNetnsConfigureRoutes(t *testing.T) {
	ns, link := upPair(t)
	must(t, Links{}.Configure(t.Context(), ns, link, routed()))
	withoutGateway := given("10.5.0.2/24")
	withoutGateway.Routes = []*cnitypes.Route{{Dst: cidr("10.6.0.0/16")}}
	must(t, Links{}.Configure(t.Context(), ns, link, withoutGateway))
	type route struct {
		Dst, Gw                              string
		Table, Priority, MTU, AdvMSS, OnLink int
	}
	var got []route
	must(t, overNetlink(ns, func(h *netlink.Handle) error {
		for _, r := range append(routed().Routes, withoutGateway.Routes...) {
			table := unix.RT_TABLE_MAIN
			if r.Table != nil {
				table = *r.Table
			}
			family := netlink.FAMILY_V6
			if r.Dst.IP.To4() != nil {
				family = netlink.FAMILY_V4
			}
			there, err := h.RouteListFiltered(family, &netlink.Route{Dst: &r.Dst, Table: table}, netlink.RT_FILTER_DST|netlink.RT_FILTER_TABLE)
			if err != nil {
				return err
			}
			for _, t := range there {
				entry := route{r.Dst.String(), "", t.Table, t.Priority, t.MTU, t.AdvMSS, 0}
				if t.Gw != nil {
					entry.Gw = t.Gw.String()
				}
				if t.Scope == netlink.SCOPE_LINK {
					entry.OnLink = 1
				}
				got = append(got, entry)
			}
		}
		return nil
	}))
	want := []route{
		{"0.0.0.0/0", "10.9.0.1", 254, 0, 0, 0, 0},
		{"10.8.0.0/16", "10.9.0.9", 254, 0, 0, 0, 0},
		{"10.7.0.0/16", "10.9.0.1", 100, 7, 1400, 1300, 0},
		{"fd08::/64", "fd09::1", 254, 9, 0, 0, 0},
		{"10.6.0.0/16", "", 254, 0, 0, 0, 1},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
}

// CHECK takes no other address or route for the one of the result.
func TestNetnsVerify(t *testing.T) {
	ns, link := upPair(t)
	must(t, Links{}.Configure(t.Context(), ns, link, routed()))
	address := func(a string) *current.Result { return given(a) }
	route := func(r cnitypes.Route) *current.Result {
		return &current.Result{Routes: []*cnitypes.Route{&r}}
	}
	const isMissing = "is not there"
	for name, tc := range map[string]struct {
		result *current.Result
		says   string // empty: it is there
	}{
		"as it was configured":            {routed(), ""},
		"an address":                      {address("10.9.0.2/24"), ""},
		"another address":                 {address("10.9.0.3/24"), "10.9.0.3/24 " + isMissing},
		"another prefix length":           {address("10.9.0.2/16"), "10.9.0.2/16 " + isMissing},
		"another address of IPv6":         {address("fd09::3/64"), "fd09::3/64 " + isMissing},
		"an address of another interface": {&current.Result{Interfaces: []*current.Interface{{Name: "other"}}, IPs: []*current.IPConfig{{Interface: current.Int(0), Address: cidr("10.1.0.1/24")}}}, ""},
		"a route":                         {route(cnitypes.Route{Dst: cidr("10.8.0.0/16"), GW: net.ParseIP("10.9.0.9")}), ""},
		"any gateway":                     {route(cnitypes.Route{Dst: cidr("10.8.0.0/16")}), ""},
		"another gateway":                 {route(cnitypes.Route{Dst: cidr("10.8.0.0/16"), GW: net.ParseIP("10.9.0.8")}), "10.8.0.0/16 " + isMissing},
		"another gateway of the default":  {route(cnitypes.Route{Dst: cidr("0.0.0.0/0"), GW: net.ParseIP("10.9.0.9")}), "0.0.0.0/0 " + isMissing},
		"another gateway of IPv6":         {route(cnitypes.Route{Dst: cidr("fd08::/64"), GW: net.ParseIP("fd09::9")}), "fd08::/64 " + isMissing},
		"another destination":             {route(cnitypes.Route{Dst: cidr("10.8.0.0/24")}), "10.8.0.0/24 " + isMissing},
		"another table":                   {route(cnitypes.Route{Dst: cidr("10.8.0.0/16"), Table: number(100)}), "10.8.0.0/16 " + isMissing},
		"its own table":                   {route(cnitypes.Route{Dst: cidr("10.7.0.0/16"), Table: number(100)}), ""},
		"no table, which is the main one": {route(cnitypes.Route{Dst: cidr("10.7.0.0/16")}), "10.7.0.0/16 " + isMissing},
	} {
		t.Run(name, func(t *testing.T) {
			err := Links{}.Verify(ns, link, tc.result)
			if (err == nil) != (tc.says == "") || err != nil && !strings.Contains(err.Error(), tc.says) {
				t.Errorf("got %v, want %q", err, tc.says)
			}
		})
	}
}
