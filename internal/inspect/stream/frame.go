package stream

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"sync"
	"sync/atomic"
)

// Limits of a frame. A snapshot of a large node has some ten MiB.
const (
	maxRequest = 1 << 20
	maxAnswer  = 256 << 20
)

// ErrFrame is the error for bytes that are no frame, as of another program's output.
var ErrFrame = errors.New("this is no frame of the stream")

// message is what a frame has.
type message struct {
	ID   uint64          `json:"id,omitempty"` // of the request that it belongs to
	Kind string          `json:"kind"`
	Body json.RawMessage `json:"body,omitempty"`
}

// Kinds of messages that are no requests.
const (
	kindHello     = "hello"
	kindHeartbeat = "heartbeat"
	kindCancel    = "cancel" // the client does not want the rest
	kindItem      = "item"   // one result of a request, which may have any number
	kindEnd       = "end"    // its last message, unless it fails
	kindError     = "error"  // its last message, if it fails
)

// newMessage makes a message of a value; nil is for none.
func newMessage(id uint64, kind string, value any) (message, error) {
	m := message{ID: id, Kind: kind}
	if value == nil {
		return m, nil
	}
	body, err := json.Marshal(value)
	if err != nil {
		return m, fmt.Errorf("write the message %s: %w", kind, err)
	}
	m.Body = body
	return m, nil
}

// decode reads the body of a message.
func (m message) decode(value any) error {
	if err := json.Unmarshal(m.Body, value); err != nil {
		return fmt.Errorf("%w: the body of %q: %w", ErrFrame, m.Kind, err)
	}
	return nil
}

// readFrame reads a frame: its length in four bytes, the highest first, and a message in JSON. It
// is io.EOF if the stream ends before one. Memory is taken for bytes that are there, not for
// those that a length promises.
func readFrame(r io.Reader, limit uint32) (message, error) {
	var head [4]byte
	if _, err := io.ReadFull(r, head[:]); err != nil {
		return message{}, err
	}
	length := binary.BigEndian.Uint32(head[:])
	if length == 0 || length > limit {
		return message{}, fmt.Errorf("%w: it would have %d bytes, of at most %d", ErrFrame, length, limit)
	}
	var data bytes.Buffer
	if _, err := io.CopyN(&data, r, int64(length)); err != nil {
		if errors.Is(err, io.EOF) {
			err = io.ErrUnexpectedEOF
		}
		return message{}, err
	}
	var m message
	if err := json.Unmarshal(data.Bytes(), &m); err != nil {
		return message{}, fmt.Errorf("%w: %w", ErrFrame, err)
	}
	if m.Kind == "" {
		return message{}, fmt.Errorf("%w: it has no kind", ErrFrame)
	}
	return m, nil
}

// frameOf gives the bytes of a message.
func frameOf(m message, limit uint32) ([]byte, error) {
	data, err := json.Marshal(m)
	if err != nil {
		return nil, fmt.Errorf("write the message %s: %w", m.Kind, err)
	}
	if uint64(len(data)) > uint64(limit) {
		return nil, fmt.Errorf("the message %s has %d bytes, of at most %d", m.Kind, len(data), limit)
	}
	return append(binary.BigEndian.AppendUint32(nil, uint32(len(data))), data...), nil //nolint:gosec // the limit is one of 32 bits
}

// errWrite is the error for a stream that takes nothing any more. Why not, its other direction says.
var errWrite = errors.New("write to the stream")

// chunk is how much is written at once, so that a slow peer is told from one that is gone.
const chunk = 32 << 10

// writer writes frames, one at a time, and knows how far it came.
type writer struct {
	mu      sync.Mutex
	out     io.Writer
	limit   uint32
	written atomic.Uint64
}

func (w *writer) send(m message) error {
	w.mu.Lock()
	defer w.mu.Unlock()
	return w.write(m)
}

// write is send for whoever holds the lock.
func (w *writer) write(m message) error {
	frame, err := frameOf(m, w.limit)
	if err != nil {
		return err
	}
	for part := frame; len(part) > 0; {
		n, err := w.out.Write(part[:min(len(part), chunk)])
		w.written.Add(uint64(n)) //nolint:gosec // it is not negative
		if err != nil {
			return fmt.Errorf("%w: %w", errWrite, err)
		}
		part = part[n:]
	}
	return nil
}

// counter counts what is read.
type counter struct {
	in   io.Reader
	read atomic.Uint64
}

func (c *counter) Read(p []byte) (int, error) {
	n, err := c.in.Read(p)
	c.read.Add(uint64(n)) //nolint:gosec // it is not negative
	return n, err
}
