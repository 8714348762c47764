// Package kubelet asks the kubelet of this node which devices a pod has, of device plugins and
// of ResourceClaims.
//
// It speaks the kubelet's pod-resources API, which is gRPC on a unix socket, by net/http
// and a reader of its few messages: plexus-once links it, and with the gRPC module and
// the generated messages every pod of a node without an agent would wait for their init
// (docs/performance.md).
package kubelet

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/plexus-cni/plexus/types"
)

// askTimeout bounds the kubelet's answer, which comes from its memory.
const askTimeout = 5 * time.Second

// ErrUnknownPod is the error for a pod that the kubelet does not name.
var ErrUnknownPod = errors.New("it does not know the pod")

// ErrTwoPods is the error for a name that two pods have at the moment: the kubelet names
// pods without UIDs, and one of the two is being removed.
var ErrTwoPods = errors.New("it knows two pods of that name, one of which is going")

// Devices names the sources of a node's device allocations. The zero value is a node
// without a kubelet.
type Devices struct {
	Socket     string // of the pod-resources API; "" where no kubelet can be asked
	Checkpoint string // the device manager's own file, for when the API does not answer; "" for none
	// ClaimCheckpoint is the same of the manager of claims. "" means the one that goes with
	// Checkpoint, if that has the place which the kubelet gives it, and else none.
	ClaimCheckpoint string
}

// claimCheckpoint gives the file of claims: the kubelet keeps it in its root folder, and that of
// devices in a folder below.
func (d Devices) claimCheckpoint() string {
	folder, name := filepath.Split(d.Checkpoint)
	folder = filepath.Clean(folder)
	if d.ClaimCheckpoint != "" || name != "kubelet_internal_checkpoint" || filepath.Base(folder) != "device-plugins" {
		return d.ClaimCheckpoint
	}
	return filepath.Join(filepath.Dir(folder), "dra_manager_state")
}

// Complete adds to facts the devices of their pod, if they matter. Where there is no
// kubelet it adds nothing.
func (d Devices) Complete(ctx context.Context, facts *types.Facts) error {
	users := facts.DeviceUsers()
	if d.Socket == "" || len(users) == 0 {
		return nil
	}
	found, err := d.of(ctx, &facts.Pod)
	if err != nil {
		// The kubelet is being restarted, or does not know the pod yet: the runtime calls again.
		return types.Errorf(types.CodeTryAgainLater, "pod %s: its devices are not known, for %s: %w", &facts.Pod, listed(users), err)
	}
	facts.Devices, facts.Claimed = found.devices, found.claimed
	return nil
}

// listed lists the first of the networks that need a device.
func listed(users []string) string {
	const enough = 10
	if more := len(users) - enough; more > 0 {
		return fmt.Sprintf("%s and %d more", strings.Join(users[:enough], ", "), more)
	}
	return strings.Join(users, ", ")
}

// allocated are the devices of a pod, in order.
type allocated struct {
	devices map[string][]string
	claimed []types.ClaimedDevice
}

// of gives the devices of a pod. Those of claims are nil if a checkpoint answers that does not
// have them.
func (d Devices) of(ctx context.Context, pod *types.Pod) (*allocated, error) {
	found, err := ask(ctx, d.Socket, pod)
	if err == nil {
		return &allocated{inOrder(found.containers), claimsInOrder(found.containers, pod.Namespace)}, nil
	}
	containers, fault := d.readCheckpoints(pod.UID)
	if len(containers) == 0 {
		return nil, types.Join(fmt.Errorf("kubelet on %s: %w", d.Socket, err), fault)
	}
	noted := &allocated{devices: inOrder(containers)}
	if d.claimCheckpoint() != "" {
		noted.claimed = claimsInOrder(containers, pod.Namespace)
	}
	return noted, nil
}

// container is what one container has been allocated.
type container struct {
	name    string
	devices []containerDevices
	claims  []containerClaim
}

type containerDevices struct {
	resource string
	ids      []string
}

// inOrder gives the devices of containers by resource, each once: those of the first
// container first, and those of one container by their IDs. The kubelet's answer has no
// order, and names a device once for each of its NUMA nodes.
func inOrder(containers []container) map[string][]string {
	ordered := map[string][]string{}
	for _, c := range containers {
		own := map[string][]string{}
		for _, d := range c.devices {
			own[d.resource] = append(own[d.resource], d.ids...)
		}
		for resource, ids := range own {
			slices.Sort(ids)
			for _, id := range slices.Compact(ids) {
				if !slices.Contains(ordered[resource], id) {
					ordered[resource] = append(ordered[resource], id)
				}
			}
		}
	}
	return ordered
}
