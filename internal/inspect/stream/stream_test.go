package stream

import (
	"bufio"
	"context"
	"errors"
	"io"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// fakeNode is a node of two namespaces, that can be slow.
type fakeNode struct {
	asked  chan inspect.Request // nil: nobody wants to know
	slow   chan struct{}        // nil: it is not
	closed bool
	pad    int // bytes that make the snapshot large
}

func (n *fakeNode) Snapshot(ctx context.Context, request inspect.Request) (*inspect.Snapshot, error) {
	if n.asked != nil {
		n.asked <- request
	}
	if n.slow != nil {
		select {
		case <-n.slow:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	if len(request.NetNS) > 0 {
		return nil, errors.New("there is no " + request.NetNS[0])
	}
	s := inspect.New()
	s.Machine.Hostname = "node1" + strings.Repeat(".", n.pad)
	s.Namespaces = []inspect.Namespace{{Inode: 1, Host: true, Links: []inspect.Link{}}, {Inode: 2, Links: []inspect.Link{}}}
	return s, nil
}

func (*fakeNode) Answers(_ context.Context, questions []inspect.Question) ([]inspect.Answer, error) {
	answers := make([]inspect.Answer, len(questions))
	for i, question := range questions {
		answers[i] = inspect.Answer{Question: question, Refused: "ENETUNREACH"}
	}
	return answers, nil
}

// Watch gives a packet at once, and what was counted when it is told to end.
func (n *fakeNode) Watch(ctx context.Context, watch inspect.Watch, saw func(inspect.Sighting) error) error {
	if len(watch.Points) == 0 {
		return errors.New("no interface is named")
	}
	if err := saw(inspect.Sighting{Ready: true, Packets: []inspect.Packet{{Point: watch.Points[0], Data: []byte{1, 2}}}}); err != nil {
		return err
	}
	<-ctx.Done()
	if n.slow != nil {
		<-n.slow
	}
	return saw(inspect.Sighting{Counts: []inspect.Count{{Seen: 5, Lost: 2}}})
}

func (*fakeNode) Send(_ context.Context, send inspect.Send) ([]inspect.Sent, error) {
	return make([]inspect.Sent, len(send.Shots)-int(send.Output)), nil
}

func (n *fakeNode) Close() error {
	n.closed = true
	return nil
}

// pipe is a connection of two pipes.
type pipe struct {
	io.Reader
	io.Writer
	close func()
}

func (p *pipe) Close() error {
	p.close()
	return nil
}

// link is a client's and a server's side.
type link struct {
	client, server *pipe
	served         chan error
}

func newLink() *link {
	downR, downW := io.Pipe()
	upR, upW := io.Pipe()
	closeAll := func() {
		_ = upW.Close()
		_ = downR.Close()
	}
	return &link{
		client: &pipe{downR, upW, closeAll},
		server: &pipe{upR, downW, func() { _, _ = upR.Close(), downW.Close() }},
		served: make(chan error, 1),
	}
}

// serve serves a node until the client goes.
func (l *link) serve(t *testing.T, node *fakeNode) {
	t.Helper()
	go func() {
		err := Serve(t.Context(), l.server.Reader, l.server.Writer, "v0.2.0", func(Folders) (inspect.Node, error) { return node, nil })
		_ = l.server.Close()
		l.served <- err
	}()
}

func isError(t *testing.T, what string, got, want error) {
	t.Helper()
	if !errors.Is(got, want) {
		t.Errorf("%s: got %v, want %v", what, got, want)
	}
}

// wait waits for the server to end, for whatever reason.
func (l *link) wait(t *testing.T) {
	t.Helper()
	t.Log("the server:", <-l.served)
}

var hello = Hello{Protocol: Protocol, Build: "v0.1.0"}

func connected(t *testing.T, node *fakeNode) (*Client, *link) {
	t.Helper()
	l := newLink()
	l.serve(t, node)
	c, err := Connect(t.Context(), l.client, hello)
	check.Must(t, err)
	return c, l
}

func TestStream(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{}
		c, l := connected(t, node)
		for range 2 {
			s, err := c.Snapshot(t.Context(), inspect.Request{})
			check.Must(t, err)
			check.Equal(t, "snapshot", s.Machine.Hostname, "node1")
			check.Equal(t, "namespaces", len(s.Namespaces), 2)
		}
		questions := []inspect.Question{{Namespace: 2, To: "192.0.2.1"}, {Namespace: 1, To: "192.0.2.2", Mark: 7}}
		answers, err := c.Answers(t.Context(), questions)
		check.Must(t, err)
		check.Equal(t, "answers", answers, []inspect.Answer{{Question: questions[0], Refused: "ENETUNREACH"}, {Question: questions[1], Refused: "ENETUNREACH"}})
		_, err = c.Snapshot(t.Context(), inspect.Request{NetNS: []string{"/run/netns/x"}})
		check.Error(t, err, "there is no /run/netns/x")
		check.Must(t, c.Close())
		check.Equal(t, "what the server says of a client that goes", <-l.served, nil)
		check.Equal(t, "the node is closed", node.closed, true)
		_, err = c.Snapshot(t.Context(), inspect.Request{})
		check.Error(t, err, "the stream was closed")
	})
}

// Whoever watches gets what is left when he ends, and a node answers others meanwhile.
func TestStreamWatch(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t, &fakeNode{})
		ctx, cancel := context.WithCancel(t.Context())
		var all []inspect.Sighting
		err := c.Watch(ctx, inspect.Watch{Points: []inspect.Ref{{Namespace: 1, Index: 2}}}, func(s inspect.Sighting) error {
			all = append(all, s)
			if s.Ready {
				sent, err := c.Send(t.Context(), inspect.Send{Shots: make([]inspect.Shot, 2)})
				check.Must(t, err)
				check.Equal(t, "sent", len(sent), 2)
				_, err = c.Snapshot(t.Context(), inspect.Request{})
				check.Must(t, err)
				cancel()
			}
			return nil
		})
		check.Must(t, err)
		check.Equal(t, "the packet", all[0].Packets[0].Data, []byte{1, 2})
		check.Equal(t, "the counts", all[1].Counts, []inspect.Count{{Seen: 5, Lost: 2}})
		check.Error(t, c.Watch(t.Context(), inspect.Watch{}, nil), "no interface is named")
		_, err = c.Send(t.Context(), inspect.Send{Shots: make([]inspect.Shot, 2), Output: 1})
		check.Error(t, err, "1 packets, of 2")
		enough := errors.New("enough")
		err = c.Watch(t.Context(), inspect.Watch{Points: []inspect.Ref{{}}}, func(inspect.Sighting) error { return enough })
		isError(t, "a client that wants no more", err, enough)
		check.Must(t, c.Close())
	})
}

