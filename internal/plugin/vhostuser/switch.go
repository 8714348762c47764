package vhostuser

import (
	"context"
	"errors"
)

// Engines that a configuration may name. Open vSwitch is the one that there is; VPP is
// to come behind the same interface.
const (
	EngineOVS = "ovs-dpdk"
	EngineVPP = "vpp"
)

var (
	// ErrUnreachable is of a switch that does not answer: nothing is known of it.
	ErrUnreachable = errors.New("the switch does not answer")
	// ErrUnfit is of a switch that answers and cannot serve vhost-user ports: those that
	// are there do not work either.
	ErrUnfit = errors.New("the switch cannot serve vhost-user ports")
	// ErrNoPort is of a port that is not there.
	ErrNoPort = errors.New("there is no such port")
)

// Switch is a virtual switch that serves vhost-user ports. It is all that this package
// wants of Open vSwitch, and will be of VPP.
type Switch interface {
	// Ready reports why the bridge could not take a port now.
	Ready(ctx context.Context, bridge string) error
	// Plug makes a port and waits until the switch has taken it up.
	Plug(ctx context.Context, port *Port) error
	// Unplug removes a port of ours. One that is not there is none to remove.
	Unplug(ctx context.Context, name string) error
	// Port gives a port as the switch has it.
	Port(ctx context.Context, name string) (*Port, error)
	// Owned gives the ports of ours that belong to a network.
	Owned(ctx context.Context, network string) ([]Port, error)
	// Close ends the connection.
	Close()
}

// Opener reaches the switch at an address.
type Opener func(ctx context.Context, address string) (Switch, error)

// Port is a vhost-user port.
type Port struct {
	Name   string
	Bridge string
	Socket string // on the host
	VLAN   int    // 0 for none
	Trunks []int  // sorted; empty for none
	MTU    int    // 0 for the switch's own
	Queues int    // 0 for the switch's own
	Owner  Owner
	// Problem is why the switch does not serve the port; read only.
	Problem string
}

// Owner is whose a port is: it is written beside the port, for GC and for operators.
type Owner struct {
	Network     string
	ContainerID string
	Interface   string
	Pod         string // namespace/name, if known
}
