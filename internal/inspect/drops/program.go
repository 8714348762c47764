//go:build linux

package drops

import (
	"encoding/binary"
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf/asm"
)

// Where a packet has its mark, in bytes from its network header.
const (
	// inPayload is in the payload of a packet of 200 bytes, behind a tunnel and IPv6 within IPv6, and in what an
	// ICMP error quotes.
	inPayload = 164
	// A mark that is not repeated is a sequence number of TCP: at an even place, as headers have even lengths.
	firstSequence, lastSequence = 24, 160
)

// A record is what the program says of a packet: this, and then the packet.
const (
	atTime     = 0  // nanoseconds of the monotonic clock
	atReason   = 8  // its number
	atIndex    = 12 // of the interface
	atInode    = 16 // of the network namespace
	atLength   = 20 // bytes of the packet that follow
	atIsIP     = 24 // whether they begin at the network header
	atWhere    = 32 // the name of a function, with a 0 behind it
	whereSize  = 64
	atPacket   = atWhere + whereSize
	packetSize = 256
	recordSize = atPacket + packetSize
)

// The program's stack, in bytes from its end: a place for one value, what it has to remember, the fields of
// the packet, and the beginning of the packet.
const (
	slotValue     = -8
	slotLocation  = slotValue - 8
	slotReason    = slotLocation - 8
	slotIsIP      = slotReason - 8
	slotFields    = slotIsIP - fieldsSize
	fieldsSize    = 64
	slotSequences = slotFields - sequenceSize
	sequenceEnd   = lastSequence + shortMark
	sequenceSize  = (sequenceEnd + 7) / 8 * 8
)

// Sizes of a mark.
const (
	longMark  = 8 // repeated through the payload
	shortMark = 4
	maxMarks  = 16
)

// errMarks is the error for marks that cannot be looked for.
var errMarks = fmt.Errorf("packets are chosen by 1 to %d marks of %d or %d bytes", maxMarks, longMark, shortMark)

// marks are what the program compares with: as it loads them.
type marks struct {
	long  []int64
	short []int32
}

func newMarks(all [][]byte) (m marks, err error) {
	if len(all) == 0 || len(all) > maxMarks {
		return m, errMarks
	}
	for _, mark := range all {
		switch len(mark) {
		case longMark:
			twice := slices.Concat(mark, mark)
			for i := range mark { // any 8 bytes of the payload are the mark, turned
				m.long = append(m.long, int64(binary.NativeEndian.Uint64(twice[i:]))) //nolint:gosec // bits
			}
		case shortMark:
			m.short = append(m.short, int32(binary.NativeEndian.Uint32(mark))) //nolint:gosec // bits
		default:
			return m, errMarks
		}
	}
	return m, nil
}

// tables are what the program uses, by their files.
type tables struct{ ring, lost, format int }

// program makes what runs when a packet is dropped. In R6 it keeps the packet's struct sk_buff, in R7 where its
// network header is, in R8 how many bytes there are, and in R9 the record.
//
// It reads only the part of a packet that is in one piece: of a large packet from a NIC that may be no more than
// the headers.
func program(k *kernel, m marks, t tables) (asm.Instructions, error) {
	find, err := findPacket(k)
	if err != nil {
		return nil, err
	}
	all := append(loadArguments(k), find...)
	all = append(all, compareLong(m.long)...)
	all = append(all, compareShort(m.short)...)
	all = append(all, asm.Ja.Label("end"))
	all = append(all, describePacket(k, t)...)
	all = append(all, submit(t)...)
	return all, nil
}

// read has the program read memory of the kernel. What cannot be read is 0 then.
func read(to asm.Instructions, size int32, from asm.Register, offset int32) asm.Instructions {
	return append(to, asm.Mov.Imm(asm.R2, size), asm.Mov.Reg(asm.R3, from), asm.Add.Imm(asm.R3, offset), asm.FnProbeReadKernel.Call())
}

// stack is a place on the stack to read to, or to give to a function.
func stack(at int32) asm.Instructions { return address(asm.R1, asm.RFP, at) }

// inRecord is a place in the record to read to.
func inRecord(at int32) asm.Instructions { return address(asm.R1, asm.R9, at) }

func address(to, from asm.Register, at int32) asm.Instructions {
	return asm.Instructions{asm.Mov.Reg(to, from), asm.Add.Imm(to, at)}
}

