package path

import (
	"cmp"
	"fmt"
	"net/netip"
	"slices"
	"strings"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Query is which path is asked for.
type Query struct {
	// From and To are each NAMESPACE/POD or the path of a network namespace; To may be an address.
	From string `json:"from"`
	To   string `json:"to"`
	// Interface is the one of From that the packets leave by; "" leaves it to the routing there.
	Interface string `json:"interface,omitempty"`
	// Port is that of To, 0 for none. It decides no hop: no kernel is asked about it.
	Port uint16 `json:"port,omitempty"`
}

// end is an end of a path, as far as it is known.
type end struct {
	End
	point    // the namespace, and the interface if one was chosen
	known    bool
	networks []*inspect.Attachment
	driven   *driven // what a program has in the place of the interface
}

// Trace follows a packet from one end to the other, and one back. The second value are questions:
// if there are any, their answers have to be added to the Snapshots, and the Document is not whole
// before. The error is inspect.ErrNotFound, ErrChoose, or says what is wrong with the Query.
func (w *World) Trace(q Query) (*Document, []Asked, error) {
	from, err := w.find(q.From)
	if err != nil {
		return nil, nil, err
	}
	to, err := w.findOrAddress(q.To)
	if err != nil {
		return nil, nil, err
	}
	d := &Document{APIVersion: inspect.APIVersion, Kind: Kind}
	if err := w.choose(q, from, to, d); err != nil {
		return nil, nil, err
	}
	to.Port = q.Port
	from.End.Ref, to.End.Ref = from.point.Ref, to.point.Ref
	d.Bound = from.driven == nil && w.outputOf(from, to) != 0
	d.From, d.To = from.End, to.End
	asked := w.traceBoth(q, d, from, to)
	return d, asked, nil
}

func (w *World) traceBoth(q Query, d *Document, from, to *end) []Asked {
	there, asked := w.traceFrom(from, to, packet{from: from.Address, to: to.Address})
	if len(asked) > 0 {
		return asked
	}
	d.There = *there
	d.From.Address = there.From
	w.checkArrival(d, to)
	if !to.known || d.From.Address == "" {
		d.measure()
		return nil
	}
	back, asked := w.traceFrom(to, from, packet{from: to.Address, to: d.From.Address})
	if len(asked) > 0 {
		return asked
	}
	d.Back = back
	d.measure()
	return w.compareUnbound(q, d, from, to)
}

// traceFrom follows a packet of an end, as far as a kernel has it.
func (w *World) traceFrom(from, to *end, p packet) (*Way, []Asked) {
	if from.driven != nil {
		return from.driven.way(from, to), nil
	}
	return w.trace(from.point, w.outputOf(from, to), p)
}

// outputOf gives the interface that the sender's socket has to be bound to, 0 for none.
func (w *World) outputOf(from, to *end) int {
	if isOfLink(to.Address) {
		return from.Index
	}
	return w.bound(from.point)
}

// bound gives the interface that a socket has to be bound to: without it, the kernel uses another table than a VRF's.
func (w *World) bound(p point) int {
	if link := w.link(p); link != nil && link.Master != 0 {
		if master := w.link(p.beside(link.Master)); master != nil && master.Kind == "vrf" {
			return p.Index
		}
	}
	return 0
}

// compareUnbound notes that a program has to bind its socket to take the way that was asked for.
func (w *World) compareUnbound(q Query, d *Document, from, to *end) []Asked {
	if q.Interface == "" || len(d.There.Hops) == 0 || from.driven != nil || isOfLink(to.Address) {
		return nil
	}
	question := inspect.Question{Namespace: from.Namespace, To: to.Address}
	answer, found := w.machines[from.machine].AnswerTo(question)
	if !found {
		return []Asked{{from.machine, question}}
	}
	if answer.Route != nil {
		w.noteUnbound(d, from, answer.Route)
	}
	return nil
}

func (w *World) noteUnbound(d *Document, from *end, route *inspect.Route) {
	first := d.There.Hops[0]
	link := w.link(from.beside(route.Index))
	switch {
	case link == nil:
	case route.Index != first.Ref.Index:
		d.note(d.From.Subject, "a program that does not bind its socket to "+first.Name+" or to its address sends by "+link.Name)
	case route.Source != "" && route.Source != d.There.From:
		d.note(d.From.Subject, fmt.Sprintf("a program that does not bind its socket to %s sends from %s, which may fare otherwise", d.There.From, route.Source))
	}
}

func (d *Document) note(about, text string) {
	d.Notes = append(d.Notes, inspect.Note{About: about, Text: text})
}

// checkArrival corrects a way that ends at another namespace that has the address too, and notes an
// interface that the routing chose against the wish.
func (w *World) checkArrival(d *Document, to *end) {
	hops := d.There.Hops
	if len(hops) == 0 {
		return
	}
	if d.From.Interface != "" && hops[0].Name != d.From.Interface {
		d.note(d.From.Subject, fmt.Sprintf("its routing sends by %s what comes from the address of %s", hops[0].Name, d.From.Interface))
	}
	d.From.Interface = cmp.Or(d.From.Interface, hops[0].Name)
	last := hops[len(hops)-1]
	if d.There.Outcome == Arrives && to.known && (last.Ref.Namespace != to.Namespace || last.Node != to.Node) {
		d.There.Outcome, hops[len(hops)-1].State = Lost, IsLost
		d.There.Reason = fmt.Sprintf("it arrives at %s of %s, which has the address %s too", last.Name, last.In, to.Address)
		d.There.Do = "Take the address from one of the two."
	}
}

// find gives the namespace of a pod or path.
func (w *World) find(subject string) (*end, error) {
	var first error
	for i, m := range w.machines {
		inode, err := locate(m.Snapshot, subject)
		if err != nil {
			if first == nil {
				first = err
			}
			continue
		}
		ns := m.graph.Namespace(inode)
		return &end{
			End:   End{Node: m.name(), Subject: ns.Title()},
			point: point{i, inspect.Ref{Namespace: inode}}, known: true, networks: m.graph.AttachmentsOf(ns),
		}, nil
	}
	return nil, first
}

func locate(s *inspect.Snapshot, subject string) (uint64, error) {
	if strings.HasPrefix(subject, "/") {
		return s.FindPath(subject)
	}
	return s.FindPod(subject)
}

// findOrAddress gives the far end, which may be an address that no Snapshot has.
func (w *World) findOrAddress(subject string) (*end, error) {
	if !inspect.ParseIP(subject).IsValid() {
		return w.find(subject)
	}
	if inspect.ParseIP(subject).Zone() != "" {
		return nil, fmt.Errorf("%s: a pod's interface is not part of an address here: %w", subject, ErrChoose)
	}
	to := &end{End: End{Subject: subject, Address: subject}}
	if owners := w.owners(subject); len(owners) == 1 {
		ns := w.namespace(owners[0])
		to.point, to.known = owners[0], true
		to.End = End{Node: w.machines[owners[0].machine].name(), Subject: ns.Title(), Interface: w.link(owners[0]).Name, Address: subject}
	}
	return to, nil
}

// choose settles the interfaces and addresses of both ends.
func (w *World) choose(q Query, from, to *end, d *Document) error {
	own, far, err := shared(q, from, to)
	if err != nil {
		return err
	}
	if own != nil {
		d.Network = own.Network
	}
	wanted := q.Interface
	if wanted == "" && own != nil {
		wanted = own.Interface
	}
	if to.Address == "" {
		name := ""
		if far != nil {
			name = far.Interface
		} else if q.Interface != "" {
			name = w.onSubnet(q.Interface, from, to)
		}
		if err := w.settle(to, name, w.wishes(from, wanted)); err != nil {
			return err
		}
	}
	if q.Interface == "" && isOfLink(to.Address) {
		return fmt.Errorf("each link has its own %s: %w", to.Address, ErrChoose)
	}
	if wanted == "" {
		return nil // the routing chooses
	}
	if q.Interface == "" {
		from.Interface = wanted // and the routing shows whether it agrees
		return nil
	}
	return w.settle(from, wanted, []wish{{family: family(to.Address), link: isOfLink(to.Address)}})
}

// wishes are those for the address of the far end: one that the near end's interface, or any of it if none is
// named, has a subnet of, else one of a family that it has. IPv4 comes first.
func (w *World) wishes(from *end, name string) []wish {
	var all []wish
	for _, version := range []int{4, 6} {
		one := wish{family: version}
		for _, link := range w.namespace(from.point).Links {
			if link.Name == "lo" || name != "" && link.Name != name {
				continue
			}
			for _, a := range link.Addresses {
				if subnet, err := netip.ParsePrefix(a.Address); err == nil && a.Scope != "link" && family(a.Address) == version {
					one.subnets = append(one.subnets, subnet.Masked())
				}
			}
		}
		if len(one.subnets) > 0 {
			all = append(all, one, wish{family: version})
		}
	}
	return append(all, wish{family: 4}, wish{family: 6})
}

// isOfLink reports an address that counts on one link alone, as fe80::1.
func isOfLink(address string) bool {
	return family(address) == 6 && inspect.ParseIP(address).IsLinkLocalUnicast()
}

// onSubnet gives the far interface that has an address of the subnet of the near one, "" for none.
func (w *World) onSubnet(name string, from, to *end) string {
	near := w.namespace(from.point).LinkNamed(name)
	if near == nil {
		return ""
	}
	for _, a := range near.Addresses {
		subnet, err := netip.ParsePrefix(a.Address)
		if err != nil || a.Scope == "link" {
			continue
		}
		for _, link := range w.namespace(to.point).Links {
			if slices.ContainsFunc(link.Addresses, func(b inspect.Address) bool { return subnet.Masked().Contains(inspect.ParseIP(b.Address)) }) {
				return link.Name
			}
		}
	}
	return ""
}

// shared gives the attachments of both ends to the network that the path is over: that of the
// interface, or the only one that both are on. They are nil for ends that share none.
func shared(q Query, from, to *end) (own, far *inspect.Attachment, err error) {
	var pairs [][2]*inspect.Attachment
	for _, a := range from.networks {
		if q.Interface != "" && a.Interface != q.Interface {
			continue
		}
		i := slices.IndexFunc(to.networks, func(b *inspect.Attachment) bool { return b.Network == a.Network })
		if i >= 0 {
			pairs = append(pairs, [2]*inspect.Attachment{a, to.networks[i]})
		} else if q.Interface != "" {
			return a, nil, nil
		}
	}
	switch len(pairs) {
	case 0:
		return nil, nil, nil
	case 1:
		return pairs[0][0], pairs[0][1], nil
	}
	several := &SeveralError{From: from.Subject, To: to.Subject}
	for _, pair := range pairs {
		several.Choices = append(several.Choices, Choice{pair[0].Network, pair[0].Interface})
	}
	return nil, nil, several
}

// settle gives an end its interface and address: of a name, or the first that has an address. The first wish
// that an address answers counts.
func (w *World) settle(e *end, name string, wishes []wish) error {
	ns := w.namespace(e.point)
	for _, wish := range wishes {
		for i := range ns.Links {
			link := &ns.Links[i]
			if name != "" && link.Name != name || name == "" && link.Name == "lo" {
				continue
			}
			if address := wish.of(link); address != "" {
				e.Index, e.Interface, e.Address = link.Index, link.Name, address
				return nil
			}
		}
	}
	if ns.LinkNamed(name) != nil {
		return fmt.Errorf("%s: its interface %s has no address of the family", e.Subject, name)
	}
	if name == "" {
		return fmt.Errorf("%s has no interface with an address", e.Subject)
	}
	if driven, address := e.drivenBy(name); driven != nil {
		e.driven, e.Interface, e.Address = driven, name, address
		return nil
	}
	return fmt.Errorf("%s has no interface %s, it has %s", e.Subject, name, interfaces(ns))
}

func interfaces(ns *inspect.Namespace) string {
	var all []string
	for _, link := range ns.Links {
		all = append(all, link.Name)
	}
	return strings.Join(all, ", ")
}

// wish is what an address should be.
type wish struct {
	family  int
	subnets []netip.Prefix // any of them; none is no condition
	link    bool           // of the link alone
}

// of gives the first address of an interface that answers the wish, "" if none does.
func (w wish) of(link *inspect.Link) string {
	for _, a := range link.Addresses {
		address := inspect.ParseIP(a.Address)
		contains := func(subnet netip.Prefix) bool { return subnet.Contains(address) }
		if address.IsValid() && (a.Scope == "link") == w.link && family(a.Address) == w.family &&
			(len(w.subnets) == 0 || slices.ContainsFunc(w.subnets, contains)) {
			return address.String()
		}
	}
	return ""
}
