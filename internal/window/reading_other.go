//go:build !linux

package window

import (
	"errors"

	"github.com/plexus-cni/plexus/internal/inspect"
)

var defaultNetNSDirs []string

func (*nodeFlags) openLocal() (inspect.Node, error) {
	return nil, errors.New("reading a node runs on the node, which is Linux; here only a saved snapshot can be read")
}
