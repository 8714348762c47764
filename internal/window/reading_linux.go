package window

import (
	"errors"
	"fmt"
	"os"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/collect"
	"github.com/plexus-cni/plexus/sriov"
)

var defaultNetNSDirs = collect.DefaultNetNSDirs

// read reads the node, and namespaces besides those that it finds itself.
func (f *nodeFlags) read(netns ...string) (*inspect.Snapshot, error) {
	if os.Geteuid() != 0 {
		return nil, errors.New("reading the node needs root: run it on the node with sudo, or inspect a saved snapshot with --from")
	}
	snapshot, err := collect.Node(collect.Options{StateDir: f.stateDir, NetNSDirs: f.netnsDirs, NetNS: netns, Sysfs: sriov.DefaultSysfs})
	if err != nil {
		return nil, fmt.Errorf("read the node: %w", err)
	}
	return snapshot, nil
}
