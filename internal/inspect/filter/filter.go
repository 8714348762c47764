// Package filter compiles the common language of packet filters, as tcpdump has it, to classic BPF. What it
// does not know it refuses by name and column: a program never lets more pass than its text says.
package filter

import (
	"fmt"
	"unicode/utf8"

	"golang.org/x/net/bpf"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// The types of link-layer headers that there are programs for, by the numbers of LINKTYPE.
const (
	Ethernet = 1
	RawIP    = 101
)

const (
	maxText         = 1 << 16
	maxDepth        = 100
	maxInstructions = 4096 // of the kernel: BPF_MAXINSNS
	everything      = 1 << 18
)

// Error is a text that is no filter.
type Error struct {
	Column  int // of the word that is wrong, from 1
	Problem string
}

func (e *Error) Error() string { return fmt.Sprintf("filter: column %d: %s", e.Column, e.Problem) }

func refusal(text string, at int, format string, args ...any) *Error {
	return &Error{Column: utf8.RuneCountInString(text[:at]) + 1, Problem: fmt.Sprintf(format, args...)}
}

// tags says where a program finds the outermost VLAN tag.
type tags int

const (
	// kernel is for a packet socket: the kernel takes the outermost tag off the frame, and gives it apart.
	// A frame that it did not do so with is looked at as one of a file.
	kernel tags = iota
	inline      // for a frame of a file, with all of its tags
)

// Compile gives the program of a filter for a packet socket. An empty text lets everything pass.
func Compile(text string, link int) ([]inspect.Instruction, error) {
	program, err := compile(text, link, kernel)
	if err != nil {
		return nil, err
	}
	raw, err := bpf.Assemble(program)
	if err != nil {
		return nil, fmt.Errorf("assemble the filter %q: %w", text, err)
	}
	instructions := make([]inspect.Instruction, len(raw))
	for i, r := range raw {
		instructions[i] = inspect.Instruction(r)
	}
	return instructions, nil
}

func compile(text string, link int, where tags) ([]bpf.Instruction, error) {
	if link != Ethernet && link != RawIP {
		return nil, fmt.Errorf("filter: there are no programs for packets of link type %d, only for Ethernet (%d) and raw IP (%d)", link, Ethernet, RawIP)
	}
	parsed, tagged, err := parse(text, link)
	if err != nil {
		return nil, err
	}
	a := newAssembler(layout{link: link})
	entry := parsed.emit(a, accept, reject)
	if tagged && where == kernel {
		a.stripped = true
		stripped := parsed.emit(a, accept, reject)
		present := test{load: []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtVLANTagPresent}}, cond: bpf.JumpEqual, value: 1}
		entry = present.emit(a, stripped, entry)
	}
	program, fits := a.program(entry)
	if !fits {
		return nil, refusal(text, 0, "the filter is too long: its program would have more than %d instructions, the most that the kernel takes", maxInstructions)
	}
	return program, nil
}

// Matcher gives what says of a frame, with all of its VLAN tags in it, whether a filter lets it pass. It is for
// frames that no packet socket chose, as those within a tunnel.
func Matcher(text string, link int) (func(frame []byte) bool, error) {
	program, err := compile(text, link, inline)
	if err != nil {
		return nil, err
	}
	machine, err := bpf.NewVM(program)
	if err != nil {
		return nil, fmt.Errorf("load the filter %q: %w", text, err)
	}
	return func(frame []byte) bool {
		kept, err := machine.Run(frame)
		return err == nil && kept > 0
	}, nil
}
