package path

import (
	"fmt"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// hop adds an interface to the way, reached by the step that was made last.
func (t *tracer) hop(at point) {
	link, ns := t.world.link(at), t.world.namespace(at)
	hop := Hop{
		Ref: at.Ref, Node: t.world.machines[at.machine].name(), In: ns.Title(), Place: InPod, Name: link.Name, Kind: kindOf(link),
		About: about(t.world, at, link), MTU: link.MTU, Tunnels: len(t.tunnels), Step: t.step, State: Passes,
	}
	if ns.Host {
		hop.Place = InNode
	}
	for _, carried := range t.tunnels {
		hop.Overhead += carried.bytes
	}
	if len(t.tunnels) > 0 {
		hop.From, hop.To = t.packet.from, t.packet.to
	}
	if len(t.way.Hops) == 0 {
		hop.Step = Step{}
	}
	if hop.Step.Kind == Wire {
		hop.Place = AtWire
	}
	hop.Notes = rulesAt(ns, hop.Step.Kind, family(t.packet.to))
	t.way.Hops = append(t.way.Hops, hop)
	t.step = Step{}
}

// visit reports a loop.
func (t *tracer) visit(at point, sending bool) error {
	v := visit{at, t.packet.to, len(t.tunnels), sending}
	if t.seen[v] || len(t.way.Hops) > maxHops {
		return lost("Look at the routes of "+t.world.namespace(at).Title()+".", "it goes round: it comes to %s a second time", t.world.link(at).Name)
	}
	t.seen[v] = true
	return nil
}

// addAbout adds a fact to the last hop.
func (t *tracer) addAbout(text string) {
	last := &t.way.Hops[len(t.way.Hops)-1]
	if !slices.Contains(last.About, text) {
		last.About = append(last.About, text)
	}
}

func kindOf(link *inspect.Link) string {
	switch {
	case link.Device != nil && link.Device.VF != nil:
		return "VF"
	case link.Name == "lo":
		return "loopback"
	case link.Kind == "":
		return "device"
	}
	return link.Kind
}

// about gives the facts of an interface that a packet's way depends on.
func about(w *World, at point, link *inspect.Link) []string {
	var facts []string
	for _, address := range link.Addresses {
		if address.Scope != "link" {
			facts = append(facts, address.Address)
		}
	}
	switch {
	case link.VXLAN != nil:
		facts = append(facts, fmt.Sprintf("VNI %d, UDP %d", link.VXLAN.ID, link.VXLAN.Port))
	case link.VLAN != 0:
		facts = append(facts, fmt.Sprintf("VLAN %d", link.VLAN))
	case link.Mode != "":
		facts = append(facts, "mode "+link.Mode)
	case link.Device != nil && link.Device.VF != nil:
		facts = append(facts, "VF "+vfText(link))
	}
	if master := w.link(at.beside(link.Master)); master != nil {
		facts = append(facts, masterText(master))
	}
	return facts
}

func masterText(master *inspect.Link) string {
	switch master.Kind {
	case "bridge":
		return "port of " + master.Name
	case "vrf":
		return fmt.Sprintf("VRF %s, table %d", master.Name, master.Table)
	}
	return "member of " + master.Name
}

func vfText(link *inspect.Link) string {
	if link.Device == nil || link.Device.VF == nil {
		return "?"
	}
	return fmt.Sprintf("%d of %s", *link.Device.VF, link.Device.PF)
}

// rulesAt says which rules may drop or change a packet that a namespace routes: they cannot be asked.
func rulesAt(ns *inspect.Namespace, step StepKind, version int) []string {
	if step != Routed {
		return nil
	}
	var notes []string
	if tables := tablesFor(ns.Netfilter.NFT, version); len(tables) > 0 {
		notes = append(notes, "rules of nftables may drop or change it ("+strings.Join(tables, ", ")+"); see nft list ruleset")
	}
	if tables := tablesFor(ns.Netfilter.Legacy, version); len(tables) > 0 {
		notes = append(notes, "rules of legacy iptables may drop or change it ("+strings.Join(tables, ", ")+"); nft does not show them: see iptables-legacy -L -v -n")
	}
	return notes
}

func tagText(tags []int) string {
	if len(tags) == 0 {
		return "no VLAN"
	}
	var text []string
	for _, tag := range slices.Backward(tags) {
		text = append(text, fmt.Sprint(tag))
	}
	return "VLAN " + strings.Join(text, ".")
}

// tablesFor gives the tables that see packets of a family, which the first word of a table says.
func tablesFor(tables []string, version int) []string {
	other := map[int]string{4: "ip6 ", 6: "ip "}[version]
	return slices.DeleteFunc(slices.Clone(tables), func(table string) bool { return strings.HasPrefix(table, other) || strings.HasPrefix(table, "arp ") })
}
