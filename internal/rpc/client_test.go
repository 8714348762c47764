package rpc

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// answering gives a connection to a side that reads one request, and does the rest.
func answering(t *testing.T, answer func(conn net.Conn, line []byte)) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		if line, err := NewConn(theirs).ReadLine(); err == nil {
			answer(theirs, line)
		}
	}()
	t.Cleanup(func() {
		_ = ours.Close()
		<-done
	})
	return ours
}

func TestCall(t *testing.T) {
	var asked types.Request
	conn := answering(t, func(conn net.Conn, line []byte) {
		if err := json.Unmarshal(line, &asked); err != nil {
			t.Error(err)
		}
		fmt.Fprintln(conn, `{"version":1,"facts":{"pod":{"name":"p"}}}`)
	})
	request := &types.Request{Facts: &types.FactsRequest{MultusNamespace: "kube-system"}}
	response, err := Call(t.Context(), conn, NewConn(conn), request)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(&types.Response{Version: 1, Facts: &types.Facts{Pod: types.Pod{Name: "p"}}}, response); diff != "" {
		t.Errorf("response (-want +got):\n%s", diff)
	}
	want := types.Request{Version: types.WireVersion, Facts: &types.FactsRequest{MultusNamespace: "kube-system"}}
	if diff := cmp.Diff(want, asked); diff != "" {
		t.Errorf("request (-want +got):\n%s", diff)
	}
}

// What is no answer is ErrNoAnswer, so that somebody else may be asked; what the other
// side says is not.
func TestCallWithoutAnAnswer(t *testing.T) {
	for name, test := range map[string]struct {
		answer   string
		noAnswer bool
		is       error
		words    string
	}{
		"it goes":                  {answer: "", noAnswer: true, is: io.EOF},
		"it dies in the middle":    {answer: `{"version":1,"facts":{"po`, noAnswer: true, is: io.ErrUnexpectedEOF},
		"it is whole but its end":  {answer: `{"version":1,"facts":{}}`, noAnswer: true, is: io.ErrUnexpectedEOF},
		"garbage":                  {answer: "garbage\n", noAnswer: true, words: "not valid"},
		"nothing":                  {answer: "\n", noAnswer: true, words: "not valid"},
		"another version":          {answer: `{"version":2,"facts":{}}` + "\n", noAnswer: true, is: types.ErrWireVersion},
		"another version's error":  {answer: `{"version":2,"error":{"code":7,"message":"m"}}` + "\n", noAnswer: true, is: types.ErrWireVersion},
		"an error":                 {answer: `{"version":1,"error":{"code":7,"message":"no such thing"}}` + "\n", words: "no such thing"},
		"an error and facts":       {answer: `{"version":1,"facts":{},"error":{"code":7,"message":"no such thing"}}` + "\n", words: "no such thing"},
		"it is more than is taken": {answer: strings.Repeat("x", types.MaxMessage+1) + "\n", noAnswer: true, is: ErrTooLong},
	} {
		t.Run(name, func(t *testing.T) {
			conn := answering(t, func(conn net.Conn, _ []byte) { _, _ = io.WriteString(conn, test.answer) })
			response, err := Call(t.Context(), conn, NewConn(conn), &types.Request{Facts: &types.FactsRequest{}})
			if err == nil || response != nil {
				t.Fatalf("got %+v, %v", response, err)
			}
			var said *types.WireError
			if errors.Is(err, ErrNoAnswer) != test.noAnswer || errors.As(err, &said) == test.noAnswer {
				t.Errorf("got %v, of no answer: %v", err, errors.Is(err, ErrNoAnswer))
			}
			if test.is != nil && !errors.Is(err, test.is) || !strings.Contains(err.Error(), test.words) {
				t.Errorf("got %v, want %v, and %q", err, test.is, test.words)
			}
		})
	}
}

// Somebody who does not answer is waited for as long as the context lives.
func TestCallEndsWithItsContext(t *testing.T) {
	for name, end := range map[string]func(context.Context) (context.Context, context.CancelFunc){
		"at its deadline": func(ctx context.Context) (context.Context, context.CancelFunc) {
			return context.WithTimeout(ctx, 50*time.Millisecond)
		},
		"cancelled": func(ctx context.Context) (context.Context, context.CancelFunc) {
			ctx, cancel := context.WithCancel(ctx)
			time.AfterFunc(50*time.Millisecond, cancel)
			return ctx, cancel
		},
	} {
		t.Run(name, func(t *testing.T) {
			ctx, cancel := end(t.Context())
			defer cancel()
			conn := answering(t, func(conn net.Conn, _ []byte) { _, _ = conn.Read(make([]byte, 1)) })
			_, err := Call(ctx, conn, NewConn(conn), &types.Request{Facts: &types.FactsRequest{}})
			if !errors.Is(err, ErrNoAnswer) || !errors.Is(err, os.ErrDeadlineExceeded) {
				t.Errorf("got %v", err)
			}
		})
	}
}

func TestCallToNobody(t *testing.T) {
	ours, theirs := net.Pipe()
	_ = theirs.Close()
	_, err := Call(t.Context(), ours, NewConn(ours), &types.Request{Facts: &types.FactsRequest{}})
	if !errors.Is(err, ErrNoAnswer) || !errors.Is(err, io.ErrClosedPipe) {
		t.Errorf("got %v", err)
	}
}

// A limited side reads a message of just its limit, and none of one byte more, wherever
// its newline is.
func TestLimitedConn(t *testing.T) {
	const limit = 10_000
	for length, want := range map[int]error{0: nil, 4096: nil, limit - 1: nil, limit: nil, limit + 1: ErrTooLong, limit + 4096: ErrTooLong, 10 * limit: ErrTooLong} {
		source := strings.NewReader(strings.Repeat("x", length) + "\nnext\n")
		line, err := NewLimitedConn(stream{source, io.Discard}, limit).ReadLine()
		if !errors.Is(err, want) || err == nil && len(line) != length {
			t.Errorf("a message of %d bytes: %d bytes, %v, want %v", length, len(line), err, want)
		}
	}
}

func TestCheckPeer(t *testing.T) {
	path := t.TempDir() + "/s"
	listener, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer listener.Close()
	conn, err := net.Dial("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if err := CheckPeer(conn); err != nil {
		t.Errorf("our own process: %v", err)
	}
	pipe, _ := net.Pipe()
	if err := CheckPeer(pipe); !errors.Is(err, ErrPeer) {
		t.Errorf("what is no unix socket: %v", err)
	}
	_ = conn.Close()
	if err := CheckPeer(conn); err == nil {
		t.Error("a connection that is closed is let in")
	}
}