// Whoever takes his time with what comes, as the reader of a pipe does, loses nothing of it, and not the stream.
func TestStreamSlowReader(t *testing.T) {
	handlers["pages"] = func(_ context.Context, _ inspect.Node, _ message, send func(any) error) error {
		for i := range 4 {
			if err := send(i); err != nil {
				return err
			}
		}
		return nil
	}
	defer delete(handlers, "pages")
	for name, pause := range map[string]time.Duration{"a minute for each page": time.Minute, "an hour": time.Hour, "no time": 0} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				c, l := connected(t, &fakeNode{})
				pages := 0
				check.Must(t, c.call(t.Context(), "pages", nil, func(message) error { pages++; time.Sleep(pause); return nil }))
				check.Equal(t, "pages", pages, 4)
				check.Must(t, c.Close())
				l.wait(t)
			})
		})
	}
}

// An hour in which nothing passes ends no watch.
func TestStreamWatchSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t, &fakeNode{})
		ctx, cancel := context.WithCancel(t.Context())
		time.AfterFunc(time.Hour, cancel)
		var last inspect.Sighting
		check.Must(t, c.Watch(ctx, inspect.Watch{Points: []inspect.Ref{{}}}, func(s inspect.Sighting) error { last = s; return nil }))
		check.Equal(t, "what came at the end", last.Counts, []inspect.Count{{Seen: 5, Lost: 2}})
		check.Must(t, c.Close())
	})
}

