package paths

import (
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/e2e/harness/window"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// A DROP of legacy iptables where nft shows an empty ruleset: nobody can ask it, so it must be said that it
// is there. This needs no guest, whose image has no legacy iptables.
func TestE2ELegacyRules(t *testing.T) {
	a, b := newPods(t, situations["ptp"])
	check.Equal(t, "what nft shows", strings.TrimSpace(b.Run("nft", "list", "ruleset")), "")
	query := path.Query{From: a.title, To: b.title, Interface: "net0"}
	b.Run("iptables-legacy", "-A", "FORWARD", "-j", "DROP")
	if a.sandbox.Ping(b.address("net0")) == nil {
		t.Error("an answer comes, against the rule")
	}
	b.view.MustFind(t, b.title, "legacy-iptables", "legacy iptables has rules in ip filter", "nft does not show")
	d := window.Read(t, a.view, b.view).Path(query)
	check.Equal(t, "the way there", window.Way(&d.There), a.wayTo(b, "net0"))
	check.Contains(t, "what cannot be asked", strings.Join(window.Notes(&d.There, "node2"), "; "), b.hostEnd("net0")+": rules of legacy iptables may drop or change it (ip filter)")
	check.Equal(t, "what cannot be asked on the other node", len(window.Notes(&d.There, "node1")), 0)
	b.Run("iptables-legacy", "-D", "FORWARD", "-j", "DROP")
	check.Must(t, a.sandbox.Ping(b.address("net0")))
	b.view.MustBeFine(t, false, b.title)
	d = window.Read(t, a.view, b.view).Path(query)
	check.Equal(t, "what cannot be asked after the repair", len(window.Notes(&d.There, "node2")), 0)
}
