package agent

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/internal/rpc"
	"github.com/plexus-cni/plexus/internal/test/check"
	"github.com/plexus-cni/plexus/types"
)

// What makes no sense is answered with one error that says so, and the next request of
// the same peer is answered as if nothing had been.
func TestServerAnswersNonsense(t *testing.T) {
	for name, test := range map[string]struct {
		line  string
		words []string
	}{
		"garbage":         {"\x00\xffgarbage", []string{"request is not valid"}},
		"nothing":         {"", []string{"request is not valid"}},
		"an array":        {"[]", []string{"request is not valid"}},
		"a wrong type":    {`{"version":1,"facts":{"pod":7}}`, []string{"request is not valid", "pod"}},
		"no part":         {`{"version":1}`, []string{"exactly one of", "facts", "publish"}},
		"two parts":       {`{"version":1,"facts":{},"publish":{}}`, []string{"exactly one of"}},
		"an older peer":   {`{"version":0,"facts":{}}`, []string{"version 0", "speaks 1"}},
		"a newer peer":    {`{"version":2,"facts":{"pod":{}}}`, []string{"version 2", "speaks 1"}},
		"of no version":   {`{"facts":{}}`, []string{"version 0", "speaks 1"}},
		"deeply nested":   {strings.Repeat("[", 20_000), []string{"request is not valid"}},
		"carriage return": {`{"version":3,"facts":{}}` + "\r", []string{"version 3"}},
	} {
		t.Run(name, func(t *testing.T) {
			r := run(t, testServer())
			conn := r.dial()
			send(t, conn, test.line+"\n"+goodRequest("after"))
			messages := rpc.NewConn(conn)
			answer, err := read(messages)
			check.Must(t, err)
			wantError(t, answer, types.CodeFailed, test.words...)
			if answer, err = read(messages); err != nil || answer.Facts == nil || answer.Facts.Pod.Name != "after" {
				t.Errorf("the next request: %+v, %v", answer, err)
			}
			if got := r.refusals(t, "malformed"); got != 1 {
				t.Errorf("%v malformed requests were counted", got)
			}
		})
	}
}

// A message may have as many bytes as the limit; a longer one is answered with an error.
func TestServerMessageAtTheLimit(t *testing.T) {
	r := run(t, testServer())
	pad := func(length int) string {
		request := strings.TrimSuffix(goodRequest("long"), "\n")
		return request + strings.Repeat(" ", length-len(request)) + "\n"
	}
	conn := r.dial()
	send(t, conn, pad(maxRequest))
	if answer, err := read(rpc.NewConn(conn)); err != nil || answer.Facts == nil {
		t.Fatalf("a message of %d bytes: %+v, %v", maxRequest, answer, err)
	}
	send(t, conn, pad(maxRequest+1))
	answer, err := read(rpc.NewConn(conn))
	check.Must(t, err)
	wantError(t, answer, types.CodeFailed, "too long", fmt.Sprint(maxRequest))
	wantClosed(t, conn)
}

// Of a line without an end no more is read than the limit.
func TestServerEndlessLine(t *testing.T) {
	r := run(t, testServer())
	conn := r.dial()
	written, chunk := 0, make([]byte, 64<<10)
	for {
		n, err := conn.Write(chunk)
		written += n
		if err != nil {
			break
		}
		if written > 4*maxRequest {
			t.Fatalf("the server has taken %d bytes of one message", written)
		}
	}
	answer, err := read(rpc.NewConn(conn))
	check.Must(t, err)
	wantError(t, answer, types.CodeFailed, "too long")
	wantClosed(t, conn)
	r.ask(r.dial(), "another")
}

// A message that its sender cuts off is no message.
func TestServerTornMessage(t *testing.T) {
	r := run(t, testServer())
	conn := r.dial()
	send(t, conn, goodRequest("whole")+strings.TrimSuffix(goodRequest("torn"), "\n"))
	check.Must(t, conn.CloseWrite())
	messages := rpc.NewConn(conn)
	if answer, err := read(messages); err != nil || answer.Facts == nil || answer.Facts.Pod.Name != "whole" {
		t.Errorf("the first request: %+v, %v", answer, err)
	}
	answer, err := read(messages)
	check.Must(t, err)
	wantError(t, answer, types.CodeFailed, "unexpected EOF")
	wantClosed(t, conn)
}

