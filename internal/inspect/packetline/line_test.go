package packetline

import (
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"
	"unicode"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestLine(t *testing.T) {
	var lines []string
	for _, s := range corpus(t) {
		lines = append(lines, fmt.Sprintf("%-24s%s\n", s.name, Line(s.packet)))
	}
	slices.Sort(lines)
	check.Golden(t, "testdata/lines.txt", []byte(strings.Join(lines, "")))
}

// However much of a packet is kept, there is one line, and it has nothing that a terminal obeys.
func TestLineOfEachBeginning(t *testing.T) {
	for _, s := range corpus(t) {
		for n := range s.packet.Data {
			for _, length := range []int{n, s.packet.Length} {
				oneLine(t, inspect.Packet{Link: s.packet.Link, Length: length, Data: s.packet.Data[:n]})
			}
		}
	}
}

func FuzzLine(f *testing.F) {
	for _, s := range corpus(f) {
		f.Add(s.packet.Link, s.packet.Length, s.packet.Data)
	}
	f.Fuzz(func(t *testing.T, link, length int, data []byte) {
		oneLine(t, inspect.Packet{Link: link, Length: length, Data: data, Time: time.Unix(0, 0)})
	})
}

func oneLine(t *testing.T, p inspect.Packet) {
	t.Helper()
	got := Line(p)
	if got == "" || len(got) > 2000 {
		t.Errorf("%d bytes are no line: %q", len(got), got)
	}
	if i := strings.IndexFunc(got, func(r rune) bool { return !unicode.IsPrint(r) }); i >= 0 {
		t.Errorf("byte %d is not printed: %q", i, got)
	}
}

func BenchmarkLine(b *testing.B) {
	all := corpus(b)
	b.ReportAllocs()
	for i := 0; b.Loop(); i++ {
		Line(all[i%len(all)].packet)
	}
}
