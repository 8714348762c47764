package filter

import (
	"fmt"
	"slices"
)

// parser reads a text. Its first error is kept, and puts it at the end of the text, so that all it does ends.
type parser struct {
	text   string
	tokens []token
	next   int
	link   int
	vlans  int // how many times the word was there
	sure   int // how many of those tags each packet has that comes to where the parser is
	terms  int
	depth  int
	err    error
}

// value is what a part of a text means: a condition, or a number that is not compared yet.
type value struct {
	condition condition
	number    *number
	words     *qualifiers // that hold for a value that follows without words of its own
}

// parse gives the condition of a text, and whether it looks at VLAN tags.
func parse(text string, link int) (n condition, tagged bool, err error) {
	if len(text) > maxText {
		return nil, false, refusal(text, maxText, "the text is longer than %d bytes", maxText)
	}
	all, err := tokens(text)
	if err != nil {
		return nil, false, err
	}
	p := &parser{text: text, tokens: all, link: link}
	if p.ended() {
		return always(), false, nil
	}
	parsed := p.condition(p.chain(nil), nil)
	if !p.ended() {
		p.refuse(p.peek(), `"and" or "or"`)
	}
	return parsed.condition, p.vlans > 0, p.err
}

func (p *parser) peek() token { return p.tokens[p.next] }

func (p *parser) ended() bool { return p.peek().text == "" }

func (p *parser) take() token {
	t := p.peek()
	if !p.ended() {
		p.next++
	}
	return t
}

// accept takes the next token if it has one of these names.
func (p *parser) accept(names ...string) bool {
	found := p.at(names...)
	if found {
		p.next++
	}
	return found
}

func (p *parser) at(names ...string) bool {
	return !p.ended() && slices.Contains(names, p.peek().name)
}

func (p *parser) after(ahead int) token { return p.tokens[min(p.next+ahead, len(p.tokens)-1)] }

// want takes the next token, which must have this name.
func (p *parser) want(name string) {
	if !p.accept(name) {
		p.refuse(p.peek(), fmt.Sprintf("%q", name))
	}
}

// fail keeps an error of a token, and ends the text.
func (p *parser) fail(t token, format string, args ...any) {
	if p.err == nil {
		p.err = refusal(p.text, t.at, format, args...)
	}
	p.next = len(p.tokens) - 1
}

// refuse says of a token that it cannot be where it is, and what can be there.
func (p *parser) refuse(t token, possible string) {
	advice, listed := whyNot(t.name)
	switch {
	case t.text == "":
		p.fail(t, "the filter ends too early; here one of: %s", possible)
	case listed:
		p.fail(t, "%q is a word of tcpdump that is not known here: %s", t.text, advice)
	case isKeyword(t.name) || !t.isWord() || t.isNumber():
		p.fail(t, "%q cannot be here; here one of: %s", t.text, possible)
	default:
		p.fail(t, "%q is not known; here one of: %s", t.text, possible)
	}
}

// deeper counts a part within another one; the caller counts it off.
func (p *parser) deeper() func() {
	if p.depth++; p.depth > maxDepth {
		p.fail(p.peek(), "more than %d parts within each other", maxDepth)
	}
	return func() { p.depth-- }
}

// leaf is one condition of the text, where it is.
//
// It is looked for behind the tags of the words before it. A packet that need not have them would be read at the
// wrong place, and may pass for what is not true of it.
func (p *parser) leaf(make func(layout) condition) condition {
	if p.vlans > p.sure {
		p.fail(p.tokens[max(p.next-1, 0)], `this would be looked for behind a tag that not every packet has here: write it before "vlan", "vlan and (…)", or capture "vlan" alone`)
	}
	if p.terms++; p.terms > maxInstructions {
		p.fail(p.peek(), "more than %d conditions", maxInstructions)
	}
	return leaf{vlans: p.vlans, make: make}
}

// chain reads conditions with "and" and "or" between them. Neither binds tighter: the left one comes first.
func (p *parser) chain(given *qualifiers) value {
	before := p.sure
	left := p.term(given)
	for p.at("and", "or") {
		left = p.condition(left, given)
		op, otherwise := p.take(), p.sure
		if op.name == "or" {
			p.sure = before
		}
		right := p.condition(p.term(left.words), left.words)
		if op.name == "or" {
			p.sure = min(p.sure, otherwise)
		}
		left = value{condition: join(op.name, left.condition, right.condition), words: right.words}
	}
	return left
}

func join(op string, left, right condition) condition {
	if op == "and" {
		if chain, is := left.(all); is {
			return append(chain, right)
		}
		return all{left, right}
	}
	if chain, is := left.(either); is {
		return append(chain, right)
	}
	return either{left, right}
}

// condition makes one of a number that nothing was compared with: after "port 80 or" it is a value.
func (p *parser) condition(v value, given *qualifiers) value {
	switch {
	case p.err != nil:
		return value{condition: always()}
	case v.number == nil:
		return v
	case given != nil && v.number.written != nil:
		return value{condition: p.identifier(given, *v.number.written), words: given}
	}
	possible := "= != < <= > >= or an operator, to compare what is before it"
	if written := v.number.written; written != nil && written.isNumber() {
		possible += fmt.Sprintf(`; or write what %s is: "port %[1]s", "proto %[1]s"`, written.text)
	}
	p.refuse(p.peek(), possible)
	return value{condition: always()}
}

func (p *parser) term(given *qualifiers) value {
	defer p.deeper()()
	switch {
	case p.accept("not"):
		defer func(sure int) { p.sure = sure }(p.sure)
		v := p.condition(p.term(given), given)
		return value{condition: not{v.condition}, words: v.words}
	case p.accept("("):
		return p.group(given)
	case p.atNumber():
		return p.comparison(p.operand(), given)
	case given != nil && p.peek().isValue():
		return value{condition: p.identifier(given, p.take()), words: given}
	}
	return p.primitive()
}

// group reads what follows a parenthesis: conditions, or a number.
func (p *parser) group(given *qualifiers) value {
	inner := p.chain(given)
	p.want(")")
	if inner.number != nil {
		inner.number.enclosed = true
		return p.comparison(inner.number, given)
	}
	return value{condition: inner.condition, words: given}
}

// comparison reads what follows a number: operators, and maybe what it is compared with.
func (p *parser) comparison(left *number, given *qualifiers) value {
	left = p.arithmetic(left, 0)
	if !p.at("=", "!=", "<", "<=", ">", ">=") {
		return value{number: left, words: given}
	}
	op := p.take()
	right := p.arithmetic(p.operand(), 0)
	if p.err != nil {
		return value{condition: always()}
	}
	return value{condition: p.leaf(func(l layout) condition { return compare(l, left, op.name, right) })}
}
