package validate

import (
	"bytes"
	"sort"
	"strconv"
	"unicode/utf16"
	"unicode/utf8"

	"go.yaml.in/yaml/v3"
)

// text is a string of a document that knows where in the file each of its bytes stands.
type text struct {
	src   *source
	path  string // of the field, of an object of a cluster
	value string
	start int   // where it begins in the file
	at    []int // one for each byte of value, and one for its end
}

// newText finds the bytes of a scalar's value in the file: it walks through both, and takes the
// white space of one for that of the other. Folding, indentation and escapes change nothing else.
func newText(src *source, node *yaml.Node, start int) *text {
	t := &text{src: src, value: node.Value, start: start, at: make([]int, len(node.Value)+1)}
	pos := skipProperties(src.data, start)
	read := plainUnit
	switch {
	case node.Style&(yaml.LiteralStyle|yaml.FoldedStyle) != 0:
		if end := bytes.IndexAny(src.data[pos:], "\n\r"); end >= 0 {
			pos += end
		}
	case node.Style&yaml.DoubleQuotedStyle != 0:
		pos, read = pos+1, doubleQuotedUnit
	case node.Style&yaml.SingleQuotedStyle != 0:
		pos, read = pos+1, singleQuotedUnit
	}
	t.align(pos, read)
	return t
}

// unit reads what stands at the beginning of data: what it is in the value, and its size; 0 at the end.
type unit func(data []byte) (value string, size int)

func (t *text) align(pos int, read unit) {
	i := 0
	for i < len(t.value) {
		value, size := read(t.src.data[min(pos, len(t.src.data)):])
		switch {
		case size == 0:
			t.fill(i, pos)
			return
		case isWhite(t.value[i : i+1]):
			t.at[i] = pos
			i++
			if isWhite(value) {
				pos += size
			}
		case isWhite(value):
			pos += size
		case len(value) > len(t.value)-i || t.value[i:i+len(value)] != value:
			t.fill(i, pos) // what the walk does not understand has the place where it stopped
			return
		default:
			for range len(value) {
				t.at[i] = pos
				i++
			}
			pos += size
		}
	}
	t.at[i] = pos
}

func (t *text) fill(from, pos int) {
	for i := from; i < len(t.at); i++ {
		t.at[i] = pos
	}
}

// place gives the offset in the file of a byte of the value.
func (t *text) place(offset int) int { return t.at[min(max(offset, 0), len(t.value))] }

// find gives the byte of the value that stands at an offset of the file.
func (t *text) find(offset int) (at int, inside bool) {
	if offset < t.start || offset > t.at[len(t.value)] {
		return 0, false
	}
	return min(sort.SearchInts(t.at, offset), len(t.value)), true
}

func isWhite(s string) bool { return s == " " || s == "\n" || s == "\t" || s == "\r" }

// skipProperties passes an anchor and a tag.
func skipProperties(data []byte, pos int) int {
	for pos < len(data) && (data[pos] == '&' || data[pos] == '!') {
		for pos < len(data) && !isWhite(string(data[pos])) {
			pos++
		}
		for pos < len(data) && isWhite(string(data[pos])) {
			pos++
		}
	}
	return min(pos, len(data))
}

func plainUnit(data []byte) (string, int) {
	if len(data) == 0 {
		return "", 0
	}
	return string(data[:1]), 1
}

func singleQuotedUnit(data []byte) (string, int) {
	if bytes.HasPrefix(data, []byte("''")) {
		return "'", 2
	}
	if bytes.HasPrefix(data, []byte("'")) {
		return "", 0
	}
	return plainUnit(data)
}

// escapes are YAML's escapes of one letter that are not the letter itself.
var escapes = map[byte]string{
	'0': "\x00", 'a': "\a", 'b': "\b", 't': "\t", 'n': "\n", 'v': "\v", 'f': "\f", 'r': "\r", 'e': "\x1b",
	'N': "\u0085", '_': "\u00a0", 'L': "\u2028", 'P': "\u2029", '\n': " ", '\r': " ",
}

// escapeDigits are the escapes that have hexadecimal digits, with their number.
var escapeDigits = map[byte]int{'x': 2, 'u': 4, 'U': 8}

func doubleQuotedUnit(data []byte) (string, int) {
	switch {
	case len(data) < 2 || data[0] == '"':
		return "", 0
	case data[0] != '\\':
		return plainUnit(data)
	}
	if value, named := escapes[data[1]]; named {
		return value, 2
	}
	digits := escapeDigits[data[1]]
	if digits == 0 || len(data) < 2+digits {
		return string(data[1:2]), 2
	}
	code, err := strconv.ParseUint(string(data[2:2+digits]), 16, 32)
	if err != nil {
		return "", 0
	}
	if low, is := lowSurrogate(data[2+digits:]); is && digits == 4 && utf16.IsSurrogate(rune(code)) {
		return string(utf16.DecodeRune(rune(code), low)), 2 * (2 + digits)
	}
	return string(utf8.AppendRune(nil, rune(code))), 2 + digits
}

// lowSurrogate reads the second half of a character that JSON writes as two escapes.
func lowSurrogate(data []byte) (rune, bool) {
	if len(data) < 6 || data[0] != '\\' || data[1] != 'u' {
		return 0, false
	}
	code, err := strconv.ParseUint(string(data[2:6]), 16, 32)
	return rune(code), err == nil && code >= 0xdc00 && code < 0xe000
}
