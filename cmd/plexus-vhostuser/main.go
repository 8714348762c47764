// Command plexus-vhostuser is a CNI plugin that gives a pod a vhost-user port of Open
// vSwitch with DPDK.
package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/signal"
	"strings"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/plugin/vhostuser"
	"github.com/plexus-cni/plexus/internal/plugin/vhostuser/ovs"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/types"
)

// supported are the versions of CNI that a runtime may call in.
var supported = cniversion.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

const help = `plexus-vhostuser is a CNI plugin: a container runtime, or Plexus, calls it.

It gives a pod a vhost-user port of Open vSwitch with DPDK: the port, a folder for
the socket that the pod mounts, and a file that tells the application of it.

  plexus-vhostuser --version   print the version
  plexus-vhostuser --help      print this

Configuration: docs/vhost-user.md.
`

func main() { os.Exit(run(os.Args[1:])) }

// run gives the exit code: 0, 1 for an error that was printed as CNI has it, 2 for
// misuse by a person.
func run(args []string) int {
	if len(args) > 0 {
		return people(args)
	}
	// A runtime that is gone reads nothing, which is no reason to stop half-way.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE)
	unix.Umask(0o022) // a runtime's own may keep pods out of what is made for them
	funcs := skel.CNIFuncs{Add: add, Del: del, Check: verb((*vhostuser.Plugin).Check), GC: verb((*vhostuser.Plugin).GC), Status: verb((*vhostuser.Plugin).Status)}
	about := version.String("plexus-vhostuser") + "\nCalled by people? See plexus-vhostuser --help."
	if err := skel.PluginMainFuncsWithError(funcs, supported, about); err != nil {
		if printErr := err.Print(); printErr != nil {
			fmt.Fprintln(os.Stderr, "plexus-vhostuser: print the error:", printErr)
		}
		return 1
	}
	return 0
}

func people(args []string) int {
	switch args[0] {
	case "--version", "-version", "version":
		fmt.Println(version.String("plexus-vhostuser"))
		return 0
	case "--help", "-help", "-h", "help":
		fmt.Print(help)
		return 0
	}
	fmt.Fprintf(os.Stderr, "plexus-vhostuser: unknown argument %q; a CNI plugin is called by a runtime, see plexus-vhostuser --help\n", args[0])
	return 2
}

func add(args *skel.CmdArgs) error {
	// skel looks after the ADD, when the port would be there already.
	if isOwnNetNS(args) {
		return toCNI(types.Errorf(types.CodeInvalidEnv, "CNI_NETNS: %s is the host's own network namespace", args.Netns))
	}
	ctx, stop := interruptible()
	defer stop()
	result, cniVersion, err := plugin(args).Add(ctx, callOf(args))
	if err != nil {
		return toCNI(err)
	}
	return cnitypes.PrintResult(result, cniVersion)
}

func del(args *skel.CmdArgs) error {
	if isOwnNetNS(args) {
		args.Netns = "" // it was the sandbox's, and its number is another's now
	}
	return verb((*vhostuser.Plugin).Del)(args)
}

func isOwnNetNS(args *skel.CmdArgs) bool {
	if override := strings.ToUpper(args.NetnsOverride); override == "TRUE" || override == "1" {
		return false
	}
	same, err := ns.CheckNetNS(args.Netns)
	return err == nil && same
}

// verb makes skel's form of a verb that answers nothing.
func verb(do func(*vhostuser.Plugin, context.Context, *vhostuser.Call) error) func(*skel.CmdArgs) error {
	return func(args *skel.CmdArgs) error {
		ctx, stop := interruptible()
		defer stop()
		return toCNI(do(plugin(args), ctx, callOf(args)))
	}
}

// interruptible gives a context that ends when the process is asked to stop: an ADD
// then undoes what it has begun.
func interruptible() (context.Context, context.CancelFunc) {
	return signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
}

func plugin(args *skel.CmdArgs) *vhostuser.Plugin {
	return &vhostuser.Plugin{Open: ovs.Open, Path: args.Path}
}

func callOf(args *skel.CmdArgs) *vhostuser.Call {
	return &vhostuser.Call{ContainerID: args.ContainerID, Interface: args.IfName, NetNS: args.Netns, Args: args.Args, Config: args.StdinData}
}

// toCNI makes the error that the runtime gets, of our code and message also where an
// IPAM plugin's error is inside.
func toCNI(err error) error {
	if err == nil {
		return nil
	}
	details := ""
	var theirs *cnitypes.Error
	if errors.As(err, &theirs) {
		details = theirs.Details
	}
	return cnitypes.NewError(types.CodeOf(err, types.CodeFailed), err.Error(), details)
}
