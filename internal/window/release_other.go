//go:build !linux

package window

import (
	"errors"

	"github.com/spf13/cobra"

	"github.com/plexus-cni/plexus/internal/inspect"
)

var errNotLinux = errors.New("releasing runs on the node, which is Linux")

func collectStale(*cobra.Command, *configFlags, bool) (*inspect.ReleaseList, error) {
	return nil, errNotLinux
}

func releaseSandbox(*cobra.Command, *configFlags, string, bool) (*inspect.ReleaseList, error) {
	return nil, errNotLinux
}
