package paths

import (
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/guest"
	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// A pod that filters strictly answers nobody beyond a network by another one. This kernel's error for
// that is one of its own.
func TestGuestStrictFilter(t *testing.T) {
	guest.Inside(t)
	a, b := newPods(t, situations["macvlan"])
	address := b.address("net0")
	for _, command := range []string{"ip addr add 172.31.9.1/32 dev net0", "ip route add " + address + " dev net0 src 172.31.9.1"} {
		a.sandbox.MustRun("sh", "-c", command)
	}
	b.sandbox.MustRun("sh", "-c", "echo 1 >/proc/sys/net/ipv4/conf/net0/rp_filter")
	query := path.Query{From: a.title, To: address}
	if a.sandbox.Ping(address) == nil {
		t.Error("an answer comes, against the filter")
	}
	b.view.MustFind(t, b.title, "warning rp-filter-strict: net0", "counters[TcpExtIPReversePathFilter]")
	d := window.Read(t, a.view, b.view).Path(query)
	check.Contains(t, "the way there", window.Way(&d.There), "net0 -child- up0 -wire- up0 -child- net0: lost", "from 172.31.9.1, as rp_filter is 1", "by eth0 (IP_RPFILTER, EXDEV)")
	// The rule that the sbr plugin would have made.
	for _, command := range []string{"ip route add default dev net0 table 100", "ip rule add from " + address + " table 100"} {
		b.sandbox.MustRun("sh", "-c", command)
	}
	check.Must(t, a.sandbox.Ping(address))
	b.view.MustBeFine(t, false, b.title)
	d = window.Read(t, a.view, b.view).Path(query)
	check.Equal(t, "the way there, after the repair", window.Way(&d.There), "net0 -child- up0 -wire- up0 -child- net0: arrives")
}
