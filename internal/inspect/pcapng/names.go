package pcapng

import (
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
)

// Numbers of the format.
const (
	blockNames = 4
	recordEnd  = 0
	recordIPv4 = 1
	recordIPv6 = 2
)

// Limits of names. Wireshark cuts longer ones.
const (
	maxName    = 255
	maxRecords = 1000 // in a block
)

// Name is what an address is called.
type Name struct {
	Address netip.Addr
	Name    string
}

// Names says what addresses are called, before the packets that have them; those that are known already
// are not written again. The last name of an address is the one that Wireshark shows.
func (w *Writer) Names(names ...Name) error {
	var fresh []Name
	for _, n := range names {
		n.Address, n.Name = n.Address.Unmap(), nameText(n.Name)
		if !n.Address.IsValid() || n.Name == "" || w.named[n.Address] == n.Name {
			continue
		}
		w.named[n.Address] = n.Name
		fresh = append(fresh, n)
	}
	if w.blocks == nil {
		w.waiting = append(w.waiting, fresh...)
		return nil
	}
	return w.writeNames(fresh)
}

// writeNames writes blocks of names.
func (w *Writer) writeNames(names []Name) error {
	for len(names) > 0 {
		n := min(len(names), maxRecords)
		if _, err := w.out.Write(nameBlock(names[:n])); err != nil {
			return fmt.Errorf("write names to the capture: %w", err)
		}
		names = names[n:]
	}
	return nil
}

// nameBlock gives the block of names.
func nameBlock(names []Name) []byte {
	block := make([]byte, 8)
	for _, n := range names {
		block = appendRecord(block, n)
	}
	block = binary.LittleEndian.AppendUint32(block, recordEnd)
	length := uint32(len(block) + 4) //nolint:gosec // so many names of so many bytes
	binary.LittleEndian.PutUint32(block, blockNames)
	binary.LittleEndian.PutUint32(block[4:], length)
	return binary.LittleEndian.AppendUint32(block, length)
}

// appendRecord appends the record of a name: the address, the name, a zero byte, and up to the next four bytes.
func appendRecord(block []byte, n Name) []byte {
	kind := uint16(recordIPv4)
	if n.Address.Is6() {
		kind = recordIPv6
	}
	value := append(append(n.Address.AsSlice(), n.Name...), 0)
	block = binary.LittleEndian.AppendUint16(block, kind)
	block = binary.LittleEndian.AppendUint16(block, uint16(len(value))) //nolint:gosec // the name is cut
	block = append(block, value...)
	return append(block, make([]byte, -len(value)&3)...)
}

// nameText gives a name without what ends one or breaks a line.
func nameText(name string) string {
	name = strings.Map(func(r rune) rune {
		if r < ' ' || r == 0x7f {
			return -1
		}
		return r
	}, text(name))
	return cut(name, maxName)
}
