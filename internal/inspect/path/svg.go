package path

import (
	"cmp"
	"encoding/xml"
	"fmt"
	"strings"
)

// Style is in every picture. It is for light and dark alike; colours say nothing that a sign or a shape does not.
const Style = `
svg{--paper:#fff;--ink:#1f2328;--soft:#59636e;--edge:#818b98;--box:#f6f8fa;--pod:#ddf4ff;--wire:#fff8c5;--bad:#c21c2c;--warn:#8a5a00}
@media (prefers-color-scheme:dark){svg{--paper:#0d1117;--ink:#e6edf3;--soft:#9da7b3;--edge:#6e7681;--box:#161b22;--pod:#0c2d4d;--wire:#3a2d05;--bad:#ff7b72;--warn:#e3b341}}
text{font:12px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace;fill:var(--ink);white-space:pre}
.b{font-weight:700}.t{font-size:14px;font-weight:700}.s{fill:var(--soft)}.bad{fill:var(--bad);font-weight:700}.warn{fill:var(--warn);font-weight:700}
rect{fill:var(--box);stroke:var(--edge)}.pod{fill:var(--pod)}.wire{fill:var(--wire)}.paper{fill:var(--paper);stroke:none}.node{fill:none;stroke-dasharray:2 3}
.lost{stroke:var(--bad);stroke-dasharray:5 3;stroke-width:2}.unknown{stroke:var(--warn);stroke-dasharray:1 3;stroke-width:2}
path{fill:none;stroke:var(--edge);stroke-width:2}
`

// canvas collects the elements of a picture.
type canvas struct {
	strings.Builder
	notes footnotes
	d     *Document
}

func escape(text string) string {
	var escaped strings.Builder
	_ = xml.EscapeText(&escaped, []byte(text)) // a Builder takes everything
	return escaped.String()
}

func (c *canvas) text(x, y int, class, text string) {
	fmt.Fprintf(c, `<text x="%d" y="%d" class="%s">%s</text>`+"\n", x, y, class, escape(text))
}

func (c *canvas) line(format string, args ...any) {
	fmt.Fprintf(c, `<path d="%s"/>`+"\n", fmt.Sprintf(format, args...))
}

// SVG draws the path: two columns at the full width, pods on top and wires at the bottom; or one
// column below 600 pixels.
func (d *Document) SVG(width int) string {
	if width == 0 {
		width = wideWidth
	}
	width = max(width, 240)
	c := &canvas{d: d}
	y := c.heading(width)
	y = c.way(&d.There, d.To, width, y)
	switch {
	case d.SameWay():
		y = c.paragraph("The answer takes the same interfaces, in the other order.", "s", width, y+lineHeight)
	case d.Back != nil:
		y = c.paragraph("The way back: "+d.Back.Summary(), wayClass(d.Back, "b"), width, y+2*lineHeight)
		y = c.way(d.Back, d.From, width, y)
	}
	y = c.ending(width, y)
	var out strings.Builder
	fmt.Fprintf(&out, `<svg xmlns="http://www.w3.org/2000/svg" width="%d" height="%d" viewBox="0 0 %d %d" role="img" aria-labelledby="title">`+"\n", width, y+8, width, y+8)
	fmt.Fprintf(&out, "<title id=\"title\">%s</title>\n<style>%s</style>\n<rect class=\"paper\" width=\"%d\" height=\"%d\"/>\n%s</svg>\n", escape(d.Title()+": "+d.There.Summary()), Style, width, y+8, c.String())
	return out.String()
}

// paragraph writes wrapped text, and gives where the next line would be.
func (c *canvas) paragraph(text, class string, width, y int) int {
	for _, line := range wrap(text, fits(width-2*boxMargin)) {
		c.text(boxMargin, y, class, line)
		y += lineHeight
	}
	return y
}

func (c *canvas) heading(width int) int {
	y := 26
	for _, line := range wrap(c.d.Title(), fits(width-2*boxMargin)*6/7) {
		c.text(boxMargin, y, "t", line)
		y += 20
	}
	return c.paragraph(c.d.There.Summary(), wayClass(&c.d.There, "s"), width, y)
}

// wayClass is how the summary of a way is written.
func wayClass(w *Way, class string) string {
	switch w.Outcome {
	case Lost:
		return "bad"
	case Unknown:
		return "warn"
	case Arrives, Leaves:
	}
	return class
}

// ending has what belongs to the whole: footnotes, notes and the size.
func (c *canvas) ending(width, y int) int {
	y += lineHeight
	for i, note := range c.notes {
		y = c.paragraph(fmt.Sprintf("[%d] %s", i+1, note), "s", width, y)
	}
	for _, note := range c.d.Notes {
		y = c.paragraph(note.About+": "+note.Text, "s", width, y)
	}
	y = c.probe(width, y)
	class := "s"
	if c.d.TooNarrow() {
		class = "bad"
	}
	return c.paragraph(c.d.Size(), class, width, y)
}

