package inspect

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/test/check"
)

// A command can be typed as it stands, whatever a pod calls its interface.
func TestCommandsAreQuoted(t *testing.T) {
	pod := &Namespace{Paths: []string{"/run/netns/a b"}}
	for name, want := range map[string]string{
		"eth0.5@x": "nsenter --net='/run/netns/a b' ip link show dev eth0.5@x",
		"x;reboot": "nsenter --net='/run/netns/a b' ip link show dev 'x;reboot'",
		"$(id)'`":  "nsenter --net='/run/netns/a b' ip link show dev '$(id)'\\''`'",
	} {
		check.Equal(t, name, (&printer{}).in(pod, "ip link show dev %s", name), want)
	}
}
