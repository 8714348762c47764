// Command plexus is the CNI plugin: it attaches a pod to the cluster's own network and
// to every further network that the pod asks for, by running other plugins.
package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"runtime"
	"runtime/debug"
	"strings"

	"github.com/containernetworking/cni/libcni"
	"github.com/containernetworking/cni/pkg/ns"
	"github.com/containernetworking/cni/pkg/skel"
	cnitypes "github.com/containernetworking/cni/pkg/types"
	cniversion "github.com/containernetworking/cni/pkg/version"
	"golang.org/x/sys/unix"

	"github.com/plexus-cni/plexus/delegate"
	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/source"
	"github.com/plexus-cni/plexus/internal/version"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

// supported are the versions of CNI that a runtime may call in.
var supported = cniversion.PluginSupports("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")

const help = `plexus is a CNI plugin: a container runtime calls it, people do not.

It attaches a pod to the cluster's own network and to every further network that
the pod's annotation k8s.v1.cni.cncf.io/networks names, by running other plugins.

  plexus --version   print the version
  plexus --help      print this

A runtime sets CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS or VERSION) and the other
variables of the CNI specification, and passes the configuration on standard input.
Configuration: docs/configuration.md. Try it without a cluster: make demo.
`

// maxMemory is more than any call should need. Below it nothing is collected: a call is
// over before that would pay.
const maxMemory = 64 << 20

func main() {
	debug.SetGCPercent(-1)
	debug.SetMemoryLimit(maxMemory)
	runtime.GOMAXPROCS(1) // it waits for plugins: more threads would only cost
	os.Exit(run(os.Args[1:]))
}

// run gives the exit code: 0, 1 for an error that was printed as CNI has it, 2 for
// misuse by a person.
func run(args []string) int {
	if len(args) > 0 {
		return people(args)
	}
	// A runtime that is gone reads no log, which is no reason to stop half-way.
	signal.Notify(make(chan os.Signal, 1), unix.SIGPIPE) // not Ignore, which plugins would inherit
	if err := guard(); err != nil {
		if os.Getenv("CNI_COMMAND") == "DEL" {
			return 0 // its ADD was stopped here too: there is nothing to release, and there must be an end
		}
		return printError(err)
	}
	funcs := skel.CNIFuncs{Add: cmdAdd, Del: cmdDel, Check: cmdCheck, GC: cmdGC, Status: cmdStatus}
	about := version.String("plexus") + "\nCalled by people? See plexus --help."
	if err := skel.PluginMainFuncsWithError(funcs, supported, about); err != nil {
		return printError(err)
	}
	return 0
}

func people(args []string) int {
	switch args[0] {
	case "--version", "-version", "version":
		fmt.Println(version.String("plexus"))
		return 0
	case "--help", "-help", "-h", "help":
		fmt.Print(help)
		return 0
	}
	fmt.Fprintf(os.Stderr, "plexus: unknown argument %q; a CNI plugin is called by a runtime, see plexus --help\n", args[0])
	return 2
}

// guard stops a Plexus that was reached as its own delegate: another build of it
// under another name, or through a plugin that delegates in turn.
func guard() *cnitypes.Error {
	container := os.Getenv(journal.DelegateEnv)
	if command := os.Getenv("CNI_COMMAND"); container == "" || command == "" || command == "VERSION" {
		return nil
	}
	return cnitypes.NewError(types.CodeInvalidConfig,
		fmt.Sprintf("plexus was called by one of its own delegates (container %s): no network may lead back to plexus", container), "")
}

func printError(err *cnitypes.Error) int {
	if printErr := err.Print(); printErr != nil {
		fmt.Fprintln(os.Stderr, "plexus: print the error:", printErr)
	}
	return 1
}

func cmdAdd(args *skel.CmdArgs) error {
	return with(args, func(ctx context.Context, e *delegate.Engine, call *delegate.Call) error {
		if err := refuseHostNetwork(args); err != nil {
			return err
		}
		result, err := e.Add(ctx, call)
		if err != nil {
			return err
		}
		return cnitypes.PrintResult(result, e.Config.CNIVersion)
	})
}

// refuseHostNetwork does before the ADD what skel does only after it.
func refuseHostNetwork(args *skel.CmdArgs) error {
	if override := strings.ToUpper(args.NetnsOverride); override == "TRUE" || override == "1" {
		return nil
	}
	same, err := ns.CheckNetNS(args.Netns)
	if err == nil && same {
		return types.Errorf(types.CodeInvalidEnv, "CNI_NETNS: %s is the host's own network namespace", args.Netns)
	}
	return nil
}

