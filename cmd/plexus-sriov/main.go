// Command plexus-sriov is the CNI plugin that gives a pod a virtual function of an
// SR-IOV device, and takes it back as it was.
package main

import (
	"context"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/plugin/vf"
	"github.com/plexus-cni/plexus/internal/plugin/vf/kernel"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

const program = "plexus-sriov"

// supported are the versions of CNI that a runtime may call in.
var supported = cniversion.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

const help = `plexus-sriov is a CNI plugin: plexus or a container runtime calls it, people do not.

It gives a pod a virtual function (VF) of an SR-IOV device, and takes it back as it
was. It takes the configuration of sriov-cni as it is: change "type" to plexus-sriov.

  plexus-sriov --version   print the version
  plexus-sriov --help      print this

Configuration and troubleshooting: docs/sriov.md.
`

// maxMemory is more than any call should need; below it nothing is collected.
const maxMemory = 64 << 20

func main() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(maxMemory)
	runtime.GOMAXPROCS(1)
	os.Exit(run(os.Args[1:]))
}

// run gives the exit code: 0, 1 for an error that was printed as CNI has it, 2 for
// misuse by a person.
func run(args []string) int {
	if len(args) > 0 {
		return people(args)
	}
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // whoever reads our log may be gone
	funcs := skel.CNIFuncs{Add: cmdAdd, Del: cmdDel, Check: cmdCheck, GC: cmdGC, Status: cmdStatus}
	about := version.String(program) + "\nCalled by people? See plexus-sriov --help."
	if err := skel.PluginMainFuncsWithError(funcs, supported, about); err != nil {
		if printErr := err.Print(); printErr != nil {
			fmt.Fprintln(os.Stderr, program+": print the error:", printErr)
		}
		return 1
	}
	return 0
}

func people(args []string) int {
	switch args[0] {
	case "--version", "-version", "version":
		fmt.Println(version.String(program))
		return 0
	case "--help", "-help", "-h", "help":
		fmt.Print(help)
		return 0
	}
	fmt.Fprintf(os.Stderr, "%s: unknown argument %q; a CNI plugin is called by a runtime, see %s --help\n", program, args[0], program)
	return 2
}

func cmdAdd(args *skel.CmdArgs) error {
	return with(args, func(ctx context.Context, c *call) error {
		if c.configErr != nil {
			return c.configErr
		}
		if isOwn(args) {
			return types.Errorf(types.CodeInvalidEnv, "CNI_NETNS: %s is the host's own network namespace", args.Netns)
		}
		result, err := c.engine.Add(ctx, c.Call, c.config)
		if err != nil {
			return err
		}
		return cnitypes.PrintResult(result, c.config.CNIVersion)
	})
}

// isOwn does before the call what skel does only after it.
func isOwn(args *skel.CmdArgs) bool {
	if override := strings.ToUpper(args.NetnsOverride); override == "TRUE" || override == "1" {
		return false
	}
	same, err := ns.CheckNetNS(args.Netns)
	return err == nil && same
}

// cmdDel does not need a configuration that makes sense: the state of the ADD counts.
func cmdDel(args *skel.CmdArgs) error {
	if isOwn(args) {
		args.Netns = "" // it was the pod's, and its number is another process's by now
	}
	return with(args, func(ctx context.Context, c *call) error { return c.engine.Del(ctx, c.Call, c.config) })
}

func cmdCheck(args *skel.CmdArgs) error {
	return with(args, func(ctx context.Context, c *call) error {
		if c.configErr != nil {
			return c.configErr
		}
		return c.engine.Check(ctx, c.Call, c.config)
	})
}

func cmdGC(args *skel.CmdArgs) error {
	return with(args, func(ctx context.Context, c *call) error {
		if c.configErr != nil {
			return c.configErr
		}
		return c.engine.GC(ctx, c.config)
	})
}

func cmdStatus(args *skel.CmdArgs) error {
	return with(args, func(ctx context.Context, c *call) error {
		if c.configErr != nil {
			return types.WithCode(types.CodeNotAvailable, c.configErr)
		}
		return c.engine.Status(ctx, c.config)
	})
}

// call is what a verb works with.
type call struct {
	vf.Call
	config    *vf.Config
	configErr error // what is wrong with the configuration, all of it
	engine    *vf.Engine
}

// with reads the call and carries a verb out. Asked to stop, a verb undoes what it has
// begun.
func with(args *skel.CmdArgs, verb func(context.Context, *call) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	config, err := vf.ParseConfig(args.StdinData, args.Args)
	if config == nil {
		return toCNI(types.WithCode(types.CodeInvalidConfig, err))
	}
	log, closeLog := newLogger(config)
	defer closeLog()
	c := &call{
		Call:      vf.Call{ContainerID: args.ContainerID, NetNS: args.Netns, IfName: args.IfName, Args: args.Args},
		config:    config,
		configErr: types.WithCode(types.CodeInvalidConfig, err),
	}
	bootID, err := host.BootID()
	if err == nil {
		c.engine = &vf.Engine{
			Store: vf.Store{Dir: config.StateDir}, Devices: sriov.DefaultSysfs, PF: kernel.PF{}, Links: kernel.Links{},
			Path: filepath.SplitList(args.Path), BootID: bootID, Log: log,
		}
		err = verb(ctx, c)
	}
	command := os.Getenv("CNI_COMMAND")
	if err != nil {
		log.Error("call failed", "command", command, "container", args.ContainerID, "interface", args.IfName, "device", config.DeviceID, "error", err)
	} else {
		log.Debug("call succeeded", "command", command, "container", args.ContainerID, "interface", args.IfName, "device", config.DeviceID)
	}
	return toCNI(err)
}

// toCNI makes the error that the runtime gets.
func toCNI(err error) error {
	if err == nil {
		return nil
	}
	return cnitypes.NewError(types.CodeOf(err, types.CodeFailed), err.Error(), "")
}
