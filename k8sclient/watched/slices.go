package watched

import (
	"context"
	"errors"
	"fmt"
	"strings"
	"sync"

	resourcev1 "k8s.io/api/resource/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/fields"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/serializer"
	"k8s.io/client-go/rest"
	"k8s.io/client-go/tools/cache"

	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/types"
)

// KindSlices is the kind of ResourceSlices, which are watched once a pod has a claim.
const KindSlices = "slices"

// maxSlices bounds what the slices of one watch take, in bytes. Whatever is larger is read live.
const maxSlices = 8 << 20

// slice is the part of a ResourceSlice that is kept.
type slice struct {
	k8sclient.Slice
	notKept bool // only its pool is
}

func (s slice) size() int {
	size := entrySize + len(s.Driver) + len(s.Pool)
	for _, d := range s.Devices {
		size += len(d.Name) + len(d.Resource) + len(d.ID) + len(d.PCIAddress) + deviceSize
	}
	return size
}

// deviceSize is what a device takes beside its texts.
const deviceSize = 64

func (s slice) bare() slice {
	s.Devices = nil
	return slice{s.Slice, true}
}

func (s slice) whole() bool { return !s.notKept }

func sliceOf(object any) (slice, bool) {
	published, ok := object.(*resourcev1.ResourceSlice)
	if !ok {
		return slice{}, false
	}
	spec := &published.Spec
	kept := k8sclient.Slice{Driver: strings.Clone(spec.Driver), Pool: strings.Clone(spec.Pool.Name), Generation: spec.Pool.Generation, Count: spec.Pool.ResourceSliceCount}
	for i := range spec.Devices {
		d := &spec.Devices[i]
		kept.Devices = append(kept.Devices, k8sclient.NewSliceDevice(strings.Clone(d.Name), func(name string) string {
			if value := d.Attributes[resourcev1.QualifiedName(name)].StringValue; value != nil {
				return strings.Clone(*value)
			}
			return ""
		}))
	}
	return slice{kept, false}, true
}

// sliceWatches are the watches of slices: one of this node's, and one for each driver that has devices
// of no one node.
type sliceWatches struct {
	opts   *Options
	client rest.Interface

	mu      sync.Mutex
	running context.Context //nolint:containedctx // of Run; nil before and after it
	ended   sync.WaitGroup
	stores  map[string]*store[slice] // by the selector of the watch
}

func newSliceWatches(opts *Options) (*sliceWatches, error) {
	scheme := runtime.NewScheme()
	if err := resourcev1.AddToScheme(scheme); err != nil {
		return nil, fmt.Errorf("make a client for slices: %w", err)
	}
	client, err := jsonClient(opts, "/apis", resourcev1.SchemeGroupVersion, serializer.NewCodecFactory(scheme).WithoutConversion())
	if err != nil {
		return nil, fmt.Errorf("make a client for slices: %w", err)
	}
	return &sliceWatches{opts: opts, client: client, stores: map[string]*store[slice]{}}, nil
}

// run allows watches to begin until ctx ends, which ends them all. It returns after the last one.
func (s *sliceWatches) run(ctx context.Context) {
	s.mu.Lock()
	s.running = ctx
	s.mu.Unlock()
	<-ctx.Done()
	s.mu.Lock()
	s.running = nil
	s.mu.Unlock()
	s.ended.Wait()
}

// watching gives the store of a watch, which begins if need be.
func (s *sliceWatches) watching(selector fields.Selector) *store[slice] {
	s.mu.Lock()
	defer s.mu.Unlock()
	key := selector.String()
	if known := s.stores[key]; known != nil || s.running == nil {
		return known
	}
	into := newStore(KindSlices, maxSlices, sliceOf, func(types.Ref) {}, s.opts.Log)
	const resource = "resourceslices"
	lw := cache.NewFilteredListWatchFromClient(s.client, resource, metav1.NamespaceAll, func(o *metav1.ListOptions) { o.FieldSelector = key })
	lw.ListWithContextFunc = func(ctx context.Context, options metav1.ListOptions) (runtime.Object, error) {
		options.FieldSelector = key
		return list(ctx, s.client.Get().Resource(resource), &options, into, func() any { return &resourcev1.ResourceSlice{} })
	}
	s.stores[key] = into
	watch, running := reflectInto(lw, &resourcev1.ResourceSlice{}, into), s.running
	s.ended.Go(func() { watch(running) })
	return into
}