func loadArguments(k *kernel) asm.Instructions {
	return asm.Instructions{
		asm.LoadMem(asm.R6, asm.R1, k.packet, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, k.reason, asm.DWord),
		asm.StoreMem(asm.RFP, slotReason, asm.R2, asm.DWord),
		asm.LoadMem(asm.R2, asm.R1, k.location, asm.DWord),
		asm.Sub.Imm(asm.R2, 1), // it is where the call returns to, which may be another function
		asm.StoreMem(asm.RFP, slotLocation, asm.R2, asm.DWord),
	}
}

// findPacket finds the packet's bytes from the network header on, or from where it begins if that is not known yet.
func findPacket(k *kernel) (asm.Instructions, error) {
	first := min(k.network, k.tail, k.head, k.data) &^ 7 // so that they are aligned on the stack
	size := max(k.network+2, k.tail+4, k.head+8, k.data+8) - first
	if size > fieldsSize {
		return nil, errors.New("this kernel's struct sk_buff has its fields elsewhere than those that are known")
	}
	load := func(to asm.Register, field int32, size asm.Size) asm.Instruction {
		return asm.LoadMem(to, asm.RFP, int16(slotFields+field-first), size) //nolint:gosec // within the stack
	}
	all := read(stack(slotFields), size, asm.R6, first)
	return append(
		all,
		load(asm.R1, k.head, asm.DWord),
		load(asm.R8, k.tail, asm.Word),
		load(asm.R7, k.network, asm.Half),
		asm.StoreMem(asm.RFP, slotIsIP, asm.R7, asm.DWord),
		asm.JNE.Imm(asm.R7, 0, "found"),
		load(asm.R7, k.data, asm.DWord),
		asm.Sub.Reg(asm.R7, asm.R1),
		asm.JLE.Reg(asm.R8, asm.R7, "end").WithSymbol("found"),
		asm.Sub.Reg(asm.R8, asm.R7),
		asm.Add.Reg(asm.R7, asm.R1),
		asm.JLE.Imm(asm.R8, packetSize, "fits"),
		asm.Mov.Imm(asm.R8, packetSize),
		asm.Mov.Reg(asm.R0, asm.R0).WithSymbol("fits"),
	), nil
}

// compareLong goes on with "match" for a packet whose payload is one of the marks, turned.
func compareLong(marks []int64) asm.Instructions {
	if len(marks) == 0 {
		return nil
	}
	all := append(
		asm.Instructions{asm.JLT.Imm(asm.R8, inPayload+longMark, "short")},
		read(stack(slotValue), longMark, asm.R7, inPayload)...,
	)
	all = append(all, asm.LoadMem(asm.R1, asm.RFP, slotValue, asm.DWord))
	for _, mark := range marks {
		all = append(all, asm.LoadImm(asm.R2, mark, asm.DWord), asm.JEq.Reg(asm.R1, asm.R2, "match"))
	}
	return append(all, asm.Mov.Imm(asm.R0, 0).WithSymbol("short"))
}

// compareShort goes on with "match" for a packet that has one of the marks where a sequence number may be.
func compareShort(marks []int32) (all asm.Instructions) {
	if len(marks) == 0 {
		return nil
	}
	all = append(all, asm.Mov.Imm(asm.R1, 0))
	for at := int16(slotSequences); at < slotSequences+sequenceSize; at += 8 {
		all = append(all, asm.StoreMem(asm.RFP, at, asm.R1, asm.DWord))
	}
	all = append(
		all,
		asm.Mov.Reg(asm.R2, asm.R8),
		asm.JLE.Imm(asm.R2, sequenceEnd, "sized"),
		asm.Mov.Imm(asm.R2, sequenceEnd),
		asm.Mov.Reg(asm.R3, asm.R7).WithSymbol("sized"),
	)
	all = append(append(all, stack(slotSequences)...), asm.FnProbeReadKernel.Call())
	for at := int16(slotSequences + firstSequence); at <= slotSequences+lastSequence; at += 2 {
		// Half a word each, as the verifier lets a program load only what is aligned.
		all = append(
			all,
			asm.LoadMem(asm.R1, asm.RFP, at, asm.Half),
			asm.LoadMem(asm.R2, asm.RFP, at+2, asm.Half),
		)
		all = append(all, joined()...)
		for _, mark := range marks {
			all = append(all, asm.JEq.Imm32(asm.R1, mark, "match"))
		}
	}
	return all
}

