package kernel

import (
	"bytes"
	"fmt"
	"os"
	"strings"
	"testing"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/google/go-cmp/cmp"
	"github.com/vishvananda/netlink"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin/vf"
)

// sysctl sets a setting of a namespace.
func sysctl(t *testing.T, ns, name, value string) {
	t.Helper()
	must(t, onThreadIn(ns, func() error { return os.WriteFile("/proc/sys/net/"+name, []byte(value), 0o600) }))
}

// attached is what an ADD makes: an interface that was prepared, came up, and has its addresses.
func attached(t *testing.T, ns, other string, result *current.Result) *vf.Link {
	t.Helper()
	link := wired(t, ns, other)
	must(t, Links{}.Prepare(ns, link.Name))
	must(t, Links{}.SetUp(ns, link.Index, true))
	must(t, Links{}.Configure(t.Context(), ns, link, result))
	return link
}

// flap takes the interface down and up, as "ip link set" in a pod does.
func flap(t *testing.T, ns string, link *vf.Link) {
	t.Helper()
	must(t, Links{}.SetUp(ns, link.Index, false))
	must(t, Links{}.SetUp(ns, link.Index, true))
}

// addresses gives the interface's addresses of IPv6, with the flags of each.
func addresses(t *testing.T, ns, name string) map[string]int {
	t.Helper()
	got := map[string]int{}
	must(t, overNetlink(ns, func(h *netlink.Handle) error {
		all, err := addressesOf(h, device(look(t, ns, name).Index), netlink.FAMILY_V6)
		for _, addr := range all {
			got[addr.IPNet.String()] = addr.Flags
		}
		return err
	}))
	return got
}

// An address outlives a link that goes down and up, in both families, and is announced again.
func TestNetnsFlap(t *testing.T) {
	ns, other := namespace(t, "pod"), namespace(t, "other")
	result := given("10.9.0.2/24", "fd09::2/64", "fd09::3/128")
	link := attached(t, ns, other, result)
	heard := listen(t, other)
	flap(t, ns, link)
	must(t, Links{}.Verify(ns, link, result))
	own, err := parseMAC(link.MAC)
	must(t, err)
	asked := arpFrame(own, cidr("10.9.0.2/24").IP.To4(), arpRequest)[:32] // the kernel asks for its own address
	heard(asked, advertised("fd09::2", own), advertised("fd09::3", own))
}

// advertised is how an advertisement of the kernel's begins: as ours, from the address to all nodes.
func advertised(ip string, own []byte) []byte {
	const addresses = 14 + 40 // the headers of Ethernet and of IPv6
	return advertisement(own, cidr(ip+"/128").IP)[:addresses]
}

// The search for duplicates of an address ends while ADD waits. Its time is as before then.
func TestNetnsOptimisticAddress(t *testing.T) {
	ns, other := namespace(t, "pod"), namespace(t, "other")
	const setting = "ipv6/neigh/vf0/retrans_time_ms"
	link := wired(t, ns, other)
	sysctl(t, ns, setting, "1500")
	must(t, Links{}.Prepare(ns, link.Name))
	must(t, Links{}.SetUp(ns, link.Index, true))
	must(t, Links{}.Configure(t.Context(), ns, link, given("fd09::2/64", "fd08::2/64")))
	got := addresses(t, ns, link.Name)
	for _, given := range []string{"fd09::2/64", "fd08::2/64"} {
		if flags, exists := got[given]; !exists || flags&(unix.IFA_F_TENTATIVE|unix.IFA_F_OPTIMISTIC) != 0 {
			t.Errorf("%s: %v, flags %#x", given, exists, flags)
		}
	}
	must(t, onThreadIn(ns, func() error {
		if data, err := os.ReadFile("/proc/sys/net/" + setting); string(data) != "1500\n" {
			t.Errorf("%s: %q, %v", setting, data, err)
		}
		return nil
	}))
}

