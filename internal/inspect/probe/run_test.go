package probe

import (
	"context"
	"errors"
	"testing"
	"testing/synctest"
	"time"

	"github.com/gopacket/gopacket/layers"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/path"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// fakeNode watches until it is told to end, and answers with what a test gives it.
type fakeNode struct {
	inspect.Node
	fails  error // of the watch
	sends  error // of the sending
	answer func(context.Context, func(inspect.Sighting) error) error
	ended  bool
}

func (n *fakeNode) Watch(ctx context.Context, _ inspect.Watch, saw func(inspect.Sighting) error) error {
	if n.fails != nil {
		return n.fails
	}
	if err := saw(inspect.Sighting{Ready: true}); err != nil {
		return err
	}
	if n.answer != nil {
		if err := n.answer(ctx, saw); err != nil {
			return err
		}
	}
	<-ctx.Done()
	n.ended = true
	return nil
}

func (n *fakeNode) Send(_ context.Context, send inspect.Send) ([]inspect.Sent, error) {
	return make([]inspect.Sent, len(send.Shots)), n.sends
}

// onTwoNodes is a path whose far end is on another node.
func onTwoNodes() *path.Document {
	d := twoHops()
	for _, way := range []*path.Way{&d.There, d.Back} {
		for i := range way.Hops {
			if way.Hops[i].Ref.Namespace == 3 {
				way.Hops[i].Node = "n2"
			}
		}
	}
	d.To.Node = "n2"
	return d
}

// Whatever fails at the beginning ends the watch of all nodes, and is told.
func TestRunFails(t *testing.T) {
	for name, test := range map[string]struct {
		near, far fakeNode
		want      string // "" for no error
		note      string
	}{
		"the sender's node cannot be watched": {near: fakeNode{fails: errors.New("no right")}, want: "no right"},
		"nothing can be sent":                 {near: fakeNode{sends: errors.New("no address")}, want: "no address"},
		"the far node cannot be watched":      {far: fakeNode{fails: errors.New("no right")}, note: "n2 was not watched: no right"},
		"the far node goes away meanwhile": {far: fakeNode{answer: func(context.Context, func(inspect.Sighting) error) error {
			return errors.New("the stream ended")
		}}, note: "n2 was not watched: the stream ended"},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				d, near, far := onTwoNodes(), test.near, test.far
				p, err := New(d, "icmp")
				check.Must(t, err)
				err = p.Run(t.Context(), map[string]inspect.Watcher{"n1": &near, "n2": &far}, time.Second, false)
				if test.want != "" {
					check.Error(t, err, test.want)
					check.Equal(t, "the far node's watch has ended", far.ended, true)
					return
				}
				check.Must(t, err)
				check.Contains(t, "notes", d.Probe.Notes[0], test.note)
				check.Equal(t, "the near node's watch has ended", near.ended, true)
			})
		})
	}
}

// It waits as long as it was told to, no longer than until the last answer, and not after its end.
func TestRunWaits(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, err := New(onTwoNodes(), "icmp")
		check.Must(t, err)
		begun := time.Now()
		check.Must(t, p.Run(t.Context(), map[string]inspect.Watcher{"n1": &fakeNode{}, "n2": &fakeNode{}}, 7*time.Second, true))
		check.Equal(t, "it waited", time.Since(begun), 7*time.Second)

		p, err = New(onTwoNodes(), "icmp")
		check.Must(t, err)
		answers := fakeNode{answer: func(_ context.Context, saw func(inspect.Sighting) error) error {
			time.Sleep(time.Second) // of the bubble's clock
			for _, s := range append(across(200), across(1500)...) {
				data := icmp(t, p.mark, "10.0.0.2", "10.0.0.1", s.ttl, 0, s.size)
				if err := saw(inspect.Sighting{Packets: []inspect.Packet{{Point: inspect.Ref{Namespace: 2, Index: 2}, Data: data, Link: 1}}}); err != nil {
					return err
				}
			}
			return nil
		}}
		begun = time.Now()
		check.Must(t, p.Run(t.Context(), map[string]inspect.Watcher{"n1": &answers, "n2": &fakeNode{}}, time.Minute, false))
		check.Equal(t, "it waited until the answer", time.Since(begun), time.Second)

		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(2*time.Second, cancel)
		p, err = New(onTwoNodes(), "icmp")
		check.Must(t, err)
		check.Equal(t, "error", errors.Is(p.Run(ctx, map[string]inspect.Watcher{"n1": &fakeNode{}, "n2": &fakeNode{}}, time.Minute, false), context.Canceled), true)

		p, err = New(onTwoNodes(), "icmp")
		check.Must(t, err)
		check.Error(t, p.Run(t.Context(), map[string]inspect.Watcher{"n2": &fakeNode{}}, time.Minute, false), "no packet can be sent from pod shop/web")
	})
}

// It waits for the last words of kernels as long as they may take: where a rejection has no reason yet, and where
// what a kernel dropped may have been a copy.
func TestRunWaitsForLastWords(t *testing.T) {
	reject := func(t *testing.T, p *Probe, size int) inspect.Sighting {
		data := rejection(t, p.mark, "10.0.0.1", size, &layers.ICMPv4{TypeCode: layers.CreateICMPv4TypeCode(3, 1)})
		return inspect.Sighting{Packets: []inspect.Packet{{Point: inspect.Ref{Namespace: 2, Index: 2}, Data: data, Link: 1}}}
	}
	dropped := func(t *testing.T, p *Probe, size int) inspect.Sighting {
		data := icmp(t, p.mark, "10.0.0.1", "10.0.0.2", 64, layers.ICMPv4TypeEchoRequest, size)[14:]
		return inspect.Sighting{Drops: []inspect.Drop{{Reason: "NETFILTER_DROP", Data: data}}}
	}
	copied := func(t *testing.T, p *Probe, size int) inspect.Sighting {
		s := dropped(t, p, size)
		s.Drops[0].Reason = "OTHERHOST"
		return s
	}
	both := func(t *testing.T, p *Probe, size int) inspect.Sighting {
		s := reject(t, p, size)
		s.Drops = dropped(t, p, size).Drops
		return s
	}
	for name, test := range map[string]struct {
		why  bool
		says func(*testing.T, *Probe, int) inspect.Sighting
		want time.Duration
	}{
		"rejected, and reasons are not asked for": {false, reject, 0},
		"rejected, and no reason yet":             {true, reject, lastWords},
		"rejected for a reason":                   {true, both, 0},
		"dropped, and it may have been a copy":    {true, dropped, lastWords},
		"dropped, and reasons are not asked for":  {false, dropped, time.Minute},
		"a copy was dropped":                      {true, copied, time.Minute},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, err := New(onTwoNodes(), "icmp")
				check.Must(t, err)
				near := fakeNode{answer: func(_ context.Context, saw func(inspect.Sighting) error) error {
					for _, shot := range p.shots {
						if err := saw(test.says(t, p, shot.Size)); err != nil {
							return err
						}
					}
					return nil
				}}
				begun := time.Now()
				check.Must(t, p.Run(t.Context(), map[string]inspect.Watcher{"n1": &near, "n2": &fakeNode{}}, time.Minute, test.why))
				check.Equal(t, "it waited", time.Since(begun), test.want)
			})
		})
	}
}
