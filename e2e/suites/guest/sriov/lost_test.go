package sriov

import (
	"fmt"
	"os"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// An interface in a namespace that only an open file keeps can be found by nobody. DEL says so, and
// sets back what the PF keeps; once the file is closed, the next one does the rest.
func TestGuestPluginLostInterface(t *testing.T) {
	l := newLab(t)
	before := l.snapshot()
	pod := l.netns("a")
	config := everything(l.vf(pf0, 1), "10.9.0.1/24").with(hostLocal())
	l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
	l.netns("held")
	file, err := os.Open("/run/netns/held")
	check.Must(t, err)
	l.sh("ip -n a link set net0 netns held && ip netns del held")
	l.refused(call{command: "DEL", netns: pod, ifName: "net0"}, config, 100, "is in no network namespace that can be found")
	was := before.PF["pf0"][1]
	now := l.settings("pf0")[1]
	for _, key := range []string{"vlan_list", "trust", "spoofchk", "rate"} {
		if fmt.Sprint(now[key]) != fmt.Sprint(was[key]) {
			t.Errorf("%s: the PF keeps %v, before it was %v", key, now[key], was[key])
		}
	}
	check.Must(t, file.Close())
	l.netdev(l.vf(pf0, 1))
	l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
	l.mustBe(before, "after the file was closed, and DEL")
}
