package probe

import (
	"cmp"
	"fmt"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
)

// endOf gives the end that a way goes to.
func (p *Probe) endOf(way *path.Way) path.End {
	if !p.isBack(way) {
		return p.document.To
	}
	end := p.document.From
	if hops := p.document.There.Hops; len(hops) > 0 {
		end.Ref = hops[0].Ref // that of the sender may be left to its routing
	}
	return end
}

// watched reports whether an end's node was watched without a gap: what was not seen there did not come.
func (p *Probe) watched(end path.End) bool {
	o := p.nodes[end.Node]
	return end.Ref.Index != 0 && o != nil && o.fault == nil && o.lost() == 0
}

// inNamespace gives the packet of a size, or its answer, in the namespace of an end; nil if it was not seen there.
func (p *Probe) inNamespace(end path.End, size int, answer bool) *seen {
	return p.first(end.Node, func(s *seen) bool {
		return s.Point.Namespace == end.Ref.Namespace && s.answer == answer && s.rejects == "" && s.is(size)
	})
}

// missedEnd reports that a packet never came to the far end: whoever answered it is something else.
func (p *Probe) missedEnd(size int) bool {
	end := p.document.To
	return p.document.There.Outcome != path.Unknown && p.watched(end) && p.inNamespace(end, size, false) == nil
}

// answererElsewhere says what answered before the far end.
func (p *Probe) answererElsewhere(answer *seen) string {
	if answer.reset {
		return "the connection was reset before it came to " + p.document.To.Subject + ", as a rule does"
	}
	return "something else than " + p.document.To.Subject + " answered"
}

// beyond says where a packet, or its answer, was seen last on the node of the way's end, which the way itself does
// not reach: it leaves for what was not read. where is "" if it was seen nowhere there; came says that it came to
// the end; known is false where nobody can tell.
func (p *Probe) beyond(way *path.Way, size int) (where string, came, known bool) {
	end := p.endOf(way)
	if way.Outcome != path.Leaves || len(way.Hops) == 0 || !p.watched(end) || way.Hops[len(way.Hops)-1].Node == end.Node {
		return "", false, false
	}
	for _, hop := range p.otherWay(way).Hops { // from the end on, so that the first one is the last that it came to
		here := func(s *seen) bool {
			return s.Point == hop.Ref && s.answer == p.isBack(way) && s.rejects == "" && s.is(size)
		}
		if hop.Node == end.Node && p.first(hop.Node, here) != nil {
			return place(hop), hop.Ref.Namespace == end.Ref.Namespace, true
		}
	}
	if s := p.first(end.Node, func(s *seen) bool { return s.answer == p.isBack(way) && s.rejects == "" && s.is(size) }); s != nil {
		return p.nameOf(end.Node, s.Point), s.Point.Namespace == end.Ref.Namespace, true
	}
	return "", false, true
}

// otherWay gives the way in the other direction; one without hops if it is not known.
func (p *Probe) otherWay(way *path.Way) *path.Way {
	switch {
	case p.isBack(way):
		return &p.document.There
	case p.document.Back != nil:
		return p.document.Back
	}
	return &path.Way{}
}

// lostBeyond says where a packet was lost, or its answer, that its way has no hops for; false if it was not lost there.
func (p *Probe) lostBeyond(shot *path.Shot, outcome path.ShotOutcome, way *path.Way) bool {
	where, came, known := p.beyond(way, shot.Size)
	if !known || came {
		return false
	}
	seenAt, _ := p.gap(way, shot.Size)
	gap := path.Gap{Back: p.isBack(way), SeenAt: seenAt, MissedAt: -1}
	switch what := subject(gap); {
	case seenAt < 0 && where == "":
		return false
	case where == "":
		p.say(shot, outcome, gap, fmt.Sprintf("%s was seen at %s, and nowhere on %s", what, place(way.Hops[seenAt]), p.endOf(way).Node))
		shot.Do = "Look at what is between the two nodes: routers, firewalls, the settings of a cloud."
	default:
		p.say(shot, outcome, gap, fmt.Sprintf("%s was seen last at %s", what, where))
	}
	return true
}

// nameOf names an interface that no hop is.
func (p *Probe) nameOf(node string, ref inspect.Ref) string {
	in, name := "", fmt.Sprint(ref.Index)
	if p.Name != nil {
		in, name = p.Name(node, ref)
	}
	if in == hostTitle {
		in = node
	}
	return strings.TrimSpace(name + " of " + cmp.Or(in, node))
}

// elsewhere says at which interfaces beside the path the packets were seen, too, or beyond the end of it.
func (p *Probe) elsewhere() (notes []string) {
	where := "beside the path"
	if slices.ContainsFunc(p.ways(), func(way *path.Way) bool { return way.Outcome == path.Unknown }) {
		where = "where the way is not known"
	}
	for _, node := range p.names() {
		for _, answer := range []bool{false, true} {
			var names []string
			for i := range p.nodes[node].packets {
				s := &p.nodes[node].packets[i]
				if s.rejects != "" || s.answer != answer || p.onPath(node, s) {
					continue
				}
				if text := p.nameOf(node, s.Point); !slices.Contains(names, text) {
					names = append(names, text)
				}
			}
			if len(names) > 0 {
				slices.Sort(names)
				notes = append(notes, subject(path.Gap{Back: answer})+" was also seen "+where+" on "+node+", at "+strings.Join(names, ", "))
			}
		}
	}
	return notes
}

// onPath reports whether a way has the interface. Where one way leaves for what was not read, only the other one has
// the hops on the node of its end.
func (p *Probe) onPath(node string, s *seen) bool {
	for _, way := range p.ways() {
		own := p.isBack(way) == s.answer || p.document.Back == nil || p.otherWay(way).Outcome == path.Leaves
		if own && slices.ContainsFunc(way.Hops, func(hop path.Hop) bool { return hop.Node == node && hop.Ref == s.Point }) {
			return true
		}
	}
	return false
}

// redirected says where rules sent the packets instead, as the sender's node saw it, or another one; "" if they did not.
func (p *Probe) redirected() string {
	asked := inspect.ParseIP(p.document.To.Address)
	for _, node := range append([]string{p.document.From.Node}, p.names()...) {
		s := p.first(node, func(s *seen) bool { return !s.answer && s.rejects == "" && s.to != asked })
		if s == nil {
			continue
		}
		to := s.to.String()
		if s.ports[1] != 0 {
			to += fmt.Sprintf(" port %d", s.ports[1])
		}
		return fmt.Sprintf("its destination was changed to %s, as %s saw it: for the path from there on, ask for the path to that", to, node)
	}
	return ""
}