// Who sends slowly, or nothing, is let go; who is done is not.
func TestServerSlowPeers(t *testing.T) {
	s := testServer()
	s.limits.request = 100 * time.Millisecond
	r := run(t, s)
	for name, peer := range map[string]func(net.Conn){
		"says nothing": func(net.Conn) {},
		"byte by byte": func(conn net.Conn) {
			for {
				if _, err := conn.Write([]byte("x")); err != nil {
					return
				}
				time.Sleep(time.Millisecond)
			}
		},
	} {
		t.Run(name, func(t *testing.T) {
			before, conn := r.refusals(t, "slow"), r.dial()
			go peer(conn)
			wantClosed(t, conn)
			if got := r.refusals(t, "slow") - before; got != 1 {
				t.Errorf("%v slow peers were counted", got)
			}
		})
	}
}

// A peer that takes none of its answer does not keep the server.
func TestServerPeerThatDoesNotRead(t *testing.T) {
	s := testServer()
	s.limits.answer = 100 * time.Millisecond
	s.facts = func(context.Context, *types.FactsRequest) (*types.Facts, error) {
		return &types.Facts{Networks: []types.Network{{Config: strings.Repeat("x", 8<<20)}}}, nil
	}
	r := run(t, s)
	send(t, r.dial(), goodRequest("a"))
	check.Eventually(t, "the request", patience, func() error { return r.wantConnections(t, 1) })
	check.Eventually(t, "the connection's end", patience, func() error { return r.wantConnections(t, 0) })
}

func (s *server) wantConnections(t testing.TB, want float64) error {
	if got := value(t, s.metrics, "plexus_connections"); got != want {
		return fmt.Errorf("%v connections, want %v", got, want)
	}
	return nil
}

// The context of a question ends once its answer is given: what it takes is free then.
func TestServerEndsQuestions(t *testing.T) {
	s := testServer()
	ended := make(chan struct{})
	s.facts = func(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
		context.AfterFunc(ctx, func() { close(ended) })
		return &types.Facts{Pod: request.Pod}, nil
	}
	r := run(t, s)
	conn := r.dial()
	r.ask(conn, "a")
	select {
	case <-ended:
	case <-time.After(patience):
		t.Error("it goes on, as its connection does")
	}
}

// An answer that is longer than a message may be is an error, not a torn answer.
func TestServerAnswerTooLong(t *testing.T) {
	s := testServer()
	s.facts = func(context.Context, *types.FactsRequest) (*types.Facts, error) {
		return &types.Facts{Networks: []types.Network{{Config: strings.Repeat("x", types.MaxMessage)}}}, nil
	}
	conn := run(t, s).dial()
	send(t, conn, goodRequest("a"))
	answer, err := read(rpc.NewConn(conn))
	check.Must(t, err)
	wantError(t, answer, types.CodeFailed, "too long")
}

// Peers that hold every connection and say nothing keep nobody waiting: who asks takes the
// place of the one that has said nothing for longest. Here they may say nothing for ever.
func TestServerIdleConnections(t *testing.T) {
	s := testServer()
	s.limits.request = time.Hour
	r := run(t, s)
	first := r.dial()
	check.Eventually(t, "the first", patience, func() error { return r.wantConnections(t, 1) })
	for range maxConnections - 1 {
		r.dial()
	}
	check.Eventually(t, "the idle ones", patience, func() error { return r.wantConnections(t, maxConnections) })
	asking := r.dial()
	r.ask(asking, "a")
	wantClosed(t, first)
	if got := r.refusals(t, "idle"); got != 1 {
		t.Errorf("%v idle connections were ended", got)
	}
	var others sync.WaitGroup
	for i := range 44 {
		others.Go(func() {
			conn, err := net.Dial("unix", r.path)
			if err != nil {
				t.Error(err)
				return
			}
			defer conn.Close()
			_ = conn.SetDeadline(time.Now().Add(patience))
			name := fmt.Sprintf("p%d", i)
			_, _ = io.WriteString(conn, goodRequest(name))
			if answer, err := read(rpc.NewConn(conn)); err != nil || answer.Facts == nil || answer.Facts.Pod.Name != name {
				t.Errorf("answer about pod %s: %+v, %v", name, answer, err)
			}
		})
	}
	others.Wait()
	if got := r.refusals(t, "slow"); got > 0 {
		t.Errorf("%v idle connections were counted as slow", got)
	}
}

