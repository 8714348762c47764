package path

import (
	"fmt"
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// bridge is a frame in a bridge: from one of its ports, or from the bridge's own interface if the
// index of the port is 0.
func (t *tracer) bridge(bridge point, from int) error {
	link := t.world.link(bridge)
	if from != 0 {
		if err := t.enter(bridge, link, from); err != nil {
			return err
		}
	} else if own := ownPVID(link); own != 0 && len(t.tags) == 0 {
		t.tags = append(t.tags, own)
	}
	if text, own := t.forBridge(bridge, link, from); own {
		t.step = Step{Bridged, text}
		t.hop(bridge)
		if child, found := t.child(bridge); found {
			return t.receive(child)
		}
		return t.stack(bridge, link)
	}
	if from != 0 {
		t.step = Step{Bridged, "port of " + link.Name}
		t.hop(bridge)
	}
	port, text, err := t.port(bridge, link, from)
	if err != nil && from != 0 && t.mac == "" {
		return t.unanswered(bridge, link, err)
	}
	if err != nil {
		return err
	}
	if in := t.world.link(bridge.beside(from)); from != 0 && isolated(in) && isolated(port) {
		return lost("Take the flag off one: bridge link set dev "+port.Name+" isolated off.", "the ports %s and %s of %s are isolated from each other", in.Name, port.Name, link.Name)
	}
	return t.leave(bridge, link, port, text)
}

// enter checks the port by which a frame comes into a bridge, and gives it the port's VLAN.
func (t *tracer) enter(bridge point, link *inspect.Link, from int) error {
	port := t.world.link(bridge.beside(from))
	if !link.Up {
		return lost("Set it up: ip link set "+link.Name+" up.", "the bridge %s is down", link.Name)
	}
	if port.Port == nil || port.Port.State != "forwarding" && port.Port.State != "" {
		return lost("Look at bridge link show dev "+port.Name+".", "the port %s of %s does not forward", port.Name, link.Name)
	}
	if link.Bridge == nil || !link.Bridge.VLANFiltering {
		return nil
	}
	if len(t.tags) == 0 {
		if pvid(port) == 0 {
			return lost("Add one: bridge vlan add vid N pvid untagged dev "+port.Name+".", "the port %s of %s takes no frames without a tag", port.Name, link.Name)
		}
		t.tags = append(t.tags, pvid(port))
	}
	if !carries(port, t.tags[len(t.tags)-1]) {
		return lost("Add it: bridge vlan add vid "+fmt.Sprint(t.tags[len(t.tags)-1])+" dev "+port.Name+".", "the port %s of %s takes no frames of VLAN %d", port.Name, link.Name, t.tags[len(t.tags)-1])
	}
	return nil
}

// pvid gives the VLAN of frames without a tag, 0 if the port takes none.
func pvid(port *inspect.Link) int {
	if port.Port != nil {
		for _, vlan := range port.Port.VLANs {
			if vlan.PVID {
				return vlan.ID
			}
		}
	}
	return 0
}

func carries(port *inspect.Link, vlan int) bool {
	return port.Port != nil && slices.ContainsFunc(port.Port.VLANs, func(v inspect.PortVLAN) bool { return v.ID == vlan })
}

// forBridge reports whether a frame from a port is for the bridge's own interface, says why, and takes its VLAN's tag off.
// The kernel takes the MAC of the port that it comes in by for the bridge's, and not those of other ports.
func (t *tracer) forBridge(bridge point, link *inspect.Link, from int) (text string, own bool) {
	switch {
	case from == 0:
		return "", false
	case t.isOfBridge(bridge, link):
		text = "the bridge's own MAC"
	case t.mac != "" && t.world.link(bridge.beside(from)).MAC == t.mac:
		text, t.mac = "the MAC of its port", link.MAC
	default:
		return "", false
	}
	if own := ownPVID(link); own != 0 && len(t.tags) > 0 && t.tags[len(t.tags)-1] == own {
		t.tags = t.tags[:len(t.tags)-1]
	}
	return text, true
}

// ownPVID gives the VLAN of what the node itself sends by a bridge without a tag, 0 if it filters none.
func ownPVID(link *inspect.Link) int {
	if link.Bridge == nil || !link.Bridge.VLANFiltering {
		return 0
	}
	for _, vlan := range link.Bridge.VLANs {
		if vlan.PVID {
			return vlan.ID
		}
	}
	if len(link.Bridge.VLANs) == 0 {
		return link.Bridge.DefaultPVID // the snapshot does not have its own VLANs
	}
	return 0
}

// isOfBridge reports whether a frame is for the bridge's own interface, or for a macvlan on it.
func (t *tracer) isOfBridge(bridge point, link *inspect.Link) bool {
	own := link.MAC == t.mac
	if t.mac == "" {
		own = answersFor(t.world.namespace(bridge), link, t.next)
	}
	return own || slices.ContainsFunc(t.world.children(bridge), func(child point) bool {
		return isMacvlan(t.world.link(child).Kind) && t.isFor(child)
	})
}

// port finds the port that a frame leaves a bridge by: as the FDB says, or else where the
// destination is seen to be. A frame that the FDB does not know goes to every port.
func (t *tracer) port(bridge point, link *inspect.Link, from int) (*inspect.Link, string, error) {
	ports := slices.DeleteFunc(t.world.machines[bridge.machine].graph.PortsOf(bridge.Ref), func(p *inspect.Link) bool { return p.Index == from && !hairpin(p) })
	if t.mac != "" {
		for _, entry := range t.world.namespace(bridge).FDB {
			i := slices.IndexFunc(ports, func(p *inspect.Link) bool { return p.Index == entry.Index })
			if i >= 0 && entry.MAC == t.mac && (entry.Master == bridge.Index || entry.Master == 0 && !entry.Self) && t.inVLAN(entry) {
				return ports[i], "the FDB has " + t.mac + " at this port", nil
			}
		}
	}
	var uplinks []*inspect.Link
	for _, p := range ports {
		switch reaches, uplink := t.behind(bridge.beside(p.Index)); {
		case reaches:
			return p, t.next + " is behind this port", nil
		case uplink:
			uplinks = append(uplinks, p)
		}
	}
	if i := slices.IndexFunc(uplinks, func(p *inspect.Link) bool { return t.leadsTo(bridge.beside(p.Index), map[point]bool{bridge: true}) }); i >= 0 {
		return uplinks[i], fmt.Sprintf("sent to every port: the FDB does not have %s; behind this one it is", t.target()), nil
	}
	if len(uplinks) > 0 {
		return uplinks[0], fmt.Sprintf("sent to every port: the FDB does not have %s; these lead out: %s", t.target(), names(uplinks)), nil
	}
	return nil, "", lost("Look at bridge link and bridge fdb show br "+link.Name+".", "no port of %s leads to %s", link.Name, t.target())
}

func hairpin(port *inspect.Link) bool { return port.Port != nil && port.Port.Hairpin }

func isolated(port *inspect.Link) bool { return port.Port != nil && port.Port.Isolated }

func (t *tracer) inVLAN(entry inspect.FDBEntry) bool {
	return entry.VLAN == 0 || len(t.tags) == 0 || entry.VLAN == t.tags[len(t.tags)-1]
}

// target names the frame's destination.
func (t *tracer) target() string {
	if t.mac == "" {
		return t.next
	}
	return t.next + " (" + t.mac + ")"
}

// behind reports whether the destination is the other end of a port, and whether the port leads
// to what no Snapshot has.
func (t *tracer) behind(port point) (reaches, uplink bool) {
	link := t.world.link(port)
	if !inspect.IsPair(link.Kind) {
		return false, true
	}
	if link.Link == nil || t.world.link(port.on(*link.Link)) == nil {
		return false, true
	}
	peer := port.on(*link.Link)
	other := t.world.link(peer)
	if t.mac != "" {
		return other.MAC == t.mac, other.Master != 0
	}
	return answersFor(t.world.namespace(peer), other, t.next) && other.Master == 0, other.Master != 0
}

// leadsTo reports whether the destination is behind a port, by further bridges.
func (t *tracer) leadsTo(port point, seen map[point]bool) bool {
	link := t.world.link(port)
	if !inspect.IsPair(link.Kind) || link.Link == nil || t.world.link(port.on(*link.Link)) == nil {
		return false
	}
	peer := port.on(*link.Link)
	next := peer.beside(t.world.link(peer).Master)
	if next.Index == 0 || seen[next] || t.kind(next) != "bridge" {
		return false
	}
	seen[next] = true
	if t.isOfBridge(next, t.world.link(next)) {
		return true
	}
	return slices.ContainsFunc(t.world.machines[next.machine].graph.PortsOf(next.Ref), func(p *inspect.Link) bool {
		reaches, _ := t.behind(next.beside(p.Index))
		return reaches || t.leadsTo(next.beside(p.Index), seen)
	})
}

// leave sends a frame by a port.
func (t *tracer) leave(bridge point, link, port *inspect.Link, text string) error {
	if link.Bridge != nil && link.Bridge.VLANFiltering && len(t.tags) > 0 {
		vlan := t.tags[len(t.tags)-1]
		if !carries(port, vlan) {
			return lost("Add it: bridge vlan add vid "+fmt.Sprint(vlan)+" dev "+port.Name+".", "the port %s of %s is not in VLAN %d", port.Name, link.Name, vlan)
		}
		if slices.ContainsFunc(port.Port.VLANs, func(v inspect.PortVLAN) bool { return v.ID == vlan && v.Untagged }) {
			t.tags = t.tags[:len(t.tags)-1]
		}
	}
	if port.Port != nil && port.Port.State != "" && port.Port.State != "forwarding" {
		return lost("Look at bridge link show dev "+port.Name+".", "the port %s of %s is %s", port.Name, link.Name, port.Port.State)
	}
	t.step = Step{Bridged, text}
	out := bridge.beside(port.Index)
	t.hop(out)
	return t.send(out)
}
