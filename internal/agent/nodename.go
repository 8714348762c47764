package agent

import (
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"

	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// nameCheck is how often the name of the node is checked.
const nameCheck = 30 * time.Second

// nodeName checks that the agent was given the name of its node. With another one it watches
// another node's pods, and publishes nothing.
type nodeName struct {
	name      string
	bound     string // the node that the agent's own token names; empty if it names none
	exists    func(ctx context.Context, node string) error
	elsewhere func(ctx context.Context, pod *types.Pod, node string) (bool, error)
	// stranger gives a pod that is attached on this node and that the watch does not bring;
	// false if there is none, or if it brings another one.
	stranger func() (types.Pod, bool)

	found bool // the API server has the node, or it cannot be asked
	mu    sync.Mutex
	fault error
}

// ready gives the reason why the name is wrong.
func (n *nodeName) ready() error {
	n.mu.Lock()
	defer n.mu.Unlock()
	return n.fault
}

func (n *nodeName) run(ctx context.Context) {
	for ctx.Err() == nil {
		fault, known := n.check(ctx)
		if known {
			n.mu.Lock()
			n.fault = fault
			n.mu.Unlock()
		}
		pause(ctx, nameCheck)
	}
}

// check gives why the name is wrong; known is false where that cannot be said now.
func (n *nodeName) check(ctx context.Context) (fault error, known bool) {
	const mend = "set it to the name under which the kubelet of this node is registered (kubectl get nodes)"
	if n.bound != "" && n.bound != n.name {
		return fmt.Errorf("--node-name: it is %s, and the agent's own pod runs on node %s: %s", n.name, n.bound, mend), true
	}
	if !n.found && n.bound == "" { // else the API server itself named it
		err := n.exists(ctx, n.name)
		if errors.Is(err, k8sclient.ErrNodeNotFound) {
			return fmt.Errorf("--node-name: %w: %s", err, mend), true
		}
		n.found = err == nil || apierrors.IsForbidden(err)
		if !n.found {
			return nil, false
		}
	}
	pod, ok := n.stranger()
	if !ok {
		return nil, true
	}
	elsewhere, err := n.elsewhere(ctx, &pod, n.name)
	switch {
	case err != nil:
		return nil, false
	case elsewhere:
		return fmt.Errorf("--node-name: pod %s is attached here, and to the API server it runs on another node than %s: %s", &pod, n.name, mend), true
	}
	return nil, true
}

// stranger gives a pod that is attached and that is not known, unless another one is.
func (r *records) stranger(known func(types.Ref) (k8sclient.PodObject, bool)) (stranger types.Pod, found bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.known {
		if !s.alive || !s.pod.Known() || s.pod.UID == "" {
			continue
		}
		if pod, ok := known(s.ref()); ok && pod.Is(s.pod.UID) {
			return types.Pod{}, false
		}
		stranger, found = s.pod, true
	}
	return stranger, found
}
