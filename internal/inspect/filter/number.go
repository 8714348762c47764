package filter

import (
	"math"
	"slices"

	"golang.org/x/net/bpf"
)

// scratch is how many cells of memory a program has.
const scratch = 16

// maxOffset is past the end of every packet. Larger ones have a meaning of their own to the kernel.
const maxOffset = 1 << 17

// number is one that a program computes: a constant, the length of the packet, bytes of it, or two with an operator.
type number struct {
	constant    bool
	value       uint32
	protocol    *protocol // whose bytes these are
	size        int
	offset      *number
	op          string
	left, right *number
	cells       int    // of the scratch memory that it takes
	written     *token // it is just this word
	enclosed    bool   // in parentheses
}

// arithmetics are the operators, and how tight they bind. tcpdump has no order for % and ^.
var arithmetics = map[string]int{"|": 1, "&": 2, "<<": 3, ">>": 3, "+": 4, "-": 4, "*": 5, "/": 5, "%": 5, "^": 5}

var operations = map[string]bpf.ALUOp{
	"|": bpf.ALUOpOr, "&": bpf.ALUOpAnd, "<<": bpf.ALUOpShiftLeft, ">>": bpf.ALUOpShiftRight, "+": bpf.ALUOpAdd,
	"-": bpf.ALUOpSub, "*": bpf.ALUOpMul, "/": bpf.ALUOpDiv, "%": bpf.ALUOpMod, "^": bpf.ALUOpXor,
}

// atNumber reports whether a number begins here.
func (p *parser) atNumber() bool {
	t := p.peek()
	_, constant := constants[t.name]
	return t.isNumber() || constant || p.at("-", "len") || protocols[t.name] != nil && p.after(1).text == "["
}

// arithmetic reads the operators that follow a number and bind tighter than a level.
func (p *parser) arithmetic(left *number, above int) *number {
	for {
		level := arithmetics[p.peek().name]
		if level <= above {
			return left
		}
		op := p.take()
		right := p.arithmetic(p.operand(), level)
		left = p.combine(op, left, right)
	}
}

// operand reads one number.
func (p *parser) operand() *number {
	defer p.deeper()()
	t := p.take()
	value, constant := constants[t.name]
	switch {
	case t.isNumber():
		return &number{constant: true, value: p.numeral(t, math.MaxUint32), written: &t}
	case constant:
		return &number{constant: true, value: value}
	case t.name == "-":
		return p.combine(t, &number{constant: true}, p.operand())
	case t.name == "len":
		return &number{}
	case t.name == "(":
		inner := p.arithmetic(p.operand(), 0)
		p.want(")")
		inner.enclosed = true
		return inner
	case protocols[t.name] != nil && p.accept("["):
		return p.bytes(t)
	}
	p.refuse(t, `a number, "len", "ip[…]" or another protocol's bytes, "("`)
	return &number{constant: true}
}

// numeral reads a number that is written as such.
func (p *parser) numeral(t token, most uint32) uint32 {
	value, problem := t.number()
	switch {
	case problem != "":
		p.fail(t, problem, t.text)
	case value > most:
		p.fail(t, "%s is more than %d", t.text, most)
	}
	return value
}

// bytes reads what follows "ip[".
func (p *parser) bytes(name token) *number {
	found := protocols[name.name]
	if found.sealed {
		p.fail(name, "the bytes of %s cannot be looked at, only those of: %s", name.text, names(func(o *protocol) bool { return !o.sealed }))
	}
	p.canHave(name, found)
	at := p.peek()
	offset := p.arithmetic(p.operand(), 0)
	if offset.constant && offset.value > maxOffset {
		p.fail(at, "no packet has a byte there: the offset is less than 0 or more than %d", maxOffset)
	}
	size := 1
	if p.accept(":") {
		t := p.take()
		if !slices.Contains([]string{"1", "2", "4"}, t.text) {
			p.refuse(t, "1, 2, 4 (how many bytes)")
		}
		size = int(p.numeral(t, 4))
	}
	p.want("]")
	return p.counted(at, &number{protocol: found, offset: offset, size: size, cells: max(offset.cells, 1)})
}

// counted refuses a number that takes more memory than there is.
func (p *parser) counted(t token, n *number) *number {
	if n.cells >= scratch {
		p.fail(t, "more than %d numbers have to be kept at once: use fewer parentheses", scratch)
	}
	return n
}

