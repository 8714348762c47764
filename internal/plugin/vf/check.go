package vf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"

	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/types/create"

	"github.com/plexus-cni/plexus/types"
)

// Check reports what is not as the ADD left it.
func (e *Engine) Check(ctx context.Context, call Call, conf *Config) error {
	ctx, cancel := context.WithTimeout(ctx, addTimeout)
	defer cancel()
	if err := conf.checkForAdd(); err != nil {
		return types.WithCode(types.CodeInvalidConfig, err)
	}
	result, err := conf.prevResult()
	if err != nil {
		return types.WithCode(types.CodeInvalidConfig, err)
	}
	key := Key{Device: conf.DeviceID, ContainerID: call.ContainerID, IfName: call.IfName}
	s, err := e.Store.Read(key)
	if errors.Is(err, fs.ErrNotExist) {
		return types.Errorf(types.CodeUnknownContainer, "%s: is not attached: %w", key, err)
	}
	if err != nil {
		return err
	}
	if !s.Attached || !e.lives(s) {
		return types.Errorf(types.CodeUnknownContainer, "%s: its ADD was cut short, or its network namespace %s is gone", s.Key, s.NetNS)
	}
	faults := e.checkSettings(s, conf)
	faults = append(faults, e.checkLink(s, result)...)
	if err := types.Join(faults...); err != nil {
		return fmt.Errorf("%s: %w", s.whereabouts(), err)
	}
	manager := e.ipamOf(s)
	manager.Config = conf.raw // with prevResult
	return manager.Check(ctx)
}

// prevResult gives the result of the ADD in the newest form.
func (c *Config) prevResult() (*current.Result, error) {
	if len(c.PrevResult) == 0 {
		return nil, &types.FieldError{Field: "prevResult", Problem: "is missing"}
	}
	parsed, err := create.Create(c.CNIVersion, c.PrevResult)
	if err != nil {
		return nil, &types.FieldError{Field: "prevResult", Problem: err.Error()}
	}
	return current.NewResultFromResult(parsed)
}

func (e *Engine) checkSettings(s *State, conf *Config) []error {
	device, err := e.virtualFunction(s.Device)
	if err != nil {
		return []error{err}
	}
	if !conf.Want.Any() {
		return nil
	}
	now, err := e.PF.Read(device.PF.Netdev, *device.Index)
	if err != nil {
		return []error{err}
	}
	return differences(&conf.Want, now)
}

func (e *Engine) checkLink(s *State, result *current.Result) []error {
	if s.Link == nil {
		return nil
	}
	link, err := e.Links.Find(s.NetNS, s.Device)
	if err != nil {
		return []error{err}
	}
	if link == nil {
		return []error{fmt.Errorf("its interface is not in %s", s.NetNS)}
	}
	var faults []error
	if link.Name != s.IfName {
		faults = append(faults, fmt.Errorf("interface: is named %s, not %s", link.Name, s.IfName))
	}
	if !link.Up {
		faults = append(faults, fmt.Errorf("interface %s: is down", link.Name))
	}
	if iface := named(result, s.IfName); iface == nil {
		faults = append(faults, &types.FieldError{Field: "prevResult", Problem: "has no interface " + s.IfName})
	} else {
		if iface.Mac != "" && !sameMAC(iface.Mac, link.MAC) {
			faults = append(faults, fmt.Errorf("interface %s: mac: is %s, not %s", link.Name, link.MAC, iface.Mac))
		}
		if iface.Mtu != 0 && iface.Mtu != link.MTU {
			faults = append(faults, fmt.Errorf("interface %s: mtu: is %d, not %d", link.Name, link.MTU, iface.Mtu))
		}
	}
	return append(faults, e.Links.Verify(s.NetNS, link, result))
}

func named(result *current.Result, ifName string) *current.Interface {
	for _, iface := range result.Interfaces {
		if iface != nil && iface.Name == ifName && iface.Sandbox != "" {
			return iface
		}
	}
	return nil
}
