package journal

import (
	"errors"
	"strings"
	"testing"

	"golang.org/x/sys/unix"
)

// The name of a record, and of the file that an intent is written to first, has at most 255
// bytes.
func TestKeyLimits(t *testing.T) {
	key := Key{Network: "outer", IfName: "eth0"}
	key.ContainerID = strings.Repeat("c", unix.NAME_MAX-len(key.file())-len(newSuffix))
	if err := key.check(); err != nil {
		t.Error(err)
	}
	key.ContainerID += "c"
	if err := key.check(); !errors.Is(err, ErrBadKey) {
		t.Errorf("one more byte: %v", err)
	}
}
