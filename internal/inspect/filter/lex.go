package filter

import (
	"strconv"
	"strings"
)

// token is a word or an operator of the text. The one at the end has no text.
type token struct {
	text string
	name string // the one name of what may be written in several ways: "&&" is "and"
	at   int
}

var synonyms = map[string]string{"&&": "and", "||": "or", "!": "not", "==": "=", "length": "len", "link": "ether"}

const operators = "+-*/%&|^<>=!()[]:"

// tokens cuts a text into words and operators.
func tokens(text string) ([]token, error) {
	var all []token
	brackets := 0
	for at := 0; at < len(text); {
		if strings.IndexByte(" \t\r\n", text[at]) >= 0 {
			at++
			continue
		}
		size := wordSize(text[at:], brackets > 0)
		if size == 0 {
			size = operatorSize(text[at:])
		}
		if size == 0 {
			return nil, refusal(text, at, "%q is no sign of the filter language", firstRune(text[at:]))
		}
		word := text[at : at+size]
		switch word {
		case "[":
			brackets++
		case "]":
			brackets--
		}
		all = append(all, token{text: word, name: nameOf(word), at: at})
		at += size
	}
	return append(all, token{at: len(text)}), nil
}

func nameOf(word string) string {
	if name, found := synonyms[word]; found {
		return name
	}
	return word
}

func firstRune(text string) string {
	for _, r := range text {
		return string(r)
	}
	return ""
}

// wordSize is how long the word is that the text begins with. A colon is of an address, but within brackets.
func wordSize(text string, bracketed bool) int {
	size := 0
	if strings.HasPrefix(text, `\`) {
		size = 1
	}
	for ; size < len(text); size++ {
		switch c := text[size]; {
		case isAlphanumeric(c):
		case c == ':' && !bracketed:
		case strings.IndexByte("-_.", c) >= 0 && size > 0:
		default:
			return size
		}
	}
	return size
}

func isAlphanumeric(c byte) bool {
	return c >= 'a' && c <= 'z' || c >= 'A' && c <= 'Z' || c >= '0' && c <= '9'
}

func operatorSize(text string) int {
	for _, long := range []string{"&&", "||", "==", "!=", "<=", ">=", "<<", ">>"} {
		if strings.HasPrefix(text, long) {
			return 2
		}
	}
	if strings.IndexByte(operators, text[0]) >= 0 {
		return 1
	}
	return 0
}

// isNumber reports whether a word is a number, be it too large.
func (t token) isNumber() bool {
	digits, set := t.text, "0123456789"
	if strings.HasPrefix(digits, "0x") || strings.HasPrefix(digits, "0X") {
		digits, set = digits[2:], "0123456789abcdefABCDEF"
	}
	return digits != "" && strings.Trim(digits, set) == ""
}

func (t token) isWord() bool { return wordSize(t.text, false) > 0 }

// isValue reports whether a word can only be a value: an address, a number, a range, a name behind a backslash.
func (t token) isValue() bool {
	_, named := protocolNumbers[t.text]
	return named || strings.ContainsAny(t.text, `:\`) || t.text != "" && t.text[0] >= '0' && t.text[0] <= '9' || isMAC(t.text)
}

// number reads a number. One with a leading zero is octal to tcpdump and decimal to people.
func (t token) number() (uint32, string) {
	if len(t.text) > 1 && t.text[0] == '0' && t.text[1] != 'x' && t.text[1] != 'X' {
		return 0, "%q begins with 0, which may mean octal: write it without"
	}
	value, err := strconv.ParseUint(t.text, 0, 32)
	if err != nil {
		return 0, "%q is more than 32 bits"
	}
	return uint32(value), ""
}
