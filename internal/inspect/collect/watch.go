//go:build linux

package collect

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Limits of what is watched at once, and said at once.
const (
	maxPoints = 256
	waiting   = 1024      // packets of all points that nobody took yet; behind them, the kernel's buffers fill
	maxBatch  = 256 << 10 // bytes, but for a packet that is larger
)

// lookEvery is how often a Watching looks whether its interfaces are there.
const lookEvery = 500 * time.Millisecond

// errNothing is the error for a Watch without a point.
var errNothing = errors.New("no interface is named that could be watched")

// Watching watches packets. What passes after Watch gave it is not missed.
type Watching struct {
	watch   inspect.Watch
	sockets []*packetSocket
	packets chan *inspect.Packet
	reasons *reasons // nil if they are not watched
	notes   []string
}

// Watch opens what a Watch asks for. It must run on a thread of the node's namespaces; what it gives
// may be used on any. The caller runs or closes it.
func Watch(options Options, watch inspect.Watch) (*Watching, error) {
	if len(watch.Points) == 0 {
		return nil, errNothing
	}
	if len(watch.Points) > maxPoints {
		return nil, fmt.Errorf("%d interfaces are too many to watch at once: %d may be", len(watch.Points), maxPoints)
	}
	c := &collector{options: options, snapshot: inspect.New()}
	defer c.close()
	if err := c.open(); err != nil {
		return nil, err
	}
	w := &Watching{watch: watch, packets: make(chan *inspect.Packet, waiting)}
	for _, point := range watch.Points {
		if err := w.add(c, point); err != nil {
			w.Close()
			return nil, err
		}
	}
	if watch.Drops {
		w.openReasons()
	}
	return w, nil
}

// open opens the namespaces that the options and the journal name.
func (c *collector) open() error {
	c.readJournal()
	if err := c.openHost(); err != nil {
		return err
	}
	c.openSandboxes()
	return nil
}

// within runs a function in the namespace of an inode.
func (c *collector) within(inode uint64, f func() error) error {
	i := slices.IndexFunc(c.opened, func(ns *opened) bool { return ns.inode == inode })
	switch i {
	case -1:
		return errors.New("the network namespace is gone")
	case 0:
		return f() // the thread is there, and entering takes SYS_ADMIN
	}
	return inside(c.opened[i].handle, f)
}

func (w *Watching) add(c *collector, point inspect.Ref) error {
	return c.within(point.Namespace, func() error {
		s, err := newPacketSocket(point, &w.watch)
		if err == nil {
			w.sockets = append(w.sockets, s)
		}
		return err
	})
}

// Close lets go of it. It is for a Watching that is not run.
func (w *Watching) Close() {
	for _, s := range w.sockets {
		_ = s.file.Close()
	}
	w.reasons.close()
}

// Run gives what passes until the context ends, which is no error, or, where no reasons are asked for, every interface is gone, and then what is
// left. It closes the Watching.
func (w *Watching) Run(ctx context.Context, saw func(inspect.Sighting) error) error {
	defer w.Close()
	if err := saw(inspect.Sighting{Ready: true, Notes: w.notes}); err != nil {
		return err
	}
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	defer context.AfterFunc(ctx, w.wake)()
	failed, drops := w.read(cancel), w.reasons.read(ctx)
	var err error
	say := func(s inspect.Sighting) {
		if err != nil {
			return // the readers must not wait for ever
		}
		if err = saw(s); err != nil {
			cancel()
		}
	}
	look := time.NewTicker(lookEvery)
	defer look.Stop()
	for packets := w.packets; packets != nil || drops != nil; {
		select {
		case first, more := <-packets:
			if !more {
				packets = nil
				continue
			}
			say(w.batch(first))
		case drop, more := <-drops:
			if !more {
				drops = nil
				continue
			}
			say(inspect.Sighting{Drops: []inspect.Drop{drop}})
		case <-look.C:
			if gone := w.leave(); len(gone) > 0 {
				say(inspect.Sighting{Gone: gone})
			}
		}
	}
	if err := errors.Join(err, <-failed); err != nil {
		return err
	}
	return saw(inspect.Sighting{Gone: w.leave(), Counts: w.counts(), Notes: w.reasons.lost()})
}

// wake ends the reads that wait.
func (w *Watching) wake() {
	for _, s := range w.sockets {
		_ = s.file.SetReadDeadline(time.Unix(1, 0))
	}
}

// read begins to read all sockets until they are woken. One that fails ends the others too.
func (w *Watching) read(cancel func()) (failed <-chan error) {
	errs := make([]error, len(w.sockets))
	done := make(chan error, 1)
	var all sync.WaitGroup
	for i, s := range w.sockets {
		all.Go(func() {
			if errs[i] = w.follow(s); errs[i] != nil {
				cancel()
			}
		})
	}
	go func() {
		all.Wait()
		done <- errors.Join(errs...)
		close(w.packets)
	}()
	return done
}

// follow reads a socket until it is woken, and then what came before that.
func (w *Watching) follow(s *packetSocket) error {
	read := s.next
	var end time.Time
	for {
		p, err := read()
		switch {
		case errors.Is(err, unix.ENETDOWN): // the interface was set down, and may come up again
		case errors.Is(err, os.ErrDeadlineExceeded):
			read, end = s.rest, time.Now()
		case err != nil:
			return fmt.Errorf("read packets: %w", err)
		case p == nil || !end.IsZero() && p.Time.After(end):
			return nil
		case w.wants(p):
			w.packets <- p
		}
	}
}

// wants reports whether a packet has one of the marks, if there are any.
func (w *Watching) wants(p *inspect.Packet) bool {
	return len(w.watch.Marks) == 0 || slices.ContainsFunc(w.watch.Marks, func(mark []byte) bool { return bytes.Contains(p.Data, mark) })
}

// batch gives a packet with those that wait behind it, in the order of their times.
func (w *Watching) batch(first *inspect.Packet) inspect.Sighting {
	packets, size := []inspect.Packet{*first}, len(first.Data)
	for size < maxBatch {
		select {
		case p, more := <-w.packets:
			if more {
				packets, size = append(packets, *p), size+len(p.Data)
				continue
			}
		default:
		}
		break
	}
	slices.SortStableFunc(packets, func(a, b inspect.Packet) int { return a.Time.Compare(b.Time) })
	return inspect.Sighting{Packets: packets}
}

// leave gives the points that have gone since it was asked last, and ends the reading of those. Of one that
// was down, no error of the socket says it.
func (w *Watching) leave() (gone []inspect.Ref) {
	for _, s := range w.sockets {
		if !s.left && s.gone() {
			s.left, gone = true, append(gone, s.point)
			_ = s.file.SetReadDeadline(time.Unix(1, 0))
		}
	}
	return gone
}

func (w *Watching) counts() []inspect.Count {
	counts := make([]inspect.Count, len(w.sockets))
	for i, s := range w.sockets {
		counts[i] = s.counts()
	}
	return counts
}
