package delegate

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"github.com/containernetworking/cni/libcni"

	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/types"
)

// releaseWithoutRecord releases a sandbox of which there is no record.
func (e *Engine) releaseWithoutRecord(ctx context.Context, u *unrecorded) error {
	if found, err := e.releaseMultus(ctx, u); found || err != nil {
		return err
	}
	known, err := e.releaseCached(ctx, u)
	if !known[u.key.IfName] {
		// An ADD may have been killed before libcni knew of its first attachment.
		err = types.Join(err, e.releaseDefault(ctx, u))
	}
	e.warnOfRest(u, known)
	return err
}

// warnOfRest says of a sandbox that was attached, and has no record, what could not be known
// of it. A second DEL, which is no news, finds nothing.
func (e *Engine) warnOfRest(u *unrecorded, known map[string]bool) {
	left := ownInterfaces(u.sandbox.NetNS)
	if u.damaged || len(known)+len(left) == 0 { // what is damaged is said already
		return
	}
	e.Log.Warn("a sandbox without a record was released from libcni's caches and by the default network; networks that no cache knows, and their addresses and devices, stay taken",
		"sandbox", u.key.ContainerID, "knownInterfaces", slices.Sorted(maps.Keys(known)), "interfacesLeft", left, "folders", e.stateDirs())
}

// releaseCached releases what libcni's cache knows of the sandbox, and gives the
// interfaces it knew.
func (e *Engine) releaseCached(ctx context.Context, u *unrecorded) (map[string]bool, error) {
	known := map[string]bool{}
	var faults []error
	for _, dir := range e.stateDirs() {
		cni := e.cni(u.lock, u.key.ContainerID, dir)
		attachments, err := cni.GetCachedAttachments(u.key.ContainerID)
		if err != nil {
			faults = append(faults, fmt.Errorf("libcni's cache in %s: %w", dir, err))
			continue
		}
		attachments = e.onlyOf(attachments, u)
		for n, a := range attachments {
			known[a.IfName] = true
			share, cancel := fairShare(ctx, len(attachments)-n+1) // and one for what comes after
			err := delCached(share, cni, a, u.sandbox.NetNS)
			cancel()
			if err != nil {
				faults = append(faults, fmt.Errorf("detach network %s from %s: %w", a.Network, a.IfName, err))
			}
		}
	}
	return known, types.Join(faults...)
}

// stateDirs are the folders that may hold the state of a sandbox: ours, Multus's.
func (e *Engine) stateDirs() []string {
	dirs := []string{filepath.Clean(e.Config.CNIDir)}
	for _, dir := range e.MultusDirs {
		if dir = filepath.Clean(dir); !slices.Contains(dirs, dir) {
			dirs = append(dirs, dir)
		}
	}
	return dirs
}

// onlyOf leaves out what belongs to another record of the container, and Plexus
// itself, which a runtime with the same folder has cached. The runtime's own
// interface comes last, as DEL undoes ADD.
func (e *Engine) onlyOf(attachments []*libcni.NetworkAttachment, u *unrecorded) []*libcni.NetworkAttachment {
	others := e.interfacesOfOthers(u.key)
	kept := slices.DeleteFunc(attachments, func(a *libcni.NetworkAttachment) bool {
		return others[a.IfName] || e.runsPlexus(a.Config)
	})
	slices.SortStableFunc(kept, func(a, b *libcni.NetworkAttachment) int {
		return rank(a.IfName == u.key.IfName) - rank(b.IfName == u.key.IfName)
	})
	return kept
}

func rank(last bool) int {
	if last {
		return 1
	}
	return 0
}

// interfacesOfOthers gives the interfaces of the container's other records, also those that a
// plugin made without being asked for them.
func (e *Engine) interfacesOfOthers(key journal.Key) map[string]bool {
	interfaces := map[string]bool{}
	keys, err := e.Journal().OfContainer(key.ContainerID)
	if err != nil {
		return interfaces
	}
	for _, other := range keys {
		record, err := e.Journal().Read(other)
		if err != nil || other == key {
			continue
		}
		for i := range record.Plan.Attachments {
			interfaces[record.Plan.Attachments[i].Interface] = true
		}
		for i := range record.Status {
			interfaces[record.Status[i].Interface] = true
		}
	}
	return interfaces
}

// takenByOthers reports whether the container's other records have an interface of a name, as
// podman makes them: one ADD for each of its networks. It reads them at the first question.
func (e *Engine) takenByOthers(key journal.Key) func(ifName string) bool {
	taken := sync.OnceValue(func() map[string]bool { return e.interfacesOfOthers(key) })
	return func(ifName string) bool { return taken()[ifName] }
}

func (e *Engine) runsPlexus(config []byte) bool {
	conf, err := types.ParseNetConf(config, "")
	if err != nil {
		return false
	}
	return slices.ContainsFunc(conf.Plugins, func(p types.PluginConf) bool { return e.node().IsPlexus(p.Type) })
}

