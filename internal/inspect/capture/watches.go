package capture

import (
	"fmt"
	"net/netip"
	"slices"

	"github.com/gopacket/gopacket"
	"github.com/gopacket/gopacket/layers"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/filter"
	"github.com/plexus-cni/plexus/internal/inspect/headers"
)

// Chooser says which packets are captured: by a text, or by a program. The zero value captures all.
type Chooser struct {
	Text    string
	Program []inspect.Instruction // if it is not nil, in place of the text
}

// Task is what one node is asked to watch.
type Task struct {
	Node  string
	Watch inspect.Watch
	// Inner says of a frame within a tunnel whether it is captured; nil where the kernel has chosen already.
	Inner func([]byte) bool
}

// Tasks gives what to watch for points. Where a tunnel carries the packets, the kernel chooses by the
// tunnel's ends, and the text is about what is within.
func (c Chooser) Tasks(points []Point, keep int) (tasks []Task, err error) {
	for _, p := range points {
		program, inner, err := c.of(&p)
		if err != nil {
			return nil, err
		}
		i := slices.IndexFunc(tasks, func(t Task) bool {
			return t.Node == p.Node && slices.Equal(t.Watch.Filter, program) && (t.Inner == nil) == (inner == nil)
		})
		if i < 0 {
			tasks, i = append(tasks, Task{Node: p.Node, Watch: inspect.Watch{Filter: program, Keep: keep}, Inner: inner}), len(tasks)
		}
		tasks[i].Watch.Points = append(tasks[i].Watch.Points, p.Ref)
	}
	return tasks, nil
}

// of gives the program of a point, and what chooses of what that lets pass.
func (c Chooser) of(p *Point) ([]inspect.Instruction, func([]byte) bool, error) {
	if c.Program != nil {
		return c.Program, nil, nil
	}
	if p.Link == other && c.Text == "" {
		return nil, nil, nil
	}
	if p.Outer[0] == "" {
		program, err := filter.Compile(c.Text, p.Link)
		if p.Link == other {
			err = fmt.Errorf("the packets of %s have headers that no filter is made for: leave it out, or give --bpf", p.Name)
		}
		return program, nil, err
	}
	program, err := filter.Compile(fmt.Sprintf("host %s and host %s", p.Outer[0], p.Outer[1]), p.Link)
	if err != nil || c.Text == "" {
		return program, nil, err
	}
	ethernet, err := filter.Matcher(c.Text, filter.Ethernet)
	if err != nil {
		return nil, nil, err
	}
	raw, rawErr := filter.Matcher(c.Text, filter.RawIP)
	return program, func(data []byte) bool {
		frame, link := within(data, p.Link)
		switch {
		case frame == nil:
			return false
		case link == filter.Ethernet:
			return ethernet(frame)
		}
		return rawErr == nil && raw(frame)
	}, nil
}

// within gives the innermost frame that a tunnel carries, nil if there is none.
func within(data []byte, link int) (frame []byte, kind int) {
	networks := 0
	for _, layer := range headers.Of(data, link) {
		switch layer.(type) {
		case *layers.Ethernet:
			if networks > 0 {
				frame, kind = whole(layer), filter.Ethernet
			}
		case *layers.IPv4, *layers.IPv6:
			if networks++; networks > 1 && kind != filter.Ethernet {
				frame, kind = whole(layer), filter.RawIP
			}
		}
	}
	return frame, kind
}

func whole(layer gopacket.Layer) []byte {
	return slices.Concat(layer.LayerContents(), layer.LayerPayload())
}

// ends gives the addresses of the innermost packet.
func ends(data []byte, link int) (from, to netip.Addr) {
	for _, layer := range headers.Of(data, link) {
		switch layer := layer.(type) {
		case *layers.IPv4:
			from, _ = netip.AddrFromSlice(layer.SrcIP)
			to, _ = netip.AddrFromSlice(layer.DstIP)
		case *layers.IPv6:
			from, _ = netip.AddrFromSlice(layer.SrcIP)
			to, _ = netip.AddrFromSlice(layer.DstIP)
		}
	}
	return from.Unmap(), to.Unmap()
}
