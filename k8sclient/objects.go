package k8sclient

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"maps"
	"slices"

	"github.com/plexus-cni/plexus/types"
)

// Objects are the pods and networks of manifests that somebody names one by one. A node reads a
// folder of them at each call: [Manifests].
type Objects struct{ set *manifestSet }

// NewObjects gives no objects yet.
func NewObjects() *Objects { return &Objects{newManifestSet()} }

// Add adds every object of a manifest, YAML or JSON. name is for errors.
func (o *Objects) Add(name string, data []byte) error { return o.set.add(name, data) }

// Pods names the pods, sorted.
func (o *Objects) Pods() []types.Ref {
	return slices.SortedFunc(maps.Keys(o.set.pods), func(a, b types.Ref) int { return cmp.Compare(a.String(), b.String()) })
}

// PodSpec gives the spec of a pod as JSON, nil if it has none.
func (o *Objects) PodSpec(ref types.Ref) json.RawMessage { return o.set.specs[ref] }

// Facts gives the facts of a pod. A network that no manifest has is missing.
func (o *Objects) Facts(req *types.FactsRequest) (*types.Facts, error) {
	found, known := o.set.pods[types.Ref{Namespace: req.Pod.Namespace, Name: req.Pod.Name}]
	if !known {
		return nil, fmt.Errorf("pod %s: %w: no manifest has it", &req.Pod, ErrPodNotFound)
	}
	return o.set.facts(req, &found)
}

// ReadPodClaims gives the devices of those claims of a pod that are allocated, by devices of which
// there is a slice. What is known of the others depends on who asks.
func (o *Objects) ReadPodClaims(_ context.Context, pod *types.Pod) ([]types.ClaimedDevice, error) {
	devices := []types.ClaimedDevice{}
	of := o.set.podClaims[types.Ref{Namespace: pod.Namespace, Name: pod.Name}]
	for _, claim := range of.list() {
		object := o.set.claims[types.Ref{Namespace: pod.Namespace, Name: claim.name}]
		own := object.devices(claim)
		if o.set.describe(slices.Clone(own)) == nil {
			devices = append(devices, own...)
		}
	}
	return devices, nil
}

// Describe describes devices by the slices among the objects.
func (o *Objects) Describe(_ context.Context, devices []types.ClaimedDevice) error {
	return o.set.describe(devices)
}
