// Package claims finds out which devices a pod has by its ResourceClaims (dynamic resource
// allocation), and what they are to its networks.
//
// Who has a device is the kubelet's or the claim's word; what it is, its driver publishes in
// ResourceSlices. This package decides what must be asked; a Reader asks.
package claims

import (
	"cmp"
	"context"
	"slices"

	"github.com/plexus-cni/plexus/types"
)

// Reader reads claims and slices, from an API server, from watches or from manifests.
type Reader interface {
	// Describe fills Resource, ID and PCIAddress of devices. A device whose driver publishes
	// nothing for a network keeps an empty ID.
	Describe(ctx context.Context, devices []types.ClaimedDevice) error
	// ReadPodClaims gives every device that the pod's claims allocate, in the order of
	// types.Facts.Claimed, not described. Resource is set of an extended resource.
	ReadPodClaims(ctx context.Context, pod *types.Pod) ([]types.ClaimedDevice, error)
}

// Complete adds to facts what the pod's claims allocate, if a network takes a device. The
// kubelet, if there is one, has been asked already. request is what the facts answer.
func Complete(ctx context.Context, r Reader, request *types.FactsRequest, facts *types.Facts) error {
	if facts.Pod.Static || !facts.WantDevices() { // a static pod cannot have claims
		return nil
	}
	wants := wantsOf(request, facts)
	if facts.Devices != nil && len(facts.Claimed) > 0 && wants.areMet(facts) {
		// The devices of device plugins are enough: the claims are of something else, as GPUs, and
		// need no right to slices.
		facts.Claimed = nil
		return nil
	}
	var known []types.ClaimedDevice // those that are described
	if !wants.named && len(facts.Claimed) > 0 {
		if err := describe(ctx, r, facts.Claimed); err != nil {
			return forPod(facts, err)
		}
		known = facts.Claimed
	}
	if facts.Devices != nil && wants.areMet(facts) {
		return nil
	}
	found, err := r.ReadPodClaims(ctx, &facts.Pod)
	if err == nil {
		err = describeRest(ctx, r, found, known)
	}
	if err != nil {
		return forPod(facts, err)
	}
	facts.Claimed = found
	return nil
}

// describeRest describes devices as known ones are, and asks about the others: the slices are
// read once.
func describeRest(ctx context.Context, r Reader, devices, known []types.ClaimedDevice) error {
	var rest []types.ClaimedDevice
	var at []int
	for i := range devices {
		d := &devices[i]
		n := slices.IndexFunc(known, func(k types.ClaimedDevice) bool {
			return k.Driver == d.Driver && k.Pool == d.Pool && k.Name == d.Name
		})
		if n < 0 {
			rest, at = append(rest, *d), append(at, i)
			continue
		}
		d.Resource, d.ID, d.PCIAddress = cmp.Or(known[n].Resource, d.Resource), known[n].ID, known[n].PCIAddress
	}
	err := describe(ctx, r, rest)
	for i, n := range at {
		devices[n] = rest[i]
	}
	return err
}

// describe describes devices. What their driver says of the resource counts before what the pod
// calls it.
func describe(ctx context.Context, r Reader, devices []types.ClaimedDevice) error {
	if len(devices) == 0 {
		return nil
	}
	called := make([]string, len(devices))
	for i := range devices {
		called[i] = devices[i].Resource
	}
	if err := r.Describe(ctx, devices); err != nil {
		return err
	}
	for i := range devices {
		if devices[i].Resource == "" {
			devices[i].Resource = called[i]
		}
	}
	return nil
}

func forPod(facts *types.Facts, err error) error {
	return types.WithCode(types.CodeOf(err, types.CodeTryAgainLater), &podError{facts.Pod.String(), err})
}

// podError names the pod whose devices are not known.
type podError struct {
	pod string
	err error
}

func (e *podError) Error() string {
	return "pod " + e.pod + ": the devices of its claims are not known: " + e.err.Error()
}

func (e *podError) Unwrap() error { return e.err }

// wants is what the networks of a pod take of devices.
type wants struct {
	named bool           // one of them names a claim, by the pod's name for it or by a request
	count map[string]int // by resource
	ids   []string       // that elements name
}

// wantsOf reads the wants from facts. A network is wanted by each element that names it, also by
// its deviceID, and by the node itself: to count too much costs a read, to count too little a pod.
func wantsOf(request *types.FactsRequest, facts *types.Facts) *wants {
	w := &wants{count: map[string]int{}}
	times := map[types.Ref]int{}
	for _, ref := range request.Networks {
		times[ref]++
	}
	for _, s := range facts.Pod.Selections(request.MultusNamespace) {
		times[s.Ref()]++
		w.named = w.named || s.Claim != ""
		if s.DeviceID != "" {
			w.ids = append(w.ids, s.DeviceID)
		}
	}
	for i := range facts.Networks {
		n := &facts.Networks[i]
		w.named = w.named || n.Claim != ""
		if n.ResourceName != "" {
			w.count[n.ResourceName] += times[n.Ref]
		}
	}
	return w
}

// areMet reports whether what the kubelet said is enough to give every network its device. It
// names neither requests nor the claims that no container uses, and its order of claims is that of
// containers: where a resource has several devices, the pod and its claims say their order.
func (w *wants) areMet(facts *types.Facts) bool {
	if w.named {
		return false
	}
	for resource, n := range w.count {
		own := ofResource(facts, resource)
		if len(facts.Devices[resource])+len(own) < n || len(own) > 1 {
			return false
		}
	}
	for _, id := range w.ids {
		if !isAllocated(facts, id) {
			return false
		}
	}
	return true
}

// ofResource gives the devices of claims that a resource has, each once.
func ofResource(facts *types.Facts, resource string) []*types.ClaimedDevice {
	var own []*types.ClaimedDevice
	for i := range facts.Claimed {
		c := &facts.Claimed[i]
		if c.ID != "" && c.Resource == resource && !isAmong(own, c) {
			own = append(own, c)
		}
	}
	return own
}

func isAmong(devices []*types.ClaimedDevice, c *types.ClaimedDevice) bool {
	for _, other := range devices {
		if other.Device().Is(c.Device()) {
			return true
		}
	}
	return false
}

// isAllocated reports whether a device of the pod has an ID, or an address, that an element names.
func isAllocated(facts *types.Facts, id string) bool {
	named := types.Device{ID: id}
	for resource, ids := range facts.Devices {
		if slices.ContainsFunc(ids, func(other string) bool { return named.Is(types.Device{Resource: resource, ID: other}) }) {
			return true
		}
	}
	return slices.ContainsFunc(facts.Claimed, func(c types.ClaimedDevice) bool { return c.ID != "" && named.Is(c.Device()) })
}
