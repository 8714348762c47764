package path

import "fmt"

// measure finds the hop that the largest packet of both ways has to fit through.
func (d *Document) measure() {
	hops := d.There.Hops
	if len(hops) == 0 {
		return
	}
	sends := hops[0].MTU
	if last := hops[len(hops)-1]; d.There.Outcome == Arrives && last.MTU != 0 {
		sends = min(sends, last.MTU)
	}
	d.compareEnds()
	ways := []*Way{&d.There}
	if d.Back != nil && len(d.Back.Hops) > 0 {
		ways = append(ways, d.Back)
		if first := d.Back.Hops[0]; first.MTU != 0 {
			sends = min(sends, first.MTU)
		}
	}
	for _, way := range ways {
		if narrow := way.narrowest(sends); narrow != nil && (d.Narrowest == nil || narrow.before(d.Narrowest)) {
			d.Narrowest = narrow
		}
	}
}

// compareEnds notes pods that do not agree on the MTU: TCP finds the smaller one, and nothing else does.
func (d *Document) compareEnds() {
	first, last := d.There.Hops[0], d.There.Hops[len(d.There.Hops)-1]
	if d.There.Outcome != Arrives || first.Place != InPod || last.Place != InPod || first.MTU == last.MTU || min(first.MTU, last.MTU) == 0 {
		return
	}
	d.note("MTU", fmt.Sprintf("the ends differ, %s of %s has %d and %s of %s has %d: larger packets than the smaller one are lost, but for those of TCP",
		first.Name, first.In, first.MTU, last.Name, last.In, last.MTU))
}

// narrowest gives the hop of a way with the least room. Where the routing has a packet that is too large
// for it, it tells the sender, or cuts it; anywhere else it is lost without a word.
func (w *Way) narrowest(sends int) (least *Narrowest) {
	for i := range w.Hops {
		hop := &w.Hops[i]
		room := hop.MTU - hop.Overhead
		if hop.MTU == 0 || hop.Kind == "loopback" || least != nil && room >= least.Size {
			continue
		}
		next := &Narrowest{Size: room, Node: hop.Node, Hop: hop.Name, Sends: sends, Told: room < sends && hop.Step.Kind == Routed}
		if least == nil || next.before(least) {
			least = next
		}
	}
	return least
}

// before reports whether a hop decides rather than another: one that tells nobody, else the one with less room.
func (n *Narrowest) before(other *Narrowest) bool {
	if n.isSilent() != other.isSilent() {
		return n.isSilent()
	}
	return n.Size < other.Size
}

func (n *Narrowest) isSilent() bool { return n.Size < n.Sends && !n.Told }

// TooNarrow reports whether the ends may send packets that are lost, or do not pass whole, and nobody
// tells them.
func (d *Document) TooNarrow() bool { return d.Narrowest != nil && d.Narrowest.isSilent() }

// Wrong reports whether packets are lost, or large ones may be. What packets showed counts more than what
// the kernels said before.
func (d *Document) Wrong() bool {
	if d.Probe != nil {
		return d.Probe.wrong()
	}
	return d.isLost() || d.TooNarrow()
}

func (d *Document) isLost() bool {
	return d.There.Outcome == Lost || d.Back != nil && d.Back.Outcome == Lost
}
