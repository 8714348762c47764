package delegate

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/containernetworking/cni/libcni"
	cnitypes "github.com/containernetworking/cni/pkg/types"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// gcReserve is which part of its time a GC keeps for the delegates' own.
const gcReserve = 5 // a fifth

// GC releases the sandboxes of this outer network that the runtime does not list as
// valid, those first that were tried longest ago, and then lets each delegate's network
// free what no living attachment uses. What its time does not suffice for is an error, and
// is left for the next GC. Without the runtime's list it is an error and frees nothing.
func (e *Engine) GC(ctx context.Context) error {
	if !e.Config.HasValidAttachments {
		return types.Errorf(types.CodeInvalidConfig, "cni.dev/valid-attachments: is missing: without it everything would be freed")
	}
	ctx, cancel := context.WithTimeout(ctx, gcTimeout)
	defer cancel()
	e.meter = newMeter()
	if path := e.Config.ReadinessIndicatorFile; path != "" {
		if _, err := os.Stat(path); err != nil {
			e.Log.Warn("readinessindicatorfile: is not there; the default network may not be ready", "file", path)
		}
	}
	g := e.newCollection()
	err := types.Join(g.releaseInvalid(ctx), g.collectDelegates(ctx))
	e.publishReport(ctx, "GC", &Call{}, err)
	e.unmeasured().releaseDead(ctx)
	return err
}

// collection is one GC under way.
type collection struct {
	*Engine
	valid    map[types.GCAttachment]bool
	networks map[string]*libcni.NetworkConfigList      // by what their plugins see of them
	living   map[string]map[cnitypes.GCAttachment]bool // by CNI name
}

func (e *Engine) newCollection() *collection {
	g := &collection{
		Engine:   e,
		valid:    map[types.GCAttachment]bool{},
		networks: map[string]*libcni.NetworkConfigList{},
		living:   map[string]map[cnitypes.GCAttachment]bool{},
	}
	for _, a := range e.Config.ValidAttachments {
		g.valid[a] = true
	}
	return g
}

// releaseInvalid releases the records of this outer network that the runtime does
// not know any more.
func (g *collection) releaseInvalid(ctx context.Context) error {
	keys, err := g.Journal().List()
	faults := []error{err}
	if deadline, ok := ctx.Deadline(); ok {
		var cancel context.CancelFunc
		ctx, cancel = context.WithDeadline(ctx, deadline.Add(-time.Until(deadline)/gcReserve))
		defer cancel()
	}
	invalid := g.oldestFirst(slices.DeleteFunc(keys, g.isValid))
	for n, key := range invalid {
		if noTime(ctx) {
			faults = append(faults, types.Errorf(types.CodeTryAgainLater,
				"there was no time for %d of %d sandboxes that the runtime does not list; the next GC goes on with them", len(invalid)-n, len(invalid)))
			break
		}
		share, cancel := fairShare(ctx, len(invalid)-n)
		if err := g.releaseOne(share, key); err != nil {
			faults = append(faults, fmt.Errorf("container %s: %w", key.ContainerID, err))
		}
		cancel()
	}
	return types.Join(faults...)
}

// noTime reports whether so little time is left that a plugin would only be begun to be
// killed.
func noTime(ctx context.Context) bool {
	deadline, ok := ctx.Deadline()
	return ctx.Err() != nil || ok && time.Until(deadline) < leastShare/2
}

// isValid reports whether a record is of another outer network, or the runtime lists it.
func (g *collection) isValid(key journal.Key) bool {
	return key.Network != g.Config.Name || g.isListed(key)
}

func (g *collection) isListed(key journal.Key) bool {
	return key.Network == g.Config.Name && g.valid[types.GCAttachment{ContainerID: key.ContainerID, IfName: key.IfName}]
}

// oldestFirst puts those first that were touched longest ago: what failed comes last the
// next time.
func (g *collection) oldestFirst(keys []journal.Key) []journal.Key {
	touched := make(map[journal.Key]time.Time, len(keys))
	for _, key := range keys {
		touched[key], _ = g.Journal().Touched(key)
	}
	slices.SortStableFunc(keys, func(a, b journal.Key) int { return byTouch(touched[a], touched[b]) })
	return keys
}