// Connections that are being answered are not ended for another one, which waits.
func TestServerBusyConnections(t *testing.T) {
	s := testServer()
	s.limits.request = time.Hour
	answer := make(chan struct{})
	var asked atomic.Int32
	s.facts = func(_ context.Context, request *types.FactsRequest) (*types.Facts, error) {
		asked.Add(1)
		<-answer
		return &types.Facts{Pod: request.Pod}, nil
	}
	r := run(t, s)
	var asking sync.WaitGroup
	ask := func(name string) {
		conn := r.dial()
		send(t, conn, goodRequest(name))
		asking.Go(func() {
			if answer, err := read(rpc.NewConn(conn)); err != nil || answer.Facts == nil || answer.Facts.Pod.Name != name {
				t.Errorf("answer about pod %s: %+v, %v", name, answer, err)
			}
			_ = conn.Close()
		})
	}
	for i := range maxConnections {
		ask(fmt.Sprintf("p%d", i))
	}
	check.Eventually(t, "all to be asked", patience, func() error {
		if got := asked.Load(); got != maxConnections {
			return fmt.Errorf("%d are", got)
		}
		return nil
	})
	ask("one more")
	time.AfterFunc(5*roomPause, func() {
		if got := r.refusals(t, "idle"); got > 0 {
			t.Errorf("%v connections were ended", got)
		}
		close(answer)
	})
	asking.Wait()
}

// A peer that sends no whole request in time is ended.
func TestServerSlowConnections(t *testing.T) {
	s := testServer()
	s.limits.request = 50 * time.Millisecond
	r := run(t, s)
	silent, torn := r.dial(), r.dial()
	send(t, torn, `{"version":1,`)
	wantClosed(t, silent)
	wantClosed(t, torn)
	if got := r.refusals(t, "slow"); got != 2 {
		t.Errorf("%v connections were counted as slow", got)
	}
}

// One request that makes the agent panic ends its connection, and nothing else.
func TestServerPanic(t *testing.T) {
	s := testServer()
	good := s.facts
	s.facts = func(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
		if request.Pod.Name == "bad" {
			panic("a defect")
		}
		return good(ctx, request)
	}
	r := run(t, s)
	bystander, conn := r.dial(), r.dial()
	r.ask(bystander, "before")
	send(t, conn, goodRequest("bad"))
	wantClosed(t, conn)
	r.ask(bystander, "after")
	if got := r.refusals(t, "panic"); got != 1 {
		t.Errorf("%v panics were counted", got)
	}
}

func TestServerRefusesStrangers(t *testing.T) {
	s := testServer()
	s.checkPeer = func(net.Conn) error { return fmt.Errorf("%w: it is user 65534", rpc.ErrPeer) }
	s.facts = func(context.Context, *types.FactsRequest) (*types.Facts, error) {
		t.Error("a stranger was answered")
		return nil, errors.New("never")
	}
	r := run(t, s)
	conn := r.dial()
	_, _ = io.WriteString(conn, goodRequest("a")) // it may be gone already
	answer, err := read(rpc.NewConn(conn))
	check.Must(t, err)
	wantError(t, answer, types.CodeFailed, "neither root nor this user", "65534")
	wantClosed(t, conn)
	if got := r.refusals(t, "peer"); got != 1 {
		t.Errorf("%v strangers were counted", got)
	}
}