// A node that says nothing at the end does not keep whoever watches.
func TestStreamWatchLastWords(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{slow: make(chan struct{})}
		c, l := connected(t, node)
		ctx, cancel := context.WithCancel(t.Context())
		begun := time.Now()
		err := c.Watch(ctx, inspect.Watch{Points: []inspect.Ref{{}}}, func(inspect.Sighting) error { cancel(); return nil })
		isError(t, "error", err, ErrSilent)
		check.Equal(t, "after", time.Since(begun), lastWords)
		close(node.slow)
		check.Must(t, c.Close())
		l.wait(t)
	})
}

// The opener is told what the client says about the node.
func TestStreamHandsFoldersOver(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l, got := newLink(), make(chan Folders, 1)
		go func() {
			l.served <- Serve(t.Context(), l.server.Reader, l.server.Writer, "v0.2.0", func(folders Folders) (inspect.Node, error) {
				got <- folders
				return nil, errors.New("no such folder")
			})
			_ = l.server.Close()
		}()
		want := Folders{State: "/var/lib/cni/x/plexus", NetNS: []string{"/run/netns"}}
		c, err := Connect(t.Context(), l.client, Hello{Protocol: Protocol, Build: "v0.1.0", Folders: want})
		check.Equal(t, "folders", <-got, want)
		if err == nil { // the refusal comes after the server's version
			_, err = c.Snapshot(t.Context(), inspect.Request{})
		}
		check.Error(t, err, "no such folder")
		check.Error(t, <-l.served, "no such folder")
	})
}

// A client and a server may be one minor version apart.
func TestStreamVersions(t *testing.T) {
	for name, tc := range map[string]struct {
		version Version
		refused bool
	}{
		"the same":         {Protocol, false},
		"a newer minor":    {Version{Protocol.Major, Protocol.Minor + 1}, false},
		"an older minor":   {Version{Protocol.Major, Protocol.Minor - 1}, false},
		"two minors newer": {Version{Protocol.Major, Protocol.Minor + 2}, true},
		"two minors older": {Version{Protocol.Major, Protocol.Minor - 2}, true},
		"another major":    {Version{Protocol.Major + 1, Protocol.Minor}, true},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				l := newLink()
				l.serve(t, &fakeNode{})
				// What the client says is the other's version, and so is what it compares.
				c, err := Connect(t.Context(), l.client, Hello{Protocol: tc.version, Build: "v0.9.0"})
				if !tc.refused {
					check.Must(t, err)
					check.Must(t, c.Close())
					check.Must(t, <-l.served)
					return
				}
				isError(t, "the client's error is of versions", err, ErrVersion)
				check.Error(t, err, "kubectl-plexus is v0.9.0", "image v0.2.0", "use the kubectl-plexus of v0.2.0")
				l.wait(t)
			})
		})
	}
}

// The server refuses a client that does not compare versions itself.
func TestServeRefusesOtherVersions(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		l.serve(t, &fakeNode{})
		w := &writer{out: l.client.Writer, limit: maxRequest}
		m, err := newMessage(0, kindHello, Hello{Protocol: Version{Protocol.Major + 1, 0}, Build: "v7.0.0"})
		check.Must(t, err)
		check.Must(t, w.send(m))
		for m.Kind != kindError {
			m, err = readFrame(l.client.Reader, maxAnswer)
			check.Must(t, err)
		}
		check.Error(t, refusal(m), "v7.0.0", "one minor version apart")
		isError(t, "the server's error is of versions", <-l.served, ErrVersion)
	})
}

