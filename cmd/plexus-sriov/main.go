// Command plexus-sriov is the CNI plugin that gives a pod a virtual function of an
// SR-IOV device, and takes it back as it was.
package main

import (
	"context"
	"os"
	"path/filepath"

	"github.com/containernetworking/cni/pkg/skel"
	cnitypes "github.com/containernetworking/cni/pkg/types"

	"github.com/plexus-cni/plexus/internal/host"
	"github.com/plexus-cni/plexus/internal/plugin"
	"github.com/plexus-cni/plexus/internal/plugin/vf"
	"github.com/plexus-cni/plexus/internal/plugin/vf/kernel"
	"github.com/plexus-cni/plexus/sriov"
	"github.com/plexus-cni/plexus/types"
)

const help = `plexus-sriov is a CNI plugin: plexus or a container runtime calls it, people do not.

It gives a pod a virtual function (VF) of an SR-IOV device, and takes it back as it
was. It takes the configuration of sriov-cni as it is: change "type" to plexus-sriov.

  plexus-sriov --version   print the version
  plexus-sriov --help      print this

Configuration and troubleshooting: docs/sriov.md.
`

// sriovCNI is where sriov-cni keeps its state; it cannot be configured.
const sriovCNI = "/var/lib/cni/sriov"

func main() { os.Exit(run(os.Args[1:])) }

func run(args []string) int {
	return (&plugin.Main{Name: "plexus-sriov", Help: help, Versions: types.AllCNIVersions(), Open: open}).Run(args)
}

// open reads a call. DEL needs no configuration that makes sense, because it goes by the
// state of the ADD; the other verbs report what is wrong with it.
func open(command string, args *skel.CmdArgs) (*plugin.Verbs, error) {
	config, configErr := vf.ParseConfig(args.StdinData, args.Args)
	configErr = types.WithCode(types.CodeInvalidConfig, configErr)
	if config == nil {
		return nil, configErr
	}
	bootID, err := host.BootID()
	if err != nil {
		return nil, err
	}
	log, closeLog := newLogger(config)
	for _, key := range config.Unknown {
		log.Warn("configuration of plexus-sriov: unknown, ignored", "network", config.Name, "key", key)
	}
	engine := &vf.Engine{
		Store: vf.Store{Dir: config.StateDir}, Devices: sriov.DefaultSysfs, PF: kernel.PF{}, Links: kernel.Links{},
		Path: filepath.SplitList(args.Path), BootID: bootID, Log: log, SRIOVCNI: sriovCNI,
	}
	call := vf.Call{ContainerID: args.ContainerID, NetNS: args.Netns, IfName: args.IfName, Args: args.Args}
	verbs := verbsOf(engine, call, config, configErr)
	verbs.Done = func(err error) {
		defer closeLog()
		log := log.With("command", command, "container", args.ContainerID, "interface", args.IfName, "device", config.DeviceID)
		if err != nil {
			log.Error("call failed", "error", err)
			return
		}
		log.Debug("call succeeded")
	}
	return verbs, nil
}

func verbsOf(e *vf.Engine, call vf.Call, config *vf.Config, configErr error) *plugin.Verbs {
	return &plugin.Verbs{
		Add: func(ctx context.Context) (cnitypes.Result, error) {
			if configErr != nil {
				return nil, configErr
			}
			return e.Add(ctx, call, config)
		},
		Del: func(ctx context.Context) error { return e.Del(ctx, call, config) },
		Check: func(ctx context.Context) error {
			if configErr != nil {
				return configErr
			}
			return e.Check(ctx, call, config)
		},
		GC: func(ctx context.Context) error {
			if configErr != nil {
				return configErr
			}
			return e.GC(ctx, config)
		},
		Status: func(ctx context.Context) error {
			if configErr != nil {
				return types.WithCode(types.CodeNotAvailable, configErr)
			}
			return e.Status(ctx, config)
		},
	}
}
