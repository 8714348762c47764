package probe

import (
	"cmp"
	"fmt"
	"slices"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
)

// Finish says in the document what became of each packet, at each hop and as a whole.
func (p *Probe) Finish() {
	result := &path.Probe{Protocol: p.protocol}
	for i := range p.shots {
		result.Shots = append(result.Shots, p.judge(i))
	}
	result.Notes = append(p.notes(), p.disproved(result)...)
	for _, way := range p.ways() {
		p.markWay(way)
	}
	p.document.Probe = result
}

// disproved says so where the kernels' answers have a packet lost that was answered. Its last hop is one as the others.
func (p *Probe) disproved(result *path.Probe) []string {
	there := &p.document.There
	if there.Outcome != path.Lost || slices.ContainsFunc(result.Shots, func(s path.Shot) bool { return s.Outcome != path.Answered }) {
		return nil
	}
	for i := range there.Hops {
		if there.Hops[i].State == path.IsLost {
			there.Hops[i].State = path.Passes
		}
	}
	return []string{"it was answered, though the kernels' answers have it lost: a rule changed it on the way, or they changed since"}
}

// isBack reports whether a way is that of the answers.
func (p *Probe) isBack(way *path.Way) bool { return way == p.document.Back }

// markWay says of each hop of a way which packets were seen there. The way back has only those that were answered.
func (p *Probe) markWay(way *path.Way) {
	for i := range way.Hops {
		hop := &way.Hops[i]
		if !p.visible(way, i) {
			continue
		}
		var probed []path.Probed
		for _, shot := range p.shots {
			if !p.isBack(way) || p.wasAnswered(shot.Size) {
				probed = append(probed, p.probed(way, i, shot.Size))
			}
		}
		if len(probed) > 0 {
			hop.SetProbed(probed)
		}
	}
}

// wasAnswered reports whether an answer to a packet was seen anywhere.
func (p *Probe) wasAnswered(size int) bool {
	for node := range p.nodes {
		if p.first(node, func(s *seen) bool { return s.answer && s.rejects == "" && s.is(size) }) != nil {
			return true
		}
	}
	return false
}

// visible reports whether a packet that passes a hop can be seen there: it is an interface of a node
// that was watched, and packets pass the interface itself.
func (p *Probe) visible(way *path.Way, i int) bool {
	hop := way.Hops[i]
	if o := p.nodes[hop.Node]; hop.Ref.Index == 0 || o == nil || o.fault != nil {
		return false
	}
	comes, goes := hop.Step.Kind, path.StepKind("")
	if i+1 < len(way.Hops) {
		goes = way.Hops[i+1].Step.Kind
	}
	switch {
	case hop.Kind == "vrf":
		return false
	case hop.Kind == "bridge" && comes == path.Bridged && goes == path.Bridged:
		return false // between two of its ports: it does not pass the bridge's own interface
	case comes == path.Child && way.Hops[i-1].Kind == "VF", goes == path.Child && way.Hops[i+1].Kind == "VF":
		return false // the NIC's own switch has it, and not the PF
	}
	return true
}

// at gives the packet of a size as it was first seen at a hop, nil if it was not.
func (p *Probe) at(way *path.Way, i, size int) *seen {
	hop := way.Hops[i]
	return p.first(hop.Node, func(s *seen) bool {
		return s.Point == hop.Ref && s.answer == p.isBack(way) && s.rejects == "" && s.is(size)
	})
}

func (p *Probe) probed(way *path.Way, i, size int) path.Probed {
	probed := path.Probed{Size: size, State: path.NotSeen}
	here := p.at(way, i, size)
	if here == nil {
		return probed
	}
	probed.State = path.Seen
	before := p.start(way, here)
	for k := range way.Hops[:i] {
		if there := p.at(way, k, size); there != nil {
			before = there.frame
			if way.Hops[k].Node == way.Hops[i].Node && probed.After == 0 {
				probed.After = since(there.Time, here.Time)
			}
		}
	}
	if probed.Changes = here.changes(before); len(probed.Changes) > 0 {
		probed.State = path.Changed
	}
	return probed
}

// start gives the packet as its sender made it, as far as that is known.
func (p *Probe) start(way *path.Way, here *seen) frame {
	f := here.frame
	f.around, f.cut = nil, false
	f.from, f.to = inspect.ParseIP(way.From), inspect.ParseIP(way.To)
	return f
}