// What a call leaves to be done is taken, and answered at once.
func TestServerTakesPublications(t *testing.T) {
	s := testServer()
	taken := make(chan *types.PublishRequest, 1)
	s.publish = func(request *types.PublishRequest) { taken <- request }
	conn := run(t, s).dial()
	send(t, conn, `{"version":1,"publish":{"pod":{"namespace":"d","name":"p"},"events":[{"type":"Normal","reason":"R","message":"m","plain":true}],"report":{"command":"ADD","containerID":"c1","started":"2026-01-02T03:04:05Z","took":"12ms"}}}`+"\n")
	answer, err := read(rpc.NewConn(conn))
	check.Must(t, err)
	if diff := cmp.Diff(&types.Response{Version: types.WireVersion}, answer); diff != "" {
		t.Errorf("answer (-want +got):\n%s", diff)
	}
	want := &types.PublishRequest{
		Pod:    types.Pod{Namespace: "d", Name: "p"},
		Events: []types.PodEvent{{Type: "Normal", Reason: "R", Message: "m", Plain: true}},
		Report: &types.CallReport{Command: "ADD", ContainerID: "c1", Started: time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC), Took: types.Duration(12 * time.Millisecond)},
	}
	if diff := cmp.Diff(want, <-taken); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

// An error keeps its code on its way through the socket.
func TestServerErrorsHaveCodes(t *testing.T) {
	s := testServer()
	s.facts = func(context.Context, *types.FactsRequest) (*types.Facts, error) {
		return nil, types.Errorf(types.CodeTryAgainLater, "pods are not known yet")
	}
	conn := run(t, s).dial()
	send(t, conn, goodRequest("a"))
	answer, err := read(rpc.NewConn(conn))
	check.Must(t, err)
	wantError(t, answer, types.CodeTryAgainLater, "not known yet")
}

// No caller makes the agent wait longer than its own bound.
func TestServerBoundsTheWait(t *testing.T) {
	for asked, want := range map[string]time.Duration{"": maxFactsWait, `"-1s"`: maxFactsWait, `"2s"`: 2 * time.Second, `"1000h"`: maxFactsWait} {
		s := testServer()
		s.facts = func(_ context.Context, request *types.FactsRequest) (*types.Facts, error) {
			return nil, fmt.Errorf("it may wait %s", time.Duration(request.Timeout))
		}
		conn := run(t, s).dial()
		field := ""
		if asked != "" {
			field = `,"timeout":` + asked
		}
		send(t, conn, `{"version":1,"facts":{"pod":{}`+field+`}}`+"\n")
		answer, err := read(rpc.NewConn(conn))
		check.Must(t, err)
		if strings.Contains(answer.Error.Message, "not valid") && strings.Contains(asked, "-") {
			continue // refused altogether
		}
		wantError(t, answer, types.CodeFailed, "it may wait "+want.String())
	}
}

// A server that is stopped answers those who have asked, and lets go of those who have
// not.
func TestServerEndsInOrder(t *testing.T) {
	s := testServer()
	s.facts = func(ctx context.Context, _ *types.FactsRequest) (*types.Facts, error) {
		<-ctx.Done()
		return nil, ctx.Err()
	}
	r := run(t, s)
	idle, asking := r.dial(), r.dial()
	send(t, asking, goodRequest("a"))
	check.Eventually(t, "both", patience, func() error { return r.wantConnections(t, 2) })
	began := time.Now()
	r.end()
	if took := time.Since(began); took > 2*time.Second {
		t.Errorf("it took %s", took)
	}
	answer, err := read(rpc.NewConn(asking))
	check.Must(t, err)
	wantError(t, answer, types.CodeTryAgainLater, "being stopped")
	wantClosed(t, asking)
	wantClosed(t, idle)
}

// A server that ends while peers connect does not wait for their requests.
func TestServerEndsWhilePeersCome(t *testing.T) {
	for range 50 {
		r := run(t, testServer())
		var coming sync.WaitGroup
		for range 4 {
			coming.Go(func() {
				if conn, err := net.Dial("unix", r.path); err == nil {
					defer conn.Close()
					_ = conn.SetDeadline(time.Now().Add(patience))
					_, _ = conn.Read(make([]byte, 1)) // until the server lets go
				}
			})
		}
		began := time.Now()
		r.end()
		coming.Wait()
		if took := time.Since(began); took > requestTimeout/2 {
			t.Fatalf("it took %s", took)
		}
	}
}