func delCached(ctx context.Context, cni *libcni.CNIConfig, a *libcni.NetworkAttachment, netns string) error {
	conf, err := types.ParseNetConf(a.Config, a.Network)
	if err != nil {
		return err
	}
	list, err := toList(conf)
	if err != nil {
		return err
	}
	return describe(cni.DelNetworkList(ctx, list, &libcni.RuntimeConf{
		ContainerID:    a.ContainerID,
		NetNS:          netns,
		IfName:         a.IfName,
		Args:           a.CniArgs,
		CapabilityArgs: a.CapabilityArgs,
	}))
}

func toList(conf *types.NetConf) (*libcni.NetworkConfigList, error) {
	data, err := conf.Bytes()
	if err != nil {
		return nil, err
	}
	return libcni.NetworkConfFromBytes(data)
}

// releaseDefault runs the DEL of the present default network: the pod may be older
// than Plexus on this node, attached by the default network alone.
func (e *Engine) releaseDefault(ctx context.Context, u *unrecorded) error {
	conf, err := e.localDefault(ctx)
	if err == nil && conf == nil {
		e.warnUnasked(u, errors.New("the API server alone has its definition"))
		return nil
	}
	var list *libcni.NetworkConfigList
	if err == nil {
		list, err = toList(conf)
	}
	if err != nil {
		return e.cannotAsk(u, err)
	}
	rt := runtimeConf(&types.Attachment{Interface: u.key.IfName, CapabilityArgs: e.Config.RuntimeConfig}, &u.sandbox, u.sandbox.NetNS)
	cni, cached := e.cacheOf(u, list, rt)
	if missing := e.planner().CheckExecutables(conf); missing != nil && !cached {
		return e.cannotAsk(u, missing)
	}
	if err := describe(cni.DelNetworkList(ctx, list, rt)); err != nil {
		return fmt.Errorf("detach default network %s from %s: %w", list.Name, rt.IfName, err)
	}
	return nil
}

// cannotAsk is an error for a sandbox that was attached, as its damaged record says. Of
// another nothing says so, since a second DEL comes here too: there it is a warning.
func (e *Engine) cannotAsk(u *unrecorded, err error) error {
	if u.damaged {
		return fmt.Errorf("default network: %w", err)
	}
	e.warnUnasked(u, err)
	return nil
}

func (e *Engine) warnUnasked(u *unrecorded, err error) {
	e.Log.Warn("nothing is known of the sandbox, and the default network cannot be asked", "sandbox", u.key.ContainerID, "error", err)
}

// cacheOf gives the libcni whose cache has the attachment, and whether it has: the
// runtime's own, if it was the runtime that attached the bare network, else ours.
func (e *Engine) cacheOf(u *unrecorded, list *libcni.NetworkConfigList, rt *libcni.RuntimeConf) (cni *libcni.CNIConfig, cached bool) {
	if e.RuntimeCacheDir != "" {
		cni := e.cni(u.lock, u.key.ContainerID, e.RuntimeCacheDir)
		if config, cached, err := cni.GetNetworkListCachedConfig(list, rt); err == nil && config != nil {
			rt.CapabilityArgs = cached.CapabilityArgs
			return cni, true
		}
	}
	return e.cni(u.lock, u.key.ContainerID, e.Config.CNIDir), false
}

// localDefault gives the default network's configuration without asking the API: from
// the configuration itself, a file, or the record of another pod. It is nil if only
// the API knows it.
func (e *Engine) localDefault(ctx context.Context) (*types.NetConf, error) {
	conf, err := e.configuredDefault()
	if err != nil || conf == nil {
		return conf, err
	}
	return conf, e.planner().SettleVersion(ctx, conf)
}

func (e *Engine) configuredDefault() (*types.NetConf, error) {
	cluster := e.Config.ClusterNetwork
	switch {
	case cluster == "":
		return types.ParseNetConf(e.Config.Delegates[0], e.Config.Name)
	case !strings.Contains(cluster, "/"):
		// The definition of that name, if there is one, goes before a file, as when planning.
		if conf := e.defaultOfRecords(cluster); conf != nil {
			return conf, nil
		}
	}
	return e.planner().FromFiles(cluster)
}

// enoughRecords is how many records are read in search of one of a kind that nearly all are of.
const enoughRecords = 64

// defaultOfRecords finds the default network in the record of another pod. It reads a few
// of them, for nearly every pod has it.
func (e *Engine) defaultOfRecords(name string) *types.NetConf {
	listing, _ := e.Journal().Scan()
	label := types.Ref{Namespace: e.Config.MultusNamespace, Name: name}.String()
	for _, key := range sample(listing.Records, enoughRecords) {
		record, err := e.Journal().Read(key)
		// One with a device has another pod's device in its configuration.
		if err != nil || record.Plan.Attachments[0].Network != label || record.Plan.Attachments[0].DeviceID != "" {
			continue
		}
		if conf, err := types.ParseNetConf(json.RawMessage(record.Plan.Attachments[0].Config), name); err == nil {
			return conf
		}
	}
	return nil
}