func (g *collection) releaseOne(ctx context.Context, key journal.Key) error {
	lock, free, err := g.Journal().TryLockOverOrphans(key.ContainerID, lockPatience)
	if journal.CannotWrite(err) {
		lock, err = g.lockFolder(ctx, key.ContainerID, err)
		free = err == nil
	}
	if err != nil || !free {
		return err // another call is at it
	}
	defer lock.Release()
	record, err := g.Journal().Read(key)
	switch {
	case errors.Is(err, fs.ErrNotExist):
		return nil
	case errors.Is(err, types.ErrDamagedRecord):
		sandbox := types.Sandbox{ContainerID: key.ContainerID, IfName: key.IfName}
		return g.releaseDamaged(ctx, &unrecorded{lock: lock, key: key, sandbox: sandbox}, err)
	case err != nil:
		return err
	}
	g.remember(record, false)
	return g.newSession(lock, record).release(ctx, "GC", aliveNetNS(record, g.BootID))
}

// remember notes the networks of a record, and if it lives its attachments.
func (g *collection) remember(record *types.Record, lives bool) {
	for i := range record.Plan.Attachments {
		a := &record.Plan.Attachments[i]
		if err := g.addNetwork([]byte(a.Config)); err != nil {
			g.Log.Warn("a network gets no garbage collection", "network", a.Network, "error", err)
		}
		if lives {
			g.keep(a.Name, record.Plan.Sandbox.ContainerID, a.Interface)
		}
	}
}

// addNetwork notes a network. Two of one name are two if their plugins or these plugins'
// keys differ; what is of one pod alone makes no difference, and no GC sees it.
func (g *collection) addNetwork(config []byte) error {
	shared, id, err := ofAllPods(config)
	if err != nil || g.networks[id] != nil {
		return err
	}
	list, err := libcni.NetworkConfFromBytes(shared)
	if err == nil {
		g.networks[id] = list
	}
	return err
}

// keep notes an attachment that lives.
func (g *collection) keep(network, containerID, ifName string) {
	if g.living[network] == nil {
		g.living[network] = map[cnitypes.GCAttachment]bool{}
	}
	g.living[network][cnitypes.GCAttachment{ContainerID: containerID, IfName: ifName}] = true
}

// collectDelegates runs the GC of every network that is known. As long as a record
// cannot be read, or what Multus left, it is not known what is in use, and none runs.
func (g *collection) collectDelegates(ctx context.Context) error {
	recorded, err := g.addRecords()
	if err := types.Join(err, g.addMultus(), g.addCached()); err != nil {
		g.Log.Warn("no garbage collection of the delegates' networks this time", "error", err)
		return nil
	}
	if err := g.addDefault(ctx); err != nil {
		return fmt.Errorf("default network: %w", err)
	}
	g.addBare(recorded)
	var faults []error
	ids := g.anyOrder()
	for n, id := range ids {
		if noTime(ctx) {
			faults = append(faults, types.Errorf(types.CodeTryAgainLater, "there was no time for the GC of %d of %d networks", len(ids)-n, len(ids)))
			break
		}
		if err := g.collectNetwork(ctx, g.networks[id], len(ids)-n); err != nil {
			faults = append(faults, fmt.Errorf("network %s: %w", g.networks[id].Name, err))
		}
	}
	return types.Join(faults...)
}

// anyOrder gives the networks, beginning anywhere: where the time does not suffice for all,
// it must not always be the same that get none.
func (g *collection) anyOrder() []string {
	ids := slices.Sorted(maps.Keys(g.networks))
	if len(ids) == 0 {
		return ids
	}
	first := rand.IntN(len(ids))
	return slices.Concat(ids[first:], ids[:first])
}

