package probe

import (
	"cmp"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/headers"
	"github.com/plexus-cni/plexus/internal/inspect/path"
)

func (p *Probe) names() []string { return slices.Sorted(maps.Keys(p.nodes)) }

// addDrops adds what kernels say of a packet, or of its answer, to where it was lost.
func (p *Probe) addDrops(shot *path.Shot) {
	for _, node := range p.names() {
		for _, drop := range p.drops(node, shot.Size, shot.Outcome == path.AnswerGone) {
			if dropped := p.dropped(node, drop); !slices.Contains(shot.Drops, dropped) {
				shot.Drops = append(shot.Drops, dropped)
			}
		}
	}
	near := p.nearest(shot)
	if near == nil {
		return
	}
	if shot.Outcome == path.Unanswered && near.Reason != noSocket && near.Reason != unspecified {
		shot.Outcome = path.PacketGone // nobody has to answer a packet of UDP, and this one was not taken
	}
	shot.Reason += fmt.Sprintf("; the kernel of %s dropped it%s: %s", near.Node, at(near), near.Reason)
	if near.Reason == unspecified {
		shot.Do = cmp.Or(shot.Do, near.Do)
		return
	}
	if near.Text != "" {
		shot.Reason += ", " + strings.TrimSuffix(near.Text, ".")
	}
	shot.Do = cmp.Or(near.Do, shot.Do)
}

// drops gives what the kernel of a node says of a packet, or of its answer.
func (p *Probe) drops(node string, size int, answer bool) (drops []*inspect.Drop) {
	came := !answer && p.inNamespace(p.document.To, size, false) != nil
	for i := range p.nodes[node].drops {
		drop := &p.nodes[node].drops[i]
		f, found := p.read(drop.Data, headers.RawIP)
		if found && (f.answer != answer || f.rejects != "" || f.size != size && size >= small) || !p.concerns(node, drop) {
			continue
		}
		if found && came && drop.Point.Namespace != 0 && drop.Point.Namespace != p.document.To.Ref.Namespace {
			continue // a copy: the packet itself came to its end
		}
		drops = append(drops, drop)
	}
	return drops
}

// isOriginal reports a drop that need not be that of a copy, which a bridge sent to whom it is not for.
func isOriginal(reason string) bool { return reason != "OTHERHOST" }

// explained reports whether a kernel has said that it dropped a packet, or its answer.
func (p *Probe) explained(size int) bool {
	return slices.ContainsFunc(p.names(), func(node string) bool {
		return slices.ContainsFunc(append(p.drops(node, size, false), p.drops(node, size, true)...), func(d *inspect.Drop) bool { return isOriginal(d.Reason) })
	})
}

// Names of the kernel's that something is decided by.
const (
	unspecified = "NOT_SPECIFIED" // no reason: what path says of the place tells more
	noSocket    = "NO_SOCKET"     // it came to its end, where no program listens
)

// hostTitle is that of a node's own namespace: the node is named already.
var hostTitle = (&inspect.Namespace{Host: true}).Title()

func at(d *path.Dropped) (text string) {
	if d.Interface != "" {
		text += " at " + d.Interface
		if d.In != "" && d.In != hostTitle {
			text += " of " + d.In
		}
	}
	if d.Where != "" {
		text += " in " + d.Where + "()"
	}
	return text
}

// concerns reports whether a packet was dropped in a namespace of the path: copies that a bridge sends to
// other ports are dropped elsewhere, as they should be.
func (p *Probe) concerns(node string, drop *inspect.Drop) bool {
	return drop.Point.Namespace == 0 || slices.ContainsFunc(p.Watch(node).Points, func(ref inspect.Ref) bool { return ref.Namespace == drop.Point.Namespace })
}

func (p *Probe) dropped(node string, drop *inspect.Drop) path.Dropped {
	dropped := path.Dropped{Node: node, Reason: drop.Reason, Where: drop.Where}
	if p.Name != nil {
		dropped.In, dropped.Interface = p.Name(node, drop.Point)
	}
	if p.Explain != nil {
		dropped.Text, dropped.Do = p.Explain(drop.Reason)
	}
	return dropped
}

// nearest gives the kernel's word that fits best to where the packet was lost: of the node that should have
// had it next or had it last; nil if there is none.
func (p *Probe) nearest(shot *path.Shot) *path.Dropped {
	if shot.Gap == nil {
		return original(shot.Drops)
	}
	way := &p.document.There
	if shot.Gap.Back {
		way = p.document.Back
	}
	for _, i := range []int{shot.Gap.SeenAt, shot.Gap.MissedAt} {
		if i < 0 {
			continue
		}
		for k := range shot.Drops {
			if isAt(&shot.Drops[k], &way.Hops[i]) {
				return &shot.Drops[k]
			}
		}
	}
	return original(shot.Drops)
}

// isAt reports whether a packet was dropped at a hop: a node and its pods may each have an eth0.
func isAt(d *path.Dropped, hop *path.Hop) bool {
	return d.Node == hop.Node && d.Interface == hop.Name && (d.In == "" || hop.In == "" || d.In == hop.In)
}

// original gives the first drop that need not be that of a copy.
func original(drops []path.Dropped) *path.Dropped {
	i := slices.IndexFunc(drops, func(d path.Dropped) bool { return isOriginal(d.Reason) })
	if i < 0 {
		return nil
	}
	return &drops[i]
}
