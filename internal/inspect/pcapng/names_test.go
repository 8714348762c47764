package pcapng

import (
	"bytes"
	"encoding/binary"
	"fmt"
	"net/netip"
	"strings"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// namesIn gives the records of each block of names of a file, read apart from the code that wrote them.
func namesIn(t *testing.T, file []byte) (blocks [][]string) {
	t.Helper()
	for len(file) > 0 {
		kind, length := binary.LittleEndian.Uint32(file), binary.LittleEndian.Uint32(file[4:])
		check.Equal(t, "length at the end", binary.LittleEndian.Uint32(file[length-4:]), length)
		if kind == 4 {
			blocks = append(blocks, records(t, file[8:length-4]))
		}
		file = file[length:]
	}
	return blocks
}

func records(t *testing.T, body []byte) (records []string) {
	t.Helper()
	for {
		kind, length := binary.LittleEndian.Uint16(body), int(binary.LittleEndian.Uint16(body[2:]))
		body = body[4:]
		if kind == 0 {
			check.Equal(t, "bytes behind the last record", len(body), 0)
			return records
		}
		size := map[uint16]int{1: 4, 2: 16}[kind]
		address, _ := netip.AddrFromSlice(body[:size])
		name, end, _ := strings.Cut(string(body[size:length]), "\x00")
		records = append(records, address.String()+" "+name+end)
		body = body[(length+3)&^3:]
	}
}

func name(address, name string) Name { return Name{netip.MustParseAddr(address), name} }

func TestNames(t *testing.T) {
	long := strings.Repeat("é", 200)
	var many []Name
	for i := range maxRecords + 1 {
		many = append(many, name(fmt.Sprintf("10.2.%d.%d", i/250, i%250), "shop/web"))
	}
	for what, c := range map[string]struct {
		before, after []Name
		want          [][]string
	}{
		"none":                       {},
		"before the first interface": {before: []Name{name("10.1.0.5", "shop/web net0")}, want: [][]string{{"10.1.0.5 shop/web net0"}}},
		"each length":                {after: []Name{name("10.1.0.5", "a"), name("10.1.0.6", "ab"), name("10.1.0.7", "abc"), name("10.1.0.8", "abcd")}, want: [][]string{{"10.1.0.5 a", "10.1.0.6 ab", "10.1.0.7 abc", "10.1.0.8 abcd"}}},
		"IPv6":                       {after: []Name{name("fd00::5", "shop/web"), name("fe80::1%eth0", "shop/db"), name("::ffff:10.1.0.5", "shop/x")}, want: [][]string{{"fd00::5 shop/web", "fe80::1 shop/db", "10.1.0.5 shop/x"}}},
		"known already":              {before: []Name{name("10.1.0.5", "shop/web")}, after: []Name{name("10.1.0.5", "shop/web"), name("10.1.0.6", "shop/db")}, want: [][]string{{"10.1.0.5 shop/web"}, {"10.1.0.6 shop/db"}}},
		"another name":               {before: []Name{name("10.1.0.5", "shop/web")}, after: []Name{name("10.1.0.5", "shop/db")}, want: [][]string{{"10.1.0.5 shop/web"}, {"10.1.0.5 shop/db"}}},
		"hostile":                    {after: []Name{name("10.1.0.5", "a\x00b\n\x1bc\xff"), name("10.1.0.6", ""), name("10.1.0.7", "\x00"), {Name: "nobody"}}, want: [][]string{{"10.1.0.5 abc\uFFFD"}}},
		"long":                       {after: []Name{name("10.1.0.5", long)}, want: [][]string{{"10.1.0.5 " + long[:254]}}},
	} {
		t.Run(what, func(t *testing.T) { check.Equal(t, "names", namesIn(t, fileOfNames(t, c.before, c.after)), c.want) })
	}
	blocks := namesIn(t, fileOfNames(t, nil, many))
	check.Equal(t, "names of blocks", []int{len(blocks), len(blocks[0]), len(blocks[1])}, []int{2, maxRecords, 1})
}

// fileOfNames gives a file with names before and after its interface.
func fileOfNames(t *testing.T, before, after []Name) []byte {
	t.Helper()
	var out bytes.Buffer
	w := New(&out, Section{})
	check.Must(t, w.Names(before...))
	add(t, w, Interface{Link: 1})
	check.Must(t, w.Names(after...))
	add(t, w, Interface{Link: 1})
	check.Must(t, w.Flush())
	readAll(t, out.Bytes())
	return out.Bytes()
}
