package vf

import (
	"context"
	"fmt"
	"path/filepath"
	"strings"

	"github.com/containernetworking/cni/pkg/invoke"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	current "github.com/containernetworking/cni/pkg/types/100"
	"github.com/containernetworking/cni/pkg/version"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/types"
)

// ipamAdd asks the network's IPAM plugin for addresses. Without one there are none.
func (e *Engine) ipamAdd(ctx context.Context, s *State) (*current.Result, error) {
	if s.IPAM == "" {
		return &current.Result{CNIVersion: current.ImplementedSpecVersion}, nil
	}
	path, err := e.findIPAM(s.IPAM)
	if err != nil {
		return nil, err
	}
	answer, err := invoke.ExecPluginWithResult(ctx, path, s.Config, s.ipamArgs("ADD", e.Path), e.exec())
	if err != nil {
		return nil, ipamError(s.IPAM, "ADD", err)
	}
	result, err := current.NewResultFromResult(answer)
	if err == nil && len(result.IPs) == 0 {
		err = fmt.Errorf("it gave no address")
	}
	if err != nil {
		return nil, ipamError(s.IPAM, "ADD", err)
	}
	return result, nil
}

// ipamDel frees the addresses.
func (e *Engine) ipamDel(ctx context.Context, s *State) error {
	if s.IPAM == "" {
		return nil
	}
	host.KillPoint()
	path, err := e.findIPAM(s.IPAM)
	if err != nil {
		return err
	}
	return ipamError(s.IPAM, "DEL", invoke.ExecPluginWithoutResult(ctx, path, s.Config, s.ipamArgs("DEL", e.Path), e.exec()))
}

func (e *Engine) ipamCheck(ctx context.Context, s *State, conf *Config) error {
	if s.IPAM == "" {
		return nil
	}
	path, err := e.findIPAM(s.IPAM)
	if err != nil {
		return err
	}
	return ipamError(s.IPAM, "CHECK", invoke.ExecPluginWithoutResult(ctx, path, conf.raw, s.ipamArgs("CHECK", e.Path), e.exec()))
}

// ipamGC and ipamStatus pass on what concerns no attachment in particular.
func (e *Engine) ipamGC(ctx context.Context, conf *Config) error {
	return e.ipamPass(ctx, conf, "GC")
}

func (e *Engine) ipamStatus(ctx context.Context, conf *Config) error {
	return e.ipamPass(ctx, conf, "STATUS")
}

func (e *Engine) ipamPass(ctx context.Context, conf *Config, command string) error {
	if conf.IPAM == "" {
		return nil
	}
	path, err := e.findIPAM(conf.IPAM)
	if err != nil {
		return err
	}
	return ipamError(conf.IPAM, command, invoke.ExecPluginWithoutResult(ctx, path, conf.raw, (&State{}).ipamArgs(command, e.Path), e.exec()))
}

func (e *Engine) findIPAM(plugin string) (string, error) {
	path, err := e.exec().FindInPath(plugin, e.Path)
	if err != nil {
		return "", types.Errorf(types.CodeInvalidConfig, "ipam.type: %w", err)
	}
	return path, nil
}

// exec gives what runs plugins.
func (e *Engine) exec() invoke.Exec {
	if e.Exec != nil {
		return e.Exec
	}
	return &invoke.DefaultExec{RawExec: &invoke.RawExec{}, PluginDecoder: version.PluginDecoder{}}
}

func (s *State) ipamArgs(command string, path []string) *invoke.Args {
	return &invoke.Args{
		Command: command, ContainerID: s.ContainerID, NetNS: s.NetNS, IfName: s.IfName, PluginArgsStr: s.CNIArgs,
		Path: joinPath(path),
	}
}

// ipamError names the plugin, and keeps the code that it gave.
func ipamError(plugin, command string, err error) error {
	if err == nil {
		return nil
	}
	wrapped := fmt.Errorf("IPAM plugin %s (%s): %w", plugin, command, err)
	if said, ok := err.(*cnitypes.Error); ok && said.Code != 0 { //nolint:errorlint // libcni gives it bare
		return types.WithCode(said.Code, wrapped)
	}
	return wrapped
}

func joinPath(path []string) string { return strings.Join(path, string(filepath.ListSeparator)) }
