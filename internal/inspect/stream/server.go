package stream

import (
	"context"
	"errors"
	"fmt"
	"io"
	"sync"
	"time"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// maxRunning is how many requests one client may have under way.
const maxRunning = 16

// Opener opens the node whose folders a client names.
type Opener func(Folders) (inspect.Node, error)

// handlers answer the requests, each by its kind. One may send any number of items.
var handlers = map[string]func(ctx context.Context, node inspect.Node, request message, send func(any) error) error{
	kindSnapshot: sendSnapshot,
	kindAnswers:  sendAnswers,
	kindWatch:    sendSightings,
	kindSend:     sendSent,
}

// beside are the kinds of requests that run beside others: a node is asked one other thing at a time.
var beside = map[string]bool{kindWatch: true}

// Kinds of requests.
const (
	kindSnapshot = "snapshot" // an inspect.Request; one item, an inspect.Snapshot
	kindAnswers  = "answers"  // a list of inspect.Question; one item, a list of inspect.Answer
	kindWatch    = "watch"    // an inspect.Watch; items until it is cancelled, each an inspect.Sighting
	kindSend     = "send"     // an inspect.Send; one item, a list of inspect.Sent
)

func sendSnapshot(ctx context.Context, node inspect.Node, request message, send func(any) error) error {
	var how inspect.Request
	if err := request.decode(&how); err != nil {
		return err
	}
	snapshot, err := node.Snapshot(ctx, how)
	if err != nil {
		return err
	}
	return send(snapshot)
}

func sendAnswers(ctx context.Context, node inspect.Node, request message, send func(any) error) error {
	var questions []inspect.Question
	if err := request.decode(&questions); err != nil {
		return err
	}
	answers, err := node.Answers(ctx, questions)
	if err != nil {
		return err
	}
	return send(answers)
}

// errNoWatch is the error for a node of which only a Snapshot is there.
var errNoWatch = errors.New("no packet can be watched or sent there")

func sendSightings(ctx context.Context, node inspect.Node, request message, send func(any) error) error {
	var watch inspect.Watch
	if err := request.decode(&watch); err != nil {
		return err
	}
	watcher, able := node.(inspect.Watcher)
	if !able {
		return errNoWatch
	}
	return watcher.Watch(ctx, watch, func(sighting inspect.Sighting) error { return send(sighting) })
}

func sendSent(ctx context.Context, node inspect.Node, request message, send func(any) error) error {
	var what inspect.Send
	if err := request.decode(&what); err != nil {
		return err
	}
	watcher, able := node.(inspect.Watcher)
	if !able {
		return errNoWatch
	}
	sent, err := watcher.Send(ctx, what)
	if err != nil {
		return err
	}
	return send(sent)
}

// server serves one client.
type server struct {
	in     *counter
	out    *writer
	failed chan error // that something could not be written
	asking sync.Mutex // a node is asked one thing at a time

	mu      sync.Mutex
	running map[uint64]context.CancelFunc
}

// Serve answers a client until it ends its side, which is no error, until it takes nothing any
// more, or until the context ends. A read of in, and a request that runs, may outlast it.
func Serve(ctx context.Context, in io.Reader, out io.Writer, build string, open Opener) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	s := &server{in: &counter{in: in}, out: &writer{out: out, limit: maxAnswer}, failed: make(chan error, 1), running: map[uint64]context.CancelFunc{}}
	requests, ended := s.receive(ctx)
	own := Hello{Protocol: Protocol, Build: build}
	s.greet(own)
	pulse := time.NewTicker(Heartbeat)
	defer pulse.Stop()
	var node inspect.Node
	defer func() {
		if node != nil {
			_ = node.Close()
		}
	}()
	alive, heard := watch{count: &s.out.written}, watch{count: &s.in.read}
	for {
		select {
		case <-ctx.Done():
			return ctx.Err()
		case err := <-s.failed:
			return err
		case err := <-ended:
			return err
		case <-pulse.C:
			if err := s.beat(&alive, &heard); err != nil {
				return err
			}
		case m := <-requests:
			if node == nil {
				var err error
				if node, err = s.welcome(m, own, open); err != nil {
					return errors.Join(err, s.refuse(m.ID, err))
				}
				continue
			}
			s.handle(ctx, node, m)
		}
	}
}