// combine gives two numbers with an operator, computed if they are constants.
func (p *parser) combine(op token, left, right *number) *number {
	for _, side := range []*number{left, right} {
		if side.op != "" && !side.enclosed && (unordered(op.name) || unordered(side.op)) {
			p.fail(op, "%q and %q have no order between them: use parentheses", op.text, side.op)
		}
	}
	switch {
	case right.constant && right.value == 0 && (op.name == "/" || op.name == "%"):
		p.fail(op, "%q by zero", op.text)
	case (op.name == "<<" || op.name == ">>") && (!right.constant || right.value > 31):
		p.fail(op, "%q is by a number from 0 to 31 only", op.text)
	}
	if p.err != nil {
		return &number{constant: true}
	}
	both := &number{op: op.name, left: left, right: right, cells: left.cells}
	if !right.constant {
		both.cells = max(left.cells, right.cells+1)
	}
	if left.constant && right.constant {
		both.constant, both.value = true, fold(op.name, left.value, right.value)
	}
	return p.counted(op, both)
}

func unordered(op string) bool { return op == "%" || op == "^" }

// fold computes what a program would, by its 32 bits.
func fold(op string, left, right uint32) uint32 {
	switch op {
	case "|":
		return left | right
	case "&":
		return left & right
	case "^":
		return left ^ right
	case "<<":
		return left << right
	case ">>":
		return left >> right
	case "+":
		return left + right
	case "-":
		return left - right
	case "*":
		return left * right
	case "/":
		return left / right
	}
	return left % right
}

// code computes the number in A. Cells of the memory below one are in use.
func (n *number) code(l layout, cell int) []bpf.Instruction {
	switch {
	case n.constant:
		return []bpf.Instruction{bpf.LoadConstant{Dst: bpf.RegA, Val: n.value}}
	case n.protocol != nil:
		return n.load(l, cell)
	case n.op == "":
		return []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtLen}}
	case n.right.constant:
		return append(n.left.code(l, cell), bpf.ALUOpConstant{Op: operations[n.op], Val: n.right.value})
	}
	return append(pair(l, n.left, n.right, cell), bpf.ALUOpX{Op: operations[n.op]})
}

// pair computes two numbers, in A and X.
func pair(l layout, left, right *number, cell int) []bpf.Instruction {
	code := append(left.code(l, cell), bpf.StoreScratch{Src: bpf.RegA, N: cell})
	code = append(code, right.code(l, cell+1)...)
	return append(code, bpf.TAX{}, bpf.LoadScratch{Dst: bpf.RegA, N: cell})
}

// load reads bytes of the packet.
func (n *number) load(l layout, cell int) []bpf.Instruction {
	base, behind := n.base(l)
	if n.offset.constant {
		if behind {
			return []bpf.Instruction{bpf.LoadMemShift{Off: l.network()}, bpf.LoadIndirect{Off: base + n.offset.value, Size: n.size}}
		}
		return []bpf.Instruction{bpf.LoadAbsolute{Off: base + n.offset.value, Size: n.size}}
	}
	code := n.offset.code(l, cell)
	if behind {
		code = append(code, bpf.StoreScratch{Src: bpf.RegA, N: cell}, bpf.LoadMemShift{Off: l.network()},
			bpf.LoadScratch{Dst: bpf.RegA, N: cell}, bpf.ALUOpX{Op: bpf.ALUOpAdd})
	}
	return append(code, bpf.TAX{}, bpf.LoadIndirect{Off: base, Size: n.size})
}

// base is where the protocol's header begins, maybe behind an IPv4 header.
func (n *number) base(l layout) (base uint32, behindIPv4 bool) {
	switch {
	case n.protocol.layer == linkLayer:
		return 0, false
	case n.protocol.layer == networkLayer:
		return l.network(), false
	case n.protocol.v4:
		return l.network(), true
	}
	return l.network() + 40, false
}

// guards are what must hold for the number to be there.
func (n *number) guards(l layout) all {
	switch {
	case n == nil || n.constant:
		return nil
	case n.op != "":
		return append(n.left.guards(l), n.right.guards(l)...)
	case n.protocol == nil:
		return nil
	}
	guards := n.offset.guards(l)
	switch {
	case n.protocol.layer == linkLayer:
		return guards
	case n.protocol.layer == networkLayer:
		return append(guards, l.has(n.protocol.number))
	case n.protocol.v4:
		return append(guards, l.has(etherIPv4), l.network8(9, n.protocol.number), l.wholeOrFirst())
	}
	return append(guards, l.has(etherIPv6), l.network8(6, n.protocol.number))
}

// compare is the condition of two numbers.
func compare(l layout, left *number, op string, right *number) condition {
	var found test
	if right.constant {
		found = test{load: left.code(l, 0), value: right.value}
	} else {
		found = test{load: pair(l, left, right, 0), byX: true}
	}
	negative := false
	switch op {
	case "=", "!=":
		found.cond, negative = bpf.JumpEqual, op == "!="
	case ">", "<=":
		found.cond, negative = bpf.JumpGreaterThan, op == "<="
	case ">=", "<":
		found.cond, negative = bpf.JumpGreaterOrEqual, op == "<"
	}
	guards := append(left.guards(l), right.guards(l)...)
	if negative {
		return append(guards, not{found})
	}
	return append(guards, found)
}