// probe says what became of each packet.
func (c *canvas) probe(width, y int) int {
	if c.d.Probe == nil {
		return y
	}
	for i, line := range c.d.Probe.Lines() {
		class := "s"
		if c.d.Probe.Shots[i].Outcome != Answered {
			class = "bad"
		}
		y = c.paragraph("probe: "+line, class, width, y)
	}
	for _, note := range c.d.Probe.Notes {
		y = c.paragraph("probe: "+note, "s", width, y)
	}
	return y
}

// column is where the boxes of a lane are.
type column struct{ x, width int }

// way draws one way, and gives where it ends.
func (c *canvas) way(w *Way, to End, width, y int) int {
	if len(w.Hops) == 0 {
		return y
	}
	if width < 600 {
		return c.single(w, to, column{boxMargin, width - 2*boxMargin}, y)
	}
	arranged := arrange(w, to)
	half := (width - 3*boxMargin) / 2
	left, right := column{boxMargin, half}, column{2*boxMargin + half, half}
	leftEnd := c.lane(arranged.left, left, y, false)
	if len(arranged.right) == 0 {
		if arranged.missing != nil {
			c.unreached(w, *arranged.missing, right, y)
		}
		c.frame(arranged.left, left, y, leftEnd)
		return c.tail(w, left, leftEnd)
	}
	top := y
	if arranged.missing != nil {
		top = c.unreached(w, *arranged.missing, right, y)
		c.mark(w, right, top, top+stepLine)
		c.line("M%d %dV%d", right.x+boxMargin+wireX, top+stepLine, top+lineHeight+8)
	}
	rightEnd := c.lane(arranged.right, right, top, true)
	end := max(leftEnd, rightEnd)
	if arranged.left[0].Node != arranged.right[0].Node {
		c.frame(arranged.left, left, y, end)
		c.frame(arranged.right, right, y, end)
		return c.join(arranged, left, right, leftEnd, rightEnd, end)
	}
	bottom := c.join(arranged, left, right, leftEnd, rightEnd, end)
	c.frame(arranged.left, column{left.x, right.x + right.width - left.x}, y, bottom)
	return bottom + boxMargin
}

// tail draws what comes after the last box of a way that does not arrive.
func (c *canvas) tail(w *Way, at column, y int) int {
	x := at.x + boxMargin + wireX
	switch w.Outcome {
	case Lost, Unknown:
		c.mark(w, at, y-boxMargin, y+boxMargin)
	case Leaves:
		c.line("M%d %dV%d", x, y-boxMargin, y+boxMargin)
		c.text(x+14, y+boxMargin, "s", "to "+w.To)
	case Arrives:
		return y + boxMargin
	}
	return y + 2*boxMargin
}

// mark draws where a packet gets no further.
func (c *canvas) mark(w *Way, at column, from, to int) {
	x := at.x + boxMargin + wireX
	class, text := "lost", "lost here"
	if w.Outcome != Lost {
		class, text = "unknown", "not known from here on"
	}
	fmt.Fprintf(c, `<path class="%s" d="M%d %dV%d"/>`+"\n", class, x, from, to)
	c.text(x+14, max(to, from+stepLine), wayClass(w, "s"), text)
}

// single draws a way in one column.
func (c *canvas) single(w *Way, to End, at column, y int) int {
	for start := 0; start < len(w.Hops); {
		end := start
		for end < len(w.Hops) && w.Hops[end].Node == w.Hops[start].Node {
			end++
		}
		if start > 0 {
			y = c.gap(w.Hops[start], at, y)
		}
		bottom := c.lane(w.Hops[start:end], at, y, false)
		c.frame(w.Hops[start:end], at, y, bottom)
		y, start = bottom, end
	}
	y = c.tail(w, at, y)
	if w.Outcome != Arrives && to.Subject != to.Address {
		y = c.unreached(w, to, at, y) + boxMargin
	}
	return y
}

// frame draws the dotted line round the hops of a node.
func (c *canvas) frame(hops []Hop, at column, y, end int) {
	if len(hops) == 0 {
		return
	}
	fmt.Fprintf(c, `<rect class="node" x="%d" y="%d" width="%d" height="%d" rx="10"/>`+"\n", at.x, y, at.width, end-y)
	c.text(at.x+boxMargin, y+lineHeight, "s", "node "+hops[0].Node)
}

// lane draws hops from the top down; those that a packet passes upwards come in the other order. It gives where it ends.
func (c *canvas) lane(hops []Hop, at column, y int, upwards bool) int {
	y += lineHeight + 8
	for i := range hops {
		hop, step := hops[i], hops[i]
		if upwards {
			hop = hops[len(hops)-1-i]
			if i > 0 {
				step = hops[len(hops)-i]
			}
		}
		if i > 0 {
			y = c.gap(step, at, y)
		}
		y = c.box(hop, column{at.x + boxMargin, at.width - 2*boxMargin}, y)
	}
	return y + boxMargin
}

// gap draws how a packet comes from one box to the next.
func (c *canvas) gap(hop Hop, at column, y int) int {
	lines := wrap(hop.Step.Text, fits(at.width-2*boxMargin-stepIndent))
	height := max(len(lines), 1)*stepLine + 10
	x := at.x + boxMargin + wireX
	c.line("M%d %dV%d", x, y, y+height)
	for i, line := range lines {
		c.text(at.x+boxMargin+stepIndent, y+stepLine*(i+1)+1, "s", line)
	}
	return y + height
}

