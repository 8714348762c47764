package style

import (
	"bytes"
	"fmt"
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// A name that a pod chose does not clear the screen of who looks at it.
func TestSafe(t *testing.T) {
	for text, want := range map[string]string{
		"eth0\x1b[2J\n":    `eth0\x1b[2J` + "\n",
		"\x1b[31mred\t→":   `\x1b[31mred` + "\t→",
		"a\rb\x07\x7f\x00": `a\x0db\x07\x7f\x00`,
		"\u009b2J":         `\xc2\x9b2J`,
		"\xff":             `\xff`,
	} {
		var plain bytes.Buffer
		_, err := fmt.Fprint(Safe(&plain, false), text)
		check.Must(t, err)
		check.Equal(t, "plain", plain.String(), want)
	}
	var coloured bytes.Buffer
	w := Writer{Safe(&coloured, true)}
	_, err := fmt.Fprint(w, Of(w).Bad("x\x1b[2J"))
	check.Must(t, err)
	check.Equal(t, "with colours", coloured.String(), "\x1b[1;31mx\\x1b[2J\x1b[0m")
}