// changes says in what a packet differs from itself at the hop before.
func (f *frame) changes(before frame) (changes []string) {
	add := func(what string, old, now any) {
		if old != now {
			changes = append(changes, fmt.Sprintf("%s %v → %v", what, old, now))
		}
	}
	add("source", before.from, f.from)
	add("destination", before.to, f.to)
	add("source port", before.ports[0], f.ports[0])
	add("destination port", before.ports[1], f.ports[1])
	add("TTL", before.ttl, f.ttl)
	for _, header := range f.around {
		if !slices.Contains(before.around, header) {
			changes = append(changes, "in "+header)
		}
	}
	for _, header := range before.around {
		if !slices.Contains(f.around, header) {
			changes = append(changes, "no more in "+header)
		}
	}
	if f.cut && !before.cut {
		changes = append(changes, "cut into fragments")
	}
	return changes
}

// judge says what became of a packet.
func (p *Probe) judge(i int) path.Shot {
	shot := path.Shot{Size: p.shots[i].Size}
	if refused := p.refused(i); refused != "" {
		shot.Outcome, shot.Reason = path.NotAccepted, p.refusal(refused)
		return shot
	}
	answer := p.answer(shot.Size)
	switch {
	case answer != nil && answer.rejects == "" && p.missedEnd(shot.Size):
		shot.Outcome, shot.Reason = path.Elsewhere, p.answererElsewhere(answer)
	case answer != nil && (answer.rejects == "" || p.arrivedAtClosedPort(answer, shot.Size)):
		shot.Outcome, shot.Reason, shot.Took = path.Answered, answer.rejects, since(p.sent[i].Time, answer.Time)
		if answer.reset {
			shot.Reason = "nothing listens to the port, or a rule resets the connection"
		}
		return shot
	case answer != nil:
		shot.Outcome, shot.Reason = path.Rejected, p.rejecter(answer)+" says: "+p.rejection(answer)
	}
	p.findGap(&shot)
	p.addDrops(&shot)
	return shot
}

// rejecter names who rejects a packet.
func (p *Probe) rejecter(answer *seen) string {
	address, owner := answer.from.String(), ""
	if p.Owner != nil {
		owner = p.Owner(address)
	}
	for _, end := range []*path.End{&p.document.From, &p.document.To} {
		if owner == "" && answer.from == inspect.ParseIP(end.Address) && end.Subject != hostTitle && end.Subject != address {
			owner = end.Subject
		}
	}
	if owner == "" {
		return address
	}
	return fmt.Sprintf("%s (%s)", owner, address)
}

// rejection says what a rejection means for a packet of the protocol: only UDP has ports that may be
// closed, at its end.
func (p *Probe) rejection(answer *seen) string {
	if answer.rejects == closedPort && (p.protocol != "udp" || p.missedEnd(answer.size)) {
		return "a rule rejects it"
	}
	return answer.rejects
}

// arrivedAtClosedPort reports whether a packet of UDP came to its end, where nobody had to listen. A rule may
// say the same of any packet, on the way.
func (p *Probe) arrivedAtClosedPort(answer *seen, size int) bool {
	return p.protocol == "udp" && answer.rejects == closedPort && !p.missedEnd(size) && (p.arrived(size) || answer.from == inspect.ParseIP(p.document.To.Address))
}

// arrived reports whether a packet was seen at the last hop of the way there.
func (p *Probe) arrived(size int) bool {
	way := &p.document.There
	seenAt, missedAt := p.gap(way, size)
	return seenAt >= 0 && missedAt < 0 && way.Outcome == path.Arrives
}

// gap gives the last hop of a way where a packet was seen, and the next one where it should have been; -1 for none.
func (p *Probe) gap(way *path.Way, size int) (seenAt, missedAt int) {
	seenAt, missedAt = -1, -1
	for i := range way.Hops {
		switch {
		case p.at(way, i, size) != nil:
			seenAt, missedAt = i, -1
		case missedAt < 0 && p.visible(way, i):
			missedAt = i
		}
	}
	return seenAt, missedAt
}

