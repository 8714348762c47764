// Package rpc carries the messages of package types between the plugin and a source
// of facts: one line of JSON each way, over a unix socket or a socket pair.
package rpc

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"

	"github.com/plexus-cni/plexus/types"
)

// ErrTooLong is the error for a message of more than types.MaxMessage bytes, or of more
// than a Conn reads.
var ErrTooLong = errors.New("message is too long")

// Conn reads and writes messages. It is not safe for concurrent use; deadlines are
// set on the connection underneath.
type Conn struct {
	w       io.Writer
	r       *bufio.Reader
	maxRead int // bytes of a message that is read
}

// NewConn makes a Conn of a connection.
func NewConn(rw io.ReadWriter) *Conn {
	return &Conn{w: rw, r: bufio.NewReaderSize(rw, 16<<10), maxRead: types.MaxMessage}
}

// NewLimitedConn makes a Conn that reads no message of more than maxRead bytes, of one
// of many peers.
func NewLimitedConn(rw io.ReadWriter, maxRead int) *Conn {
	return &Conn{w: rw, r: bufio.NewReaderSize(rw, 4<<10), maxRead: maxRead}
}

// Send writes one message.
func (c *Conn) Send(message any) error {
	// An encoder writes a message and its newline at once, and makes no copy of it.
	return json.NewEncoder(limitedWriter{c.w}).Encode(message)
}

// limitedWriter refuses what is longer than a message and its newline.
type limitedWriter struct{ io.Writer }

func (w limitedWriter) Write(line []byte) (int, error) {
	if len(line) > types.MaxMessage+len("\n") {
		return 0, fmt.Errorf("%w: more than %d bytes", ErrTooLong, types.MaxMessage)
	}
	return w.Writer.Write(line)
}

// ReadLine reads one message, without its newline. The end of the stream before any
// byte is io.EOF, in the middle of a message io.ErrUnexpectedEOF.
func (c *Conn) ReadLine() ([]byte, error) {
	var line []byte
	for {
		part, err := c.r.ReadSlice('\n')
		line = append(line, part...)
		switch {
		case len(bytes.TrimSuffix(line, []byte("\n"))) > c.maxRead:
			return nil, fmt.Errorf("%w: more than %d bytes", ErrTooLong, c.maxRead)
		case err == nil:
			return line[:len(line)-1], nil
		case errors.Is(err, io.EOF) && len(line) > 0:
			return nil, io.ErrUnexpectedEOF
		case !errors.Is(err, bufio.ErrBufferFull):
			return nil, err
		}
	}
}
