package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// Client is a node at the other end of a stream.
type Client struct {
	conn  io.ReadWriteCloser
	in    *counter
	out   *writer
	slow  atomic.Bool   // what came waits for who asked for it: that the server is silent then is not its doing
	ended chan struct{} // closed when the stream is over, for the reason why

	mu    sync.Mutex
	why   error
	calls map[uint64]*call
	last  uint64
}

var _ inspect.Watcher = (*Client)(nil)

// call is a request under way.
type call struct {
	messages chan message
	over     chan struct{} // closed when nobody wants its messages any more
}

// Connect says the client's version and folders, and waits for the server's version. The Client
// owns the connection. A Close of that must end a read of it.
func Connect(ctx context.Context, conn io.ReadWriteCloser, hello Hello) (*Client, error) {
	c := &Client{conn: conn, in: &counter{in: conn}, out: &writer{out: conn, limit: maxRequest}, ended: make(chan struct{}), calls: map[uint64]*call{}}
	go c.watch()
	welcomed := make(chan struct{})
	go c.receive(hello, welcomed)
	m, err := newMessage(0, kindHello, hello)
	if err == nil {
		err = c.send(ctx, m)
	}
	if err == nil {
		select {
		case <-welcomed:
			return c, nil
		case <-c.ended:
			err = c.why
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	c.end(err)
	return nil, err
}

// receive reads what the server sends: its version first.
func (c *Client) receive(own Hello, welcomed chan struct{}) {
	err := c.readHello(own)
	if err == nil {
		close(welcomed)
	}
	for err == nil {
		var m message
		if m, err = readFrame(c.in, maxAnswer); err == nil {
			err = c.dispatch(m)
		}
	}
	if errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF) {
		err = ErrEnded
	}
	c.end(err)
}

func (c *Client) readHello(own Hello) error {
	m, err := readFrame(c.in, maxAnswer)
	if err != nil {
		return err
	}
	switch m.Kind {
	case kindHello:
	case kindError:
		return refusal(m)
	default:
		return fmt.Errorf("%w: the first one is %q, not the server's version", ErrFrame, m.Kind)
	}
	var server Hello
	if err := m.decode(&server); err != nil {
		return err
	}
	return compare(own, server)
}

// dispatch hands a message to the request that it belongs to. One that nobody waits for is late.
func (c *Client) dispatch(m message) error {
	if m.ID == 0 {
		if m.Kind == kindError {
			return refusal(m)
		}
		return nil // a heartbeat, or what a later version says
	}
	c.mu.Lock()
	waiting := c.calls[m.ID]
	c.mu.Unlock()
	if waiting == nil {
		return nil
	}
	c.slow.Store(true)
	defer c.slow.Store(false)
	select {
	case waiting.messages <- m:
	case <-waiting.over:
	case <-c.ended:
	}
	return nil
}

// refusal is the error that the server sent.
func refusal(m message) error {
	var text string
	if err := m.decode(&text); err != nil {
		return err
	}
	return errors.New(text)
}

// watch ends a stream on which nothing is heard. While it takes nothing itself, as its own reader does not, it says
// that it is there.
func (c *Client) watch() {
	pulse := time.NewTicker(Heartbeat)
	defer pulse.Stop()
	alive := watch{count: &c.in.read}
	for {
		select {
		case <-c.ended:
			return
		case <-pulse.C:
			switch {
			case c.slow.Load():
				alive.rest()
				c.beat()
			case alive.silent():
				c.end(ErrSilent)
			}
		}
	}
}

// beat says that the client is there, unless it is saying something else.
func (c *Client) beat() {
	if c.out.mu.TryLock() {
		go func() {
			defer c.out.mu.Unlock()
			_ = c.out.write(message{Kind: kindHeartbeat})
		}()
	}
}

// end ends the stream; the first reason stays.
func (c *Client) end(why error) {
	c.mu.Lock()
	first := c.why == nil
	if first {
		c.why = why
		close(c.ended)
	}
	c.mu.Unlock()
	if first {
		_ = c.conn.Close()
	}
}

// Close ends the stream.
func (c *Client) Close() error {
	c.end(errors.New("the stream was closed"))
	return nil
}

// Snapshot reads the node.
func (c *Client) Snapshot(ctx context.Context, request inspect.Request) (snapshot *inspect.Snapshot, err error) {
	err = c.call(ctx, kindSnapshot, request, func(m message) error {
		snapshot, err = inspect.Parse(m.Body)
		return err
	})
	if err == nil && snapshot == nil {
		err = fmt.Errorf("%w: the server sent no snapshot", ErrFrame)
	}
	if err != nil {
		return nil, err
	}
	return snapshot, nil
}

// Answers asks the node's routing.
func (c *Client) Answers(ctx context.Context, questions []inspect.Question) ([]inspect.Answer, error) {
	var answers []inspect.Answer
	if err := c.call(ctx, kindAnswers, questions, func(m message) error { return m.decode(&answers) }); err != nil {
		return nil, err
	}
	if len(answers) != len(questions) {
		return nil, fmt.Errorf("%w: the server sent %d answers to %d questions", ErrFrame, len(answers), len(questions))
	}
	return answers, nil
}

// lastWords is how long a node may take, when it is told to stop watching, to say what it has left.
const lastWords = 5 * time.Second

// Watch gives what passes until the context ends, and then what the node has left.
func (c *Client) Watch(ctx context.Context, watch inspect.Watch, saw func(inspect.Sighting) error) error {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	defer cancel()
	defer context.AfterFunc(ctx, func() { time.AfterFunc(lastWords, cancel) })()
	err := c.run(late, question{kind: kindWatch, body: watch, enough: ctx.Done(), item: func(m message) error {
		var sighting inspect.Sighting
		if err := m.decode(&sighting); err != nil {
			return err
		}
		return saw(sighting)
	}})
	if late.Err() != nil {
		return fmt.Errorf("%w: what was seen last did not come within %s", ErrSilent, lastWords)
	}
	return err
}

// Send sends packets from the node.
func (c *Client) Send(ctx context.Context, send inspect.Send) ([]inspect.Sent, error) {
	var sent []inspect.Sent
	if err := c.call(ctx, kindSend, send, func(m message) error { return m.decode(&sent) }); err != nil {
		return nil, err
	}
	if len(sent) != len(send.Shots) {
		return nil, fmt.Errorf("%w: the server says of %d packets, of %d that were to be sent", ErrFrame, len(sent), len(send.Shots))
	}
	return sent, nil
}

// question is a request to the server.
type question struct {
	kind   string
	body   any
	item   func(message) error // runs for each item of the answer
	enough <-chan struct{}     // when it is closed, the server is asked to end; nil for never
}

// call sends a request, and runs a function for each item of the answer.
func (c *Client) call(ctx context.Context, kind string, request any, item func(message) error) error {
	return c.run(ctx, question{kind: kind, body: request, item: item})
}

func (c *Client) run(ctx context.Context, q question) error {
	id, waiting := c.begin()
	defer c.forget(id)
	cancel := func() { _ = c.out.send(message{ID: id, Kind: kindCancel}) }
	m, err := newMessage(id, q.kind, q.body)
	if err == nil {
		err = c.send(ctx, m)
	}
	for err == nil {
		select {
		case m := <-waiting.messages:
			switch m.Kind {
			case kindItem:
				err = q.item(m)
			case kindEnd:
				return nil
			case kindError:
				return refusal(m)
			}
		case <-q.enough:
			q.enough = nil
			go cancel()
		case <-c.ended:
			return c.why
		case <-ctx.Done():
			err = ctx.Err()
		}
	}
	go cancel()
	return err
}

// send sends a message, however long the server takes none. Where it cannot be written, the reason
// is what the server said last.
func (c *Client) send(ctx context.Context, m message) error {
	sent := make(chan error, 1)
	go func() {
		if err := c.out.send(m); !errors.Is(err, errWrite) {
			sent <- err
		}
	}()
	select {
	case err := <-sent:
		return err
	case <-c.ended:
		return c.why
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (c *Client) begin() (uint64, *call) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.last++
	waiting := &call{messages: make(chan message), over: make(chan struct{})}
	c.calls[c.last] = waiting
	return c.last, waiting
}

func (c *Client) forget(id uint64) {
	c.mu.Lock()
	defer c.mu.Unlock()
	close(c.calls[id].over)
	delete(c.calls, id)
}