// A newer client asks for what an older server does not know: it is told so, and goes on.
func TestStreamUnknownRequest(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t, &fakeNode{})
		err := c.call(t.Context(), "later", nil, func(message) error { return nil })
		check.Error(t, err, `does not know the request "later"`, "an older one")
		_, err = c.Snapshot(t.Context(), inspect.Request{})
		check.Must(t, err)
		check.Must(t, c.Close())
	})
}

// A request may have many items: a stream of packets will.
func TestStreamManyItems(t *testing.T) {
	handlers["count"] = func(_ context.Context, _ inspect.Node, _ message, send func(any) error) error {
		for i := range 100 {
			if err := send(i); err != nil {
				return err
			}
		}
		return nil
	}
	defer delete(handlers, "count")
	synctest.Test(t, func(t *testing.T) {
		c, _ := connected(t, &fakeNode{})
		sum := 0
		check.Must(t, c.call(t.Context(), "count", nil, func(m message) error {
			var i int
			err := m.decode(&i)
			sum += i
			return err
		}))
		check.Equal(t, "sum of the items", sum, 4950)
		enough := errors.New("enough")
		err := c.call(t.Context(), "count", nil, func(message) error { return enough })
		isError(t, "a client that wants no more", err, enough)
		_, err = c.Snapshot(t.Context(), inspect.Request{})
		check.Must(t, err)
		check.Must(t, c.Close())
	})
}

// A client that gives up ends the request, and the stream goes on.
func TestStreamCancel(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{asked: make(chan inspect.Request), slow: make(chan struct{})}
		c, _ := connected(t, node)
		ctx, cancel := context.WithCancel(t.Context())
		go func() {
			<-node.asked
			cancel()
		}()
		_, err := c.Snapshot(ctx, inspect.Request{})
		isError(t, "the client's error", err, context.Canceled)
		synctest.Wait() // the request's end frees the node
		go func() { <-node.asked; close(node.slow) }()
		_, err = c.Snapshot(t.Context(), inspect.Request{})
		check.Must(t, err)
		check.Must(t, c.Close())
	})
}

// Heartbeats keep a stream on which nothing is asked.
func TestStreamHeartbeat(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		c, l := connected(t, &fakeNode{})
		time.Sleep(time.Hour) // of the bubble's clock
		_, err := c.Snapshot(t.Context(), inspect.Request{})
		check.Must(t, err)
		check.Must(t, c.Close())
		check.Must(t, <-l.served)
	})
}

// A server that says nothing is given up, before its version and after it.
func TestConnectSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begun := time.Now()
		l := newLink()
		go func() { _, _ = io.Copy(io.Discard, l.server.Reader) }()
		_, err := Connect(t.Context(), l.client, hello)
		isError(t, "error", err, ErrSilent)
		check.Equal(t, "after", time.Since(begun), patience*Heartbeat)

		later := newLink()
		go func() { _, _ = io.Copy(io.Discard, later.server.Reader) }()
		go func() {
			m, _ := newMessage(0, kindHello, hello)
			_ = (&writer{out: later.server.Writer, limit: maxAnswer}).send(m)
		}()
		c, err := Connect(t.Context(), later.client, hello)
		check.Must(t, err)
		_, err = c.Snapshot(t.Context(), inspect.Request{})
		isError(t, "error of a request", err, ErrSilent)
	})
}

// The server ends when the client takes nothing, and not while it is slow.
func TestServeSilence(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		begun := time.Now()
		l.serve(t, &fakeNode{})
		m, _ := newMessage(0, kindHello, hello)
		check.Must(t, (&writer{out: l.client.Writer, limit: maxRequest}).send(m)) // and reads nothing
		err := <-l.served
		isError(t, "error", err, ErrSilent)
		if took := time.Since(begun); took < patience*Heartbeat || took > (patience+1)*Heartbeat {
			t.Errorf("it ended after %s", took)
		}
		_ = l.client.Close()
	})
}

