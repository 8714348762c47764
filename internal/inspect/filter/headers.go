package filter

import (
	"encoding/binary"
	"net"
	"net/netip"

	"golang.org/x/net/bpf"
)

// The first nibble of a packet without a link-layer header.
const (
	versionMask = 0xf0
	version4    = 0x40
	version6    = 0x60
)

// tpids are the EtherTypes of VLAN tags.
var tpids = []uint32{0x8100, 0x88a8, 0x9100}

func absolute(offset uint32, size int) []bpf.Instruction {
	return []bpf.Instruction{bpf.LoadAbsolute{Off: offset, Size: size}}
}

func equals(offset uint32, size int, value uint32) test {
	return test{load: absolute(offset, size), cond: bpf.JumpEqual, value: value}
}

// masked compares some bits. Where it is none, the packet must have the bytes nevertheless.
func masked(offset uint32, size int, value, mask uint32) condition {
	if mask == 0xffffffff {
		return equals(offset, size, value)
	}
	load := append(absolute(offset, size), bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: mask})
	return test{load: load, cond: bpf.JumpEqual, value: value & mask}
}

// directed is a condition of the source, the destination, either or both.
func directed(direction string, of func(source bool) condition) condition {
	switch direction {
	case "src":
		return of(true)
	case "dst":
		return of(false)
	case "and":
		return all{of(true), of(false)}
	}
	return either{of(true), of(false)}
}

func mac(address [6]byte, offset uint32) condition {
	return all{
		equals(offset+2, 4, binary.BigEndian.Uint32(address[2:])),
		equals(offset, 2, uint32(binary.BigEndian.Uint16(address[:2]))),
	}
}

// has is the condition of an EtherType.
func (l layout) has(etherType uint32) condition {
	if l.link != RawIP {
		return equals(l.etherType(), 2, etherType)
	}
	if etherType == etherIPv6 {
		return masked(0, 1, version6, versionMask)
	}
	return masked(0, 1, version4, versionMask)
}

// tag is the condition of a VLAN tag at this place: with this ID, if there is one.
func (l layout) tag(id *uint32) condition {
	if l.stripped && l.vlans == 0 {
		if id == nil {
			return always()
		}
		load := []bpf.Instruction{bpf.LoadExtension{Num: bpf.ExtVLANTag}, bpf.ALUOpConstant{Op: bpf.ALUOpAnd, Val: 0xfff}}
		return test{load: load, cond: bpf.JumpEqual, value: *id}
	}
	var tagged either
	for _, tpid := range tpids {
		tagged = append(tagged, l.has(tpid))
	}
	if id == nil {
		return tagged
	}
	return all{tagged, masked(l.network(), 2, *id, 0xfff)}
}

// network8 is the condition of a byte of the network header.
func (l layout) network8(offset, value uint32) condition { return equals(l.network()+offset, 1, value) }

// wholeOrFirst is the condition that an IPv4 packet is no fragment but the first: only that has ports.
func (l layout) wholeOrFirst() condition {
	return not{test{load: absolute(l.network()+6, 2), cond: bpf.JumpBitsSet, value: 0x1fff}}
}

// carries is the condition of the protocol that IP carries. Of the extension headers of IPv6, that of fragments
// is looked behind.
func (l layout) carries(number uint32, v4, v6 bool) condition {
	var some either
	if v4 {
		some = append(some, all{l.has(etherIPv4), l.network8(9, number)})
	}
	if v6 {
		some = append(some, all{l.has(etherIPv6), either{l.network8(6, number), all{l.network8(6, 44), l.network8(40, number)}}})
	}
	return some
}

// ports is the condition of a range of ports.
func (l layout) ports(words *qualifiers, low, high uint32) condition {
	numbers := []uint32{6, 17, 132}
	if words.protocol != nil {
		numbers = []uint32{words.protocol.number}
	}
	carried := func(offset uint32) (some either) {
		for _, number := range numbers {
			some = append(some, l.network8(offset, number))
		}
		return some
	}
	v6 := directed(words.direction, func(source bool) condition {
		return inRange(absolute(l.network()+40+portOffset(source), 2), low, high)
	})
	v4 := directed(words.direction, func(source bool) condition {
		return inRange([]bpf.Instruction{
			bpf.LoadMemShift{Off: l.network()}, bpf.LoadIndirect{Off: l.network() + portOffset(source), Size: 2},
		}, low, high)
	})
	return either{
		all{l.has(etherIPv6), carried(6), v6},
		all{l.has(etherIPv4), carried(9), l.wholeOrFirst(), v4},
	}
}

func portOffset(source bool) uint32 {
	if source {
		return 0
	}
	return 2
}

func inRange(load []bpf.Instruction, low, high uint32) condition {
	if low == high {
		return test{load: load, cond: bpf.JumpEqual, value: low}
	}
	return all{
		test{load: load, cond: bpf.JumpGreaterOrEqual, value: low},
		not{test{load: load, cond: bpf.JumpGreaterThan, value: high}},
	}
}

// addresses is the condition of an address or a network. For IPv4, that is so in ARP too.
func (l layout) addresses(words *qualifiers, in netip.Prefix) condition {
	if in.Addr().Is6() {
		return all{l.has(etherIPv6), l.within(words, in, 8, 24)}
	}
	var some either
	for _, etherType := range []uint32{etherIPv4, etherARP, etherRARP} {
		if words.protocol != nil && words.protocol.number != etherType || l.link == RawIP && etherType != etherIPv4 {
			continue
		}
		source, target := uint32(12), uint32(16)
		if etherType != etherIPv4 {
			source, target = 14, 24
		}
		some = append(some, all{l.has(etherType), l.within(words, in, source, target)})
	}
	return some
}

// within is the condition of an address at one of two places of the network header.
func (l layout) within(words *qualifiers, in netip.Prefix, source, target uint32) condition {
	address, mask := in.Addr().AsSlice(), net.CIDRMask(in.Bits(), in.Addr().BitLen())
	return directed(words.direction, func(isSource bool) condition {
		offset := target
		if isSource {
			offset = source
		}
		var whole all
		for i := 0; i < len(address); i += 4 {
			whole = append(whole, masked(l.network()+offset+uint32(i), 4, binary.BigEndian.Uint32(address[i:]), binary.BigEndian.Uint32(mask[i:])))
		}
		return whole
	})
}
