package pcapng

import (
	"bytes"
	"errors"
	"io"
	"math"
	"net/netip"
	"strings"
	"testing"
	"time"
	"unicode/utf8"

	"github.com/gopacket/gopacket/pcapgo"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

var when = time.Date(2026, 11, 29, 5, 41, 7, 123456789, time.UTC)

// written is what a reader finds of a packet.
type written struct {
	Interface    int
	Time         time.Time
	Length, Kept int
	Comments     []string
	Out          bool
}

// capture is what a reader finds in a file.
type capture struct {
	Section    pcapgo.NgSectionInfo
	Packets    []written
	Statistics map[int]pcapgo.NgInterfaceStatistics
	interfaces []pcapgo.NgInterface
}

func readAll(t testing.TB, data []byte) capture {
	t.Helper()
	c := capture{Statistics: map[int]pcapgo.NgInterfaceStatistics{}}
	r, err := pcapgo.NewNgReader(bytes.NewReader(data), pcapgo.NgReaderOptions{
		WantMixedLinkType:  true,
		StatisticsCallback: func(i int, s pcapgo.NgInterfaceStatistics) { c.Statistics[i] = s },
	})
	check.Must(t, err)
	for {
		data, info, options, err := r.ReadPacketDataWithOptions()
		if errors.Is(err, io.EOF) {
			break
		}
		check.Must(t, err)
		c.Packets = append(c.Packets, written{
			Interface: info.InterfaceIndex, Time: info.Timestamp, Length: info.Length, Kept: len(data),
			Comments: options.Comments, Out: options.Flags.Direction == pcapgo.NgEpbFlagDirectionOutbound,
		})
	}
	c.Section = r.SectionInfo()
	for i := range r.NInterfaces() {
		found, err := r.Interface(i)
		check.Must(t, err)
		c.interfaces = append(c.interfaces, found)
	}
	return c
}

// add adds an interface, and gives its number.
func add(t testing.TB, w *Writer, i Interface) int {
	t.Helper()
	number, err := w.Interface(i)
	check.Must(t, err)
	return number
}

func TestWriter(t *testing.T) {
	var out bytes.Buffer
	w := New(&out, Section{Application: "kubectl-plexus v1", Hardware: "arm64", System: "Linux 6.18", Comment: "shop/web"})
	first := add(t, w, Interface{Name: "net0", Description: "of shop/web", Comment: "hop 1", Filter: "icmp", System: "Linux", Link: 1, Keep: 96})
	check.Must(t, w.Packet(first, inspect.Packet{Time: when, Out: true, Length: 1500, Data: make([]byte, 96), Link: 1}, "hop 1 of 9", "marked"))
	second := add(t, w, Interface{Name: "tunl0", Link: 101})
	check.Must(t, w.Packet(second, inspect.Packet{Time: when, Length: 3, Data: []byte{1, 2, 3}, Link: 101}))
	check.Must(t, w.Statistics(first, Statistics{Begin: when, End: when.Add(time.Second), Count: inspect.Count{Seen: 20, Lost: 3}}))
	check.Must(t, w.Flush())

	got := readAll(t, out.Bytes())
	check.Equal(t, "section", got.Section, pcapgo.NgSectionInfo{Application: "kubectl-plexus v1", Hardware: "arm64", OS: "Linux 6.18", Comment: "shop/web"})
	check.Equal(t, "packets", got.Packets, []written{
		{Interface: first, Time: when, Length: 1500, Kept: 96, Comments: []string{"hop 1 of 9", "marked"}, Out: true},
		{Interface: second, Time: when, Length: 3, Kept: 3},
	})
	check.Equal(t, "statistics", got.Statistics, map[int]pcapgo.NgInterfaceStatistics{
		first: {LastUpdate: when.Add(time.Second), StartTime: when, EndTime: when.Add(time.Second), PacketsReceived: 20, PacketsDropped: 3},
	})
	a, b := got.interfaces[first], got.interfaces[second]
	check.Equal(t, "texts", []string{a.Name, a.Description, a.Comment, a.Filter, a.OS, b.Name}, []string{"net0", "of shop/web", "hop 1", "icmp", "Linux", "tunl0"})
	check.Equal(t, "numbers", []int{int(a.LinkType), int(a.SnapLength), int(b.LinkType), int(b.SnapLength)}, []int{1, 96, 101, 0})
}

// What a reader would stumble over is made to fit.
func TestWriterFits(t *testing.T) {
	long := strings.Repeat("ä", 40000)
	for name, c := range map[string]struct {
		packet inspect.Packet
		want   written
	}{
		"a length below what there is":    {inspect.Packet{Time: when, Length: 2, Data: make([]byte, 60)}, written{Time: when, Length: 60, Kept: 60}},
		"a packet that Wireshark refuses": {inspect.Packet{Time: when, Length: 300000, Data: make([]byte, 300000)}, written{Time: when, Length: 300000, Kept: maxPacket}},
		"a length of more than 31 bits":   {inspect.Packet{Time: when, Length: math.MaxUint32 + 9, Data: []byte{1}}, written{Time: when, Length: math.MaxInt32, Kept: 1}},
		"no time":                         {inspect.Packet{Data: []byte{1}}, written{Time: time.Unix(0, 0).UTC(), Length: 1, Kept: 1}},
		"a time without a number":         {inspect.Packet{Time: when.AddDate(400, 0, 0), Data: []byte{1}}, written{Time: time.Unix(0, 0).UTC(), Length: 1, Kept: 1}},
	} {
		t.Run(name, func(t *testing.T) {
			var out bytes.Buffer
			w := New(&out, Section{Comment: long})
			c.packet.Link = 1
			check.Must(t, w.Packet(add(t, w, Interface{Name: long, Link: 1, Keep: -1}), c.packet, long, "", "\xff"))
			check.Must(t, w.Flush())
			got := readAll(t, out.Bytes())
			comments := got.Packets[0].Comments
			got.Packets[0].Comments = nil
			check.Equal(t, "packet", got.Packets[0], c.want)
			check.Equal(t, "comments", comments, []string{long[:maxText], "\uFFFD"})
			check.Equal(t, "name", got.interfaces[0].Name, long[:maxText])
		})
	}
}

func TestWriterRefuses(t *testing.T) {
	w := New(io.Discard, Section{})
	check.Error(t, w.Packet(0, inspect.Packet{Link: 1}), "interface 0", "add the interface first")
	check.Error(t, w.Statistics(0, Statistics{}), "interface 0", "add the interface first")
	_, err := w.Interface(Interface{Name: "net0", Link: math.MaxUint8 + 1})
	check.Error(t, err, "net0", "256")
	add(t, w, Interface{Link: 1})
	for number, want := range map[int]error{-1: errNoInterface, 1: errNoInterface, 0: errLink} {
		if err := w.Packet(number, inspect.Packet{Link: 101}); !errors.Is(err, want) {
			t.Errorf("interface %d: %v, want %v", number, err, want)
		}
	}
}

// full is a disk that is full.
type full struct{}

var errFull = errors.New("no space left on device")

func (full) Write([]byte) (int, error) { return 0, errFull }

func TestWriterSaysWhatFails(t *testing.T) {
	w := New(full{}, Section{})
	number := add(t, w, Interface{Link: 1})
	big := inspect.Packet{Link: 1, Data: make([]byte, room)}
	for what, err := range map[string]error{
		"packet": w.Packet(number, big), "statistics": w.Statistics(number, Statistics{}), "flush": w.Flush(),
		"names": w.Names(Name{netip.MustParseAddr("10.1.0.5"), "shop/web"}),
	} {
		if !errors.Is(err, errFull) {
			t.Errorf("%s: %v, want %v", what, err, errFull)
		}
	}
	if _, err := w.Interface(Interface{Link: 1}); !errors.Is(err, errFull) {
		t.Errorf("interface: %v, want %v", err, errFull)
	}
}

// Nothing is kept back by Flush, and nothing is written that a pipe's reader could not read.
func TestWriterFlush(t *testing.T) {
	var out bytes.Buffer
	w := New(&out, Section{})
	check.Must(t, w.Names(Name{netip.MustParseAddr("10.1.0.5"), "shop/web"}))
	check.Must(t, w.Flush())
	check.Equal(t, "bytes before the first interface", out.Len(), 0)
	number := add(t, w, Interface{Link: 1})
	for n := 1; n < 4; n++ {
		check.Must(t, w.Packet(number, inspect.Packet{Link: 1, Data: []byte{1}}))
		check.Must(t, w.Flush())
		check.Equal(t, "packets", len(readAll(t, out.Bytes()).Packets), n)
	}
}

func FuzzWriter(f *testing.F) {
	f.Add("net0", "icmp", "hop 3 of 9", []byte{1, 2, 3}, 1500, int64(1), []byte{10, 1, 0, 5})
	f.Add(strings.Repeat("é", 33000), "", "\xff\x00", make([]byte, 70000), -1, int64(math.MinInt64), make([]byte, 16))
	f.Fuzz(func(t *testing.T, name, filter, comment string, data []byte, number int, ns int64, address []byte) {
		var out bytes.Buffer
		w := New(&out, Section{Application: name, Comment: comment})
		a, _ := netip.AddrFromSlice(address)
		check.Must(t, w.Names(Name{a, name}))
		at, err := w.Interface(Interface{Name: name, Filter: filter, Comment: comment, Link: number, Keep: number})
		if err != nil {
			return
		}
		check.Must(t, w.Packet(at, inspect.Packet{Time: time.Unix(0, ns), Length: number, Data: data, Link: number}, comment, comment))
		check.Must(t, w.Names(Name{a, comment}))
		check.Must(t, w.Statistics(at, Statistics{Begin: time.Unix(ns, 0), End: time.Unix(0, ns)}))
		check.Must(t, w.Packet(at, inspect.Packet{Link: number}))
		check.Must(t, w.Flush())
		got := readAll(t, out.Bytes())
		check.Equal(t, "packets", len(got.Packets), 2)
		check.Equal(t, "kept", got.Packets[0].Kept, min(len(data), maxPacket))
		check.Equal(t, "a comment of UTF-8", comment == "" || utf8.ValidString(got.Packets[0].Comments[0]), true)
		check.Equal(t, "link", int(got.interfaces[0].LinkType), number)
	})
}