func (g *collection) collectNetwork(ctx context.Context, list *libcni.NetworkConfigList, toCome int) error {
	ctx, cancel := fairShare(ctx, toCome)
	defer cancel()
	valid := slices.AppendSeq([]cnitypes.GCAttachment{}, maps.Keys(g.living[list.Name])) // never null
	slices.SortFunc(valid, func(a, b cnitypes.GCAttachment) int {
		return cmp.Or(cmp.Compare(a.ContainerID, b.ContainerID), cmp.Compare(a.IfName, b.IfName))
	})
	return g.cni(nil, "gc", g.Config.CNIDir).GCNetworkList(ctx, list, &libcni.GCArgs{ValidAttachments: valid})
}

// addRecords notes the attachments of the records that are left, and gives which those of
// this outer network are. One whose namespace is gone and that the runtime does not list
// uses nothing any more.
func (g *collection) addRecords() (recorded map[types.GCAttachment]bool, err error) {
	keys, err := g.Journal().List()
	if err != nil {
		return nil, err
	}
	recorded = map[types.GCAttachment]bool{}
	for _, key := range keys {
		record, err := g.Journal().Read(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return nil, err
		}
		g.remember(record, g.isListed(key) || !isGone(record, g.BootID))
		if key.Network == g.Config.Name {
			recorded[types.GCAttachment{ContainerID: key.ContainerID, IfName: key.IfName}] = true
		}
	}
	return recorded, nil
}

// addCached notes what libcni's caches, ours and that of Multus, know to be in a
// namespace that lives: sandboxes of another outer network, of Multus before it.
func (g *collection) addCached() error {
	for _, dir := range g.stateDirs() {
		attachments, err := g.cni(nil, "gc", dir).GetCachedAttachments("")
		if err != nil {
			return fmt.Errorf("libcni's cache in %s: %w", dir, err)
		}
		for _, a := range attachments {
			if host.NetNSMayLive(a.NetNS, host.NetNSID{}, 0) {
				g.keep(a.Network, a.ContainerID, a.IfName)
			}
		}
	}
	return nil
}

// addMultus notes the attachments of sandboxes that Multus attached and that live on
// after the node has changed over.
func (g *collection) addMultus() error {
	for _, dir := range g.stateDirs() {
		entries, err := os.ReadDir(dir)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		for _, entry := range entries {
			if !entry.Type().IsRegular() {
				continue
			}
			if err := g.addMultusFile(dir, entry.Name()); err != nil {
				return err
			}
		}
	}
	return nil
}

func (g *collection) addMultusFile(dir, containerID string) error {
	interfaces := g.interfacesOf(containerID)
	if len(interfaces) == 0 {
		return nil // not in use, or not a sandbox's file: what it says, if it can be read, does not matter
	}
	delegates, err := readMultus(filepath.Join(dir, containerID))
	if err != nil {
		return err
	}
	for i := range delegates {
		conf, err := delegates[i].conf(g.Config.CNIVersion)
		if err != nil {
			return err
		}
		for ifName := range interfaces {
			g.keep(conf.Name, containerID, delegates[i].ifName(i, ifName))
		}
	}
	return nil
}

// interfacesOf gives the runtime's names for the first interface of a container.
func (g *collection) interfacesOf(containerID string) map[string]bool {
	names := map[string]bool{}
	for a := range g.valid {
		if a.ContainerID == containerID {
			names[a.IfName] = true
		}
	}
	return names
}

// addDefault notes the default network of the present configuration.
func (g *collection) addDefault(ctx context.Context) error {
	conf, err := g.localDefault(ctx)
	if err != nil || conf == nil {
		return err
	}
	config, err := conf.Bytes()
	if err != nil {
		return err
	}
	return g.addNetwork(config)
}

// addBare notes, for every network, what the runtime lists and no record knows: pods
// older than Plexus, attached by whatever was the default network then.
func (g *collection) addBare(recorded map[types.GCAttachment]bool) {
	for a := range g.valid {
		if recorded[a] {
			continue
		}
		for _, list := range g.networks {
			g.keep(list.Name, a.ContainerID, a.IfName)
		}
	}
}
