//go:build !linux

package window

import (
	"errors"

	"github.com/plexus-cni/plexus/internal/inspect"
	"github.com/plexus-cni/plexus/internal/inspect/stream"
)

var defaultNetNSDirs []string

func (*nodeFlags) openLocal() (inspect.Node, error) {
	return nil, errors.New("this machine is no node, as it does not run Linux: name a node of the cluster with --node, or read a saved snapshot with --from")
}

func openServed(string, stream.Folders) (inspect.Node, error) { return nil, errNoNode }
