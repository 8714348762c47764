package path

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// send is a frame that leaves an interface: to its other end, to what carries it, or to a wire.
func (t *tracer) send(from point) error {
	if err := t.visit(from, true); err != nil {
		return err
	}
	link := t.world.link(from)
	if program := programAt(link, "egress"); program != "" {
		return t.handed(from, program)
	}
	switch {
	case inspect.IsPair(link.Kind):
		return t.sendPair(from, link)
	case isMacvlan(link.Kind):
		return t.sendMacvlan(from, link)
	case isIPVlan(link.Kind):
		return t.sendIPVlan(from, link)
	case link.Kind == "vlan":
		t.tags = append(t.tags, link.VLAN)
		return t.sendChild(from, link, fmt.Sprintf("tagged with VLAN %d", link.VLAN))
	case link.Kind == "bond" || link.Kind == "team":
		return t.sendBond(from)
	case link.Kind == "bridge":
		return t.bridge(from, 0)
	case isTunnel(link.Kind):
		return t.encapsulate(from, link)
	case link.Kind == "dummy":
		return lost("", "%s is a dummy: it drops what it is given", link.Name)
	case userSpace(link.Kind) != "":
		return t.handed(from, program(link))
	case link.Device != nil && link.Device.VF != nil:
		return t.sendVF(from, link)
	}
	return t.wire(from)
}

// userSpace says what a kind of interface hands its packets to, that no kernel can be asked about.
func userSpace(kind string) string {
	switch kind {
	case "tun", "tuntap", "tap":
		return "a program in user space, which has this interface open"
	case "wireguard":
		return "WireGuard, whose peers are not read"
	case "openvswitch":
		return "Open vSwitch, whose flows are not read"
	}
	return ""
}

// programAt names the BPF program that has each packet of an interface in a direction: it may drop it,
// change it or send it elsewhere. Those of a netkit have it in both.
func programAt(link *inspect.Link, directions ...string) string {
	for _, program := range link.Programs {
		for _, direction := range append(directions, "netkit") {
			if strings.Contains(program.At, direction) {
				return fmt.Sprintf("the BPF program %s (ID %d, %s)", cmp.Or(program.Name, "without a name"), program.ID, program.At)
			}
		}
	}
	return ""
}

// listener names the program that takes frames off an interface by a packet socket, where nobody
// else does: no bridge has it, no child, and no address.
func (t *tracer) listener(at point) string {
	link := t.world.link(at)
	if link.Master != 0 || len(link.Addresses) > 0 && !linkLocal(link) || len(t.world.children(at)) > 0 {
		return ""
	}
	for _, socket := range t.world.namespace(at).Packets {
		if socket.Index == at.Index && socket.Protocol != 0 {
			return "a packet socket of " + cmp.Or(socket.Program, "a program in user space")
		}
	}
	return ""
}

// linkLocal reports whether an interface has no address but those of the link alone.
func linkLocal(link *inspect.Link) bool {
	return !slices.ContainsFunc(link.Addresses, func(a inspect.Address) bool { return a.Scope != "link" })
}

// program names what has the other end of an interface of user space.
func program(link *inspect.Link) string {
	if link.Tun != nil && link.Tun.Program != "" {
		return link.Tun.Program + ", in user space"
	}
	return userSpace(link.Kind)
}

// handed ends a way at what cannot be asked.
func (t *tracer) handed(at point, to string) error {
	link := t.world.link(at)
	return unknown("Look for it there, or at the far end: no kernel can be asked what becomes of it.", "%s hands it to %s", link.Name, to)
}

// sendPair gives the frame to the other end.
func (t *tracer) sendPair(from point, link *inspect.Link) error {
	if link.Link == nil || t.world.link(from.on(*link.Link)) == nil {
		return t.wire(from)
	}
	t.step = Step{Pair, link.Kind + " pair"}
	return t.receive(from.on(*link.Link))
}

// sendChild gives the frame to what carries it, which sends it on.
func (t *tracer) sendChild(from point, link *inspect.Link, text string) error {
	if link.Link == nil || t.world.link(from.on(*link.Link)) == nil {
		return unknown("", "the parent of %s is in a namespace that is not in the snapshot", link.Name)
	}
	parent := from.on(*link.Link)
	t.step = Step{Child, text}
	t.hop(parent)
	if up := t.world.link(parent); !up.Up || !up.Carrier {
		return lost("Look at "+up.Name+" on the node.", "%s, the parent of %s, is down or has no carrier", up.Name, link.Name)
	}
	return t.send(parent)
}

