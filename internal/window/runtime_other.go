//go:build !linux

package window

import (
	"context"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// addRuntime asks nobody: only a node has a container runtime.
func addRuntime(context.Context, *inspect.Snapshot, string) {}