// box draws a hop, and gives where it ends.
func (c *canvas) box(hop Hop, at column, y int) int {
	head := hop.Kind
	if hop.Place == InPod {
		head += " of " + hop.In
	}
	head += c.notes.numbers(hop.Notes)
	characters := fits(at.width - 2*boxPadding - 20)
	names := wrap(cmp.Or(strings.TrimSpace(hop.Name), "?"), characters)
	room := characters - len([]rune(names[len(names)-1])) - 2
	heads := wrap(head, characters)
	if len([]rune(head)) <= room {
		heads = nil
	}
	facts := wrapList(hop.factList(), characters)
	var squeeze []string
	for _, text := range []string{c.d.squeeze(&hop), hop.probedLine()} {
		squeeze = append(squeeze, wrap(text, characters)...)
	}
	height := (len(names)+len(heads)+len(facts)+len(squeeze))*lineHeight + boxPadding
	fmt.Fprintf(c, `<rect class="%s" x="%d" y="%d" width="%d" height="%d" rx="5"/>`+"\n", boxClass(hop), at.x, y, at.width, height)
	line := y
	for i, name := range names {
		line += lineHeight
		c.text(at.x+boxPadding, line-2, "b", name)
		if i == len(names)-1 && heads == nil {
			c.text(at.x+boxPadding+int(float64(len([]rune(name))+2)*advance), line-2, "s", head)
		}
	}
	for _, text := range append(heads, facts...) {
		line += lineHeight
		c.text(at.x+boxPadding, line-2, "s", text)
	}
	for _, text := range squeeze {
		line += lineHeight
		c.text(at.x+boxPadding, line-2, "warn", text)
	}
	if sign := hop.State.sign(); sign != "" {
		c.text(at.x+at.width-boxPadding-8, y+lineHeight-2, signClass(hop.State), sign)
	}
	return y + height
}

func boxClass(hop Hop) string {
	class := map[Place]string{InPod: "pod", AtWire: "wire"}[hop.Place]
	switch hop.State {
	case IsLost, NotSeen:
		class += " lost"
	case IsUnknown, Changed:
		class += " unknown"
	case Passes, Seen:
	}
	return strings.TrimSpace(class)
}

func signClass(state State) string {
	switch state {
	case IsLost, NotSeen:
		return "bad"
	case IsUnknown, Changed:
		return "warn"
	case Passes, Seen:
	}
	return "b"
}

// unreached draws the end that the packet does not come to.
func (c *canvas) unreached(w *Way, to End, at column, y int) int {
	class, text := "lost", "not reached"
	if w.Outcome != Lost {
		class, text = "unknown", "not known whether it gets here"
	}
	lines := wrap(to.text(), fits(at.width-4*boxMargin))
	height := (len(lines)+1)*lineHeight + boxPadding
	x := at.x + boxMargin
	top := y + lineHeight + 8
	fmt.Fprintf(c, `<rect class="pod %s" x="%d" y="%d" width="%d" height="%d" rx="5"/>`+"\n", class, x, top, at.width-2*boxMargin, height)
	for i, line := range append(lines, text) {
		c.text(x+boxPadding, top+lineHeight*(i+1)-2, "s", line)
	}
	return top + height
}

// join draws what connects the two columns: a wire, or the hop that both share. It gives where it ends.
func (c *canvas) join(a columns, left, right column, leftEnd, rightEnd, end int) int {
	x1, x2 := left.x+boxMargin+wireX, right.x+boxMargin+wireX
	first := a.right[0]
	if a.bottom == nil {
		c.line("M%d %dV%dH%dV%d", x1, leftEnd-boxMargin, end+14, x2, rightEnd-boxMargin)
		return c.centred(first.Step.Text, left.x, right.x+right.width, end+32)
	}
	y := end - boxMargin
	characters := fits(left.width - 2*boxMargin - stepIndent)
	height := max(len(wrap(a.bottom.Step.Text, characters)), len(wrap(first.Step.Text, characters)), 1)*stepLine + 10
	for _, side := range []struct {
		x, from int
		text    string
	}{{x1, leftEnd, a.bottom.Step.Text}, {x2, rightEnd, first.Step.Text}} {
		c.line("M%d %dV%d", side.x, side.from-boxMargin, y+height)
		for i, line := range wrap(side.text, characters) {
			c.text(side.x+14, y+stepLine*(i+1)+1, "s", line)
		}
	}
	return c.box(*a.bottom, column{left.x + boxMargin, right.x + right.width - left.x - 2*boxMargin}, y+height) + boxMargin
}

// centred writes text in the middle between two edges.
func (c *canvas) centred(text string, from, to, y int) int {
	for _, line := range wrap(text, fits(to-from)) {
		c.text((from+to)/2-int(float64(len([]rune(line)))*advance/2), y, "s", line)
		y += lineHeight
	}
	return y
}