// findGap says where a packet, or its answer, was seen last.
func (p *Probe) findGap(shot *path.Shot) {
	way := &p.document.There
	seenAt, missedAt := p.gap(way, shot.Size)
	switch {
	case missedAt >= 0 || seenAt < 0:
		p.lost(shot, path.PacketGone, way, path.Gap{SeenAt: seenAt, MissedAt: missedAt})
		return
	case way.Outcome == path.Lost:
		p.lost(shot, path.PacketGone, way, path.Gap{SeenAt: seenAt, MissedAt: -1})
		return
	case p.lostBeyond(shot, path.PacketGone, way), shot.Outcome == path.Elsewhere:
		return
	}
	if p.document.Back != nil && p.wasAnswered(shot.Size) {
		way = p.document.Back
		seenAt, missedAt = p.gap(way, shot.Size)
		if missedAt < 0 && p.lostBeyond(shot, path.AnswerGone, way) {
			return
		}
		p.lost(shot, path.AnswerGone, way, path.Gap{Back: true, SeenAt: seenAt, MissedAt: missedAt})
		return
	}
	if shot.Outcome == "" {
		shot.Outcome = path.Unanswered
		came := place(way.Hops[seenAt])
		if where, _, known := p.beyond(way, shot.Size); known {
			came = where
		}
		shot.Reason = "it came to " + came + ", and no answer was seen"
		if p.document.There.Outcome == path.Arrives {
			shot.Do = "Look at what listens there, and at the rules of " + p.document.To.Subject + "."
		}
	}
}

// subject is what was lost.
func subject(gap path.Gap) string {
	if gap.Back {
		return "the answer"
	}
	return "it"
}

// lost says between which hops something was lost.
func (p *Probe) lost(shot *path.Shot, outcome path.ShotOutcome, way *path.Way, gap path.Gap) {
	reason, what := "", subject(gap)
	switch {
	case gap.SeenAt < 0 && gap.MissedAt < 0:
		reason = "no interface saw " + what
	case gap.SeenAt < 0:
		reason = fmt.Sprintf("%s did not leave by %s, as if nobody answered for its next hop", what, place(way.Hops[gap.MissedAt]))
	case gap.MissedAt < 0:
		reason = fmt.Sprintf("%s was seen last at %s", what, place(way.Hops[gap.SeenAt]))
	default:
		reason = fmt.Sprintf("%s was seen at %s, and not at %s", what, place(way.Hops[gap.SeenAt]), place(way.Hops[gap.MissedAt]))
	}
	if way.Outcome == path.Lost {
		reason += ": " + way.Reason
	}
	if p.say(shot, outcome, gap, reason) {
		shot.Do = way.Do
	}
}

// say gives a shot its outcome and where it was lost; what rejected it said why already.
func (*Probe) say(shot *path.Shot, outcome path.ShotOutcome, gap path.Gap, reason string) bool {
	shot.Gap = &gap
	switch shot.Outcome {
	case path.Rejected:
		return false
	case path.Elsewhere:
		shot.Reason += ": " + reason
	default:
		shot.Outcome, shot.Reason = outcome, reason
	}
	return true
}

// place names a hop.
func place(hop path.Hop) string {
	if hop.Place == path.InPod {
		return hop.Name + " of " + hop.In
	}
	return hop.Name + " of " + cmp.Or(hop.Node, hop.In)
}

// refusals are what the errors of the sender's own kernel mean.
var refusals = map[string]string{
	"EMSGSIZE": "it is larger than the MTU of the interface, or of the route", "EPERM": "a rule of netfilter there forbids it",
	"ENETUNREACH": "there is no route", "EHOSTUNREACH": "there is no way to the next hop", "EACCES": "the route forbids it",
	"EINVAL": "the route is a blackhole, or the address may not be sent to", "ENETDOWN": "the interface is down", "ENOBUFS": "its queue is full",
}

func (p *Probe) refusal(name string) string {
	return fmt.Sprintf("the kernel of %s does not take it: %s (%s)", p.document.From.Subject, cmp.Or(refusals[name], "the reason has no text"), name)
}

// notes say what could not be watched.
func (p *Probe) notes() (notes []string) {
	for _, node := range p.names() {
		o := p.nodes[node]
		if o.fault != nil {
			notes = append(notes, fmt.Sprintf("%s was not watched: %v", node, o.fault))
		}
		for _, note := range o.notes {
			notes = append(notes, node+": "+note)
		}
		if lost := o.lost(); lost > 0 {
			notes = append(notes, fmt.Sprintf("%s had no room for %d packets: what was not seen there may have passed", node, lost))
		}
	}
	if text := p.redirected(); text != "" {
		notes = append(notes, text)
	}
	return append(notes, p.elsewhere()...)
}

// lost gives how many packets passed for which a node had no room.
func (o *observed) lost() (lost uint64) {
	for _, count := range o.counts {
		lost += count.Lost
	}
	return lost
}
