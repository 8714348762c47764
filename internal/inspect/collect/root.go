//go:build linux

package collect

import (
	"os"
	"path/filepath"
	"strings"

	"github.com/plexus-cni/plexus/delegate/journal"
)

// at gives where this process finds a path of the node. On the node /var/run is a link to /run; below
// another root it is none, and what is mounted is there by the name that the mount was given. No path
// leads out of that root.
func (o *Options) at(path string) string {
	if o.Root == "" || path == "" {
		return path
	}
	path = filepath.Clean("/" + path)
	here := filepath.Join(o.Root, path)
	if isFolder(filepath.Dir(here)) {
		return here
	}
	other := o.Root + "/var" + path
	if rest, found := strings.CutPrefix(path, "/var/run/"); found {
		other = o.Root + "/run/" + rest
	} else if !strings.HasPrefix(path, "/run/") {
		return here
	}
	if isFolder(filepath.Dir(other)) {
		return other
	}
	return here
}

// lives reports whether the sandbox of a record can still be there. One whose folder is not seen
// from here may be.
func (o *Options) lives(where journal.Whereabouts, bootID string) bool {
	here := o.at(where.NetNS)
	if o.Root != "" && !isFolder(filepath.Dir(here)) {
		return where.BootID == bootID
	}
	where.NetNS = here
	return where.Lives(bootID)
}

// hides reports whether a folder of the node is none of those that are mounted below another root.
func (o *Options) hides(folder string) bool { return o.Root != "" && !isFolder(o.at(folder)) }

func isFolder(path string) bool {
	info, err := os.Stat(path)
	return err == nil && info.IsDir()
}
