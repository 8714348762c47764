package probe

import (
	"encoding/binary"

	"golang.org/x/net/bpf"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Where the kernel looks for the mark, in bytes from the beginning of a frame.
const (
	// inPayload is in the payload of each packet of ICMP and UDP, behind two VLAN tags, a tunnel and IPv6
	// within IPv6, and in what an ICMP error quotes.
	inPayload = 164
	// The sequence number of TCP is somewhere in between, at an even place: headers have even lengths.
	firstSequence, lastSequence = 24, 160
	all                         = 1 << 18
)

// filter has the kernel give only the probe's packets. The mark is repeated in their payload, so that any
// four bytes there are one of eight.
func (p *Probe) filter() []inspect.Instruction {
	var program []bpf.Instruction
	check := func(offset int, values []uint32) {
		program = append(program, bpf.LoadAbsolute{Off: uint32(offset), Size: 4}) //nolint:gosec // a constant
		for _, value := range values {
			program = append(program, bpf.JumpIf{Cond: bpf.JumpNotEqual, Val: value, SkipTrue: 1}, bpf.RetConstant{Val: all})
		}
	}
	if p.protocol == "tcp" {
		sequence := binary.BigEndian.Uint32(p.mark[:])
		for offset := firstSequence; offset <= lastSequence; offset += 2 {
			check(offset, []uint32{sequence, sequence + 1})
		}
	} else {
		check(inPayload, rotations(p.mark))
	}
	return assembled(append(program, bpf.RetConstant{Val: 0}))
}

// rotations gives the four bytes at each place of a mark that is repeated.
func rotations(mark [8]byte) (values []uint32) {
	twice := append(mark[:], mark[:]...)
	for i := range mark {
		values = append(values, binary.BigEndian.Uint32(twice[i:]))
	}
	return values
}

func assembled(program []bpf.Instruction) (all []inspect.Instruction) {
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil // it lets everything pass, and the marks are looked for once more
	}
	for _, instruction := range raw {
		all = append(all, inspect.Instruction{Op: instruction.Op, Jt: instruction.Jt, Jf: instruction.Jf, K: instruction.K})
	}
	return all
}
