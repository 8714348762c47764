package path

import (
	"fmt"
	"io"
	"slices"
	"strings"
)

// Title says which path it is.
func (d *Document) Title() string {
	title := d.From.text() + " → " + d.To.text()
	if d.Network != "" {
		title += ", network " + d.Network
	}
	return title
}

func (e End) text() string {
	text := e.Subject
	if e.Interface != "" {
		text += " " + e.Interface
	}
	if e.Address != "" && e.Address != e.Subject {
		text += " (" + e.Address + ")"
	}
	if e.Port != 0 {
		text += fmt.Sprintf(" port %d", e.Port)
	}
	return text
}

// Summary says in a line how a way ends.
func (w *Way) Summary() string {
	if w.Reason == "" {
		return string(w.Outcome)
	}
	return string(w.Outcome) + ": " + w.Reason
}

// Size says in a line how large the packets are that pass, "" if nothing is known.
func (d *Document) Size() string {
	switch {
	case d.Narrowest == nil, d.isLost() && !d.TooNarrow():
		return ""
	case d.TooNarrow():
		return fmt.Sprintf("packets of more than %d bytes do not pass whole, and the ends may send %d: %s is too narrow", d.Narrowest.Size, d.Narrowest.Sends, d.Narrowest.place())
	case d.Narrowest.Told:
		return d.byMTUs() + fmt.Sprintf("packets of up to %d bytes pass whole; the ends may send %d, and the routing before %s tells them", d.Narrowest.Size, d.Narrowest.Sends, d.Narrowest.place())
	}
	return d.byMTUs() + fmt.Sprintf("packets of up to %d bytes pass whole", d.Narrowest.Size)
}

// byMTUs says that a probe showed otherwise, if it did.
func (d *Document) byMTUs() string {
	if d.Probe != nil && d.Probe.wrong() {
		return "by the MTUs, "
	}
	return ""
}

func (n *Narrowest) place() string {
	if n.Node == "" {
		return n.Hop
	}
	return n.Hop + " of " + n.Node
}

// SameWay reports whether the answer takes the interfaces of the way there, in the other order.
func (d *Document) SameWay() bool {
	if d.Back == nil || len(d.Back.Hops) != len(d.There.Hops) || d.Back.Outcome != Arrives || d.There.Outcome != Arrives {
		return false
	}
	if d.Back.isProbedWrong() {
		return false
	}
	for i, hop := range d.There.Hops {
		other := d.Back.Hops[len(d.Back.Hops)-1-i]
		if hop.Node != other.Node || hop.Ref != other.Ref {
			return false
		}
	}
	return true
}

// sign says a state without a colour.
func (s State) sign() string {
	switch s {
	case IsLost, NotSeen:
		return "✗"
	case IsUnknown:
		return "?"
	case Seen:
		return "✓"
	case Changed:
		return "≠"
	case Passes:
	}
	return ""
}

// footnotes numbers the notes of hops, each text once.
type footnotes []string

func (f *footnotes) numbers(notes []string) string {
	var text strings.Builder
	for _, note := range notes {
		number := 0
		for i, known := range *f {
			if known == note {
				number = i + 1
			}
		}
		if number == 0 {
			*f = append(*f, note)
			number = len(*f)
		}
		fmt.Fprintf(&text, " [%d]", number)
	}
	return text.String()
}

// WriteText writes the path for a terminal: a hop a line, and between two how the packet comes
// from one to the other.
func (d *Document) WriteText(w io.Writer) error {
	var text strings.Builder
	var notes footnotes
	fmt.Fprintln(&text, d.Title())
	d.way(&text, &d.There, "there", &notes)
	switch {
	case d.SameWay():
		fmt.Fprintln(&text, "\nback: arrives, by the same interfaces in the other order")
	case d.Back != nil:
		d.way(&text, d.Back, "back", &notes)
	}
	fmt.Fprintln(&text)
	for i, note := range notes {
		fmt.Fprintf(&text, "[%d] %s\n", i+1, note)
	}
	for _, note := range d.Notes {
		fmt.Fprintf(&text, "note: %s: %s\n", note.About, note.Text)
	}
	d.Probe.write(&text)
	if size := d.Size(); size != "" {
		fmt.Fprintln(&text, size)
	}
	_, err := io.WriteString(w, strings.TrimRight(text.String(), "\n")+"\n")
	return err
}

func (d *Document) way(text *strings.Builder, w *Way, name string, notes *footnotes) {
	fmt.Fprintf(text, "\n%s: %s\n", name, w.Summary())
	if w.Do != "" {
		fmt.Fprintf(text, "  %s\n", w.Do)
	}
	node := ""
	for i, hop := range w.Hops {
		if hop.Step.Text != "" {
			fmt.Fprintf(text, "    │ %s\n", hop.Step.Text)
		}
		if i == 0 || hop.Node != node {
			node = hop.Node
			fmt.Fprintf(text, "  on %s\n", node)
		}
		line := hop.line(notes)
		if squeeze := d.squeeze(&hop); squeeze != "" {
			line += "  ← " + squeeze
		}
		fmt.Fprintf(text, "    %s\n", line)
	}
}

// line describes a hop in one line.
func (h *Hop) line(notes *footnotes) string {
	line := h.Name + "  " + h.Kind
	if h.Place == InPod {
		line += " of " + h.In
	}
	if facts := h.facts(); facts != "" {
		line += ", " + facts
	}
	line += notes.numbers(h.Notes)
	if sign := h.State.sign(); sign != "" {
		line += "  " + sign + " " + h.stateText()
	}
	return line
}

// facts are those of the second line of a box.
func (h *Hop) facts() string { return strings.Join(h.factList(), ", ") }

func (h *Hop) factList() []string {
	if h.MTU == 0 {
		return h.About
	}
	return append(slices.Clone(h.About), fmt.Sprintf("MTU %d", h.MTU))
}

// squeeze says that a hop is the narrowest one of ends that may send more, "" if it is not.
func (d *Document) squeeze(h *Hop) string {
	n := d.Narrowest
	if n == nil || n.Size >= n.Sends || n.Hop != h.Name || n.Node != h.Node || h.MTU-h.Overhead != n.Size {
		return ""
	}
	return fmt.Sprintf("narrowest: %d bytes", n.Size)
}
