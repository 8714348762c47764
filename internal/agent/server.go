package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"os"
	"sync"
	"time"

	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/types"
)

const (
	// maxConnections is more than a node starts pods at a time. Another one takes the place
	// of the one that has said nothing for longest, or waits if all have asked.
	maxConnections = 256
	// maxRequest holds all of a pod's annotations (256 KiB), however they are escaped.
	maxRequest = 2 << 20
	// requestTimeout is how long a request may take to arrive.
	requestTimeout = 10 * time.Second
	// answerTimeout is how long a peer may take to read its answer.
	answerTimeout = 10 * time.Second
	// roomPause is between two attempts to end an idle connection for another one.
	roomPause = 10 * time.Millisecond
	// maxFactsWait is how long an answer may wait for the watches.
	maxFactsWait = 30 * time.Second
)

type (
	factsFunc func(context.Context, *types.FactsRequest) (*types.Facts, error)
	// connSet has since when a connection has been idle; of one that is being answered, the
	// zero time.
	connSet map[net.Conn]time.Time
)

// handlers do what requests ask for.
type handlers struct {
	facts   factsFunc
	publish func(*types.PublishRequest) // must not wait
	node    func() *types.NodeState
}

// server answers plugins on a socket.
type server struct {
	handlers
	// checkPeer refuses a peer that is neither root nor this user.
	checkPeer func(net.Conn) error
	limits    limits
	metrics   *metrics
	log       *slog.Logger

	mu    sync.Mutex
	conns connSet
}

// limits bound what a peer may use of the server.
type limits struct {
	message         int // bytes of one
	request, answer time.Duration
}

// serve answers until ctx ends, and then finishes the requests that it has read. An error
// is the listener's.
func (s *server) serve(ctx context.Context, listener net.Listener) error {
	defer listener.Close()
	defer context.AfterFunc(ctx, func() { _ = listener.Close() })()
	var answering sync.WaitGroup
	defer answering.Wait()
	defer s.endIdle()
	slots := make(chan struct{}, maxConnections)
	for {
		conn, err := listener.Accept()
		switch {
		case ctx.Err() != nil && err == nil:
			_ = conn.Close()
			return nil
		case ctx.Err() != nil:
			return nil
		case isTemporary(err):
			s.log.Warn("accept a connection", "error", err)
			pause(ctx, standbyPause)
		case err != nil:
			return fmt.Errorf("accept a connection: %w", err)
		case !s.makeRoom(ctx, slots):
			_ = conn.Close()
			return nil
		default:
			answering.Go(func() {
				defer func() { <-slots }()
				s.handle(ctx, conn)
			})
		}
	}
}

// makeRoom takes a slot, if need be that of an idle connection: who asks goes before who
// says nothing. It reports false where ctx ended.
func (s *server) makeRoom(ctx context.Context, slots chan struct{}) bool {
	for ctx.Err() == nil {
		select {
		case slots <- struct{}{}:
			return true
		default:
			s.endLongestIdle()
		}
		select {
		case slots <- struct{}{}:
			return true
		case <-ctx.Done():
		case <-time.After(roomPause): // the idle one may just have asked
		}
	}
	return false
}

// endLongestIdle ends the connection that has been idle for longest, if there is one.
func (s *server) endLongestIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	var longest net.Conn
	for conn, since := range s.conns {
		if !since.IsZero() && (longest == nil || since.Before(s.conns[longest])) {
			longest = conn
		}
	}
	if longest != nil {
		s.conns[longest] = time.Time{}
		_ = longest.SetReadDeadline(time.Now())
		s.metrics.refused.WithLabelValues("idle").Inc()
	}
}

// isTemporary reports whether only one connection was lost, or descriptors ran out for the
// moment.
func isTemporary(err error) bool {
	return errors.Is(err, unix.ECONNABORTED) || errors.Is(err, unix.EMFILE) || errors.Is(err, unix.ENFILE)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-ctx.Done():
	case <-time.After(d):
	}
}

// endIdle ends the connections that have sent no request yet.
func (s *server) endIdle() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for conn := range s.conns {
		_ = conn.SetReadDeadline(time.Now())
	}
}

