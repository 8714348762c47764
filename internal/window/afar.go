package window

import (
	"context"
	"fmt"

	"github.com/plexus-cni/plexus/internal/inspect"
)

// openNode gives the way to a node of the cluster, through a window pod on it. Any number may be
// open at once. The caller closes each.
func (f *nodeFlags) openNode(_ context.Context, name string) (inspect.Node, error) {
	return nil, fmt.Errorf("node %s: this build has no window pod", name)
}

// nodeOf gives the name of the node that a pod is on, named as NAMESPACE/POD.
func (f *nodeFlags) nodeOf(_ context.Context, pod string) (string, error) {
	return "", fmt.Errorf("pod %s: this build has no window pod", pod)
}

// eachNode opens the nodes of the cluster, at most five at once, and runs a function for each; one
// of a pod that has no node is left out. It gives the errors of all, each with the node's name.
func (f *nodeFlags) eachNode(ctx context.Context, names []string, run func(name string, node inspect.Node) error) error {
	for _, name := range names {
		node, err := f.openNode(ctx, name)
		if err != nil {
			return err
		}
		if err := run(name, node); err != nil {
			return err
		}
	}
	return nil
}
