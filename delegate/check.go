package delegate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/containernetworking/cni/libcni"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/plexus-cni/plexus/types"
)

// Check runs CHECK on every attachment of a sandbox whose list knows the verb.
func (e *Engine) Check(ctx context.Context, call *Call) error {
	ctx, cancel := context.WithTimeout(ctx, checkTimeout)
	defer cancel()
	e.meter = newMeter()
	err := nameSignal(ctx, e.check(ctx, call))
	e.publishReport(ctx, "CHECK", call, err)
	if err != nil {
		return fmt.Errorf("pod %s: %w", &call.Pod, err)
	}
	return nil
}

func (e *Engine) check(ctx context.Context, call *Call) error {
	strict, err := version.GreaterThanOrEqualTo(e.Config.CNIVersion, "1.1.0")
	if err != nil {
		return err
	}
	if strict && e.Config.PrevResult == nil {
		return types.Errorf(types.CodeInvalidConfig, "prevResult: is missing, and CNI 1.1.0 demands it for CHECK")
	}
	lock, err := e.lockOnAnyDisk(ctx, call.Sandbox.ContainerID)
	if err != nil {
		return err
	}
	defer lock.Release()
	record, err := e.Journal().Read(e.key(&call.Sandbox))
	if errors.Is(err, fs.ErrNotExist) {
		return types.Errorf(types.CodeUnknownContainer, "container %s: is not attached by plexus on interface %s",
			call.Sandbox.ContainerID, call.Sandbox.IfName)
	}
	if err != nil {
		return err
	}
	if !record.Complete {
		return fmt.Errorf("container %s: its ADD did not come to its end; DEL will release what was done", call.Sandbox.ContainerID)
	}
	return e.newSession(lock, record).check(ctx, call.Sandbox.NetNS)
}

func (s *session) check(ctx context.Context, netns string) error {
	faults := []error{s.checkPrevious()}
	for i := range s.record.Plan.Attachments {
		a := &s.record.Plan.Attachments[i]
		list, err := s.list(i)
		if err != nil {
			return err
		}
		if !knowsCheck(list) {
			continue
		}
		s.restoreCache(i)
		if err := s.checkAttachment(ctx, i, list, netns); err != nil {
			faults = append(faults, fmt.Errorf("check network %s on %s: %w", a.Network, a.Interface, err))
		}
	}
	return types.Join(faults...)
}

func (s *session) checkAttachment(ctx context.Context, i int, list *libcni.NetworkConfigList, netns string) error {
	a := &s.record.Plan.Attachments[i]
	rt := runtimeConf(a, &s.record.Plan.Sandbox, netns)
	if s.hasInterface(i) {
		return s.checkList(ctx, list, rt)
	}
	var faults []error
	for _, plugin := range list.Plugins {
		alone := *list
		alone.Plugins = []*libcni.PluginConfig{plugin}
		err := describe(s.libcni.CheckNetworkList(ctx, &alone, rt))
		if err != nil {
			err = s.checkOnFirst(ctx, &alone, *rt, err)
		}
		faults = append(faults, err)
	}
	return types.Join(faults...)
}

// hasInterface reports whether an attachment had an interface of its own when its ADD ended, by
// its result or in the namespace. The default network works on the pod's first, whoever made it.
func (s *session) hasInterface(i int) bool {
	a := &s.record.Plan.Attachments[i]
	if a.Default || slices.ContainsFunc(s.record.Status, func(entry types.NetworkStatus) bool { return entry.Interface == a.Interface }) {
		return true
	}
	result, _, err := parseResult(s.record.Progress[i].Result)
	return err != nil || len(result.IPs) > 0 || slices.ContainsFunc(result.Interfaces, func(iface *current.Interface) bool {
		return iface != nil && s.isHere(iface.Sandbox)
	})
}

// checkOnFirst checks a plugin of a chain without an interface once more, after it failed with
// what its ADD had: tuning looks for CNI_IFNAME, which nobody made, and bandwidth for an
// interface in prevResult. What they work on is the pod's first interface.
func (s *session) checkOnFirst(ctx context.Context, alone *libcni.NetworkConfigList, rt libcni.RuntimeConf, failure error) error {
	first, _, err := parseResult(s.record.Progress[0].Result)
	if err != nil {
		return failure
	}
	encoded, err := encodeResult(first, alone.CNIVersion)
	if err != nil {
		return failure
	}
	plugin, err := libcni.InjectConf(alone.Plugins[0], map[string]any{"prevResult": encoded})
	if err != nil {
		return failure
	}
	alone.Plugins[0] = plugin
	rt.IfName = s.record.Plan.Attachments[0].Interface
	if err := describe(s.libcni.CheckNetworkList(ctx, alone, &rt)); err != nil {
		return types.Join(failure, fmt.Errorf("on %s: %w", rt.IfName, err))
	}
	return nil
}

func knowsCheck(list *libcni.NetworkConfigList) bool {
	known, err := version.GreaterThanOrEqualTo(list.CNIVersion, "0.4.0")
	return err == nil && known && !list.DisableCheck
}