func (s *server) handle(ctx context.Context, conn net.Conn) {
	s.track(conn, true)
	defer s.track(conn, false)
	defer conn.Close()
	defer s.recoverPanic(conn)
	messages := rpc.NewLimitedConn(conn, s.limits.message)
	if err := s.checkPeer(conn); err != nil {
		s.metrics.refused.WithLabelValues("peer").Inc()
		s.log.Warn("refused a connection", "error", err)
		s.send(conn, messages, types.ErrorResponse(err))
		return
	}
	for ctx.Err() == nil && s.answerOne(ctx, conn, messages) {
		continue
	}
}

// recoverPanic prevents one bad request from ending the agent.
func (s *server) recoverPanic(conn net.Conn) {
	if fault := recover(); fault != nil {
		s.metrics.refused.WithLabelValues("panic").Inc()
		s.log.Error("a request made the agent panic; this is a defect", "panic", fmt.Sprint(fault), "peer", conn.RemoteAddr().String())
	}
}

func (s *server) track(conn net.Conn, open bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if open {
		s.conns[conn] = time.Time{}
	} else {
		delete(s.conns, conn)
	}
	s.metrics.connections.Set(float64(len(s.conns)))
}

// setIdle notes that a connection waits for its request. Whoever ends it later replaces the
// deadline by an earlier one.
func (s *server) setIdle(conn net.Conn) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	s.conns[conn] = time.Now()
	return conn.SetReadDeadline(time.Now().Add(s.limits.request))
}

// setBusy notes that a connection is not idle any more, and reports whether it was ended.
func (s *server) setBusy(conn net.Conn) (ended bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	ended = s.conns[conn].IsZero()
	s.conns[conn] = time.Time{}
	return ended
}

// answerOne answers one request, and reports whether another may follow.
func (s *server) answerOne(ctx context.Context, conn net.Conn, messages *rpc.Conn) bool {
	if err := s.setIdle(conn); err != nil || ctx.Err() != nil {
		return false
	}
	line, err := messages.ReadLine()
	ended := s.setBusy(conn)
	switch {
	case errors.Is(err, io.EOF), ended && err != nil: // the peer only probed the socket, or made room
		return false
	case errors.Is(err, os.ErrDeadlineExceeded):
		s.metrics.refused.WithLabelValues("slow").Inc()
		return false
	case err != nil:
		s.metrics.refused.WithLabelValues("malformed").Inc()
		s.send(conn, messages, types.ErrorResponse(err))
		return false
	}
	request, err := types.ParseRequest(line)
	if err != nil {
		s.metrics.refused.WithLabelValues("malformed").Inc()
		s.log.Warn("refused a request", "error", err)
		return s.send(conn, messages, types.ErrorResponse(err))
	}
	// What an answer takes of the bounds of all answers, it takes until it is given.
	given, done := context.WithCancel(ctx)
	defer done()
	return s.send(conn, messages, s.answer(given, request))
}

func (s *server) answer(ctx context.Context, request *types.Request) *types.Response {
	switch {
	case request.Publish != nil:
		s.publish(request.Publish)
		return &types.Response{Version: types.WireVersion}
	case request.Node:
		return &types.Response{Version: types.WireVersion, Node: s.node()}
	}
	asked := request.Facts
	asked.Timeout = types.Duration(min(asked.Timeout.TimeoutOr(maxFactsWait), maxFactsWait))
	facts, err := s.facts(ctx, asked)
	if ctx.Err() != nil {
		err = types.Errorf(types.CodeTryAgainLater, "the agent is being stopped")
	}
	if err != nil {
		s.log.Info("a request for facts failed", "pod", asked.Pod.String(), "error", err)
		return types.ErrorResponse(err)
	}
	for i := range facts.Networks {
		if network := &facts.Networks[i]; network.Missing || network.Problem != "" {
			s.log.Info("a requested network is missing or cannot be read", "pod", asked.Pod.String(), "network", network.String(),
				"missing", network.Missing, "problem", network.Problem)
		}
	}
	return &types.Response{Version: types.WireVersion, Facts: facts}
}

// send reports whether the peer took the answer.
func (s *server) send(conn net.Conn, messages *rpc.Conn, response *types.Response) bool {
	if err := conn.SetWriteDeadline(time.Now().Add(s.limits.answer)); err != nil {
		return false
	}
	err := messages.Send(response)
	if errors.Is(err, rpc.ErrTooLong) {
		err = messages.Send(types.ErrorResponse(err))
	}
	return err == nil
}
