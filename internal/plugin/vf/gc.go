package vf

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"slices"

	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// GC gives back the VFs of this network's attachments that are not valid any more.
func (e *Engine) GC(ctx context.Context, conf *Config) error {
	ctx, cancel := context.WithTimeout(ctx, delTimeout)
	defer cancel()
	if !conf.HasValidAttachments {
		return types.WithCode(types.CodeInvalidConfig, &types.FieldError{Field: validKey, Problem: "is missing: nothing is freed"})
	}
	keys, err := e.Store.List()
	if err != nil {
		return types.WithCode(types.CodeIOFailure, err)
	}
	var faults []error
	for _, key := range keys {
		valid := types.GCAttachment{ContainerID: key.ContainerID, IfName: key.IfName}
		if slices.Contains(conf.ValidAttachments, valid) {
			continue
		}
		if err := e.collect(ctx, key, conf.Name); err != nil {
			faults = append(faults, fmt.Errorf("release %s: %w", key, err))
		}
	}
	return types.Join(append(faults, e.ipamOfNetwork(conf).GC(ctx))...)
}

// collect releases a state, if it is one of the network.
func (e *Engine) collect(ctx context.Context, key Key, network string) error {
	claim, err := e.Store.Claim(ctx, key.Device)
	if err != nil {
		return err
	}
	defer claim.Release()
	state, err := e.Store.Read(key)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil || state.Network != network {
		return err
	}
	return e.release(ctx, claim, state)
}

// Status reports whether an ADD could succeed now: states can be kept, the PF or the device
// that the configuration names is there, and the IPAM plugin is ready.
func (e *Engine) Status(ctx context.Context, conf *Config) error {
	faults := []error{e.Store.Writable()}
	if conf.DeviceID != "" {
		_, err := e.virtualFunction(conf.DeviceID)
		faults = append(faults, err)
	}
	if conf.Master != "" {
		faults = append(faults, e.hasVFs(conf.Master))
	}
	if err := types.Join(faults...); err != nil {
		return types.WithCode(types.CodeNotAvailable, err)
	}
	return e.ipamOfNetwork(conf).Status(ctx)
}

func (e *Engine) hasVFs(netdev string) error {
	err := fmt.Errorf("master: interface %s: %w", netdev, sriov.ErrNoDevice)
	if exists, findErr := e.Links.Exists("", netdev); findErr != nil || !exists {
		return types.Join(err, findErr)
	}
	if _, err := e.PF.Read(netdev, 0); err != nil {
		return fmt.Errorf("master: %w", err)
	}
	return nil
}
