package rpc

import (
	"bytes"
	"errors"
	"io"
	"testing"
	"testing/iotest"

	"github.com/google/go-cmp/cmp"

	"github.com/plexus-cni/plexus/types"
)

// stream reads from r and writes to w.
type stream struct {
	io.Reader
	io.Writer
}

// FuzzReadLine holds that a stream is cut at its newlines and nowhere else, however
// its bytes arrive, and that what Send writes is one line of it.
func FuzzReadLine(f *testing.F) {
	f.Add([]byte("one\ntwo\n"), "text")
	f.Add([]byte("torn"), "two\nlines")
	f.Add([]byte("\n\n\r\n"), "\x00\xff")
	f.Add(bytes.Repeat([]byte("x"), 40<<10), "")
	f.Fuzz(func(t *testing.T, data []byte, message string) {
		for name, r := range map[string]io.Reader{
			"at once":        bytes.NewReader(data),
			"byte by byte":   iotest.OneByteReader(bytes.NewReader(data)),
			"with its error": iotest.DataErrReader(bytes.NewReader(data)),
		} {
			lines, err := readAll(NewConn(stream{r, io.Discard}))
			wantLines(t, name, data, lines, err)
		}
		var sent bytes.Buffer
		if err := NewConn(stream{nil, &sent}).Send(message); err != nil {
			t.Fatal(err)
		}
		if n := bytes.Count(sent.Bytes(), []byte("\n")); n != 1 || !bytes.HasSuffix(sent.Bytes(), []byte("\n")) {
			t.Fatalf("Send wrote %d newlines: %q", n, sent.Bytes())
		}
	})
}

func readAll(c *Conn) (lines [][]byte, err error) {
	for {
		line, err := c.ReadLine()
		if err != nil {
			return lines, err
		}
		lines = append(lines, line)
	}
}

// wantLines compares with what bytes.Split makes of the stream.
func wantLines(t *testing.T, name string, data []byte, lines [][]byte, err error) {
	t.Helper()
	want := bytes.Split(data, []byte("\n"))
	torn := want[len(want)-1]
	want = want[:len(want)-1]
	end := io.EOF
	if len(torn) > 0 {
		end = io.ErrUnexpectedEOF
	}
	if len(lines) != len(want) {
		t.Fatalf("%s: %d lines, want %d", name, len(lines), len(want))
	}
	for i := range want {
		if !bytes.Equal(lines[i], want[i]) {
			t.Fatalf("%s: line %d: %s", name, i, cmp.Diff(want[i], lines[i]))
		}
	}
	if !errors.Is(err, end) {
		t.Fatalf("%s: it ends with %v, want %v", name, err, end)
	}
}

// endless is a stream without a newline that counts what is read of it.
type endless struct{ read int }

func (e *endless) Read(p []byte) (int, error) {
	for i := range p {
		p[i] = 'x'
	}
	e.read += len(p)
	return len(p), nil
}

func TestReadLineTooLong(t *testing.T) {
	source := &endless{}
	line, err := NewConn(stream{source, io.Discard}).ReadLine()
	if line != nil || !errors.Is(err, ErrTooLong) {
		t.Fatalf("got %d bytes, %v, want ErrTooLong", len(line), err)
	}
	if source.read > types.MaxMessage+64<<10 {
		t.Errorf("it read %d bytes of a message of at most %d", source.read, types.MaxMessage)
	}
}

// TestReadLineAtTheLimit: the longest message that Send takes is read, by one more it
// takes none.
func TestReadLineAtTheLimit(t *testing.T) {
	var sent bytes.Buffer
	c := NewConn(&sent)
	quotes := len(`""`)
	if err := c.Send(string(bytes.Repeat([]byte("x"), types.MaxMessage-quotes+1))); !errors.Is(err, ErrTooLong) || sent.Len() > 0 {
		t.Fatalf("it sent %d bytes, %v, want ErrTooLong", sent.Len(), err)
	}
	if err := c.Send(string(bytes.Repeat([]byte("x"), types.MaxMessage-quotes))); err != nil {
		t.Fatal(err)
	}
	line, err := c.ReadLine()
	if err != nil || len(line) != types.MaxMessage {
		t.Fatalf("read %d bytes, %v", len(line), err)
	}
}

func TestReadLineError(t *testing.T) {
	broken := errors.New("broken")
	if _, err := NewConn(stream{iotest.ErrReader(broken), io.Discard}).ReadLine(); !errors.Is(err, broken) {
		t.Fatalf("got %v", err)
	}
}
