// Command plexus-vhostuser is a CNI plugin that gives a pod a vhost-user port of Open
// vSwitch with DPDK.
package main

import (
	"context"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin"
	"github.com/plexus-cni/plexus/internal/plugin/vhostuser"
	"github.com/plexus-cni/plexus/internal/plugin/vhostuser/ovs"
	"github.com/plexus-cni/plexus/types"
)

const help = `plexus-vhostuser is a CNI plugin: a container runtime, or Plexus, calls it.

It gives a pod a vhost-user port of Open vSwitch with DPDK: the port, a folder for
the socket that the pod mounts, and a file that tells the application of it.

  plexus-vhostuser --version   print the version
  plexus-vhostuser --help      print this

Configuration: docs/vhost-user.md.
`

func main() {
	unix.Umask(0o022) // a runtime's own may keep pods out of what is made for them
	m := plugin.Main{Name: "plexus-vhostuser", Help: help, Versions: types.AllCNIVersions(), Open: open}
	os.Exit(m.Run(os.Args[1:]))
}

func open(_ string, args *skel.CmdArgs) (*plugin.Verbs, error) {
	p := &vhostuser.Plugin{Open: ovs.Open, Path: args.Path}
	call := &vhostuser.Call{ContainerID: args.ContainerID, Interface: args.IfName, NetNS: args.Netns, Args: args.Args, Config: args.StdinData}
	return &plugin.Verbs{
		Add:    func(ctx context.Context) (cnitypes.Result, error) { return p.Add(ctx, call) },
		Del:    func(ctx context.Context) error { return p.Del(ctx, call) },
		Check:  func(ctx context.Context) error { return p.Check(ctx, call) },
		GC:     func(ctx context.Context) error { return p.GC(ctx, call) },
		Status: func(ctx context.Context) error { return p.Status(ctx, call) },
	}, nil
}