// sendMacvlan gives the frame to a sibling in mode bridge, else to the parent.
func (t *tracer) sendMacvlan(from point, link *inspect.Link) error {
	if link.Link == nil {
		return t.sendChild(from, link, "")
	}
	parent := from.on(*link.Link)
	if up := t.world.link(parent); up != nil && (t.mac != "" && t.mac == up.MAC || hasAddress(up, t.next)) {
		return lost("Reach the node by another network.", "%s and its own macvlan children never reach each other", up.Name)
	}
	sibling, found := t.sibling(from, parent)
	switch {
	case found && link.Mode == "bridge":
		t.step = Step{Child, "mode bridge"}
		t.hop(parent)
		t.step = Step{Child, "a sibling on the same parent: the frame does not leave it"}
		return t.receive(sibling)
	case found && link.Mode != "vepa":
		return lost("Use mode bridge.", "%s is in mode %s, which keeps siblings of one parent apart", link.Name, link.Mode)
	}
	return t.sendChild(from, link, "parent, mode "+link.Mode)
}

// sibling finds the child of the same parent that a frame is for.
func (t *tracer) sibling(from, parent point) (point, bool) {
	for _, child := range t.world.children(parent) {
		link := t.world.link(child)
		if child == from || link.Kind != t.world.link(from).Kind {
			continue
		}
		byMAC := !isIPVlan(link.Kind) && t.mac != ""
		if byMAC && link.MAC == t.mac || !byMAC && hasAddress(link, t.next) {
			return child, true
		}
	}
	return point{}, false
}

// sendIPVlan gives the packet to a sibling, by its address, or to the parent. In the modes of
// layer 3 the parent's namespace routes it.
func (t *tracer) sendIPVlan(from point, link *inspect.Link) error {
	if link.Link == nil || t.world.link(from.on(*link.Link)) == nil {
		return t.sendChild(from, link, "")
	}
	parent := from.on(*link.Link)
	t.step = Step{Child, "mode " + link.Mode}
	if link.Mode == "l2" {
		if sibling, found := t.sibling(from, parent); found {
			t.hop(parent)
			t.step = Step{Child, "a sibling on the same parent: the frame does not leave it"}
			return t.receive(sibling)
		}
		if up := t.world.link(parent); hasAddress(up, t.next) {
			return lost("Reach the node by another network.", "%s and its own ipvlan children never reach each other", up.Name)
		}
		return t.sendChild(from, link, "parent, mode l2")
	}
	t.next = t.packet.to
	if sibling, found := t.sibling(from, parent); found {
		t.hop(parent)
		t.step = Step{Child, "a sibling on the same parent: the packet does not leave it"}
		return t.receive(sibling)
	}
	return t.routeByParent(parent)
}

// routeByParent asks the routing of the parent's namespace, for the parent alone. The kernel would refuse
// a question with the source, which is not that namespace's.
func (t *tracer) routeByParent(parent point) error {
	answer, err := t.ask(parent, inspect.Question{To: t.packet.to, Output: parent.Index, Mark: t.packet.mark})
	if err != nil {
		return err
	}
	t.hop(parent)
	if answer.Route == nil {
		return t.refused(parent, answer)
	}
	t.next = t.packet.to
	if answer.Route.Via != "" {
		t.next = answer.Route.Via
	}
	t.addAbout(describeRoute(answer, t.world.link(parent).Name))
	return t.transmit(parent)
}

// sendBond gives the frame to the member that is active, or to the first that can send.
func (t *tracer) sendBond(from point) error {
	var members []*inspect.Link
	for _, member := range t.world.machines[from.machine].graph.PortsOf(from.Ref) {
		if member.Up && member.Carrier {
			members = append(members, member)
		}
	}
	if len(members) == 0 {
		return lost("Look at its members: ip link show master "+t.world.link(from).Name+".", "no member of %s can send", t.world.link(from).Name)
	}
	member := members[0]
	text := "member of " + t.world.link(from).Name
	if i := slices.IndexFunc(members, func(m *inspect.Link) bool { return m.Index == t.world.link(from).ActiveSlave }); i >= 0 {
		member, text = members[i], "active member of "+t.world.link(from).Name
	} else if len(members) > 1 {
		text = fmt.Sprintf("one of the %d members of %s: %s", len(members), t.world.link(from).Name, names(members))
	}
	t.step = Step{Child, text}
	t.hop(from.beside(member.Index))
	return t.send(from.beside(member.Index))
}

