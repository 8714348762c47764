// Package style makes words of a text stand out on a terminal. The words carry the meaning: without
// colours the text is the same.
package style

import "io"

// Writer is a writer to a terminal that shows colours. Printers write to any writer, and ask
// Of for the style of it.
type Writer struct{ io.Writer }

// Style says how words stand out. Its zero value leaves them as they are.
type Style struct{ colours bool }

// Of gives the style of what is written to a writer.
func Of(w io.Writer) Style {
	_, colours := w.(Writer)
	return Style{colours}
}

// Codes of ECMA-48 that every terminal with colours has. They count on no background.
const (
	red    = "31"
	green  = "32"
	yellow = "33"
	cyan   = "36"
	bold   = "1"
)

// Bad is for an error.
func (s Style) Bad(text string) string { return s.paint(bold+";"+red, text) }

// Doubtful is for a warning, or for what is under way.
func (s Style) Doubtful(text string) string { return s.paint(yellow, text) }

// Note is for what is no fault.
func (s Style) Note(text string) string { return s.paint(cyan, text) }

// Good is for what is as it should be.
func (s Style) Good(text string) string { return s.paint(green, text) }

// Title is for a heading.
func (s Style) Title(text string) string { return s.paint(bold, text) }

func (s Style) paint(code, text string) string {
	if !s.colours || text == "" {
		return text
	}
	return "\x1b[" + code + "m" + text + "\x1b[0m"
}
