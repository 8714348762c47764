package validate

import (
	"encoding/json"
	"errors"
	"strconv"
	"strings"
)

// value is a JSON value with its place in the text.
type value struct {
	at      int
	raw     string
	members []member // of an object
	items   []*value // of an array
}

// member is a key of an object, and its value.
type member struct {
	key   string
	at    int
	value *value
}

// maxDepth is deeper than any configuration is.
const maxDepth = 200

// parseJSON gives the value that a text is. The error's offset is that of the byte that is wrong.
func parseJSON(s string) (*value, int, error) {
	var any json.RawMessage
	if err := json.Unmarshal([]byte(s), &any); err != nil {
		var syntax *json.SyntaxError
		if errors.As(err, &syntax) {
			return nil, max(int(syntax.Offset)-1, 0), err
		}
		return nil, 0, err
	}
	p := &parser{text: s}
	return p.value(0), 0, nil
}

// parser reads what is known to be valid JSON.
type parser struct {
	text string
	pos  int
}

func (p *parser) space() {
	p.pos += len(p.text[p.pos:]) - len(strings.TrimLeft(p.text[p.pos:], " \t\r\n"))
}

// next passes a byte that is there, if it is the one.
func (p *parser) next(c byte) bool {
	p.space()
	if p.pos < len(p.text) && p.text[p.pos] == c {
		p.pos++
		return true
	}
	return false
}

func (p *parser) value(depth int) *value {
	p.space()
	v := &value{at: p.pos}
	switch {
	case depth > maxDepth:
		p.pos = len(p.text)
	case p.next('{'):
		p.members(v, depth)
	case p.next('['):
		for !p.next(']') && p.pos < len(p.text) {
			v.items = append(v.items, p.value(depth+1))
			p.next(',')
		}
	case p.pos < len(p.text) && p.text[p.pos] == '"':
		p.string()
	default:
		for p.pos < len(p.text) && !strings.ContainsRune(",]} \t\r\n", rune(p.text[p.pos])) {
			p.pos++
		}
	}
	v.raw = p.text[v.at:p.pos]
	return v
}

func (p *parser) members(v *value, depth int) {
	for !p.next('}') && p.pos < len(p.text) {
		p.space()
		m := member{at: p.pos}
		m.key = p.string()
		p.next(':')
		m.value = p.value(depth + 1)
		v.members = append(v.members, m)
		p.next(',')
	}
}

func (p *parser) string() string {
	start := p.pos
	for p.pos++; p.pos < len(p.text) && p.text[p.pos] != '"'; p.pos++ {
		if p.text[p.pos] == '\\' {
			p.pos++
		}
	}
	p.pos = min(p.pos+1, len(p.text))
	var s string
	_ = json.Unmarshal([]byte(p.text[start:p.pos]), &s) // it is valid
	return s
}

// member gives the member that readers take for a key: the last one of the name, else one that
// differs in case. A nil value has none.
func (v *value) member(key string) *member {
	if v == nil {
		return nil
	}
	var folded *member
	for i := len(v.members) - 1; i >= 0; i-- {
		m := &v.members[i]
		if m.key == key {
			return m
		}
		if folded == nil && strings.EqualFold(m.key, key) {
			folded = m
		}
	}
	return folded
}

// get gives the value of a key, nil if there is none.
func (v *value) get(keys ...string) *value {
	for _, key := range keys {
		m := v.member(key)
		if m == nil {
			return nil
		}
		v = m.value
	}
	return v
}

// str gives a string's value, "" of anything else.
func (v *value) str() string {
	if v == nil {
		return ""
	}
	var s string
	_ = json.Unmarshal([]byte(v.raw), &s)
	return s
}

// find goes along the path of a field, as far as it is there, and gives the last value on it.
func (v *value) find(path string) (last *value, whole bool) {
	for path != "" {
		if whole := v.get(path); whole != nil { // a key with a domain in it
			return whole, true
		}
		step, rest := cutPath(path)
		next := v.step(step)
		if next == nil {
			return v, false
		}
		v, path = next, rest
	}
	return v, true
}

func (v *value) step(step string) *value {
	if index, isIndex := strings.CutPrefix(step, "["); isIndex {
		i, err := strconv.Atoi(index)
		if err != nil || i < 0 || i >= len(v.items) {
			return nil
		}
		return v.items[i]
	}
	return v.get(step)
}

// cutPath takes the first step off a path as plugins[0].ipam: a key, or "[" and an index.
func cutPath(path string) (step, rest string) {
	if strings.HasPrefix(path, "[") {
		step, rest, _ = strings.Cut(path, "]")
		return step, strings.TrimPrefix(rest, ".")
	}
	i := strings.IndexAny(path, ".[")
	if i < 0 {
		return path, ""
	}
	return path[:i], strings.TrimPrefix(path[i:], ".")
}
