// Package watched keeps the pods of one node and all networks from watches. It asks the
// API server only for objects that the watches have not brought yet.
//
// It is apart from package k8sclient because plexus-once links that one, and every pod of
// a node without an agent pays for its packages.
package watched

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"sync"

	"k8s.io/client-go/rest"

	"github.com/plexus-cni/plexus/k8sclient"
	"github.com/plexus-cni/plexus/k8sclient/claims"
	"github.com/plexus-cni/plexus/types"
)

// Kinds of objects, as Options.Count and Sizes name them.
const (
	KindPods     = "pods"
	KindNetworks = "networks"
)

// Options say what to watch, and which functions to call on changes.
type Options struct {
	Config *rest.Config
	HTTP   *http.Client // of client-go, made for Config; shared with others
	Node   string       // whose pods are watched
	// Live reads what the watches have not brought.
	Live Live
	// PodChanged is called for every pod that is added, changed or removed. It must not wait.
	PodChanged func(types.Ref)
	// Count is called for every requested object, with whether it was read live.
	Count func(kind string, live bool)
	Log   *slog.Logger
}

// Live reads objects from the API server.
type Live interface {
	k8sclient.Reader
	claims.Reader
}

// Cache answers for the pods of a node and for networks. It is a k8sclient.Reader. Its
// methods are safe for concurrent use.
type Cache struct {
	pods     *store[pod]
	networks *store[network]
	slices   *sliceWatches
	answers  *answers
	live     Live
	count    func(kind string, live bool)
	watches  []func(context.Context)
}

var _ Live = (*Cache)(nil)

// New makes a cache, which is empty before Run.
func New(opts Options) (*Cache, error) {
	c := &Cache{
		pods:     newStore(KindPods, maxPods, podOf, opts.PodChanged, opts.Log),
		networks: newStore(KindNetworks, maxNetworks, networkOf, func(types.Ref) {}, opts.Log),
		answers:  newAnswers(),
		live:     opts.Live,
		count:    opts.Count,
	}
	podWatch, err := watchPods(&opts, c.pods)
	if err != nil {
		return nil, err
	}
	networkWatch, err := watchNetworks(&opts, c.networks)
	if err != nil {
		return nil, err
	}
	if c.slices, err = newSliceWatches(&opts); err != nil {
		return nil, err
	}
	c.watches = []func(context.Context){podWatch, networkWatch}
	return c, nil
}

// Run keeps the cache up to date until ctx ends.
func (c *Cache) Run(ctx context.Context) {
	var running sync.WaitGroup
	running.Go(func() { c.slices.run(ctx) })
	for _, watch := range c.watches {
		running.Go(func() { watch(ctx) })
	}
	running.Wait()
}

// Facts answers from the cache, and reads objects that it does not have once, live. The
// answer counts as given when ctx ends: until then it takes room from other answers.
func (c *Cache) Facts(ctx context.Context, request *types.FactsRequest) (*types.Facts, error) {
	return k8sclient.FactsFrom(ctx, &question{c, ctx}, request)
}

// Pod gives a pod of this node as the watch has it, its annotations as Abridge makes them.
func (c *Cache) Pod(ref types.Ref) (k8sclient.PodObject, bool) {
	found, known := c.pods.get(ref)
	return found.PodObject, known
}

// EachPod gives the pods of this node, as Pod does. do must not wait.
func (c *Cache) EachPod(do func(types.Ref, k8sclient.PodObject)) {
	c.pods.each(func(ref types.Ref, found pod) { do(ref, found.PodObject) })
}

// Ready gives the reason why the cache cannot answer, nil if it can.
func (c *Cache) Ready() error { return errors.Join(c.pods.ready(), c.networks.ready()) }

// Synced waits until the cache can answer for everything.
func (c *Cache) Synced(ctx context.Context) error {
	return errors.Join(c.pods.wait(ctx), c.networks.wait(ctx))
}

// Sizes gives the number of objects of each kind, and whether all of them are known.
func (c *Cache) Sizes() map[string]Size {
	sizes := map[string]Size{KindPods: c.pods.size(), KindNetworks: c.networks.size()}
	if size, watched := c.slices.size(); watched {
		sizes[KindSlices] = size
	}
	return sizes
}

