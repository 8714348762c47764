package capture

import (
	"cmp"
	"fmt"
	"io"
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/packetline"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/inspect/pcapng"
)

// Sink takes what is captured.
type Sink interface {
	// Packet takes one of a point. The comment says where on the path it is; "" for nothing.
	Packet(p *Point, packet inspect.Packet, comment string) error
	// Flush lets the reader see what came so far.
	Flush() error
	// Counts takes what the kernel counted of a point, at the end.
	Counts(p *Point, since time.Time, count inspect.Count) error
}

// Recorder hands packets to a Sink, with what is known of them. It is for one goroutine at a time.
type Recorder struct {
	sink     Sink
	points   []Point
	from, to netip.Addr // of the path's packets; zero without one
	begun    time.Time
	// Most is how many packets are taken; 0 for any number.
	Most    int
	taken   int
	written int                   // of those: the reader has them
	counts  map[int]inspect.Count // by the index of the point
	held    []held
	gone    map[int]bool // by the index of the point
	failed  error        // of the sink: it takes nothing any more
}

// held is a packet that waits for earlier ones: those of several interfaces do not come in their order.
type held struct {
	point   int
	packet  inspect.Packet
	comment string
	hop     int // of the way that the packet takes: at the hops of one kernel it may have one time
	arrived time.Time
}

// Patience is how long a packet waits for earlier ones of other interfaces.
const Patience = 200 * time.Millisecond

// NewRecorder makes one of points, and of the path that they are on, if they are on one.
func NewRecorder(sink Sink, points []Point, d *path.Document) *Recorder {
	r := &Recorder{sink: sink, points: points, begun: time.Now(), counts: map[int]inspect.Count{}, gone: map[int]bool{}}
	if d != nil {
		r.from, r.to = inspect.ParseIP(d.There.From), inspect.ParseIP(d.There.To)
	}
	return r
}

// Full reports whether no more packets are taken.
func (r *Recorder) Full() bool { return r.Most > 0 && r.taken >= r.Most }

// Begin lets the reader see which interfaces are captured on, before anything passes.
func (r *Recorder) Begin() error { return r.flush() }

// Saw takes what a node says of a task.
func (r *Recorder) Saw(task *Task, s inspect.Sighting) error {
	for _, packet := range s.Packets {
		i := r.index(task.Node, packet.Point)
		if i < 0 || r.Full() || task.Inner != nil && !task.Inner(packet.Data) {
			continue
		}
		r.taken++
		comment, hop := r.place(&r.points[i], packet)
		r.held = append(r.held, held{i, packet, comment, hop, time.Now()})
	}
	if len(r.points) == 1 {
		if err := r.settle(time.Now()); err != nil {
			return err
		}
	}
	for _, ref := range s.Gone {
		if i := r.index(task.Node, ref); i >= 0 {
			r.gone[i] = true
		}
	}
	for k, count := range s.Counts {
		if i := r.index(task.Node, task.Watch.Points[min(k, len(task.Watch.Points)-1)]); i >= 0 {
			r.counts[i] = count
		}
	}
	return nil
}

// Settle hands on, in the order of their times, the packets that have waited long enough.
func (r *Recorder) Settle(now time.Time) error { return r.settle(now.Add(-Patience)) }

// End hands on all packets, and then the counts.
func (r *Recorder) End() error {
	_ = r.settle(time.Now())
	for i := 0; r.failed == nil && i < len(r.points); i++ {
		if count, known := r.counts[i]; known {
			r.failed = r.sink.Counts(&r.points[i], r.begun, count)
		}
	}
	return r.flush()
}

// flush lets the reader see what came so far. What has failed once is not tried again.
func (r *Recorder) flush() error {
	if r.failed == nil {
		r.failed = r.sink.Flush()
	}
	return r.failed
}

// Gone names the interfaces that are not there any more.
func (r *Recorder) Gone() (names []string) {
	for i := range r.points {
		if r.gone[i] {
			names = append(names, r.points[i].Name)
		}
	}
	return names
}

// settle hands on what arrived until then, and what is earlier than that.
func (r *Recorder) settle(until time.Time) error {
	var latest time.Time
	for _, h := range r.held {
		if !h.arrived.After(until) && h.packet.Time.After(latest) {
			latest = h.packet.Time
		}
	}
	if latest.IsZero() || r.failed != nil {
		return r.failed
	}
	slices.SortStableFunc(r.held, func(a, b held) int {
		return cmp.Or(a.packet.Time.Compare(b.packet.Time), cmp.Compare(a.hop, b.hop))
	})
	ready := 0
	for ready < len(r.held) && !r.held[ready].packet.Time.After(latest) {
		h := &r.held[ready]
		if r.failed = r.sink.Packet(&r.points[h.point], h.packet, h.comment); r.failed != nil {
			return r.failed
		}
		ready++
	}
	r.held = slices.Delete(r.held, 0, ready)
	if r.flush() == nil {
		r.written += ready
	}
	return r.failed
}

