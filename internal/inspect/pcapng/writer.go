// Package pcapng writes packets as Wireshark and tshark read them, with the names of interfaces and pods.
package pcapng

import (
	"bufio"
	"errors"
	"fmt"
	"io"
	"math"
	"net/netip"
	"strings"
	"time"
	"unicode/utf8"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"
	"github.com/gopacket/gopacket/pcapgo"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Limits. Wireshark refuses a file with a larger packet, and an option has 16 bits for its length.
const (
	maxPacket = 256 << 10
	maxText   = 65000
	room      = 64 << 10 // of the buffer in front of what is written to
)

// Errors of a caller.
var (
	errNoInterface = errors.New("it has no such interface: add the interface first")
	errLink        = errors.New("the link-layer header is not the interface's")
)

// Section says what a capture as a whole is.
type Section struct {
	Application string // that wrote it, with its version
	Hardware    string // that it was taken on
	System      string // the operating system
	Comment     string
}

// Interface is one that packets were seen at.
type Interface struct {
	Name        string
	Description string
	Comment     string
	Filter      string // the text by which packets were chosen
	System      string // the operating system of its node
	Link        int    // the LINKTYPE of its packets
	Keep        int    // how many bytes of each packet were kept; 0 is for all
}

// Statistics are those of an interface.
type Statistics struct {
	Begin, End time.Time
	inspect.Count
}

// Writer writes one capture. It is not for use by several goroutines at once.
//
// NgWriter of gopacket has every block but that of names, and cannot begin without an interface. It writes
// to a bufio.Writer that it is given without another buffer, so blocks of ours go between its own.
type Writer struct {
	out     *bufio.Writer
	section Section
	blocks  *pcapgo.NgWriter // nil until there is an interface
	links   []int            // of the interfaces
	named   map[netip.Addr]string
	waiting []Name // for the first interface
}

// New begins a capture. Nothing is written until it has an interface.
func New(w io.Writer, section Section) *Writer {
	return &Writer{out: bufio.NewWriterSize(w, room), section: section, named: map[netip.Addr]string{}}
}

// Interface adds an interface, at any time, and gives its number.
func (w *Writer) Interface(i Interface) (int, error) {
	if i.Link < 0 || i.Link > math.MaxUint8 {
		return 0, fmt.Errorf("write interface %s to the capture: headers of type %d cannot be", i.Name, i.Link)
	}
	number, err := w.describe(pcapgo.NgInterface{
		Name: text(i.Name), Description: text(i.Description), Comment: text(i.Comment), Filter: text(i.Filter), OS: text(i.System),
		LinkType: layers.LinkType(i.Link), SnapLength: uint32(min(max(i.Keep, 0), maxPacket)), //nolint:gosec // both are bounded
	})
	if err != nil {
		return 0, fmt.Errorf("write interface %s to the capture: %w", i.Name, err)
	}
	w.links = append(w.links, i.Link)
	return number, nil
}

// describe writes an interface, after the section's header if it is the first.
func (w *Writer) describe(i pcapgo.NgInterface) (int, error) {
	if w.blocks != nil {
		return w.blocks.AddInterface(i)
	}
	blocks, err := pcapgo.NewNgWriterInterface(w.out, i, pcapgo.NgWriterOptions{SectionInfo: pcapgo.NgSectionInfo{
		Application: text(w.section.Application), Hardware: text(w.section.Hardware),
		OS: text(w.section.System), Comment: text(w.section.Comment),
	}})
	if err != nil {
		return 0, err
	}
	w.blocks = blocks
	return 0, w.writeNames(w.waiting)
}

// Packet writes a packet of an interface, with comments.
func (w *Writer) Packet(number int, p inspect.Packet, comments ...string) error {
	if err := w.check(number, p.Link); err != nil {
		return fmt.Errorf("write a packet of interface %d to the capture: %w", number, err)
	}
	data := p.Data[:min(len(p.Data), maxPacket)]
	info := gopacket.CaptureInfo{
		Timestamp: stamp(p.Time), InterfaceIndex: number,
		CaptureLength: len(data), Length: min(max(p.Length, len(p.Data)), math.MaxInt32),
	}
	options := pcapgo.NgPacketOptions{Flags: &pcapgo.NgEpbFlags{Direction: direction(p.Out)}}
	for _, comment := range comments {
		if comment != "" {
			options.Comments = append(options.Comments, text(comment))
		}
	}
	if err := w.blocks.WritePacketWithOptions(info, data, options); err != nil {
		return fmt.Errorf("write a packet to the capture: %w", err)
	}
	return nil
}

// check says whether a packet of a type can be one of an interface.
func (w *Writer) check(number, link int) error {
	switch {
	case number < 0 || number >= len(w.links):
		return errNoInterface
	case w.links[number] != link:
		return fmt.Errorf("%w: it is of type %d, and the interface's is %d", errLink, link, w.links[number])
	}
	return nil
}

func direction(out bool) pcapgo.NgEpbFlag {
	if out {
		return pcapgo.NgEpbFlagDirectionOutbound
	}
	return pcapgo.NgEpbFlagDirectionInbound
}

// Statistics writes what was counted of an interface. What was lost is there as what the interface dropped,
// since that is the number that Wireshark shows.
func (w *Writer) Statistics(number int, s Statistics) error {
	if number < 0 || number >= len(w.links) {
		return fmt.Errorf("write statistics of interface %d to the capture: %w", number, errNoInterface)
	}
	end := stamp(s.End)
	err := w.blocks.WriteInterfaceStats(number, pcapgo.NgInterfaceStatistics{
		LastUpdate: end, StartTime: stamp(s.Begin), EndTime: end, PacketsReceived: s.Seen, PacketsDropped: s.Lost,
	})
	if err != nil {
		return fmt.Errorf("write statistics to the capture: %w", err)
	}
	return nil
}

// Flush writes out what was written so far, so that whoever reads a pipe sees it.
func (w *Writer) Flush() error {
	if err := w.out.Flush(); err != nil {
		return fmt.Errorf("write the capture: %w", err)
	}
	return nil
}

// stamp gives a time that fits into nanoseconds since 1970; others have no number there.
func stamp(t time.Time) time.Time {
	if year := t.UTC().Year(); year < 1970 || year > 2261 {
		return time.Unix(0, 0)
	}
	return t
}

// text makes UTF-8 of a text, and cuts it to what an option holds.
func text(s string) string {
	return cut(strings.ToValidUTF8(s, "\uFFFD"), maxText)
}

// cut gives so many bytes of a text at most, and whole letters.
func cut(s string, most int) string {
	if len(s) <= most {
		return s
	}
	for !utf8.RuneStart(s[most]) {
		most--
	}
	return s[:most]
}
