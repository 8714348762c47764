package filter

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"golang.org/x/net/bpf"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// ParseProgram reads a program as tcpdump -ddd prints it: how many instructions, and one on each line. It
// refuses what is not known, jumps out of the program and does not end, as the kernel would.
func ParseProgram(r io.Reader) ([]inspect.Instruction, error) {
	lines := bufio.NewScanner(io.LimitReader(r, 1<<20))
	if !lines.Scan() {
		return nil, unreadable(lines.Err(), "read the program: there is nothing; tcpdump -ddd prints one")
	}
	count, err := strconv.ParseUint(strings.TrimSpace(lines.Text()), 10, 16)
	if err != nil || count == 0 || count > maxInstructions {
		return nil, fmt.Errorf("read the program: its first line is %.40q, want a number of instructions from 1 to %d, as tcpdump -ddd prints it (-dd and -d do not)", lines.Text(), maxInstructions)
	}
	var program []inspect.Instruction
	for lines.Scan() {
		if strings.TrimSpace(lines.Text()) == "" {
			continue
		}
		instruction, err := parseInstruction(lines.Text())
		if err != nil {
			return nil, fmt.Errorf("read the program: instruction %d: %w", len(program), err)
		}
		if program = append(program, instruction); len(program) > int(count) {
			break
		}
	}
	if lines.Err() != nil || len(program) != int(count) {
		return nil, unreadable(lines.Err(), "read the program: its first line says %d instructions, and there are fewer or more", count)
	}
	return program, valid(program)
}

// unreadable is the error of a reader, or else one of what was read.
func unreadable(err error, format string, args ...any) error {
	if err != nil {
		return fmt.Errorf("read the program: %w", err)
	}
	return fmt.Errorf(format, args...)
}

func parseInstruction(line string) (i inspect.Instruction, err error) {
	fields := strings.Fields(line)
	if len(fields) != 4 {
		return i, fmt.Errorf("%.60q has %d numbers, want 4: op jt jf k", line, len(fields))
	}
	var numbers [4]uint64
	for n, bits := range []int{16, 8, 8, 32} {
		if numbers[n], err = strconv.ParseUint(fields[n], 10, bits); err != nil {
			return i, fmt.Errorf("%.60q is no number of %d bits", fields[n], bits)
		}
	}
	return inspect.Instruction{Op: uint16(numbers[0]), Jt: uint8(numbers[1]), Jf: uint8(numbers[2]), K: uint32(numbers[3])}, nil
}

// valid gives the first fault of a program.
func valid(program []inspect.Instruction) error {
	last := len(program) - 1
	for i, instruction := range program {
		raw := bpf.RawInstruction(instruction)
		skip := uint64(0)
		switch known := raw.Disassemble().(type) {
		case bpf.RawInstruction:
			return fmt.Errorf("read the program: instruction %d: %d with %d is none of classic BPF", i, instruction.Op, instruction.K)
		case bpf.Jump:
			skip = uint64(known.Skip)
		case bpf.JumpIf, bpf.JumpIfX:
			skip = uint64(max(instruction.Jt, instruction.Jf))
		case bpf.ALUOpConstant:
			if err := checkConstant(known); err != nil {
				return fmt.Errorf("read the program: instruction %d: %w", i, err)
			}
		}
		if skip > 0 && uint64(i)+1+skip > uint64(last) {
			return fmt.Errorf("read the program: instruction %d: it jumps past the end", i)
		}
	}
	switch bpf.RawInstruction(program[last]).Disassemble().(type) {
	case bpf.RetA, bpf.RetConstant:
		return nil
	}
	return errors.New("read the program: its last instruction does not end it")
}

func checkConstant(known bpf.ALUOpConstant) error {
	switch {
	case known.Val == 0 && (known.Op == bpf.ALUOpDiv || known.Op == bpf.ALUOpMod):
		return errors.New("it divides by zero")
	case known.Val > 31 && (known.Op == bpf.ALUOpShiftLeft || known.Op == bpf.ALUOpShiftRight):
		return errors.New("it shifts by more than 31 bits")
	}
	return nil
}
