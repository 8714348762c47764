// Command plexus is the CNI plugin: it attaches a pod to the cluster's own network and
// to every further network that the pod asks for, by running other plugins.
package main

import (
	"context"
	"encoding/json"
	"os"

	"github.com/containernetworking/cni/pkg/skel"
	cnitypes "github.com/containernetworking/cni/pkg/types"

	"github.com/plexus-cni/plexus/delegate"
	"github.com/plexus-cni/plexus/delegate/journal"
	"github.com/plexus-cni/plexus/internal/engine"
	"github.com/plexus-cni/plexus/internal/plugin"
	"github.com/plexus-cni/plexus/types"
)

const help = `plexus is a CNI plugin: a container runtime calls it, people do not.

It attaches a pod to the cluster's own network and to every further network that
the pod's annotation k8s.v1.cni.cncf.io/networks names, by running other plugins.

  plexus --version   print the version
  plexus --help      print this

A runtime sets CNI_COMMAND (ADD, DEL, CHECK, GC, STATUS or VERSION) and the other
variables of the CNI specification, and passes the configuration on standard input.
Configuration: docs/configuration.md. Try it without a cluster: make demo.
`

func main() {
	m := plugin.Main{Name: "plexus", Help: help, Versions: types.CNIVersions, Open: open, Guard: guard, Details: delegate.PluginDetails}
	os.Exit(m.Run(os.Args[1:]))
}

// guard stops a Plexus that was reached as its own delegate: another build of it
// under another name, or through a plugin that delegates in turn.
func guard(command string) (done bool, err error) {
	container := os.Getenv(journal.DelegateEnv)
	switch {
	case container == "" || command == "" || command == "VERSION":
		return false, nil
	case command == "DEL":
		return true, nil // its ADD was stopped here too: there is nothing to release, and there must be an end
	}
	return true, types.Errorf(types.CodeInvalidConfig,
		"plexus was called by one of its own delegates (container %s): no network may lead back to plexus", container)
}

// open reads a call, and makes the engine that carries it out.
func open(command string, args *skel.CmdArgs) (*plugin.Verbs, error) {
	config, unknown, err := types.ParseConfig(args.StdinData)
	if err != nil {
		return nil, types.WithCode(types.CodeInvalidConfig, err)
	}
	log, closeLog := newLogger(config)
	for _, key := range unknown {
		log.Warn("configuration of plexus: unknown, ignored", "key", key)
	}
	done := func(err error) {
		if err != nil {
			log.Error("call failed", "command", command, "sandbox", args.ContainerID, "error", err)
		}
		closeLog()
	}
	call, err := newCall(command, args, config)
	var e *delegate.Engine
	if err == nil {
		e, err = engine.New(config, args.Path, log)
	}
	if err != nil {
		done(err)
		return nil, err
	}
	return &plugin.Verbs{
		Add:    func(ctx context.Context) (cnitypes.Result, error) { return e.Add(ctx, call) },
		Del:    func(ctx context.Context) error { return e.Del(ctx, call) },
		Check:  func(ctx context.Context) error { return e.Check(ctx, call) },
		GC:     e.GC,
		Status: e.Status,
		Done:   done,
	}, nil
}

func newCall(command string, args *skel.CmdArgs, config *types.Config) (*delegate.Call, error) {
	cniArgs, err := types.ParseArgs(args.Args)
	if err != nil && command == "ADD" {
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