// ReadPod gives the pod that the runtime called for. The watch may still have an older one
// of that name.
func (c *Cache) ReadPod(ctx context.Context, pod *types.Pod) (*k8sclient.PodObject, error) {
	err := c.pods.wait(ctx)
	if err != nil && !errors.Is(err, errAskLive) {
		return nil, err
	}
	found, known := c.pods.get(types.Ref{Namespace: pod.Namespace, Name: pod.Name})
	usable := known && found.whole()
	if usable && pod.UID != "" && found.Is(pod.UID) {
		c.count(KindPods, false)
		return &found.PodObject, nil
	}
	c.count(KindPods, true)
	free, err := slot(ctx, c.answers.livePods)
	if err != nil {
		return nil, err
	}
	defer free()
	live, err := c.live.ReadPod(ctx, pod)
	switch {
	case err == nil || errors.Is(err, k8sclient.ErrPodNotFound):
		return live, err
	case usable && pod.UID == "": // it may be an older pod of that name, but there is no better one
		return &found.PodObject, nil
	default:
		return nil, askAnother(err)
	}
}

// askAnother gives an error the code with which plexus asks another source: these
// credentials, or this way to the API server, may be wrong.
func askAnother(err error) error { return types.WithCode(types.CodeTryAgainLater, err) }

// ReadNetworks gives networks in the order of refs. Their texts count as given when ctx
// ends.
func (c *Cache) ReadNetworks(ctx context.Context, refs []types.Ref) ([]types.Network, error) {
	return c.readNetworks(ctx, ctx, refs)
}

// question reads for one question, whose answer takes room for longer than the reading.
type question struct {
	*Cache
	given context.Context //nolint:containedctx // it ends when the answer is given
}

// ReadNetworks is that of the cache.
func (q *question) ReadNetworks(ctx context.Context, refs []types.Ref) ([]types.Network, error) {
	return q.readNetworks(ctx, q.given, refs)
}

func (c *Cache) readNetworks(ctx, given context.Context, refs []types.Ref) ([]types.Network, error) {
	if len(refs) == 0 {
		return nil, nil
	}
	if err := c.networks.wait(ctx); err != nil && !errors.Is(err, errAskLive) {
		return nil, err
	}
	found, length := c.find(refs)
	if err := c.answers.reserve(ctx, given, length); err != nil {
		return nil, err
	}
	networks := make([]types.Network, len(refs))
	now := 0 // what they take, as far as they are read
	for i, ref := range refs {
		if found[i].whole() {
			networks[i] = types.Network{Ref: ref, Config: found[i].config.text(), ResourceName: found[i].resourceName, Claim: found[i].claim}
			now += found[i].length
			continue
		}
		live, err := c.readLive(ctx, ref)
		if err != nil {
			return nil, err
		}
		now += jsonLength(live.Config)
		if err := c.answers.extend(given, length, now); err != nil {
			return nil, err
		}
		networks[i], length = *live, max(length, now)
	}
	return networks, nil
}

// find gives the networks as they are kept, and how long they are in an answer. One that
// the watch has not brought is not whole.
func (c *Cache) find(refs []types.Ref) (found []network, length int) {
	found = make([]network, len(refs))
	for i, ref := range refs {
		known := false
		if found[i], known = c.networks.get(ref); !known {
			found[i] = network{length: unheardLength, notKept: true}
		}
		c.count(KindNetworks, !found[i].whole())
		length += found[i].length
	}
	return found, length
}

// readLive reads a network from the API server.
func (c *Cache) readLive(ctx context.Context, ref types.Ref) (*types.Network, error) {
	free, err := slot(ctx, c.answers.liveNetworks)
	if err != nil {
		return nil, err
	}
	defer free()
	read, err := c.live.ReadNetworks(ctx, []types.Ref{ref})
	if err != nil {
		return nil, err
	}
	if network := &read[0]; network.Problem != "" && !network.Missing {
		return nil, askAnother(fmt.Errorf("network %s: %s", network.Ref, network.Problem))
	}
	return &read[0], nil
}
