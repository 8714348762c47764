package stream

import (
	"bytes"
	"context"
	"encoding/binary"
	"errors"
	"io"
	"runtime"
	"testing"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/test/check"
)

// framed gives the bytes of a frame, whatever is in it.
func framed(text string) []byte {
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(text))), text...)
}

func TestReadFrame(t *testing.T) {
	for name, tc := range map[string]struct {
		data []byte
		want error
	}{
		"a message":              {framed(`{"kind":"heartbeat"}`), nil},
		"nothing":                {nil, io.EOF},
		"half a length":          {[]byte{0, 0}, io.ErrUnexpectedEOF},
		"half a message":         {framed(`{"kind":"heartbeat"}`)[:9], io.ErrUnexpectedEOF},
		"a length without bytes": {[]byte{0, 0, 0, 9}, io.ErrUnexpectedEOF},
		"an empty message":       {framed(""), ErrFrame},
		"too long a message":     {framed(`{"kind":"` + string(bytes.Repeat([]byte("x"), 200)) + `"}`), ErrFrame},
		"text of a shell":        {[]byte("sh: kubectl-plexus: not found"), ErrFrame},
		"no JSON":                {framed("heartbeat"), ErrFrame},
		"no kind":                {framed("{}"), ErrFrame},
	} {
		t.Run(name, func(t *testing.T) {
			_, err := readFrame(bytes.NewReader(tc.data), 100)
			if !errors.Is(err, tc.want) {
				t.Errorf("error %v, want %v", err, tc.want)
			}
		})
	}
}

// A length alone takes no memory.
func TestReadFrameTakesNoMemoryForPromises(t *testing.T) {
	data := binary.BigEndian.AppendUint32(nil, maxAnswer)
	var before, after runtime.MemStats
	runtime.ReadMemStats(&before)
	_, err := readFrame(bytes.NewReader(data), maxAnswer)
	runtime.ReadMemStats(&after)
	check.Error(t, err, "unexpected EOF")
	if taken := after.TotalAlloc - before.TotalAlloc; taken > 1<<20 {
		t.Errorf("%d bytes for a frame of which 4 are there", taken)
	}
}

func TestWriterRefusesLongFrames(t *testing.T) {
	var out bytes.Buffer
	m, err := newMessage(1, kindSnapshot, string(bytes.Repeat([]byte("x"), 200)))
	check.Must(t, err)
	check.Error(t, (&writer{out: &out, limit: 100}).send(m), "of at most 100")
	check.Equal(t, "bytes written", out.Len(), 0)
}

// What is read is written as it was.
func FuzzFrame(f *testing.F) {
	f.Add(framed(`{"kind":"heartbeat"}`))
	f.Add(framed(`{"id":1,"kind":"snapshot","body":{"netns":["/run/netns/a"]}}`))
	f.Add([]byte("sh: not found"))
	f.Fuzz(func(t *testing.T, data []byte) {
		in := bytes.NewReader(data)
		for {
			m, err := readFrame(in, maxRequest)
			if err != nil {
				return
			}
			frame, err := frameOf(m, 6*maxRequest) // JSON may escape what was not
			check.Must(t, err)
			again, err := readFrame(bytes.NewReader(frame), 6*maxRequest)
			check.Must(t, err)
			check.Equal(t, "kind", again.Kind, m.Kind)
			check.Equal(t, "id", again.ID, m.ID)
		}
	})
}

// Whatever a client sends, the server ends with it, and does not crash.
func FuzzServe(f *testing.F) {
	greeting := framed(`{"kind":"hello","body":{"protocol":{"major":1},"build":"v0"}}`)
	f.Add(greeting)
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"snapshot","body":{"netns":["/run/netns/a"]}}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"answers","body":[{"namespace":2,"to":"192.0.2.1"}]}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"cancel"}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"watch","body":{"points":[{"namespace":2,"index":3}],"filter":[{"op":6,"k":9}],"keep":-1,"marks":["AQI="]}}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"send","body":{"namespace":2,"to":"192.0.2.1","protocol":"udp","shots":[{"number":1,"size":-5}],"mark":[1,2,3,4,5,6,7,8]}}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"kind":"heartbeat"}`)...))
	f.Fuzz(func(t *testing.T, data []byte) {
		_ = Serve(t.Context(), bytes.NewReader(data), io.Discard, "v0", func(Folders) (inspect.Node, error) { return &fakeNode{}, nil })
	})
}

// Whatever a server sends, the client ends with it, and does not crash.
func FuzzClient(f *testing.F) {
	greeting := framed(`{"kind":"hello","body":{"protocol":{"major":1},"build":"v0"}}`)
	f.Add(greeting)
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"item","body":{"apiVersion":"plexus-cni.io/v1alpha1","kind":"Snapshot"}}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"end"}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"kind":"error","body":"no"}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"item","body":{"ready":true,"packets":[{"point":{"namespace":2,"index":-3},"time":"2026-01-01T00:00:00Z","length":-7,"data":"AQI=","link":-1}]}}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"item","body":{"counts":[{"seen":1},{"lost":2},{}],"gone":[{"index":1}],"drops":[{"reason":"","data":null}]}}`)...))
	f.Add(append(bytes.Clone(greeting), framed(`{"id":1,"kind":"item","body":[{"refused":"EPERM"}]}`)...))
	ask := map[int]func(context.Context, *Client) error{
		0: func(ctx context.Context, c *Client) error { _, err := c.Snapshot(ctx, inspect.Request{}); return err },
		1: func(ctx context.Context, c *Client) error {
			_, err := c.Answers(ctx, []inspect.Question{{To: "192.0.2.1"}})
			return err
		},
		2: func(ctx context.Context, c *Client) error {
			return c.Watch(ctx, inspect.Watch{Points: []inspect.Ref{{Index: 1}}}, func(inspect.Sighting) error { return nil })
		},
		3: func(ctx context.Context, c *Client) error {
			_, err := c.Send(ctx, inspect.Send{Shots: make([]inspect.Shot, 1)})
			return err
		},
	}
	f.Fuzz(func(t *testing.T, data []byte) {
		for i := range ask {
			clientReads(t, data, ask[i])
		}
	})
}

// clientReads has a client ask one thing, of a server that has said so much already.
func clientReads(t *testing.T, data []byte, ask func(context.Context, *Client) error) {
	t.Helper()
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	c, err := Connect(ctx, &pipe{bytes.NewReader(data), io.Discard, func() {}}, hello)
	if err != nil {
		return
	}
	_ = ask(ctx, c)
	_ = c.Close()
}