func (r *Recorder) index(node string, ref inspect.Ref) int {
	for i := range r.points {
		if r.points[i].Node == node && r.points[i].Ref == ref {
			return i
		}
	}
	return -1
}

// place says at which hop a packet of the path, or its answer, is.
func (r *Recorder) place(p *Point, packet inspect.Packet) (comment string, hop int) {
	if !r.from.IsValid() {
		return "", 0
	}
	switch from, to := ends(packet.Data, packet.Link); {
	case from == r.from && to == r.to:
		return p.There.String(), p.There.number
	case from == r.to && to == r.from && p.Back.number != 0:
		return p.Back.String() + " back", p.Back.number
	}
	return "", 0
}

// Begins says that what passes from now on is captured.
func (r *Recorder) Begins() string {
	return "capturing on " + counted(len(r.points), "interface") + "; Ctrl-C ends it"
}

// Summary says how much was captured, and what was lost at which points.
func (r *Recorder) Summary() string {
	text := counted(r.written, "packet") + " of " + counted(len(r.points), "interface")
	lost := uint64(0)
	var unknown []string
	for i := range r.points {
		if _, known := r.counts[i]; !known {
			unknown = append(unknown, r.points[i].Name)
		}
		if n := r.counts[i].Lost; n > 0 {
			lost += n
			text += fmt.Sprintf("; %d more passed %s, and were lost to the capture", n, r.points[i].Name)
		}
	}
	if unwritten := r.taken - r.written; unwritten > 0 {
		return text + fmt.Sprintf("; %d more could not be written", unwritten)
	}
	if len(unknown) > 0 {
		return text + "; what was lost to the capture is not known of " + strings.Join(unknown, ", ")
	}
	if lost == 0 {
		text += "; none was lost to the capture"
	}
	return text
}

func counted(n int, what string) string {
	if n == 1 {
		return "1 " + what
	}
	return fmt.Sprintf("%d %ss", n, what)
}

// lines prints each packet on a line.
type lines struct{ w io.Writer }

// Lines is a Sink for a terminal.
func Lines(w io.Writer) Sink { return lines{w} }

func (l lines) Packet(p *Point, packet inspect.Packet, comment string) error {
	direction := "<"
	if packet.Out {
		direction = ">"
	}
	if comment != "" {
		comment = "  [" + comment + "]"
	}
	_, err := fmt.Fprintf(l.w, "%s %s %s %s%s\n", packet.Time.Local().Format("15:04:05.000000"), p.Name, direction, packetline.Line(packet), comment)
	return err
}

func (lines) Flush() error                                  { return nil }
func (lines) Counts(*Point, time.Time, inspect.Count) error { return nil }

// file writes pcapng.
type file struct {
	w       *pcapng.Writer
	filter  string
	keep    int
	numbers map[described]int
}

// described is an interface of a capture: its packets all have one kind of header.
type described struct {
	name string
	link int
}

// Format is what a capture says of itself.
type Format struct {
	Section pcapng.Section
	Names   []pcapng.Name // of addresses
	Filter  string        // the text by which packets were chosen
	Keep    int           // bytes of each packet; 0 is for all
}

// File is a Sink that writes pcapng. It begins with the names, and with every point; nothing is written
// before its first Flush.
func File(w io.Writer, format Format, points []Point) (Sink, error) {
	f := &file{w: pcapng.New(w, format.Section), filter: format.Filter, keep: format.Keep, numbers: map[described]int{}}
	if err := f.w.Names(format.Names...); err != nil {
		return nil, err
	}
	for i := range points {
		if _, err := f.number(&points[i], points[i].Link); err != nil {
			return nil, err
		}
	}
	return f, nil
}

// number gives that of an interface, which is written before its first packet.
func (f *file) number(p *Point, link int) (int, error) {
	key := described{p.Node + " " + p.Name, link}
	if number, known := f.numbers[key]; known {
		return number, nil
	}
	number, err := f.w.Interface(pcapng.Interface{Name: p.Name, Description: p.About, Comment: p.place(), Filter: f.filter, Link: link, Keep: f.keep})
	if err == nil {
		f.numbers[key] = number
	}
	return number, err
}

func (f *file) Packet(p *Point, packet inspect.Packet, comment string) error {
	number, err := f.number(p, packet.Link)
	if err != nil {
		return err
	}
	if comment == "" {
		return f.w.Packet(number, packet)
	}
	return f.w.Packet(number, packet, comment)
}

func (f *file) Flush() error { return f.w.Flush() }

func (f *file) Counts(p *Point, since time.Time, count inspect.Count) error {
	number, err := f.number(p, p.Link)
	if err != nil {
		return err
	}
	return f.w.Statistics(number, pcapng.Statistics{Begin: since, End: time.Now(), Count: count})
}
