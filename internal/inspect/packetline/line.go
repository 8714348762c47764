// Package packetline says in one line what a packet is, for a terminal.
package packetline

import (
	"fmt"
	"strings"

	"github.com/gopacket/gopacket"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Types of link-layer headers, by the numbers of LINKTYPE.
const (
	linkEthernet = 1
	linkRaw      = 101
)

// most is how many headers are read of a packet; a hostile one has thousands.
const most = 16

// line is what is said of a packet so far.
type line struct {
	text  strings.Builder
	whole bool // all of the packet is here
	left  int  // headers that may still be read
	inner int  // how many tunnels it is inside of
	cut   bool // the last header says that there is more than there is
	short bool // that of the packet itself says so
}

// Line says what a packet is: its addresses, what it carries, and how large that is. Neither its time nor
// its interface is in it. What follows a "|" is inside a tunnel.
func Line(p inspect.Packet) string {
	l := &line{whole: p.Length <= len(p.Data), left: most}
	switch p.Link {
	case linkEthernet:
		l.ethernet(p.Data)
	case linkRaw:
		l.raw(p.Data)
	default:
		l.add("link-layer header of type %d, %d bytes", p.Link, max(p.Length, len(p.Data)))
	}
	if l.short && l.whole {
		l.add(", truncated: its header says that it is longer")
	}
	return l.text.String()
}

func (l *line) add(format string, args ...any) { fmt.Fprintf(&l.text, format, args...) }

// decode takes one header off, or says what is wrong with it.
func (l *line) decode(name string, data []byte, into gopacket.DecodingLayer) bool {
	if l.left--; l.left < 0 {
		l.add("%s, and more headers", name)
		return false
	}
	var err error
	l.cut, err = parse(data, into)
	switch {
	case err == nil:
		return true
	case l.cut || !l.whole:
		l.whole = false
		l.add("%s, truncated", name)
	default:
		l.add("%s, malformed", name)
	}
	return false
}

// parse decodes one header, and says whether there is less than the header says. It does so by gopacket's
// parser, which makes errors of the panics of its decoders.
func parse(data []byte, into gopacket.DecodingLayer) (cut bool, err error) {
	parser := gopacket.NewDecodingLayerParser(into.CanDecode().LayerTypes()[0], alone{into})
	err = parser.DecodeLayers(data, new([]gopacket.LayerType))
	return parser.Truncated, err
}

// alone is a layer after which a parser stops.
type alone struct{ gopacket.DecodingLayer }

// NextLayerType says that there is none.
func (alone) NextLayerType() gopacket.LayerType { return gopacket.LayerTypeZero }

// printable gives a text of a packet without what a terminal obeys.
func printable(text string) string {
	return strings.Map(func(r rune) rune {
		if r <= ' ' || r >= 0x7f {
			return '?'
		}
		return r
	}, text)
}
