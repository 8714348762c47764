package delegate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"sort"

	"github.com/containernetworking/cni/libcni"
	cnitypes "github.com/containernetworking/cni/pkg/types"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// GC releases every sandbox of this outer network that the runtime does not list as
// valid, and then lets each delegate's network free what no living attachment uses.
// Without the runtime's list it is an error and frees nothing.
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
	g := &collection{Engine: e, valid: map[types.GCAttachment]bool{}, networks: map[string]*libcni.NetworkConfigList{}, living: map[string][]cnitypes.GCAttachment{}}
	for _, a := range e.Config.ValidAttachments {
		g.valid[a] = true
	}
	err := types.Join(g.releaseInvalid(ctx), g.collectDelegates(ctx))
	e.publishReport(ctx, "GC", &Call{}, err)
	e.unmeasured().releaseDead(ctx)
	return err
}

// collection is one GC under way.
type collection struct {
	*Engine
	valid    map[types.GCAttachment]bool
	networks map[string]*libcni.NetworkConfigList // by CNI name
	living   map[string][]cnitypes.GCAttachment   // by CNI name
}

// releaseInvalid releases the records of this outer network that the runtime does
// not know any more.
func (g *collection) releaseInvalid(ctx context.Context) error {
	keys, err := g.Journal().List()
	faults := []error{err}
	invalid := slices.DeleteFunc(keys, func(key journal.Key) bool {
		return key.Network != g.Config.Name || g.valid[types.GCAttachment{ContainerID: key.ContainerID, IfName: key.IfName}]
	})
	for n, key := range invalid {
		share, cancel := fairShare(ctx, len(invalid)-n+1) // and one share for the delegates' own
		if err := g.releaseOne(share, key); err != nil {
			faults = append(faults, fmt.Errorf("container %s: %w", key.ContainerID, err))
		}
		cancel()
	}
	return types.Join(faults...)
}

func (g *collection) releaseOne(ctx context.Context, key journal.Key) error {
	lock, free, err := g.Journal().TryLock(key.ContainerID)
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
		if list, err := listOf(a); err == nil {
			g.networks[a.Name] = list
		}
		if lives {
			g.keep(a.Name, record.Plan.Sandbox.ContainerID, a.Interface)
		}
	}
}

func (g *collection) keep(network, containerID, ifName string) {
	if a := (cnitypes.GCAttachment{ContainerID: containerID, IfName: ifName}); !slices.Contains(g.living[network], a) {
		g.living[network] = append(g.living[network], a)
	}
}

// collectDelegates runs the GC of every network that is known. As long as a record
// cannot be read, or what Multus left, it is not known what is in use, and none runs.
func (g *collection) collectDelegates(ctx context.Context) error {
	if err := types.Join(g.addRecords(), g.addMultus(), g.addCached()); err != nil {
		g.Log.Warn("no garbage collection of the delegates' networks this time", "error", err)
		return nil
	}
	if err := g.addDefault(); err != nil {
		return fmt.Errorf("default network: %w", err)
	}
	if err := g.addBare(); err != nil {
		return err
	}
	names := make([]string, 0, len(g.networks))
	for name := range g.networks {
		names = append(names, name)
	}
	sort.Strings(names)
	var faults []error
	for n, name := range names {
		share, cancel := fairShare(ctx, len(names)-n)
		args := &libcni.GCArgs{ValidAttachments: append([]cnitypes.GCAttachment{}, g.living[name]...)} // never null
		if err := g.cni(nil, "gc", g.Config.CNIDir).GCNetworkList(share, g.networks[name], args); err != nil {
			faults = append(faults, fmt.Errorf("network %s: %w", name, err))
		}
		cancel()
	}
	return types.Join(faults...)
}

// addRecords notes the attachments of the records that are left. One whose namespace is gone
// and that the runtime does not list uses nothing any more.
func (g *collection) addRecords() error {
	keys, err := g.Journal().List()
	if err != nil {
		return err
	}
	for _, key := range keys {
		record, err := g.Journal().Read(key)
		if errors.Is(err, fs.ErrNotExist) {
			continue
		}
		if err != nil {
			return err
		}
		listed := key.Network == g.Config.Name && g.valid[types.GCAttachment{ContainerID: key.ContainerID, IfName: key.IfName}]
		g.remember(record, listed || aliveNetNS(record, g.BootID) != "")
	}
	return nil
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
			if host.NetNSLives(a.NetNS, 0) {
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
func (g *collection) addDefault() error {
	conf, err := g.localDefault()
	if err != nil || conf == nil {
		return err
	}
	list, err := toList(conf)
	if err != nil {
		return err
	}
	g.networks[list.Name] = list
	return nil
}

// addBare notes, for every network, what the runtime lists and no record knows: pods
// older than Plexus, attached by whatever was the default network then.
func (g *collection) addBare() error {
	keys, err := g.Journal().List()
	if err != nil {
		return err
	}
	recorded := map[types.GCAttachment]bool{}
	for _, key := range keys {
		if key.Network == g.Config.Name {
			recorded[types.GCAttachment{ContainerID: key.ContainerID, IfName: key.IfName}] = true
		}
	}
	for a := range g.valid {
		for name := range g.networks {
			if !recorded[a] {
				g.keep(name, a.ContainerID, a.IfName)
			}
		}
	}
	return nil
}
