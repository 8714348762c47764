package style

import (
	"fmt"
	"io"
	"regexp"
	"strings"
	"unicode"
	"unicode/utf8"
)

// own are the codes of a Style.
var own = regexp.MustCompile(`^\x1b\[(0|1|1;31|31|32|33|36)m`)

// Safe gives a writer to a terminal that shows control characters, and does not obey them: a pod names its own
// interfaces, and a snapshot may be of anybody. Colours lets the codes of a Style pass.
func Safe(w io.Writer, colours bool) io.Writer { return safe{w, colours} }

type safe struct {
	io.Writer
	colours bool
}

func (s safe) Write(data []byte) (int, error) {
	if _, err := io.WriteString(s.Writer, s.shown(string(data))); err != nil {
		return 0, err
	}
	return len(data), nil
}

func (s safe) shown(text string) string {
	var shown strings.Builder
	for text != "" {
		if code := own.FindString(text); code != "" && s.colours {
			shown.WriteString(code)
			text = text[len(code):]
			continue
		}
		r, size := utf8.DecodeRuneInString(text)
		switch {
		case r == utf8.RuneError && size == 1 || r < 0x100 && r != '\n' && r != '\t' && unicode.IsControl(r):
			for _, b := range []byte(text[:size]) {
				fmt.Fprintf(&shown, `\x%02x`, b)
			}
		default:
			shown.WriteString(text[:size])
		}
		text = text[size:]
	}
	return shown.String()
}
