package sriov

import (
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// In a pod whose runtime turned IPv6 off for all interfaces, the attachment and the loopback interface
// have it. What the pod takes down and up keeps its addresses. The emulated NIC hands a VF what it sent to a
// group: no address is taken for a duplicate for that.
func TestGuestPluginFlap(t *testing.T) {
	l := newLab(t)
	for _, family := range [][]string{{"10.9.0.1/24", "fd09::1/64"}, {"fd09::2/64", "fd08::2/64"}} {
		t.Run(strings.Join(family, " and "), func(t *testing.T) {
			l := &lab{t: t, cnis: l.cnis}
			before := l.snapshot()
			pod := l.netns("a")
			for _, scope := range []string{"all", "default"} {
				l.sh("ip netns exec a sh -c 'echo 1 > /proc/sys/net/ipv6/conf/" + scope + "/disable_ipv6'; ip -n a link set lo up")
			}
			config := everything(l.vf(pf0, 2), family[0]).with(conf{"mac": "02:00:00:00:0f:1a", "ipam": conf{
				"type": "static", "addresses": []conf{{"address": family[0]}, {"address": family[1]}},
			}})
			l.must(call{command: "ADD", netns: pod, ifName: "net0"}, config)
			if got := l.global(pod, "lo"); !slices.Contains(got, "::1/128") {
				t.Errorf("lo has %v", got)
			}
			want := l.global(pod, "net0")
			if !slices.Contains(want, family[0]) || !slices.Contains(want, family[1]) {
				t.Errorf("net0 has %v", want)
			}
			check.Eventually(t, "an end of the search for duplicates", patience, func() bool {
				return !strings.Contains(l.sh("ip -n a addr show dev net0"), "tentative")
			})
			l.sh("ip -n a link set net0 down; ip -n a link set net0 up")
			if got := l.global(pod, "net0"); fmt.Sprint(got) != fmt.Sprint(want) {
				t.Errorf("after down and up net0 has %v, not %v", got, want)
			}
			check.Eventually(t, "an end of the search for duplicates after that", patience, func() bool {
				return !strings.Contains(l.sh("ip -n a addr show dev net0"), "tentative")
			})
			l.must(call{command: "DEL", netns: pod, ifName: "net0"}, config)
			l.mustBe(before, "after DEL")
		})
	}
}

// global gives the addresses of an interface in a pod, but for that of its link.
func (l *lab) global(pod, name string) []string {
	l.t.Helper()
	var all []string
	for _, address := range named(l.t, l.links(pod), name).Address {
		if address.Scope != "link" {
			all = append(all, fmt.Sprintf("%s/%d", address.Local, address.Prefix))
		}
	}
	slices.Sort(all)
	return all
}