func names(links []*inspect.Link) string {
	var all []string
	for _, link := range links {
		all = append(all, link.Name)
	}
	return strings.Join(all, ", ")
}

// receive is a frame that comes in by an interface: for its bridge, its bond, a child of it, or
// the namespace's own stack.
func (t *tracer) receive(at point) error {
	if err := t.visit(at, false); err != nil {
		return err
	}
	t.hop(at)
	link := t.world.link(at)
	if !link.Up {
		return t.down(at)
	}
	if program := cmp.Or(programAt(link, "ingress", "xdp"), t.listener(at)); program != "" {
		return t.handed(at, program)
	}
	master := at.beside(link.Master)
	if kind := t.kind(master); link.Master != 0 {
		switch kind {
		case "bridge":
			return t.bridge(master, at.Index)
		case "bond", "team":
			t.step = Step{Child, "member"}
			return t.receive(master)
		case "openvswitch", "":
			return t.handed(at, "Open vSwitch, whose flows are not read")
		}
	}
	if child, found := t.child(at); found {
		return t.receive(child)
	}
	if vf, found := t.vfOf(at); found {
		return t.receive(vf)
	}
	return t.stack(at, link)
}

func (t *tracer) kind(p point) string {
	if link := t.world.link(p); link != nil {
		return link.Kind
	}
	return ""
}

// child finds the child of an interface that a frame is for, by its tag or its MAC.
func (t *tracer) child(at point) (point, bool) {
	for _, child := range t.world.children(at) {
		link := t.world.link(child)
		switch {
		case link.Kind == "vlan" && len(t.tags) > 0 && t.tags[len(t.tags)-1] == link.VLAN:
			t.tags = t.tags[:len(t.tags)-1]
			t.step = Step{Child, fmt.Sprintf("VLAN %d", link.VLAN)}
			return child, true
		case isMacvlan(link.Kind) && len(t.tags) == 0 && (t.mac != "" && link.MAC == t.mac || t.mac == "" && hasAddress(link, t.next)):
			t.step = Step{Child, "its MAC"}
			return child, true
		case isIPVlan(link.Kind) && len(t.tags) == 0 && hasAddress(link, t.packet.to):
			t.step = Step{Child, "its address"}
			return child, true
		}
	}
	return point{}, false
}

// stack is a frame that came to the stack of a namespace: if it is for it, the routing has it.
func (t *tracer) stack(at point, link *inspect.Link) error {
	ns := t.world.namespace(at)
	if len(t.tags) > 0 {
		return lost("Look at the VLANs of both ends.", "it comes to %s of %s with the tag of VLAN %d, which no interface there has", link.Name, ns.Title(), t.tags[len(t.tags)-1])
	}
	if err := t.accepts(at, link, ns); err != nil {
		return err
	}
	input := at.Index
	if t.kind(at.beside(link.Master)) == "vrf" {
		input = link.Master
	}
	return t.route(at, input, 0)
}

// bridgeOf names the bridge of a namespace that has a MAC, "" for none.
func bridgeOf(ns *inspect.Namespace, mac string) string {
	for i := range ns.Links {
		if ns.Links[i].Kind == "bridge" && ns.Links[i].MAC == mac {
			return ns.Links[i].Name
		}
	}
	return ""
}

// accepts reports a frame that the receiver drops, or never gets as it answers no ARP request for it.
func (t *tracer) accepts(at point, link *inspect.Link, ns *inspect.Namespace) error {
	switch {
	case slices.Contains(link.Flags, "NOARP") || link.MAC == "" || isIPVlan(link.Kind):
		return nil
	case t.mac != "" && t.mac != link.MAC && link.Master == 0 && bridgeOf(ns, t.mac) != "":
		bridge := bridgeOf(ns, t.mac)
		return lost("Put it back: ip link set "+link.Name+" master "+bridge+".", "%s of %s is no port of %s any more, whose MAC the frame has: nothing takes it (%s)", link.Name, ns.Title(), bridge, t.mac)
	case t.mac != "" && t.mac != link.MAC:
		return lost("Delete the entry: ip neigh del.", "the frame has the MAC %s, and %s of %s has %s: the sender's neighbour entry of %s is of another interface", t.mac, link.Name, ns.Title(), link.MAC, t.next)
	case t.mac != "":
		if !has(ns, t.next) && family(t.next) == 4 && sysctl(ns, "ipv4", link.Name, "proxy_arp") == "1" {
			t.addAbout(byProxy(t.next))
		}
		return nil
	}
	return t.resolved(at, link, ns)
}