// joined makes of two halves in R1 and R2 the word that they are in memory.
func joined() asm.Instructions {
	if binary.NativeEndian.Uint16([]byte{1, 0}) == 1 {
		return asm.Instructions{asm.LSh.Imm(asm.R2, 16), asm.Or.Reg(asm.R1, asm.R2)}
	}
	return asm.Instructions{asm.LSh.Imm(asm.R1, 16), asm.Or.Reg(asm.R1, asm.R2)}
}

// describePacket writes a record, or counts a packet that it has no room for.
func describePacket(k *kernel, t tables) asm.Instructions {
	all := asm.Instructions{
		asm.LoadMapPtr(asm.R1, t.ring).WithSymbol("match"),
		asm.Mov.Imm(asm.R2, recordSize),
		asm.Mov.Imm(asm.R3, 0),
		asm.FnRingbufReserve.Call(),
		asm.JEq.Imm(asm.R0, 0, "full"),
		asm.Mov.Reg(asm.R9, asm.R0),
		asm.FnKtimeGetNs.Call(),
		asm.StoreMem(asm.R9, atTime, asm.R0, asm.DWord),
		asm.LoadMem(asm.R1, asm.RFP, slotReason, asm.DWord),
		asm.StoreMem(asm.R9, atReason, asm.R1, asm.Word),
		asm.LoadMem(asm.R1, asm.RFP, slotIsIP, asm.DWord),
		asm.StoreMem(asm.R9, atIsIP, asm.R1, asm.DWord),
		asm.StoreMem(asm.R9, atLength, asm.R8, asm.Word),
	}
	all = append(all, writeInterface(k)...)
	all = append(all, writeWhere(t)...)
	all = append(all, inRecord(atPacket)...)
	return append(all, asm.Mov.Reg(asm.R2, asm.R8), asm.Mov.Reg(asm.R3, asm.R7), asm.FnProbeReadKernel.Call())
}

// writeInterface writes the packet's interface, and its namespace: that of its socket if it has no interface yet.
func writeInterface(k *kernel) asm.Instructions {
	all := read(stack(slotValue), 8, asm.R6, k.dev)
	all = append(all, asm.LoadMem(asm.R3, asm.RFP, slotValue, asm.DWord), asm.JEq.Imm(asm.R3, 0, "no device"))
	all = append(all, read(inRecord(atIndex), 4, asm.R3, k.ifindex)...)
	all = append(all, asm.LoadMem(asm.R3, asm.RFP, slotValue, asm.DWord))
	all = append(all, read(stack(slotValue), 8, asm.R3, k.namespaceOfDev)...)
	all = append(all, asm.Ja.Label("namespace"))

	none := read(stack(slotValue), 8, asm.R6, k.sk)
	none[0] = none[0].WithSymbol("no device")
	none = append(none, asm.LoadMem(asm.R3, asm.RFP, slotValue, asm.DWord))
	none = append(none, read(stack(slotValue), 8, asm.R3, k.namespaceOfSock)...)
	none = append(none, asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.R9, atIndex, asm.R1, asm.Word))

	all = append(all, none...)
	all = append(all, asm.LoadMem(asm.R3, asm.RFP, slotValue, asm.DWord).WithSymbol("namespace"))
	return append(all, read(inRecord(atInode), 4, asm.R3, k.inode)...)
}

// writeWhere writes the name of the function that dropped the packet. The kernel gives it here to those
// who may not read /proc/kallsyms.
func writeWhere(t tables) asm.Instructions {
	all := asm.Instructions{asm.Mov.Imm(asm.R1, 0), asm.StoreMem(asm.R9, atWhere, asm.R1, asm.DWord)}
	all = append(all, inRecord(atWhere)...)
	all = append(all, asm.Mov.Imm(asm.R2, whereSize), asm.LoadMapValue(asm.R3, t.format, 0))
	all = append(all, address(asm.R4, asm.RFP, slotLocation)...)
	return append(all, asm.Mov.Imm(asm.R5, 8), asm.FnSnprintf.Call())
}

// submit gives the record away.
func submit(t tables) asm.Instructions {
	return asm.Instructions{
		asm.Mov.Reg(asm.R1, asm.R9),
		asm.Mov.Imm(asm.R2, 0),
		asm.FnRingbufSubmit.Call(),
		asm.Ja.Label("end"),
		asm.LoadMapValue(asm.R1, t.lost, 0).WithSymbol("full"),
		asm.Mov.Imm(asm.R2, 1),
		asm.StoreXAdd(asm.R1, asm.R2, asm.DWord),
		asm.Mov.Imm(asm.R0, 0).WithSymbol("end"),
		asm.Return(),
	}
}
