package path

import (
	"fmt"
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// isTunnel reports whether packets that leave by an interface get a header around them.
func isTunnel(kind string) bool {
	return slices.Contains([]string{"vxlan", "geneve", "ipip", "sit", "gre", "gretap", "ip6tnl", "ip6gre", "ip6gretap"}, kind)
}

// bytes are what a tunnel adds around the packet of the ends, over IPv4 or IPv6.
func overhead(kind string, family int) int {
	outer := map[int]int{4: 20, 6: 40}[family]
	switch kind {
	case "vxlan", "geneve":
		return outer + 8 + 8 + 14 // UDP, the tunnel's own header, and the inner frame's
	case "gre", "ip6gre":
		return outer + 4
	case "gretap", "ip6gretap":
		return outer + 4 + 14
	}
	return outer
}

// encapsulate puts a header around the packet, and has the node's routing send that.
func (t *tracer) encapsulate(from point, link *inspect.Link) error {
	local, remote, err := t.remote(from, link)
	if err != nil {
		return err
	}
	carried := tunnel{packet: t.packet, mac: t.mac, link: link, bytes: overhead(link.Kind, family(remote))}
	output := 0
	if link.VXLAN != nil {
		output = link.VXLAN.Lower
	}
	t.tunnels = append(t.tunnels, carried)
	t.packet, t.tags = packet{from: local, to: remote}, nil
	answer, err := t.ask(from, inspect.Question{To: remote, From: local, Output: output})
	if err != nil {
		return err
	}
	if answer.Route == nil {
		return t.refused(from, answer)
	}
	if t.packet.from == "" {
		t.packet.from = answer.Route.Source
	}
	out := from.beside(answer.Route.Index)
	if t.world.link(out) == nil {
		return unknown("Take a new snapshot.", "the packet of the tunnel leaves by the interface of index %d, which came after the snapshot was taken", answer.Route.Index)
	}
	t.next = remote
	if answer.Route.Via != "" {
		t.next = answer.Route.Via
	}
	t.step = Step{Encapsulated, fmt.Sprintf("+%d bytes: %s → %s%s", carried.bytes, t.packet.from, remote, tunnelText(link))}
	t.hop(out)
	t.addAbout(describeRoute(answer, t.world.link(out).Name))
	return t.transmit(out)
}

func tunnelText(link *inspect.Link) string {
	if link.VXLAN == nil {
		return ", " + link.Kind
	}
	return fmt.Sprintf(", UDP %d, VNI %d", link.VXLAN.Port, link.VXLAN.ID)
}

// remote gives both ends of the tunnel for a packet.
func (t *tracer) remote(from point, link *inspect.Link) (local, remote string, err error) {
	if link.VXLAN == nil {
		return t.remoteOfIP(link)
	}
	if t.mac == "" {
		return "", "", lost("Whoever runs the overlay writes it; restart that on this node.", "%s has no neighbour entry for %s, so the packet has no MAC", link.Name, t.next)
	}
	for _, entry := range t.world.namespace(from).FDB {
		if entry.Index == from.Index && entry.MAC == t.mac && entry.Destination != "" {
			return link.VXLAN.Local, entry.Destination, nil
		}
	}
	for _, entry := range t.world.namespace(from).FDB {
		if entry.Index == from.Index && entry.MAC == "00:00:00:00:00:00" && entry.Destination != "" {
			return link.VXLAN.Local, entry.Destination, nil
		}
	}
	if link.VXLAN.Group != "" {
		return "", "", unknown("", "the FDB of %s does not have %s: it goes to the group %s", link.Name, t.mac, link.VXLAN.Group)
	}
	return "", "", lost("Whoever runs the overlay writes it; restart that on this node.", "the FDB of %s has no entry for %s, the MAC of %s: it drops the packet (NO_TX_TARGET)", link.Name, t.mac, t.next)
}

// remoteOfIP gives the ends of a tunnel that carries IP: its own remote end, or the next hop where it has none.
func (t *tracer) remoteOfIP(*inspect.Link) (local, remote string, err error) {
	return "", t.next, nil
}

// decapsulate takes the outer header off, at the interface of the tunnel.
func (t *tracer) decapsulate(at point) error {
	carried := t.tunnels[len(t.tunnels)-1]
	ns := t.world.namespace(at)
	for i := range ns.Links {
		link := &ns.Links[i]
		if !takes(link, carried.link, t.packet) {
			continue
		}
		t.tunnels = t.tunnels[:len(t.tunnels)-1]
		t.packet, t.mac, t.tags = carried.packet, carried.mac, nil
		t.next = t.packet.to
		t.step = Step{Decapsulated, fmt.Sprintf("−%d bytes%s", carried.bytes, tunnelText(link))}
		if !link.Up {
			t.hop(at.beside(link.Index))
			return lost("Set it up: ip link set "+link.Name+" up.", "%s of %s is down", link.Name, ns.Title())
		}
		return t.receive(at.beside(link.Index))
	}
	return lost("Look at the tunnels of both ends.", "%s has no interface that takes packets of this tunnel (%s%s)", ns.Title(), carried.link.Kind, tunnelText(carried.link))
}

// takes reports whether one end of a tunnel takes the packets of the other.
func takes(link, sender *inspect.Link, outer packet) bool {
	switch {
	case link.Kind != sender.Kind:
		return false
	case link.VXLAN == nil || sender.VXLAN == nil:
		return link.VXLAN == sender.VXLAN
	}
	return link.VXLAN.ID == sender.VXLAN.ID && link.VXLAN.Port == sender.VXLAN.Port && (link.VXLAN.Local == "" || link.VXLAN.Local == outer.to)
}