// receive reads what the client sends.
func (s *server) receive(ctx context.Context) (requests chan message, ended chan error) {
	requests, ended = make(chan message), make(chan error, 1)
	go func() {
		for {
			m, err := readFrame(s.in, maxRequest)
			if errors.Is(err, io.EOF) {
				ended <- nil
				return
			}
			if err != nil {
				ended <- fmt.Errorf("read from the client: %w", err)
				return
			}
			select {
			case requests <- m:
			case <-ctx.Done():
				return
			}
		}
	}()
	return requests, ended
}

// welcome takes the client's hello, and opens the node.
func (s *server) welcome(m message, own Hello, open Opener) (inspect.Node, error) {
	var client Hello
	if m.Kind != kindHello {
		return nil, fmt.Errorf("%w: the first one is %q, not the client's version", ErrFrame, m.Kind)
	}
	if err := m.decode(&client); err != nil {
		return nil, err
	}
	if err := compare(client, own); err != nil {
		return nil, err
	}
	return open(client.Folders)
}

// handle begins to answer a request, or ends one.
func (s *server) handle(ctx context.Context, node inspect.Node, m message) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if m.Kind == kindHeartbeat {
		return
	}
	if m.Kind == kindCancel {
		if cancel, found := s.running[m.ID]; found {
			cancel()
		}
		return
	}
	answer := handlers[m.Kind]
	_, again := s.running[m.ID]
	switch {
	case answer == nil:
		go s.sendOr(m.ID, kindError, fmt.Sprintf("the kubectl-plexus of the cluster's image does not know the request %q: it is an older one", m.Kind))
	case again || m.ID == 0:
		go s.sendOr(m.ID, kindError, fmt.Sprintf("the request %d is there already", m.ID))
	case len(s.running) >= maxRunning:
		go s.sendOr(m.ID, kindError, fmt.Sprintf("%d requests are under way", maxRunning))
	default:
		ctx, cancel := context.WithCancel(ctx)
		s.running[m.ID] = cancel
		go func() {
			defer s.finish(m.ID, cancel)
			s.answer(ctx, node, m, answer)
		}()
	}
}

func (s *server) finish(id uint64, cancel context.CancelFunc) {
	cancel()
	s.mu.Lock()
	defer s.mu.Unlock()
	delete(s.running, id)
}

func (s *server) answer(ctx context.Context, node inspect.Node, m message, answer func(context.Context, inspect.Node, message, func(any) error) error) {
	if !beside[m.Kind] {
		s.asking.Lock()
		defer s.asking.Unlock()
	}
	err := ctx.Err()
	if err == nil {
		err = answer(ctx, node, m, func(item any) error {
			made, err := newMessage(m.ID, kindItem, item)
			if err != nil {
				return err
			}
			return s.out.send(made)
		})
	}
	if err != nil {
		s.sendOr(m.ID, kindError, err.Error())
		return
	}
	s.sendOr(m.ID, kindEnd, nil)
}

// sendOr sends a message, or ends the stream.
func (s *server) sendOr(id uint64, kind string, value any) {
	m, err := newMessage(id, kind, value)
	if err == nil {
		err = s.out.send(m)
	}
	s.fail(err)
}

// greet says the server's version, before anything else.
func (s *server) greet(own Hello) {
	s.out.mu.Lock()
	m, err := newMessage(0, kindHello, own)
	s.fail(err)
	go s.writeAndUnlock(m)
}

// writeAndUnlock writes for whoever holds the lock: a client that takes nothing stops a write.
func (s *server) writeAndUnlock(m message) {
	defer s.out.mu.Unlock()
	s.fail(s.out.write(m))
}

// fail ends the stream, if there is an error.
func (s *server) fail(err error) {
	if err == nil {
		return
	}
	select {
	case s.failed <- err:
	default:
	}
}

// refuse says why the stream ends, to a client that may not listen.
func (s *server) refuse(id uint64, why error) error {
	m, err := newMessage(id, kindError, why.Error())
	if err != nil {
		return err
	}
	return s.out.send(m)
}

// beat says that the server is there, unless something else is being said: then the client must
// have taken some of it, or say that it is there: whoever reads a capture may take his time.
func (s *server) beat(alive, heard *watch) error {
	if s.out.mu.TryLock() {
		alive.rest()
		heard.rest()
		go s.writeAndUnlock(message{Kind: kindHeartbeat})
		return nil
	}
	if mute, stuck := heard.silent(), alive.silent(); mute && stuck {
		return fmt.Errorf("the client takes nothing: %w", ErrSilent)
	}
	return nil
}
