package delegate

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	"github.com/containernetworking/cni/libcni"
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
		list, err := listOf(a)
		if err != nil {
			return err
		}
		if !knowsCheck(list) {
			continue
		}
		s.restoreCache(i)
		if err := describe(s.libcni.CheckNetworkList(ctx, list, runtimeConf(a, &s.record.Plan.Sandbox, netns))); err != nil {
			faults = append(faults, fmt.Errorf("check network %s on %s: %w", a.Network, a.Interface, err))
		}
	}
	return types.Join(faults...)
}

func knowsCheck(list *libcni.NetworkConfigList) bool {
	known, err := version.GreaterThanOrEqualTo(list.CNIVersion, "0.4.0")
	return err == nil && known && !list.DisableCheck
}
