package journal

import (
	"testing"

	"github.com/plexus-cni/plexus/internal/host"
)

// A sandbox lives only in its own boot, and in the very namespace that was recorded: a path,
// and even an inode, comes again.
func TestLives(t *testing.T) {
	const path = "/proc/self/ns/net"
	inode, exists := host.NetNS(path)
	if !exists || inode == 0 {
		t.Fatalf("%s: %d, %v", path, inode, exists)
	}
	for name, tc := range map[string]struct {
		w    Whereabouts
		want bool
	}{
		"the same":               {Whereabouts{"b1", inode, path}, true},
		"of a record without it": {Whereabouts{"b1", 0, path}, true},
		"another boot":           {Whereabouts{"b2", inode, path}, false},
		"another namespace":      {Whereabouts{"b1", inode + 1, path}, false},
		"no namespace":           {Whereabouts{"b1", inode, path + "/none"}, false},
		"no path":                {Whereabouts{"b1", inode, ""}, false},
	} {
		t.Run(name, func(t *testing.T) {
			if got := tc.w.Lives("b1"); got != tc.want {
				t.Errorf("got %v, want %v", got, tc.want)
			}
		})
	}
}
