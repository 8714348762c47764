//go:build linux

package collect_test

import (
	"fmt"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/internal/test/lab"
)

// A packet goes the way that the kernels said it would go, and is lost where they said.
func TestNetnsProbeGoesTheTracedWay(t *testing.T) {
	for name, test := range pathsOfTwoNodes {
		t.Run(name, func(t *testing.T) {
			asTraced(t, lab.New(t, twoNodes, test.script), test.query, "n1", "n2")
		})
	}
	for name, test := range pathsOfOneNode {
		t.Run(name, func(t *testing.T) {
			asTraced(t, lab.New(t, oneNode, test.script), test.query, "n1")
		})
	}
}

func asTraced(t *testing.T, l *lab.Lab, query path.Query, nodes ...string) {
	t.Helper()
	query.From = "p1"
	if query.To == "" {
		query.To = "p2"
	}
	d := l.Probe(query, "icmp", nodes...)
	t.Log(d.Probe.Lines())
	lost := &d.There
	if lost.Outcome == path.Arrives {
		lost = d.Back
	}
	if lost == nil || lost.Outcome == path.Arrives {
		passed(t, d)
		return
	}
	for _, shot := range d.Probe.Shots {
		check.Equal(t, fmt.Sprint("answered at ", shot.Size), shot.Outcome == path.Answered, false)
		if shot.Gap == nil {
			check.Equal(t, "nobody takes it", lost.Outcome, path.Leaves)
			continue
		}
		last := len(lost.Hops) - 1
		check.Equal(t, "it is lost on the way back", shot.Gap.Back, lost == d.Back)
		unresolved := shot.Gap.SeenAt == -1 && shot.Gap.MissedAt == 0 // nobody answered for the next hop, so nothing left
		if shot.Gap.SeenAt != last && shot.Gap.MissedAt != last && !unresolved {
			t.Errorf("it was seen last at hop %d, and not at %d; the kernels said that it is lost at %d", shot.Gap.SeenAt, shot.Gap.MissedAt, last)
		}
	}
}

// passed checks that what fits passed, by each hop of both ways.
func passed(t *testing.T, d *path.Document) {
	t.Helper()
	check.Equal(t, "notes", len(d.Probe.Notes), 0)
	for i, shot := range d.Probe.Shots {
		fits := d.Narrowest == nil || shot.Size <= d.Narrowest.Size
		check.Equal(t, fmt.Sprint("answered at ", shot.Size), shot.Outcome == path.Answered, fits)
		for _, way := range []*path.Way{&d.There, d.Back} {
			for _, hop := range way.Hops {
				if fits && len(hop.Probed) > 0 {
					check.Equal(t, "it was seen at "+hop.Name, hop.Probed[i].State != path.NotSeen, true)
				}
			}
		}
	}
}

// The kernel that lost a packet says why, twice in a row.
func TestNetnsProbeSaysWhy(t *testing.T) {
	for name, test := range map[string]struct{ script, place, reason string }{
		"no entry of a VTEP":             {both(vtep) + "n1 bridge fdb del 02:00:00:00:00:02 dev flannel.1 dst 192.0.2.22 self", "the kernel of n1 dropped it at flannel.1 in ", ": NO_TX_TARGET, "},
		"a rule drops what is forwarded": {both(vtep) + "n2 iptables-legacy -P FORWARD DROP", "the kernel of n2 dropped it at flannel.1 in ", ": NETFILTER_DROP, "},
		"forwarding is off":              {both(byGateway) + "n2 sysctl -qw net.ipv4.ip_forward=0", "the kernel of n2 dropped it at eth0 in ", ": IP_INADDRERRORS, "},
		"a strict filter by the way back": {
			both(byGateway) + "n2 sysctl -qw net.ipv4.conf.eth0.rp_filter=1\nn2 ip route replace 10.244.1.0/24 dev cni0", "the kernel of n2 dropped it at eth0 in ", ": IP_RPFILTER, ",
		},
	} {
		t.Run(name, func(t *testing.T) {
			l := lab.New(t, twoNodes, wire+both(onWire+podOnBridge)+test.script)
			for range 2 {
				d := l.Why(path.Query{From: "p1", To: "p2"}, "n1", "n2")
				check.Contains(t, "reason", d.Probe.Shots[0].Reason, test.place, test.reason)
				check.Equal(t, "there is advice", d.Probe.Shots[0].Do != "", true)
			}
		})
	}
}