func TestServeSlowClient(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLink()
		l.serve(t, &fakeNode{pad: 100 * chunk})
		slow := bufio.NewReaderSize(&slowReader{l.client.Reader}, chunk)
		c, err := Connect(t.Context(), &pipe{slow, l.client.Writer, l.client.close}, hello)
		check.Must(t, err)
		begun := time.Now()
		s, err := c.Snapshot(t.Context(), inspect.Request{})
		check.Must(t, err)
		check.Equal(t, "all of it came", len(s.Machine.Hostname), len("node1")+100*chunk)
		if took := time.Since(begun); took < 10*patience*Heartbeat {
			t.Errorf("it took only %s, so that nothing is shown", took)
		}
		check.Must(t, c.Close())
		check.Must(t, <-l.served)
		time.Sleep(time.Minute) // of the bubble's clock: its last read
	})
}

// slowReader takes five seconds for every read.
type slowReader struct{ io.Reader }

func (r *slowReader) Read(p []byte) (int, error) {
	time.Sleep(5 * time.Second)
	return r.Reader.Read(p)
}

// A server that ends says so to all who wait.
func TestStreamServerEnds(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{asked: make(chan inspect.Request), slow: make(chan struct{})}
		c, l := connected(t, node)
		go func() {
			<-node.asked
			_ = l.server.Close()
		}()
		_, err := c.Snapshot(t.Context(), inspect.Request{})
		isError(t, "error", err, ErrEnded)
		close(node.slow)
		l.wait(t)
	})
}

// Too many requests at once are refused, each by itself.
func TestServeLimitsRequests(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		node := &fakeNode{slow: make(chan struct{})}
		c, _ := connected(t, node)
		errs := make(chan error)
		for range maxRunning + 1 {
			go func() {
				_, err := c.Snapshot(t.Context(), inspect.Request{})
				errs <- err
			}()
		}
		check.Error(t, <-errs, "16 requests are under way")
		close(node.slow)
		for range maxRunning {
			check.Must(t, <-errs)
		}
		check.Must(t, c.Close())
	})
}

// Whoever is answered with something else than what was asked for does not take it.
func TestClientChecksAnswers(t *testing.T) {
	for name, tc := range map[string]struct{ item, want string }{
		"no snapshot":      {`{"kind": "List"}`, "this is not a snapshot"},
		"another version":  {`{"apiVersion": "plexus-cni.io/v9", "kind": "Snapshot"}`, "it has plexus-cni.io/v9"},
		"nothing":          {"", "the server sent no snapshot"},
		"too few answers":  {`[]`, "0 answers to 1 questions"},
		"answers of words": {`"x"`, "the body of"},
	} {
		t.Run(name, func(t *testing.T) {
			handlers[kindSnapshot] = func(_ context.Context, _ inspect.Node, _ message, send func(any) error) error {
				if tc.item == "" {
					return nil
				}
				return send(rawJSON(tc.item))
			}
			handlers[kindAnswers] = handlers[kindSnapshot]
			defer func() { handlers[kindSnapshot], handlers[kindAnswers] = sendSnapshot, sendAnswers }()
			synctest.Test(t, func(t *testing.T) {
				c, _ := connected(t, &fakeNode{})
				_, err := c.Snapshot(t.Context(), inspect.Request{})
				if strings.Contains(name, "answers") {
					_, err = c.Answers(t.Context(), []inspect.Question{{To: "192.0.2.1"}})
				}
				check.Error(t, err, tc.want)
				check.Must(t, c.Close())
			})
		})
	}
}

type rawJSON string

func (r rawJSON) MarshalJSON() ([]byte, error) { return []byte(r), nil }
