package capture

import (
	"bytes"
	"errors"
	"strings"
	"testing"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/filter"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// taken notes what comes, in its order.
type taken struct {
	packets []string
	counts  []inspect.Count
	fails   error
}

func (s *taken) Packet(p *Point, packet inspect.Packet, _ string) error {
	s.packets = append(s.packets, p.Name+":"+string(packet.Data))
	return s.fails
}

func (*taken) Flush() error { return nil }

func (s *taken) Counts(_ *Point, _ time.Time, count inspect.Count) error {
	s.counts = append(s.counts, count)
	return nil
}

func twoPoints() []Point {
	return []Point{
		{Node: "n1", Ref: inspect.Ref{Namespace: 1, Index: 2}, Name: "a", Link: filter.Ethernet},
		{Node: "n2", Ref: inspect.Ref{Namespace: 1, Index: 2}, Name: "b", Link: filter.Ethernet},
	}
}

func packet(second int64, data string) inspect.Packet {
	return inspect.Packet{Point: inspect.Ref{Namespace: 1, Index: 2}, Time: time.Unix(second, 0), Data: []byte(data), Link: filter.Ethernet}
}

// Packets of two nodes come in the order of their times; a late one still comes.
func TestRecorderOrders(t *testing.T) {
	sink, points := &taken{}, twoPoints()
	r := NewRecorder(sink, points, nil)
	tasks := []*Task{{Node: "n1", Watch: inspect.Watch{Points: []inspect.Ref{points[0].Ref}}}, {Node: "n2", Watch: inspect.Watch{Points: []inspect.Ref{points[1].Ref}}}}
	check.Must(t, r.Saw(tasks[1], inspect.Sighting{Packets: []inspect.Packet{packet(5, "5")}}))
	check.Must(t, r.Saw(tasks[0], inspect.Sighting{Packets: []inspect.Packet{packet(3, "3"), packet(9, "9")}}))
	check.Must(t, r.Settle(time.Now()))
	check.Equal(t, "before they have waited", len(sink.packets), 0)
	check.Must(t, r.Settle(time.Now().Add(2*Patience)))
	check.Must(t, r.Saw(tasks[0], inspect.Sighting{Packets: []inspect.Packet{packet(4, "4")}, Counts: []inspect.Count{{Seen: 4, Lost: 7}}}))
	check.Must(t, r.End())
	check.Equal(t, "packets", sink.packets, []string{"a:3", "b:5", "a:9", "a:4"})
	check.Equal(t, "counts", sink.counts, []inspect.Count{{Seen: 4, Lost: 7}})
	check.Equal(t, "summary", r.Summary(), "4 packets of 2 interfaces; 7 more passed a, and were lost to the capture; what was lost to the capture is not known of b")
	check.Must(t, r.Saw(tasks[1], inspect.Sighting{Counts: []inspect.Count{{Seen: 1}}}))
	check.Equal(t, "summary of all", r.Summary(), "4 packets of 2 interfaces; 7 more passed a, and were lost to the capture")
}

func TestRecorderHasEnough(t *testing.T) {
	sink, points := &taken{}, twoPoints()[:1]
	r := NewRecorder(sink, points, nil)
	r.Most = 2
	task := &Task{Node: "n1", Watch: inspect.Watch{Points: []inspect.Ref{points[0].Ref}}}
	stranger := packet(1, "x")
	stranger.Point.Index = 77
	check.Must(t, r.Saw(task, inspect.Sighting{Packets: []inspect.Packet{stranger, packet(1, "1"), packet(2, "2"), packet(3, "3")}}))
	check.Equal(t, "full", r.Full(), true)
	check.Must(t, r.Saw(task, inspect.Sighting{Counts: []inspect.Count{{Seen: 3}}}))
	check.Must(t, r.End())
	check.Equal(t, "packets", sink.packets, []string{"a:1", "a:2"})
	check.Equal(t, "summary", r.Summary(), "2 packets of 1 interface; none was lost to the capture")

	failing := NewRecorder(&taken{fails: errors.New("no room")}, points, nil)
	check.Error(t, failing.Saw(task, inspect.Sighting{Packets: []inspect.Packet{packet(1, "1")}}), "no room")
	check.Error(t, failing.End(), "no room")
	check.Equal(t, "summary of what failed", failing.Summary(), "0 packets of 1 interface; 1 more could not be written")
}

// The header of an interface's packets is told by its address: a tunnel has that of IP.
func TestHeader(t *testing.T) {
	for mac, want := range map[string]int{
		"02:00:00:00:00:01": filter.Ethernet, "": filter.RawIP, "0a:09:00:02": filter.RawIP, "fd:00:00:00:00:00:00:00:00:00:00:00:00:00:00:01": filter.RawIP,
		"80:00:02:08:fe:80:00:00:00:00:00:00:f4:52:14:03:00:7b:cb:a1": other,
	} {
		check.Equal(t, mac, header(&inspect.Link{MAC: mac}), want)
	}
	strange := []Point{{Node: "n1", Name: "ib0@n1", Link: other}}
	_, err := Chooser{}.Tasks(strange, 0)
	check.Must(t, err)
	_, err = Chooser{Text: "icmp"}.Tasks(strange, 0)
	check.Error(t, err, "the packets of ib0@n1 have headers that no filter is made for")
}

// An interface that is gone is named, and no other.
func TestRecorderNamesWhatIsGone(t *testing.T) {
	points := twoPoints()
	r := NewRecorder(&taken{}, points, nil)
	for i, want := range [][]string{{"b"}, {"a", "b"}} {
		p := points[1-i]
		check.Must(t, r.Saw(&Task{Node: p.Node, Watch: inspect.Watch{Points: []inspect.Ref{p.Ref}}}, inspect.Sighting{Gone: []inspect.Ref{p.Ref}}))
		check.Equal(t, "gone", r.Gone(), want)
	}
}

// A filter is compiled for each kind of header, and for what a tunnel carries.
func TestTasks(t *testing.T) {
	points := append(twoPoints(), Point{Node: "n1", Ref: inspect.Ref{Namespace: 1, Index: 3}, Link: filter.RawIP}, Point{Node: "n1", Ref: inspect.Ref{Namespace: 1, Index: 4}, Link: filter.Ethernet},
		Point{Node: "n1", Ref: inspect.Ref{Namespace: 1, Index: 5}, Link: filter.Ethernet, Outer: [2]string{"192.0.2.1", "192.0.2.2"}})
	tasks, err := Chooser{Text: "icmp"}.Tasks(points, 100)
	check.Must(t, err)
	var watched []int
	for _, task := range tasks {
		watched = append(watched, len(task.Watch.Points))
		check.Equal(t, "bytes", task.Watch.Keep, 100)
	}
	check.Equal(t, "points of each", watched, []int{2, 1, 1, 1})
	check.Equal(t, "what chooses within the tunnel", []bool{tasks[0].Inner != nil, tasks[3].Inner != nil}, []bool{false, true})
	_, err = Chooser{Text: "vlan"}.Tasks(points, 0)
	check.Error(t, err, `"vlan" cannot be here`)
	program := []inspect.Instruction{{Op: 6, K: 9}}
	tasks, err = Chooser{Program: program}.Tasks(points, 0)
	check.Must(t, err)
	check.Equal(t, "with a program of one's own", []int{len(tasks), len(tasks[0].Watch.Points)}, []int{2, 4})
}

func TestLines(t *testing.T) {
	var out bytes.Buffer
	p := twoPoints()[0]
	check.Must(t, Lines(&out).Packet(&p, inspect.Packet{Time: time.Unix(0, 0), Out: true, Link: 1, Data: make([]byte, 60)}, "hop 1 of 2"))
	check.Contains(t, "line", out.String(), " a > ", "  [hop 1 of 2]\n")
	check.Equal(t, "lines", strings.Count(out.String(), "\n"), 1)
}

// Nothing that passes an interface makes it panic.
func FuzzRecorder(f *testing.F) {
	f.Add(append(make([]byte, 12), "\x08\x00\x45\x00\x00\x20\x00\x00\x00\x00\x40\x11\x00\x00\x0a\x00\x00\x01\x0a\x00\x00\x02\x00\x01\x21\x18\x00\x0c"...), 1)
	f.Add([]byte("\x60\x00"), 101)
	points := twoPoints()
	points[0].Outer = [2]string{"192.0.2.1", "192.0.2.2"}
	f.Fuzz(func(t *testing.T, data []byte, link int) {
		points[0].Link = link
		tasks, err := Chooser{Text: "udp port 53"}.Tasks(points, 0)
		if err != nil {
			return
		}
		r := NewRecorder(Lines(&bytes.Buffer{}), points, nil)
		r.from, r.to = inspect.ParseIP("10.0.0.1"), inspect.ParseIP("10.0.0.2")
		check.Must(t, r.Saw(&tasks[0], inspect.Sighting{Packets: []inspect.Packet{{Point: points[0].Ref, Link: link, Data: data}}}))
		check.Must(t, r.End())
	})
}
