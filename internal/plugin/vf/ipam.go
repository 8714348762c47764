package vf

import (
	"github.com/containernetworking/cni/pkg/invoke"

	"github.com/plexus-cni/plexus/internal/plugin/ipam"
)

// ipamOf gives the IPAM plugin of an attachment, with the configuration of its ADD.
func (e *Engine) ipamOf(s *State) *ipam.Plugin {
	return &ipam.Plugin{
		Name: s.IPAM, Path: e.Path, Config: s.Config, Exec: e.Exec,
		Args: invoke.Args{ContainerID: s.ContainerID, NetNS: s.NetNS, IfName: s.IfName, PluginArgsStr: s.CNIArgs},
	}
}

// ipamOfNetwork gives the IPAM plugin of a network, for what is about no attachment.
func (e *Engine) ipamOfNetwork(conf *Config) *ipam.Plugin {
	return e.ipamOf(&State{IPAM: conf.IPAM, Config: conf.raw})
}