// A search that takes minutes, as many as the pod's sysctls say, is not waited for: neither that of the
// link-local address, which has its own. The addresses serve all the same, but are not announced yet.
func TestNetnsOptimisticAddressSearched(t *testing.T) {
	ns, other := namespace(t, "pod"), namespace(t, "other")
	sysctl(t, ns, "ipv6/conf/default/dad_transmits", "1000")
	result := given("fd09::2/64", "fd08::2/64", "10.9.0.2/24")
	link := attached(t, ns, other, result)
	got := addresses(t, ns, link.Name)
	if len(got) != 3 {
		t.Errorf("addresses: %v", got)
	}
	for address, flags := range got {
		if flags&unix.IFA_F_OPTIMISTIC == 0 || flags&unix.IFA_F_DADFAILED != 0 {
			t.Errorf("%s: flags %#x", address, flags)
		}
	}
	own, err := parseMAC(link.MAC)
	must(t, err)
	heard := listen(t, other)
	must(t, Links{}.Announce(t.Context(), ns, link, result))
	for _, frame := range heard(arpFrame(own, cidr("10.9.0.2/24").IP.To4(), arpReply)) { // the last that it sends
		for _, ip := range []string{"fd09::2", "fd08::2"} {
			if bytes.HasPrefix(frame, advertised(ip, own)) {
				t.Errorf("%s was announced", ip)
			}
		}
	}
}

// One that is on the link already is refused all the same, and CHECK reports one that comes to light late.
func TestNetnsOptimisticDuplicate(t *testing.T) {
	ns, other, l := namespace(t, "pod"), namespace(t, "other"), Links{}
	link := wired(t, ns, other)
	wire := look(t, other, "wire")
	must(t, l.Prepare(ns, link.Name))
	must(t, l.SetUp(ns, link.Index, true))
	taken := given("fd09::2/64")
	must(t, l.Configure(t.Context(), other, wire, taken))
	for what, err := range map[string]error{
		"ADD":   l.Configure(t.Context(), ns, link, taken),
		"CHECK": l.Verify(ns, link, taken),
	} {
		if err == nil || !strings.Contains(err.Error(), "address fd09::2 is in use by another on the link") {
			t.Errorf("%s: got %v", what, err)
		}
	}
}

// Where IPv6 is turned off for all interfaces of a pod, a network with an IPv6 address turns it on for
// its own and for the loopback interface; one without leaves both.
func TestNetnsLoopbackIPv6(t *testing.T) {
	for name, tc := range map[string]struct {
		result *current.Result
		want   map[string]bool // who has an address of IPv6
	}{
		"IPv6":          {given("fd09::2/64"), map[string]bool{"lo": true, "vf0": true}},
		"both families": {given("10.9.0.2/24", "fd09::2/64"), map[string]bool{"lo": true, "vf0": true}},
		"IPv4":          {given("10.9.0.2/24"), map[string]bool{"lo": false, "vf0": false}},
	} {
		t.Run(name, func(t *testing.T) {
			ns, other := namespace(t, "pod"), namespace(t, "other")
			must(t, Links{}.SetUp(ns, 1, true))
			for _, scope := range []string{"all", "default"} {
				sysctl(t, ns, "ipv6/conf/"+scope+"/disable_ipv6", "1")
			}
			attached(t, ns, other, tc.result)
			got := map[string]bool{}
			for name := range tc.want {
				got[name] = len(addresses(t, ns, name)) > 0
			}
			if diff := cmp.Diff(tc.want, got); diff != "" {
				t.Errorf("-want +got:\n%s", diff)
			}
		})
	}
}

// A setting that is already so is not written: /proc/sys may be read-only. One that cannot be written is
// reported, one that the kernel does not have is not.
func TestNetnsPrepare(t *testing.T) {
	ns := namespace(t, "pod")
	link := pair(t, ns)
	for range 2 {
		must(t, Links{}.Prepare(ns, link.Name))
	}
	must(t, onThreadIn(ns, func() error {
		for _, setting := range prepared {
			data, err := os.ReadFile("/proc/sys/net/" + fmt.Sprintf(setting, link.Name))
			if string(data) != "1\n" {
				t.Errorf("%s: %q, %v", setting, data, err)
			}
		}
		return nil
	}))
	must(t, Links{}.Prepare(ns, "none"))
	if err := (Links{}).Prepare("/none", link.Name); err == nil {
		t.Error("a namespace that is not there: no error")
	}
}
