package filter

import (
	"slices"

	"golang.org/x/net/bpf"
)

// layout says where the headers of a packet are.
type layout struct {
	link     int
	stripped bool // the outermost VLAN tag is not in the frame
	vlans    int  // how many tags the words so far have passed
}

// shift is how many bytes of VLAN tags are before the network header.
func (l layout) shift() uint32 {
	if l.stripped && l.vlans > 0 {
		return uint32(4 * (l.vlans - 1))
	}
	return uint32(4 * l.vlans)
}

func (l layout) etherType() uint32 { return 12 + l.shift() }

func (l layout) network() uint32 {
	if l.link == RawIP {
		return 0
	}
	return 14 + l.shift()
}

// The places at the end of a program that every condition finds its way to.
const (
	reject = 0
	accept = 1
)

// condition emits its instructions, which go on at yes or at no, and gives its entry.
type condition interface {
	emit(a *assembler, yes, no int) int
}

type (
	all    []condition
	either []condition
	not    struct{ condition }
	// leaf is what a word of the text stands for, which depends on the layout.
	leaf struct {
		vlans int
		make  func(layout) condition
	}
	// test loads a value, and compares it with another one, or with X.
	test struct {
		load  []bpf.Instruction
		cond  bpf.JumpTest
		value uint32
		byX   bool
	}
)

// always is the condition that always holds.
func always() condition { return all{} }

func (n all) emit(a *assembler, yes, no int) int {
	for _, child := range slices.Backward(n) {
		yes = child.emit(a, yes, no)
	}
	return yes
}

func (n either) emit(a *assembler, yes, no int) int {
	for _, child := range slices.Backward(n) {
		no = child.emit(a, yes, no)
	}
	return no
}

func (n not) emit(a *assembler, yes, no int) int { return n.condition.emit(a, no, yes) }

func (n leaf) emit(a *assembler, yes, no int) int {
	at := a.layout
	at.vlans = n.vlans
	return n.make(at).emit(a, yes, no)
}

func (n test) emit(a *assembler, yes, no int) int {
	yes, no = a.near(yes), a.near(no)
	there, here := a.skip(yes), a.skip(no)
	if n.byX {
		a.add(bpf.JumpIfX{Cond: n.cond, SkipTrue: uint8(there), SkipFalse: uint8(here)})
	} else {
		a.add(bpf.JumpIf{Cond: n.cond, Val: n.value, SkipTrue: uint8(there), SkipFalse: uint8(here)})
	}
	for _, instruction := range slices.Backward(n.load) {
		a.add(instruction)
	}
	return a.last()
}

// assembler makes a program from its end: so all jumps are to what is there already, and their lengths known.
type assembler struct {
	layout
	backward []bpf.Instruction
	full     bool
}

func newAssembler(l layout) *assembler {
	return &assembler{layout: l, backward: []bpf.Instruction{
		reject: bpf.RetConstant{Val: 0}, accept: bpf.RetConstant{Val: everything},
	}}
}

func (a *assembler) last() int { return len(a.backward) - 1 }

func (a *assembler) add(instruction bpf.Instruction) {
	if len(a.backward) >= maxInstructions {
		a.full = true
		return
	}
	a.backward = append(a.backward, instruction)
}

// skip is how many instructions the next one has to pass over.
func (a *assembler) skip(place int) int { return a.last() - place }

// near gives a place that a conditional jump reaches with its 8 bits: one that goes on to a far one, else. The
// other place of the same jump may need one more instruction.
func (a *assembler) near(place int) int {
	if a.skip(place)+1 <= 255 {
		return place
	}
	a.add(bpf.Jump{Skip: uint32(a.skip(place))})
	return a.last()
}

// program gives the instructions in their order, and whether they are few enough.
func (a *assembler) program(entry int) ([]bpf.Instruction, bool) {
	if entry != a.last() {
		a.add(bpf.Jump{Skip: uint32(a.skip(entry))})
	}
	slices.Reverse(a.backward)
	return a.backward, !a.full
}
