package path

import "strings"

// Sizes of a picture, in pixels. The font is monospace, so the width of a text is known.
const (
	wideWidth   = 888
	narrowWidth = 360
	fontSize    = 12
	advance     = 7.3 // of one character; of the widest monospace fonts that browsers take
	lineHeight  = 18
	boxPadding  = 10
	boxMargin   = 16 // between the frame of a node and its boxes
	stepLine    = 16
	stepIndent  = 38
	wireX       = 24 // of the line between two boxes, from the box's edge
)

// columns are the hops of a picture: down on the left, up on the right.
type columns struct {
	left, right []Hop // the right ones as a packet passes them: from the bottom up
	bottom      *Hop  // what both columns of one node share
	missing     *End  // the end that the packet does not come to
}

// arrange puts the hops of a way into two columns.
func arrange(w *Way, to End) columns {
	c := columns{left: w.Hops}
	for i, hop := range w.Hops {
		if hop.Node != w.Hops[0].Node {
			c.left, c.right = w.Hops[:i], w.Hops[i:]
			break
		}
	}
	last := len(w.Hops) - 1
	switch {
	case len(c.right) > 0 && w.Outcome == Arrives:
	case w.Outcome == Arrives && last > 0 && w.Hops[last].Place == InPod && w.Hops[0].Place == InPod:
		half := len(w.Hops) / 2
		c.left, c.right = w.Hops[:half], w.Hops[half:]
		if len(w.Hops)%2 == 1 {
			c.bottom, c.right = &w.Hops[half], w.Hops[half+1:]
		}
	case w.Outcome != Arrives && to.Subject != to.Address:
		c.missing = &to
	}
	return c
}

// wrap cuts a text into lines of at most so many characters, between words where it can.
func wrap(text string, width int) []string {
	width = max(width, 8)
	var lines []string
	line := ""
	for _, word := range strings.Fields(text) {
		for len([]rune(word)) > width {
			if line != "" {
				lines, line = append(lines, line), ""
			}
			runes := []rune(word)
			lines, word = append(lines, string(runes[:width])), string(runes[width:])
		}
		switch {
		case line == "":
			line = word
		case len([]rune(line))+1+len([]rune(word)) <= width:
			line += " " + word
		default:
			lines, line = append(lines, line), word
		}
	}
	if line != "" {
		lines = append(lines, line)
	}
	return lines
}

// wrapList puts facts into lines, and cuts none that fits into one.
func wrapList(facts []string, width int) []string {
	var lines []string
	line := ""
	for i, fact := range facts {
		if i < len(facts)-1 {
			fact += ","
		}
		if line != "" && len([]rune(line))+1+len([]rune(fact)) > width {
			lines, line = append(lines, wrap(line, width)...), ""
		}
		line = strings.TrimSpace(line + " " + fact)
	}
	return append(lines, wrap(line, width)...)
}

// fits gives how many characters fit into a width.
func fits(pixels int) int { return int(float64(pixels) / advance) }
