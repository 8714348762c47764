package path

// measure finds the hop that the largest packet of both ways has to fit through.
func (d *Document) measure() {
	ways := []*Way{&d.There}
	if d.Back != nil {
		ways = append(ways, d.Back)
	}
	for _, way := range ways {
		for i := range way.Hops {
			hop := &way.Hops[i]
			room := hop.MTU - hop.Overhead
			if hop.MTU == 0 || hop.Kind == "loopback" || d.Narrowest != nil && room >= d.Narrowest.Size {
				continue
			}
			d.Narrowest = &Narrowest{Size: room, Node: hop.Node, Hop: hop.Name}
		}
	}
	hops := d.There.Hops
	if d.Narrowest == nil || len(hops) == 0 {
		d.Narrowest = nil
		return
	}
	d.Narrowest.Sends = hops[0].MTU
	if last := hops[len(hops)-1]; d.There.Outcome == Arrives && last.MTU != 0 {
		d.Narrowest.Sends = min(d.Narrowest.Sends, last.MTU)
	}
}

// TooNarrow reports whether the ends may send packets that do not pass whole.
func (d *Document) TooNarrow() bool {
	return d.Narrowest != nil && d.Narrowest.Size < d.Narrowest.Sends
}

// Wrong reports whether packets are lost, or large ones may be.
func (d *Document) Wrong() bool {
	return d.There.Outcome == Lost || d.Back != nil && d.Back.Outcome == Lost || d.TooNarrow()
}
