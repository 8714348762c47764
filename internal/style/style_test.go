package style

import (
	"bytes"
	"io"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

func TestStyle(t *testing.T) {
	words := func(w io.Writer) string {
		s := Of(w)
		return s.Bad("a") + s.Doubtful("b") + s.Note("c") + s.Good("d") + s.Title("e") + s.Good("")
	}
	check.Equal(t, "plain", words(&bytes.Buffer{}), "abcde")
	check.Equal(t, "with colours", words(Writer{&bytes.Buffer{}}), "\x1b[1;31ma\x1b[0m\x1b[33mb\x1b[0m\x1b[36mc\x1b[0m\x1b[32md\x1b[0m\x1b[1me\x1b[0m")
}
