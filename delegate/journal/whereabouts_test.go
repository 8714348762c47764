package journal

import (
	"path/filepath"
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
	own, other := host.NetNSID{Inode: inode}, host.NetNSID{Inode: inode + 1}
	for name, tc := range map[string]struct {
		w              Whereabouts
		lives, mayLive bool
	}{
		"the same":               {Whereabouts{BootID: "b1", NetNS: path, ID: own}, true, true},
		"of a record without it": {Whereabouts{BootID: "b1", NetNS: path}, true, true},
		"another boot":           {Whereabouts{BootID: "b2", NetNS: path, ID: own}, false, false},
		"another namespace":      {Whereabouts{BootID: "b1", NetNS: path, ID: other}, false, false},
		"no namespace":           {Whereabouts{BootID: "b1", NetNS: path + "/none", ID: own}, false, false},
		"no path":                {Whereabouts{BootID: "b1", ID: own}, false, false},
		"hidden":                 {Whereabouts{BootID: "b1", NetNS: filepath.Join(t.TempDir(), "none", "c1"), ID: own}, false, true},
		"hidden, another boot":   {Whereabouts{BootID: "b2", NetNS: filepath.Join(t.TempDir(), "none", "c1"), ID: own}, false, false},
	} {
		t.Run(name, func(t *testing.T) {
			if lives, mayLive := tc.w.Lives("b1"), tc.w.MayLive("b1"); lives != tc.lives || mayLive != tc.mayLive {
				t.Errorf("got %v, %v, want %v, %v", lives, mayLive, tc.lives, tc.mayLive)
			}
		})
	}
}
