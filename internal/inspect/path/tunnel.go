package path

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// isTunnel reports whether packets that leave by an interface get a header around them.
func isTunnel(kind string) bool {
	return slices.Contains([]string{"vxlan", "geneve", "ipip", "sit", "gre", "gretap", "ip6tnl", "ip6gre", "ip6gretap"}, kind)
}

// overhead gives what a tunnel adds around the packet of the ends, over IPv4 or IPv6.
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
	switch {
	case link.VXLAN != nil:
		output = link.VXLAN.Lower
	case link.Tunnel != nil:
		output = link.Tunnel.Lower
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
	if link.Tunnel != nil && link.Tunnel.External || link.VXLAN != nil && link.VXLAN.External {
		return "", "", unknown("Look at ip route show, or at the program that gives them.", "%s takes the other end from a route or a program with each packet, which is not read", link.Name)
	}
	if link.VXLAN == nil {
		return t.remoteOfIP(link)
	}
	if t.mac == "" && link.Master != 0 {
		return "", "", unknown("Send something first, and ask again.", "the sender has no neighbour entry for %s yet, so that it is not known where %s sends the frame", t.next, link.Name)
	}
	if t.mac == "" {
		return "", "", lost("Whoever runs the overlay writes it; restart that on this node.", "%s has no neighbour entry for %s, so the packet has no MAC", link.Name, t.next)
	}
	for _, entry := range t.world.namespace(from).FDB {
		if entry.Index == from.Index && entry.MAC == t.mac && entry.Destination != "" {
			return link.VXLAN.Local, entry.Destination, nil
		}
	}
	if everywhere := flooded(t.world.namespace(from), from.Index); len(everywhere) > 0 {
		return link.VXLAN.Local, t.nearest(everywhere), nil
	}
	if link.VXLAN.Group != "" {
		return "", "", unknown("", "the FDB of %s does not have %s: it goes to the group %s", link.Name, t.mac, link.VXLAN.Group)
	}
	return "", "", lost("Whoever runs the overlay writes it; restart that on this node.", "the FDB of %s has no entry for %s, the MAC of %s: it drops the packet (NO_TX_TARGET)", link.Name, t.mac, t.next)
}

// flooded gives the nodes to which a VTEP sends what its FDB does not have.
func flooded(ns *inspect.Namespace, index int) (all []string) {
	for _, entry := range ns.FDB {
		if entry.Index == index && entry.MAC == "00:00:00:00:00:00" && entry.Destination != "" {
			all = append(all, entry.Destination)
		}
	}
	return all
}

// nearest gives the node, of those that all get a frame, that has its destination; else the first.
func (t *tracer) nearest(nodes []string) string {
	for _, node := range nodes {
		for _, there := range t.world.owners(node) {
			if slices.ContainsFunc(t.world.owners(t.next), func(p point) bool { return p.machine == there.machine }) {
				return node
			}
		}
	}
	return nodes[0]
}

// remoteOfIP gives the ends of a tunnel that carries IP: its own remote end, or the next hop where it has none.
func (t *tracer) remoteOfIP(link *inspect.Link) (local, remote string, err error) {
	if link.Tunnel == nil {
		return "", t.next, nil
	}
	return link.Tunnel.Local, cmp.Or(link.Tunnel.Remote, t.next), nil
}

// decapsulate takes the outer header off, at the interface of the tunnel.
func (t *tracer) decapsulate(at point) error {
	carried := t.tunnels[len(t.tunnels)-1]
	ns := t.world.namespace(at)
	link := farEnd(ns, carried.link, t.packet)
	if link == nil {
		return lost("Look at the tunnels of both ends.", "%s has no interface that takes packets of this tunnel (%s%s)", ns.Title(), carried.link.Kind, tunnelText(carried.link))
	}
	t.tunnels = t.tunnels[:len(t.tunnels)-1]
	t.packet, t.mac, t.tags = carried.packet, carried.mac, nil
	t.next = t.packet.to
	t.step = Step{Decapsulated, fmt.Sprintf("−%d bytes%s", carried.bytes, tunnelText(link))}
	return t.receive(at.beside(link.Index))
}

// farEnd finds the interface that takes the packets of a tunnel. One that names both ends comes before one
// that names none, as every namespace has once the module is loaded.
func farEnd(ns *inspect.Namespace, sender *inspect.Link, outer packet) (found *inspect.Link) {
	for i := range ns.Links {
		link := &ns.Links[i]
		if takes(link, sender, outer) && (found == nil || named(link) > named(found)) {
			found = link
		}
	}
	return found
}

// named gives how many of its ends a tunnel names.
func named(link *inspect.Link) (ends int) {
	if link.Tunnel != nil && link.Tunnel.Local != "" {
		ends++
	}
	if link.Tunnel != nil && link.Tunnel.Remote != "" {
		ends++
	}
	return ends
}

// takes reports whether one end of a tunnel takes the packets of the other.
func takes(link, sender *inspect.Link, outer packet) bool {
	switch {
	case link.Kind != sender.Kind:
		return false
	case link.VXLAN == nil || sender.VXLAN == nil:
		return link.VXLAN == sender.VXLAN && takesIP(link.Tunnel, outer)
	}
	return link.VXLAN.ID == sender.VXLAN.ID && link.VXLAN.Port == sender.VXLAN.Port && (link.VXLAN.Local == "" || link.VXLAN.Local == outer.to)
}

// takesIP reports whether a tunnel of IP is for the packet: one without ends of its own is for every one.
func takesIP(t *inspect.Tunnel, outer packet) bool {
	return t == nil || (t.Local == "" || t.Local == outer.to) && (t.Remote == "" || t.Remote == outer.from)
}
