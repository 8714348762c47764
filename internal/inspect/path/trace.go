package path

import (
	"errors"
	"fmt"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Asked is a question that a node has to answer before a path can go on.
type Asked struct {
	Machine  int // the index of its Snapshot
	Question inspect.Question
}

// maxHops ends a path that goes round: the kernel's own limit is the TTL, of 64.
const maxHops = 64

// errAsked ends a trace whose next hop depends on an answer that is not there.
var errAsked = errors.New("the routing has to be asked first")

// stop is the end of a way.
type stop struct {
	outcome    Outcome
	reason, do string
}

func (s *stop) Error() string { return s.reason }

func lost(do, format string, args ...any) error {
	return &stop{Lost, fmt.Sprintf(format, args...), do}
}

func unknown(do, format string, args ...any) error {
	return &stop{Unknown, fmt.Sprintf(format, args...), do}
}

func leaves(format string, args ...any) error {
	return &stop{outcome: Leaves, reason: fmt.Sprintf(format, args...)}
}

var arrived = &stop{outcome: Arrives}

// packet is what travels.
type packet struct {
	from, to string
	mark     uint32
}

// tunnel is a header around a packet.
type tunnel struct {
	packet        // the inner one
	mac    string // of the inner frame, "" if the tunnel carries none
	link   *inspect.Link
	bytes  int
}

// tracer follows one packet, from one kernel's answer to the next.
type tracer struct {
	world   *World
	way     *Way
	asked   []Asked
	packet  packet
	tunnels []tunnel
	// next is where the frame goes on the way to the packet's destination: the gateway, or that itself.
	next string
	mac  string // of next, as the sender has it; "" if it is not resolved
	tags []int  // VLANs of the frame, the outer one last
	step Step   // to the hop after this
	seen map[visit]bool
}

// visit is a hop with a packet; the second one of a kind is a loop.
type visit struct {
	point
	to      string
	tunnels int
	sending bool
}

// trace follows a packet that a namespace sends by what its routing says, or that a socket bound
// to an interface sends. The second value is what has to be asked first; the Way is not whole then.
func (w *World) trace(start point, output int, p packet) (*Way, []Asked) {
	t := &tracer{world: w, way: &Way{From: p.from, To: p.to, Hops: []Hop{}}, packet: p, seen: map[visit]bool{}}
	err := t.route(start, 0, output)
	var end *stop
	switch {
	case errors.Is(err, errAsked):
		return t.way, t.asked
	case errors.As(err, &end):
		t.way.Outcome, t.way.Reason, t.way.Do = end.outcome, end.reason, end.do
	}
	t.markEnd()
	return t.way, nil
}

// markEnd gives the last hop the state of the whole.
func (t *tracer) markEnd() {
	if len(t.way.Hops) == 0 {
		return
	}
	last := &t.way.Hops[len(t.way.Hops)-1]
	switch t.way.Outcome {
	case Lost:
		last.State = IsLost
	case Unknown:
		last.State = IsUnknown
	case Arrives, Leaves:
	}
}

// ask gives the kernel's answer, or notes that it is wanted.
func (t *tracer) ask(at point, q inspect.Question) (inspect.Answer, error) {
	q.Namespace = at.Namespace
	answer, found := t.world.machines[at.machine].AnswerTo(q)
	switch {
	case !found:
		t.asked = append(t.asked, Asked{at.machine, q})
		return answer, errAsked
	case answer.Unread != "":
		return answer, unknown("Run path on the node with --save, and give what that writes to --from.", "the routing of %s was not read: %s", t.world.namespace(at).Title(), answer.Unread)
	}
	return answer, nil
}

// route goes on where the routing of a namespace has the packet: one that came in by an interface,
// or one of its own if input is 0.
func (t *tracer) route(at point, input, output int) error {
	question := inspect.Question{To: t.packet.to, From: t.packet.from, Input: input, Output: output, Mark: t.packet.mark}
	answer, err := t.ask(at, question)
	if err != nil {
		return err
	}
	if answer.Route == nil {
		return t.refused(at, answer)
	}
	if t.packet.from == "" {
		t.packet.from, t.way.From = answer.Route.Source, answer.Route.Source
	}
	switch route := answer.Route; route.Type {
	case "local", "anycast":
		return t.local(at, input)
	case "broadcast", "multicast":
		return unknown("Ask for the address of one of them.", "%s is a %s address: it goes to all who listen to it, and the path is followed to one", t.packet.to, route.Type)
	case "", "unicast":
		if err := t.mayForward(at, input); err != nil {
			return err
		}
		return t.forward(at, input, answer)
	default:
		return lost("Look at the routes of "+t.world.namespace(at).Title()+".", "its routing has a %s route for %s", route.Type, t.packet.to)
	}
}

// mayForward reports an IPv6 packet that is not for a namespace that does not forward: there is a route, and
// the kernel looks at the setting only afterwards. That of IPv4 is in its routing's answer.
func (t *tracer) mayForward(at point, input int) error {
	ns := t.world.namespace(at)
	if input == 0 || family(t.packet.to) != 6 || ns.SysctlOf("ipv6", "all", "forwarding") != "0" {
		return nil
	}
	link := t.world.link(at.beside(input))
	if link == nil || ns.SysctlOf("ipv6", link.Name, "force_forwarding") == "1" {
		return nil
	}
	return lost("Set it: sysctl -w net.ipv6.conf.all.forwarding=1.", "%s does not forward what comes in by %s: its setting net.ipv6.conf.all.forwarding is 0", ns.Title(), link.Name)
}

// local is a packet that came to where its destination is: the end, or that of a tunnel.
func (t *tracer) local(at point, input int) error {
	if input == 0 {
		return t.self(at)
	}
	if len(t.tunnels) == 0 {
		return t.land(at)
	}
	return t.decapsulate(at)
}

// self is a packet of a namespace to itself: it passes no interface but the loopback.
func (t *tracer) self(at point) error {
	lo := t.world.namespace(at).LinkNamed("lo")
	if lo == nil {
		return arrived
	}
	t.hop(at.beside(lo.Index))
	if !lo.Up {
		return t.down(at.beside(lo.Index))
	}
	return arrived
}

// down is a packet at an interface that is down: the kernel drops it, in both directions.
func (t *tracer) down(at point) error {
	link := t.world.link(at)
	return lost("Set it up: ip link set "+link.Name+" up.", "%s of %s is down", link.Name, t.world.namespace(at).Title())
}

// land adds the interface that has the address, if the packet came in by another one.
func (t *tracer) land(at point) error {
	for _, owner := range t.world.owners(t.packet.to) {
		last := t.way.Hops[len(t.way.Hops)-1]
		if owner.machine == at.machine && owner.Namespace == at.Namespace && owner.Ref != last.Ref && t.world.link(owner).Kind != "vrf" {
			t.step = Step{Routed, "an address of " + t.world.link(owner).Name}
			t.hop(owner)
		}
	}
	return arrived
}

// forward sends the packet by the interface that the routing chose.
func (t *tracer) forward(at point, input int, answer inspect.Answer) error {
	index, via := answer.Route.Index, answer.Route.Via
	if index == 0 && len(answer.Route.NextHops) > 0 {
		index, via = answer.Route.NextHops[0].Index, answer.Route.NextHops[0].Via
	}
	out := at.beside(index)
	link := t.world.link(out)
	if link == nil {
		return unknown("Take a new snapshot.", "the routing of %s sends it by the interface of index %d, which came after the snapshot was taken", t.world.namespace(at).Title(), index)
	}
	t.next = t.packet.to
	if via != "" {
		t.next = via
	}
	text := describeRoute(answer, link.Name)
	if input != 0 && input == index {
		t.addAbout(text) // back by where it came from
		return t.transmit(out)
	}
	if len(t.way.Hops) > 0 {
		t.step = Step{Routed, text}
	}
	t.hop(out)
	if len(t.way.Hops) == 1 {
		t.addAbout(text)
	}
	return t.transmit(out)
}

// describeRoute gives the entry of a table in the words of `ip route`.
func describeRoute(answer inspect.Answer, name string) string {
	route := answer.Match
	if route == nil {
		route = answer.Route
	}
	text := route.To
	switch {
	case route.Via != "":
		text += " via " + route.Via
	case len(route.NextHops) > 0:
		text += fmt.Sprintf(" by one of %d next hops", len(route.NextHops))
	default:
		text += " dev " + name
	}
	if name := tableName(route.Table); name != "main" {
		text += " table " + name
	}
	return text
}

func tableName(table int) string {
	switch table {
	case 0, 254:
		return "main"
	case 255:
		return "local"
	}
	return fmt.Sprint(table)
}

// transmit resolves the next hop, and sends a frame to it.
func (t *tracer) transmit(out point) error {
	link, ns := t.world.link(out), t.world.namespace(out)
	if !link.Up {
		return t.down(out)
	}
	if !link.Carrier && !isTunnel(link.Kind) {
		return lost("Look at what it leads to.", "%s of %s has no carrier", link.Name, ns.Title())
	}
	t.tags, t.mac = nil, ""
	if n := neighbour(ns, out.Index, t.next); n != nil {
		t.mac = n.MAC
	}
	return t.send(out)
}