func cmdDel(args *skel.CmdArgs) error {
	forgetHostNetwork(args)
	return with(args, func(ctx context.Context, e *delegate.Engine, call *delegate.Call) error { return e.Del(ctx, call) })
}

// forgetHostNetwork takes a path that leads to the host's own namespace for none: it
// was the pod's, and its number has been given to another process since.
func forgetHostNetwork(args *skel.CmdArgs) {
	if refuseHostNetwork(args) != nil {
		args.Netns = ""
	}
}

func cmdCheck(args *skel.CmdArgs) error {
	return with(args, func(ctx context.Context, e *delegate.Engine, call *delegate.Call) error { return e.Check(ctx, call) })
}

func cmdGC(args *skel.CmdArgs) error {
	return with(args, func(ctx context.Context, e *delegate.Engine, _ *delegate.Call) error { return e.GC(ctx) })
}

func cmdStatus(args *skel.CmdArgs) error {
	return with(args, func(ctx context.Context, e *delegate.Engine, _ *delegate.Call) error { return e.Status(ctx) })
}

// with reads the call and carries a verb out. Asked to stop, a verb undoes what it
// has begun.
func with(args *skel.CmdArgs, verb func(context.Context, *delegate.Engine, *delegate.Call) error) error {
	ctx, stop := signal.NotifyContext(context.Background(), unix.SIGTERM, unix.SIGINT)
	defer stop()
	config, unknown, err := types.ParseConfig(args.StdinData)
	if err != nil {
		return toCNI(types.WithCode(types.CodeInvalidConfig, err))
	}
	log, closeLog := newLogger(config)
	defer closeLog()
	for _, key := range unknown {
		log.Warn("configuration of plexus: unknown, ignored", "key", key)
	}
	call, err := newCall(args, config)
	if err == nil {
		var engine *delegate.Engine
		if engine, err = newEngine(args, config, log); err == nil {
			err = verb(ctx, engine, call)
		}
	}
	if err != nil {
		log.Error("call failed", "command", os.Getenv("CNI_COMMAND"), "sandbox", args.ContainerID, "error", err)
	}
	return toCNI(err)
}

func newCall(args *skel.CmdArgs, config *types.Config) (*delegate.Call, error) {
	cniArgs, err := types.ParseArgs(args.Args)
	if err != nil && os.Getenv("CNI_COMMAND") == "ADD" {
		return nil, err
	}
	call := &delegate.Call{
		Sandbox: types.Sandbox{ContainerID: args.ContainerID, NetNS: args.Netns, IfName: args.IfName, Args: cniArgs},
		Pod:     types.PodFromArgs(cniArgs),
	}
	if raw, ok := config.RuntimeConfig[types.CapabilityPodAnnotations]; ok && call.Pod.Known() {
		if err := json.Unmarshal(raw, &call.Annotations); err != nil {
			return nil, types.Errorf(types.CodeInvalidConfig, "runtimeConfig.%s: must be an object of strings", types.CapabilityPodAnnotations)
		}
	}
	return call, nil
}

func newEngine(args *skel.CmdArgs, config *types.Config, log *slog.Logger) (*delegate.Engine, error) {
	bootID, err := host.BootID()
	if err != nil {
		return nil, types.WithCode(types.CodeIOFailure, err)
	}
	path := append([]string{config.BinDir}, filepath.SplitList(args.Path)...)
	return &delegate.Engine{
		Config:          config,
		Path:            path,
		Self:            self(),
		Source:          source.New(config, delegate.StateDir(config), path, log),
		MultusDirs:      []string{"/var/lib/cni/multus"},
		RuntimeCacheDir: libcni.CacheDir,
		DeviceInfos: sriov.InfoFiles{
			DeviceInfoDir: sriov.DefaultDeviceInfoDir, DevicePlugin: sriov.DefaultDevicePluginInfoDir, Sysfs: sriov.DefaultSysfs,
		},
		BootID:      bootID,
		TraceParent: os.Getenv("TRACEPARENT"),
		Log:         log,
	}, nil
}

// self identifies this executable, nil if it is gone: it may be replaced as it runs.
func self() os.FileInfo {
	info, err := os.Stat("/proc/self/exe")
	if err != nil {
		return nil
	}
	return info
}

// toCNI makes the error that the runtime gets: code, message, and as details what the
// plugins said besides.
func toCNI(err error) error {
	if err == nil {
		return nil
	}
	var already *cnitypes.Error
	if errors.As(err, &already) {
		return already
	}
	return cnitypes.NewError(types.CodeOf(err, types.CodeFailed), err.Error(), delegate.PluginDetails(err))
}
