//go:build linux

package drops

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"
	"testing"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestMarks(t *testing.T) {
	m, err := newMarks([][]byte{[]byte("12345678"), []byte("abcd")})
	check.Must(t, err)
	check.Equal(t, "each way to turn it", len(m.long), 8)
	payload := bytes.Repeat([]byte("12345678"), 4)
	for i := range 8 {
		check.Equal(t, fmt.Sprint("turned by ", i), uint64(m.long[i]), binary.NativeEndian.Uint64(payload[i:]))
	}
	check.Equal(t, "a short one", uint32(m.short[0]), binary.NativeEndian.Uint32([]byte("abcd")))
	for name, marks := range map[string][][]byte{
		"none": nil, "an empty one": {nil}, "of five bytes": {[]byte("12345")}, "of nine": {[]byte("123456789")}, "too many": make([][]byte, maxMarks+1),
	} {
		t.Run(name, func(t *testing.T) {
			_, err := Open(marks)
			check.Equal(t, "it is refused", errors.Is(err, errMarks), true)
		})
	}
}

// aRecord makes a record as the program does, behind what an earlier one left there.
func aRecord(packet []byte, length uint32, isIP bool) []byte {
	record := bytes.Repeat([]byte("oldmark!"), recordSize/8)
	binary.NativeEndian.PutUint32(record[atReason:], 3)
	binary.NativeEndian.PutUint32(record[atIndex:], 7)
	binary.NativeEndian.PutUint32(record[atInode:], 4026532176)
	binary.NativeEndian.PutUint32(record[atLength:], length)
	binary.NativeEndian.PutUint64(record[atIsIP:], 0)
	if isIP {
		record[atIsIP] = 20
	}
	copy(record[atWhere:], "ip_forward\x00")
	copy(record[atPacket:], packet)
	return record
}

func TestDropOfRecord(t *testing.T) {
	const mark = "newmark!"
	ip := "\x45 an IP header" + strings.Repeat(mark, 3)
	frame := "12 addresses\x08\x00" + ip
	r := &Reader{kernel: &kernel{reasons: map[uint64]string{3: "NO_SOCKET"}}, marks: [][]byte{[]byte(mark)}}
	for name, test := range map[string]struct {
		record []byte
		data   string // "" for none
	}{
		"a packet":                              {aRecord([]byte(ip), uint32(len(ip)), true), ip},
		"one that begins with its link":         {aRecord([]byte(frame), uint32(len(frame)), false), ip},
		"one whose mark is beyond its end":      {aRecord([]byte(ip), 16, true), ""},
		"one that has only what was left there": {aRecord(nil, packetSize, true), ""},
		"half a record":                         {aRecord([]byte(ip), uint32(len(ip)), true)[:recordSize-1], ""},
		"nothing":                               {nil, ""},
	} {
		t.Run(name, func(t *testing.T) {
			drop, found := r.drop(test.record)
			check.Equal(t, "found", found, test.data != "")
			check.Equal(t, "data", string(drop.Data), test.data)
			if found {
				check.Equal(t, "reason and function", drop.Reason+" in "+drop.Where, "NO_SOCKET in ip_forward")
				check.Equal(t, "interface", drop.Point, inspect.Ref{Namespace: 4026532176, Index: 7})
			}
		})
	}
	answer := aRecord([]byte(ip), uint32(len(ip)), true)
	copy(answer[atWhere:], "ping_rcv\x00")
	_, found := r.drop(answer)
	check.Equal(t, "an answer to a ping is dropped", found, false)
	drop, found := r.drop(aRecord([]byte(strings.Repeat(mark, packetSize/8)), 1<<32-1, true))
	check.Equal(t, "a length that cannot be is cut", found && len(drop.Data) == packetSize, true)
}

func TestFunction(t *testing.T) {
	for text, want := range map[string]string{
		"ip_forward\x00oldname": "ip_forward", "ip_forward+0x1f/0x40": "ip_forward", "vxlan_xmit [vxlan]": "vxlan_xmit",
		"ip_rcv_core.isra.0": "ip_rcv_core", "0xffffffff81000000": "", "": "", "\x00": "", "a_name_without_an_end": "a_name_without_an_end",
	} {
		check.Equal(t, text, function([]byte(text)), want)
	}
}

func TestBehindLink(t *testing.T) {
	const addresses = "12 addresses"
	for name, test := range map[string]struct{ packet, want string }{
		"Ethernet":       {addresses + "\x08\x00IPv4", "IPv4"},
		"IPv6":           {addresses + "\x86\xddIPv6", "IPv6"},
		"a tag":          {addresses + "\x81\x00\x00\x05\x08\x00IPv4", "IPv4"},
		"two tags":       {addresses + "\x88\xa8\x00\x05\x81\x00\x00\x06\x08\x06ARP", "ARP"},
		"tags for ever":  {addresses + "\x81\x00\x00\x05\x81\x00\x00\x05", addresses + "\x81\x00\x00\x05\x81\x00\x00\x05"},
		"no link":        {"\x45\x00\x00\x54 something of IP", "\x45\x00\x00\x54 something of IP"},
		"within a frame": {addresses + "\x08", addresses + "\x08"},
		"nothing":        {"", ""},
	} {
		t.Run(name, func(t *testing.T) {
			check.Equal(t, "packet", string(behindLink([]byte(test.packet))), test.want)
		})
	}
}

func TestUnderstood(t *testing.T) {
	check.Equal(t, "no rights", errors.Is(understood(fmt.Errorf("load: %w", unix.EPERM)), ErrNoRights), true)
	check.Equal(t, "something else", errors.Is(understood(unix.EINVAL), ErrNoRights), false)
}