// size gives the sizes of all watches together; false if there is none.
func (s *sliceWatches) size() (Size, bool) {
	s.mu.Lock()
	defer s.mu.Unlock()
	all := Size{Synced: true}
	for _, store := range s.stores {
		one := store.size()
		all.Objects, all.Bytes, all.NotKept = all.Objects+one.Objects, all.Bytes+one.Bytes, all.NotKept+one.NotKept
		all.Synced, all.Failing, all.Refused = all.Synced && one.Synced, all.Failing || one.Failing, all.Refused || one.Refused
	}
	return all, len(s.stores) > 0
}

// Describe is part of claims.Reader. The first question begins the watch of this node's slices;
// a device that is not among them begins that of its driver's slices of no one node. One that no
// watch has brought is asked for live, once: its driver may just have published it.
func (c *Cache) Describe(ctx context.Context, devices []types.ClaimedDevice) error {
	left := make([]*types.ClaimedDevice, len(devices))
	for i := range devices {
		left[i] = &devices[i]
	}
	left, err := c.describeFrom(ctx, left, fields.OneTermEqualSelector("spec.nodeName", c.slices.opts.Node))
	if err != nil {
		return err
	}
	for driver, own := range byDriver(left) {
		selector := fields.AndSelectors(fields.OneTermEqualSelector("spec.driver", driver), fields.OneTermEqualSelector("spec.nodeName", ""))
		own, err = c.describeFrom(ctx, own, selector)
		if err == nil {
			err = c.describeLive(ctx, own)
		}
		if err != nil {
			return err
		}
	}
	return nil
}

func byDriver(devices []*types.ClaimedDevice) map[string][]*types.ClaimedDevice {
	all := map[string][]*types.ClaimedDevice{}
	for _, d := range devices {
		all[d.Driver] = append(all[d.Driver], d)
	}
	return all
}

// describeFrom describes devices from one watch, and gives those that it has not.
func (c *Cache) describeFrom(ctx context.Context, devices []*types.ClaimedDevice, selector fields.Selector) ([]*types.ClaimedDevice, error) {
	if len(devices) == 0 {
		return nil, nil
	}
	from := c.slices.watching(selector)
	if from == nil {
		return devices, nil
	}
	if err := from.wait(ctx); errors.Is(err, errAskLive) {
		return devices, nil
	} else if err != nil {
		return nil, types.WithCode(types.CodeTryAgainLater, k8sclient.ErrSlices(err))
	}
	var all []k8sclient.Slice
	from.each(func(_ types.Ref, s slice) { all = append(all, s.Slice) })
	var left []*types.ClaimedDevice
	for _, d := range devices {
		// While a driver publishes its pool anew, a live list knows more.
		if found, err := k8sclient.Describe(d, all); !found || err != nil {
			left = append(left, d)
		} else {
			c.count(KindSlices, false)
		}
	}
	return left, nil
}

func (c *Cache) describeLive(ctx context.Context, devices []*types.ClaimedDevice) error {
	if len(devices) == 0 {
		return nil
	}
	asked := make([]types.ClaimedDevice, len(devices))
	for i, d := range devices {
		asked[i] = *d
		c.count(KindSlices, true)
	}
	free, err := slot(ctx, c.answers.livePods)
	if err != nil {
		return err
	}
	defer free()
	if err := c.live.Describe(ctx, asked); err != nil {
		return askAnother(err)
	}
	for i, d := range devices {
		*d = asked[i]
	}
	return nil
}

// ReadPodClaims is part of claims.Reader. It is never answered from a watch: no selector gives
// the claims of a node.
func (c *Cache) ReadPodClaims(ctx context.Context, pod *types.Pod) ([]types.ClaimedDevice, error) {
	c.count("claims", true)
	free, err := slot(ctx, c.answers.livePods)
	if err != nil {
		return nil, err
	}
	defer free()
	devices, err := c.live.ReadPodClaims(ctx, pod)
	if err != nil && !errors.Is(err, k8sclient.ErrPodNotFound) {
		err = askAnother(err)
	}
	return devices, err
}
