package path

import (
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// wire is a frame that leaves a node: it comes to the node whose interface has its destination.
func (t *tracer) wire(from point) error {
	t.way.Hops[len(t.way.Hops)-1].Place = AtWire
	owner, others := t.destination(from)
	if len(others) > 0 && t.mac != "" {
		other := t.world.link(others[0])
		return unknown("Delete the entry: ip neigh del "+t.next+".", "the sender's neighbour entry of %s has the MAC %s, and %s, which has the address, has %s", t.next, t.mac, other.Name, other.MAC)
	}
	if owner == nil {
		return leaves("it leaves %s for %s, which is on none of the nodes that were read", t.world.machines[from.machine].name(), t.target())
	}
	bottom, tags, found := t.bottom(*owner)
	if tags == nil && found {
		tags = t.tags // a bridge there decides
	}
	if !found {
		return leaves("it leaves %s for %s, and how that comes off a wire is not known", t.world.machines[from.machine].name(), t.target())
	}
	if !slices.Equal(tags, t.tags) {
		return lost("Look at the VLANs of both ends.", "it leaves %s with %s, and %s takes %s", t.world.link(from).Name, tagText(t.tags), t.world.link(*owner).Name, tagText(tags))
	}
	t.mac = t.world.link(*owner).MAC
	t.step = Step{Wire, "to " + t.next}
	if text := tagText(t.tags); len(t.tags) > 0 {
		t.step.Text += ", with " + text
	}
	err := t.receive(bottom)
	return err
}

// destination finds the interface elsewhere that a frame is for: by its MAC, or by the address if
// that is not resolved. The second value are those that have the address, and another MAC.
func (t *tracer) destination(from point) (*point, []point) {
	var others []point
	for _, owner := range t.world.owners(t.next) {
		link := t.world.link(owner)
		switch {
		case owner.machine == from.machine && owner.Namespace == from.Namespace:
		case t.mac == "" || link.MAC == t.mac:
			return &owner, nil
		default:
			others = append(others, owner)
		}
	}
	return nil, others
}

// bottom goes from an interface down to the one at a wire, and gives the VLANs on the way, the
// outer one last. They are nil behind a bridge, whose ports decide for each VLAN.
func (t *tracer) bottom(at point) (bottom point, tags []int, found bool) {
	tags = []int{}
	switched := false
	defer func() {
		if switched {
			tags = nil
		}
	}()
	for range maxHops {
		link := t.world.link(at)
		if link == nil {
			return at, nil, false
		}
		switch {
		case link.Kind == "vlan":
			tags = append(tags, link.VLAN)
			fallthrough
		case inspect.IsChild(link.Kind):
			if link.Link == nil {
				return at, nil, false
			}
			at = at.on(*link.Link)
		case link.Device != nil && link.Device.VF != nil:
			pf, vlan, ok := t.pf(at)
			if !ok {
				return at, tags, true
			}
			if at = pf; vlan != 0 {
				tags = append(tags, vlan)
			}
			return at, tags, true
		case link.Kind == "bond" || link.Kind == "team" || link.Kind == "bridge":
			member, ok := t.outward(at)
			switched = switched || link.Kind == "bridge"
			if !ok {
				return at, nil, false
			}
			at = member
		case inspect.IsPair(link.Kind) && link.Link != nil && t.world.link(at.on(*link.Link)) != nil:
			peer := at.on(*link.Link)
			at = peer.beside(t.world.link(peer).Master)
		case isTunnel(link.Kind) || userSpace(link.Kind) != "" || link.Kind == "dummy" || link.Name == "lo":
			return at, nil, false
		default:
			return at, tags, true
		}
	}
	return at, nil, false
}

// outward gives the member of a bridge or bond that leads out of the node.
func (t *tracer) outward(at point) (point, bool) {
	active := t.world.link(at).ActiveSlave
	var first *inspect.Link
	for _, member := range t.world.machines[at.machine].graph.PortsOf(at.Ref) {
		peer := member.Link != nil && t.world.link(at.on(*member.Link)) != nil
		if inspect.IsPair(member.Kind) && peer || !member.Up || isTunnel(member.Kind) {
			continue
		}
		if first == nil || member.Index == active {
			first = member
		}
	}
	if first == nil {
		return at, false
	}
	return at.beside(first.Index), true
}
